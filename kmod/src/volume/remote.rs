// SPDX-License-Identifier: GPL-2.0

//! The leg as the data path sees it: a map, a queue, and a switch.

use super::{
    log::Step,
    now,
    state::{Counters, Request},
    Volume,
};
use crate::{meta::maps::Map, sys::block::BioList};
use kernel::prelude::*;
use netraid_core::{bitmap::Bitmap, fifo::Fifo, inflight::Slot, request::Part, wire::Kind};

/// Messages without data that wait to be sent, each at most once; they go before the data.
#[derive(Clone, Copy, Default)]
pub(crate) struct Control(u32);

impl Control {
    /// In the order in which they are sent when several wait.
    const ALL: [Kind; 5] = [
        Kind::ResyncStart,
        Kind::ResyncDone,
        Kind::Pause,
        Kind::Resume,
        Kind::Bye,
    ];

    fn bit(kind: Kind) -> u32 {
        1 << kind.number()
    }

    /// Adds a message.
    pub(crate) fn add(&mut self, kind: Kind) {
        self.0 |= Self::bit(kind);
    }

    /// Takes a message back that has not been sent.
    fn remove(&mut self, kind: Kind) {
        self.0 &= !Self::bit(kind);
    }

    pub(super) fn take(&mut self) -> Option<Kind> {
        let kind = Self::ALL.into_iter().find(|kind| self.0 & Self::bit(*kind) != 0)?;
        self.0 &= !Self::bit(kind);
        Some(kind)
    }
}

/// The state of the leg.
pub(super) struct Remote {
    /// Application writes go to the target.
    pub(super) live: bool,
    /// The target was told on this connection that it misses nothing, and what is written since goes there.
    pub(super) in_step: bool,
    /// The target answers reads.
    pub(super) answers_reads: bool,
    /// Somebody waits for `outstanding` to become zero.
    pub(super) draining: bool,
    pub(super) dirty: Map,
    /// Those of the dirty chunks that the target may well hold already: they are compared before they are copied.
    pub(super) doubtful: Bitmap<KVVec<u64>>,
    /// The target can compare.
    compares: bool,
    /// There is no bitmap: any interruption makes every chunk dirty.
    every_chunk: bool,
    /// Counts how often writes began or ceased to go to the target.
    pub(super) changes: u64,
    /// Counts the connections that were given up.
    pub(super) connection: u64,
    pub(super) queue: Fifo<Slot, KVVec<Slot>>,
    pub(super) control: Control,
    pub(super) outstanding: u32,
    next_seq: u64,
    /// When a request was last confirmed, or the first became outstanding; milliseconds since boot.
    pub(super) progress_ms: u64,
    pub(super) replicated_bytes: u64,
    pub(super) copied_bytes: u64,
    pub(super) zeroed_bytes: u64,
    pub(super) equal_bytes: u64,
    /// The generation of the data here, which the target is given with the beginning of a resync.
    pub(super) generation: u64,
    /// The one that the target holds.
    pub(super) theirs: u64,
}

impl Remote {
    pub(super) fn new(
        dirty: Map,
        doubtful: Bitmap<KVVec<u64>>,
        capacity: usize,
        every_chunk: bool,
        generation: u64,
    ) -> Result<Self> {
        Ok(Self {
            live: false,
            in_step: false,
            answers_reads: false,
            draining: false,
            dirty,
            doubtful,
            compares: false,
            every_chunk,
            changes: 0,
            connection: 0,
            generation,
            queue: Fifo::new(KVVec::from_elem(Slot::from_number(0), capacity, GFP_KERNEL)?),
            control: Control::default(),
            outstanding: 0,
            next_seq: 1,
            progress_ms: 0,
            replicated_bytes: 0,
            copied_bytes: 0,
            zeroed_bytes: 0,
            equal_bytes: 0,
            theirs: 0,
        })
    }

    /// Hands a request to the leg. The queue has as many places as there are requests.
    pub(super) fn queue(&mut self, slot: Slot, request: &mut Request, now_ms: u64) {
        if self.queue.push(slot) {
            request.remote = Part::Queued;
            request.seq = self.next_seq;
            if self.outstanding == 0 {
                self.progress_ms = now_ms;
            }
            self.next_seq = self.next_seq.wrapping_add(1);
            self.outstanding = self.outstanding.saturating_add(1);
        }
    }

    /// The target was asked whether it holds the data of a request, and does not: the request is queued anew.
    pub(super) fn queue_again(&mut self, slot: Slot, request: &mut Request) {
        request.kind = Some(if request.zero { Kind::Zeroes } else { Kind::Write });
        request.seq = self.next_seq;
        self.next_seq = self.next_seq.wrapping_add(1);
        // It left its place in the queue when it was sent.
        let _ = self.queue.push(slot);
    }

    /// Whether a chunk is to be compared before it is copied.
    pub(super) fn is_doubtful(&self, chunk: u64) -> bool {
        self.compares && self.doubtful.get(chunk)
    }

    /// Marks chunks, words of a map from `first` on, that the target may well hold already.
    pub(super) fn doubt(&mut self, first: usize, words: impl Fn(usize) -> u64, count: usize) {
        let Self { dirty, doubtful, .. } = self;
        let new = |index: usize| words(index) & !dirty.map().word(first.saturating_add(index));
        doubtful.merge(first, (0..count).map(new));
        dirty.merge(first, (0..count).map(words));
    }

