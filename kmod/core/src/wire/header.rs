// SPDX-License-Identifier: GPL-2.0

//! The header of a message, and the rules for what it may announce.

use super::codec::{Reader, Writer};
use super::{Flags, Kind, WireError, HEADER_LEN, MAGIC, MAX_CONTROL, MAX_PAYLOAD, VERSION};
use super::{
    ACKS_MAX, ACK_LEN, DIGEST_LEN, HELLO_MIN_LEN, MAP_MAX_LEN, REFUSE_MIN_LEN, REPLY_MIN_LEN, WELCOME_MIN_LEN,
};
use crate::crc32c::crc32c;
use crate::units::is_sector_aligned;

/// Bytes of a header that its checksum covers.
const CHECKED_LEN: usize = HEADER_LEN - 4;

/// The header of a message; what the fields mean is said in the [parent module](super).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the message is.
    pub kind: Kind,
    /// Its flags.
    pub flags: Flags,
    /// Bytes of payload that follow.
    pub len: u32,
    /// Names the request in its acknowledgement.
    pub handle: u32,
    /// Sequence number of the request.
    pub seq: u64,
    /// Offset in bytes on the device.
    pub offset: u64,
    /// Bytes of the device the operation covers.
    pub span: u64,
    /// [Checksum](crate::xxh64::checksum) of the payload, 0 where that is not agreed on.
    pub payload_checksum: u32,
}

impl Header {
    /// A header of a kind with everything else zero.
    #[must_use]
    pub const fn new(kind: Kind) -> Self {
        Self {
            kind,
            flags: Flags::NONE,
            len: 0,
            handle: 0,
            seq: 0,
            offset: 0,
            span: 0,
            payload_checksum: 0,
        }
    }

