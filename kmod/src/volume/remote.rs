// SPDX-License-Identifier: GPL-2.0

//! A leg as the data path sees it: a map, a queue, and a switch.

use super::{
    control::Control,
    now,
    state::{Origin, Request},
    Volume,
};
use crate::meta::maps::{LegMaps, Map};
use kernel::prelude::*;
use netraid_core::{
    bitmap::Bitmap, fifo::Fifo, inflight::Slot, lag::Lag, legs::LegNumber, recent::Marker, solo::Solo,
    state::Congestion, wire::Kind,
};

/// The state of a leg.
pub(super) struct Remote {
    /// Application writes go to the target.
    pub(super) live: bool,
    /// The target was told on this connection that it misses nothing, and what is written since goes there.
    pub(super) in_step: bool,
    /// It has said that it noted that: its copy counts from then on, even if it loses its power.
    pub(super) complete: bool,
    /// The target answers reads.
    pub(super) answers_reads: bool,
    /// What the target confirms is on stable storage.
    pub(super) durable: bool,
    /// Somebody waits for `outstanding` to become zero.
    pub(super) draining: bool,
    pub(super) dirty: Map,
    /// Those of the dirty chunks that the target may well hold already: they are compared before they are copied.
    pub(super) doubtful: Bitmap<KVVec<u64>>,
    /// The target can compare.
    compares: bool,
    /// The target remembers what it was sent of late.
    remembers: bool,
    /// What it was told of that.
    marker: Marker,
    /// There is no bitmap: any interruption makes every chunk dirty.
    every_chunk: bool,
    /// Counts how often writes began or ceased to go to the target.
    pub(super) changes: u64,
    /// Counts the connections that were given up.
    pub(super) connection: u64,
    pub(super) queue: Fifo<Slot, KVVec<Slot>>,
    control: Control,
    pub(super) outstanding: u32,
    solo: Solo,
    /// Those of them that an application made, or was told are done.
    pub(super) lag: Lag,
    /// The leg is to be given up rather than have a write wait for others.
    gives_way: bool,
    /// A write waits, and the leg is to be given up.
    pub(super) congested: bool,
    next_seq: u64,
    /// When a request was last confirmed, or the first became outstanding; milliseconds since boot.
    pub(super) progress_ms: u64,
    pub(super) replicated_bytes: u64,
    pub(super) copied_bytes: u64,
    pub(super) zeroed_bytes: u64,
    pub(super) equal_bytes: u64,
    /// The generation that the target holds.
    pub(super) theirs: u64,
    /// It greeted as one that differs at most where it is marked.
    covered: bool,
    /// Copies of the resync under way.
    pub(super) copies: u32,
    /// Bytes of those.
    pub(super) copy_bytes: u64,
    /// How many bytes of copies may be under way; 0 where no resync is at work.
    pub(super) copy_window: u64,
    /// Those of the copies that another leg asked for.
    pub(super) shared_copies: u32,
    /// Bytes of such since the resync was last told.
    pub(super) shared_bytes: u64,
    pub(super) copy_failed: bool,
    /// A copy has ended since the resync was last told.
    pub(super) copy_ended: bool,
}

impl Remote {
    #[inline(never)]
    pub(super) fn new(maps: KBox<LegMaps>, capacity: usize, every_chunk: bool) -> Result<KBox<Self>> {
        let LegMaps { dirty, doubtful } = KBox::into_inner(maps);
        let remote = Self {
            live: false,
            in_step: false,
            complete: false,
            answers_reads: false,
            durable: false,
            draining: false,
            dirty,
            doubtful,
            compares: false,
            remembers: false,
            marker: Marker::NEW,
            every_chunk,
            changes: 0,
            connection: 0,
            queue: Fifo::new(KVVec::from_elem(Slot::from_number(0), capacity, GFP_KERNEL)?),
            control: Control::default(),
            outstanding: 0,
            solo: Solo::default(),
            lag: Lag::default(),
            gives_way: false,
            congested: false,
            next_seq: 1,
            progress_ms: 0,
            replicated_bytes: 0,
            copied_bytes: 0,
            zeroed_bytes: 0,
            equal_bytes: 0,
            theirs: 0,
            covered: false,
            copies: 0,
            copy_bytes: 0,
            copy_window: 0,
            shared_copies: 0,
            shared_bytes: 0,
            copy_failed: false,
            copy_ended: false,
        };
        Ok(KBox::new(remote, GFP_KERNEL)?)
    }

    /// Hands a request to the leg, which is number `leg`. The queue has as many places as there are requests.
    pub(super) fn queue(&mut self, leg: LegNumber, slot: Slot, request: &mut Request, now_ms: u64) {
        if self.queue.push(slot) {
            request.remote.queue(leg);
            request.set_seq(leg, self.next_seq);
            request.queued_ms = now_ms;
            self.solo.begin(self.outstanding);
            if self.outstanding == 0 {
                self.progress_ms = now_ms;
            }
            self.next_seq = self.next_seq.wrapping_add(1);
            self.outstanding = self.outstanding.saturating_add(1);
        }
    }

