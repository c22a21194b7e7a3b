// SPDX-License-Identifier: GPL-2.0

//! A bio that was handed to us and that we have to end.

use super::bioset::result_of;
use crate::sys::{bind, lend::Lend};
use core::{mem::ManuallyDrop, ptr::NonNull};
use kernel::{bindings, prelude::*};
use netraid_core::{units::SECTOR_SIZE, xxh64::half};

/// How an I/O ended.
pub(crate) type IoResult = core::result::Result<(), Error>;

/// What a bio asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Data from the disk.
    Read,
    /// Data to the disk, possibly with a flush before it; with no data, a flush alone.
    Write,
    /// The content of the range is not needed any more.
    Discard,
    /// The range becomes zeroes.
    WriteZeroes,
    /// Something this driver did not offer.
    Other,
}

/// A bio the block layer gave to us. Dropping it ends it with an I/O error, so that none is ever lost.
///
/// # Invariants
///
/// The pointer is a valid bio that belongs to us until it is ended.
pub(crate) struct Bio(NonNull<bindings::bio>);

// SAFETY: A bio has no ties to the thread that submitted it.
unsafe impl Send for Bio {}
// SAFETY: The methods on shared references only read.
unsafe impl Sync for Bio {}
// SAFETY: A bio is a pointer to what does not move, and no two of them are at one address.
unsafe impl Lend for Bio {
    fn identity(&self) -> *const () {
        self.as_ptr().cast_const().cast()
    }
}

impl Bio {
    /// # Safety
    ///
    /// `bio` was handed over by the block layer and is not used by anybody else.
    pub(super) unsafe fn from_raw(bio: NonNull<bindings::bio>) -> Self {
        // INVARIANT: By the contract of this function.
        Self(bio)
    }

    pub(in crate::sys) fn as_ptr(&self) -> *mut bindings::bio {
        self.0.as_ptr()
    }

    fn into_raw(self) -> *mut bindings::bio {
        ManuallyDrop::new(self).0.as_ptr()
    }

    fn flags(&self) -> u32 {
        // SAFETY: By the type invariant.
        unsafe { (*self.as_ptr()).bi_opf }
    }

    pub(crate) fn op(&self) -> Op {
        match self.flags() & bind::NETRAID_OP_MASK {
            bindings::req_op_REQ_OP_READ => Op::Read,
            bindings::req_op_REQ_OP_WRITE | bindings::req_op_REQ_OP_FLUSH => Op::Write,
            bindings::req_op_REQ_OP_DISCARD => Op::Discard,
            bindings::req_op_REQ_OP_WRITE_ZEROES => Op::WriteZeroes,
            _ => Op::Other,
        }
    }

    /// The data must be durable before the bio ends.
    pub(crate) fn is_fua(&self) -> bool {
        self.flags() & bind::NETRAID_REQ_FUA != 0
    }

    /// What completed before must be durable before this bio is done.
    pub(crate) fn is_preflush(&self) -> bool {
        self.flags() & bind::NETRAID_REQ_PREFLUSH != 0
    }

    /// Zeroes must be written, not left to an unmapped range.
    pub(crate) fn is_nounmap(&self) -> bool {
        self.flags() & bind::NETRAID_REQ_NOUNMAP != 0
    }

    /// First byte.
    pub(crate) fn offset(&self) -> u64 {
        // SAFETY: By the type invariant.
        unsafe { (*self.as_ptr()).bi_iter.bi_sector }.saturating_mul(SECTOR_SIZE)
    }

    /// Number of bytes.
    pub(crate) fn len(&self) -> u32 {
        // SAFETY: By the type invariant.
        unsafe { (*self.as_ptr()).bi_iter.bi_size }
    }

    /// The checksum of its data, as [`netraid_core::xxh64::checksum`] gives it; reads all of it.
    pub(crate) fn checksum(&self) -> u32 {
        // SAFETY: By the type invariant.
        half(unsafe { bind::netraid_bio_xxh64(self.as_ptr()) })
    }

