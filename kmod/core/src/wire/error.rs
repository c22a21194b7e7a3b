// SPDX-License-Identifier: GPL-2.0

//! What can be wrong with a message.

use super::{Flags, Kind, VERSION};
use crate::name::TextError;
use core::fmt;

/// Why a message is not accepted. Displayed, it is a sentence about the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// The magic is missing.
    NotNetraid,
    /// Another major version.
    OtherVersion(u16),
    /// The header was changed on its way.
    BadHeaderChecksum,
    /// No kind has this number.
    UnknownKind(u8),
    /// The kind does not carry these flags.
    BadFlags {
        /// Kind of the message.
        kind: Kind,
        /// All its flags.
        flags: Flags,
    },
    /// The payload would be longer than any of its kind.
    TooLong {
        /// Kind of the message.
        kind: Kind,
        /// Length it names, in bytes.
        len: u32,
    },
    /// The payload does not have a length that the kind allows.
    BadLength {
        /// Kind of the message.
        kind: Kind,
        /// Length it names, in bytes.
        len: u32,
    },
    /// The range is empty or not made of whole sectors.
    BadRange {
        /// Kind of the message.
        kind: Kind,
        /// Offset in bytes.
        offset: u64,
        /// Span in bytes.
        span: u64,
    },
    /// The range goes beyond the end of the device (of the map, for a map).
    OutOfBounds {
        /// Offset in bytes (in words, for a map).
        offset: u64,
        /// Span in bytes (in words, for a map).
        span: u64,
        /// Size of the device in bytes (of the map in words).
        size: u64,
    },
    /// The payload was changed on its way.
    BadPayloadChecksum {
        /// Kind of the message.
        kind: Kind,
        /// Offset in bytes on the device, for a kind that has one.
        offset: Option<u64>,
    },
    /// A text of the payload is not one.
    BadText {
        /// Kind of the message.
        kind: Kind,
        /// What is wrong with it.
        error: TextError,
    },
}

impl WireError {
    /// Whether the message was changed on its way, rather than sent so.
    #[must_use]
    pub const fn is_damage(self) -> bool {
        matches!(self, Self::BadHeaderChecksum | Self::BadPayloadChecksum { .. })
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotNetraid => {
                f.write_str("the other side does not speak the netraid protocol; check the address and the port")
            }
            Self::OtherVersion(version) => write!(
                f,
                "the other side speaks version {version} of the netraid protocol, this one \
                 {VERSION}; load modules that speak the same version on both"
            ),
            Self::BadHeaderChecksum => {
                f.write_str("a message header was damaged on its way; if this happens again, check the network")
            }
            Self::UnknownKind(kind) => {
                write!(f, "the other side sent a message of the unknown kind {kind}")
            }
            Self::BadFlags { kind, flags } => write!(
                f,
                "the other side sent a {kind} message with flags {:#04x}, which it cannot have",
                flags.bits()
            ),
            Self::TooLong { kind, len } => write!(
                f,
                "the other side announced a {kind} message of {len} bytes, more than any can have"
            ),
            Self::BadLength { kind, len } => write!(
                f,
                "the other side announced a {kind} message of {len} bytes, which is no length for it"
            ),
            Self::BadRange { kind, offset, span } => write!(
                f,
                "the other side sent a {kind} message for {span} bytes at {offset}, which are not \
                 whole sectors"
            ),
            Self::OutOfBounds { offset, span, size } => write!(
                f,
                "the other side sent a message for {span} at {offset}, beyond the end at {size}"
            ),
            Self::BadPayloadChecksum { kind, offset } => {
                f.write_str("data was damaged on its way (the checksum of a message of kind ")?;
                match offset {
                    Some(offset) => write!(f, "{kind} at offset {offset}")?,
                    None => write!(f, "{kind}")?,
                }
                f.write_str(
                    " does not match); if this happens again, check the network and the memory of both machines",
                )
            }
            Self::BadText { kind, error } => {
                write!(f, "the other side sent a {kind} message with a bad text: {error}")
            }
        }
    }
}
