// SPDX-License-Identifier: GPL-2.0
//! Metadata that exists.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use netraid_core::bitmap::Bitmap;
use netraid_core::chunk::Geometry;
use netraid_core::meta::{
    choose, decode_map_block, encode_map_block, Layout, MetaError, MetaFlags, Place, Superblock, BLOCK_LEN,
    BLOCK_WORDS, SECTOR_WORDS,
};
use rustix::fs::{fadvise, flock, Advice, FlockOperation, OFlags};

use super::AccessError;

/// Bytes of the two superblocks.
const SUPERBLOCKS_LEN: u64 = 2 * BLOCK_LEN as u64;

/// What metadata is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To look at it.
    Read,
    /// To change it; nobody else may have claimed it.
    Write,
}

/// A map as it was read.
#[derive(Debug)]
pub struct Map {
    /// The bits, one for each chunk.
    pub bits: Bitmap<Vec<u64>>,
    /// Sectors that have chunks.
    pub sectors: u64,
    /// Those of them that are damaged, and whose chunks are therefore all set.
    pub damaged_sectors: u64,
}

/// Metadata in a file, on a block device, or at the end of one.
#[derive(Debug)]
pub struct MetaFile {
    file: File,
    path: PathBuf,
    layout: Layout,
    superblock: Superblock,
    current: usize,
    other: Option<MetaError>,
}