    /// Has the target, which is in step, note the generation that has begun: the message that ends a resync says just
    /// that.
    pub(super) fn follow(&mut self) {
        self.control.add(Kind::ResyncDone);
    }

    /// Whether there is news of what is settled, as [`Marker::is_due`] has it.
    pub(super) fn is_settling_due(&self, entered: u64, oldest: Option<u64>) -> bool {
        self.live && self.remembers && self.marker.is_due(entered, oldest)
    }

    /// Has the target told of it.
    pub(super) fn settle(&mut self) {
        self.control.add(Kind::Settled);
    }

    /// It is being told: what [`Marker::send`] says.
    pub(super) fn send_mark(&mut self, entered: u64) -> (u64, u64) {
        self.marker.send(entered)
    }

    /// A request of the application is about to be queued, and may find no room.
    pub(super) fn look_for_room(&mut self) {
        self.congested |= self.gives_way && self.lag.is_congested();
    }

    /// The leg is done with a request, or has given it up.
    pub(super) fn left(&mut self, leg: LegNumber, request: &Request) {
        self.outstanding = self.outstanding.saturating_sub(1);
        match request.origin {
            Origin::Application => self.lag.end(request.seq(leg), request.data_len()),
            Origin::Copy => self.copy_left(leg, request),
            Origin::Round | Origin::Rescue | Origin::Rebuild => {}
        }
    }

    /// A copy for this leg, which is number `leg`, has begun.
    pub(super) fn copy_begins(&mut self, leg: LegNumber, request: &Request) {
        self.copies = self.copies.saturating_add(1);
        self.copy_bytes = self.copy_bytes.saturating_add(request.len);
        if request.leg != leg {
            self.shared_copies = self.shared_copies.saturating_add(1);
            self.shared_bytes = self.shared_bytes.saturating_add(request.len);
        }
    }

    /// The leg has a copy, or does not get it.
    pub(super) fn copy_left(&mut self, leg: LegNumber, request: &Request) {
        self.copies = self.copies.saturating_sub(1);
        self.copy_bytes = self.copy_bytes.saturating_sub(request.len);
        self.copy_ended = true;
        if request.leg != leg {
            self.shared_copies = self.shared_copies.saturating_sub(1);
        }
    }

    /// Whether the target has still to be told that a resync begins.
    pub(super) fn waits_to_start(&self) -> bool {
        self.control.holds(Kind::ResyncStart)
    }

    /// Whether the leg has one request under way, and mostly has.
    pub(super) fn is_solo(&self) -> bool {
        self.outstanding == 1 && self.solo.is_likely()
    }

    /// The same, and that one waits to be sent, and nothing else does.
    pub(super) fn is_alone(&self) -> bool {
        self.is_solo() && self.queue.len() == 1 && self.control.is_empty()
    }

    /// The next message without data.
    pub(super) fn next_control(&mut self) -> Option<Kind> {
        let kind = self.control.take(self.lag.is_fenced())?;
        if kind == Kind::ResyncDone {
            self.lag.settle();
        }
        Some(kind)
    }

    /// The target was asked whether it holds the data of a request, and does not: the request is queued anew.
    pub(super) fn queue_again(&mut self, leg: LegNumber, slot: Slot, request: &mut Request) {
        request.again.put(leg, true);
        request.set_seq(leg, self.next_seq);
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

    /// Application writes go to the target from now on.
    pub(super) fn join(&mut self) {
        self.live = true;
        self.in_step = false;
        self.complete = false;
        self.marker = Marker::NEW;
        self.lag.connect();
        self.congested = false;
        self.draining = false;
        self.changes = self.changes.wrapping_add(1);
    }

    /// Whether the target misses nothing; `same`: it holds the generation that is here.
    pub(super) fn is_clean(&self, same: bool) -> bool {
        self.dirty.map().ones() == 0 && (same || self.covered)
    }

    /// Has the target told that a resync begins.
    pub(super) fn start_resync(&mut self) {
        self.control.add(Kind::ResyncStart);
    }

    /// Application writes stop going to the target. What is written from now on is missing there: a resync does not end any
    /// more.
    pub(super) fn cut_off(&mut self) {
        if self.live {
            self.leave();
        }
        self.control.remove(Kind::ResyncDone);
    }

    /// The connection is gone, with all that waited for it.
    pub(super) fn disconnect(&mut self) {
        self.leave();
        self.draining = false;
        self.connection = self.connection.wrapping_add(1);
        self.control = Control::default();
        self.queue.clear();
        self.copy_ended = true;
    }

    /// Application writes stop going to the target.
    fn leave(&mut self) {
        self.live = false;
        self.in_step = false;
        self.complete = false;
        self.lag.drop_fence();
        self.control.remove(Kind::Settled);
        self.changes = self.changes.wrapping_add(1);
        if self.every_chunk {
            self.dirty.set_all();
        }
    }
}

impl Volume {
    /// Does something with a leg, under the lock. A leg that is not there any more has nothing to say.
    pub(super) fn with_leg<R: Default>(&self, leg: LegNumber, run: impl FnOnce(&mut Remote) -> R) -> R {
        self.state.lock().remotes.get_mut(leg).map_or_else(R::default, run)
    }

