// SPDX-License-Identifier: GPL-2.0

//! How far a leg may lag behind: which requests of the application end before the target has confirmed them.
//!
//! On a synchronous leg none does. On an asynchronous one a request does when, at the moment it is queued, fewer of
//! the application's requests than the limit are outstanding, and its data is in pages of our own: the application's
//! are its own again when it is told of the end. Any other waits for its own confirmation, as on a synchronous leg,
//! and is counted ([`Lag::fallbacks`]). The limit counts operations, whatever their size; only until the target is in
//! step their bytes are limited, too.
//!
//! # When a target counts as consistent
//!
//! From then on it may lack nothing that was acknowledged before something it holds was begun.
//!
//! * At the end of a resync ([`SendResyncDone`](crate::leg::Action::SendResyncDone)). What came by a copy is no
//!   danger: a copy waits for every write that it overlaps, acknowledged early or not, to be confirmed
//!   ([`Inflight::insert_last`](crate::inflight::Inflight::insert_last)), and what was confirmed was begun behind a
//!   barrier. A write that is neither copied nor confirmed is queued. A [`Fence`] keeps the end back until all of
//!   those are confirmed, too, that were begun before it: the end then speaks of a state of the source, and not of
//!   the queue. It waits for those alone: however much is begun meanwhile, it passes.
//! * On a connection that finds no chunk marked ([`LiveClean`](crate::leg::Event::LiveClean)). What an earlier
//!   connection left unconfirmed was marked when it ended, acknowledged or not; so there was nothing of the kind, and
//!   the target holds everything that was begun before. The end of a resync is sent here, too, behind the same fence.
//! * In a pause. The target is told when nothing is outstanding any more ([`Drained`](crate::leg::Event::Drained)),
//!   and since the cut nothing was queued: it holds what was begun before the cut, and nothing else.
//! * When it lost its source and is promoted. It holds a prefix of what was sent, see [`epoch`](crate::epoch). In the
//!   middle of a resync it is not consistent, and says so.

use crate::epoch::Epochs;

/// Most bytes of data that may be outstanding, for a request to end early, while a resync goes on. Copies wait for
/// the writes they overlap, and later writes for the copies: behind all that a limit in operations allows, neither
/// would get on.
const RESYNC_BYTES: u64 = 4 << 20;

/// What is decided about a request of the application as it is queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// It ends when the local disk has it.
    pub early: bool,
    /// The target begins it only after all that was sent before.
    pub barrier: bool,
}

/// Waits for the application's requests that were outstanding at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The sequence number that the next request had then.
    before: u64,
    left: u32,
}

/// The requests of the application that a leg has not confirmed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lag {
    /// Most that may be outstanding and acknowledged; `None` on a synchronous leg.
    limit: Option<u32>,
    outstanding: u32,
    bytes: u64,
    fallbacks: u64,
    epochs: Epochs,
    fence: Option<Fence>,
    /// The target has been told that it misses nothing.
    in_step: bool,
}

impl Lag {
    /// From now on the leg is asynchronous with this limit, or synchronous.
    pub fn set_limit(&mut self, limit: Option<u32>) {
        self.limit = limit;
    }

    /// Whether the leg is asynchronous.
    pub const fn is_asynchronous(&self) -> bool {
        self.limit.is_some()
    }

    /// Whether a request that was queued now could end early; it has to have its data copied before.
    pub fn has_room(&self) -> bool {
        let fits = self.in_step || self.bytes < RESYNC_BYTES;
        self.limit.is_some_and(|limit| self.outstanding < limit && fits)
    }

    /// Whether a request that was queued now would have to wait, on a leg that is in step.
    pub fn is_congested(&self) -> bool {
        self.in_step && self.is_asynchronous() && !self.has_room()
    }

    /// A new connection begins, of which nothing was acknowledged.
    pub fn connect(&mut self) {
        self.epochs = Epochs::NEW;
        self.fence = None;
        self.in_step = false;
    }

    /// The target is told that it misses nothing: what a fence kept back is sent.
    pub fn settle(&mut self) {
        self.fence = None;
        self.in_step = true;
    }

    /// A request with `bytes` of data is queued; `copied`: its data, if it has any, is in pages of our own.
    pub fn begin(&mut self, bytes: u64, copied: bool) -> Begun {
        let early = copied && self.has_room();
        let barrier = self.is_asynchronous() && self.epochs.begin();
        if self.is_asynchronous() && !early {
            self.fallbacks = self.fallbacks.saturating_add(1);
        }
        self.outstanding = self.outstanding.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        Begun { early, barrier }
    }

    /// A request is about to be acknowledged to the application.
    pub fn complete(&mut self) {
        self.epochs.complete();
    }

