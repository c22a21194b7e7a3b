// SPDX-License-Identifier: GPL-2.0

//! A disk or partition that netraid uses, claimed so that nobody else mounts or formats it.

use crate::sys::{
    bind,
    errno::ENODATA,
    file::{Block, Durable, BLOCK_SIZE},
    misc::NoIo,
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    error::{from_err_ptr, to_result},
    prelude::*,
    str::CStr,
};

/// An open block device, claimed exclusively until it is dropped.
///
/// # Invariants
///
/// `file` is an open block device file that we own, claimed in the name of `holder`.
pub(crate) struct LowerDisk {
    file: NonNull<bindings::file>,
    /// Its address tells this claim from all others.
    _holder: KBox<u8>,
}

// SAFETY: Block device files may be used and closed by any thread.
unsafe impl Send for LowerDisk {}
// SAFETY: As above.
unsafe impl Sync for LowerDisk {}

impl LowerDisk {
    /// Opens and claims the device at `path`; may sleep.
    ///
    /// # Errors
    ///
    /// `ENOENT` no such path, `ENOTBLK` not a block device, `EBUSY` mounted, swap, or claimed by another
    /// driver, `EACCES` or `EROFS` read-only, `ENXIO` no medium, and what opening a path can give.
    pub(crate) fn open(path: &CStr) -> Result<Self> {
        let mode = bind::NETRAID_MODE_READ | bind::NETRAID_MODE_WRITE;
        let mut holder = KBox::new(0_u8, GFP_KERNEL)?;
        let claim: *mut u8 = &raw mut *holder;
        // SAFETY: `path` is a C string; no holder operations are given, the holder's address outlives the claim.
        let file = from_err_ptr(unsafe {
            bindings::bdev_file_open_by_path(path.as_char_ptr(), mode, claim.cast(), core::ptr::null())
        })?;
        // INVARIANT: Just opened.
        Ok(Self {
            file: NonNull::new(file).ok_or(ENXIO)?,
            _holder: holder,
        })
    }

    /// The number of the device at `path`, see [`LowerDisk::device_number`]; may sleep.
    pub(crate) fn number_at(path: &CStr) -> Result<u32> {
        let mut number = 0;
        // SAFETY: Both pointers are valid for the call.
        to_result(unsafe { bindings::lookup_bdev(path.as_char_ptr(), &raw mut number) })?;
        Ok(number)
    }

    pub(in crate::sys) fn bdev(&self) -> *mut bindings::block_device {
        // SAFETY: By the type invariant.
        unsafe { bindings::file_bdev(self.file.as_ptr()) }
    }

    /// Size in bytes.
    pub(crate) fn size(&self) -> u64 {
        // SAFETY: The device is open.
        unsafe { bind::netraid_bdev_bytes(self.bdev()) }
    }

    /// Smallest unit of I/O in bytes.
    pub(crate) fn logical_block_size(&self) -> u32 {
        // SAFETY: The device is open.
        unsafe { bind::netraid_bdev_logical_block(self.bdev()) }
    }

    /// Whether it has zones that must be written in order.
    pub(crate) fn is_zoned(&self) -> bool {
        // SAFETY: The device is open.
        unsafe { bind::netraid_bdev_zoned(self.bdev()) }
    }

    /// Whether it is write-protected.
    pub(crate) fn is_read_only(&self) -> bool {
        // SAFETY: The device is open.
        unsafe { bind::netraid_bdev_read_only(self.bdev()) }
    }

    /// Whether it takes discards.
    pub(crate) fn can_discard(&self) -> bool {
        // SAFETY: The device is open.
        unsafe { bind::netraid_bdev_can_discard(self.bdev()) }
    }

    /// Whether it has a cache that loses what is in it with its power, as far as the kernel knows now. Any context.
    pub(crate) fn is_cached(&self) -> bool {
        // SAFETY: The device is open.
        unsafe { bind::netraid_bdev_cached(self.bdev()) }
    }