    /// What the target holds, as it greeted; `covered`: it differs at most where it is marked, and is complete.
    pub(crate) fn set_theirs(&self, leg: LegNumber, generation: u64, covered: bool) {
        self.with_leg(leg, |remote| {
            remote.theirs = generation;
            remote.covered = covered;
        });
    }

    /// Whether the target can compare.
    pub(crate) fn set_compares(&self, leg: LegNumber, compares: bool) {
        self.with_leg(leg, |remote| remote.compares = compares);
    }

    /// Whether the target remembers what it was sent of late.
    pub(crate) fn set_remembers(&self, leg: LegNumber, remembers: bool) {
        self.with_leg(leg, |remote| remote.remembers = remembers);
    }

    /// Whether the target answers reads.
    pub(crate) fn set_answers_reads(&self, leg: LegNumber, it_does: bool) {
        self.with_leg(leg, |remote| remote.answers_reads = it_does);
    }

    /// Whether what the target confirms is on stable storage.
    pub(crate) fn set_durable(&self, leg: LegNumber, durable: bool) {
        self.with_leg(leg, |remote| remote.durable = durable);
    }

    /// What an asynchronous leg does at its limit.
    pub(crate) fn set_congestion(&self, leg: LegNumber, congestion: Congestion) {
        self.with_leg(leg, |remote| remote.gives_way = congestion == Congestion::Behind);
    }

    /// Whether a write waits since the last call that the leg is to be given up for.
    pub(crate) fn take_congested(&self, leg: LegNumber) -> bool {
        self.with_leg(leg, |remote| core::mem::take(&mut remote.congested))
    }

    /// A target has noted that it misses nothing, or being in step, a generation that it was told; false where no answer was
    /// waited for.
    pub(crate) fn followed(&self, leg: LegNumber) -> bool {
        let followed = {
            let mut state = self.state.lock();
            let followed = state.log.followers.noted(leg, now());
            if let Some(remote) = state.remotes.get_mut(leg) {
                remote.complete |= followed && remote.in_step;
            }
            followed
        };
        if followed {
            self.journal.raise();
        }
        followed
    }

    /// The data here has another generation.
    pub(crate) fn set_generation(&self, generation: u64) {
        self.state.lock().generation = generation;
    }

    /// Tells one connection of a leg from the next: whoever works with one takes nothing that is meant for another.
    pub(crate) fn connection(&self, leg: LegNumber) -> u64 {
        self.with_leg(leg, |remote| remote.connection)
    }

    /// There is a new leg: its counters begin.
    pub(crate) fn forget_counters(&self, leg: LegNumber) {
        self.with_leg(leg, |remote| {
            remote.lag.forget();
            remote.replicated_bytes = 0;
            remote.copied_bytes = 0;
            remote.zeroed_bytes = 0;
            remote.equal_bytes = 0;
        });
    }

    /// Marks every chunk: nothing is known of what the target holds, and everything is copied, or, with `compare`,
    /// compared first.
    pub(crate) fn mark_all(&self, leg: LegNumber, compare: bool) {
        let all = 0..self.geometry.chunks();
        self.with_leg(leg, |remote| {
            remote.dirty.set_all();
            remote.doubtful.clear_all();
            if compare {
                remote.doubtful.set_range(all);
            }
        });
    }

    /// Adds what the target may have written itself; words of its map from `first` on. Most of what it was about to
    /// write when it lost power is the same here.
    pub(crate) fn merge(&self, leg: LegNumber, first: usize, words: &[u64]) {
        let word = |index: usize| words.get(index).copied().unwrap_or(0);
        self.with_leg(leg, |remote| remote.doubt(first, word, words.len()));
    }

    /// Words of what this side may have written and the other does not know of, for telling it to the source.
    pub(crate) fn own_words(&self, leg: LegNumber, first: usize, words: &mut [u64]) {
        let state = self.state.lock();
        let marks = state.remotes.get(leg).map(|remote| remote.dirty.map());
        for (index, word) in (first..).zip(words) {
            *word = marks.map_or(0, |marks| marks.word(index)) | state.log.intent_word(index);
        }
    }

    /// Has a message without data sent. The end of a resync goes after what the application began before, and does not come
    /// where the local disk was given up meanwhile.
    pub(crate) fn send_control(&self, leg: LegNumber, kind: Kind) {
        self.with_leg(leg, |remote| {
            if kind == Kind::ResyncDone && !remote.live {
                return;
            }
            remote.control.add(kind);
            if kind == Kind::ResyncDone {
                let next = remote.next_seq;
                remote.lag.put_fence(next);
            }
        });
        self.raise_outgoing(leg);
    }
}
