// SPDX-License-Identifier: GPL-2.0
//! JSON for programs.
//!
//! A status is `{"version":1,"mirrors":[...]}`. The keys are the attribute names of the spec with `_` for `-`, the
//! values of enums are its names, sizes are bytes, identities are UUIDs in hexadecimal. What is not known is `null`.
//! A new key may come with any release; the version grows when one goes or changes its meaning. `legs` begins with
//! leg 0, the local disk. `bitmap` is `null` where there is none, and where nobody knows what it says.
//!
//! The events are one object a line: `{"event":"snapshot","mirrors":[...]}` first, then `{"event":KIND,"seq":N,...}`.
//! After `{"event":"lost"}` a new snapshot follows.

use serde::Serialize;

use crate::gen::{self, Role, State};
use crate::model::{Leg, Mirror, Uuid};

/// Version of the format.
pub const VERSION: u32 = 1;

/// The status of mirrors.
#[derive(Debug, Serialize)]
pub struct StatusDocument {
    version: u32,
    mirrors: Vec<MirrorObject>,
}

impl StatusDocument {
    /// The document for these mirrors.
    #[must_use]
    pub fn new(mirrors: &[Mirror]) -> Self {
        Self {
            version: VERSION,
            mirrors: mirrors.iter().map(MirrorObject::new).collect(),
        }
    }
}

#[derive(Debug, Serialize)]
struct MirrorObject {
    name: String,
    id: Option<u32>,
    uuid: Option<String>,
    role: &'static str,
    operational: bool,
    device: Option<String>,
    device_present: bool,
    open_count: Option<u32>,
    disk: Option<String>,
    size: Option<u64>,
    chunk_size: Option<u32>,
    node_name: Option<String>,
    node_uuid: Option<String>,
    priority: Option<u32>,
    address: Option<String>,
    port: Option<u32>,
    scope_id: Option<u32>,
    heartbeat_ms: Option<u32>,
    timeout_ms: Option<u32>,
    inconsistent: bool,
    dirty_chunks: Option<u64>,
    chunks: Option<u64>,
    intent_chunks: Option<u64>,
    read_errors: Option<u64>,
    remote_reads: Option<u64>,
    repaired_bytes: Option<u64>,
    repair_errors: Option<u64>,
    on_io_error: Option<&'static str>,
    disk_state: Option<&'static str>,
    rebuilt_bytes: Option<u64>,
    meta_path: Option<String>,
    meta_internal: bool,
    no_bitmap: bool,
    meta_writes: Option<u64>,
    last_owner: bool,
    data_corrupt: bool,
    split_brain: bool,
    yielded: bool,
    stopped: bool,
    generation: Option<u64>,
    resync_rate: Option<u64>,
    async_permitted: bool,
    async_limit: Option<u32>,
    source_name: Option<String>,
    same_machine: bool,
    event_seq: Option<u64>,
    bitmap: Option<BitmapObject>,
    legs: Vec<LegObject>,
}

