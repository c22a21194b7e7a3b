// SPDX-License-Identifier: GPL-2.0
//! Random numbers that can be had again.

use std::ops::Range;

/// The numbers of one fault.
pub(super) struct Dice(u64);

impl Dice {
    /// Those of fault `number` in the run of `seed`.
    pub(super) fn new(seed: u64, number: u64) -> Self {
        Self(seed ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93))
    }

    /// The next one, of 64 bits.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number of the range, which is not empty.
    pub(super) fn of(&mut self, range: Range<u64>) -> u64 {
        let count = range.end.saturating_sub(range.start);
        range.start + self.next().checked_rem(count).unwrap_or(0)
    }

    /// How many operations to wait for.
    pub(super) fn some(&mut self, range: Range<u64>) -> usize {
        usize::try_from(self.of(range)).unwrap_or(usize::MAX)
    }

    /// Yes once in `times`.
    pub(super) fn once_in(&mut self, times: u64) -> bool {
        self.of(0..times) == 0
    }
}
