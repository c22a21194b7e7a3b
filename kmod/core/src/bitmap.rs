// SPDX-License-Identifier: GPL-2.0

//! A map with one bit for each chunk, over memory of the caller.
//!
//! The number of set bits is kept, so that "is anything marked?" costs nothing. Everything is
//! safe to call with any number: bits that do not exist are never set and read as clear.
//!
//! The module calls this under a spinlock. Single bits are immediate; [`Bitmap::next_one`] takes a
//! bound on the words it looks at, so that a long scan can let go of the lock in between.

use core::ops::{DerefMut, Range};

const WORD_BITS: u64 = u64::BITS as u64;

/// What a bounded scan found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// This bit is the next one that is set.
    Bit(u64),
    /// Nothing so far; go on from this bit.
    Continue(u64),
    /// No bit from there to the end is set.
    End,
}

/// A map over caller-supplied words. Bit `n` is bit `n % 64` (least significant first) of word
/// `n / 64`.
///
/// # Invariants
///
/// There are enough words for all bits, bits beyond the last one are clear, and the kept count
/// equals the number of set bits.
#[derive(Debug)]
pub struct Bitmap<S: DerefMut<Target = [u64]>> {
    words: S,
    bits: u64,
    ones: u64,
}

/// Words that a map of `bits` bits needs.
#[must_use]
pub const fn words_for(bits: u64) -> usize {
    to_index(bits.div_ceil(WORD_BITS))
}

/// Index of the word that holds a bit.
const fn word_of(bit: u64) -> usize {
    to_index(bit >> 6)
}

/// A number of words as an index. Where `usize` is narrower than 64 bits a number that does not
/// fit becomes the largest index, which no slice has.
#[expect(clippy::cast_possible_truncation, reason = "what does not fit is caught before")]
const fn to_index(words: u64) -> usize {
    if words > usize::MAX as u64 {
        usize::MAX
    } else {
        words as usize
    }
}

/// The mask of one bit within its word.
const fn mask_of(bit: u64) -> u64 {
    1u64.wrapping_shl((bit & 63) as u32)
}

/// The mask of the bits of `range` that lie in the word with index `word`.
fn mask_in_word(word: u64, range: &Range<u64>) -> u64 {
    let base = word.saturating_mul(WORD_BITS);
    let low = range.start.saturating_sub(base);
    let high = range.end.saturating_sub(base);
    let below = |bit: u64| {
        if bit >= WORD_BITS {
            u64::MAX
        } else {
            mask_of(bit).wrapping_sub(1)
        }
    };
    below(high) & !below(low)
}

impl<S: DerefMut<Target = [u64]>> Bitmap<S> {
    /// Makes a map of `bits` bits of `words`, whose content is taken as it is; what lies beyond
    /// the last bit is cleared. `None` where there are too few words.
    pub fn new(words: S, bits: u64) -> Option<Self> {
        if words.len() < words_for(bits) {
            return None;
        }
        let mut map = Self { words, bits, ones: 0 };
        let all = 0..bits;
        let mut ones = 0u64;
        for (index, word) in (0u64..).zip(map.words.iter_mut()) {
            *word &= mask_in_word(index, &all);
            ones = ones.saturating_add(u64::from(word.count_ones()));
        }
        map.ones = ones;
        Some(map)
    }

    /// Number of bits.
    pub fn bits(&self) -> u64 {
        self.bits
    }

    /// Number of set bits.
    pub fn ones(&self) -> u64 {
        self.ones
    }

    /// Whether a bit is set.
    pub fn get(&self, bit: u64) -> bool {
        self.word(word_of(bit)) & mask_of(bit) != 0
    }

    /// Sets a bit; true where it was clear before.
    pub fn set(&mut self, bit: u64) -> bool {
        if bit >= self.bits {
            return false;
        }
        match self.words.get_mut(word_of(bit)) {
            Some(word) if *word & mask_of(bit) == 0 => {
                *word |= mask_of(bit);
                self.ones = self.ones.saturating_add(1);
                true
            }
            _ => false,
        }
    }

    /// Clears a bit; true where it was set before.
    pub fn clear(&mut self, bit: u64) -> bool {
        match self.words.get_mut(word_of(bit)) {
            Some(word) if *word & mask_of(bit) != 0 => {
                *word &= !mask_of(bit);
                self.ones = self.ones.saturating_sub(1);
                true
            }
            _ => false,
        }
    }

    /// Sets the bits of a range; how many of them were clear before.
    pub fn set_range(&mut self, range: Range<u64>) -> u64 {
        let mut changed = 0u64;
        self.for_words(&range, |word, mask| {
            changed = changed.saturating_add(u64::from((mask & !*word).count_ones()));
            *word |= mask;
        });
        self.ones = self.ones.saturating_add(changed);
        changed
    }

