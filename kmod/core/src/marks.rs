// SPDX-License-Identifier: GPL-2.0

//! A map, and what of it is known to be on the disk.
//!
//! A mark protects a chunk from the moment it is on the disk, not before: whoever is about to change a chunk sets the
//! mark, and waits until [`Marks::is_kept`] says that it is there. Marks are written in blocks, one at a time; all
//! marks set meanwhile in the same block are in its next write, so that one write carries many. Clearing a mark is
//! never urgent: until the block is written again, the disk holds more marks than needed, which costs a copy and no
//! data.
//!
//! What the disk holds while a block is being written is not known: the old marks, the new ones, or in some sectors
//! the one and in some the other. Therefore a mark counts as being on the disk only if it is in both.

use crate::bitmap::{Bitmap, Next};
use core::ops::{DerefMut, Range};

/// Words of a map in one block.
pub const BLOCK_WORDS: usize = 480;

/// Chunks whose marks are in one block (30 720, 1.9 GiB of disk with chunks of 64 KiB).
pub const BLOCK_BITS: u64 = (BLOCK_WORDS as u64) * 64;

/// Blocks of a map of `bits` bits.
#[must_use]
pub const fn blocks_for(bits: u64) -> u64 {
    bits.div_ceil(BLOCK_BITS)
}

/// The words of one block.
pub type BlockWords = [u64; BLOCK_WORDS];

/// A map with its persistence.
///
/// # Invariants
///
/// Every bit of `disk` is on the disk whatever write is under way. A block in which `wanted` and the disk differ is in
/// `urgent` or `lazy`, or is being written.
#[derive(Debug)]
pub struct Marks<S: DerefMut<Target = [u64]>> {
    wanted: Bitmap<S>,
    disk: Bitmap<S>,
    urgent: Bitmap<S>,
    lazy: Bitmap<S>,
    /// A write is under way.
    writing: bool,
    persistent: bool,
}

/// The memory of a [`Marks`]: words for the map twice, and for its blocks twice.
#[derive(Debug)]
pub struct Memory<S> {
    /// [`crate::bitmap::words_for`] the chunks, twice.
    pub maps: [S; 2],
    /// The same for [`blocks_for`] the chunks, twice.
    pub blocks: [S; 2],
}

impl<S: DerefMut<Target = [u64]>> Marks<S> {
    /// A map of `bits` bits; what the first of `memory.maps` holds is taken as read from the disk. Where it is not
    /// `persistent`, nothing has to be waited for and there is nothing to write. `None` where there are too few words.
    pub fn new(memory: Memory<S>, bits: u64, persistent: bool) -> Option<Self> {
        let ([wanted, disk], [urgent, lazy]) = (memory.maps, memory.blocks);
        let blocks = blocks_for(bits);
        let wanted = Bitmap::new(wanted, bits)?;
        let mut marks = Self {
            disk: Bitmap::new(disk, bits)?,
            urgent: Bitmap::new(urgent, blocks)?,
            lazy: Bitmap::new(lazy, blocks)?,
            wanted,
            writing: false,
            persistent,
        };
        marks.disk.clear_all();
        marks.urgent.clear_all();
        marks.lazy.clear_all();
        let words = (0..marks.wanted.words()).map(|index| marks.wanted.word(index));
        marks.disk.merge(0, words);
        Some(marks)
    }

    /// The map as it is to be.
    pub fn map(&self) -> &Bitmap<S> {
        &self.wanted
    }

    /// Whether a bit is on the disk, come what may.
    pub fn is_kept(&self, range: Range<u64>) -> bool {
        !self.persistent || self.disk.all(range)
    }

    /// The word of what is on the disk; as the map itself where it is not persistent.
    pub fn kept_word(&self, index: usize) -> u64 {
        if self.persistent {
            self.disk.word(index)
        } else {
            self.wanted.word(index)
        }
    }

    /// Sets the bits of a range; how many were clear before.
    pub fn set(&mut self, range: Range<u64>) -> u64 {
        if self.persistent && !self.disk.all(range.clone()) {
            self.urgent.set_range(blocks_of(&range));
        }
        self.wanted.set_range(range)
    }