    /// The bytes of the header, checksum included.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut checked = [0u8; CHECKED_LEN];
        Writer::new(&mut checked)
            .put(&MAGIC)
            .u8(self.kind.number())
            .u8(self.flags.bits())
            .u16(VERSION)
            .u32(self.len)
            .u32(self.handle)
            .u64(self.seq)
            .u64(self.offset)
            .u64(self.span)
            .u32(self.payload_checksum);
        let mut bytes = [0u8; HEADER_LEN];
        Writer::new(&mut bytes).put(&checked).u32(crc32c(0, &checked));
        bytes
    }

    /// Takes a header apart and checks everything that can be checked without knowing the device.
    ///
    /// # Errors
    ///
    /// A [`WireError`]: first the magic is looked at, so that something that is not netraid is
    /// called that, then the version, before any byte that another version may have moved, then
    /// the checksum, then what the header announces.
    pub fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Self, WireError> {
        let (checked, checksum) = Self::split(bytes);
        let mut reader = Reader::new(checked);
        if reader.array() != Some(MAGIC) {
            return Err(WireError::NotNetraid);
        }
        let kind = reader.u8().unwrap_or(0);
        let flags = Flags::from_bits(reader.u8().unwrap_or(0));
        let version = reader.u16().unwrap_or(0);
        if version != VERSION {
            return Err(WireError::OtherVersion(version));
        }
        if crc32c(0, checked) != checksum {
            return Err(WireError::BadHeaderChecksum);
        }
        let header = Self {
            kind: Kind::from_number(kind).ok_or(WireError::UnknownKind(kind))?,
            flags,
            len: reader.u32().unwrap_or(0),
            handle: reader.u32().unwrap_or(0),
            seq: reader.u64().unwrap_or(0),
            offset: reader.u64().unwrap_or(0),
            span: reader.u64().unwrap_or(0),
            payload_checksum: reader.u32().unwrap_or(0),
        };
        header.check()?;
        Ok(header)
    }

    /// The bytes under the checksum, and the checksum.
    fn split(bytes: &[u8; HEADER_LEN]) -> (&[u8], u32) {
        match bytes.split_last_chunk::<4>() {
            Some((checked, checksum)) => (checked, u32::from_le_bytes(*checksum)),
            // An array of 48 bytes always has four at its end.
            None => (&[], 0),
        }
    }

    /// Checks flags, length and range against the rules of the kind.
    ///
    /// # Errors
    ///
    /// A [`WireError`] that names the first rule that is broken.
    pub fn check(&self) -> Result<(), WireError> {
        let Self { kind, flags, len, .. } = *self;
        if !kind.allowed_flags().contains(flags) {
            return Err(WireError::BadFlags { kind, flags });
        }
        let (least, most) = length_limits(kind);
        if len > most {
            return Err(WireError::TooLong { kind, len });
        }
        let bad_length = WireError::BadLength { kind, len };
        if len < least {
            return Err(bad_length);
        }
        let fits = match kind {
            Kind::Write => u64::from(len) == self.span,
            Kind::ReadReply => len == 0 || u64::from(len) == self.span,
            Kind::Ack => len.checked_rem(bytes(ACK_LEN)) == Some(0),
            Kind::Map => u64::from(len) == self.span.saturating_mul(8),
            _ => true,
        };
        if !fits {
            return Err(bad_length);
        }
        self.check_range()
    }

    /// Checks that a range is made of whole sectors and, for what carries data, not too long.
    fn check_range(&self) -> Result<(), WireError> {
        let Self { kind, offset, span, .. } = *self;
        let carries_data = matches!(kind, Kind::Write | Kind::Read | Kind::ReadReply | Kind::Compare);
        let aligned = is_sector_aligned(offset) && is_sector_aligned(span);
        let too_long = carries_data && span > u64::from(MAX_PAYLOAD);
        if kind.has_range() && (span == 0 || !aligned || too_long) {
            return Err(WireError::BadRange { kind, offset, span });
        }
        Ok(())
    }

    /// Checks that the range of the message lies on a device of `device_size` bytes. A message
    /// without a range passes.
    ///
    /// # Errors
    ///
    /// [`WireError::OutOfBounds`].
    pub fn check_bounds(&self, device_size: u64) -> Result<(), WireError> {
        if self.kind.has_range() {
            self.check_end(device_size)
        } else {
            Ok(())
        }
    }

    /// Checks that the words of a map message lie in a map of `words` words. Another message
    /// passes.
    ///
    /// # Errors
    ///
    /// [`WireError::OutOfBounds`].
    pub fn check_map_bounds(&self, words: u64) -> Result<(), WireError> {
        if self.kind == Kind::Map {
            self.check_end(words)
        } else {
            Ok(())
        }
    }

    fn check_end(&self, size: u64) -> Result<(), WireError> {
        let Self { offset, span, .. } = *self;
        match offset.checked_add(span) {
            Some(end) if end <= size => Ok(()),
            _ => Err(WireError::OutOfBounds { offset, span, size }),
        }
    }

    /// Whether the sender of this message fills in the checksum of the payload, and where that is
    /// `agreed` on, the receiver relies on it.
    #[must_use]
    pub const fn takes_payload_checksum(&self, agreed: bool) -> bool {
        self.len > 0 && (agreed || self.kind.is_handshake())
    }

    /// Whether the receiver of this message has to check its payload with
    /// [`check_payload`](Self::check_payload). Who does not know of checksums sends 0.
    #[must_use]
    pub const fn has_payload_checksum(&self, agreed: bool) -> bool {
        self.len > 0 && (agreed || self.payload_checksum != 0)
    }

    /// Checks the checksum of the payload, as [`checksum`](crate::xxh64::checksum) gives it.
    ///
    /// # Errors
    ///
    /// [`WireError::BadPayloadChecksum`].
    pub fn check_payload(&self, checksum: u32) -> Result<(), WireError> {
        if self.payload_checksum == checksum {
            Ok(())
        } else {
            Err(WireError::BadPayloadChecksum {
                kind: self.kind,
                offset: self.kind.has_range().then_some(self.offset),
            })
        }
    }
}

/// Least and most bytes of payload of a kind.
const fn length_limits(kind: Kind) -> (u32, u32) {
    match kind {
        Kind::Hello => (bytes(HELLO_MIN_LEN), MAX_CONTROL),
        Kind::Welcome => (bytes(WELCOME_MIN_LEN), MAX_CONTROL),
        Kind::Refuse => (bytes(REFUSE_MIN_LEN), MAX_CONTROL),
        Kind::Reply => (bytes(REPLY_MIN_LEN), MAX_CONTROL),
        Kind::Write => (1, MAX_PAYLOAD),
        Kind::ReadReply => (0, MAX_PAYLOAD),
        Kind::Ack => (bytes(ACK_LEN), bytes(ACK_LEN * ACKS_MAX)),
        Kind::Map => (0, bytes(MAP_MAX_LEN)),
        Kind::Compare => (bytes(DIGEST_LEN), bytes(DIGEST_LEN)),
        Kind::Flush
        | Kind::Discard
        | Kind::Zeroes
        | Kind::Ping
        | Kind::Pong
        | Kind::ResyncStart
        | Kind::ResyncDone
        | Kind::Pause
        | Kind::Resume
        | Kind::Bye
        | Kind::Read
        | Kind::Takeover
        | Kind::Settled => (0, 0),
    }
}

/// A length of this protocol in the width it has on the wire.
#[expect(
    clippy::cast_possible_truncation,
    reason = "called only with constants far below 4 GiB"
)]
const fn bytes(len: usize) -> u32 {
    len as u32
}
