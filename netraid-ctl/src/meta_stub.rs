// SPDX-License-Identifier: GPL-2.0
//! A file for the metadata, until the format itself is here.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// A file that is removed again unless it is kept.
#[derive(Debug)]
pub struct Prepared(Option<PathBuf>);

impl Prepared {
    /// Keeps the file.
    pub fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            let _removed = fs::remove_file(path);
        }
    }
}

/// Makes a blank file for the metadata of a disk.
///
/// # Errors
///
/// When it cannot be made.
pub fn prepare(path: &Path, disk_size: u64, chunk_size: Option<u32>, no_bitmap: bool) -> Result<Prepared> {
    let chunks = disk_size.div_ceil(u64::from(chunk_size.unwrap_or(65536)));
    let maps = if no_bitmap {
        0
    } else {
        16 * chunks.div_ceil(8 * 3840) * 4096
    };
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    let file = file.with_context(|| format!("the bitmap {} cannot be made", path.display()))?;
    file.set_len(8192 + maps)?;
    Ok(Prepared(Some(path.to_owned())))
}