#[derive(Debug, Serialize)]
struct BitmapObject {
    chunks: u64,
    dirty: u64,
    percent: f64,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum LegObject {
    Local(LocalLeg),
    Network(Box<NetworkLeg>),
}

#[derive(Debug, Serialize)]
struct LocalLeg {
    id: u32,
    kind: &'static str,
    disk: Option<String>,
    state: &'static str,
}

#[derive(Debug, Serialize)]
struct NetworkLeg {
    id: u32,
    kind: &'static str,
    from: String,
    to: String,
    address: Option<String>,
    port: Option<u32>,
    scope_id: Option<u32>,
    peer_name: Option<String>,
    peer_uuid: Option<String>,
    priority: Option<u32>,
    state: &'static str,
    connection: &'static str,
    replication: &'static str,
    reason: Option<String>,
    heartbeat_ms: Option<u32>,
    timeout_ms: Option<u32>,
    chunks: Option<u64>,
    dirty_chunks: Option<u64>,
    percent: Option<f64>,
    speed: Option<u64>,
    resync_total: Option<u64>,
    resync_done: Option<u64>,
    resync_elapsed_ms: Option<u64>,
    resync_full: bool,
    resyncs: Option<u64>,
    resynced_bytes: Option<u64>,
    replicated_bytes: Option<u64>,
    sent_bytes: Option<u64>,
    received_bytes: Option<u64>,
    connects: Option<u64>,
    attempts: Option<u64>,
    heard_ms: Option<u64>,
    retry_ms: Option<u64>,
    in_flight: Option<u32>,
    unconfirmed: Option<u32>,
    unconfirmed_bytes: Option<u64>,
    oldest_ms: Option<u64>,
    sync_fallbacks: Option<u64>,
    congestion: Option<&'static str>,
    falls: Option<u64>,
    skipped_bytes: Option<u64>,
    zeroed_bytes: Option<u64>,
    checksums: bool,
    no_checksums: bool,
}

/// A percentage with one decimal, as in the text.
fn rounded(percent: f64) -> f64 {
    (percent * 10.0).round() / 10.0
}

fn uuid(bytes: Option<[u8; gen::UUID_LEN]>) -> Option<String> {
    bytes.map(|bytes| Uuid(bytes).to_string())
}

impl MirrorObject {
    fn new(mirror: &Mirror) -> Self {
        let told = &mirror.told;
        let local = LocalLeg {
            id: 0,
            kind: "local",
            disk: told.disk.clone(),
            state: if told.inconsistent || mirror.has_lost_disk() {
                State::OutOfSync
            } else {
                State::FullyOperational
            }
            .name(),
        };
        let network = mirror
            .legs
            .iter()
            .map(|leg| LegObject::Network(Box::new(NetworkLeg::new(mirror, leg))));
        Self {
            name: mirror.name.clone(),
            id: told.id,
            uuid: uuid(told.uuid),
            role: mirror.role.name(),
            operational: mirror.is_operational(),
            device: mirror.device(),
            device_present: told.device_present,
            open_count: told.open_count,
            disk: told.disk.clone(),
            size: told.size,
            chunk_size: told.chunk_size,
            node_name: told.node_name.clone(),
            node_uuid: uuid(told.node_uuid),
            priority: told.priority,
            address: mirror.listen().map(|listen| listen.ip.to_string()),
            port: told.port,
            scope_id: told.scope_id,
            heartbeat_ms: told.heartbeat_ms,
            timeout_ms: told.timeout_ms,
            inconsistent: told.inconsistent,
            dirty_chunks: told.dirty_chunks,
            chunks: told.chunks,
            intent_chunks: told.intent_chunks,
            read_errors: told.read_errors,
            remote_reads: told.remote_reads,
            repaired_bytes: told.repaired_bytes,
            repair_errors: told.repair_errors,
            on_io_error: told.on_io_error.map(gen::OnIoError::name),
            disk_state: told.disk_state.map(gen::DiskState::name),
            rebuilt_bytes: told.rebuilt_bytes,
            meta_path: told.meta_path.clone(),
            meta_internal: told.meta_internal,
            no_bitmap: told.no_bitmap,
            meta_writes: told.meta_writes,
            last_owner: told.last_owner,
            data_corrupt: told.data_corrupt,
            split_brain: told.split_brain,
            yielded: told.yielded,
            stopped: told.stopped,
            generation: told.generation,
            resync_rate: told.resync_rate,
            async_permitted: told.async_permitted,
            async_limit: told.async_limit,
            source_name: mirror.source_name().map(str::to_owned),
            same_machine: told.same_machine,
            event_seq: told.event_seq,
            bitmap: mirror.bitmap().filter(|_| !told.no_bitmap).map(|bitmap| BitmapObject {
                chunks: bitmap.chunks,
                dirty: bitmap.dirty,
                percent: rounded(crate::model::percent(bitmap.dirty, bitmap.chunks)),
            }),
            legs: std::iter::once(LegObject::Local(local)).chain(network).collect(),
        }
    }
}

impl NetworkLeg {
    fn new(mirror: &Mirror, leg: &Leg) -> Self {
        let told = &leg.told;
        let (here, there) = (mirror.node().to_owned(), leg.peer());
        let (from, to) = if mirror.role == Role::Target {
            (there, here)
        } else {
            (here, there)
        };
        let resync = leg.resync();
        Self {
            id: leg.id,
            kind: "network",
            from,
            to,
            address: leg.endpoint().map(|endpoint| endpoint.ip.to_string()),
            port: told.port,
            scope_id: told.scope_id,
            peer_name: leg.peer_name().map(str::to_owned),
            peer_uuid: uuid(told.peer_uuid),
            priority: told.priority,
            state: leg.state.name(),
            connection: leg.connection.name(),
            replication: leg.replication.name(),
            reason: leg.reason().map(str::to_owned),
            heartbeat_ms: told.heartbeat_ms,
            timeout_ms: told.timeout_ms,
            chunks: told.chunks,
            dirty_chunks: told.dirty_chunks,
            percent: resync.map(|resync| rounded(resync.percent())),
            speed: resync.map(|resync| resync.speed()),
            resync_total: told.resync_total,
            resync_done: told.resync_done,
            resync_elapsed_ms: told.resync_elapsed_ms,
            resync_full: told.resync_full,
            resyncs: told.resyncs,
            resynced_bytes: told.resynced_bytes,
            replicated_bytes: told.replicated_bytes,
            sent_bytes: told.sent_bytes,
            received_bytes: told.received_bytes,
            connects: told.connects,
            attempts: told.attempts,
            heard_ms: told.heard_ms,
            retry_ms: told.retry_ms,
            in_flight: told.in_flight,
            unconfirmed: told.unconfirmed,
            unconfirmed_bytes: told.unconfirmed_bytes,
            oldest_ms: told.oldest_ms,
            sync_fallbacks: told.sync_fallbacks,
            congestion: told.congestion.map(gen::Congestion::name),
            falls: told.falls,
            skipped_bytes: told.skipped_bytes,
            zeroed_bytes: told.zeroed_bytes,
            checksums: told.checksums,
            no_checksums: told.no_checksums,
        }
    }
}

/// One line of the event stream.
#[derive(Debug, Serialize)]
pub struct EventLine {
    version: u32,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leg_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mirror: Option<MirrorObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mirrors: Option<Vec<MirrorObject>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_seq: Option<u64>,
}

impl EventLine {
    const fn bare(event: &'static str) -> Self {
        Self {
            version: VERSION,
            event,
            seq: None,
            time_ms: None,
            leg_id: None,
            reason: None,
            mirror: None,
            mirrors: None,
            expected_seq: None,
        }
    }

    /// The mirrors as they are now.
    #[must_use]
    pub fn snapshot(mirrors: &[Mirror]) -> Self {
        let seq = mirrors.iter().filter_map(|mirror| mirror.told.event_seq).max();
        Self {
            seq,
            mirrors: Some(mirrors.iter().map(MirrorObject::new).collect()),
            ..Self::bare("snapshot")
        }
    }

    /// Something that happened.
    #[must_use]
    pub fn event(event: gen::Event) -> Self {
        Self {
            seq: event.seq,
            time_ms: event.time_ms,
            leg_id: event.leg_id,
            reason: event.reason.filter(|reason| !reason.is_empty()),
            mirror: event.mirror.map(|mirror| MirrorObject::new(&Mirror::from(mirror))),
            ..Self::bare(event.kind.map_or("unknown", gen::EventKind::name))
        }
    }

    /// Events were lost: the number that should have come and the one that came.
    #[must_use]
    pub fn lost(numbers: Option<(u64, u64)>) -> Self {
        Self {
            expected_seq: numbers.map(|(due, _)| due),
            seq: numbers.map(|(_, seq)| seq),
            ..Self::bare("lost")
        }
    }
}
