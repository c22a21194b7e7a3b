// SPDX-License-Identifier: GPL-2.0
//! Room for new metadata.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{anyhow, Context as _, Result};
use netraid_core::chunk::{default_chunk_size, Geometry, DEFAULT_CHUNK_SIZE, DEFAULT_MAX_CHUNKS};
use netraid_core::meta::{Layout, Place};

/// Bytes that are written or looked at in one go.
const PIECE: usize = 1 << 20;

/// Room for metadata; unless it is [kept](Prepared::keep), what was made of it goes away again.
#[derive(Debug)]
#[must_use = "what was prepared goes away when this is dropped"]
pub struct Prepared {
    path: PathBuf,
    undo: Undo,
}

/// How a path gets back to what it was.
#[derive(Debug)]
enum Undo {
    /// Nothing was changed.
    Nothing,
    /// There was no file.
    Remove,
    /// There was a blank file of this length.
    Truncate(u64),
}

impl Prepared {
    /// The metadata is in use now, and stays.
    pub fn keep(mut self) {
        self.undo = Undo::Nothing;
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        // There is nobody to tell: another error is on its way to the user, and a file of zeroes does no harm.
        let _undone = match self.undo {
            Undo::Nothing => Ok(()),
            Undo::Remove => fs::remove_file(&self.path),
            Undo::Truncate(len) => OpenOptions::new()
                .write(true)
                .open(&self.path)
                .and_then(|file| file.set_len(len)),
        };
    }
}

/// Makes room for the metadata of a mirror on a disk of `disk_size` bytes.
///
/// A file is made with the length that the metadata needs, every byte of it written, on the disk when this returns: the
/// module must not run out of space later. A file that exists is taken if it is blank. A block device only has to be
/// large enough and to begin with zeroes. Without a `chunk_size` in bytes there is room for each that the mirror may
/// choose; with `no_bitmap` there is room for superblocks only.
///
/// # Errors
///
/// Says what is in the way; whatever was made is gone then.
pub fn prepare(path: &Path, disk_size: u64, chunk_size: Option<u32>, no_bitmap: bool) -> Result<Prepared> {
    let needed = needed(disk_size, chunk_size, no_bitmap)?;
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(path, needed),
        Err(error) => Err(error).with_context(|| format!("the bitmap {} cannot be examined", path.display())),
        Ok(found) if found.file_type().is_block_device() => check_device(path, needed),
        Ok(found) if found.is_file() => fill(path, found.len(), needed),
        Ok(_) => Err(anyhow!(
            "the bitmap cannot be at {}: it is neither a file nor a block device; choose another with --bitmap",
            path.display()
        )),
    }
}

/// Bytes of the metadata.
fn needed(disk_size: u64, chunk_size: Option<u32>, no_bitmap: bool) -> Result<u64> {
    let len = |geometry| -> Result<u64> {
        let layout = Layout::new(Place::Start, geometry).map_err(|error| anyhow!("{error}"))?;
        Ok(layout.len())
    };
    if no_bitmap {
        return len(None);
    }
    let with_chunks = |size, chunk_size| {
        let geometry = Geometry::new(size, chunk_size).map_err(|error| anyhow!("{error}"))?;
        len(Some(geometry))
    };
    // A disk is whole sectors anyway.
    let size = disk_size & !511;
    let Some(chunk_size) = chunk_size else {
        // A target learns the size of the mirror from the source. One that is smaller than the disk may have smaller
        // chunks, and more of them.
        let most = size.min(DEFAULT_MAX_CHUNKS.saturating_mul(u64::from(DEFAULT_CHUNK_SIZE)));
        return Ok(with_chunks(size, default_chunk_size(size))?.max(with_chunks(most, DEFAULT_CHUNK_SIZE)?));
    };
    with_chunks(size, chunk_size)
}

fn make(path: &Path, needed: u64) -> Result<Prepared> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let file = opened.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => anyhow!(
            "the directory of the bitmap {} does not exist; make it, or choose another place with --bitmap",
            path.display()
        ),
        _ => anyhow::Error::new(error).context(format!("the bitmap {} cannot be made", path.display())),
    })?;
    let prepared = Prepared {
        path: path.to_owned(),
        undo: Undo::Remove,
    };
    write_zeroes(&file, path, needed)?;
    // The entry in the directory has to outlive a crash, too.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))
        .and_then(|folder| folder.sync_all())
        .with_context(|| format!("the directory of the bitmap {} cannot be written", path.display()))?;
    Ok(prepared)
}

