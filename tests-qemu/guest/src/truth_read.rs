// SPDX-License-Identifier: GPL-2.0
//! Reads what `truth` wrote, past the page cache, and prints which sector holds what as JSON.

use std::{os::unix::fs::FileExt as _, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use netraid_guest::truth::{Found, SECTOR};

use crate::direct::{self, Buffer};

/// Sectors read at once.
const BATCH: u64 = 512;

/// What to read.
#[derive(Args)]
pub(crate) struct Options {
    /// Device to read
    device: PathBuf,
    /// The history that was written to it
    #[arg(long)]
    seed: u64,
    /// How many sectors of 512 bytes, from the beginning of the device
    #[arg(long)]
    sectors: u64,
}

/// Prints a [`Found`] for the device.
pub(crate) fn run(options: &Options) -> Result<()> {
    let device = direct::reader(&options.device)?;
    let mut buffer = Buffer::new(usize::try_from(BATCH)? * SECTOR);
    let mut found = Found::new(0);
    let mut first = 0;
    while first < options.sectors {
        let count = BATCH.min(options.sectors - first);
        let batch = &mut buffer[..usize::try_from(count)? * SECTOR];
        device
            .read_exact_at(batch, first * SECTOR as u64)
            .with_context(|| format!("read sectors from {first} of {}", options.device.display()))?;
        found.scan(batch, options.seed, first);
        first += count;
    }
    println!("{}", serde_json::to_string(&found)?);
    Ok(())
}
