// SPDX-License-Identifier: GPL-2.0
//! Disks: which ones a mirror can use, and why another one cannot be used.
//!
//! The kernel refuses a disk in use by itself, with EBUSY. What is here knows by whom.

mod host;
mod identity;
mod stack;
mod table;

use std::collections::HashMap;
use std::path::Path;

use thiserror::Error;

pub use host::{Device, Host, Kind, System};
pub use identity::identity;
pub use stack::carriers;
pub use table::{Block, Table};

/// Why a path is no disk for a mirror.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unfit {
    /// There is nothing at the path.
    #[error("it does not exist; `netraid-ctl disks` lists the disks that can be used")]
    Missing,
    /// The path cannot be looked at.
    #[error("it cannot be examined: {0}")]
    Unreadable(String),
    /// It is not a block device.
    #[error("it is {0}, not a disk; `netraid-ctl disks` lists the disks that can be used")]
    NoDisk(&'static str),
    /// Somebody uses it.
    #[error("{0}")]
    Used(Use),
}

/// What a disk is used for, or why it cannot be used at all.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Use {
    /// It carries a file system that is in use.
    #[error("it is mounted on {0}; unmount it first")]
    Mounted(String),
    /// The system swaps to it.
    #[error("it is used as swap; `swapoff` it first")]
    Swap,
    /// Another driver has it.
    #[error("it is held by {0}; take it out of there first")]
    Held(String),
    /// A mirror has it.
    #[error("it is used by mirror {0}; `netraid-ctl stop {0}` releases it")]
    Mirror(String),
    /// Somebody claimed it who left no other trace.
    #[error("another program or driver has claimed it exclusively")]
    Claimed,
    /// Nothing can be written to it.
    #[error("it is read-only; `blockdev --setrw` may change that")]
    ReadOnly,
    /// It has no medium.
    #[error("it has no capacity")]
    Empty,
    /// It is a block device of netraid.
    #[error("it is itself a mirror's block device")]
    OwnDevice,
    /// A partition of it is in use.
    #[error("its partition {0} is in use: {1}")]
    Partition(String, Box<Use>),
    /// The disk it is a partition of is in use.
    #[error("the whole disk {0} is in use: {1}")]
    Whole(String, Box<Use>),
}

/// Whether a mirror can use the disk at `path`; `mirrors` has the disks of the mirrors in service, by path.
///
/// # Errors
///
/// The reason why not.
pub fn check(host: &dyn Host, path: &Path, mirrors: &[(String, String)]) -> Result<(), Unfit> {
    let stat = host.stat(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Unfit::Missing,
        _ => Unfit::Unreadable(error.to_string()),
    })?;
    let device = match stat {
        Kind::Block(device) => device,
        Kind::Directory => return Err(Unfit::NoDisk("a directory")),
        Kind::Character => return Err(Unfit::NoDisk("a character device")),
        Kind::File => return Err(Unfit::NoDisk("a regular file")),
        Kind::Other => return Err(Unfit::NoDisk("a special file")),
    };
    let table = Table::read(host, &by_device(host, mirrors));
    match table.find(device).and_then(|block| table.verdict(block)) {
        Some(reason) => Err(Unfit::Used(reason)),
        None if table::is_claimed(host, path) => Err(Unfit::Used(Use::Claimed)),
        None => Ok(()),
    }
}

/// The mirrors by the number of their disk.
pub fn by_device(host: &dyn Host, mirrors: &[(String, String)]) -> HashMap<Device, String> {
    let device = |path: &str| match host.stat(Path::new(path)) {
        Ok(Kind::Block(device)) => Some(device),
        // A disk that was unplugged has no path any more, and nobody can ask for it by that path.
        _ => None,
    };
    mirrors
        .iter()
        .filter_map(|(name, path)| Some((device(path)?, name.clone())))
        .collect()
}
