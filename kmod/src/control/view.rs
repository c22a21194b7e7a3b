// SPDX-License-Identifier: GPL-2.0

//! A mirror as it is at one moment.

use crate::{
    leg::{LegStatus, Timing},
    sys::net::Address,
};
use netraid_core::{name::Name, state::Role, wire::Id};

/// What an operator is shown of a mirror.
pub(super) struct View {
    pub(super) id: u32,
    pub(super) name: Name,
    pub(super) uuid: Option<Id>,
    pub(super) role: Role,
    pub(super) size: u64,
    pub(super) chunk_size: Option<u32>,
    pub(super) node_name: Name,
    pub(super) node_uuid: Id,
    pub(super) listen: Option<(Address, Timing)>,
    pub(super) inconsistent: bool,
    pub(super) open_count: u32,
    pub(super) device_present: bool,
    pub(super) dirty_chunks: Option<u64>,
    pub(super) leg: Option<LegStatus>,
}
