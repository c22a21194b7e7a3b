// SPDX-License-Identifier: GPL-2.0

//! The handshake: how a target accepts a source, or a machine answers one that asks.

use super::codec::{text_len, Reader, Writer};
use super::hello::RawName;
use super::message::short;
use super::{Id, Kind, WelcomeFlags, WireError};
use crate::generation::Generations;
use crate::meta::HISTORY;
use crate::name::Name;
use crate::priority::Priority;
use crate::state::Role;

/// Bytes of a [`Welcome`].
pub const WELCOME_LEN: usize = 248;

/// Fewest bytes of a [`Welcome`]: those of minor version 0.
pub const WELCOME_MIN_LEN: usize = 168;

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
    /// Session of the [`Hello`](super::Hello) that is answered.
    pub session: u64,
    /// Size of the target's disk in bytes.
    pub size: u64,
    /// Generation of the data the target holds, 0 where it holds none.
    pub generation: u64,
    /// Smallest write in bytes that the target's disk can do.
    pub logical_block_size: u32,
    /// Most bytes of data in one message that the target accepts.
    pub max_payload: u32,
    /// Name of the target machine.
    pub node_name: Name,
    /// Its base for the machine that is answered, 0 where there is none.
    pub base: u64,
    /// Older generations of it, the newest first.
    pub history: [u64; HISTORY],
    /// What it does for the mirror; only who asks may find something else than a target.
    pub role: Role,
    /// Its priority, where it was given one.
    pub priority: Option<Priority>,
}

impl Welcome {
    /// What the machine says of its data.
    #[must_use]
    pub const fn generations(&self) -> Generations {
        let fresh = self.flags.contains(WelcomeFlags::FRESH);
        Generations {
            current: if fresh { 0 } else { self.generation },
            base: self.base,
            history: self.history,
        }
    }

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
            .u16(Priority::to_field(self.priority))
            .u16(0);
        bytes
    }

    /// Takes a payload apart; what a later version appended is ignored, and one of an earlier
    /// version comes from a target without base and history. A role that is not known counts as
    /// source: nothing may be done against one.
    ///
    /// # Errors
    ///
    /// [`WireError::BadLength`] where it is too short, [`WireError::BadText`] where the name is
    /// not a text.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(payload);
        let fields = Self::fields(&mut reader).ok_or_else(|| short(Kind::Welcome, payload))?;
        let (mut welcome, node_name) = fields;
        if let Some((base, history, role, priority)) = Self::appended(&mut reader) {
            welcome.base = base;
            welcome.history = history;
            welcome.role = Role::from_number(role).unwrap_or(Role::Source);
            welcome.priority = Priority::from_field(priority);
        }
        welcome.node_name = node_name.check(Kind::Welcome)?;
        Ok(welcome)
    }

    /// The fields, and the name as yet unchecked.
    fn fields(reader: &mut Reader<'_>) -> Option<(Self, RawName)> {
        let version_minor = reader.u16()?;
        let node_name_len = reader.u8()?;
        let _reserved = reader.u8()?;
        let welcome = Self {
            version_minor,
            flags: WelcomeFlags::from_bits(reader.u32()?),
            features: reader.u64()?,
            node_uuid: reader.array()?,
            instance: reader.array()?,
            known_instance: reader.array()?,
            session: reader.u64()?,
            size: reader.u64()?,
            generation: reader.u64()?,
            logical_block_size: reader.u32()?,
            max_payload: reader.u32()?,
            node_name: Name::EMPTY,
            base: 0,
            history: [0; HISTORY],
            role: Role::Target,
            priority: None,
        };
        let _reserved = reader.u64()?;
        Some((welcome, RawName::take(node_name_len, reader)?))
    }

    /// What minor version 1 appended; the priority came later, into bytes that were zero before.
    fn appended(reader: &mut Reader<'_>) -> Option<(u64, [u64; HISTORY], u32, u16)> {
        let base = reader.u64()?;
        let history = reader.u64s()?;
        let role = reader.u32()?;
        let priority = reader.u16()?;
        let _reserved = reader.u16()?;
        Some((base, history, role, priority))
    }
}