    /// The first part that fits the limits of our disk; the rest is submitted again by the block layer.
    /// None when the bio was ended because it can't be split. May sleep.
    pub(crate) fn split_to_limits(self) -> Option<Self> {
        // SAFETY: By the type invariant; ownership passes to the call and comes back with its result.
        let part = unsafe { bindings::bio_split_to_limits(self.into_raw()) };
        // INVARIANT: A part returned is ours to end.
        NonNull::new(part).map(Self)
    }

    /// Starts the accounting of /proc/diskstats; the result goes into [`Bio::end_accounted`].
    pub(crate) fn start_accounting(&self) -> usize {
        // SAFETY: By the type invariant.
        unsafe { bindings::bio_start_io_acct(self.as_ptr()) }
    }

    /// Ends the accounting and sets the result without ending the bio yet.
    pub(crate) fn finish_accounting(&mut self, start: usize, result: IoResult) {
        self.set_result(result);
        // SAFETY: By the type invariant; `start` comes from `start_accounting`.
        unsafe { bind::netraid_bio_end_acct(self.as_ptr(), start) };
    }

    fn set_result(&mut self, result: IoResult) {
        let errno = result.map_or_else(|error| error.to_errno(), |()| 0);
        // SAFETY: By the type invariant.
        unsafe { (*self.as_ptr()).bi_status = bind::netraid_status_of(errno) };
    }

    /// Notes a result in the bio, which goes on.
    pub(crate) fn note(&mut self, result: IoResult) {
        self.set_result(result);
    }

    /// The result that was noted last.
    pub(crate) fn noted(&self) -> IoResult {
        // SAFETY: By the type invariant.
        unsafe { result_of(self.as_ptr()) }
    }

    /// Ends the bio with the result set by `finish_accounting`.
    fn end_as_set(self) {
        // SAFETY: By the type invariant; the bio is not used any more.
        unsafe { bindings::bio_endio(self.into_raw()) };
    }

    /// Ends the bio. Any context, but no lock that an ender may take must be held.
    pub(crate) fn end(mut self, result: IoResult) {
        self.set_result(result);
        self.end_as_set();
    }
}

impl Drop for Bio {
    fn drop(&mut self) {
        self.set_result(Err(EIO));
        // SAFETY: By the type invariant; the bio is not used any more.
        unsafe { bindings::bio_endio(self.as_ptr()) };
    }
}

/// A queue of bios, linked through the bios themselves, so that it needs no memory. First in, first out.
///
/// # Invariants
///
/// The bios from `head` to `tail` are ours, linked by `bi_next`; both are null when there is none.
pub(crate) struct BioList {
    head: *mut bindings::bio,
    tail: *mut bindings::bio,
}

// SAFETY: As for `Bio`.
unsafe impl Send for BioList {}

impl BioList {
    pub(crate) const fn new() -> Self {
        // INVARIANT: No bio.
        Self {
            head: core::ptr::null_mut(),
            tail: core::ptr::null_mut(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_null()
    }

    pub(crate) fn push(&mut self, bio: Bio) {
        let bio = bio.into_raw();
        // SAFETY: The bio is ours, and so is the tail by the type invariant.
        unsafe {
            (*bio).bi_next = core::ptr::null_mut();
            if self.tail.is_null() {
                self.head = bio;
            } else {
                (*self.tail).bi_next = bio;
            }
        }
        // INVARIANT: The bio is the new end of the chain.
        self.tail = bio;
    }

    pub(crate) fn pop(&mut self) -> Option<Bio> {
        let bio = NonNull::new(self.head)?;
        // SAFETY: By the type invariant.
        self.head = unsafe { (*bio.as_ptr()).bi_next };
        if self.head.is_null() {
            self.tail = core::ptr::null_mut();
        }
        // SAFETY: The bio was ours and left the chain.
        unsafe { (*bio.as_ptr()).bi_next = core::ptr::null_mut() };
        // INVARIANT: As above.
        Some(Bio(bio))
    }

    /// Ends all bios with the results set by [`Bio::finish_accounting`]. No lock may be held.
    pub(crate) fn end_all(mut self) {
        while let Some(bio) = self.pop() {
            bio.end_as_set();
        }
    }
}

impl Drop for BioList {
    fn drop(&mut self) {
        while let Some(bio) = self.pop() {
            drop(bio);
        }
    }
}