fn fill(path: &Path, len: u64, needed: u64) -> Result<Prepared> {
    let file = OpenOptions::new().read(true).write(true).open(path);
    let mut file = file.with_context(|| format!("the bitmap {} cannot be written", path.display()))?;
    if !is_blank(&mut file, len).with_context(|| format!("the bitmap {} cannot be read", path.display()))? {
        return Err(anyhow!(
            "the file {} exists and is not blank; remove it if it is not wanted, or choose another with --bitmap",
            path.display()
        ));
    }
    let prepared = Prepared {
        path: path.to_owned(),
        undo: Undo::Truncate(len),
    };
    file.rewind()
        .with_context(|| format!("the bitmap {} cannot be written", path.display()))?;
    // Also what is there already: it may be a hole.
    write_zeroes(&file, path, needed.max(len))?;
    Ok(prepared)
}

fn check_device(path: &Path, needed: u64) -> Result<Prepared> {
    let check = || -> io::Result<(u64, bool)> {
        let mut device = File::open(path)?;
        let size = device.seek(SeekFrom::End(0))?;
        device.rewind()?;
        let blank = is_blank(&mut device, superblocks_len().min(size))?;
        Ok((size, blank))
    };
    let (size, blank) = check().with_context(|| format!("the block device {} cannot be read", path.display()))?;
    if size < needed {
        return Err(anyhow!(
            "the block device {} has {size} bytes, and the bitmap of this mirror needs {needed}; choose a larger one \
             or a file with --bitmap",
            path.display()
        ));
    }
    if !blank {
        return Err(anyhow!(
            "the block device {path} holds something already; if it is not wanted, `blkdiscard --zeroout --length \
             {len} {path}` clears what is in the way, else choose another with --bitmap",
            path = path.display(),
            len = superblocks_len()
        ));
    }
    Ok(Prepared {
        path: path.to_owned(),
        undo: Undo::Nothing,
    })
}

/// Bytes that have to be blank for metadata to be made there.
const fn superblocks_len() -> u64 {
    2 * netraid_core::meta::BLOCK_LEN as u64
}

/// Whether the next `len` bytes are zeroes.
fn is_blank(file: &mut File, len: u64) -> io::Result<bool> {
    let mut buffer = vec![0; PIECE];
    let mut rest = file.take(len);
    loop {
        match rest.read(&mut buffer)? {
            0 => return Ok(true),
            read if buffer.iter().take(read).any(|&byte| byte != 0) => return Ok(false),
            _ => {}
        }
    }
}

/// Writes so many zeroes and waits until they are on the disk.
fn write_zeroes(file: &File, path: &Path, len: u64) -> Result<()> {
    let write = || -> io::Result<()> {
        let mut writer = io::BufWriter::with_capacity(PIECE, file);
        io::copy(&mut io::repeat(0).take(len), &mut writer)?;
        writer.flush()?;
        file.sync_all()
    };
    write().map_err(|error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => anyhow!(
            "there is no space for the {len} bytes of the bitmap {}; make room, or choose another place with --bitmap",
            path.display()
        ),
        _ => anyhow::Error::new(error).context(format!("the bitmap {} cannot be written", path.display())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIB: u64 = 1 << 40;

    /// The default chunk size of a mirror may be smaller than that of the larger disk it is on.
    #[test]
    fn there_is_room_for_every_mirror_that_fits_on_the_disk() {
        for disk_size in [512, 1 << 30, TIB + 512, 2 * TIB, 3 * TIB, 16 * TIB] {
            let room = needed(disk_size, None, false).unwrap();
            for size in [512, 1 << 20, TIB, 2 * TIB, 2 * TIB + 512, 3 * TIB, 4 * TIB, 16 * TIB] {
                if size <= disk_size {
                    let len = needed(size, Some(default_chunk_size(size)), false).unwrap();
                    assert!(len <= room, "{size} bytes of {disk_size}");
                }
            }
        }
        assert_eq!(needed(2 * TIB, None, false).unwrap(), 8192 + 16 * 1093 * 4096);
        assert_eq!(needed(3 * TIB, None, false).unwrap(), 8192 + 16 * 1093 * 4096);
        assert_eq!(needed(16 * TIB, None, true).unwrap(), 8192);
        assert!(needed(16 * TIB, Some(4096), false).is_err());
        assert!(needed(100, None, false).is_err());
    }
}
