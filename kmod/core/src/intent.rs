// SPDX-License-Identifier: GPL-2.0

//! The intent log: which chunks could differ if the machine stopped now.
//!
//! A chunk's bit is set, and on the disk, before the chunk is changed. It stays set as long as the chunk is in use, so
//! that writing to the same place again costs nothing, and is cleared in rounds:
//!
//! 1. [`IntentLog::begin_round`] proposes the chunks that were not touched since the round before;
//! 2. the caller takes out those with a request under way, and makes the local disk and every live leg durable;
//! 3. [`IntentLog::end_round`] clears those that were not touched meanwhile, and whose differences, if a leg misses
//!    them, are in the map of that leg on the disk.
//!
//! Where a group of [`GROUP`] chunks is [`BUSY`], the rest of it is marked at once, so that what follows there needs no disk;
//! a group is cleared when none of its chunks was touched. So many small writes all over a place cost few writes of
//! metadata, and after a crash there is at most eight times as much to compare as was in use, most of which is found to
//! be the same.
//!
//! Whoever loses power loses what a disk had not yet made durable, even if it was confirmed; that is why a flush comes
//! before the clearing.

use crate::bitmap::Bitmap;
use crate::marks::Marks;
use core::ops::{DerefMut, Range};

/// Chunks that are marked together: a word of the map. With chunks of 64 KiB that is 4 MiB, the extent of the activity log
/// of other replicators.
pub const GROUP: u64 = 64;

/// Marked chunks from which on a group is busy. Fewer would have more compared after a crash, more would cost more writes.
pub const BUSY: u32 = 8;

/// The intent log of a mirror.
#[derive(Debug)]
pub struct IntentLog<S: DerefMut<Target = [u64]>> {
    marks: Marks<S>,
    /// Touched since the last round began.
    touched: Bitmap<S>,
    /// Proposed by the round under way.
    proposed: Bitmap<S>,
}

impl<S: DerefMut<Target = [u64]>> IntentLog<S> {
    /// A log; `touched` and `proposed` are words for as many bits as `marks` has. `None` where there are too few.
    pub fn new(marks: Marks<S>, touched: S, proposed: S) -> Option<Self> {
        let bits = marks.map().bits();
        let mut log = Self {
            touched: Bitmap::new(touched, bits)?,
            proposed: Bitmap::new(proposed, bits)?,
            marks,
        };
        log.touched.clear_all();
        log.proposed.clear_all();
        Some(log)
    }

    /// The bits and their persistence.
    pub fn marks(&self) -> &Marks<S> {
        &self.marks
    }

    /// The same, for writing blocks.
    pub fn marks_mut(&mut self) -> &mut Marks<S> {
        &mut self.marks
    }

    /// Notes that chunks are about to be changed, or were and are not yet durable everywhere; true when that is on
    /// the disk, so that the change may begin.
    pub fn touch(&mut self, chunks: Range<u64>) -> bool {
        self.touched.set_range(chunks.clone());
        self.marks.set(chunks.clone());
        if self.marks.is_kept(chunks.clone()) {
            return true;
        }
        for group in chunks.start / GROUP..chunks.end.div_ceil(GROUP) {
            self.fill_if_busy(group);
        }
        false
    }

    /// The disk is written to anyway.
    fn fill_if_busy(&mut self, group: u64) {
        let map = self.marks.map();
        let word = usize::try_from(group).map_or(0, |index| map.word(index));
        let start = group.saturating_mul(GROUP);
        let end = start.saturating_add(GROUP).min(map.bits());
        if word.count_ones() >= BUSY && start < end {
            self.marks.set(start..end);
        }
    }

    /// As [`IntentLog::touch`] after a change that another mark covers as long as this one is not on the disk.
    pub fn note(&mut self, chunks: Range<u64>) {
        self.touched.set_range(chunks.clone());
        self.marks.set_lazily(chunks);
    }

    /// Begins a round with the groups of which nothing was touched; true when there is something to clear.
    pub fn begin_round(&mut self) -> bool {
        self.proposed.clear_all();
        let map = self.marks.map();
        let touched = &self.touched;
        let idle = |index: &usize| touched.word(*index) == 0;
        let words = (0..map.words()).map(|index| if idle(&index) { map.word(index) } else { 0 });
        self.proposed.merge(0, words);
        self.touched.clear_all();
        self.proposed.ones() > 0
    }

