// SPDX-License-Identifier: GPL-2.0

//! How a mirror is written into a message.

use super::{mirror::Mirror, view::View};
use crate::{
    leg::LegStatus,
    sys::{
        bind as uapi,
        genl::{display, Message, Writer},
        net::Address,
    },
};
use kernel::prelude::*;
use netraid_core::state::Replication;

/// Writes a mirror with its legs; `event_seq` is the number of the last event that is in it.
pub(super) fn mirror(msg: &mut Message, mirror: &Mirror, view: &View, event_seq: u64) -> Result {
    msg.text(uapi::NETRAID_A_MIRROR_NAME, view.name.as_str())?;
    msg.u32(uapi::NETRAID_A_MIRROR_ID, view.id)?;
    if let Some(uuid) = view.uuid {
        msg.bytes(uapi::NETRAID_A_MIRROR_UUID, &uuid)?;
    }
    msg.u32(uapi::NETRAID_A_MIRROR_ROLE, view.role.number())?;
    msg.text(uapi::NETRAID_A_MIRROR_DISK, display(&mirror.disk))?;
    msg.uint(uapi::NETRAID_A_MIRROR_SIZE, view.size)?;
    if let Some(chunk_size) = view.chunk_size {
        msg.u32(uapi::NETRAID_A_MIRROR_CHUNK_SIZE, chunk_size)?;
    }
    msg.text(uapi::NETRAID_A_MIRROR_NODE_NAME, view.node_name.as_str())?;
    msg.bytes(uapi::NETRAID_A_MIRROR_NODE_UUID, &view.node_uuid)?;
    if let Some((address, timing)) = view.listen {
        msg.bytes(uapi::NETRAID_A_MIRROR_ADDRESS, address.ip())?;
        msg.u32(uapi::NETRAID_A_MIRROR_PORT, u32::from(address.port))?;
        if address.scope_id != 0 {
            msg.u32(uapi::NETRAID_A_MIRROR_SCOPE_ID, address.scope_id)?;
        }
        msg.u32(uapi::NETRAID_A_MIRROR_HEARTBEAT_MS, timing.heartbeat_ms)?;
        msg.u32(uapi::NETRAID_A_MIRROR_TIMEOUT_MS, timing.timeout_ms)?;
    }
    msg.flag(uapi::NETRAID_A_MIRROR_INCONSISTENT, view.inconsistent)?;
    msg.u32(uapi::NETRAID_A_MIRROR_OPEN_COUNT, view.open_count)?;
    msg.flag(uapi::NETRAID_A_MIRROR_DEVICE_PRESENT, view.device_present)?;
    msg.uint(uapi::NETRAID_A_MIRROR_EVENT_SEQ, event_seq)?;
    if let Some(status) = &view.leg {
        msg.nest(uapi::NETRAID_A_MIRROR_LEG, |msg| leg(msg, status))?;
    }
    if let Some(dirty_chunks) = view.dirty_chunks {
        msg.uint(uapi::NETRAID_A_MIRROR_DIRTY_CHUNKS, dirty_chunks)?;
    }
    Ok(())
}

fn address(msg: &mut Message, address: &Address) -> Result {
    msg.bytes(uapi::NETRAID_A_LEG_ADDRESS, address.ip())?;
    msg.u32(uapi::NETRAID_A_LEG_PORT, u32::from(address.port))?;
    if address.scope_id != 0 {
        msg.u32(uapi::NETRAID_A_LEG_SCOPE_ID, address.scope_id)?;
    }
    Ok(())
}

fn leg(msg: &mut Message, leg: &LegStatus) -> Result {
    msg.u32(uapi::NETRAID_A_LEG_ID, leg.id)?;
    if let Some(it) = &leg.address {
        address(msg, it)?;
    }
    if !leg.peer_name.is_empty() {
        msg.text(uapi::NETRAID_A_LEG_PEER_NAME, leg.peer_name.as_str())?;
    }
    if let Some(uuid) = leg.peer_uuid {
        msg.bytes(uapi::NETRAID_A_LEG_PEER_UUID, &uuid)?;
    }
    msg.u32(uapi::NETRAID_A_LEG_STATE, leg.state.number())?;
    msg.u32(uapi::NETRAID_A_LEG_CONNECTION, leg.connection.number())?;
    msg.u32(uapi::NETRAID_A_LEG_REPLICATION, Replication::Synchronous.number())?;
    msg.u32(uapi::NETRAID_A_LEG_HEARTBEAT_MS, leg.timing.heartbeat_ms)?;
    msg.u32(uapi::NETRAID_A_LEG_TIMEOUT_MS, leg.timing.timeout_ms)?;
    if !leg.reason.is_empty() {
        msg.text(uapi::NETRAID_A_LEG_REASON, leg.reason.as_str())?;
    }
    msg.uint(uapi::NETRAID_A_LEG_CHUNKS, leg.chunks)?;
    msg.uint(uapi::NETRAID_A_LEG_DIRTY_CHUNKS, leg.dirty_chunks)?;
    msg.uint(uapi::NETRAID_A_LEG_RESYNC_TOTAL, leg.resync.total)?;
    msg.uint(uapi::NETRAID_A_LEG_RESYNC_DONE, leg.resync.done)?;
    msg.uint(uapi::NETRAID_A_LEG_RESYNC_ELAPSED_MS, leg.resync.elapsed_ms)?;
    msg.flag(uapi::NETRAID_A_LEG_RESYNC_FULL, leg.resync.full)?;
    msg.uint(uapi::NETRAID_A_LEG_RESYNCS, leg.resync.count)?;
    msg.uint(uapi::NETRAID_A_LEG_RESYNCED_BYTES, leg.resynced_bytes)?;
    msg.uint(uapi::NETRAID_A_LEG_REPLICATED_BYTES, leg.replicated_bytes)?;
    msg.uint(uapi::NETRAID_A_LEG_SENT_BYTES, leg.sent_bytes)?;
    msg.uint(uapi::NETRAID_A_LEG_RECEIVED_BYTES, leg.received_bytes)?;
    msg.uint(uapi::NETRAID_A_LEG_CONNECTS, leg.connects)?;
    msg.uint(uapi::NETRAID_A_LEG_ATTEMPTS, leg.attempts)?;
    if let Some(ms) = leg.heard_ms {
        msg.uint(uapi::NETRAID_A_LEG_HEARD_MS, ms)?;
    }
    if let Some(ms) = leg.retry_ms {
        msg.uint(uapi::NETRAID_A_LEG_RETRY_MS, ms)?;
    }
    msg.u32(uapi::NETRAID_A_LEG_IN_FLIGHT, leg.in_flight)
}
