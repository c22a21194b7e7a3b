// SPDX-License-Identifier: GPL-2.0

//! What an operator is told of a volume and its legs, in numbers.

use super::{now, rescue::Reads, Volume};
use kernel::prelude::*;
use netraid_core::{bitmap::Bitmap, legs::LegNumber};

/// Numbers for the operator.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counters {
    /// Chunks the target may miss.
    pub(crate) dirty_chunks: u64,
    /// Bytes of those chunks.
    pub(crate) dirty_bytes: u64,
    /// Requests queued or sent and not confirmed.
    pub(crate) outstanding: u32,
    /// Those of applications among them.
    pub(crate) unconfirmed: u32,
    /// Bytes of data of those.
    pub(crate) unconfirmed_bytes: u64,
    /// For how long the oldest request of an application has been outstanding, milliseconds.
    pub(crate) oldest_ms: Option<u64>,
    /// Requests that an asynchronous leg did as a synchronous one would.
    pub(crate) fallbacks: u64,
    /// Bytes of application writes the target confirmed.
    pub(crate) replicated_bytes: u64,
    /// Bytes that copies of the resync brought to the target.
    pub(crate) copied_bytes: u64,
    /// Those of them that were zero, and sent without data.
    pub(crate) zeroed_bytes: u64,
    /// Bytes that the resync found to be the same on the target.
    pub(crate) equal_bytes: u64,
    /// Chunks that a crash now would make dirty.
    pub(crate) intent_chunks: u64,
    /// What became of reads that the local disk failed.
    pub(crate) reads: Reads,
}

impl Counters {
    /// Bytes that the resync is done with.
    pub(crate) fn resynced(&self) -> u64 {
        self.copied_bytes.saturating_add(self.equal_bytes)
    }
}

impl Volume {
    /// Numbers for the operator.
    pub(crate) fn counters(&self, leg: LegNumber) -> Counters {
        let state = self.state.lock();
        let common = Counters {
            intent_chunks: state.log.intent_chunks(),
            reads: state.rescues.counters,
            ..Counters::default()
        };
        let Some(remote) = state.remotes.get(leg) else {
            return common;
        };
        Counters {
            dirty_chunks: remote.dirty.map().ones(),
            dirty_bytes: self.dirty_bytes(remote.dirty.map()),
            outstanding: remote.outstanding,
            unconfirmed: remote.lag.outstanding(),
            unconfirmed_bytes: remote.lag.bytes(),
            oldest_ms: state.oldest_queued_ms(leg).map(|at| now().saturating_sub(at)),
            fallbacks: remote.lag.fallbacks(),
            replicated_bytes: remote.replicated_bytes,
            copied_bytes: remote.copied_bytes,
            zeroed_bytes: remote.zeroed_bytes,
            equal_bytes: remote.equal_bytes,
            ..common
        }
    }

    /// Chunks that the leg misses that misses most.
    pub(crate) fn most_dirty_chunks(&self) -> u64 {
        let state = self.state.lock();
        let ones = state.remotes.iter().map(|(_, remote)| remote.dirty.map().ones());
        ones.max().unwrap_or(0)
    }

    /// Bytes of the marked chunks; the last chunk of a disk may be short.
    pub(super) fn dirty_bytes(&self, dirty: &Bitmap<KVVec<u64>>) -> u64 {
        let geometry = &self.geometry;
        let chunk_size = u64::from(geometry.chunk_size());
        let last = geometry.chunks().saturating_sub(1);
        let short = if dirty.get(last) {
            chunk_size.saturating_sub(geometry.bytes_of(last).1)
        } else {
            0
        };
        dirty.ones().saturating_mul(chunk_size).saturating_sub(short)
    }

    /// For how long requests have been outstanding without one of them being confirmed, or the target has not noted the
    /// generation that others wait for, milliseconds.
    pub(crate) fn stalled_ms(&self, leg: LegNumber) -> u64 {
        let state = self.state.lock();
        let unconfirmed = match state.remotes.get(leg) {
            Some(remote) if remote.outstanding > 0 => now().saturating_sub(remote.progress_ms),
            _ => 0,
        };
        unconfirmed.max(state.log.followers.waiting_ms(leg, now()))
    }
}
