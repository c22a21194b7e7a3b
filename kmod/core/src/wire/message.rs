// SPDX-License-Identifier: GPL-2.0

//! The payloads of acknowledgements, replies and maps.

use super::codec::{text_len, Reader, Writer};
use super::{Header, Kind, WireError, HEADER_LEN};
use crate::name::{Text, TEXT_MAX};
use crate::xxh64::checksum;

/// Bytes of one [`Ack`].
pub const ACK_LEN: usize = 16;

/// Bytes of the SHA-256 digest that a [`Kind::Compare`] carries.
pub const DIGEST_LEN: usize = 32;

/// Most [`Ack`]s in one message.
pub const ACKS_MAX: usize = 64;

/// Most bytes of words in one map message (64 KiB).
pub const MAP_MAX_LEN: usize = 1 << 16;

/// Most words in one map message.
pub const MAP_MAX_WORDS: usize = MAP_MAX_LEN / 8;

/// Fewest bytes of a [`Reply`].
pub const REPLY_MIN_LEN: usize = 8;

/// Most bytes of a [`Reply`] of this version.
pub const REPLY_MAX_LEN: usize = REPLY_MIN_LEN + TEXT_MAX;

/// How a request ended on the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckStatus {
    /// It is done.
    Ok,
    /// The disk of the target failed.
    IoError,
    /// The disk of the target has no room (thin provisioning).
    NoSpace,
    /// The disk of the target cannot do that.
    Unsupported,
    /// The answer to a [`Kind::Compare`] where the target holds something else.
    Differs,
    /// A status of a later version; it counts as an error.
    Unknown(u32),
}

impl AckStatus {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Ok => 0,
            Self::IoError => 1,
            Self::NoSpace => 2,
            Self::Unsupported => 3,
            Self::Differs => 4,
            Self::Unknown(number) => number,
        }
    }

    /// The status with this number.
    #[must_use]
    pub const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Ok,
            1 => Self::IoError,
            2 => Self::NoSpace,
            3 => Self::Unsupported,
            4 => Self::Differs,
            other => Self::Unknown(other),
        }
    }
}

/// One request is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Handle of the request.
    pub handle: u32,
    /// How it ended.
    pub status: AckStatus,
    /// Sequence number of the request; where it does not match, the handle was meant for another.
    pub seq: u64,
}

impl Ack {
    /// The bytes of the acknowledgement.
    #[must_use]
    pub fn encode(&self) -> [u8; ACK_LEN] {
        let mut bytes = [0u8; ACK_LEN];
        Writer::new(&mut bytes)
            .u32(self.handle)
            .u32(self.status.number())
            .u64(self.seq);
        bytes
    }

    /// Takes an acknowledgement apart; any bytes are one.
    #[must_use]
    pub fn decode(bytes: &[u8; ACK_LEN]) -> Self {
        let mut reader = Reader::new(bytes);
        Self {
            handle: reader.u32().unwrap_or(0),
            status: AckStatus::from_number(reader.u32().unwrap_or(0)),
            seq: reader.u64().unwrap_or(0),
        }
    }

    /// The acknowledgements of a payload, in order; a rest that is none is ignored.
    pub fn decode_all(payload: &[u8]) -> impl Iterator<Item = Self> + '_ {
        let mut reader = Reader::new(payload);
        core::iter::from_fn(move || reader.array().map(|bytes| Self::decode(&bytes)))
    }
}

/// The payload of a message of confirmations that is the first of what has arrived, if all of it has, undamaged. Of
/// anything else whoever reads it finds out what it is. `agreed`: both sides have [`features::PAYLOAD_CHECKSUM`].
///
/// [`features::PAYLOAD_CHECKSUM`]: super::features::PAYLOAD_CHECKSUM
#[must_use]
pub fn leading_acks(arrived: &[u8], agreed: bool) -> Option<&[u8]> {
    let (header, rest) = arrived.split_first_chunk::<HEADER_LEN>()?;
    let header = Header::decode(header).ok().filter(|header| header.kind == Kind::Ack)?;
    let payload = rest.get(..usize::try_from(header.len).ok()?)?;
    if header.has_payload_checksum(agreed) {
        header.check_payload(checksum(payload)).ok()?;
    }
    Some(payload)
}

/// The words of a map payload, in order; a rest that is no word is ignored.
pub fn map_words(payload: &[u8]) -> impl Iterator<Item = u64> + '_ {
    let mut reader = Reader::new(payload);
    core::iter::from_fn(move || reader.u64())
}

/// Whether a control message was obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyStatus {
    /// It was.
    Ok,
    /// It was refused; the reason says why.
    Refused,
    /// A status of a later version; it counts as a refusal.
    Unknown(u32),
}

impl ReplyStatus {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Ok => 0,
            Self::Refused => 1,
            Self::Unknown(number) => number,
        }
    }

    /// The status with this number.
    #[must_use]
    pub const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Ok,
            1 => Self::Refused,
            other => Self::Unknown(other),
        }
    }
}

/// The answer to a control message.
///
/// Its payload: status (4 bytes), length of the reason (1), three bytes of zero, the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Whether it was obeyed.
    pub status: ReplyStatus,
    /// Why not, a sentence; empty where it was.
    pub reason: Text,
}

impl Reply {
    /// The answer to a message that was obeyed.
    pub const OK: Self = Self {
        status: ReplyStatus::Ok,
        reason: Text::EMPTY,
    };

    /// The answer to a message that was refused.
    #[must_use]
    pub const fn refused(reason: Text) -> Self {
        Self {
            status: ReplyStatus::Refused,
            reason,
        }
    }

    /// Puts the payload into `buffer`; the part of it that was used.
    #[must_use]
    pub fn encode<'a>(&self, buffer: &'a mut [u8; REPLY_MAX_LEN]) -> &'a [u8] {
        encode_reason(buffer, self.status.number(), &self.reason)
    }

    /// Takes a payload apart; what a later version appended is ignored.
    ///
    /// # Errors
    ///
    /// [`WireError::BadLength`] where it is too short, [`WireError::BadText`] where the reason is
    /// not a text.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let (status, reason) = decode_reason(Kind::Reply, payload)?;
        Ok(Self {
            status: ReplyStatus::from_number(status),
            reason,
        })
    }
}

/// Puts a number and a reason into `buffer`; the part of it that was used.
pub(super) fn encode_reason<'a>(buffer: &'a mut [u8; REPLY_MAX_LEN], number: u32, reason: &Text) -> &'a [u8] {
    Writer::new(buffer)
        .u32(number)
        .u8(text_len(reason))
        .put(&[0; 3])
        .put(reason.as_bytes());
    let used = REPLY_MIN_LEN.saturating_add(reason.len());
    buffer.get(..used).unwrap_or(&[])
}

/// Takes what [`encode_reason`] made apart.
pub(super) fn decode_reason(kind: Kind, payload: &[u8]) -> Result<(u32, Text), WireError> {
    let mut reader = Reader::new(payload);
    let mut fields = || {
        let number = reader.u32()?;
        let len = reader.u8()?;
        let _reserved: [u8; 3] = reader.array()?;
        Some((number, reader.slice(usize::from(len))?))
    };
    let (number, reason) = fields().ok_or_else(|| short(kind, payload))?;
    let reason = Text::from_bytes(reason).map_err(|error| WireError::BadText { kind, error })?;
    Ok((number, reason))
}

/// The error for a payload that is too short for its kind.
pub(super) fn short(kind: Kind, payload: &[u8]) -> WireError {
    WireError::BadLength {
        kind,
        len: u32::try_from(payload.len()).unwrap_or(u32::MAX),
    }
}
