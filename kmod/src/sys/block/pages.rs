// SPDX-License-Identifier: GPL-2.0

//! Bios with pages of our own: filled from the network and written, or read and sent.

use super::{bioset::result_of, Bio, BioSet, Child, IoResult, LowerDisk, Op};
use crate::sys::{bind, lend::Lend};
use core::{mem::ManuallyDrop, ptr::NonNull};
use kernel::{bindings, prelude::*, sync::Arc};
use netraid_core::{units::SECTOR_SIZE, wire::DIGEST_LEN, xxh64::half};

const PAGE: u32 = kernel::page::PAGE_SIZE as u32;

/// Pages of which a number can always be had.
///
/// # Invariants
///
/// The pointer is a live mempool of single pages.
pub(crate) struct PagePool(NonNull<bindings::mempool_t>);

// SAFETY: The kernel's mempools are made for use from several threads.
unsafe impl Send for PagePool {}
// SAFETY: As above.
unsafe impl Sync for PagePool {}

impl PagePool {
    /// A pool that keeps `pages` pages in reserve; may sleep.
    pub(crate) fn new(pages: u16) -> Result<Arc<Self>> {
        // SAFETY: No preconditions.
        let pool = unsafe { bind::netraid_page_pool(i32::from(pages)) };
        // INVARIANT: Just made.
        let pool = Self(NonNull::new(pool).ok_or(ENOMEM)?);
        Ok(Arc::new(pool, GFP_KERNEL)?)
    }
}

impl Drop for PagePool {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; the bios that use its pages keep the pool.
        unsafe { bindings::mempool_destroy(self.0.as_ptr()) };
    }
}

/// What happens when a [`PagedBio`] is done.
pub(crate) trait PagedDone: Send + Sized {
    /// Called once with the bio and its pages; interrupt context, nothing may sleep.
    fn done(self, bio: PagedBio<Self>, result: IoResult);
}

/// What a [`PagedBio`] in flight carries to its completion.
pub(crate) struct Flight<C> {
    context: C,
    pool: Arc<PagePool>,
    offset: u64,
    len: u32,
}

/// A reserve of bios for [`PagedBio`].
pub(crate) type PagedSet<C> = BioSet<Flight<C>>;

/// A bio with pages from a [`PagePool`], which go back there when it is dropped.
///
/// # Invariants
///
/// All pages in the bio's table come from `pool`; they hold `len` bytes. The bio is not in flight.
pub(crate) struct PagedBio<C> {
    // Dropped last, by `Drop` below, after its pages.
    child: ManuallyDrop<Child<Flight<C>>>,
    pool: ManuallyDrop<Arc<PagePool>>,
    offset: u64,
    len: u32,
}

// SAFETY: The methods on shared references only read.
unsafe impl<C> Sync for PagedBio<C> {}
// SAFETY: It holds pointers to what does not move, and no two of them have the same bio.
unsafe impl<C> Lend for PagedBio<C> {
    fn identity(&self) -> *const () {
        self.child.as_ptr().cast_const().cast()
    }
}

impl<C> PagedBio<C> {
    /// A bio of `len` bytes (1 to 1 MiB, whole sectors) for the place `offset` of `disk`. Sleeps until there are
    /// pages; it does not fail for want of them.
    pub(crate) fn new(
        set: &PagedSet<C>,
        pool: &Arc<PagePool>,
        disk: &LowerDisk,
        offset: u64,
        len: u32,
    ) -> Result<Self> {
        let pages = u16::try_from(len.div_ceil(PAGE)).map_err(|_| EINVAL)?;
        if u32::from(pages) > bind::NETRAID_MAX_VECS {
            return Err(EINVAL);
        }
        let child = set.empty(disk, pages, bindings::req_op_REQ_OP_WRITE)?;
        let mut left = len;
        while left > 0 {
            let part = left.min(PAGE);
            // SAFETY: The pool is alive; the bio has room for `pages` pages.
            unsafe {
                let page = bind::netraid_page_get(pool.0.as_ptr());
                bindings::__bio_add_page(child.as_ptr(), page, part, 0);
            }
            left = left.saturating_sub(part);
        }
        // INVARIANT: As above.
        Ok(Self {
            child: ManuallyDrop::new(child),
            pool: ManuallyDrop::new(pool.clone()),
            offset,
            len,
        })
    }

    /// A bio with a copy of the data of `bio`. May sleep, but not until something is written: memory that the mirror has
    /// to be written for does not come before this returns. `None` where there is too little.
    pub(crate) fn copy_of(set: &PagedSet<C>, pool: &Arc<PagePool>, disk: &LowerDisk, bio: &Bio) -> Option<Self> {
        let (mut left, offset) = (bio.len(), bio.offset());
        let pages = u16::try_from(left.div_ceil(PAGE)).ok()?;
        if u32::from(pages) > bind::NETRAID_MAX_VECS {
            return None;
        }
        let child = set.try_empty(disk, pages, bindings::req_op_REQ_OP_WRITE)?;
        // INVARIANT: No pages yet; those that follow may go to the pool, which takes any single page.
        let copy = Self {
            child: ManuallyDrop::new(child),
            pool: ManuallyDrop::new(pool.clone()),
            offset,
            len: left,
        };
        while left > 0 {
            let part = left.min(PAGE);
            // SAFETY: No preconditions.
            let page = NonNull::new(unsafe { bind::netraid_page_try() })?;
            // SAFETY: The bio has room for `pages` pages.
            unsafe { bindings::__bio_add_page(copy.child.as_ptr(), page.as_ptr(), part, 0) };
            left = left.saturating_sub(part);
        }
        // SAFETY: Both bios are ours and not in flight, and at their first byte; the call moves neither's iterator.
        unsafe { bind::netraid_bio_copy(copy.child.as_ptr(), bio.as_ptr()) };
        Some(copy)
    }

