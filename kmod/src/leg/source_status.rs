// SPDX-License-Identifier: GPL-2.0

//! What an operator is shown of a source's leg, and told.

use super::{source::SourceLeg, LegStatus, Report, Unconfirmed};
use crate::sys::misc;
use netraid_core::{name::Text, resync::Progress, wire::features};

/// Why a leg that is not in step stays so.
pub(super) const NOTHING_TO_COPY: &str = "the disk of the source was given up, and what this target misses can't be \
    copied from it; make a target that is in step the source with `netraid-ctl switchover`";

/// Why a resync does not get on.
pub(super) const WAITS: &str = "the resync waits for its turn: as many mirrors as may be resynchronized at a time \
    (max_resyncs of the module) come before";

impl SourceLeg {
    /// Others come before in the line of resyncs.
    pub(crate) fn waits_for_turn(&self) {
        let mut inner = self.inner.lock();
        inner.waits = inner.copying;
    }

    /// The resync gets on: its time begins.
    pub(crate) fn has_turn(&self) {
        let mut inner = self.inner.lock();
        if core::mem::take(&mut inner.waits) {
            let total = inner.progress.map_or(0, |progress| progress.total());
            inner.progress = inner.progress.map(|_| Progress::start(misc::now_ms(), total));
        }
    }

    /// The number of its mirror.
    pub(crate) fn mirror_id(&self) -> u32 {
        self.config.node.mirror_id
    }

    /// Tells the listeners how far a resync is.
    pub(crate) fn report_progress(&self) {
        (self.config.observer)(self.config.node.mirror_id, self.number().id(), Report::Progress);
    }

    /// Tells the listeners that a lasting flag of the mirror changed.
    pub(super) fn report_standing(&self, reason: Text) {
        (self.config.observer)(self.config.node.mirror_id, self.number().id(), Report::Standing(reason));
    }

    /// What the operator is shown.
    pub(crate) fn status(&self) -> LegStatus {
        let counters = self.volume.counters(self.number());
        let now = misc::now_ms();
        let (peer_name, peer_uuid) = self.peer();
        let priority = self.volume.store.with(|sb| self.noted(sb)?.priority);
        let inner = self.inner.lock();
        let traffic = inner.link.as_ref().map_or((0, 0), |link| link.traffic());
        let connected = inner.machine.state().is_connected();
        LegStatus {
            id: self.number().id(),
            address: Some(self.config.address),
            peer_name,
            peer_uuid,
            state: inner.machine.view(),
            connection: inner.machine.connection(),
            timing: self.config.timing,
            reason: inner.shown_reason(),
            chunks: self.volume.geometry.chunks(),
            dirty_chunks: counters.dirty_chunks,
            resync: inner.resync_status(now, counters.resynced()),
            resynced_bytes: counters.copied_bytes,
            replicated_bytes: counters.replicated_bytes,
            sent_bytes: inner.past_traffic.0.saturating_add(traffic.0),
            received_bytes: inner.past_traffic.1.saturating_add(traffic.1),
            connects: inner.connects,
            attempts: inner.attempts,
            heard_ms: inner.link.as_ref().filter(|_| connected).map(|link| link.silence_ms()),
            retry_ms: inner.retry_in(now),
            in_flight: counters.outstanding,
            replication: self.config.replication,
            unconfirmed: Some(Unconfirmed {
                operations: counters.unconfirmed,
                bytes: counters.unconfirmed_bytes,
                oldest_ms: counters.oldest_ms,
                fallbacks: counters.fallbacks,
                congestion: self.config.congestion,
                falls: inner.behind.falls(),
            }),
            skipped_bytes: inner.skipped_bytes.saturating_add(counters.equal_bytes),
            zeroed_bytes: counters.zeroed_bytes,
            checksums: connected
                && inner
                    .link
                    .as_ref()
                    .is_some_and(|link| link.has(features::PAYLOAD_CHECKSUM)),
            no_checksums: self.config.no_checksums,
            priority,
        }
    }
}
