// SPDX-License-Identifier: GPL-2.0
//! The disk that keeps what netraid keeps between two boots of a machine: its configuration, its settings, and the
//! files with its metadata. Everything else a machine writes to its root goes with it.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use anyhow::{ensure, Context as _, Result};
use netraid_guest::proto::STATE_SERIAL;

use crate::disk::MIB;

const SIZE: u64 = 64 * MIB;
/// The template is looked through in pieces of this size.
const PIECE: usize = 64 << 10;

/// An empty file system as the pieces of its image that are not zero, in their places.
#[derive(Debug)]
pub(crate) struct Template(Vec<(u64, Vec<u8>)>);

impl Template {
    /// Makes the file system once; `dir` is used while that lasts.
    pub(crate) fn make(dir: &Path) -> Result<Arc<Self>> {
        let path = dir.join("state.template");
        File::create(&path)?.set_len(SIZE)?;
        let mut command = Command::new("/usr/sbin/mke2fs");
        command
            .args(["-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-J", "size=4", "-L"])
            .args([STATE_SERIAL, "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard"])
            .arg(&path);
        let output = command
            .output()
            .with_context(|| format!("run {command:?}: install the package e2fsprogs, or run `cargo xtask setup`"))?;
        ensure!(
            output.status.success(),
            "{command:?} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
        let (file, mut pieces) = (File::open(&path)?, Vec::new());
        let mut piece = vec![0; PIECE];
        for offset in (0..SIZE).step_by(PIECE) {
            file.read_exact_at(&mut piece, offset)?;
            if piece.iter().any(|&byte| byte != 0) {
                pieces.push((offset, piece.clone()));
            }
        }
        std::fs::remove_file(&path)?;
        Ok(Arc::new(Self(pieces)))
    }
}

/// The disk of one machine.
#[derive(Debug)]
pub(crate) struct StateDisk {
    path: PathBuf,
    template: Arc<Template>,
}

impl StateDisk {
    /// An empty one in `dir`.
    pub(crate) fn create(dir: &Path, template: &Arc<Template>) -> Result<Self> {
        let path = dir.join("state.raw");
        let template = Arc::clone(template);
        let disk = Self { path, template };
        disk.wipe()?;
        Ok(disk)
    }

    /// Makes it an empty file system again; the machine must not have it mounted.
    pub(crate) fn wipe(&self) -> Result<()> {
        let path = self.path.display();
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&self.path)
            .with_context(|| format!("open the disk image {path}"))?;
        file.set_len(SIZE).with_context(|| format!("size {path}"))?;
        for (offset, piece) in &self.template.0 {
            file.write_all_at(piece, *offset)?;
        }
        Ok(())
    }

    /// QEMU's options for the disk.
    pub(crate) fn options(&self) -> [String; 4] {
        let path = self.path.display();
        let drive = format!("if=none,id={STATE_SERIAL},file={path},format=raw,cache=unsafe");
        let device = format!("virtio-blk-pci,drive={STATE_SERIAL},serial={STATE_SERIAL},iothread=io");
        ["-drive".into(), drive, "-device".into(), device]
    }
}
