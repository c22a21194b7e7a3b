// SPDX-License-Identifier: GPL-2.0
//! Arguments of the sub-commands that make, extend and forget a mirror.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::values::{
    parse_async_limit, parse_bitmap, parse_chunk_size, parse_name, parse_priority, parse_seconds, Bitmap,
};
use super::{Liveness, Name};
use crate::gen;

/// What `create` and `join` have in common.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// Where the bitmap is kept: a file or block device, `internal` for the end of the disk, or `none` (no bitmap,
    /// every resync copies everything; the roles are kept in /var/lib/netraid/state_NAME, or in PATH with `none:PATH`)
    /// [default: /var/lib/netraid/bitmap_NAME]
    #[arg(long, value_name = "PATH|internal|none", value_parser = parse_bitmap)]
    pub bitmap: Option<Bitmap>,
    /// Do not copy everything at first: the disks of source and target were made equal by other means. It counts only
    /// where both sides say so; NO_FULL_SYNC=1 in /etc/default/netraid says so for every mirror
    #[arg(long)]
    pub no_full_sync: bool,
    /// The disk is shared with other machines, of which one at a time has the mirror in service: a cluster manager brings
    /// it up where it belongs, and `up --all` leaves it alone. The bitmap has to be on shared storage, too, on a device
    /// that holds no other mirror's
    #[arg(long)]
    pub shared_disk: bool,
    /// Number of the block device, N in /dev/netraidN [default: the lowest free one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1_048_575))]
    pub id: Option<u32>,
    /// How the liveness of the connection is judged.
    #[command(flatten)]
    pub liveness: Liveness,
}

/// Arguments of `create`.
#[derive(Debug, Args)]
pub struct Create {
    /// The mirror.
    #[command(flatten)]
    pub mirror: Name,
    /// Disk or partition that is mirrored
    #[arg(long, value_name = "PATH")]
    pub disk: PathBuf,
    /// What the disk holds is not wanted: only what is written from now on is copied to targets
    #[arg(long, conflicts_with = "existing")]
    pub new: bool,
    /// What the disk holds stays, and is copied to targets (the default)
    #[arg(long)]
    pub existing: bool,
    /// Where to listen.
    #[arg(
        long,
        value_name = "ADDR:PORT",
        default_value = "[::]:7900",
        help = "Where to listen for machines that ask whether this one is in service, and for the source once this \
                machine is a target; mirrors may share it"
    )]
    pub listen: String,
    /// Permit asynchronous targets, see `extend --type`, with at most LIMIT operations outstanding on each: 3 to 4096
    /// [without a number, and with one up to 2: ASYNC_LIMIT of /etc/default/netraid, else 256]
    #[arg(long = "async", value_name = "LIMIT", num_args = 0..=1, require_equals = true,
          default_missing_value = "0", value_parser = parse_async_limit)]
    pub asynchronous: Option<u32>,
    /// What becomes of the disk when it fails a write, see `set`
    #[arg(long, value_enum, default_value = "detach")]
    pub on_io_error: OnIoError,
    /// Priority of this machine, 1 (the highest) to 999: the order in which the machines of the mirror are meant to take
    /// over, for people and cluster managers; netraid promotes nobody by it [default: 1]
    #[arg(long, value_name = "N", value_parser = parse_priority)]
    pub priority: Option<u32>,
    /// Bytes that one bit of the bitmap stands for: a power of two from 4K to 1G [default: 64K, more on large disks]
    #[arg(long, value_name = "SIZE", value_parser = parse_chunk_size)]
    pub chunk_size: Option<u32>,
    /// What `join` has, too.
    #[command(flatten)]
    pub place: Place,
}

/// What becomes of a source's disk that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnIoError {
    /// It is given up, and the mirror goes on with the targets that are in step
    Detach,
    /// The application gets the error
    PassOn,
}

impl From<OnIoError> for gen::OnIoError {
    fn from(policy: OnIoError) -> Self {
        match policy {
            OnIoError::Detach => Self::Detach,
            OnIoError::PassOn => Self::PassOn,
        }
    }
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
    /// What the source calls the mirror, where this machine has to call it otherwise: two sources may have chosen the same
    /// name [default: the same]
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    pub of: Option<String>,
    /// Source and target may be this one machine, which is refused otherwise. Such a copy protects from the loss of a
    /// disk and not from that of the machine; and when memory is short, the machine may wait for itself for ever. For
    /// tests and measurements
    #[arg(long)]
    pub same_machine: bool,
    /// Where to listen for the source
    #[arg(long, value_name = "ADDR:PORT", default_value = "[::]:7900")]
    pub listen: String,
    /// What `create` has, too.
    #[command(flatten)]
    pub place: Place,
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
    #[arg(long = "type", value_name = "TYPE", value_enum, default_value = "sync")]
    pub replication: Replication,
    /// What an asynchronous target that can't keep up costs, once as many operations are unconfirmed as the limit of the
    /// mirror allows
    #[arg(long, value_name = "POLICY", value_enum, default_value = "block")]
    pub congestion: Congestion,
    /// Priority of the target, 1 (the highest) to 999, one that no other machine of the mirror has: the order in which they
    /// are meant to take over, for people and cluster managers; netraid promotes nobody by it [default: the next multiple
    /// of 10; on a target the one that the source there gave]
    #[arg(long, value_name = "N", value_parser = parse_priority)]
    pub priority: Option<u32>,
    /// How the liveness of the connection is judged.
    #[command(flatten)]
    pub liveness: Liveness,
    /// Do not copy everything at first: the disks were made equal by other means. It counts only where the target was
    /// joined so, too; NO_FULL_SYNC=1 in /etc/default/netraid says so for every mirror
    #[arg(long)]
    pub no_full_sync: bool,
    /// Send the data without checksums. With them, which is the rule where both machines know them, data that is damaged
    /// on its way is never written; go without if a program changes buffers while they are being written, as some do
    /// with direct I/O, or if the network checks the data itself
    #[arg(long)]
    pub no_checksums: bool,
    /// Wait until the target holds the same content, at most so many seconds [without a number: 3600]
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
    #[value(name = "sync", alias = "synchronous")]
    Synchronous,
    /// When it is on the local disk; the target follows, in the same order. The mirror has to permit that: `create
    /// --async`, or `bitmap -a`
    #[value(name = "async", alias = "asynchronous")]
    Asynchronous,
}

/// What becomes of a write that an asynchronous target has no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Congestion {
    /// It waits until the target has confirmed others, as on a synchronous target
    Block,
    /// It does not wait: the target is left behind, out of sync, and catches up by a resync after 5 seconds, later if that
    /// happens again soon. Until it has caught up, writes may wait for it
    Behind,
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
