// SPDX-License-Identifier: GPL-2.0

//! What a leg knows of itself and tells others.

use crate::sys::net::Address;
use netraid_core::{
    name::{Name, Text},
    priority::Priority,
    state::{Congestion, Connection, LegState, Replication},
    wire::Id,
};

/// This machine's part in a mirror, as the other side is told.
#[derive(Clone, Copy)]
pub(crate) struct Node {
    /// Number of the mirror on this machine.
    pub(crate) mirror_id: u32,
    /// Name of the mirror on this machine.
    pub(crate) mirror: Name,
    /// Its name for other machines.
    pub(crate) wire_name: Name,
    /// Name of the machine.
    pub(crate) name: Name,
    /// Identity of the machine.
    pub(crate) uuid: Id,
    /// Another one for each time the mirror comes into service; the mirror knows itself by a part of it.
    pub(crate) instance: Id,
}

/// When silence is broken, and when it means that the other side is gone.
#[derive(Clone, Copy)]
pub(crate) struct Timing {
    /// Milliseconds without a message sent after which a heartbeat is sent.
    pub(crate) heartbeat_ms: u32,
    /// Milliseconds without a message heard after which the connection is given up.
    pub(crate) timeout_ms: u32,
}

impl Timing {
    /// Used where the operator says nothing: five heartbeats may be lost in a row, and an application waits for five
    /// seconds at most when the other side dies (DRBD's limit is 6 s).
    pub(crate) const DEFAULT: Self = Self {
        heartbeat_ms: 1000,
        timeout_ms: 5000,
    };

    /// How long the target's disk may take for one write before the leg is given up: far longer than any disk's own
    /// retries of a bad sector are meant to take, since a leg lost costs a resync.
    pub(crate) fn confirm_ms(&self) -> u64 {
        u64::from(self.timeout_ms).saturating_mul(6).max(30_000)
    }

    /// How often a thread looks at the clock while it waits.
    pub(crate) fn tick_ms(&self) -> u32 {
        (self.heartbeat_ms / 2).clamp(25, 500)
    }
}

/// Where something that happens to a leg is told. No lock of the leg or the volume may be held.
pub(crate) type Observer = fn(mirror_id: u32, leg_id: u32, report: Report);

/// Something that happens to a leg.
#[derive(Clone, Copy)]
pub(crate) enum Report {
    /// Its state or its connection changed.
    Changed(Text),
    /// A resync goes on.
    Progress,
    /// A resync is complete.
    Done,
    /// A connection was refused by one of the two sides.
    Refused(Text),
    /// One of the lasting flags of the mirror changed.
    Standing(Text),
}

/// The last resync.
#[derive(Clone, Copy, Default)]
pub(crate) struct ResyncStatus {
    /// Bytes it has to copy.
    pub(crate) total: u64,
    /// Bytes it has copied.
    pub(crate) done: u64,
    /// How long it has lasted, or lasted.
    pub(crate) elapsed_ms: u64,
    /// It covers the whole device.
    pub(crate) full: bool,
    /// Resyncs so far.
    pub(crate) count: u64,
}

/// What a leg has not confirmed of what applications wrote.
#[derive(Clone, Copy)]
pub(crate) struct Unconfirmed {
    /// How many requests.
    pub(crate) operations: u32,
    /// Bytes of data.
    pub(crate) bytes: u64,
    /// For how long the oldest has been under way, milliseconds.
    pub(crate) oldest_ms: Option<u64>,
    /// How often an asynchronous leg did as a synchronous one would.
    pub(crate) fallbacks: u64,
    /// What happens at the limit of an asynchronous leg.
    pub(crate) congestion: Congestion,
    /// How often the leg fell behind.
    pub(crate) falls: u64,
}

/// What an operator is shown of a leg.
#[derive(Clone, Copy)]
pub(crate) struct LegStatus {
    pub(crate) id: u32,
    pub(crate) address: Option<Address>,
    pub(crate) peer_name: Name,
    pub(crate) peer_uuid: Option<Id>,
    pub(crate) state: LegState,
    pub(crate) connection: Connection,
    pub(crate) timing: Timing,
    pub(crate) reason: Text,
    pub(crate) chunks: u64,
    pub(crate) dirty_chunks: u64,
    pub(crate) resync: ResyncStatus,
    pub(crate) resynced_bytes: u64,
    pub(crate) replicated_bytes: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
    pub(crate) connects: u64,
    pub(crate) attempts: u64,
    pub(crate) heard_ms: Option<u64>,
    pub(crate) retry_ms: Option<u64>,
    pub(crate) in_flight: u32,
    /// When a write counts as done.
    pub(crate) replication: Replication,
    /// What of it is only known to a source; see [`crate::volume::Counters`].
    pub(crate) unconfirmed: Option<Unconfirmed>,
    pub(crate) skipped_bytes: u64,
    pub(crate) zeroed_bytes: u64,
    /// The data on this connection carries checksums.
    pub(crate) checksums: bool,
    /// An operator does not want them.
    pub(crate) no_checksums: bool,
    /// That of the other machine.
    pub(crate) priority: Option<Priority>,
}
