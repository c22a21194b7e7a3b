// SPDX-License-Identifier: GPL-2.0
//! The command line: types for clap and nothing else, so that other programs can include this file to make manual
//! pages and completions.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

const EXIT_CODES: &str = "\
Exit status: 0 done, 1 wrong usage, 2 refused (by the kernel or for a reason found before asking it), \
3 degraded (`status --check`), 4 a wait ran out of time.";

/// Control mirrors: a local disk whose content is kept, block by block, on the disks of other machines.
#[derive(Debug, Parser)]
#[command(name = "netraid-ctl", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The sub-commands, in the order of a mirror's life.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a mirror of a local disk; it is a block device, /dev/netraidN, at once.
    Create(Create),
    /// Give a local disk to a mirror of another machine, and listen for that machine.
    Join(Join),
    /// Add a target to a mirror and copy everything to it.
    Extend(Extend),
    /// End the mirroring to a target; the copy there stays as it is.
    Unextend(Unextend),
    /// Forget a mirror; the content of its disk stays.
    Delete(Delete),
    /// Take a mirror out of service on this machine and release its disk.
    Stop(Stop),
    /// Make this machine the source of a mirror.
    Promote(Promote),
    /// Make this machine a target of a mirror.
    Demote(Demote),
    /// Stop replication for a while; what is written meanwhile is remembered.
    Pause(PauseResume),
    /// Go on after a pause; what either side wrote meanwhile is copied from the source.
    Resume(PauseResume),
    /// Show mirrors.
    Status(Status),
    /// Show the mirrors, then everything that happens to them.
    Events(Events),
    /// Wait until a mirror is in a state.
    Wait(Wait),
    /// List the disks and partitions that a mirror could use.
    Disks(Disks),
    /// Print a completion script for a shell.
    Completions(Completions),
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

/// Arguments of `create`.
#[derive(Debug, Args)]
pub struct Create {
    /// The mirror.
    #[command(flatten)]
    pub mirror: Name,
    /// Disk or partition whose content is mirrored; the content stays
    #[arg(long, value_name = "PATH")]
    pub disk: PathBuf,
    /// Number of the block device, N in /dev/netraidN [default: the lowest free one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1_048_575))]
    pub id: Option<u32>,
    /// Bytes that one bit of the bitmap stands for: a power of two from 4K to 1G [default: 64K]
    #[arg(long, value_name = "SIZE", value_parser = parse_chunk_size)]
    pub chunk_size: Option<u32>,
}

/// Arguments of `join`.
#[derive(Debug, Args)]
pub struct Join {
    /// The mirror.
    #[command(flatten)]
    pub mirror: Name,
    /// Disk or partition that receives the copy; its content is lost
    #[arg(long, value_name = "PATH")]
    pub disk: PathBuf,
    /// Where to listen for the source
    #[arg(long, value_name = "ADDR:PORT", default_value = "[::]:7900")]
    pub listen: String,
    /// Number of the block device, N in /dev/netraidN [default: the lowest free one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1_048_575))]
    pub id: Option<u32>,
    /// How the liveness of the connection is judged.
    #[command(flatten)]
    pub liveness: Liveness,
    /// Do not ask whether the content of the disk may be replaced
    #[arg(long, short)]
    pub yes: bool,
}

/// Arguments of `extend`.
#[derive(Debug, Args)]
pub struct Extend {
    /// The mirror.
    #[command(flatten)]
    pub mirror: Name,
    /// The target: host name, IPv4 or IPv6 address, with a port if it is not 7900
    #[arg(long, value_name = "ADDR[:PORT]")]
    pub to: String,
    /// When a write counts as done
    #[arg(long = "type", value_name = "TYPE", value_enum, default_value = "synchronous")]
    pub replication: Replication,
    /// How the liveness of the connection is judged.
    #[command(flatten)]
    pub liveness: Liveness,
    /// Wait until the target holds the same content, at most so many seconds
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true,
          default_missing_value = "3600", value_parser = parse_seconds)]
    pub wait: Option<Duration>,
    /// Do not ask whether the content of the target's disk may be replaced
    #[arg(long, short)]
    pub yes: bool,
}

/// When a write counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Replication {
    /// When it is on the local disk and on the target's disk
    Synchronous,
}

/// Arguments of `unextend`.
#[derive(Debug, Args)]
pub struct Unextend {
    /// The mirror.
    #[command(flatten)]
    pub mirror: Name,
    /// Number of the leg [default: the only one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=7))]
    pub leg: Option<u32>,
}

/// Arguments of `delete`.
#[derive(Debug, Args)]
pub struct Delete {
    /// The mirror.
    #[command(flatten)]
    pub mirror: Name,
    /// Do it although the block device is open; its users get errors from then on
    #[arg(long)]
    pub force: bool,
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

/// Arguments of `promote`.
#[derive(Debug, Args)]
pub struct Promote {
    /// The mirror.
    #[command(flatten)]
    pub mirror: Name,
    /// How long to wait for the connection to a silent source to be given up
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = parse_seconds)]
    pub wait: Duration,
}

/// Arguments of `demote`.
#[derive(Debug, Args)]
pub struct Demote {
    /// The mirror.
    #[command(flatten)]
    pub mirror: Name,
    /// Where to listen for the source
    #[arg(long, value_name = "ADDR:PORT", default_value = "[::]:7900")]
    pub listen: String,
    /// How the liveness of the connection is judged.
    #[command(flatten)]
    pub liveness: Liveness,
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

fn parse_name(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("a mirror needs a name".to_owned());
    }
    if text.len() > 64 {
        return Err(format!("it has {} bytes, a name has at most 64", text.len()));
    }
    if text.starts_with(['.', '-']) {
        return Err("a name does not start with . or -".to_owned());
    }
    match text.chars().find(|&c| !c.is_ascii_alphanumeric() && !"._-".contains(c)) {
        Some(c) => Err(format!(
            "a name consists of A-Z a-z 0-9 . _ - and `{}` is none of them",
            c.escape_default()
        )),
        None => Ok(text.to_owned()),
    }
}

fn parse_chunk_size(text: &str) -> Result<u32, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let suffix = text.strip_prefix(digits).unwrap_or_default().to_ascii_lowercase();
    let shift = match suffix.as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        _ => return Err("a size is a number, with K, M or G after it if you like".to_owned()),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "a size is a number, with K, M or G after it if you like".to_owned())?;
    number
        .checked_mul(1 << shift)
        .and_then(|bytes| u32::try_from(bytes).ok())
        .filter(|bytes| bytes.is_power_of_two() && (4096..=1 << 30).contains(bytes))
        .ok_or_else(|| "a chunk is a power of two from 4K to 1G".to_owned())
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is no number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|duration| duration.as_secs() <= 31_536_000)
        .ok_or_else(|| "a wait lasts from 0 to 31536000 seconds, a year".to_owned())
}
