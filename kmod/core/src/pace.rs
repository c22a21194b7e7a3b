// SPDX-License-Identifier: GPL-2.0

//! How fast a resync goes.
//!
//! An application that writes comes first: each time it is seen at work the number of copies under way is halved, down
//! to one; each time it is not, one more is let go, up to the most there may be. So a resync takes all there is when
//! nobody else wants it, gets out of the way within a few copies, and always gets on: one copy is under way in any
//! case. An operator can set a limit in bytes a second on top of that.

/// Copies under way at a time when the application rests.
pub const MOST: u32 = 8;

/// Milliseconds for which an unused part of the rate may be used later.
const BURST_MS: u64 = 200;

/// Whether a leg takes a copy that another leg asked for. `under_way` and `window` are bytes: what it has to get as yet,
/// and what it may ask for itself.
///
/// It takes twice what it asks for. Where the network or the target is what takes time, all legs have their windows
/// full; the one that has room first would read for itself alone, and so would the next. Not without a bound, as a target
/// that is slower than the others holds the pages. A window of 0 belongs to no resync at work.
#[must_use]
pub const fn takes_unasked(under_way: u64, window: u64) -> bool {
    under_way < window.saturating_mul(2)
}

/// The pace of one resync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    window: u32,
    /// Bytes that may be copied now, at the rate set; not below 0.
    credit: u64,
    /// Bytes that were copied without having been asked for.
    debt: u64,
    at_ms: u64,
}

impl Pace {
    /// At the start of a resync; `now_ms` is any clock that goes forward.
    #[must_use]
    pub const fn new(now_ms: u64) -> Self {
        Self {
            window: MOST,
            credit: 0,
            debt: 0,
            at_ms: now_ms,
        }
    }

    /// How many copies of the largest size may be under way; of smaller ones, as many more.
    #[must_use]
    pub const fn window(&self) -> u32 {
        self.window
    }

    /// A copy ended; `busy` says whether requests of the application are under way.
    pub fn observe(&mut self, busy: bool) {
        self.window = if busy {
            (self.window / 2).max(1)
        } else {
            self.window.saturating_add(1).min(MOST)
        };
    }

    /// So many bytes were copied on the initiative of others. They count as if they had been asked for.
    pub fn charge(&mut self, bytes: u64) {
        self.debt = self.debt.saturating_add(bytes);
    }

    /// Asks to copy `bytes` at a rate of at most `rate` bytes a second (0: any). 0 when that may begin now, else how
    /// many milliseconds to wait before asking again.
    pub fn take(&mut self, now_ms: u64, bytes: u64, rate: u64) -> u64 {
        let passed = now_ms.saturating_sub(self.at_ms);
        self.at_ms = self.at_ms.max(now_ms);
        if rate == 0 {
            (self.credit, self.debt) = (0, 0);
            return 0;
        }
        let bytes = bytes.saturating_add(self.debt);
        let earned = rate.saturating_mul(passed) / 1000;
        // However slow the rate, the credit can grow to what one copy needs.
        let most = (rate.saturating_mul(BURST_MS) / 1000).max(bytes);
        self.credit = self.credit.saturating_add(earned).min(most);
        if self.credit >= bytes {
            self.credit = self.credit.saturating_sub(bytes);
            self.debt = 0;
            return 0;
        }
        if earned == 0 {
            // Too little time for a whole byte: it counts the next time.
            self.at_ms = self.at_ms.saturating_sub(passed);
        }
        let missing = bytes.saturating_sub(self.credit);
        missing.saturating_mul(1000).div_ceil(rate).clamp(1, 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_application_leaves_one_copy_and_an_idle_one_all() {
        let mut pace = Pace::new(0);
        for _ in 0..4 {
            pace.observe(true);
        }
        assert_eq!(pace.window(), 1);
        for _ in 0..20 {
            pace.observe(false);
        }
        assert_eq!(pace.window(), MOST);
    }

    /// A leg whose window is full has room for what others read, and one without a resync takes nothing. Covers: S106.
    #[test]
    fn a_full_window_leaves_room_for_what_others_ask_for() {
        assert!(takes_unasked(0, 10) && takes_unasked(10, 10) && takes_unasked(19, 10));
        assert!(!takes_unasked(20, 10) && !takes_unasked(0, 0));
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        let mut pace = Pace::new(5);
        assert_eq!(pace.take(5, u64::MAX, 0), 0);
    }

    #[test]
    fn what_others_copied_counts_against_the_limit() {
        let (rate, bytes) = (1_000_000, 262_144);
        let (mut pace, mut now, mut copied) = (Pace::new(0), 0_u64, 0_u64);
        while now < 60_000 {
            // Somebody else copies half of what the rate allows, until the middle.
            if now < 30_000 {
                pace.charge(rate / 200);
                copied += rate / 200;
            }
            now += 10;
            while pace.take(now, bytes, rate) == 0 {
                copied += bytes;
            }
        }
        let allowed = rate * now / 1000;
        assert!(
            copied <= allowed + bytes && copied >= allowed / 10 * 9,
            "{copied} of {allowed}"
        );
    }

    #[test]
    fn a_limit_holds_over_time_and_never_stops_the_resync() {
        for (bytes, rate) in [(262_144, 1_000_000), (262_144, 10), (4096, 1 << 40), (262_144, 999)] {
            let (mut pace, mut now, mut copied) = (Pace::new(0), 0_u64, 0_u64);
            for _ in 0..60_000 {
                match pace.take(now, bytes, rate) {
                    0 => copied += bytes,
                    wait => now += wait,
                }
                if now > 100_000_000 {
                    break;
                }
            }
            let allowed = rate.saturating_mul(now) / 1000 + (rate / 5).max(bytes);
            assert!(copied <= allowed, "{copied} bytes in {now} ms at {rate}");
            assert!(copied >= bytes, "nothing copied in {now} ms at {rate}");
        }
    }
}
