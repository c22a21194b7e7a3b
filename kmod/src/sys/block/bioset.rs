// SPDX-License-Identifier: GPL-2.0

//! Bios of our own, from a reserve, with room for what their completion has to know.

use super::{Bio, IoResult, LowerDisk};
use crate::sys::bind;
use core::{marker::PhantomData, mem, ptr::NonNull};
use kernel::{bindings, error::to_result, prelude::*, types::Opaque};

/// What happens when a [`Child`] is done.
pub(crate) trait Done: Send + Sized {
    /// Called once for each child submitted; interrupt context, nothing may sleep.
    fn done(self, result: IoResult);
}

/// A reserve of bios that carry a `C` to their completion.
///
/// At least `reserve` bios can always be had, so I/O goes on when memory is short. The set has to outlive its bios:
/// it belongs into the [`Guarded`](crate::sys::sync::Guarded) that their context keeps alive.
///
/// # Invariants
///
/// `raw` is initialized with a front pad of [`BioSet::PAD`] bytes.
pub(crate) struct BioSet<C> {
    raw: KBox<Opaque<bindings::bio_set>>,
    _context: PhantomData<fn(C)>,
}

// SAFETY: The kernel's bio sets are made for use from several threads.
unsafe impl<C> Send for BioSet<C> {}
// SAFETY: As above.
unsafe impl<C> Sync for BioSet<C> {}

impl<C> BioSet<C> {
    /// Room for the context in front of each bio, a multiple of the bio's alignment.
    const PAD: usize = {
        assert!(mem::align_of::<C>() <= mem::align_of::<bindings::bio>());
        mem::size_of::<C>().next_multiple_of(mem::align_of::<bindings::bio>())
    };

    /// A set with `reserve` bios that can be had in any case; may sleep.
    pub(crate) fn new(reserve: u32) -> Result<Self> {
        let raw = KBox::new(Opaque::<bindings::bio_set>::zeroed(), GFP_KERNEL)?;
        let flags = bind::NETRAID_BIOSET_BVECS;
        // SAFETY: `raw` is zeroed memory at an address that does not change.
        to_result(unsafe { bindings::bioset_init(raw.get(), reserve, Self::PAD as u32, flags as i32) })?;
        // INVARIANT: Just initialized.
        Ok(Self {
            raw,
            _context: PhantomData,
        })
    }

    /// A bio that asks `disk` for the same as `bio`, on the same pages. May sleep until one of the reserve is free.
    pub(crate) fn clone_of(&self, bio: &Bio, disk: &LowerDisk) -> Result<Child<C>> {
        let gfp = bind::NETRAID_GFP_NOIO;
        // SAFETY: `bio` and the device are valid, the set is initialized.
        let child = unsafe { bindings::bio_alloc_clone(disk.bdev(), bio.as_ptr(), gfp, self.raw.get()) };
        self.child(child)
    }

    /// A bio with room for `pages` pages and no data yet. May sleep until one of the reserve is free.
    pub(super) fn empty(&self, disk: &LowerDisk, pages: u16, opf: u32) -> Result<Child<C>> {
        let gfp = bind::NETRAID_GFP_NOIO;
        // SAFETY: The device is valid, the set is initialized.
        let child = unsafe { bindings::bio_alloc_bioset(disk.bdev(), pages, opf, gfp, self.raw.get()) };
        self.child(child)
    }

    /// As [`BioSet::empty`], but waits for nothing.
    pub(super) fn try_empty(&self, disk: &LowerDisk, pages: u16, opf: u32) -> Option<Child<C>> {
        let gfp = bind::NETRAID_GFP_NOWAIT;
        // SAFETY: The device is valid, the set is initialized.
        let child = unsafe { bindings::bio_alloc_bioset(disk.bdev(), pages, opf, gfp, self.raw.get()) };
        self.child(child).ok()
    }

    /// A flush of the disk's write cache.
    pub(crate) fn flush(&self, disk: &LowerDisk) -> Result<Child<C>> {
        let flags = bindings::req_op_REQ_OP_WRITE | bind::NETRAID_REQ_PREFLUSH;
        self.empty(disk, 0, flags | bind::NETRAID_REQ_SYNC)
    }

    fn child(&self, bio: *mut bindings::bio) -> Result<Child<C>> {
        // INVARIANT: Freshly allocated from a set with room for a `C`.
        Ok(Child {
            bio: NonNull::new(bio).ok_or(ENOMEM)?,
            _context: PhantomData,
        })
    }
}

impl<C> Drop for BioSet<C> {
    fn drop(&mut self) {
        // SAFETY: Initialized by `new`; all bios are back, see the type's documentation.
        unsafe { bindings::bioset_exit(self.raw.get()) };
    }
}

/// A bio from a [`BioSet`] that is not submitted yet.
///
/// # Invariants
///
/// The bio is ours and has a front pad for a `C`.
pub(crate) struct Child<C> {
    bio: NonNull<bindings::bio>,
    _context: PhantomData<fn(C)>,
}

// SAFETY: A bio has no ties to a thread.
unsafe impl<C> Send for Child<C> {}

impl<C> Child<C> {
    pub(super) fn as_ptr(&self) -> *mut bindings::bio {
        self.bio.as_ptr()
    }

    /// Where the context of a bio lies.
    pub(super) fn context(bio: *mut bindings::bio) -> *mut C {
        bio.cast::<u8>().wrapping_sub(BioSet::<C>::PAD).cast()
    }

    /// Gives the bio away without ending or freeing it.
    pub(super) fn into_raw(self) -> NonNull<bindings::bio> {
        mem::ManuallyDrop::new(self).bio
    }

    /// The reverse of `into_raw`.
    ///
    /// # Safety
    ///
    /// `bio` comes from `into_raw` of the same `C`, and is not in use.
    pub(super) unsafe fn from_raw(bio: NonNull<bindings::bio>) -> Self {
        // INVARIANT: By the contract of this function.
        Self {
            bio,
            _context: PhantomData,
        }
    }
}

impl<C: Done> Child<C> {
    /// Hands the bio to its disk. `context.done` is called when it is done, perhaps before this returns. May sleep.
    pub(crate) fn submit(self, context: C) {
        let bio = self.into_raw().as_ptr();
        // SAFETY: The front pad has room for a `C` and nobody looks at it yet; the bio is ours until submitted.
        unsafe {
            Self::context(bio).write(context);
            (*bio).bi_end_io = Some(end::<C>);
            bindings::submit_bio_noacct(bio);
        }
    }
}

impl<C> Drop for Child<C> {
    fn drop(&mut self) {
        // SAFETY: The bio is ours and not submitted.
        unsafe { bindings::bio_put(self.as_ptr()) };
    }
}

/// # Safety
///
/// Called by the block layer once for a bio submitted by [`Child::submit`] of the same `C`.
unsafe extern "C" fn end<C: Done>(bio: *mut bindings::bio) {
    // SAFETY: `submit` put the context there.
    let context = unsafe { Child::<C>::context(bio).read() };
    // SAFETY: The bio has ended and is ours again.
    let result = unsafe { result_of(bio) };
    // SAFETY: As above; after this the bio is not used any more.
    unsafe { bindings::bio_put(bio) };
    context.done(result);
}

/// # Safety
///
/// `bio` is valid.
pub(super) unsafe fn result_of(bio: *mut bindings::bio) -> IoResult {
    // SAFETY: By the contract of this function.
    match unsafe { bind::netraid_bio_errno(bio) } {
        0 => Ok(()),
        errno => Err(Error::from_errno(-(errno as i32))),
    }
}
