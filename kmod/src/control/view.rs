// SPDX-License-Identifier: GPL-2.0

//! A mirror as it is at one moment.

use crate::{
    leg::{LegStatus, Timing},
    sys::net::Address,
    volume::Reads,
};
use kernel::prelude::*;
use netraid_core::{
    chunk::Geometry,
    meta::{MetaFlags, Superblock},
    name::Name,
    priority::Priority,
    state::{DiskState, Role},
    wire::{Id, NO_ID},
};

/// What is remembered of a mirror, as far as an operator is shown it.
#[derive(Clone, Copy)]
pub(super) struct Standing {
    pub(super) uuid: Option<Id>,
    pub(super) geometry: Option<Geometry>,
    pub(super) flags: MetaFlags,
    pub(super) generation: u64,
    pub(super) resync_rate: u64,
    pub(super) async_limit: u32,
    /// Empty where it is the same as on this machine.
    pub(super) source_name: Name,
    pub(super) priority: Option<Priority>,
}

impl Standing {
    pub(super) fn of(sb: &Superblock) -> Self {
        Self {
            uuid: Some(sb.mirror_uuid).filter(|uuid| *uuid != NO_ID),
            geometry: sb.geometry(),
            flags: sb.flags,
            generation: sb.current,
            resync_rate: sb.resync_rate,
            async_limit: sb.async_limit,
            source_name: sb.source_name,
            priority: sb.priority,
        }
    }
}

/// What an operator is shown of a mirror.
pub(super) struct View {
    pub(super) id: u32,
    pub(super) name: Name,
    pub(super) role: Role,
    pub(super) size: u64,
    pub(super) node_name: Name,
    pub(super) node_uuid: Id,
    pub(super) listen: Option<(Address, Timing)>,
    pub(super) open_count: u32,
    pub(super) device_present: bool,
    pub(super) dirty_chunks: Option<u64>,
    pub(super) intent_chunks: Option<u64>,
    pub(super) reads: Option<Reads>,
    /// How it stands, and bytes copied to one that was put in.
    pub(super) disk_state: Option<(DiskState, u64)>,
    pub(super) meta_writes: u64,
    pub(super) standing: Standing,
    pub(super) legs: KVec<LegStatus>,
}

impl View {
    /// Whether the disk of a target, or of one that was, holds no usable copy.
    pub(super) fn is_inconsistent(&self) -> bool {
        let empty = self.standing.generation == 0 && self.role == Role::Target;
        empty || self.standing.flags.contains(MetaFlags::INCONSISTENT)
    }
}
