// SPDX-License-Identifier: GPL-2.0
//! How much longer everything may take than on an ordinary kernel.
//!
//! Tests name the time in which something must have happened on a kernel as Debian builds it. Whatever waits asks here
//! how long that is on the kernel at hand.

use std::{env, fmt, sync::OnceLock, time::Duration};

/// Environment variable: a number by which all waits are longer; 1 unless set.
pub const VARIABLE: &str = "NETRAID_PATIENCE";

/// So many times longer everything may take on the debug kernel.
pub const DEBUG: u32 = 4;

static FACTOR: OnceLock<u32> = OnceLock::new();

/// Has everything in this process take `factor` times longer, whatever the environment says; to be called before
/// anything waits.
pub fn set(factor: u32) {
    // Whoever waited before goes on as it began.
    let _ = FACTOR.set(factor.clamp(1, 100));
}

/// `time`, as long as it may take here.
#[must_use]
pub fn scaled(time: Duration) -> Duration {
    time * *FACTOR.get_or_init(|| factor(env::var(VARIABLE).ok().as_deref()))
}

/// When a link is given up, as options of `join` and `extend`: on a slow kernel a machine is silent for longer without
/// being gone.
#[derive(Debug, Clone, Copy)]
pub struct LinkTiming {
    heartbeat: Duration,
    timeout: Duration,
}

impl LinkTiming {
    /// Milliseconds of both, on a kernel as Debian builds it.
    #[must_use]
    pub const fn new(heartbeat_ms: u64, timeout_ms: u64) -> Self {
        Self {
            heartbeat: Duration::from_millis(heartbeat_ms),
            timeout: Duration::from_millis(timeout_ms),
        }
    }

    /// After so long without a word from the other side it is given up on the kernel at hand.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        scaled(self.timeout)
    }
}

impl fmt::Display for LinkTiming {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [heartbeat, timeout] = [self.heartbeat, self.timeout].map(|time| scaled(time).as_millis());
        write!(formatter, "--heartbeat {heartbeat} --timeout {timeout}")
    }
}

fn factor(text: Option<&str>) -> u32 {
    text.and_then(|text| text.parse().ok()).unwrap_or(1).clamp(1, 100)
}

#[cfg(test)]
mod tests {
    use super::factor;

    #[test]
    fn nobody_waits_less_than_an_ordinary_kernel_needs() {
        assert_eq!(factor(None), 1);
        assert_eq!(factor(Some("4")), 4);
        for odd in ["0", "-3", "much", ""] {
            assert_eq!(factor(Some(odd)), 1, "{odd}");
        }
        assert_eq!(factor(Some("4000")), 100);
    }
}
