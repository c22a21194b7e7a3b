// SPDX-License-Identifier: GPL-2.0

//! How a disk is divided into chunks.
//!
//! A map has one bit for each chunk. Chunks are of one size, a power of two; only the last one may
//! be shorter, where the disk ends inside it.

use crate::units::{GIB, KIB, SECTOR_SIZE};
use core::fmt;
use core::ops::Range;

/// Smallest chunk in bytes: a page, below which the block layer rarely writes anyway.
pub const MIN_CHUNK_SIZE: u32 = 4096;

/// Largest chunk in bytes (1 GiB).
pub const MAX_CHUNK_SIZE: u32 = 1 << 30;

/// The chunk size of ordinary disks, in bytes (64 KiB).
pub const DEFAULT_CHUNK_SIZE: u32 = 1 << 16;

/// Most chunks [`default_chunk_size`] lets a disk have (2^25: a map of 4 MiB).
pub const DEFAULT_MAX_CHUNKS: u64 = 1 << 25;

/// Most chunks a disk may have at all (2^30: a map of 128 MiB).
pub const MAX_CHUNKS: u64 = 1 << 30;

/// Why a disk cannot be divided as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GeometryError {
    /// The disk has no bytes.
    Empty,
    /// The size in bytes is not a whole number of sectors.
    NotSectors(u64),
    /// The chunk size in bytes is not a power of two, or too small, or too large.
    ChunkSize(u32),
    /// The maps would be unreasonably large.
    TooManyChunks {
        /// Size of the disk in bytes.
        size: u64,
        /// Chunk size asked for, in bytes.
        chunk_size: u32,
    },
}

impl fmt::Display for GeometryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Empty => write!(f, "the disk has a size of 0 bytes; give a disk with room on it"),
            Self::NotSectors(size) => write!(
                f,
                "the size of {size} bytes is not a whole number of {SECTOR_SIZE}-byte sectors"
            ),
            Self::ChunkSize(chunk) => write!(
                f,
                "the chunk size of {chunk} bytes is not a power of two from {MIN_CHUNK_SIZE} to \
                 {MAX_CHUNK_SIZE}"
            ),
            Self::TooManyChunks { size, chunk_size } => write!(
                f,
                "chunks of {chunk_size} bytes are too small for a disk of {size} bytes; take at \
                 least {} bytes or leave the chunk size to the mirror",
                smallest_chunk_size(size, MAX_CHUNKS)
            ),
        }
    }
}

/// A disk of some size, divided into chunks.
///
/// # Invariants
///
/// The size is a positive multiple of [`SECTOR_SIZE`]; the chunk size is a power of two from
/// [`MIN_CHUNK_SIZE`] to [`MAX_CHUNK_SIZE`]; there are 1 to [`MAX_CHUNKS`] chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    size: u64,
    chunk_shift: u32,
}

impl Geometry {
    /// Divides a disk of `size` bytes into chunks of `chunk_size` bytes.
    ///
    /// # Errors
    ///
    /// A [`GeometryError`] that says which of the type's invariants would not hold.
    pub const fn new(size: u64, chunk_size: u32) -> Result<Self, GeometryError> {
        if size == 0 {
            return Err(GeometryError::Empty);
        }
        if !crate::units::is_sector_aligned(size) {
            return Err(GeometryError::NotSectors(size));
        }
        if !chunk_size.is_power_of_two() || chunk_size < MIN_CHUNK_SIZE || chunk_size > MAX_CHUNK_SIZE {
            return Err(GeometryError::ChunkSize(chunk_size));
        }
        let chunk_shift = chunk_size.trailing_zeros();
        let geometry = Self { size, chunk_shift };
        if geometry.chunks() > MAX_CHUNKS {
            return Err(GeometryError::TooManyChunks { size, chunk_size });
        }
        Ok(geometry)
    }

    /// Size of the disk in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Binary logarithm of the chunk size.
    #[must_use]
    pub const fn chunk_shift(&self) -> u32 {
        self.chunk_shift
    }

    /// Size of a chunk in bytes (the last one may be shorter).
    #[must_use]
    pub const fn chunk_size(&self) -> u32 {
        1u32.wrapping_shl(self.chunk_shift)
    }

    /// Number of chunks, at least 1.
    #[must_use]
    pub const fn chunks(&self) -> u64 {
        self.round_up(self.size)
    }

    /// Number of 64-bit words a map of this disk has.
    #[must_use]
    pub const fn words(&self) -> usize {
        crate::bitmap::words_for(self.chunks())
    }

    /// The chunks that the bytes from `offset` on touch, were it only with one byte. What lies
    /// beyond the end of the disk is left out.
    #[must_use]
    pub fn range(&self, offset: u64, len: u64) -> Range<u64> {
        let end = offset.saturating_add(len).min(self.size);
        if len == 0 || offset >= end {
            return 0..0;
        }
        self.round_down(offset)..self.round_up(end)
    }

    /// The chunks that lie wholly in the bytes from `offset` on. The last chunk of the disk counts
    /// as covered where all that exists of it is.
    #[must_use]
    pub fn inner_range(&self, offset: u64, len: u64) -> Range<u64> {
        let end = offset.saturating_add(len);
        let last = if end >= self.size {
            self.chunks()
        } else {
            self.round_down(end)
        };
        let first = self.round_up(offset);
        if len == 0 || first >= last {
            return 0..0;
        }
        first..last
    }

    /// Offset and length in bytes of a chunk; length 0 at the end of the disk for a chunk that
    /// does not exist.
    #[must_use]
    pub fn bytes_of(&self, chunk: u64) -> (u64, u64) {
        if chunk >= self.chunks() {
            return (self.size, 0);
        }
        let offset = chunk.wrapping_shl(self.chunk_shift);
        let rest = self.size.saturating_sub(offset);
        (offset, rest.min(u64::from(self.chunk_size())))
    }