    /// As [`Marks::set`], where other marks on the disk say the same for the time being.
    pub fn set_lazily(&mut self, range: Range<u64>) -> u64 {
        if self.persistent && !self.disk.all(range.clone()) {
            self.lazy.set_range(blocks_of(&range));
        }
        self.wanted.set_range(range)
    }

    /// Clears the bits of a range; how many were set before.
    pub fn clear(&mut self, range: Range<u64>) -> u64 {
        if self.persistent {
            self.lazy.set_range(blocks_of(&range));
        }
        self.wanted.clear_range(range)
    }

    /// Sets every bit.
    pub fn set_all(&mut self) {
        self.set(0..self.wanted.bits());
    }

    /// Sets what is set in `words`, from word `first` on.
    pub fn merge(&mut self, first: usize, words: impl Iterator<Item = u64>) -> u64 {
        let changed = self.wanted.merge(first, words);
        if self.persistent && changed > 0 {
            // Which blocks they were in does not matter: merging is rare.
            let blocks = self.urgent.bits();
            self.urgent.set_range(0..blocks);
        }
        changed
    }

    /// Clears what is set in one word.
    pub fn clear_in_word(&mut self, index: usize, bits: u64) {
        if bits == 0 {
            return;
        }
        if self.persistent {
            let bit = (index as u64).saturating_mul(64);
            self.lazy.set(bit.checked_div(BLOCK_BITS).unwrap_or(0));
        }
        self.wanted.intersect(index, core::iter::once(!bits));
    }

    /// A block that somebody waits for.
    pub fn next_urgent(&self) -> Option<u64> {
        first(&self.urgent, 0)
    }

    /// A block from `from` on that can be written when there is time.
    pub fn next_lazy(&self, from: u64) -> Option<u64> {
        first(&self.lazy, from)
    }

    /// Whether nobody waits for a write that has not begun; with [`Marks::is_writing`], for the one under way.
    pub fn is_settled(&self) -> bool {
        self.urgent.ones() == 0
    }

    /// Whether a block is being written.
    pub fn is_writing(&self) -> bool {
        self.writing
    }

    /// Begins the write of a block: what is to be written goes to `out`. Bits of `hold` (a word for each of the
    /// block's) that are on the disk now stay there.
    pub fn begin(&mut self, block: u64, hold: impl Fn(usize) -> u64, out: &mut BlockWords) {
        self.writing = true;
        self.urgent.clear(block);
        self.lazy.clear(block);
        let first = first_word(block);
        let mut held = false;
        for (index, word) in (first..).zip(out.iter_mut()) {
            let wanted = self.wanted.word(index);
            let stays = self.disk.word(index) & hold(index) & !wanted;
            held |= stays != 0;
            *word = wanted | stays;
        }
        if held {
            self.lazy.set(block);
        }
        self.disk.intersect(first, out.iter().copied());
    }

    /// Ends the write of a block. Where it failed, what the disk holds is not known beyond what it held before.
    pub fn end(&mut self, block: u64, written: &BlockWords, succeeded: bool) {
        self.writing = false;
        if succeeded {
            self.disk.merge(first_word(block), written.iter().copied());
        } else {
            self.urgent.set(block);
        }
    }
}

/// The blocks in which the bits of a range are.
fn blocks_of(range: &Range<u64>) -> Range<u64> {
    if range.is_empty() {
        return 0..0;
    }
    let first = range.start.checked_div(BLOCK_BITS).unwrap_or(0);
    first..blocks_for(range.end)
}

/// The word with which a block begins.
fn first_word(block: u64) -> usize {
    usize::try_from(block).unwrap_or(usize::MAX).saturating_mul(BLOCK_WORDS)
}