    /// Whether it is a disk of this module, or a partition of one.
    pub(crate) fn is_own(&self) -> bool {
        // SAFETY: The device is open.
        unsafe { bind::netraid_bdev_own(self.bdev()) }
    }

    /// The device's number, for telling whether two paths lead to one disk.
    pub(crate) fn device_number(&self) -> u32 {
        // SAFETY: The device is open.
        unsafe { bind::netraid_bdev_devt(self.bdev()) }
    }

    /// Discards `sectors` sectors from `sector` on; sleeps until it is done.
    pub(crate) fn discard(&self, sector: u64, sectors: u64) -> Result {
        let gfp = bind::NETRAID_GFP_NOIO;
        // SAFETY: The device is open.
        to_result(unsafe { bindings::blkdev_issue_discard(self.bdev(), sector, sectors, gfp) })
    }

    /// Makes `sectors` sectors from `sector` on zero, by the device or by writing zeroes; sleeps until it is done.
    pub(crate) fn zero_out(&self, sector: u64, sectors: u64, nounmap: bool) -> Result {
        let gfp = bind::NETRAID_GFP_NOIO;
        let flags = if nounmap { bindings::BLKDEV_ZERO_NOUNMAP } else { 0 };
        // SAFETY: The device is open.
        to_result(unsafe { bindings::blkdev_issue_zeroout(self.bdev(), sector, sectors, gfp, flags) })
    }

    /// Makes everything completed so far durable; sleeps until it is done.
    pub(crate) fn flush(&self) -> Result {
        // SAFETY: The device is open.
        to_result(unsafe { bindings::blkdev_issue_flush(self.bdev()) })
    }

    /// Reads a block at `offset`, a multiple of its size; sleeps until it is done, see [`crate::sys::file`]. The page
    /// cache of the device is not looked at.
    ///
    /// # Errors
    ///
    /// `ENODATA` beyond the end, else those of the device.
    pub(crate) fn read_block(&self, offset: u64, block: &mut Block) -> Result {
        if !self.has_block(offset) {
            return Err(ENODATA.into());
        }
        let opf = bindings::req_op_REQ_OP_READ | bind::NETRAID_REQ_SYNC | bind::NETRAID_REQ_META;
        // SAFETY: The block is borrowed for this alone.
        unsafe { self.transfer(offset, block, opf) }
    }

    /// Writes a block at `offset`, a multiple of its size; sleeps until it is done, see [`crate::sys::file`]. The page
    /// cache of the device is not updated.
    ///
    /// # Errors
    ///
    /// `ENOSPC` beyond the end, else those of the device.
    pub(crate) fn write_block(&self, offset: u64, block: &Block, durable: Durable) -> Result {
        if !self.has_block(offset) {
            return Err(ENOSPC);
        }
        let flags = bind::NETRAID_REQ_SYNC | bind::NETRAID_REQ_IDLE | bind::NETRAID_REQ_META;
        let fua = if durable == Durable::Now {
            bind::NETRAID_REQ_FUA
        } else {
            0
        };
        // SAFETY: The block is only read from.
        unsafe { self.transfer(offset, block, bindings::req_op_REQ_OP_WRITE | flags | fua) }
    }

    fn has_block(&self, offset: u64) -> bool {
        offset
            .checked_add(BLOCK_SIZE as u64)
            .is_some_and(|end| end <= self.size())
    }

    /// # Safety
    ///
    /// The operation may use the block as it does.
    unsafe fn transfer(&self, offset: u64, block: &Block, opf: u32) -> Result {
        let _scope = NoIo::enter();
        // SAFETY: The device is open; the block is in a page of its own, and the call waits for the end of the I/O.
        to_result(unsafe { bind::netraid_bdev_rw(self.bdev(), offset, block.as_ptr(), BLOCK_SIZE as u32, opf) })
    }
}

impl Drop for LowerDisk {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; the file is not used any more.
        unsafe { bindings::bdev_fput(self.file.as_ptr()) };
    }
}
