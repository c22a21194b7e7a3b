// SPDX-License-Identifier: GPL-2.0
//! Reading and writing past the page cache.

use std::{
    fs::{File, OpenOptions},
    ops::{Deref, DerefMut},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::{Context as _, Result};
use nix::libc;

/// What every device is content with.
const PAGE: usize = 4096;

fn open(path: &Path, options: &mut OpenOptions, flags: libc::c_int) -> Result<File> {
    options
        .custom_flags(libc::O_DIRECT | flags)
        .open(path)
        .with_context(|| format!("open {}", path.display()))
}

/// Opens a device for reading.
pub(crate) fn reader(path: &Path) -> Result<File> {
    open(path, OpenOptions::new().read(true), 0)
}

/// Opens a device for writing.
pub(crate) fn writer(path: &Path) -> Result<File> {
    open(path, OpenOptions::new().write(true), 0)
}

/// The same; what is written is on stable storage when the write returns.
pub(crate) fn durable_writer(path: &Path) -> Result<File> {
    open(path, OpenOptions::new().write(true), libc::O_DSYNC)
}

/// Zeroes that begin where a page does.
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    skip: usize,
}

impl Buffer {
    /// Of `size` bytes.
    pub(crate) fn new(size: usize) -> Self {
        let bytes = vec![0; size + PAGE];
        let skip = bytes.as_ptr().align_offset(PAGE);
        Self { bytes, skip }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let end = self.bytes.len() - PAGE + self.skip;
        &self.bytes[self.skip..end]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        let end = self.bytes.len() - PAGE + self.skip;
        &mut self.bytes[self.skip..end]
    }
}
