// SPDX-License-Identifier: GPL-2.0

//! A disk or partition that netraid uses, claimed so that nobody else mounts or formats it.

use crate::sys::bind;
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
/// `file` is an open block device file that we own.
pub(crate) struct LowerDisk {
    file: NonNull<bindings::file>,
}

// SAFETY: Block device files may be used and closed by any thread.
unsafe impl Send for LowerDisk {}
// SAFETY: As above.
unsafe impl Sync for LowerDisk {}

/// Any address will do as long as it tells netraid from other holders; two mirrors on one disk are kept apart
/// by [`LowerDisk::device_number`] before this claim is tried.
static HOLDER: u8 = 0;

impl LowerDisk {
    /// Opens and claims the device at `path`; may sleep.
    ///
    /// # Errors
    ///
    /// `ENOENT` no such path, `ENOTBLK` not a block device, `EBUSY` mounted, swap, or claimed by another
    /// driver, `EACCES` or `EROFS` read-only, `ENXIO` no medium, and what opening a path can give.
    pub(crate) fn open(path: &CStr) -> Result<Self> {
        let mode = bind::netraid_block_const_NETRAID_MODE_READ
            | bind::netraid_block_const_NETRAID_MODE_WRITE;
        // SAFETY: `path` is a C string; no holder operations are given.
        let file = from_err_ptr(unsafe {
            bindings::bdev_file_open_by_path(
                path.as_char_ptr(),
                mode,
                (&raw const HOLDER).cast_mut().cast(),
                core::ptr::null(),
            )
        })?;
        // INVARIANT: Just opened.
        Ok(Self { file: NonNull::new(file).ok_or(ENXIO)? })
    }

    pub(super) fn bdev(&self) -> *mut bindings::block_device {
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

    /// The device's number, for telling whether two paths lead to one disk.
    pub(crate) fn device_number(&self) -> u32 {
        // SAFETY: The device is open.
        unsafe { bind::netraid_bdev_devt(self.bdev()) }
    }

    /// Discards `sectors` sectors from `sector` on; sleeps until it is done.
    pub(crate) fn discard(&self, sector: u64, sectors: u64) -> Result {
        let gfp = bind::netraid_block_const_NETRAID_GFP_NOIO;
        // SAFETY: The device is open.
        to_result(unsafe { bindings::blkdev_issue_discard(self.bdev(), sector, sectors, gfp) })
    }

    /// Makes `sectors` sectors from `sector` on zero, by the device or by writing zeroes; sleeps until it is done.
    pub(crate) fn zero_out(&self, sector: u64, sectors: u64, nounmap: bool) -> Result {
        let gfp = bind::netraid_block_const_NETRAID_GFP_NOIO;
        let flags = if nounmap { bindings::BLKDEV_ZERO_NOUNMAP } else { 0 };
        // SAFETY: The device is open.
        to_result(unsafe {
            bindings::blkdev_issue_zeroout(self.bdev(), sector, sectors, gfp, flags)
        })
    }

    /// Makes everything completed so far durable; sleeps until it is done.
    pub(crate) fn flush(&self) -> Result {
        // SAFETY: The device is open.
        to_result(unsafe { bindings::blkdev_issue_flush(self.bdev()) })
    }
}

impl Drop for LowerDisk {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; the file is not used any more.
        unsafe { bindings::bdev_fput(self.file.as_ptr()) };
    }
}
