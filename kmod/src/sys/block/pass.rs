// SPDX-License-Identifier: GPL-2.0

//! Giving a bio on to another disk as it is, instead of a clone of it, and getting it back when that is done.

use super::{bioset::result_of, Bio, IoResult, LowerDisk};
use crate::sys::bind;
use core::{marker::PhantomData, mem, ptr::NonNull};
use kernel::{bindings, prelude::*};

/// What happens when a bio comes back.
pub(crate) trait Returned: Send + Sized {
    /// Called once with the bio, which is as it was but for the data in its pages; interrupt context, nothing may sleep.
    fn returned(self, bio: Bio, result: IoResult);
}

const REMAPPED: u16 = 1 << bindings::BIO_REMAPPED;

/// What a bio that was given on has to become again, and for whom.
struct Pass<C> {
    context: C,
    pool: NonNull<bindings::mempool_t>,
    disk: *mut bindings::block_device,
    iter: bindings::bvec_iter,
    /// Of its flags the one that says that the beginning of a partition is in the iterator already, which another disk clears.
    remapped: u16,
    end_io: bindings::bio_end_io_t,
    private: *mut core::ffi::c_void,
}

/// Memory for bios that are given on together with a `C`.
///
/// At least `reserve` can be under way at any time, so I/O goes on when memory is short. It has to outlive its bios: it
/// belongs into the [`Guarded`](crate::sys::sync::Guarded) that their context keeps alive.
///
/// # Invariants
///
/// The pointer is a live mempool of pieces that are large enough for a `Pass<C>`.
pub(crate) struct Passes<C> {
    pool: NonNull<bindings::mempool_t>,
    _context: PhantomData<fn(C)>,
}

// SAFETY: The kernel's mempools are made for use from several threads.
unsafe impl<C> Send for Passes<C> {}
// SAFETY: As above.
unsafe impl<C> Sync for Passes<C> {}

impl<C> Passes<C> {
    /// Memory for at least `reserve` bios; may sleep.
    pub(crate) fn new(reserve: u32) -> Result<Self> {
        // What kmalloc() gives is aligned for any of the kernel's own structures.
        const { assert!(mem::align_of::<Pass<C>>() <= mem::align_of::<u64>()) };
        let size = mem::size_of::<Pass<C>>();
        // SAFETY: No preconditions.
        let pool = unsafe { bind::netraid_memory_pool(i32::try_from(reserve)?, size) };
        // INVARIANT: Just made.
        Ok(Self {
            pool: NonNull::new(pool).ok_or(ENOMEM)?,
            _context: PhantomData,
        })
    }
}

impl<C> Drop for Passes<C> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; all bios are back, see the type's documentation.
        unsafe { bindings::mempool_destroy(self.pool.as_ptr()) };
    }
}

impl<C: Returned> Passes<C> {
    /// Has `disk` do what the bio asks for. `context.returned` gets the bio back, perhaps before this returns. May sleep.
    ///
    /// # Errors
    ///
    /// Gives both back where others have hung something on the bio that is about its own disk, or is one of several whose
    /// results come together in it: that takes a clone.
    pub(crate) fn submit(&self, bio: Bio, disk: &LowerDisk, context: C) -> core::result::Result<(), (Bio, C)> {
        let raw = bio.as_ptr();
        // SAFETY: The bio is valid.
        if !unsafe { bind::netraid_bio_is_plain(raw) } {
            return Err((bio, context));
        }
        // SAFETY: The pool is alive.
        let pass = unsafe { bind::netraid_memory_get(self.pool.as_ptr()) }.cast::<Pass<C>>();
        mem::forget(bio);
        // SAFETY: The memory is ours and large enough by the type invariant, and was not refused as this may sleep; the bio
        // is ours until submitted.
        unsafe {
            pass.write(Pass {
                context,
                pool: self.pool,
                disk: (*raw).bi_bdev,
                iter: (*raw).bi_iter,
                remapped: (*raw).bi_flags & REMAPPED,
                end_io: (*raw).bi_end_io,
                private: (*raw).bi_private,
            });
            (*raw).bi_private = pass.cast();
            (*raw).bi_end_io = Some(end::<C>);
            bind::netraid_bio_set_disk(raw, disk.bdev());
            bindings::submit_bio_noacct(raw);
        }
        Ok(())
    }
}

/// # Safety
///
/// Called by the block layer once for a bio submitted by [`Passes::submit`] of the same `C`.
unsafe extern "C" fn end<C: Returned>(bio: *mut bindings::bio) {
    // SAFETY: `submit` put a pass there, which is not looked at any more after this; the bio has ended and is ours again.
    let (context, result, bio) = unsafe {
        let memory = (*bio).bi_private;
        let pass = memory.cast::<Pass<C>>().read();
        bindings::mempool_free(memory, pass.pool.as_ptr());
        (*bio).bi_bdev = pass.disk;
        (*bio).bi_iter = pass.iter;
        (*bio).bi_flags = (*bio).bi_flags & !REMAPPED | pass.remapped;
        (*bio).bi_end_io = pass.end_io;
        (*bio).bi_private = pass.private;
        (pass.context, result_of(bio), Bio::from_raw(NonNull::new_unchecked(bio)))
    };
    context.returned(bio, result);
}