fn first<S: DerefMut<Target = [u64]>>(blocks: &Bitmap<S>, from: u64) -> Option<u64> {
    if blocks.ones() == 0 {
        return None;
    }
    match blocks.next_one(from, usize::MAX) {
        Next::Bit(block) => Some(block),
        Next::Continue(_) | Next::End => None,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec;
    use std::vec::Vec;

    fn marks(bits: u64) -> Marks<Vec<u64>> {
        let words = || vec![0; crate::bitmap::words_for(bits)];
        let blocks = || vec![0; crate::bitmap::words_for(blocks_for(bits))];
        let memory = Memory {
            maps: [words(), words()],
            blocks: [blocks(), blocks()],
        };
        Marks::new(memory, bits, true).unwrap()
    }

    fn write(marks: &mut Marks<Vec<u64>>, block: u64) {
        let mut out = [0; BLOCK_WORDS];
        marks.begin(block, |_| 0, &mut out);
        marks.end(block, &out, true);
    }

    #[test]
    fn a_mark_is_kept_once_its_block_was_written_and_costs_nothing_again() {
        let mut marks = marks(2 * BLOCK_BITS);
        assert_eq!(marks.set(5..6), 1);
        assert!(!marks.is_kept(5..6));
        assert_eq!(marks.next_urgent(), Some(0));
        write(&mut marks, 0);
        assert!(marks.is_kept(5..6));
        marks.set(5..6);
        assert_eq!(marks.next_urgent(), None);
        marks.set(BLOCK_BITS..BLOCK_BITS + 1);
        assert_eq!(marks.next_urgent(), Some(1));
    }

    #[test]
    fn marks_set_during_a_write_are_in_the_next() {
        let mut marks = marks(100);
        marks.set(1..2);
        let mut out = [0; BLOCK_WORDS];
        marks.begin(0, |_| 0, &mut out);
        marks.set(2..3);
        marks.end(0, &out, true);
        assert!(marks.is_kept(1..2) && !marks.is_kept(2..3));
        assert_eq!(marks.next_urgent(), Some(0));
    }

    #[test]
    fn a_mark_that_is_being_cleared_does_not_count_as_kept_when_it_is_set_again() {
        let mut marks = marks(100);
        marks.set(1..2);
        write(&mut marks, 0);
        marks.clear(1..2);
        assert_eq!((marks.next_urgent(), marks.next_lazy(0)), (None, Some(0)));
        let mut out = [0; BLOCK_WORDS];
        marks.begin(0, |_| 0, &mut out);
        marks.set(1..2);
        assert!(!marks.is_kept(1..2));
        marks.end(0, &out, true);
        assert!(!marks.is_kept(1..2));
        assert_eq!(marks.next_urgent(), Some(0));
    }

    #[test]
    fn a_cleared_mark_that_is_set_before_the_write_needs_none() {
        let mut marks = marks(100);
        marks.set(1..2);
        write(&mut marks, 0);
        marks.clear(1..2);
        marks.set(1..2);
        assert!(marks.is_kept(1..2));
        assert_eq!(marks.next_urgent(), None);
    }

    #[test]
    fn a_failed_write_leaves_nothing_new_kept() {
        let mut marks = marks(100);
        marks.set(1..2);
        let mut out = [0; BLOCK_WORDS];
        marks.begin(0, |_| 0, &mut out);
        marks.end(0, &out, false);
        assert!(!marks.is_kept(1..2));
        assert_eq!(marks.next_urgent(), Some(0));
    }

    #[test]
    fn held_marks_stay_on_the_disk() {
        let mut marks = marks(100);
        marks.set(1..4);
        write(&mut marks, 0);
        marks.clear(1..4);
        let mut out = [0; BLOCK_WORDS];
        marks.begin(0, |index| if index == 0 { 0b100 } else { 0 }, &mut out);
        marks.end(0, &out, true);
        assert_eq!(out[0], 0b100);
        assert_eq!(marks.next_lazy(0), Some(0));
    }

    #[test]
    fn without_persistence_nothing_is_waited_for() {
        let memory = Memory {
            maps: [vec![0; 2], vec![0; 2]],
            blocks: [vec![0; 1], vec![0; 1]],
        };
        let mut marks = Marks::new(memory, 100, false).unwrap();
        marks.set(1..2);
        marks.clear(1..2);
        marks.set(7..9);
        assert!(marks.is_kept(0..100));
        assert_eq!((marks.next_urgent(), marks.next_lazy(0)), (None, None));
    }
}
