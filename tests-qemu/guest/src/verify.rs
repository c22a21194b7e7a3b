// SPDX-License-Identifier: GPL-2.0
//! Reads what the verified writer wrote, past the page cache, and prints it as JSON.

use std::{os::unix::fs::FileExt as _, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use netraid_guest::blocks::{check, Found, BLOCK};

use crate::direct::{self, Buffer};

/// Blocks read at once.
const BATCH: u64 = 64;

/// What to read.
#[derive(Args)]
pub(crate) struct Options {
    /// Device to read
    device: PathBuf,
    /// The run that wrote it
    #[arg(long)]
    seed: u64,
    /// First block
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// How many blocks
    #[arg(long)]
    blocks: u64,
}

/// Prints a [`Found`] for the device.
pub(crate) fn run(options: &Options) -> Result<()> {
    let device = direct::reader(&options.device)?;
    let mut buffer = Buffer::new(usize::try_from(BATCH)? * BLOCK);
    let mut found = Found::default();
    let mut done = 0;
    while done < options.blocks {
        let count = BATCH.min(options.blocks - done);
        let first = options.first + done;
        let batch = &mut buffer[..usize::try_from(count)? * BLOCK];
        device
            .read_exact_at(batch, first * BLOCK as u64)
            .with_context(|| format!("read blocks from {first} of {}", options.device.display()))?;
        for (number, block) in (first..).zip(batch.chunks_exact(BLOCK)) {
            found.add(number, check(block, options.seed, number));
        }
        done += count;
    }
    println!("{}", serde_json::to_string(&found)?);
    Ok(())
}
