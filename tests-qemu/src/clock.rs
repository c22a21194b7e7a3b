// SPDX-License-Identifier: GPL-2.0
//! How fast the time stamp counter of this host runs.
//!
//! An emulated machine sees the host's counter. Its kernel measures the speed at boot, and on a
//! busy host measures wrong, by a factor of ten even; its clock is wrong from then on. So the
//! kernel is told.

use std::sync::OnceLock;

use quanta::Clock;

/// Ticks whose time is asked for: some seconds of any counter.
const TICKS: u64 = 10_000_000_000;

/// Thousands of ticks a second; nothing when the host's counter cannot be relied on.
pub(crate) fn tsc_khz() -> Option<u64> {
    static SPEED: OnceLock<Option<u64>> = OnceLock::new();
    *SPEED.get_or_init(|| {
        let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let steady = flags.split_whitespace().any(|flag| flag == "nonstop_tsc");
        if !steady {
            return None;
        }
        // A clock measures the counter when it is made.
        let micros = Clock::new().delta_as_nanos(0, TICKS) / 1000;
        let khz = TICKS.checked_mul(1000)?.checked_div(micros)?;
        // Without access to the counter the clock counts nanoseconds.
        (khz.abs_diff(1_000_000) > 1_000).then_some(khz)
    })
}
