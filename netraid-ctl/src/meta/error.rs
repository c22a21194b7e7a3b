// SPDX-License-Identifier: GPL-2.0
//! Why metadata cannot be read or written.

use std::io;

use netraid_core::meta::{LayoutError, MetaError};
use thiserror::Error;

/// Why metadata cannot be read or written, as what follows the path and a colon.
#[derive(Debug, Error)]
pub enum AccessError {
    /// There is nothing at the path.
    #[error("it does not exist; `netraid-ctl status --detail` shows where the bitmap of a mirror is")]
    Missing,
    /// Neither a file nor a block device.
    #[error("it is {0}, not a file or a block device")]
    Kind(&'static str),
    /// This user may not.
    #[error("you may not open it; try it with sudo")]
    Denied,
    /// It can be read, and not be written.
    #[error("it cannot be opened for writing; it is read-only, or only root may do that: try it with sudo")]
    NotWritable,
    /// It cannot be written at all.
    #[error("it is read-only, so that nothing can be changed there")]
    ReadOnly,
    /// Somebody has claimed it.
    #[error("it is in use: mounted, swap, or used by a mirror or another driver; take it out of there first")]
    Claimed,
    /// Another netraid-ctl changes it.
    #[error("another netraid-ctl is changing it; try again when that is done")]
    Locked,
    /// It has no bytes.
    #[error("it is empty; there is no metadata of a mirror")]
    Empty,
    /// It is shorter than the least metadata.
    #[error("it has {len} bytes, too few for metadata of a mirror; check that it is the right file or device")]
    TooShort {
        /// Its length in bytes.
        len: u64,
    },
    /// It is shorter than its own superblock says.
    #[error(
        "it is truncated: it has {len} of {needed} bytes; it cannot be used, make the mirror anew with other metadata \
         and copy everything"
    )]
    Truncated {
        /// Its length in bytes.
        len: u64,
        /// The length it should have.
        needed: u64,
    },
    /// What is there is not, or no longer, metadata.
    #[error("{0}")]
    Format(MetaError),
    /// What is at the start is not metadata, but what is at the end is.
    #[error("the metadata is at its end; say --internal")]
    AtEnd,
    /// It does not fit where it is.
    #[error("{0}")]
    Layout(LayoutError),
    /// What the system said.
    #[error("{what} failed: {source}")]
    System {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl AccessError {
    /// An error of the system, told apart where there is more to say.
    pub(super) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::PermissionDenied => Self::Denied,
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            io::ErrorKind::ResourceBusy => Self::Claimed,
            _ => Self::System { what, source },
        }
    }
}

impl From<MetaError> for AccessError {
    fn from(error: MetaError) -> Self {
        Self::Format(error)
    }
}

impl From<LayoutError> for AccessError {
    fn from(error: LayoutError) -> Self {
        Self::Layout(error)
    }
}
