// SPDX-License-Identifier: GPL-2.0
//! Writes a little, here and there: one block of random bytes in the middle of each of some chunks.

use std::{fs::File, io::Read as _, os::unix::fs::FileExt as _, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::direct::{self, Buffer};

/// Direct writes are of sectors.
const SECTOR: usize = 512;

/// What to write.
#[derive(Args)]
pub(crate) struct Options {
    /// Device to write to
    device: PathBuf,
    /// Bytes in a chunk
    #[arg(long, default_value_t = 65536)]
    size: u64,
    /// Numbers of the chunks
    chunks: Vec<u64>,
}

/// Writes the chunks one after the other, past the cache.
pub(crate) fn run(options: &Options) -> Result<()> {
    let device = direct::writer(&options.device)?;
    let mut random = File::open("/dev/urandom").context("open /dev/urandom")?;
    let mut block = Buffer::new(SECTOR);
    for chunk in &options.chunks {
        random.read_exact(&mut block)?;
        device
            .write_all_at(&block, chunk * options.size + options.size / 2)
            .with_context(|| format!("write to chunk {chunk}"))?;
    }
    Ok(())
}
