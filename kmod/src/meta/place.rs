// SPDX-License-Identifier: GPL-2.0

//! Where metadata is kept.

use super::MetaRefusal;
use crate::sys::{
    block::LowerDisk,
    file::{Block, Durable, Identity, MetaFile, BLOCK_SIZE},
    misc,
};
use core::ops::Range;
use kernel::{prelude::*, str::CStr, sync::Arc};
use netraid_core::meta::{Layout, LayoutError, Place};

/// Which file or device it is, whatever path led there; nothing else for the end of a disk.
pub(crate) struct MetaIdentity(Option<Identity>);

impl MetaIdentity {
    /// Whether both are one file or device.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.0.is_some() && self.0 == other.0
    }
}

/// An open place for metadata.
pub(crate) enum MetaIo {
    /// A file or a device of its own.
    File(MetaFile),
    /// The end of the mirrored disk; where that is does not change, even if the disk grows.
    Internal { disk: Arc<LowerDisk>, disk_size: u64 },
}

impl MetaIo {
    /// Opens the file or device at `path`, with the rights and in the file name space of the caller. May sleep.
    ///
    /// # Errors
    ///
    /// A sentence when there is none, it can't be written in blocks, or is on a mirror.
    pub(crate) fn open(path: &CStr) -> Result<Self, MetaRefusal> {
        let file = MetaFile::open(path).map_err(|error| MetaRefusal::open(path, error))?;
        if file.is_on_own_disk() {
            return Err(MetaRefusal::own_disk(path));
        }
        if file.is_read_only() {
            return Err(MetaRefusal::read_only(path, EROFS));
        }
        let writes_blocks =
            |device: &LowerDisk| device.logical_block_size() as usize <= BLOCK_SIZE && !device.is_zoned();
        if !file.device().is_none_or(writes_blocks) {
            return Err(MetaRefusal::open(path, EINVAL));
        }
        Ok(Self::File(file))
    }

    /// The end of a disk.
    ///
    /// # Errors
    ///
    /// A sentence when its sectors are larger than blocks.
    pub(crate) fn end_of(disk: Arc<LowerDisk>) -> Result<Self, MetaRefusal> {
        match disk.logical_block_size() {
            bytes if bytes as usize > BLOCK_SIZE => Err(MetaRefusal::large_sectors(bytes)),
            _ => Ok(Self::Internal {
                disk_size: disk.size(),
                disk,
            }),
        }
    }

    /// The place, for the arithmetic of what is where.
    pub(crate) fn place(&self) -> Place {
        match self {
            Self::File(_) => Place::Start,
            Self::Internal { disk_size, .. } => Place::End { disk_size: *disk_size },
        }
    }

    /// The path, where it has one.
    pub(crate) fn path(&self) -> Option<&CStr> {
        match self {
            Self::File(file) => Some(file.path()),
            Self::Internal { .. } => None,
        }
    }

    /// Tells it from all others in use.
    pub(crate) fn identity(&self) -> MetaIdentity {
        MetaIdentity(match self {
            Self::File(file) => Some(file.identity()),
            // Whoever has the disk has its end.
            Self::Internal { .. } => None,
        })
    }

    /// Refuses a device that has no room for the metadata, or the end of a disk that belongs to a mirror of `size`
    /// bytes.
    pub(super) fn check_room(&self, layout: &Layout, size: u64) -> Result<(), MetaRefusal> {
        match self {
            Self::File(file) if file.is_block_device() && file.len() < layout.len() => {
                Err(MetaRefusal::too_small(self, layout.len(), file.len()))
            }
            // A file grows.
            Self::File(_) => Ok(()),
            // The layout itself has looked at this, if it has maps.
            Self::Internal { disk_size, .. } if size > layout.superblock_offset(0) => {
                Err(MetaRefusal::layout(LayoutError::Overlap {
                    disk_size: *disk_size,
                    size,
                    metadata: layout.len(),
                }))
            }
            Self::Internal { .. } => Ok(()),
        }
    }

    /// Where, besides the superblocks, something shows that the place belongs to somebody: file systems begin up to
    /// 64 KiB behind the start of a device. The end of the disk was given with the disk.
    pub(super) fn foreign_area(&self) -> Range<u64> {
        match self {
            Self::File(_) => 2 * BLOCK_SIZE as u64..128 * 1024,
            Self::Internal { .. } => 0..0,
        }
    }

    /// Refuses a place that lost its end.
    pub(super) fn check_whole(&self, needed: u64) -> Result<(), MetaRefusal> {
        match self {
            Self::File(file) if file.len() < needed => Err(MetaRefusal::truncated(self, needed, file.len())),
            _ => Ok(()),
        }
    }

    /// As [`MetaFile::read_block`].
    pub(super) fn read(&self, offset: u64, block: &mut Block) -> Result {
        match self {
            Self::File(file) => file.read_block(offset, block),
            Self::Internal { disk, .. } => disk.read_block(offset, block),
        }
    }

    /// As [`MetaFile::write_block`], but waits for memory.
    pub(super) fn write(&self, offset: u64, block: &Block, durable: Durable) -> Result {
        with_memory(|| match self {
            Self::File(file) => file.write_block(offset, block, durable),
            Self::Internal { disk, .. } => disk.write_block(offset, block, durable),
        })
    }

    /// As [`MetaFile::sync`], but waits for memory.
    pub(super) fn sync(&self) -> Result {
        with_memory(|| match self {
            Self::File(file) => file.sync(),
            Self::Internal { disk, .. } => disk.flush(),
        })
    }
}

/// Milliseconds for which something is tried again that there was no memory for; far longer than the kernel takes to free
/// some. Nothing is wrong with the place, and who gives it up lets the application's writes fail.
const MEMORY_MS: u64 = 10_000;

/// Milliseconds between two tries.
const AGAIN_MS: u32 = 20;

fn with_memory(act: impl Fn() -> Result) -> Result {
    let until = misc::now_ms().saturating_add(MEMORY_MS);
    loop {
        match act() {
            Err(error) if error == ENOMEM && misc::now_ms() < until => misc::sleep_ms(AGAIN_MS),
            result => return result,
        }
    }
}
