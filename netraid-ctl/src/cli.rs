// SPDX-License-Identifier: GPL-2.0
//! The command line: types for clap and nothing else.

mod bitmap;
mod make;
mod service;
mod show;
pub mod values;

use std::ffi::OsString;
use std::path::Path;

use clap::{Args, Parser, Subcommand};

pub use bitmap::{Bitmap, BitmapAction};
pub use make::{Congestion, Create, Delete, Extend, Join, OnIoError, Place, Replication, Unextend};
pub use service::{
    Action, Attach, Demote, Down, Force, FullResync, MirrorAction, PauseResume, Resolve, Set, Setting, Start, Stop,
    Switchover, Up,
};
pub use show::{Completions, Disks, Events, List, Man, Shell, Status, Wait, WaitFor};
use values::parse_name;

const EXIT_CODES: &str = "\
Exit status: 0 done, 1 wrong usage, 2 refused (by the kernel or for a reason found before asking it), \
3 degraded (`status --check`), 4 a wait ran out of time.

Commands of other names:
  mirror_action TAG pause|resume|force|fullresync   pause, resume, force, fullresync
  mirror_settings                                   set
  mirror_status TAG                                 status
  bitmap -a|-c|-d|-X FILE                           bitmap
  mdadm                                             create, extend, start, stop, status --detail
A link named mirror_action, mirror_status or bitmap that leads to netraid-ctl takes their arguments.";

const EXTEND_COPIES: &str = "\
What is copied at first: everything; of a mirror made with --new only what was written to it; where both sides say \
--no-full-sync (or NO_FULL_SYNC=1 in /etc/default/netraid) only what is marked. A target that comes back gets what it \
misses.

On a target it notes where another target is, and how it is to be served, for the time when this machine is the source; \
nothing is sent there before. `unextend --leg N` forgets it. Without --priority it keeps the one that the source gave it.";

/// Control mirrors: a local disk whose content is kept, block by block, on the disks of other machines.
#[derive(Debug, Parser)]
#[command(name = "netraid-ctl", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The command line with the sub-command that the program's own name stands for.
///
/// Links named `bitmap`, `mirror_action` and `mirror_status` may lead to the program.
pub fn dispatch(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = words.into_iter().collect();
    let name = words
        .first()
        .and_then(|program| Path::new(program).file_name()?.to_str());
    let sub = match name {
        Some("bitmap") => "bitmap",
        Some("mirror_action") => "mirror_action",
        Some("mirror_status") => "status",
        _ => return words,
    };
    words.splice(..1, ["netraid-ctl".into(), sub.into()]);
    words
}

/// The sub-commands, in the order of a mirror's life.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a mirror of a local disk; it is a block device, /dev/netraidN, at once.
    Create(Create),
    /// Give a local disk to a mirror of another machine, and listen for that machine.
    Join(Join),
    /// Add a target to a mirror and copy to it what it misses.
    #[command(after_help = EXTEND_COPIES)]
    Extend(Extend),
    /// End the mirroring to a target; the copy there stays as it is.
    Unextend(Unextend),
    /// Forget a mirror; the content of its disk stays.
    Delete(Delete),
    /// Bring mirrors into service in the role they had.
    Up(Up),
    /// Take mirrors out of service for a shutdown; `up` brings them back in the same role.
    Down(Down),
    /// Bring a mirror into service as source, unless another machine has newer data.
    Start(Start),
    /// Bring a mirror into service as source though nobody answers; what another machine wrote may be lost.
    Force(Force),
    /// Take a mirror out of service on this machine and release its disk.
    Stop(Stop),
    /// Make this machine, a target, the source of a mirror.
    Promote(Start),
    /// Make this machine a target of a mirror.
    Demote(Demote),
    /// Swap the roles: this machine, a target, becomes the source, and the source a target.
    Switchover(Switchover),
    /// End a split brain: keep the data of one machine, give up what the other one wrote.
    Resolve(Resolve),
    /// Stop replication for a while; what is written meanwhile is remembered.
    Pause(PauseResume),
    /// Go on after a pause; what either side wrote meanwhile is copied from the source.
    Resume(PauseResume),
    /// Copy everything to a target again; ends a pause.
    #[command(name = "fullresync")]
    FullResync(FullResync),
    /// Put a disk in where that of the source failed and was given up; it is filled from a target.
    Attach(Attach),
    /// Change a setting of a mirror.
    Set(Set),
    /// Show mirrors.
    Status(Status),
    /// List the mirrors of this machine, those not loaded, too.
    List(List),
    /// Show the mirrors, then everything that happens to them.
    Events(Events),
    /// Wait until a mirror is in a state.
    Wait(Wait),
    /// List the disks and partitions that a mirror could use.
    Disks(Disks),
    /// Examine or change the bitmap of a mirror, in its file or on its disk; the module need not be loaded.
    #[command(override_usage = bitmap::USAGE)]
    Bitmap(Bitmap),
    /// Print a completion script for a shell.
    Completions(Completions),
    /// Write manual pages into a directory.
    #[command(hide = true)]
    Man(Man),
    /// What a link named mirror_action does.
    #[command(name = "mirror_action", hide = true)]
    MirrorAction(MirrorAction),
}

/// A mirror by its name.
#[derive(Debug, Clone, Args)]
pub struct Name {
    /// Name of the mirror: 1 to 64 of A-Z a-z 0-9 . _ - and not starting with . or -
    #[arg(value_parser = parse_name)]
    pub name: String,
}

/// How the liveness of a connection is judged.
#[derive(Debug, Clone, Args)]
pub struct Liveness {
    /// Send a heartbeat when nothing was sent for this long (50 to 60000) [default: 1000]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u32).range(50..=60_000))]
    pub heartbeat: Option<u32>,
    /// Give up a connection on which nothing was heard for this long (200 to 600000) [default: 5000]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u32).range(200..=600_000))]
    pub timeout: Option<u32>,
}
