// SPDX-License-Identifier: GPL-2.0
//! `netraid-ctl`: reads the command line, does it, and says by the exit status how it went.

use std::process::ExitCode;

use clap::Parser as _;
use netraid_ctl::cli::{dispatch, Cli};
use netraid_ctl::{cmd, env, error};

fn main() -> ExitCode {
    let cli = match Cli::try_parse_from(dispatch(std::env::args_os())) {
        Ok(cli) => cli,
        Err(usage) => {
            // Help and version come this way too; of clap's two exit codes only theirs is the one documented here.
            let wrong = usage.use_stderr();
            let printed = usage.print();
            return ExitCode::from(u8::from(wrong || printed.is_err()));
        }
    };
    let status = env::with_system(|env| match cmd::run(cli.command, env) {
        Ok(status) => status,
        Err(failure) => match error::status_of(&failure) {
            Some(status) => {
                // When stderr is closed there is nobody left to tell.
                let _told = writeln!(env.err, "netraid-ctl: {failure:#}");
                status
            }
            None => error::Status::Done,
        },
    });
    ExitCode::from(status as u8)
}
