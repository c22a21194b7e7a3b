// SPDX-License-Identifier: GPL-2.0

//! The disk netraid offers: a bio-based gendisk.

use super::{Bio, LowerDisk};
use crate::sys::bind;
use core::{ffi::c_void, fmt::Write as _, ptr::NonNull};
use kernel::{
    bindings,
    error::{from_err_ptr, to_result, Error},
    prelude::*,
    sync::Arc,
    types::ForeignOwnable,
};
use netraid_core::{name::FixedStr, units::SECTOR_SIZE};

/// What a disk does.
pub(crate) trait Operations: Send + Sync + Sized + 'static {
    /// A bio arrives. It may sleep, but only as long as other bios of this disk need to make progress.
    fn submit(&self, bio: Bio);

    /// Somebody opens the device.
    ///
    /// # Errors
    ///
    /// `ENXIO` when the disk is going away.
    fn open(&self) -> Result;

    /// Somebody closes the device.
    fn release(&self);
}

/// A disk that is visible to the system. Dropping it takes it away; its users get errors from then on.
///
/// # Invariants
///
/// `raw` was added; its private data is an `Arc<T>` in foreign form that `free` takes back.
pub(crate) struct Disk<T: Operations> {
    raw: NonNull<bindings::gendisk>,
    _operations: core::marker::PhantomData<Arc<T>>,
}

// SAFETY: A gendisk may be deleted by any thread.
unsafe impl<T: Operations> Send for Disk<T> {}
// SAFETY: The methods on shared references are made for several threads.
unsafe impl<T: Operations> Sync for Disk<T> {}

#[expect(
    improper_ctypes,
    reason = "a structure of the kernel with members that are empty in this configuration"
)]
extern "C" {
    static mut __this_module: bindings::module;
}

struct Table(bindings::block_device_operations);

// SAFETY: The table is never written.
unsafe impl Sync for Table {}

impl<T: Operations> Disk<T> {
    const TABLE: &'static Table = &Table(bindings::block_device_operations {
        submit_bio: Some(submit::<T>),
        open: Some(open::<T>),
        release: Some(release::<T>),
        free_disk: Some(free::<T>),
        owner: (&raw const __this_module).cast_mut(),
        // SAFETY: All other members are optional function pointers and pointers.
        ..unsafe { core::mem::zeroed() }
    });

    /// Makes `/dev/<name>` with the size `bytes` and the limits of `lower`; `max_bytes` is the most that one bio
    /// may carry. The partition table is read before this returns, so I/O has to work already. May sleep.
    pub(crate) fn new(name: &str, bytes: u64, max_bytes: u32, lower: &LowerDisk, operations: Arc<T>) -> Result<Self> {
        let mut limits = limits(lower, max_bytes);
        // SAFETY: `limits` is valid for the call.
        let raw = from_err_ptr(unsafe { bind::netraid_alloc_disk(&raw mut limits) })?;
        let raw = NonNull::new(raw).ok_or(ENOMEM)?;
        let disk = raw.as_ptr();
        let mut text = FixedStr::<31>::default();
        write!(text, "{name}").map_err(|_| EINVAL)?;
        // SAFETY: The disk is ours and not yet visible. `disk_name` has 32 bytes and was zeroed.
        unsafe {
            for (to, from) in (*disk).disk_name.iter_mut().zip(text.as_bytes()) {
                *to = *from;
            }
            (*disk).fops = &raw const Self::TABLE.0;
            (*disk).private_data = operations.into_foreign().cast();
            bindings::set_capacity(disk, bytes / SECTOR_SIZE);
        }
        // SAFETY: As above.
        let added = to_result(unsafe { bind::netraid_add_disk(disk) });
        if let Err(error) = added {
            // `free_disk` is not called for a disk that was never added.
            // SAFETY: The private data was set above and is taken back once.
            unsafe {
                let data = (*disk).private_data;
                bindings::put_disk(disk);
                drop(Arc::<T>::from_foreign(data.cast()));
            }
            return Err(error);
        }
        // INVARIANT: Added, with private data in place.
        Ok(Self {
            raw,
            _operations: core::marker::PhantomData,
        })
    }
}

impl<T: Operations> Drop for Disk<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant. After `del_gendisk` no bio arrives any more; those who still have the
        // device open keep the gendisk until they close it.
        unsafe {
            bindings::del_gendisk(self.raw.as_ptr());
            bindings::put_disk(self.raw.as_ptr());
        }
    }
}

