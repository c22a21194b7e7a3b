// SPDX-License-Identifier: GPL-2.0

//! How long to wait before the next attempt to connect.
//!
//! A link that is down is tried again soon at first and more and more rarely later. The delays
//! vary by chance, so that many mirrors that lost the same machine do not all come back in the
//! same moment. A machine that answered and refused needs an operator: it is asked rarely.

/// First delay after a failure, in milliseconds.
pub const FIRST_MS: u32 = 100;
/// Longest delay after failures, in milliseconds, before jitter.
pub const LONGEST_MS: u32 = 10_000;
/// First delay after a refusal, in milliseconds.
pub const REFUSED_FIRST_MS: u32 = 2_000;
/// Longest delay after refusals, in milliseconds, before jitter.
pub const REFUSED_LONGEST_MS: u32 = 30_000;

/// The delays of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    attempt: u32,
    failures: u32,
    refusals: u32,
}

impl Backoff {
    /// Nothing has failed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            attempt: 0,
            failures: 0,
            refusals: 0,
        }
    }

    /// Milliseconds to wait after a failed attempt: 100 ms, doubled with each failure in a row up
    /// to 10 s, then changed by up to a quarter either way as `random` says.
    pub fn next(&mut self, random: u32) -> u32 {
        let delay = doubled(FIRST_MS, LONGEST_MS, self.failures);
        self.attempt = self.attempt.saturating_add(1);
        self.failures = self.failures.saturating_add(1);
        self.refusals = 0;
        jitter(delay, random)
    }

    /// Milliseconds to wait after the other machine answered and refused: 2 s, doubled with each
    /// refusal in a row up to 30 s, with the same jitter.
    pub fn slow(&mut self, random: u32) -> u32 {
        let delay = doubled(REFUSED_FIRST_MS, REFUSED_LONGEST_MS, self.refusals);
        self.attempt = self.attempt.saturating_add(1);
        self.refusals = self.refusals.saturating_add(1);
        self.failures = 0;
        jitter(delay, random)
    }

    /// Starts over; to be called when a handshake succeeded.
    pub fn reset(&mut self) {
        *self = Self::new();
    }

    /// Attempts that failed or were refused since the last [`Backoff::reset`].
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempt
    }
}

/// `first` doubled `times` times, at most `longest`.
fn doubled(first: u32, longest: u32, times: u32) -> u32 {
    // Above 16 doublings every limit in use is reached, and the shift stays within the word.
    let factor = 1u32.wrapping_shl(times.min(16));
    first.saturating_mul(factor).min(longest)
}

/// `delay` times a factor from 0.75 to 1.25, spread evenly over all values of `random`.
fn jitter(delay: u32, random: u32) -> u32 {
    let half = u64::from(delay / 2);
    // The upper half of the product is `half` scaled to 0..=half by the random number.
    let extra = half.saturating_mul(u64::from(random)) >> 32;
    let base = delay.saturating_sub(delay / 4);
    base.saturating_add(u32::try_from(extra).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The random number that leaves the delay (almost) as it is.
    const MIDDLE: u32 = 1 << 31;

    #[test]
    fn delays_double_from_100_ms_to_10_s() {
        let mut backoff = Backoff::new();
        let delays: [u32; 9] = core::array::from_fn(|_| backoff.next(MIDDLE));
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(backoff.attempts(), 9);
        backoff.reset();
        assert_eq!((backoff.next(MIDDLE), backoff.attempts()), (100, 1));
    }

    #[test]
    fn refusals_double_from_2_s_to_30_s() {
        let mut backoff = Backoff::new();
        let delays: [u32; 6] = core::array::from_fn(|_| backoff.slow(MIDDLE));
        assert_eq!(delays, [2000, 4000, 8000, 16_000, 30_000, 30_000]);
    }

    #[test]
    fn a_refusal_begins_at_2_s_after_failures_and_the_other_way_round() {
        let mut backoff = Backoff::new();
        for _ in 0..5 {
            backoff.next(0);
        }
        assert_eq!(backoff.slow(MIDDLE), 2000);
        assert_eq!(backoff.next(MIDDLE), 100);
        assert_eq!(backoff.attempts(), 7);
    }

    #[test]
    fn jitter_stays_within_a_quarter_for_any_random_number() {
        for random in [0, 1, MIDDLE, u32::MAX - 1, u32::MAX] {
            let mut backoff = Backoff::new();
            for attempt in 0..1000 {
                let base = doubled(FIRST_MS, LONGEST_MS, attempt);
                let delay = backoff.next(random);
                assert!(delay >= base - base / 4 && delay <= base + base / 4);
            }
        }
        assert_eq!(jitter(1000, 0), 750);
        assert_eq!(jitter(1000, u32::MAX), 1249);
    }
}
