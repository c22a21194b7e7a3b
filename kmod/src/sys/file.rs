// SPDX-License-Identifier: GPL-2.0

//! A file, or a block device of its own, used in blocks of 4096 bytes around the page cache.
//!
//! All I/O here waits for its end, so it belongs into threads and the handlers of requests. It must not be done while
//! a bio is being handed to a disk of ours ([`Operations::submit`](super::block::Operations::submit)): what a driver
//! submits there is only sent on its way when it returns. And what is written with it must not be on such a disk
//! ([`MetaFile::is_on_own_disk`]), which may be waiting for it.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h), [`include/linux/uio.h`](srctree/include/linux/uio.h)

use super::{bind, block::LowerDisk, errno::ENODATA, misc::NoIo};
use core::{
    ffi::c_void,
    ops::{Deref, DerefMut},
    ptr::NonNull,
};
use kernel::{
    bindings,
    error::{from_err_ptr, to_result},
    prelude::*,
    str::{CStr, CString},
};

/// Bytes of a block.
pub(crate) const BLOCK_SIZE: usize = bind::NETRAID_BLOCK_SIZE as usize;

/// Memory for a block, in a page of its own, from and to which devices can transfer.
///
/// # Invariants
///
/// The pointer is a page that we own.
pub(crate) struct Block(NonNull<[u8; BLOCK_SIZE]>);

// SAFETY: The page is ours alone.
unsafe impl Send for Block {}
// SAFETY: The methods on shared references only read.
unsafe impl Sync for Block {}

impl Block {
    /// A block of zeroes; may sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: No preconditions.
        let page = NonNull::new(unsafe { bind::netraid_block_alloc() }).ok_or(ENOMEM)?;
        // INVARIANT: Just allocated, and a page has room for a block.
        Ok(Self(page.cast()))
    }

    /// Where the bytes are; valid as long as the block.
    pub(super) fn as_ptr(&self) -> *mut c_void {
        self.0.as_ptr().cast()
    }
}

impl Deref for Block {
    type Target = [u8; BLOCK_SIZE];

    fn deref(&self) -> &Self::Target {
        // SAFETY: By the type invariant; the page was zeroed, so all of it has a value.
        unsafe { self.0.as_ref() }
    }
}

impl DerefMut for Block {
    fn deref_mut(&mut self) -> &mut Self::Target {
        // SAFETY: As above.
        unsafe { self.0.as_mut() }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; the page is not used any more.
        unsafe { bind::netraid_block_free(self.as_ptr()) };
    }
}

/// When what is written has to be on stable storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durable {
    /// Before the call returns.
    Now,
    /// Before the next `sync` returns.
    AtSync,
}

/// Tells one open file or device from all others that are open.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity(usize);

/// An open regular file.
///
/// # Invariants
///
/// The pointer is a file of ours, open for reading and writing with direct I/O.
struct Regular(NonNull<bindings::file>);

impl Regular {
    fn open(path: &CStr) -> Result<Self> {
        let mode = bind::NETRAID_FILE_MODE as i32;
        // SAFETY: `path` is a C string.
        let file = from_err_ptr(unsafe { bindings::filp_open(path.as_char_ptr(), mode, 0) })?;
        // INVARIANT: Just opened.
        NonNull::new(file).map(Self).ok_or(ENXIO)
    }

    /// The inode that holds the data; valid as long as the file.
    fn inode(&self) -> *mut bindings::inode {
        // SAFETY: By the type invariant.
        unsafe { bind::netraid_file_inode(self.0.as_ptr()) }
    }

    fn is_on_own_disk(&self) -> bool {
        // SAFETY: The inode is that of an open file.
        let bdev = unsafe { bind::netraid_inode_bdev(self.inode()) };
        // SAFETY: The device of a mounted file system, and the file keeps it mounted.
        !bdev.is_null() && unsafe { bind::netraid_bdev_own(bdev) }
    }

    /// Bytes, as of now.
    fn len(&self) -> u64 {
        // SAFETY: The inode is that of an open file.
        unsafe { bind::netraid_inode_bytes(self.inode()) }
    }

    fn read(&self, offset: u64, block: &mut Block) -> Result {
        let there = self.len().saturating_sub(offset).min(BLOCK_SIZE as u64) as usize;
        if there == 0 {
            return Err(ENODATA.into());
        }
        // SAFETY: The block is borrowed for this alone; the file is open.
        unsafe {
            self.transfer(offset, block, there, |file, at, data, len| {
                bind::netraid_file_read(file, at, data, len)
            })
        }?;
        block.iter_mut().skip(there).for_each(|byte| *byte = 0);
        Ok(())
    }

    fn write(&self, offset: u64, block: &Block, durable: Durable) -> Result {
        let now = durable == Durable::Now;
        // SAFETY: The block is only read from; the file is open.
        unsafe {
            self.transfer(offset, block, BLOCK_SIZE, |file, at, data, len| {
                bind::netraid_file_write(file, at, data, len, now)
            })
        }
    }

