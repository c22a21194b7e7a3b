// SPDX-License-Identifier: GPL-2.0
//! How fast the time stamp counter of this host runs.
//!
//! An emulated machine sees the host's counter. Its kernel measures the speed at boot, and on a
//! busy host measures wrong, by a factor of ten even; its clock is wrong from then on. So the
//! kernel is told.

use std::{
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use quanta::Clock;

const MEASURE: Duration = Duration::from_millis(100);

/// Thousands of ticks a second; nothing when the host's counter cannot be relied on.
pub(crate) fn tsc_khz() -> Option<u64> {
    static SPEED: OnceLock<Option<u64>> = OnceLock::new();
    *SPEED.get_or_init(|| {
        let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let steady = flags.split_whitespace().any(|flag| flag == "nonstop_tsc");
        if !steady {
            return None;
        }
        let clock = Clock::new();
        let reading = || (Instant::now(), clock.raw());
        let (began, first) = reading();
        thread::sleep(MEASURE);
        let (ended, last) = reading();
        let micros = u64::try_from(ended.duration_since(began).as_micros()).ok()?;
        let khz = last.wrapping_sub(first).checked_mul(1000)?.checked_div(micros)?;
        // Without access to the counter the clock counts nanoseconds.
        (khz.abs_diff(1_000_000) > 1_000).then_some(khz)
    })
}
