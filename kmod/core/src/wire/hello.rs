// SPDX-License-Identifier: GPL-2.0

//! The handshake: how a source introduces itself before any data flows.
//!
//! The payloads of the handshake have a fixed layout, in the order of the fields of `encode`;
//! numbers are little-endian, a name is its length in one byte near the start and 64 bytes padded
//! with zeroes. Later minor versions append; what an earlier one did not send is zero.

use super::codec::{text_len, Reader, Writer};
use super::message::short;
use super::{HelloFlags, Id, Kind, WireError};
use crate::generation::Generations;
use crate::meta::HISTORY;
use crate::name::{Name, NAME_MAX};
use crate::priority::{Priorities, Priority};

/// Bytes of a [`Hello`].
pub const HELLO_LEN: usize = 336;

/// Fewest bytes of a [`Hello`]: those of minor version 0.
pub const HELLO_MIN_LEN: usize = 264;

/// The source introduces itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Minor version of the protocol.
    pub version_minor: u16,
    /// What the source says of itself.
    pub flags: HelloFlags,
    /// Features the source offers ([`features`](super::features)).
    pub features: u64,
    /// Identity of the mirror.
    pub mirror_uuid: Id,
    /// Identity of the source machine.
    pub node_uuid: Id,
    /// Random, made each time the mirror starts on the source: another value is another run.
    pub instance: Id,
    /// Instance of the target this source was last connected to, zero where there was none.
    pub known_instance: Id,
    /// Random or counted, another one for each connection of a run.
    pub session: u64,
    /// Size of the mirrored device in bytes.
    pub size: u64,
    /// Generation of the data the source holds.
    pub generation: u64,
    /// The source's base for this target: the generation at which the target began to miss writes,
    /// 0 where it misses none.
    pub known_generation: u64,
    /// Bytes one bit of the maps stands for.
    pub chunk_size: u32,
    /// Smallest write in bytes that the device offers.
    pub logical_block_size: u32,
    /// Most bytes of data in one message that the source accepts.
    pub max_payload: u32,
    /// A side that sent nothing for so many milliseconds sends a ping.
    pub heartbeat_ms: u32,
    /// A connection on which nothing was heard for so many milliseconds is given up.
    pub timeout_ms: u32,
    /// Name of the mirror.
    pub mirror_name: Name,
    /// Name of the source machine.
    pub node_name: Name,
    /// Older generations of the source, the newest first.
    pub history: [u64; HISTORY],
    /// TCP port on which this machine would listen as a target, 0 for none.
    pub listen_port: u16,
    /// The priorities of the two machines.
    pub priorities: Priorities,
}

impl Hello {
    /// What the source says of its data.
    #[must_use]
    pub const fn generations(&self) -> Generations {
        Generations {
            current: self.generation,
            base: self.known_generation,
            history: self.history,
        }
    }

    /// The bytes of the payload.
    #[must_use]
    pub fn encode(&self) -> [u8; HELLO_LEN] {
        let mut bytes = [0u8; HELLO_LEN];
        Writer::new(&mut bytes)
            .u16(self.version_minor)
            .u8(text_len(&self.mirror_name))
            .u8(text_len(&self.node_name))
            .u32(self.flags.bits())
            .u64(self.features)
            .put(&self.mirror_uuid)
            .put(&self.node_uuid)
            .put(&self.instance)
            .put(&self.known_instance)
            .u64(self.session)
            .u64(self.size)
            .u64(self.generation)
            .u64(self.known_generation)
            .u32(self.chunk_size)
            .u32(self.logical_block_size)
            .u32(self.max_payload)
            .u32(self.heartbeat_ms)
            .u32(self.timeout_ms)
            .u32(0)
            .put(self.mirror_name.padded())
            .put(self.node_name.padded())
            .u64s(&self.history)
            .u16(self.listen_port)
            .u16(Priority::to_field(self.priorities.source))
            .u16(Priority::to_field(self.priorities.target))
            .u16(0);
        bytes
    }

    /// Takes a payload apart; what a later version appended is ignored, and what an earlier one did
    /// not send is zero.
    ///
    /// # Errors
    ///
    /// [`WireError::BadLength`] where it is too short, [`WireError::BadText`] where a name is not
    /// a text.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(payload);
        let fields = Self::fields(&mut reader).ok_or_else(|| short(Kind::Hello, payload))?;
        let (mut hello, mirror_name, node_name) = fields;
        if let Some((history, listen_port, priorities)) = Self::appended(&mut reader) {
            hello.history = history;
            hello.listen_port = listen_port;
            hello.priorities = priorities;
        }
        hello.mirror_name = mirror_name.check(Kind::Hello)?;
        hello.node_name = node_name.check(Kind::Hello)?;
        Ok(hello)
    }

    /// The fields, and the two names as yet unchecked.
    fn fields(reader: &mut Reader<'_>) -> Option<(Self, RawName, RawName)> {
        let version_minor = reader.u16()?;
        let mirror_name_len = reader.u8()?;
        let node_name_len = reader.u8()?;
        let hello = Self {
            version_minor,
            flags: HelloFlags::from_bits(reader.u32()?),
            features: reader.u64()?,
            mirror_uuid: reader.array()?,
            node_uuid: reader.array()?,
            instance: reader.array()?,
            known_instance: reader.array()?,
            session: reader.u64()?,
            size: reader.u64()?,
            generation: reader.u64()?,
            known_generation: reader.u64()?,
            chunk_size: reader.u32()?,
            logical_block_size: reader.u32()?,
            max_payload: reader.u32()?,
            heartbeat_ms: reader.u32()?,
            timeout_ms: reader.u32()?,
            mirror_name: Name::EMPTY,
            node_name: Name::EMPTY,
            history: [0; HISTORY],
            listen_port: 0,
            priorities: Priorities::NONE,
        };
        let _reserved = reader.u32()?;
        let mirror_name = RawName::take(mirror_name_len, reader)?;
        let node_name = RawName::take(node_name_len, reader)?;
        Some((hello, mirror_name, node_name))
    }

    /// What minor version 1 appended; the priorities came later, into bytes that were zero before.
    fn appended(reader: &mut Reader<'_>) -> Option<([u64; HISTORY], u16, Priorities)> {
        let history = reader.u64s()?;
        let listen_port = reader.u16()?;
        let priorities = Priorities {
            source: Priority::from_field(reader.u16()?),
            target: Priority::from_field(reader.u16()?),
        };
        let _reserved = reader.u16()?;
        Some((history, listen_port, priorities))
    }
}

/// A name as it came from the network.
pub(super) struct RawName {
    len: u8,
    bytes: [u8; NAME_MAX],
}

impl RawName {
    pub(super) fn take(len: u8, reader: &mut Reader<'_>) -> Option<Self> {
        let bytes = reader.array()?;
        Some(Self { len, bytes })
    }

    pub(super) fn check(&self, kind: Kind) -> Result<Name, WireError> {
        // A length beyond the field is a text that does not fit.
        let too_long = WireError::BadText {
            kind,
            error: crate::name::TextError::TooLong,
        };
        let bytes = self.bytes.get(..usize::from(self.len)).ok_or(too_long)?;
        Name::from_bytes(bytes).map_err(|error| WireError::BadText { kind, error })
    }
}
