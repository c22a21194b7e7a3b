// SPDX-License-Identifier: GPL-2.0

//! Why a connection ended.

use crate::sys::errno::ECONNRESET;
use core::fmt;
use kernel::prelude::*;
use netraid_core::wire::{Kind, WireError};

/// Why a connection ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LinkError {
    /// The other side closed it.
    Closed,
    /// The other side took leave.
    Goodbye,
    /// Nothing was heard for the time given, milliseconds.
    Silent(u64),
    /// A greeting was not complete in time.
    Slow,
    /// The network reported an error.
    Io(Error),
    /// What has to be on record first could not be written to the metadata.
    Record(Error),
    /// The disk here may lose what it confirms from now on.
    Cached,
    /// What arrived is no message.
    Wire(WireError),
    /// A message that has no place here.
    Unexpected(Kind),
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Goodbye => f.write_str("the mirror was taken out of service there"),
            Self::Closed => f.write_str("the other side closed the connection"),
            Self::Silent(ms) => write!(f, "nothing was heard for {ms} ms"),
            Self::Slow => f.write_str("the greeting was not complete in time"),
            Self::Io(error) if *error == EPIPE || *error == ECONNRESET => {
                f.write_str("the other side closed the connection")
            }
            Self::Io(error) if *error == EAGAIN || *error == ETIMEDOUT => {
                f.write_str("the other side takes no data any more")
            }
            Self::Io(error) => write!(f, "the connection broke (error {})", -error.to_errno()),
            Self::Record(error) => {
                let errno = -error.to_errno();
                write!(
                    f,
                    "the metadata here can't be written (error {errno}); look at the disk it is on"
                )
            }
            Self::Cached => f.write_str(
                "the disk of the target has a write cache now; flushes go there again from the next connection on",
            ),
            Self::Wire(error) => write!(f, "{error}"),
            Self::Unexpected(kind) => write!(f, "the other side sent a message out of turn ({kind:?})"),
        }
    }
}

impl LinkError {
    /// Whether a message was changed on its way.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, Self::Wire(error) if error.is_damage())
    }
}

impl From<WireError> for LinkError {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

/// A result of this module.
pub(crate) type LinkResult<T = ()> = core::result::Result<T, LinkError>;