/// Most sectors of a request without data: 64 MiB.
const LONG_SECTORS: u32 = 1 << 17;

/// The limits of the disk below, where they matter to those above, and what this driver adds to them.
fn limits(lower: &LowerDisk, max_bytes: u32) -> bindings::queue_limits {
    let mut limits: bindings::queue_limits = pin_init::zeroed();
    // SAFETY: `limits` is valid; the device is open.
    unsafe {
        bindings::blk_set_stacking_limits(&raw mut limits);
        bindings::queue_limits_stack_bdev(&raw mut limits, lower.bdev(), 0, c"netraid".as_char_ptr().cast_mut());
    }
    // One message carries one bio. Longer ones are split here rather than on the wire.
    limits.max_hw_sectors = limits.max_hw_sectors.min(max_bytes / SECTOR_SIZE as u32);
    limits.max_sectors = 0;
    // Pages are read twice, by the disk and by the network, and must not change in between. The target has a
    // write cache even if the local disk has none, so flushes have to come through.
    limits.features = (limits.features & bind::NETRAID_FEAT_ROTATIONAL)
        | bind::NETRAID_FEAT_WRITE_CACHE
        | bind::NETRAID_FEAT_FUA
        | bind::NETRAID_FEAT_STABLE_WRITES
        | bind::NETRAID_FEAT_IO_STAT;
    // A target that cannot discard writes zeroes instead; one such request should take it a second, not an hour.
    limits.max_hw_discard_sectors = limits.max_hw_discard_sectors.min(LONG_SECTORS);
    limits.max_write_zeroes_sectors = limits.max_write_zeroes_sectors.min(LONG_SECTORS);
    // Not carried over the wire: erasing for good, zone appends, unmapping zeroes as a promise.
    limits.max_secure_erase_sectors = 0;
    limits.max_hw_zone_append_sectors = 0;
    limits.max_hw_wzeroes_unmap_sectors = 0;
    limits.max_user_wzeroes_unmap_sectors = 0;
    limits
}

/// The operations behind a gendisk.
///
/// # Safety
///
/// `disk` was made by [`Disk::new`] with the same `T` and is not freed.
unsafe fn operations<'a, T: Operations>(disk: *mut bindings::gendisk) -> &'a T {
    // SAFETY: The private data is an `Arc<T>` that lives until `free`.
    let operations = unsafe { Arc::<T>::borrow((*disk).private_data.cast::<c_void>()) };
    let operations: *const T = &raw const *operations;
    // SAFETY: As above; the reference is used within one callback.
    unsafe { &*operations }
}

/// # Safety
///
/// Called by the block layer for a disk of [`Disk::new`] with the same `T`.
unsafe extern "C" fn submit<T: Operations>(bio: *mut bindings::bio) {
    // SAFETY: The block layer hands a valid bio of our disk over to us.
    let (disk, bio) = unsafe {
        let disk = (*(*bio).bi_bdev).bd_disk;
        (disk, Bio::from_raw(NonNull::new_unchecked(bio)))
    };
    let Some(bio) = bio.split_to_limits() else { return };
    // SAFETY: The disk is alive while a bio is being submitted to it.
    unsafe { operations::<T>(disk) }.submit(bio);
}

/// # Safety
///
/// As for [`submit`].
unsafe extern "C" fn open<T: Operations>(
    disk: *mut bindings::gendisk,
    _mode: bindings::blk_mode_t,
) -> kernel::ffi::c_int {
    // SAFETY: The disk is alive while it is being opened.
    unsafe { operations::<T>(disk) }
        .open()
        .map_or_else(Error::to_errno, |()| 0)
}

/// # Safety
///
/// As for [`submit`].
unsafe extern "C" fn release<T: Operations>(disk: *mut bindings::gendisk) {
    // SAFETY: The disk is alive while it is being closed.
    unsafe { operations::<T>(disk) }.release();
}

/// # Safety
///
/// Called by the block layer once, when nobody uses the disk any more.
unsafe extern "C" fn free<T: Operations>(disk: *mut bindings::gendisk) {
    // SAFETY: By the contract of this function and the type invariant of `Disk`.
    drop(unsafe { Arc::<T>::from_foreign((*disk).private_data.cast()) });
}
