// SPDX-License-Identifier: GPL-2.0

//! Lending one thing to several threads without allocating memory: the senders of several legs read the pages of the same
//! request.

use core::{
    mem::{forget, ManuallyDrop},
    ops::Deref,
    ptr,
};
use kernel::prelude::*;

/// Something that can be lent.
///
/// # Safety
///
/// A bitwise copy that is only used through shared references, and never dropped, is as good as the original as long as
/// that is neither dropped nor used through an exclusive reference. Different values have different identities while
/// they live.
pub(crate) unsafe trait Lend: Sync {
    /// Tells it from others.
    fn identity(&self) -> *const ();
}

/// The owner's side. What is still lent when it is dropped is never freed.
///
/// # Invariants
///
/// There are exactly `loans` values of [`Loan`] that were made by this one and not taken back; while there are any, the
/// value is neither dropped nor given out.
pub(crate) struct Lent<T: Lend> {
    value: ManuallyDrop<T>,
    loans: u32,
}

impl<T: Lend> Lent<T> {
    /// Nothing of it is lent.
    pub(crate) const fn new(value: T) -> Self {
        // INVARIANT: There is no loan.
        Self {
            value: ManuallyDrop::new(value),
            loans: 0,
        }
    }

    /// Lends it once more.
    pub(crate) fn lend(&mut self) -> Loan<T> {
        self.loans = self.loans.saturating_add(1);
        // SAFETY: The value is valid, and by the type invariant stays so until the loan is taken back; the copy is only
        // used as [`Lend`] asks for.
        Loan(ManuallyDrop::new(unsafe { ptr::read(&*self.value) }))
    }

    /// Takes a loan back. One of something else stays out.
    pub(crate) fn take_back(&mut self, loan: Loan<T>) {
        if loan.identity() == self.value.identity() {
            // INVARIANT: That loan is gone.
            self.loans = self.loans.saturating_sub(1);
        } else {
            pr_err!("something came back to where it was not lent\n");
        }
    }

    /// The value, unless it is lent: then it is never freed.
    pub(crate) fn into_inner(self) -> Option<T> {
        if self.loans > 0 {
            return None;
        }
        // SAFETY: The value is valid, nobody else has it, and the original is forgotten.
        let value = unsafe { ptr::read(&*self.value) };
        forget(self);
        Some(value)
    }
}

impl<T: Lend> Deref for Lent<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Lend> Drop for Lent<T> {
    fn drop(&mut self) {
        if self.loans > 0 {
            pr_err!("something that is lent was given up; it is never freed\n");
            return;
        }
        // SAFETY: By the type invariant nobody else has it; it is not used any more.
        unsafe { ManuallyDrop::drop(&mut self.value) };
    }
}

/// The borrower's side. It must come back by [`Lent::take_back`]; dropping it leaves it lent for good.
///
/// # Invariants
///
/// The original is valid as long as this exists.
pub(crate) struct Loan<T: Lend>(ManuallyDrop<T>);

impl<T: Lend> Deref for Loan<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
