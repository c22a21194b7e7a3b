// SPDX-License-Identifier: GPL-2.0

//! What a target was sent of late, and others may not have: where the copies of two targets may differ when their source
//! is gone.
//!
//! Two targets that are complete and hold the same generation hold the same, but for writes that were under way when the
//! source died: one may have reached the one and not the other. The source knew which, and is gone. So each target keeps
//! the chunks it was sent recently ([`Recent`]), and when one of them becomes the source, only what is among those of the
//! one or of the other has to be looked at.
//!
//! # What is promised
//!
//! *A chunk that is not among the recent ones of a target is the same there and on every other target that is complete and
//! holds the same generation, unless it is among the recent ones of that one.* A target promises that only once its
//! source has told it so; one that was restarted has forgotten, and waits to be told again ([`Recent::counts`]).
//!
//! # How chunks cease to be recent
//!
//! From time to time the source sends a mark to each target that is in step ([`Marker`]). With the next one it says of
//! that mark: what you were sent before it is settled. It may say so when
//!
//! * every request that had been entered when the mark was sent has ended. Then each target either has it, or was lost and
//!   missed it; in the latter case the others noted a new generation before the request ended, as everywhere;
//! * and each of its targets is either in step now, or known to hold an older generation ([`may_settle`]). One that is in
//!   step has all that has ended. Of any other one it is not known what it holds: a source that was restarted does not know
//!   what its last writes came to before that target is connected again.
//!
//! Data that was entered before a mark may be sent after it, and counts as later; what was entered after it never is sent
//! before, as messages without data go first. Nothing else makes a chunk less recent: a connection that ends changes
//! nothing, and marks of another connection or of another source say nothing of this one's.

use crate::bitmap::Bitmap;
use crate::wire::{Id, NO_ID};
use core::ops::{DerefMut, Range};

/// Marks a source sends at most when nothing is written: with the last of them the target has been told everything.
const QUIET: u32 = 3;

/// The chunks a target was sent of late.
#[derive(Debug)]
pub struct Recent<S: DerefMut<Target = [u64]>> {
    /// Since the last mark.
    now: Bitmap<S>,
    /// Between that and what was told to be settled.
    before: Bitmap<S>,
    /// The last mark of this connection, 0 where there was none.
    mark: u64,
    counts: bool,
    /// The source that the target was in step with.
    source: Id,
}

impl<S: DerefMut<Target = [u64]>> Recent<S> {
    /// For a target that has just begun to look; both maps are empty, and have a bit for each chunk.
    #[must_use]
    pub fn new(now: Bitmap<S>, before: Bitmap<S>) -> Self {
        Self {
            now,
            before,
            mark: 0,
            counts: false,
            source: NO_ID,
        }
    }

    /// A connection begins.
    pub fn connect(&mut self) {
        self.mark = 0;
    }

    /// Chunks are about to be changed as the source says.
    pub fn touch(&mut self, chunks: Range<u64>) {
        self.now.set_range(chunks);
    }

    /// The source sent mark `number`, and says that what it sent before mark `settled` is settled, 0 for nothing.
    pub fn mark(&mut self, number: u64, settled: u64) {
        if settled != 0 && settled == self.mark {
            self.before.clear_all();
            self.counts = true;
        }
        let Self { now, before, .. } = self;
        if now.ones() > 0 {
            before.merge(0, (0..now.words()).map(|index| now.word(index)));
            now.clear_all();
        }
        self.mark = number;
    }

    /// The disk is changed by somebody else: nothing is promised until the source says so again.
    pub fn forget(&mut self) {
        self.counts = false;
        self.mark = 0;
    }

    /// The target is in step with this source.
    pub fn in_step(&mut self, source: Id) {
        self.source = source;
    }

    /// How many chunks there are.
    #[must_use]
    pub fn chunks(&self) -> u64 {
        self.now.bits()
    }

    /// Whether the promise of the [module](self) holds.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.counts
    }

    /// Whether a source that connects is another one than the target was in step with, and so needs to know.
    #[must_use]
    pub fn is_news_for(&self, source: &Id) -> bool {
        self.counts && self.source != *source
    }

    /// A word of the map of the recent chunks.
    #[must_use]
    pub fn word(&self, index: usize) -> u64 {
        self.now.word(index) | self.before.word(index)
    }
}

/// What a source has told a target over a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marker {
    /// The last mark, 0 where there was none.
    number: u64,
    /// How many requests had been entered then.
    entered: u64,
    /// Marks since the last new request.
    quiet: u32,
}

impl Marker {
    /// Nothing was told.
    pub const NEW: Self = Self {
        number: 0,
        entered: 0,
        quiet: 0,
    };

    /// Whether there is something to tell, where [`may_settle`] holds. Requests are numbered from 1 as they are entered;
    /// `entered` have been, and `oldest` is the first that has not ended.
    #[must_use]
    pub fn is_due(&self, entered: u64, oldest: Option<u64>) -> bool {
        let ended = oldest.is_none_or(|oldest| oldest > self.entered);
        let news = entered != self.entered || self.quiet < QUIET;
        self.number == 0 || (ended && news)
    }

    /// The mark is sent: its number, and that of the mark before which all is settled. `entered`: how many requests have
    /// been entered by now.
    pub fn send(&mut self, entered: u64) -> (u64, u64) {
        let settled = self.number;
        self.number = self.number.saturating_add(1);
        self.quiet = if self.entered == entered && settled != 0 {
            self.quiet.saturating_add(1)
        } else {
            0
        };
        self.entered = entered;
        (self.number, settled)
    }
}

/// How a leg stands, for [`may_settle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The target was told on this connection that it misses nothing, and is connected.
    pub in_step: bool,
    /// It is on record that it holds an older generation, and it can't have been told of the present one.
    pub is_behind: bool,
}

/// Whether it is known of each leg what its target holds, and there is more than one: a single target has no others.
#[must_use]
pub fn may_settle(legs: impl IntoIterator<Item = Standing>) -> bool {
    let mut count = 0_u32;
    let known = legs.into_iter().all(|leg| {
        count = count.saturating_add(1);
        leg.in_step || leg.is_behind
    });
    known && count > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_target_is_told_nothing() {
        let leg = |in_step, is_behind| Standing { in_step, is_behind };
        assert!(!may_settle([]));
        assert!(!may_settle([leg(true, false)]));
        assert!(may_settle([leg(true, false), leg(false, true)]));
        assert!(!may_settle([leg(true, false), leg(false, false)]));
    }
}
