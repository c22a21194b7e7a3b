// SPDX-License-Identifier: GPL-2.0

//! Whether an application writes one at a time.
//!
//! One that waits for each write before it makes the next, as databases do with their logs, gains from every switch of
//! threads that is left out. One that has several under way gains from threads that work side by side and take in many
//! at once. Which it is shows in what it did of late.

/// So many requests in a row have to be alone. A load with several under way often has one alone, and hardly ever that many
/// in a row; one that waits for each has lost nothing worth mentioning by then.
const ENOUGH: u8 = 8;

/// How many requests of a leg in a row began when it had no other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Solo(u8);

impl Solo {
    /// A request begins while the leg has `outstanding` others.
    pub fn begin(&mut self, outstanding: u32) {
        self.0 = if outstanding == 0 {
            self.0.saturating_add(1).min(ENOUGH)
        } else {
            0
        };
    }

    /// Whether the application waits for each of its writes, as far as can be told.
    #[must_use]
    pub const fn is_likely(self) -> bool {
        self.0 >= ENOUGH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_in_a_row_tell_and_one_beside_another_tells_otherwise() {
        let mut solo = Solo::default();
        for _ in 1..ENOUGH {
            solo.begin(0);
            assert!(!solo.is_likely());
        }
        for _ in 0..300 {
            solo.begin(0);
            assert!(solo.is_likely());
        }
        solo.begin(1);
        assert!(!solo.is_likely());
        solo.begin(0);
        assert!(!solo.is_likely());
    }
}