    /// Number of bytes.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// Whether all its bytes are zero. Any context; reads them all.
    pub(crate) fn is_zero(&self) -> bool {
        // SAFETY: The bio is ours and not in flight; its pages hold as many bytes as its table says.
        unsafe { bind::netraid_bio_is_zero(self.child.as_ptr()) }
    }

    /// SHA-256 of its bytes. May sleep in so far as it takes long: a megabyte takes milliseconds.
    pub(crate) fn digest(&self) -> [u8; DIGEST_LEN] {
        let mut digest = [0; DIGEST_LEN];
        // SAFETY: As above; the digest has room for SHA-256.
        unsafe { bind::netraid_bio_sha256(self.child.as_ptr(), digest.as_mut_ptr()) };
        digest
    }

    /// Copies bytes into its first pages, as many as there is room for; returns their number.
    pub(crate) fn fill(&self, data: &[u8]) -> u32 {
        let len = self.len().min(data.len() as u32);
        if len > 0 {
            // SAFETY: The bio is ours and has `len` bytes, as `data` has.
            unsafe { bind::netraid_bio_fill(self.rewound(), data.as_ptr().cast(), len) };
        }
        len
    }

    /// The checksum of its bytes, as [`netraid_core::xxh64::checksum`] gives it; reads them all.
    pub(crate) fn checksum(&self) -> u32 {
        // SAFETY: The bio is ours and not in flight.
        half(unsafe { bind::netraid_bio_xxh64(self.rewound()) })
    }

    /// Copies its bytes into the pages of `bio`, as far as both have some.
    pub(crate) fn copy_to(&self, bio: &Bio) {
        // SAFETY: Both bios are ours and not in flight; the call moves neither's iterator.
        unsafe { bind::netraid_bio_copy(bio.as_ptr(), self.rewound()) }
    }

    /// The raw bio, rewound to its first byte.
    pub(in crate::sys) fn rewound(&self) -> *mut bindings::bio {
        let bio = self.child.as_ptr();
        // SAFETY: The bio is ours and not in flight.
        unsafe { bind::netraid_bio_rewind(bio, self.offset / SECTOR_SIZE, self.len) };
        bio
    }
}

impl<C: PagedDone> PagedBio<C> {
    /// Reads or writes the pages. `context.done` gets the bio back, perhaps before this returns. May sleep.
    pub(crate) fn submit(self, op: Op, fua: bool, preflush: bool, context: C) {
        let mut opf = if op == Op::Read {
            bindings::req_op_REQ_OP_READ
        } else {
            bindings::req_op_REQ_OP_WRITE | bind::NETRAID_REQ_SYNC | bind::NETRAID_REQ_IDLE
        };
        if fua {
            opf |= bind::NETRAID_REQ_FUA;
        }
        if preflush {
            opf |= bind::NETRAID_REQ_PREFLUSH;
        }
        let bio = self.rewound();
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is not used any more after this, so the pool is taken once.
        let pool = unsafe { ManuallyDrop::take(&mut this.pool) };
        let flight = Flight {
            context,
            pool,
            offset: this.offset,
            len: this.len,
        };
        // SAFETY: The bio is ours until submitted; its set left room for a `Flight<C>`.
        unsafe {
            Child::<Flight<C>>::context(bio).write(flight);
            (*bio).bi_opf = opf;
            (*bio).bi_end_io = Some(end::<C>);
            bindings::submit_bio_noacct(bio);
        }
    }
}

impl<C> Drop for PagedBio<C> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the pages are the pool's; nothing of `self` is used after this.
        unsafe {
            bind::netraid_bio_free_pages(self.child.as_ptr(), self.pool.0.as_ptr());
            ManuallyDrop::drop(&mut self.child);
            ManuallyDrop::drop(&mut self.pool);
        }
    }
}

/// # Safety
///
/// Called by the block layer once for a bio submitted by [`PagedBio::submit`] of the same `C`.
unsafe extern "C" fn end<C: PagedDone>(bio: *mut bindings::bio) {
    // SAFETY: `submit` put the flight there.
    let flight = unsafe { Child::<Flight<C>>::context(bio).read() };
    // SAFETY: The bio has ended and is ours again.
    let result = unsafe { result_of(bio) };
    let Some(bio) = NonNull::new(bio) else { return };
    // SAFETY: The bio comes from `submit` of the same `C`.
    let child = unsafe { Child::from_raw(bio) };
    // INVARIANT: As it was in `submit`.
    let bio = PagedBio {
        child: ManuallyDrop::new(child),
        pool: ManuallyDrop::new(flight.pool),
        offset: flight.offset,
        len: flight.len,
    };
    flight.context.done(bio, result);
}
