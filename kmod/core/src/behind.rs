// SPDX-License-Identifier: GPL-2.0

//! An asynchronous leg that cannot keep up, and whose operator does not want the application to wait for it.
//!
//! Where the limit of outstanding operations is reached, the documented behaviour ([`Congestion::Block`]) makes the next
//! write wait as on a synchronous leg. With [`Congestion::Behind`] the leg is given up instead, as if the connection was
//! lost: what is not confirmed is marked, the application goes on at the speed of its own disk, and its writes are marked
//! only. The target keeps a state that the source's disk once had.
//!
//! There is always a way back. After a time the leg is connected again and catches up by a resync, and until it is in step
//! the limit holds writes back as it does with the other policy: so the resync comes to its end whatever the application
//! does. That makes it slow for a while; so that it is not slow all the time, the time doubles with each fall that comes
//! soon after the catching up.
//!
//! | the leg fell behind | the resync begins after |
//! |---|---|
//! | the first time | 5 s |
//! | again, before it was in step for ten times the last delay | twice the last delay, at most 5 min |
//! | again, later than that | 5 s |
//!
//! [`Congestion::Block`]: crate::state::Congestion::Block
//! [`Congestion::Behind`]: crate::state::Congestion::Behind

/// First delay before catching up, milliseconds: long enough for a burst to be over.
pub const FIRST_MS: u32 = 5_000;
/// Longest delay, milliseconds: an operator who looks at a target finds it at most so far behind, plus a resync.
pub const LONGEST_MS: u32 = 300_000;
/// A leg that was in step for so many times its last delay has shown that it can keep up.
const PROOF: u64 = 10;

/// How often and when a leg fell behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behind {
    /// The last delay, milliseconds; 0 before the first.
    delay_ms: u32,
    /// When the leg was last in step again.
    in_step_at: u64,
    falls: u64,
}

impl Behind {
    /// It never did.
    pub const NEW: Self = Self {
        delay_ms: 0,
        in_step_at: 0,
        falls: 0,
    };

    /// The leg falls behind at `now_ms`; milliseconds until it is to catch up.
    pub fn fall(&mut self, now_ms: u64) -> u32 {
        let kept_up = now_ms.saturating_sub(self.in_step_at);
        let proof = u64::from(self.delay_ms).saturating_mul(PROOF);
        self.delay_ms = if self.delay_ms == 0 || kept_up >= proof {
            FIRST_MS
        } else {
            self.delay_ms.saturating_mul(2).min(LONGEST_MS)
        };
        self.falls = self.falls.saturating_add(1);
        self.delay_ms
    }

    /// The leg is in step.
    pub fn caught_up(&mut self, now_ms: u64) {
        self.in_step_at = now_ms;
    }

    /// How often it fell behind.
    #[must_use]
    pub const fn falls(&self) -> u64 {
        self.falls
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    /// Covers: S39.
    #[test]
    fn a_leg_that_cannot_keep_up_is_asked_ever_more_rarely() {
        let mut behind = Behind::NEW;
        let mut now = 1_000_000;
        let mut delays = std::vec::Vec::new();
        for _ in 0..9 {
            delays.push(behind.fall(now));
            now += u64::from(delays[delays.len() - 1]) + 2_000;
            behind.caught_up(now);
            now += 1_000;
        }
        assert_eq!(
            delays,
            [5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000, 300_000]
        );
        assert_eq!(behind.falls(), 9);
    }

    #[test]
    fn a_leg_that_kept_up_begins_with_the_first_delay_again() {
        let mut behind = Behind::NEW;
        behind.fall(0);
        behind.caught_up(10_000);
        assert_eq!(behind.fall(10_000 + 49_999), 10_000);
        behind.caught_up(100_000);
        assert_eq!(behind.fall(100_000 + 100_000), FIRST_MS);
    }

    #[test]
    fn a_clock_that_goes_back_does_no_harm() {
        let mut behind = Behind::NEW;
        behind.fall(u64::MAX);
        behind.caught_up(u64::MAX);
        assert_eq!(behind.fall(0), 2 * FIRST_MS);
    }
}
