// SPDX-License-Identifier: GPL-2.0
//! Arguments of the sub-commands that look.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::values::{parse_name, parse_seconds};
use super::Name;

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct Status {
    /// Name of the mirror [default: all]
    #[arg(value_parser = parse_name)]
    pub name: Option<String>,
    /// Print JSON
    #[arg(long, short)]
    pub json: bool,
    /// Go on and print the status again whenever it changes
    #[arg(long, short)]
    pub watch: bool,
    /// Exit with 3 when a mirror is not fully operational
    #[arg(long, conflicts_with = "watch")]
    pub check: bool,
    /// Print everything known: the legs with disk and address, counters, why
    #[arg(long, short, conflicts_with = "json")]
    pub detail: bool,
}

/// Arguments of `events`.
#[derive(Debug, Args)]
pub struct Events {
    /// Name of the mirror [default: all]
    #[arg(value_parser = parse_name)]
    pub name: Option<String>,
    /// Print JSON, one object a line
    #[arg(long, short)]
    pub json: bool,
}

/// Arguments of `wait`.
#[derive(Debug, Args)]
pub struct Wait {
    /// The mirror.
    #[command(flatten)]
    pub mirror: Name,
    /// The states to wait for; any of them ends the wait
    #[arg(long = "for", value_name = "STATE", required = true, value_delimiter = ',')]
    pub states: Vec<WaitFor>,
    /// Number of the leg [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=7))]
    pub leg: Option<u32>,
    /// How long to wait
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = parse_seconds)]
    pub timeout: Duration,
}

/// What `wait` can wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WaitFor {
    /// Every leg holds the same content
    FullyOperational,
    /// A leg is paused
    Paused,
    /// A leg is being brought up to date
    Resyncing,
    /// A leg misses writes and no resync runs
    OutOfSync,
    /// Every leg is connected
    Connected,
    /// A leg is not connected
    Disconnected,
    /// This machine is the source
    Source,
    /// This machine is a target
    Target,
    /// The mirror is out of service on this machine
    Stopped,
    /// There is no mirror of that name
    Deleted,
}

/// Arguments of `disks`.
#[derive(Debug, Args)]
pub struct Disks {
    /// Print JSON
    #[arg(long, short)]
    pub json: bool,
    /// List also those a mirror cannot use, and why
    #[arg(long, short, conflicts_with = "json")]
    pub all: bool,
}

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// The shells a completion script can be made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// For bash
    Bash,
    /// For elvish
    Elvish,
    /// For fish
    Fish,
    /// For PowerShell
    Powershell,
    /// For zsh
    Zsh,
}

/// Arguments of `list`.
#[derive(Debug, Args)]
pub struct List {
    /// Print JSON
    #[arg(long, short)]
    pub json: bool,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub struct Man {
    /// The directory
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}