    /// Clears the bits of a range; how many of them were set before.
    pub fn clear_range(&mut self, range: Range<u64>) -> u64 {
        let mut changed = 0u64;
        self.for_words(&range, |word, mask| {
            changed = changed.saturating_add(u64::from((mask & *word).count_ones()));
            *word &= !mask;
        });
        self.ones = self.ones.saturating_sub(changed);
        changed
    }

    /// Whether any bit of a range is set.
    pub fn any(&self, range: Range<u64>) -> bool {
        let (first, count) = self.word_span(&range);
        let words = self.words.iter().enumerate().skip(first).take(count);
        words
            .into_iter()
            .any(|(index, word)| word & mask_in_word(index as u64, &range) != 0)
    }

    /// Whether every bit of a range is set; true for an empty one. Bits that do not exist count as set.
    pub fn all(&self, range: Range<u64>) -> bool {
        let (first, count) = self.word_span(&range);
        let inside = range.start..range.end.min(self.bits);
        let words = self.words.iter().enumerate().skip(first).take(count);
        words.into_iter().all(|(index, word)| {
            let mask = mask_in_word(index as u64, &inside);
            word & mask == mask
        })
    }

    /// Sets every bit.
    pub fn set_all(&mut self) {
        self.set_range(0..self.bits);
    }

    /// Clears every bit.
    pub fn clear_all(&mut self) {
        self.words.fill(0);
        self.ones = 0;
    }

    /// Looks for the first set bit at or after `from`, in at most `max_words` words (at least
    /// one, so that a scan always gets on).
    pub fn next_one(&self, from: u64, max_words: usize) -> Next {
        if from >= self.bits {
            return Next::End;
        }
        let first = word_of(from);
        let ahead = from..self.bits;
        let budget = max_words.max(1);
        for (index, word) in self.words.iter().enumerate().skip(first).take(budget) {
            let index = index as u64;
            let found = word & mask_in_word(index, &ahead);
            if found != 0 {
                let base = index.saturating_mul(WORD_BITS);
                return Next::Bit(base.saturating_add(u64::from(found.trailing_zeros())));
            }
        }
        let next = (first as u64).saturating_add(budget as u64).saturating_mul(WORD_BITS);
        if next >= self.bits {
            Next::End
        } else {
            Next::Continue(next)
        }
    }

    /// Sets what is set in `words`, the first of which stands at word `first_word` of this map;
    /// how many bits were clear before. What does not exist here is ignored.
    pub fn merge(&mut self, first_word: usize, words: impl Iterator<Item = u64>) -> u64 {
        let all = 0..self.bits;
        let mut changed = 0u64;
        let own = self.words.iter_mut().enumerate().skip(first_word);
        for ((index, word), other) in own.zip(words) {
            let add = other & mask_in_word(index as u64, &all) & !*word;
            changed = changed.saturating_add(u64::from(add.count_ones()));
            *word |= add;
        }
        self.ones = self.ones.saturating_add(changed);
        changed
    }

    /// Clears what is clear in `words`, the first of which stands at word `first_word` of this map; how many bits were
    /// set before.
    pub fn intersect(&mut self, first_word: usize, words: impl Iterator<Item = u64>) -> u64 {
        let mut changed = 0u64;
        for (word, other) in self.words.iter_mut().skip(first_word).zip(words) {
            changed = changed.saturating_add(u64::from((*word & !other).count_ones()));
            *word &= other;
        }
        self.ones = self.ones.saturating_sub(changed);
        changed
    }

    /// The word with this index, 0 where there is none.
    pub fn word(&self, index: usize) -> u64 {
        self.words.get(index).copied().unwrap_or(0)
    }

    /// Number of words that hold bits.
    pub fn words(&self) -> usize {
        words_for(self.bits)
    }

    /// Gives the words back.
    pub fn into_words(self) -> S {
        self.words
    }

    /// First word that a range touches and how many it touches, within this map.
    fn word_span(&self, range: &Range<u64>) -> (usize, usize) {
        let end = range.end.min(self.bits);
        if range.start >= end {
            return (0, 0);
        }
        let first = word_of(range.start);
        (first, words_for(end).saturating_sub(first))
    }

    /// Calls `change` with each word a range touches and the mask of the range in it.
    fn for_words(&mut self, range: &Range<u64>, mut change: impl FnMut(&mut u64, u64)) {
        let (first, count) = self.word_span(range);
        let inside = range.start..range.end.min(self.bits);
        for (index, word) in self.words.iter_mut().enumerate().skip(first).take(count) {
            change(word, mask_in_word(index as u64, &inside));
        }
    }
}