    /// Transfers at least `least` bytes of a block with as many calls as it takes, one as a rule.
    ///
    /// # Safety
    ///
    /// `part` may use the block as it does. It gets the open file, a place in it, and memory of the block with its
    /// length.
    unsafe fn transfer(
        &self,
        offset: u64,
        block: &Block,
        least: usize,
        part: impl Fn(*mut bindings::file, u64, *mut c_void, u32) -> isize,
    ) -> Result {
        let _scope = NoIo::enter();
        let mut done = 0_usize;
        while done < least {
            let data = block.as_ptr().cast::<u8>().wrapping_add(done);
            let left = BLOCK_SIZE.saturating_sub(done) as u32;
            match part(self.0.as_ptr(), offset.saturating_add(done as u64), data.cast(), left) {
                // Reading, that is the end of the file, which was further on just now; a write gets somewhere or fails.
                0 => return Err(ENODATA.into()),
                bytes @ 1.. => done = done.saturating_add(bytes as usize),
                errno => return Err(Error::from_errno(errno as i32)),
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result {
        let _scope = NoIo::enter();
        // SAFETY: By the type invariant.
        to_result(unsafe { bindings::vfs_fsync(self.0.as_ptr(), 1) })
    }
}

impl Drop for Regular {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; the file is not used any more.
        unsafe { bindings::fput(self.0.as_ptr()) };
    }
}

enum Kind {
    File(Regular),
    Device(LowerDisk),
}

/// A regular file or a block device, open for reading and writing in whole blocks. A device is claimed, so that nobody
/// else mounts or formats it; of a file, that is left to the operator, apart from [`MetaFile::identity`].
pub(crate) struct MetaFile {
    kind: Kind,
    path: CString,
}

// SAFETY: Files may be used and closed by any thread.
unsafe impl Send for MetaFile {}
// SAFETY: As above; positions in the file are given with each call.
unsafe impl Sync for MetaFile {}

impl MetaFile {
    /// Opens what is at `path`, with the rights and in the file name space of the caller. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOENT` no such path, `EBADF` neither a regular file nor a block device, `EROFS`, `EACCES` or `EPERM`
    /// read-only, `EINVAL` a file system without direct I/O, `EBUSY` a device that is in use, and what opening a path
    /// can give.
    pub(crate) fn open(path: &CStr) -> Result<Self> {
        // SAFETY: `path` is a C string.
        let kind = match unsafe { bind::netraid_path_type(path.as_char_ptr()) } {
            errno @ ..0 => return Err(Error::from_errno(errno)),
            kind if kind == bind::NETRAID_TYPE_FILE as i32 => Kind::File(Regular::open(path)?),
            kind if kind == bind::NETRAID_TYPE_BLOCK as i32 => Kind::Device(LowerDisk::open(path)?),
            _ => return Err(EBADF),
        };
        Ok(Self {
            kind,
            path: CString::try_from_fmt(fmt!("{}", path))?,
        })
    }

    /// Where it was found.
    pub(crate) fn path(&self) -> &CStr {
        &self.path
    }

    /// Size in bytes, for a file that of now.
    pub(crate) fn len(&self) -> u64 {
        match &self.kind {
            Kind::File(file) => file.len(),
            Kind::Device(device) => device.size(),
        }
    }

    /// Whether it is a device, which has the size it has.
    pub(crate) fn is_block_device(&self) -> bool {
        matches!(self.kind, Kind::Device(_))
    }

    /// The device, if it is one.
    pub(crate) fn device(&self) -> Option<&LowerDisk> {
        match &self.kind {
            Kind::File(_) => None,
            Kind::Device(device) => Some(device),
        }
    }

    /// Tells it from everything else that is open, whatever the paths.
    pub(crate) fn identity(&self) -> Identity {
        Identity(match &self.kind {
            Kind::File(file) => file.inode().addr(),
            Kind::Device(device) => device.bdev().addr(),
        })
    }

    /// Whether it is on a disk of this module, or is one, or a partition of one. Another device or file in between
    /// (a logical volume, a loop device) is not seen through, nor a file system that can have several devices (btrfs).
    pub(crate) fn is_on_own_disk(&self) -> bool {
        match &self.kind {
            Kind::File(file) => file.is_on_own_disk(),
            Kind::Device(device) => device.is_own(),
        }
    }

    /// Whether it is a device that is write-protected; a file that is cannot be opened.
    pub(crate) fn is_read_only(&self) -> bool {
        self.device().is_some_and(LowerDisk::is_read_only)
    }

    /// Reads the block at `offset`, a multiple of [`BLOCK_SIZE`]. Where the file ends in it, zeroes follow. May sleep.
    ///
    /// # Errors
    ///
    /// `ENODATA` at the end and beyond, `EIO` and others when it can't be read; the block has no certain content then.
    pub(crate) fn read_block(&self, offset: u64, block: &mut Block) -> Result {
        match &self.kind {
            Kind::File(file) => file.read(offset, block),
            Kind::Device(device) => device.read_block(offset, block),
        }
    }

    /// Writes the block at `offset`, a multiple of [`BLOCK_SIZE`]; a file grows for it. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOSPC` no room on the file system, or beyond the end of the device; `EINTR` the calling task is being killed;
    /// `EIO` and others when it can't be written. What is there then is not known.
    pub(crate) fn write_block(&self, offset: u64, block: &Block, durable: Durable) -> Result {
        match &self.kind {
            Kind::File(file) => file.write(offset, block, durable),
            Kind::Device(device) => device.write_block(offset, block, durable),
        }
    }

    /// Makes everything written so far durable. May sleep.
    ///
    /// # Errors
    ///
    /// `EIO` and others when it can't be.
    pub(crate) fn sync(&self) -> Result {
        match &self.kind {
            Kind::File(file) => file.sync(),
            Kind::Device(device) => device.flush(),
        }
    }
}
