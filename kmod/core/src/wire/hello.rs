// SPDX-License-Identifier: GPL-2.0

//! The handshake: what source and target tell each other before any data flows.
//!
//! The payloads have a fixed layout, in the order of the fields of `encode`; numbers are
//! little-endian, a name is its length in one byte near the start and 64 bytes padded with zeroes. Later minor versions append.

use super::codec::{text_len, Reader, Writer};
use super::message::short;
use super::{Id, Kind, WireError};
use crate::meta::HISTORY;
use crate::name::{Name, NAME_MAX};
use crate::state::Role;

/// Bytes of a [`Hello`].
pub const HELLO_LEN: usize = 336;

/// Bytes of a [`Welcome`].
pub const WELCOME_LEN: usize = 248;

/// Makes a set of flags in 32 bits; bits of later versions are kept and have no name here.
macro_rules! flags32 {
    ($(#[$doc:meta])* $name:ident { $($(#[$flag_doc:meta])* $flag:ident = $value:expr;)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name(u32);

        impl $name {
            /// No flag.
            pub const NONE: Self = Self(0);
            $($(#[$flag_doc])* pub const $flag: Self = Self($value);)+

            /// Flags from their bits.
            #[must_use]
            pub const fn from_bits(bits: u32) -> Self {
                Self(bits)
            }

            /// The bits of the flags.
            #[must_use]
            pub const fn bits(self) -> u32 {
                self.0
            }

            /// Whether all of `other` are among these.
            #[must_use]
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// These, and `other` where `condition` holds.
            #[must_use]
            pub const fn with(self, other: Self, condition: bool) -> Self {
                Self(self.0 | if condition { other.0 } else { 0 })
            }
        }
    };
}

flags32! {
    /// What a source says of itself.
    HelloFlags {
        /// Replication is paused by an operator and stays so after the handshake.
        PAUSED = 1;
        /// Everything has to be copied, whatever the target holds.
        FULL = 2;
        /// Only a question: the answer tells how the other side stands, and nothing changes.
        ASK = 4;
        /// The operator made the copies equal by other means, but for what is marked.
        PREPARED = 8;
        /// What was never written need not be copied.
        NEW = 16;
    }
}

flags32! {
    /// What a target says of itself.
    WelcomeFlags {
        /// Its disk is in the middle of a resync and holds no usable copy.
        INCONSISTENT = 1;
        /// It was never brought up to date since it joined the mirror.
        FRESH = 2;
        /// It wrote to its disk itself while paused; map messages follow.
        HAS_MAP = 4;
        /// Its disk can discard.
        DISCARD_OK = 8;
        /// The operator made the copies equal by other means, but for what is marked.
        PREPARED = 16;
        /// What it holds gives way to what the source holds.
        YIELDED = 32;
        /// It knows that both sides were written to independently.
        SPLIT_BRAIN = 64;
        /// It was the last source, as far as it knows.
        LAST_OWNER = 128;
    }
}

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
    /// Generation that the target holds while the source marks what it misses, 0 while they are in step.
    pub known_generation: u64,
    /// Generations before the one the source holds, the newest first.
    pub history: [u64; HISTORY],
    /// Port on which the source listens when it is a target, 0 where that is not settled.
    pub listen_port: u16,
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
}

impl Hello {
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
            .put(&[0; 6]);
        bytes
    }

    /// Takes a payload apart; what a later version appended is ignored.
    ///
    /// # Errors
    ///
    /// [`WireError::BadLength`] where it is too short, [`WireError::BadText`] where a name is not
    /// a text.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let fields = Self::fields(payload).ok_or_else(|| short(Kind::Hello, payload))?;
        let (mut hello, mirror_name, node_name) = fields;
        hello.mirror_name = mirror_name.check(Kind::Hello)?;
        hello.node_name = node_name.check(Kind::Hello)?;
        Ok(hello)
    }

    /// The fields, and the two names as yet unchecked.
    fn fields(payload: &[u8]) -> Option<(Self, RawName, RawName)> {
        let mut reader = Reader::new(payload);
        let version_minor = reader.u16()?;
        let mirror_name_len = reader.u8()?;
        let node_name_len = reader.u8()?;
        let mut hello = Self {
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
            history: [0; HISTORY],
            listen_port: 0,
            chunk_size: reader.u32()?,
            logical_block_size: reader.u32()?,
            max_payload: reader.u32()?,
            heartbeat_ms: reader.u32()?,
            timeout_ms: reader.u32()?,
            mirror_name: Name::EMPTY,
            node_name: Name::EMPTY,
        };
        let _reserved = reader.u32()?;
        let mirror_name = RawName {
            len: mirror_name_len,
            bytes: reader.array()?,
        };
        let node_name = RawName {
            len: node_name_len,
            bytes: reader.array()?,
        };
        hello.history = reader.u64s()?;
        hello.listen_port = reader.u16()?;
        let _reserved: [u8; 6] = reader.array()?;
        Some((hello, mirror_name, node_name))
    }
}

