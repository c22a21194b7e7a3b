// SPDX-License-Identifier: GPL-2.0
//! Random numbers for tests, which can be had again.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};

/// Environment variable: makes what is random the same as in the run that printed it.
const SEED: &str = "NETRAID_SEED";

/// Random numbers that can be had again.
pub(crate) struct Dice(u64);

impl Dice {
    /// Another one in each run, unless [`SEED`] is set; the seed is printed.
    pub(crate) fn new() -> Result<Self> {
        let seed = match std::env::var(SEED) {
            Ok(text) => text.parse().with_context(|| format!("{SEED}={text}"))?,
            Err(_) => u64::from(SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos()) | 1,
        };
        println!("{SEED}={seed}");
        Ok(Self(seed))
    }

    /// A number from `least` on, below `most`.
    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        least + self.0 % (most - least)
    }
}
