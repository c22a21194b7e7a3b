// SPDX-License-Identifier: GPL-2.0
//! How much longer everything may take than on an ordinary kernel.
//!
//! Tests name the time in which something must have happened on a kernel as Debian builds it. Whatever waits asks here
//! how long that is on the kernel at hand.

use std::{env, sync::OnceLock, time::Duration};

/// Environment variable: a number by which all waits are longer; 1 unless set.
pub const VARIABLE: &str = "NETRAID_PATIENCE";

/// `time`, as long as it may take here.
#[must_use]
pub fn scaled(time: Duration) -> Duration {
    static FACTOR: OnceLock<u32> = OnceLock::new();
    time * *FACTOR.get_or_init(|| factor(env::var(VARIABLE).ok().as_deref()))
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
