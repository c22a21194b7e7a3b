// SPDX-License-Identifier: GPL-2.0
//! The sub-commands, one file each, and what several of them share.

mod action;
mod attach;
mod bitmap;
mod completions;
mod create;
mod delete;
mod demote;
mod disks;
mod events;
mod extend;
mod follow;
mod force;
mod fullresync;
mod join;
mod legs;
mod list;
mod load;
mod making;
mod man;
mod pause;
mod peers;
mod promote;
mod resolve;
mod resume;
mod set;
mod status;
mod stop;
mod support;
mod switchover;
mod unextend;
mod up;
mod wait;

use anyhow::Result;

use crate::cli::Command;
use crate::env::Env;
use crate::error::Status;

/// Does what the command line says.
///
/// # Errors
///
/// A sentence for the user; [`crate::error::status_of`] has its exit status.
pub fn run(command: Command, env: &mut Env<'_>) -> Result<Status> {
    match command {
        Command::Create(args) => create::run(&args, env),
        Command::Join(args) => join::run(&args, env),
        Command::Extend(args) => extend::run(&args, env),
        Command::Unextend(args) => unextend::run(&args, env),
        Command::Delete(args) => delete::run(&args, env),
        Command::Up(args) => up::up(&args, env),
        Command::Down(args) => up::down(&args, env),
        Command::Start(args) => promote::run_start(&args, env),
        Command::Force(args) => force::run(&args, env),
        Command::Stop(args) => stop::run(&args, env),
        Command::Promote(args) => promote::run(&args, env),
        Command::Demote(args) => demote::run(&args, env),
        Command::Switchover(args) => switchover::run(&args, env),
        Command::Resolve(args) => resolve::run(&args, env),
        Command::Pause(args) => pause::run(&args, env),
        Command::Resume(args) => resume::run(&args, env),
        Command::FullResync(args) => fullresync::run(&args, env),
        Command::Attach(args) => attach::run(&args, env),
        Command::Set(args) => set::run(&args, env),
        Command::Status(args) => status::run(&args, env),
        Command::List(args) => list::run(&args, env),
        Command::Events(args) => events::run(&args, env),
        Command::Wait(args) => wait::run(&args, env),
        Command::Disks(args) => disks::run(&args, env),
        Command::Bitmap(args) => bitmap::run(&args, env),
        Command::Completions(args) => completions::run(&args, env),
        Command::Man(args) => man::run(&args, env),
        Command::MirrorAction(args) => action::run(&args, env),
    }
}
