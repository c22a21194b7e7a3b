// SPDX-License-Identifier: GPL-2.0

//! Another machine of the mirror, in a sector of the superblock.

use super::superblock::checked_text;
use super::{MetaError, PeerFlags};
use crate::name::Name;
use crate::priority::Priority;
use crate::state::Replication;
use crate::wire::codec::{text_len, Reader, Writer};
use crate::wire::{Id, NO_ID};

/// What is remembered of another machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Identity of the machine, [`NO_ID`] where the slot is free.
    pub uuid: Id,
    /// Name of the machine.
    pub name: Name,
    /// Generation that both had when the peer began to miss writes; 0 where it is in step.
    pub base: u64,
    /// Run of the module there that was last seen, [`NO_ID`] where none was.
    pub instance: Id,
    /// How it stands.
    pub flags: PeerFlags,
    /// Its address; the first [`ip_len`](Self::ip_len) bytes count.
    pub ip: [u8; 16],
    /// Bytes of the address: 4 or 16, 0 where none is known.
    pub ip_len: u8,
    /// Its TCP port, 0 where none is known.
    pub port: u16,
    /// Interface index of a link-local address.
    pub scope_id: u32,
    /// A side that sent nothing for so many milliseconds sends a heartbeat.
    pub heartbeat_ms: u32,
    /// A connection on which nothing was heard for so many milliseconds is given up.
    pub timeout_ms: u32,
    /// When a write counts as done.
    pub replication: Replication,
    /// Its priority, where one is known.
    pub priority: Option<Priority>,
}

impl Peer {
    /// A free slot.
    pub const FREE: Self = Self {
        uuid: NO_ID,
        name: Name::EMPTY,
        base: 0,
        instance: NO_ID,
        flags: PeerFlags::NONE,
        ip: [0; 16],
        ip_len: 0,
        port: 0,
        scope_id: 0,
        heartbeat_ms: 0,
        timeout_ms: 0,
        replication: Replication::Synchronous,
        priority: None,
    };

    /// Whether the slot belongs to no machine.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.uuid == NO_ID
    }

    /// Writes what follows the header of the sector, of which 16 bytes are left to be skipped.
    pub(super) fn put(&self, writer: &mut Writer<'_>) {
        writer
            .put(&[0; 16])
            .put(&self.uuid)
            .put(&self.instance)
            .u64(self.base)
            .u32(self.flags.bits())
            .u32(self.replication.number())
            .u32(self.scope_id)
            .u32(self.heartbeat_ms)
            .u32(self.timeout_ms)
            .u16(self.port)
            .u8(self.ip_len)
            .u8(text_len(&self.name))
            .put(&self.ip)
            .put(self.name.padded())
            .u16(Priority::to_field(self.priority));
    }

    /// Reads what [`put`](Self::put) wrote.
    pub(super) fn take(reader: &mut Reader<'_>) -> Result<Self, MetaError> {
        let (mut peer, replication, name_len, name) = Self::fields(reader).ok_or(MetaError::Damaged)?;
        if !matches!(peer.ip_len, 0 | 4 | 16) {
            return Err(MetaError::Inconsistent("the length of a peer's address"));
        }
        peer.replication =
            Replication::from_number(replication).ok_or(MetaError::Inconsistent("the replication of a peer"))?;
        peer.name = checked_text(name_len, &name).ok_or(MetaError::Inconsistent("the name of a peer"))?;
        Ok(peer)
    }

    /// The fields, and replication and name as yet unchecked.
    fn fields(reader: &mut Reader<'_>) -> Option<(Self, u32, u8, [u8; 64])> {
        let _reserved = reader.array::<16>()?;
        let uuid = reader.array()?;
        let instance = reader.array()?;
        let base = reader.u64()?;
        let flags = PeerFlags::from_bits(reader.u32()?);
        let replication = reader.u32()?;
        let scope_id = reader.u32()?;
        let heartbeat_ms = reader.u32()?;
        let timeout_ms = reader.u32()?;
        let port = reader.u16()?;
        let ip_len = reader.u8()?;
        let name_len = reader.u8()?;
        let mut peer = Self {
            uuid,
            instance,
            base,
            flags,
            scope_id,
            heartbeat_ms,
            timeout_ms,
            port,
            ip_len,
            ip: reader.array()?,
            ..Self::FREE
        };
        let name = reader.array()?;
        peer.priority = Priority::from_field(reader.u16()?);
        Some((peer, replication, name_len, name))
    }
}

impl Default for Peer {
    fn default() -> Self {
        Self::FREE
    }
}
