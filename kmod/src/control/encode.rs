// SPDX-License-Identifier: GPL-2.0

//! How a mirror is written into a message.

use super::{metadata::MetaPlace, mirror::Mirror, view::View};
use crate::{
    leg::LegStatus,
    sys::{
        bind as uapi,
        genl::{display, Message, Writer},
        net::Address,
    },
};
use kernel::prelude::*;
use netraid_core::{meta::MetaFlags, state::OnIoError};

/// Writes a mirror with its legs; `event_seq` is the number of the last event that is in it.
pub(super) fn mirror(msg: &mut Message, mirror: &Mirror, view: &View, event_seq: u64) -> Result {
    msg.text(uapi::NETRAID_A_MIRROR_NAME, view.name.as_str())?;
    msg.u32(uapi::NETRAID_A_MIRROR_ID, view.id)?;
    let standing = &view.standing;
    if let Some(uuid) = standing.uuid {
        msg.bytes(uapi::NETRAID_A_MIRROR_UUID, &uuid)?;
    }
    msg.u32(uapi::NETRAID_A_MIRROR_ROLE, view.role.number())?;
    msg.text(uapi::NETRAID_A_MIRROR_DISK, display(&mirror.disk()))?;
    msg.uint(uapi::NETRAID_A_MIRROR_SIZE, view.size)?;
    if let Some(geometry) = standing.geometry {
        msg.u32(uapi::NETRAID_A_MIRROR_CHUNK_SIZE, geometry.chunk_size())?;
        msg.uint(uapi::NETRAID_A_MIRROR_CHUNKS, geometry.chunks())?;
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
    msg.flag(uapi::NETRAID_A_MIRROR_INCONSISTENT, view.is_inconsistent())?;
    msg.u32(uapi::NETRAID_A_MIRROR_OPEN_COUNT, view.open_count)?;
    msg.flag(uapi::NETRAID_A_MIRROR_DEVICE_PRESENT, view.device_present)?;
    msg.uint(uapi::NETRAID_A_MIRROR_EVENT_SEQ, event_seq)?;
    for status in view.legs.iter() {
        msg.nest(uapi::NETRAID_A_MIRROR_LEG, |msg| leg(msg, status))?;
    }
    if let Some(dirty_chunks) = view.dirty_chunks {
        msg.uint(uapi::NETRAID_A_MIRROR_DIRTY_CHUNKS, dirty_chunks)?;
    }
    if let Some(intent_chunks) = view.intent_chunks {
        msg.uint(uapi::NETRAID_A_MIRROR_INTENT_CHUNKS, intent_chunks)?;
    }
    if let Some(reads) = view.reads {
        msg.uint(uapi::NETRAID_A_MIRROR_READ_ERRORS, reads.errors)?;
        msg.uint(uapi::NETRAID_A_MIRROR_REMOTE_READS, reads.remote)?;
        msg.uint(uapi::NETRAID_A_MIRROR_REPAIRED_BYTES, reads.repaired_bytes)?;
        msg.uint(uapi::NETRAID_A_MIRROR_REPAIR_ERRORS, reads.repair_errors)?;
    }
    if let Some((state, rebuilt)) = view.disk_state {
        msg.u32(uapi::NETRAID_A_MIRROR_DISK_STATE, state.number())?;
        msg.uint(uapi::NETRAID_A_MIRROR_REBUILT_BYTES, rebuilt)?;
    }
    let policy = if standing.flags.contains(MetaFlags::PASS_ON) {
        OnIoError::PassOn
    } else {
        OnIoError::Detach
    };
    msg.u32(uapi::NETRAID_A_MIRROR_ON_IO_ERROR, policy.number())?;
    flags(msg, standing.flags)?;
    if !standing.source_name.is_empty() {
        msg.text(uapi::NETRAID_A_MIRROR_SOURCE_NAME, standing.source_name.as_str())?;
    }
    msg.uint(uapi::NETRAID_A_MIRROR_GENERATION, standing.generation)?;
    msg.uint(uapi::NETRAID_A_MIRROR_RESYNC_RATE, standing.resync_rate)?;
    msg.u32(uapi::NETRAID_A_MIRROR_ASYNC_LIMIT, standing.async_limit)?;
    if let Some(priority) = standing.priority {
        msg.u32(uapi::NETRAID_A_MIRROR_PRIORITY, u32::from(priority.number()))?;
    }
    msg.uint(uapi::NETRAID_A_MIRROR_META_WRITES, view.meta_writes)?;
    match &mirror.meta {
        MetaPlace::Path(path) => msg.text(uapi::NETRAID_A_MIRROR_META_PATH, display(path)),
        MetaPlace::Internal => msg.flag(uapi::NETRAID_A_MIRROR_META_INTERNAL, true),
        MetaPlace::Nowhere => Ok(()),
    }
}

fn flags(msg: &mut Message, flags: MetaFlags) -> Result {
    let shown = [
        (uapi::NETRAID_A_MIRROR_LAST_OWNER, MetaFlags::LAST_OWNER),
        (uapi::NETRAID_A_MIRROR_DATA_CORRUPT, MetaFlags::DATA_CORRUPT),
        (uapi::NETRAID_A_MIRROR_SPLIT_BRAIN, MetaFlags::SPLIT_BRAIN),
        (uapi::NETRAID_A_MIRROR_YIELDED, MetaFlags::YIELDED),
        (uapi::NETRAID_A_MIRROR_NO_BITMAP, MetaFlags::NO_BITMAP),
        (uapi::NETRAID_A_MIRROR_STOPPED, MetaFlags::STOPPED),
        (uapi::NETRAID_A_MIRROR_ASYNC_PERMITTED, MetaFlags::ASYNC),
        (uapi::NETRAID_A_MIRROR_SAME_MACHINE, MetaFlags::SAME_MACHINE),
    ];
    for (attribute, flag) in shown {
        msg.flag(attribute, flags.contains(flag))?;
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
    msg.u32(uapi::NETRAID_A_LEG_REPLICATION, leg.replication.number())?;
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
    msg.u32(uapi::NETRAID_A_LEG_IN_FLIGHT, leg.in_flight)?;
    msg.uint(uapi::NETRAID_A_LEG_SKIPPED_BYTES, leg.skipped_bytes)?;
    msg.uint(uapi::NETRAID_A_LEG_ZEROED_BYTES, leg.zeroed_bytes)?;
    msg.flag(uapi::NETRAID_A_LEG_CHECKSUMS, leg.checksums)?;
    msg.flag(uapi::NETRAID_A_LEG_NO_CHECKSUMS, leg.no_checksums)?;
    if let Some(priority) = leg.priority {
        msg.u32(uapi::NETRAID_A_LEG_PRIORITY, u32::from(priority.number()))?;
    }
    let Some(unconfirmed) = leg.unconfirmed else {
        return Ok(());
    };
    msg.uint(uapi::NETRAID_A_LEG_UNCONFIRMED_BYTES, unconfirmed.bytes)?;
    if let Some(ms) = unconfirmed.oldest_ms {
        msg.uint(uapi::NETRAID_A_LEG_OLDEST_MS, ms)?;
    }
    msg.u32(uapi::NETRAID_A_LEG_UNCONFIRMED, unconfirmed.operations)?;
    msg.uint(uapi::NETRAID_A_LEG_SYNC_FALLBACKS, unconfirmed.fallbacks)?;
    msg.u32(uapi::NETRAID_A_LEG_CONGESTION, unconfirmed.congestion.number())?;
    msg.uint(uapi::NETRAID_A_LEG_FALLS, unconfirmed.falls)
}
