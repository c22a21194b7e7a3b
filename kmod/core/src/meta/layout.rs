// SPDX-License-Identifier: GPL-2.0

//! Where superblocks and maps are.

use super::{LayoutError, BLOCK_LEN, BLOCK_WORDS, MAPS, MAX_SIZE};
use crate::chunk::{default_chunk_size, Geometry, MAX_CHUNKS};

/// Bytes of a block.
const BLOCK: u64 = BLOCK_LEN as u64;

/// Bytes of the two superblocks.
const SUPERBLOCKS: u64 = BLOCK.saturating_mul(2);

/// Where metadata is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a file or a block device of its own.
    Start,
    /// At the end of the mirrored disk.
    End {
        /// Size of the disk in bytes.
        disk_size: u64,
    },
}

impl Place {
    /// Bytes of the disk that blocks can be in, for metadata at its end.
    const fn whole_blocks(disk_size: u64) -> u64 {
        disk_size & !BLOCK.wrapping_sub(1)
    }
}

/// The places of superblocks and maps, in bytes from the start of the file or disk.
///
/// # Invariants
///
/// No two blocks overlap, every block is aligned to its size, and no offset overflows: a map has at
/// most [`MAX_CHUNKS`] bits, hence all of them together fewer than 2^32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    superblocks: u64,
    maps: u64,
    blocks_per_map: u64,
}

impl Layout {
    /// The layout for a mirror of a size and chunk size, or of the superblocks alone where they
    /// are not known.
    ///
    /// # Errors
    ///
    /// A [`LayoutError`] where metadata at the end of a disk would not fit behind the mirror.
    pub fn new(place: Place, geometry: Option<Geometry>) -> Result<Self, LayoutError> {
        let blocks_per_map = geometry.map_or(0, |geometry| blocks_per_map(&geometry));
        let maps_len = maps_len(blocks_per_map);
        match place {
            Place::Start => Ok(Self {
                superblocks: 0,
                maps: SUPERBLOCKS,
                blocks_per_map,
            }),
            Place::End { disk_size } => {
                let superblocks = Place::whole_blocks(disk_size)
                    .checked_sub(SUPERBLOCKS)
                    .ok_or(LayoutError::DiskTooSmall { disk_size })?;
                let size = geometry.map_or(0, |geometry| geometry.size());
                let maps = superblocks.checked_sub(maps_len).filter(|&maps| maps >= size);
                Ok(Self {
                    superblocks,
                    maps: maps.ok_or(LayoutError::Overlap {
                        disk_size,
                        size,
                        metadata: maps_len.saturating_add(SUPERBLOCKS),
                    })?,
                    blocks_per_map,
                })
            }
        }
    }

    /// The layout of metadata without maps; also what is needed to find the superblocks, which
    /// then tell the rest.
    ///
    /// # Errors
    ///
    /// [`LayoutError::DiskTooSmall`] where a disk has no room for superblocks at its end.
    pub fn superblocks_only(place: Place) -> Result<Self, LayoutError> {
        Self::new(place, None)
    }

    /// Offset of superblock 0 or 1 (another number counts as its remainder).
    #[must_use]
    pub const fn superblock_offset(&self, which: usize) -> u64 {
        if which & 1 == 0 {
            self.superblocks
        } else {
            self.superblocks.saturating_add(BLOCK)
        }
    }

    /// Offset of a block of a map; for one that does not exist the largest number, at which no
    /// access succeeds.
    #[must_use]
    pub const fn map_block_offset(&self, map: usize, block: u64) -> u64 {
        if map >= MAPS || block >= self.blocks_per_map {
            return u64::MAX;
        }
        let blocks = (map as u64).saturating_mul(self.blocks_per_map).saturating_add(block);
        self.maps.saturating_add(blocks.saturating_mul(BLOCK))
    }

    /// Blocks of each map; 0 where there are no maps.
    #[must_use]
    pub const fn blocks_per_map(&self) -> u64 {
        self.blocks_per_map
    }

    /// Bytes that superblocks and maps take: at the start, the least length of the file or device.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub const fn len(&self) -> u64 {
        SUPERBLOCKS.saturating_add(maps_len(self.blocks_per_map))
    }

    /// Size in bytes of the mirror on a disk that has the metadata at its end: the largest multiple
    /// of 4096 behind which superblocks and maps fit. Without a chunk size it is the one that
    /// [`default_chunk_size`] gives for the result. 0 where the disk is too small, or the chunk
    /// size is not possible.
    #[must_use]
    pub fn usable_size(disk_size: u64, chunk_size: Option<u32>) -> u64 {
        if let Some(chunk_size) = chunk_size {
            return largest_fitting(disk_size, chunk_size);
        }
        let mut size = disk_size;
        loop {
            let chunk_size = default_chunk_size(size);
            // Never more than before: the chunk size can only have become smaller.
            size = largest_fitting(disk_size, chunk_size).min(size);
            if size == 0 || default_chunk_size(size) == chunk_size {
                return size;
            }
        }
    }

    /// Size in bytes of the mirror on a disk that has superblocks, but no maps, at its end; 0 where
    /// it is too small.
    #[must_use]
    pub const fn usable_size_without_maps(disk_size: u64) -> u64 {
        Place::whole_blocks(disk_size).saturating_sub(SUPERBLOCKS)
    }
}

/// Blocks of one map.
fn blocks_per_map(geometry: &Geometry) -> u64 {
    (geometry.words() as u64).div_ceil(BLOCK_WORDS as u64)
}

/// Bytes of all maps.
const fn maps_len(blocks_per_map: u64) -> u64 {
    blocks_per_map.saturating_mul(MAPS as u64).saturating_mul(BLOCK)
}

/// The largest size with chunks of `chunk_size` that leaves room for the metadata, by bisection:
/// the larger the mirror, the longer its maps.
fn largest_fitting(disk_size: u64, chunk_size: u32) -> u64 {
    let fits = |blocks: u64| {
        let Ok(geometry) = Geometry::new(blocks.saturating_mul(BLOCK), chunk_size) else {
            return false;
        };
        Layout::new(Place::End { disk_size }, Some(geometry)).is_ok()
    };
    let largest = u64::from(chunk_size)
        .saturating_mul(MAX_CHUNKS)
        .min(MAX_SIZE)
        .min(disk_size);
    let (mut fitting, mut too_many) = (0, largest.checked_div(BLOCK).unwrap_or(0).saturating_add(1));
    while too_many.saturating_sub(fitting) > 1 {
        let middle = fitting.midpoint(too_many);
        if fits(middle) {
            fitting = middle;
        } else {
            too_many = middle;
        }
    }
    fitting.saturating_mul(BLOCK)
}