impl MetaFile {
    /// Opens metadata and reads its superblocks; `internal` says that it is at the end.
    ///
    /// # Errors
    ///
    /// Says why there is no metadata that can be used.
    pub fn open(path: &Path, internal: bool, access: Access) -> Result<Self, AccessError> {
        let (file, len) = open(path, access)?;
        let place = if internal {
            Place::End { disk_size: len }
        } else {
            Place::Start
        };
        if len == 0 {
            return Err(AccessError::Empty);
        }
        if len < SUPERBLOCKS_LEN {
            return Err(AccessError::TooShort { len });
        }
        let [first, second] = superblocks(&file, place)?;
        let (current, superblock) = match choose(&first, &second) {
            Ok((current, superblock)) => (current, superblock.clone()),
            Err(error) => return Err(no_metadata(&file, internal, len, error)),
        };
        let other = if current == 0 { second.err() } else { first.err() };
        let layout = Layout::new(place, geometry_of(&superblock))?;
        if !internal && len < layout.len() {
            return Err(AccessError::Truncated {
                len,
                needed: layout.len(),
            });
        }
        Ok(Self {
            file,
            path: path.to_owned(),
            layout,
            superblock,
            current,
            other,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is remembered of the mirror.
    #[must_use]
    pub const fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// Which of the two superblocks that is, 0 or 1.
    #[must_use]
    pub const fn current(&self) -> usize {
        self.current
    }

    /// What is wrong with the other superblock, if something is.
    #[must_use]
    pub const fn other(&self) -> Option<MetaError> {
        self.other
    }

    /// Size and chunks of the mirror where there are maps, else `None`.
    #[must_use]
    pub fn geometry(&self) -> Option<Geometry> {
        geometry_of(&self.superblock)
    }

    /// Reads a map; `None` where there are none.
    ///
    /// # Errors
    ///
    /// What the system said.
    pub fn read_map(&self, map: usize) -> Result<Option<Map>, AccessError> {
        let Some(geometry) = self.geometry() else {
            return Ok(None);
        };
        let (mut bytes, mut block_words) = ([0; BLOCK_LEN], [0; BLOCK_WORDS]);
        let mut words = Vec::with_capacity(geometry.words());
        let (mut sectors, mut damaged_sectors) = (0, 0);
        for block in 0..self.layout.blocks_per_map() {
            self.read_at(&mut bytes, self.layout.map_block_offset(map, block))?;
            let damaged = decode_map_block(&bytes, self.superblock.set, number(map), block, &mut block_words);
            let wanted = (geometry.words() - words.len()).min(BLOCK_WORDS);
            // What is wrong with a sector that has no chunks does not matter.
            let used = wanted.div_ceil(SECTOR_WORDS);
            sectors += used as u64;
            damaged_sectors += (0..used).filter(|sector| damaged >> sector & 1 == 1).count() as u64;
            words.extend(block_words.iter().take(wanted));
        }
        let bits = Bitmap::new(words, geometry.chunks());
        Ok(bits.map(|bits| Map {
            bits,
            sectors,
            damaged_sectors,
        }))
    }

    /// Writes a map, damaged sectors included; waits until it is on the disk.
    ///
    /// # Errors
    ///
    /// What the system said.
    pub fn write_map(&self, map: usize, bits: &Bitmap<Vec<u64>>) -> Result<(), AccessError> {
        let (mut bytes, mut words) = ([0; BLOCK_LEN], [0; BLOCK_WORDS]);
        let mut next = (0..).map(|index| bits.word(index));
        for block in 0..self.layout.blocks_per_map() {
            words.fill_with(|| next.next().unwrap_or_default());
            encode_map_block(&mut bytes, self.superblock.set, number(map), block, &words);
            self.write_at(&bytes, self.layout.map_block_offset(map, block))?;
        }
        self.sync()
    }

    /// Writes a changed superblock over the older one; waits until it is on the disk.
    ///
    /// # Errors
    ///
    /// What the system said; the metadata is then as it was.
    pub fn write_superblock(&mut self, change: impl FnOnce(&mut Superblock)) -> Result<(), AccessError> {
        let mut changed = self.superblock.clone();
        change(&mut changed);
        changed.sequence = self.superblock.sequence.wrapping_add(1);
        let mut bytes = [0; BLOCK_LEN];
        changed.encode(&mut bytes);
        let place = self.current ^ 1;
        self.write_at(&bytes, self.layout.superblock_offset(place))?;
        self.sync()?;
        self.superblock = changed;
        self.current = place;
        self.other = None;
        Ok(())
    }

    fn read_at(&self, bytes: &mut [u8; BLOCK_LEN], offset: u64) -> Result<(), AccessError> {
        read_at(&self.file, bytes, offset)
    }

    fn write_at(&self, bytes: &[u8; BLOCK_LEN], offset: u64) -> Result<(), AccessError> {
        self.file
            .write_all_at(bytes, offset)
            .map_err(|error| match error.kind() {
                // A device that is set read-only may be opened for writing all the same.
                io::ErrorKind::PermissionDenied => AccessError::NotWritable,
                _ => AccessError::system("writing it")(error),
            })
    }

    fn sync(&self) -> Result<(), AccessError> {
        self.file
            .sync_all()
            .map_err(AccessError::system("writing it to the disk"))
    }
}

/// The geometry of the maps, `None` where there are no maps.
fn geometry_of(superblock: &Superblock) -> Option<Geometry> {
    let maps = !superblock.flags.contains(MetaFlags::NO_BITMAP);
    superblock.geometry().filter(|_| maps)
}

/// The number of a map as its sectors have it.
fn number(map: usize) -> u16 {
    u16::try_from(map).unwrap_or(u16::MAX)
}

/// The file and its length in bytes.
fn open(path: &Path, access: Access) -> Result<(File, u64), AccessError> {
    let found = std::fs::metadata(path).map_err(AccessError::system("looking at it"))?;
    let kind = found.file_type();
    let is_device = kind.is_block_device();
    if !is_device && !found.is_file() {
        return Err(AccessError::Kind(if kind.is_dir() {
            "a directory"
        } else {
            "a special file"
        }));
    }
    let write = access == Access::Write;
    let mut options = OpenOptions::new();
    options.read(true).write(write);
    if write && is_device {
        // Refused where the device is mounted or a driver has it.
        options.custom_flags(i32::try_from(OFlags::EXCL.bits()).unwrap_or_default());
    }
    let mut file = options.open(path).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied if write && File::open(path).is_ok() => AccessError::NotWritable,
        _ => AccessError::system("opening it")(error),
    })?;
    if write {
        flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => AccessError::Locked,
            _ => AccessError::system("locking it")(error.into()),
        })?;
    }
    if is_device {
        // The module writes past the page cache, so that what was read before may be old. Best effort.
        let _advised = fadvise(file.as_fd(), 0, None, Advice::DontNeed);
    }
    let len = file
        .seek(SeekFrom::End(0))
        .map_err(AccessError::system("measuring it"))?;
    Ok((file, len))
}

fn read_at(file: &File, bytes: &mut [u8; BLOCK_LEN], offset: u64) -> Result<(), AccessError> {
    file.read_exact_at(bytes, offset)
        .map_err(AccessError::system("reading it"))
}

/// Both superblocks, as they are.
fn superblocks(file: &File, place: Place) -> Result<[Result<Superblock, MetaError>; 2], AccessError> {
    let layout = Layout::superblocks_only(place)?;
    let mut bytes = [0; BLOCK_LEN];
    let mut read = |which| {
        read_at(file, &mut bytes, layout.superblock_offset(which))?;
        Ok::<_, AccessError>(Superblock::decode(&bytes))
    };
    Ok([read(0)?, read(1)?])
}

/// The error where no superblock can be used; looks whether there is one where nobody looked.
fn no_metadata(file: &File, internal: bool, len: u64, error: MetaError) -> AccessError {
    let foreign = matches!(error, MetaError::Blank | MetaError::NotMetadata);
    if foreign && !internal {
        if let Ok([first, second]) = superblocks(file, Place::End { disk_size: len }) {
            if first.is_ok() || second.is_ok() {
                return AccessError::AtEnd;
            }
        }
    }
    AccessError::Format(error)
}