    /// Offset and length in bytes of the chunks of a range, clamped to the disk.
    #[must_use]
    pub fn bytes_of_range(&self, chunks: Range<u64>) -> (u64, u64) {
        let (offset, _) = self.bytes_of(chunks.start);
        let end = if chunks.end >= self.chunks() {
            self.size
        } else {
            chunks.end.wrapping_shl(self.chunk_shift)
        };
        (offset, end.saturating_sub(offset))
    }

    const fn round_down(&self, bytes: u64) -> u64 {
        bytes.wrapping_shr(self.chunk_shift)
    }

    const fn round_up(&self, bytes: u64) -> u64 {
        let whole = self.round_down(bytes);
        let rest = bytes & (self.chunk_size() as u64).wrapping_sub(1);
        whole.saturating_add((rest != 0) as u64)
    }
}

/// The chunk size in bytes for a disk of `size` bytes whose operator did not choose one.
///
/// 64 KiB: small enough that a resync after a short loss of the link copies little that is the
/// same on both sides, large enough that a chunk is one efficient disk access. It doubles until
/// there are at most [`DEFAULT_MAX_CHUNKS`] chunks (disks above 2 TiB), so that a map, of which
/// there is one for each leg, never takes more than 4 MiB of kernel memory and is scanned in a
/// fraction of a second; 1 GiB is the end of it.
#[must_use]
pub const fn default_chunk_size(size: u64) -> u32 {
    let least = smallest_chunk_size(size, DEFAULT_MAX_CHUNKS);
    if least < DEFAULT_CHUNK_SIZE {
        DEFAULT_CHUNK_SIZE
    } else {
        least
    }
}

/// The smallest allowed chunk size with which a disk of `size` bytes has at most `most` chunks, or
/// the largest allowed one where none is large enough.
const fn smallest_chunk_size(size: u64, most: u64) -> u32 {
    let mut shift = MIN_CHUNK_SIZE.trailing_zeros();
    while shift < MAX_CHUNK_SIZE.trailing_zeros() && size.saturating_sub(1).wrapping_shr(shift) >= most {
        shift = shift.saturating_add(1);
    }
    1u32.wrapping_shl(shift)
}

// The default of an ordinary disk must be one that `Geometry::new` takes.
const _: () = assert!(Geometry::new(GIB, default_chunk_size(GIB)).is_ok());
const _: () = assert!(DEFAULT_CHUNK_SIZE as u64 == 64 * KIB);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_chunks_are_64_kib_up_to_2_tib_and_grow_beyond() {
        assert_eq!(default_chunk_size(512), 65536);
        assert_eq!(default_chunk_size(2 << 40), 65536);
        assert_eq!(default_chunk_size((2 << 40) + 512), 131072);
        assert_eq!(default_chunk_size(16 << 40), 524288);
        assert_eq!(default_chunk_size(u64::MAX), MAX_CHUNK_SIZE);
        assert_eq!(default_chunk_size(0), 65536);
    }

    #[test]
    fn sizes_and_chunk_sizes_outside_the_limits_are_refused() {
        assert_eq!(Geometry::new(0, 65536), Err(GeometryError::Empty));
        assert_eq!(Geometry::new(513, 65536), Err(GeometryError::NotSectors(513)));
        for chunk in [0, 1, 2048, 65535, 65537, 1 << 31] {
            assert_eq!(Geometry::new(512, chunk), Err(GeometryError::ChunkSize(chunk)));
        }
        assert!(Geometry::new(4 << 40, 4096).is_ok());
        assert!(matches!(
            Geometry::new((4 << 40) + 512, 4096),
            Err(GeometryError::TooManyChunks { .. })
        ));
        assert!(Geometry::new(512, MIN_CHUNK_SIZE).is_ok());
        assert!(Geometry::new(512, MAX_CHUNK_SIZE).is_ok());
    }

    #[test]
    fn the_last_chunk_may_be_short() {
        let geometry = Geometry::new(3 * 4096 + 512, 4096).unwrap();
        assert_eq!(geometry.chunks(), 4);
        assert_eq!(geometry.words(), 1);
        assert_eq!(geometry.bytes_of(0), (0, 4096));
        assert_eq!(geometry.bytes_of(3), (3 * 4096, 512));
        assert_eq!(geometry.bytes_of(4), (geometry.size(), 0));
        assert_eq!(geometry.bytes_of_range(1..9), (4096, 2 * 4096 + 512));
        assert_eq!(geometry.inner_range(3 * 4096, 512), 3..4);
        assert_eq!(geometry.inner_range(3 * 4096, 256), 0..0);
    }

    #[test]
    fn ranges_are_clamped_to_the_disk_and_never_overflow() {
        let geometry = Geometry::new(4 * 4096, 4096).unwrap();
        assert_eq!(geometry.range(4095, 2), 0..2);
        assert_eq!(geometry.range(4096, 4096), 1..2);
        assert_eq!(geometry.range(100, 0), 0..0);
        assert_eq!(geometry.range(0, u64::MAX), 0..4);
        assert_eq!(geometry.range(u64::MAX, u64::MAX), 0..0);
        assert_eq!(geometry.inner_range(1, 3 * 4096), 1..3);
        assert_eq!(geometry.inner_range(1, 4096), 0..0);
        assert_eq!(geometry.inner_range(0, u64::MAX), 0..4);
        assert_eq!(geometry.inner_range(u64::MAX, u64::MAX), 0..0);
    }
}
