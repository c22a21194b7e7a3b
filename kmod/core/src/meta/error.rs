// SPDX-License-Identifier: GPL-2.0

//! What can be wrong with metadata, and with the place for it.

use super::VERSION;
use core::fmt;

/// Why a block is not a superblock. Displayed, it is a sentence about the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaError {
    /// There are only zeroes.
    Blank,
    /// There is something else.
    NotMetadata,
    /// It is of this version, or of a known one with features that are not known.
    NewerVersion(u16),
    /// It was not written to its end, or changed since.
    Damaged,
    /// It was written as it is, but this field has a value that it cannot have.
    Inconsistent(&'static str),
}

impl MetaError {
    /// How much the error tells where two superblocks are both in error.
    pub(super) const fn weight(self) -> u8 {
        match self {
            Self::Blank => 0,
            Self::NotMetadata => 1,
            Self::Damaged => 2,
            Self::Inconsistent(_) => 3,
            Self::NewerVersion(_) => 4,
        }
    }
}

impl fmt::Display for MetaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Blank => f.write_str("there is no metadata of a mirror, only zeroes; make a mirror with it first"),
            Self::NotMetadata => {
                f.write_str("what is there is not metadata of a mirror; check that it is the right file or device")
            }
            Self::NewerVersion(version) => write!(
                f,
                "the metadata was written by a newer version of netraid (its format is {version}, this one knows {VERSION}); \
                 use that one"
            ),
            Self::Damaged => f.write_str(
                "both copies of the metadata are damaged; make the mirror anew with other metadata and copy everything",
            ),
            Self::Inconsistent(field) => write!(
                f,
                "the metadata has an impossible value ({field}); make the mirror anew with other metadata and copy \
                 everything"
            ),
        }
    }
}

/// Why metadata does not fit its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// The disk is too small for superblocks at its end.
    DiskTooSmall {
        /// Size of the disk in bytes.
        disk_size: u64,
    },
    /// At the end of the disk, the metadata would lie over the mirror.
    Overlap {
        /// Size of the disk in bytes.
        disk_size: u64,
        /// Size of the mirror in bytes.
        size: u64,
        /// Bytes of the metadata.
        metadata: u64,
    },
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::DiskTooSmall { disk_size } => write!(
                f,
                "the disk of {disk_size} bytes is too small for metadata at its end; take a larger one"
            ),
            Self::Overlap {
                disk_size,
                size,
                metadata,
            } => write!(
                f,
                "the disk of {disk_size} bytes has no room for {metadata} bytes of metadata behind a mirror of \
                 {size} bytes; take a larger disk, or metadata in a file"
            ),
        }
    }
}