    /// Clears everything: another machine has taken the marks over.
    pub fn forget(&mut self) {
        let bits = self.marks.map().bits();
        self.marks.clear(0..bits);
        self.touched.clear_all();
        self.proposed.clear_all();
    }

    /// Takes chunks out of the round: a request on them is under way.
    pub fn exclude(&mut self, chunks: Range<u64>) {
        self.touched.set_range(chunks.clone());
        self.proposed.clear_range(chunks);
    }

    /// Whether the round still has chunks to clear.
    pub fn has_proposals(&self) -> bool {
        self.proposed.ones() > 0
    }

    /// Ends a round after everything was made durable. `accounted(word)` has a bit set for each chunk that needs the
    /// intent no more: the legs have it, or miss it and their map on the disk says so. How many bits were cleared.
    pub fn end_round(&mut self, accounted: impl Fn(usize) -> u64) -> u64 {
        let before = self.marks.map().ones();
        for index in 0..self.proposed.words() {
            let clear = self.proposed.word(index) & !self.touched.word(index) & accounted(index);
            self.marks.clear_in_word(index, clear);
        }
        self.proposed.clear_all();
        before.saturating_sub(self.marks.map().ones())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::marks::{Memory, BLOCK_WORDS};
    use std::vec;
    use std::vec::Vec;

    fn log() -> IntentLog<Vec<u64>> {
        let memory = Memory {
            maps: [vec![0; 2], vec![0; 2]],
            blocks: [vec![0], vec![0]],
        };
        let marks = Marks::new(memory, 100, true).unwrap();
        IntentLog::new(marks, vec![0; 2], vec![0; 2]).unwrap()
    }

    fn persist(log: &mut IntentLog<Vec<u64>>) {
        let mut out = [0; BLOCK_WORDS];
        log.marks_mut().begin(0, |_| 0, &mut out);
        log.marks_mut().end(0, &out, true);
    }

    #[test]
    fn a_first_touch_waits_for_the_disk_and_a_second_does_not() {
        let mut log = log();
        assert!(!log.touch(3..4));
        persist(&mut log);
        assert!(log.touch(3..4));
    }

    #[test]
    fn a_chunk_in_use_is_never_cleared() {
        let mut log = log();
        log.touch(3..4);
        for _ in 0..5 {
            log.begin_round();
            log.touch(3..4);
            assert_eq!(log.end_round(|_| u64::MAX), 0);
        }
    }

    #[test]
    fn what_follows_in_a_busy_group_waits_for_nothing() {
        let mut log = log();
        for chunk in (0..u64::from(BUSY) - 1).map(|number| 2 * number) {
            assert!(!log.touch(chunk..chunk + 1));
            persist(&mut log);
        }
        assert_eq!(log.marks().map().ones(), u64::from(BUSY) - 1);
        assert!(!log.touch(40..41));
        persist(&mut log);
        assert!(log.touch(0..64));
        assert!(!log.touch(63..65), "another group");
        assert_eq!(log.marks().map().ones(), 65);
        // The last group may be shorter.
        assert!(!log.touch(70..80));
        persist(&mut log);
        assert_eq!(log.marks().map().ones(), 100);
    }

    #[test]
    fn an_idle_group_is_cleared_by_the_second_round() {
        let mut log = log();
        log.touch(3..4);
        log.touch(70..71);
        assert!(!log.begin_round());
        log.touch(80..81);
        assert!(log.begin_round());
        assert_eq!(log.end_round(|_| u64::MAX), 1);
        // The other one is in use.
        assert!(log.marks().map().get(70) && log.marks().map().get(80));
    }

    #[test]
    fn a_chunk_with_a_request_under_way_or_unaccounted_for_stays() {
        let mut log = log();
        log.touch(3..6);
        log.begin_round();
        log.begin_round();
        log.exclude(3..4);
        assert_eq!(log.end_round(|_| !(1 << 4)), 1);
        assert!(log.marks().map().get(3) && log.marks().map().get(4) && !log.marks().map().get(5));
    }
}