    /// Application writes stop going to the target.
    fn leave(&mut self) {
        self.live = false;
        self.in_step = false;
        self.changes = self.changes.wrapping_add(1);
        if self.every_chunk {
            self.dirty.set_all();
        }
    }
}

impl Volume {
    /// What the target holds, as it greeted or was told since.
    pub(crate) fn set_theirs(&self, generation: u64) {
        self.state.lock().remote.theirs = generation;
    }

    /// Whether the target can compare.
    pub(crate) fn set_compares(&self, compares: bool) {
        self.state.lock().remote.compares = compares;
    }

    /// Whether the target answers reads.
    pub(crate) fn set_answers_reads(&self, it_does: bool) {
        self.state.lock().remote.answers_reads = it_does;
    }

    /// The data here has another generation.
    pub(crate) fn set_generation(&self, generation: u64) {
        self.state.lock().remote.generation = generation;
    }

    /// Tells one connection from the next: whoever works with one takes nothing that is meant for another.
    pub(crate) fn connection(&self) -> u64 {
        self.state.lock().remote.connection
    }

    /// From now on writes go to the target too; true when it misses nothing. Otherwise the target is told first that
    /// its copy is unusable.
    pub(crate) fn go_live(&self) -> bool {
        let mut state = self.state.lock();
        state.remote.live = true;
        state.remote.in_step = false;
        state.remote.draining = false;
        state.remote.changes = state.remote.changes.wrapping_add(1);
        // A target of another generation takes this one with the beginning of a resync, even if nothing is marked.
        let same = state.remote.theirs == state.remote.generation && state.log.step != Step::Parting;
        let clean = state.remote.dirty.map().ones() == 0 && same;
        if !clean {
            state.remote.control.add(Kind::ResyncStart);
        }
        clean
    }

    /// From now on writes are marked only; true when nothing is outstanding. Otherwise `outgoing` is raised when the
    /// last one is confirmed.
    pub(crate) fn cut(&self) -> bool {
        let mut state = self.state.lock();
        state.remote.leave();
        // What is written from now on is missing there: a resync does not end any more.
        state.remote.control.remove(Kind::ResyncDone);
        state.remote.draining = true;
        state.remote.outstanding == 0
    }

    /// Whether a cut is complete.
    pub(crate) fn is_drained(&self) -> bool {
        let state = self.state.lock();
        state.remote.draining && state.remote.outstanding == 0
    }

    /// The connection is gone: marks what was not confirmed and ends what only waited for it.
    pub(crate) fn abandon(&self) {
        let mut ended = BioList::new();
        let mut state = self.state.lock();
        state.remote.leave();
        state.remote.draining = false;
        state.remote.connection = state.remote.connection.wrapping_add(1);
        state.remote.control = Control::default();
        state.remote.queue.clear();
        for number in 0..state.requests.len() {
            let Ok(number) = u16::try_from(number) else { break };
            state.abandon(Slot::from_number(number), &self.geometry, &mut ended);
        }
        state.copy_ended = true;
        self.release(state, ended);
    }

    /// There is a new leg: its counters begin.
    pub(crate) fn forget_counters(&self) {
        let mut state = self.state.lock();
        state.remote.replicated_bytes = 0;
        state.remote.copied_bytes = 0;
        state.remote.zeroed_bytes = 0;
        state.remote.equal_bytes = 0;
    }

    /// Marks every chunk: nothing is known of what the target holds, and everything is copied.
    pub(crate) fn mark_all(&self) {
        let mut state = self.state.lock();
        state.remote.dirty.set_all();
        state.remote.doubtful.clear_all();
    }

    /// Adds what the target may have written itself; words of its map from `first` on. Most of what it was about to
    /// write when it lost power is the same here.
    pub(crate) fn merge(&self, first: usize, words: &[u64]) {
        let word = |index: usize| words.get(index).copied().unwrap_or(0);
        self.state.lock().remote.doubt(first, word, words.len());
    }

    /// Words of what this side may have written and the other does not know of, for telling it to the source.
    pub(crate) fn own_words(&self, first: usize, words: &mut [u64]) {
        let state = self.state.lock();
        for (index, word) in (first..).zip(words) {
            *word = state.remote.dirty.map().word(index) | state.log.intent_word(index);
        }
    }

    /// Has a message without data sent.
    pub(crate) fn send_control(&self, kind: Kind) {
        self.state.lock().remote.control.add(kind);
        self.outgoing.raise();
    }

    /// Numbers for the operator.
    pub(crate) fn counters(&self) -> Counters {
        let state = self.state.lock();
        Counters {
            dirty_chunks: state.remote.dirty.map().ones(),
            dirty_bytes: self.dirty_bytes(state.remote.dirty.map()),
            outstanding: state.remote.outstanding,
            replicated_bytes: state.remote.replicated_bytes,
            copied_bytes: state.remote.copied_bytes,
            zeroed_bytes: state.remote.zeroed_bytes,
            equal_bytes: state.remote.equal_bytes,
            intent_chunks: state.log.intent_chunks(),
            reads: state.rescues.counters,
        }
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

    /// For how long requests have been outstanding without one of them being confirmed, milliseconds.
    pub(crate) fn stalled_ms(&self) -> u64 {
        let state = self.state.lock();
        if state.remote.outstanding == 0 {
            return 0;
        }
        now().saturating_sub(state.remote.progress_ms)
    }
}
