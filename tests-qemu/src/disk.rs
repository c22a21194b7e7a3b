// SPDX-License-Identifier: GPL-2.0
//! Data disks: plain files on the host, so that a test can look at them behind the machine's
//! back and they survive its death.

use std::{
    fs::{File, OpenOptions},
    io::Read as _,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use anyhow::{ensure, Context as _, Result};
use sha2::{Digest as _, Sha256};

/// Bytes in a mebibyte.
pub const MIB: u64 = 1 << 20;
/// Bytes in a sector, the unit of all disk sizes.
pub const SECTOR: u64 = 512;

/// A disk that a machine is to have.
#[derive(Clone, Debug)]
pub struct DiskSpec {
    /// Size in bytes, a multiple of [`SECTOR`].
    pub size: u64,
    /// Whether the machine may discard and write zeroes.
    pub discard: bool,
    /// Whether it is one disk that all machines have, as in a storage network.
    pub shared: bool,
}

impl DiskSpec {
    /// A disk of `size` bytes that can discard.
    #[must_use]
    pub fn new(size: u64) -> Self {
        Self {
            size,
            discard: true,
            shared: false,
        }
    }

    /// The same disk without discard and write-zeroes.
    #[must_use]
    pub fn without_discard(self) -> Self {
        Self { discard: false, ..self }
    }

    /// One disk of that kind for all machines, as in a storage network.
    #[must_use]
    pub fn shared(self) -> Self {
        Self { shared: true, ..self }
    }
}

/// A disk of a machine, seen from the host.
#[derive(Debug)]
pub struct Disk {
    name: String,
    path: PathBuf,
    spec: DiskSpec,
}

impl Disk {
    pub(crate) fn create(dir: &Path, name: String, spec: DiskSpec) -> Result<Self> {
        ensure!(spec.size % SECTOR == 0, "disk {name} is not a whole number of sectors");
        let disk = Self {
            path: dir.join(format!("{name}.raw")),
            name,
            spec,
        };
        disk.wipe()?;
        Ok(disk)
    }

    /// The name in the machine, such as `vdb`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path in the machine, such as `/dev/vdb`.
    #[must_use]
    pub fn dev(&self) -> String {
        format!("/dev/{}", self.name)
    }

    /// Size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.spec.size
    }

    /// QEMU's options for the disk.
    pub(crate) fn options(&self) -> [String; 4] {
        let onoff = if self.spec.discard { "on" } else { "off" };
        let name = &self.name;
        // What QEMU has told the machine is written lies in the host's page cache and so
        // survives the death of QEMU; syncing it to the host's disk would only cost time.
        let drive = format!(
            "if=none,id={name},file={},format=raw,cache=unsafe,discard=unmap,file.locking={}",
            self.path.display(),
            if self.spec.shared { "off" } else { "auto" }
        );
        let device =
            format!("virtio-blk-pci,drive={name},serial={name},discard={onoff},write-zeroes={onoff},iothread=io");
        ["-drive".into(), drive, "-device".into(), device]
    }

    fn open(&self) -> Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&self.path)
            .with_context(|| format!("open the disk image {}", self.path.display()))
    }

    /// Makes the whole disk zero. A running machine may still have the old content in its cache.
    ///
    /// # Errors
    ///
    /// When the host refuses, for instance because its disk is full.
    pub fn wipe(&self) -> Result<()> {
        let file = self.open()?;
        file.set_len(0)?;
        file.set_len(self.spec.size)
            .with_context(|| format!("size {}", self.path.display()))
    }

    /// Reads `length` bytes from `offset`.
    ///
    /// # Errors
    ///
    /// When that is not all on the disk.
    pub fn read(&self, offset: u64, length: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(length)?];
        self.open()?
            .read_exact_at(&mut bytes, offset)
            .with_context(|| format!("read {length} bytes at {offset} of {}", self.path.display()))?;
        Ok(bytes)
    }

    /// Writes behind the machine's back.
    ///
    /// # Errors
    ///
    /// When that goes beyond the end of the disk or the host refuses.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        ensure!(
            offset + bytes.len() as u64 <= self.size(),
            "disk {} ends before that",
            self.name
        );
        self.open()?.write_all_at(bytes, offset)?;
        Ok(())
    }

    /// SHA-256 of the first `length` bytes, in hexadecimal.
    ///
    /// # Errors
    ///
    /// When the disk cannot be read.
    pub fn sha256(&self, length: u64) -> Result<String> {
        let mut file = self.open()?.take(length);
        let mut sum = Sha256::new();
        let copied = std::io::copy(&mut file, &mut sum)?;
        ensure!(copied == length, "disk {} has only {copied} bytes", self.name);
        Ok(sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Numbers of the chunks of `chunk` bytes, within the first `length` bytes, in which this
    /// disk and `other` differ.
    ///
    /// # Errors
    ///
    /// When a disk cannot be read.
    pub fn differences(&self, other: &Self, length: u64, chunk: u64) -> Result<Vec<u64>> {
        let mut differ = Vec::new();
        for number in 0..length.div_ceil(chunk) {
            let offset = number * chunk;
            let size = chunk.min(length - offset);
            if self.read(offset, size)? != other.read(offset, size)? {
                differ.push(number);
            }
        }
        Ok(differ)
    }
}