    /// The leg is done with a request of `bytes` of data, or has given it up.
    pub fn end(&mut self, seq: u64, bytes: u64) {
        self.outstanding = self.outstanding.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        if let Some(fence) = self.fence.as_mut().filter(|fence| seq < fence.before) {
            fence.left = fence.left.saturating_sub(1);
        }
    }

    /// What is to be sent next but for the data has to wait for all that was begun until now; `next` is the sequence
    /// number of the next request. On a synchronous leg nobody has been told yet of what is outstanding, and nothing
    /// waits.
    pub fn put_fence(&mut self, next: u64) {
        self.fence = self.is_asynchronous().then_some(Fence {
            before: next,
            left: self.outstanding,
        });
    }

    /// Nothing is kept back any more.
    pub fn drop_fence(&mut self) {
        self.fence = None;
    }

    /// Whether what a fence keeps back has to wait.
    pub fn is_fenced(&self) -> bool {
        self.fence.is_some_and(|fence| fence.left > 0)
    }

    /// Whether a fence has been passed, and what it kept back can be sent.
    pub fn has_passed(&self) -> bool {
        self.fence.is_some_and(|fence| fence.left == 0)
    }

    /// Requests not confirmed.
    pub const fn outstanding(&self) -> u32 {
        self.outstanding
    }

    /// Bytes of their data.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Requests that had to wait for their own confirmation although the leg is asynchronous.
    pub const fn fallbacks(&self) -> u64 {
        self.fallbacks
    }

    /// There is a new leg: its counter begins.
    pub fn forget(&mut self) {
        self.fallbacks = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asynchronous(limit: u32) -> Lag {
        let mut lag = Lag::default();
        lag.set_limit(Some(limit));
        lag.settle();
        lag
    }

    /// Covers: S42, S43, S45.
    #[test]
    fn as_many_as_the_limit_end_early_and_the_next_one_waits() {
        for limit in [3, 256, 4096] {
            let mut lag = asynchronous(limit);
            for _ in 0..limit {
                assert!(lag.begin(4096, true).early);
            }
            assert!(!lag.begin(4096, true).early, "one more than {limit}");
            assert_eq!((lag.fallbacks(), lag.outstanding()), (1, limit + 1));
            lag.end(0, 4096);
            assert!(!lag.begin(4096, true).early, "the limit is reached still");
            lag.end(1, 4096);
            lag.end(2, 4096);
            assert!(lag.begin(4096, true).early, "below the limit it is asynchronous again");
        }
    }

    /// Covers: S46.
    #[test]
    fn the_limit_counts_operations_and_not_bytes() {
        let mut lag = asynchronous(4);
        for bytes in [0, 512, 1 << 20, 1 << 20] {
            assert!(lag.begin(bytes, true).early);
        }
        assert_eq!(lag.bytes(), 512 + (2 << 20));
        assert!(!lag.begin(512, true).early);
        let mut lag = asynchronous(256);
        while lag.begin(4096, true).early {}
        assert_eq!(lag.bytes() - 4096, 1 << 20);
    }

    /// Covers: S41, S45.
    #[test]
    fn during_a_resync_bytes_are_limited_too() {
        let mut lag = asynchronous(256);
        lag.connect();
        for _ in 0..4 {
            assert!(lag.begin(1 << 20, true).early);
        }
        assert!(!lag.begin(512, true).early);
        lag.end(0, 1 << 20);
        assert!(lag.begin(1 << 20, true).early);
        assert!(!lag.begin(512, true).early);
        lag.settle();
        assert!(lag.begin(512, true).early);
    }

    #[test]
    fn without_a_copy_of_its_data_a_request_waits() {
        let mut lag = asynchronous(4);
        assert!(!lag.begin(4096, false).early);
        assert_eq!(lag.fallbacks(), 1);
    }

    #[test]
    fn a_synchronous_leg_knows_neither_early_ends_nor_barriers_nor_fences() {
        let mut lag = Lag::default();
        lag.complete();
        let begun = lag.begin(4096, true);
        assert_eq!((begun.early, begun.barrier, lag.fallbacks()), (false, false, 0));
        lag.put_fence(1);
        assert!(!lag.is_fenced() && !lag.has_passed());
    }

    #[test]
    fn a_fence_waits_for_what_was_begun_before_and_for_nothing_else() {
        let mut lag = asynchronous(256);
        for _ in 0..3 {
            lag.begin(512, true);
        }
        lag.put_fence(3);
        for seq in 3..1000 {
            lag.begin(512, true);
            lag.end(seq, 512);
            assert!(lag.is_fenced());
        }
        for seq in [1, 0, 2] {
            assert!(lag.is_fenced() && !lag.has_passed());
            lag.begin(512, true);
            lag.end(seq, 512);
        }
        assert!(!lag.is_fenced() && lag.has_passed());
        lag.drop_fence();
        assert!(!lag.has_passed());
    }
}
