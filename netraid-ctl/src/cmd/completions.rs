// SPDX-License-Identifier: GPL-2.0
//! `completions`: print a completion script.

use anyhow::Result;
use clap::CommandFactory as _;

use crate::cli::{Cli, Completions, Shell};
use crate::env::Env;
use crate::error::Status;

pub(super) fn run(args: &Completions, env: &mut Env<'_>) -> Result<Status> {
    let shell = match args.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Elvish => clap_complete::Shell::Elvish,
        Shell::Fish => clap_complete::Shell::Fish,
        Shell::Powershell => clap_complete::Shell::PowerShell,
        Shell::Zsh => clap_complete::Shell::Zsh,
    };
    // `generate` panics where the output is closed, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "netraid-ctl", &mut script);
    env.out.write_all(&script)?;
    Ok(Status::Done)
}
