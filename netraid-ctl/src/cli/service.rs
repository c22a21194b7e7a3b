// SPDX-License-Identifier: GPL-2.0
//! Arguments of the sub-commands that bring mirrors into and out of service, and change them there.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};

use super::values::{parse_async_limit, parse_name, parse_seconds, parse_size};
use super::{Liveness, Name, OnIoError};

/// Arguments of `up`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).args(["names", "all"])))]
pub struct Up {
    /// Names of the mirrors; one that an operator stopped comes up, too
    #[arg(value_parser = parse_name, value_name = "NAME")]
    pub names: Vec<String>,
    /// Every mirror of this machine, but for those that an operator stopped
    #[arg(long, short)]
    pub all: bool,
}

/// Arguments of `down`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).args(["names", "all"])))]
pub struct Down {
    /// Names of the mirrors
    #[arg(value_parser = parse_name, value_name = "NAME")]
    pub names: Vec<String>,
    /// Every mirror of this machine
    #[arg(long, short)]
    pub all: bool,
    /// Do it although a block device is open; its users get errors from then on
    #[arg(long)]
    pub force: bool,
}

/// Arguments of `start` and `promote`.
#[derive(Debug, Args)]
pub struct Start {
    /// The mirror.
    #[command(flatten)]
    pub mirror: Name,
    /// How long to wait for the connection to a silent source to be given up
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = parse_seconds)]
    pub wait: Duration,
}

/// Arguments of `force`.
#[derive(Debug, Args)]
pub struct Force {
    /// The mirror.
    #[command(flatten)]
    pub mirror: Name,
    /// Also where this machine was not the last source, or the other one is in service
    #[arg(long = "override")]
    pub override_: bool,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

/// Arguments of `stop`.
#[derive(Debug, Args)]
pub struct Stop {
    /// The mirror.
    #[command(flatten)]
    pub mirror: Name,
    /// Do it although the block device is open; its users get errors from then on
    #[arg(long)]
    pub force: bool,
}

/// Arguments of `demote`.
#[derive(Debug, Args)]
pub struct Demote {
    /// The mirror.
    #[command(flatten)]
    pub mirror: Name,
    /// Where to listen.
    #[arg(
        long,
        value_name = "ADDR:PORT",
        help = "Where to listen for the source [default: where the mirror listens now, else [::]:7900]"
    )]
    pub listen: Option<String>,
    /// How the liveness of the connection is judged.
    #[command(flatten)]
    pub liveness: Liveness,
}

/// Arguments of `switchover`.
#[derive(Debug, Args)]
pub struct Switchover {
    /// The mirror.
    #[command(flatten)]
    pub mirror: Name,
    /// How long to wait until this machine is the source
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = parse_seconds)]
    pub timeout: Duration,
}

/// Arguments of `resolve`.
#[derive(Debug, Args)]
pub struct Resolve {
    /// The mirror.
    #[command(flatten)]
    pub mirror: Name,
    /// Name of the machine whose data is kept
    #[arg(long, value_name = "NODE")]
    pub keep: String,
    /// Give this machine's writes up although the block device is open; its users get errors from then on
    #[arg(long)]
    pub force: bool,
    /// Do not ask whether this machine's writes may be given up
    #[arg(long, short)]
    pub yes: bool,
}

/// Arguments of `pause` and `resume`.
#[derive(Debug, Args)]
pub struct PauseResume {
    /// The mirror.
    #[command(flatten)]
    pub mirror: Name,
    /// Number of the leg [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=7))]
    pub leg: Option<u32>,
    /// How long to wait until the state is reached
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = parse_seconds)]
    pub timeout: Duration,
}

/// Arguments of `fullresync`.
#[derive(Debug, Args)]
pub struct FullResync {
    /// The mirror.
    #[command(flatten)]
    pub mirror: Name,
    /// Number of the leg [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=7))]
    pub leg: Option<u32>,
    /// Do not ask whether the target may be without a usable copy meanwhile
    #[arg(long, short)]
    pub yes: bool,
}

/// Arguments of `attach`.
#[derive(Debug, Args)]
pub struct Attach {
    /// The mirror.
    #[command(flatten)]
    pub mirror: Name,
    /// Disk or partition that takes the place of the failed one; its content is lost [default: the failed one]
    #[arg(long, value_name = "PATH")]
    pub disk: Option<PathBuf>,
    /// Do not ask whether the content of the disk may be replaced
    #[arg(long, short)]
    pub yes: bool,
}

/// Arguments of `set`.
#[derive(Debug, Args)]
#[command(
    subcommand_value_name = "SETTING",
    subcommand_help_heading = "Settings",
    disable_help_subcommand = true
)]
pub struct Set {
    /// The mirror.
    #[command(flatten)]
    pub mirror: Name,
    /// The setting.
    #[command(subcommand)]
    pub setting: Setting,
}

/// A setting of a mirror and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum Setting {
    /// Most bytes a second that a resync copies
    ResyncRate {
        /// Bytes a second, with K, M or G after it if you like; 0 for no limit
        #[arg(value_name = "SIZE", value_parser = parse_size)]
        rate: u64,
    },
    /// Most operations that an asynchronous target may have outstanding
    AsyncLimit {
        /// The number, at most 4096; up to 2 means 256
        #[arg(value_name = "N", value_parser = parse_async_limit)]
        limit: u32,
    },
    /// What becomes of the disk when it fails a write while this machine is the source
    OnIoError {
        /// The policy
        #[arg(value_enum)]
        policy: OnIoError,
    },
}

/// Arguments of `mirror_action`.
#[derive(Debug, Args)]
pub struct MirrorAction {
    /// The mirror.
    #[command(flatten)]
    pub mirror: Name,
    /// What to do
    #[arg(value_enum)]
    pub action: Action,
    /// Name of the source, which is this machine
    pub source: String,
    /// Names of the targets [default: all]
    pub targets: Vec<String>,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

/// What `mirror_action` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Action {
    /// Stop replication for a while
    Pause,
    /// Go on after a pause
    Resume,
    /// Bring the mirror into service as source though nobody answers
    Force,
    /// Copy everything again
    Fullresync,
}
