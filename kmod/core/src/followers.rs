// SPDX-License-Identifier: GPL-2.0

//! Targets in step that have still to note a generation.
//!
//! When a source begins another generation because one target missed a write, the others are told, and the write is not
//! acknowledged before each of them has noted it or is lost ([`generation`](crate::generation)). The message is the one
//! that ends a resync, and so is the answer; several can be under way to the same target, when generations follow each
//! other faster than it answers. An answer is that to the oldest of them, and only the last one ends the wait.
//!
//! The wait has an end: a target that does not answer is given up as one that does not confirm writes, by what
//! [`Followers::waiting_ms`] says.

use crate::legs::{LegNumber, LegSet, MAX_LEGS};

/// Who has still to note the generation that is on record here.
#[derive(Clone, Copy, Debug, Default)]
pub struct Followers {
    waiting: LegSet,
    /// Those of them whose message has not been sent.
    unsent: LegSet,
    /// Messages sent and not answered, those that ended a resync among them.
    unanswered: [u8; MAX_LEGS],
    /// Since when it is waited for an answer, milliseconds of any clock.
    since_ms: [u64; MAX_LEGS],
}

impl Followers {
    /// Nobody is waited for.
    pub const NONE: Self = Self {
        waiting: LegSet::NONE,
        unsent: LegSet::NONE,
        unanswered: [0; MAX_LEGS],
        since_ms: [0; MAX_LEGS],
    };

    /// Another generation is on record, and these legs, which are in step, have to note it; those that were lost have been
    /// [forgotten](Self::lost).
    pub fn begin(&mut self, legs: LegSet, now_ms: u64) {
        for leg in legs.without(self.waiting).iter() {
            self.note_time(leg, now_ms);
        }
        self.waiting = legs;
        self.unsent = legs;
    }

    /// One more leg has to note the generation that is on record: it is in step but for that.
    pub fn join(&mut self, leg: LegNumber, now_ms: u64) {
        self.note_time(leg, now_ms);
        self.waiting.put(leg, true);
        self.unsent.put(leg, true);
    }

    /// The message is handed to the sender, or the same one since a resync ends: that is answered, too, and its answer is
    /// not one to a generation that begins after it.
    pub fn sent(&mut self, leg: LegNumber) {
        self.unsent.remove(leg);
        if let Some(count) = self.unanswered.get_mut(leg.index()) {
            *count = count.saturating_add(1);
        }
    }

    /// A leg has answered; false where no answer was to be expected.
    #[must_use]
    pub fn noted(&mut self, leg: LegNumber, now_ms: u64) -> bool {
        let Some(count) = self.unanswered.get_mut(leg.index()).filter(|count| **count > 0) else {
            return false;
        };
        *count = count.saturating_sub(1);
        if *count == 0 && !self.unsent.contains(leg) {
            self.waiting.remove(leg);
        }
        self.note_time(leg, now_ms);
        true
    }

    /// A leg is not in step any more: neither is it waited for, nor is an answer expected.
    pub fn lost(&mut self, leg: LegNumber) {
        self.waiting.remove(leg);
        self.unsent.remove(leg);
        if let Some(count) = self.unanswered.get_mut(leg.index()) {
            *count = 0;
        }
    }

    /// Whether nobody is waited for.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// For how long a leg has been waited for without an answer, milliseconds; 0 where it is not.
    #[must_use]
    pub fn waiting_ms(&self, leg: LegNumber, now_ms: u64) -> u64 {
        match self.since_ms.get(leg.index()) {
            Some(since) if self.waiting.contains(leg) => now_ms.saturating_sub(*since),
            _ => 0,
        }
    }

    fn note_time(&mut self, leg: LegNumber, now_ms: u64) {
        if let Some(since) = self.since_ms.get_mut(leg.index()) {
            *since = now_ms;
        }
    }
}