/// The target accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// Minor version of the protocol.
    pub version_minor: u16,
    /// What the target says of itself.
    pub flags: WelcomeFlags,
    /// Features the target agrees to, none that the source did not offer.
    pub features: u64,
    /// Identity of the target machine.
    pub node_uuid: Id,
    /// Random, made each time the mirror starts on the target: another value is another run.
    pub instance: Id,
    /// Instance of the source the target was last connected to, zero where there was none.
    pub known_instance: Id,
    /// Session of the [`Hello`] that is answered.
    pub session: u64,
    /// Size of the target's disk in bytes.
    pub size: u64,
    /// Generation of the data the target holds, 0 where it holds none.
    pub generation: u64,
    /// Generation that the source holds while the target marks what it writes itself, 0 while they are in step.
    pub base: u64,
    /// Generations before the one the target holds, the newest first.
    pub history: [u64; HISTORY],
    /// What the machine does for the mirror now.
    pub role: Role,
    /// Smallest write in bytes that the target's disk can do.
    pub logical_block_size: u32,
    /// Most bytes of data in one message that the target accepts.
    pub max_payload: u32,
    /// Name of the target machine.
    pub node_name: Name,
}

impl Welcome {
    /// The bytes of the payload.
    #[must_use]
    pub fn encode(&self) -> [u8; WELCOME_LEN] {
        let mut bytes = [0u8; WELCOME_LEN];
        Writer::new(&mut bytes)
            .u16(self.version_minor)
            .u8(text_len(&self.node_name))
            .u8(0)
            .u32(self.flags.bits())
            .u64(self.features)
            .put(&self.node_uuid)
            .put(&self.instance)
            .put(&self.known_instance)
            .u64(self.session)
            .u64(self.size)
            .u64(self.generation)
            .u32(self.logical_block_size)
            .u32(self.max_payload)
            .u64(0)
            .put(self.node_name.padded())
            .u64(self.base)
            .u64s(&self.history)
            .u32(self.role.number())
            .u32(0);
        bytes
    }

    /// Takes a payload apart; what a later version appended is ignored.
    ///
    /// # Errors
    ///
    /// [`WireError::BadLength`] where it is too short, [`WireError::BadText`] where the name is
    /// not a text.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let fields = Self::fields(payload).ok_or_else(|| short(Kind::Welcome, payload))?;
        let (mut welcome, node_name, role) = fields;
        // A role of a later version is none that this side could work with.
        welcome.role = Role::from_number(role).unwrap_or(Role::Stopped);
        welcome.node_name = node_name.check(Kind::Welcome)?;
        Ok(welcome)
    }

    /// The fields, and the name as yet unchecked.
    fn fields(payload: &[u8]) -> Option<(Self, RawName, u32)> {
        let mut reader = Reader::new(payload);
        let version_minor = reader.u16()?;
        let node_name_len = reader.u8()?;
        let _reserved = reader.u8()?;
        let mut welcome = Self {
            version_minor,
            flags: WelcomeFlags::from_bits(reader.u32()?),
            features: reader.u64()?,
            node_uuid: reader.array()?,
            instance: reader.array()?,
            known_instance: reader.array()?,
            session: reader.u64()?,
            size: reader.u64()?,
            generation: reader.u64()?,
            base: 0,
            history: [0; HISTORY],
            role: Role::Target,
            logical_block_size: reader.u32()?,
            max_payload: reader.u32()?,
            node_name: Name::EMPTY,
        };
        let _reserved = reader.u64()?;
        let node_name = RawName {
            len: node_name_len,
            bytes: reader.array()?,
        };
        welcome.base = reader.u64()?;
        welcome.history = reader.u64s()?;
        let role = reader.u32()?;
        let _reserved = reader.u32()?;
        Some((welcome, node_name, role))
    }
}

/// A name as it came from the network.
struct RawName {
    len: u8,
    bytes: [u8; NAME_MAX],
}

impl RawName {
    fn check(&self, kind: Kind) -> Result<Name, WireError> {
        // A length beyond the field is a text that does not fit.
        let too_long = WireError::BadText {
            kind,
            error: crate::name::TextError::TooLong,
        };
        let bytes = self.bytes.get(..usize::from(self.len)).ok_or(too_long)?;
        Name::from_bytes(bytes).map_err(|error| WireError::BadText { kind, error })
    }
}
