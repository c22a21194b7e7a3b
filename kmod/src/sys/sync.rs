// SPDX-License-Identifier: GPL-2.0

//! Locks and waits for code that also runs in interrupts.

use super::bind;
use core::{
    mem::ManuallyDrop,
    ops::{Deref, DerefMut},
    pin::Pin,
    ptr::NonNull,
};
use kernel::{
    error::to_result,
    prelude::*,
    str::CStr,
    sync::{
        lock::{spinlock::SpinLockBackend, Guard},
        LockClassKey, SpinLock,
    },
    types::Opaque,
};

/// A spinlock that is also taken by the completion of I/O, so interrupts are off while it is held.
#[pin_data]
pub(crate) struct IrqLock<T> {
    #[pin]
    inner: SpinLock<T>,
}

impl<T: Unpin> IrqLock<T> {
    /// Made by [`new_irq_lock!`](crate::new_irq_lock), which supplies the lock class.
    pub(crate) fn new(value: T, name: &'static CStr, class: Pin<&'static LockClassKey>) -> impl PinInit<Self> {
        pin_init!(Self {
            inner <- SpinLock::new(value, name, class),
        })
    }

    /// Takes the lock; any context. Nothing may sleep while the guard lives.
    pub(crate) fn lock(&self) -> IrqGuard<'_, T> {
        // SAFETY: The flags are given back by `IrqRestore`, on the same CPU, as the lock is held until then.
        let restore = IrqRestore(unsafe { bind::netraid_irq_save() });
        IrqGuard {
            guard: self.inner.lock(),
            _restore: restore,
        }
    }
}

struct IrqRestore(usize);

impl Drop for IrqRestore {
    fn drop(&mut self) {
        // SAFETY: The flags come from `netraid_irq_save`.
        unsafe { bind::netraid_irq_restore(self.0) };
    }
}

/// The right to the value of an [`IrqLock`].
///
/// The fields are dropped in the order of their declaration: the lock is released, then interrupts are restored.
pub(crate) struct IrqGuard<'a, T> {
    guard: Guard<'a, T, SpinLockBackend>,
    _restore: IrqRestore,
}

impl<T> Deref for IrqGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T: Unpin> DerefMut for IrqGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

/// Makes an [`IrqLock`] with a lock class of its own, so that lockdep tells the locks apart.
#[macro_export]
macro_rules! new_irq_lock {
    ($value:expr, $name:literal) => {
        $crate::sys::sync::IrqLock::new($value, $name, ::kernel::static_lock_class!())
    };
}

/// Something one thread waits for and any context can raise. A raise without a waiter is kept for the next wait.
#[pin_data]
pub(crate) struct Event {
    #[pin]
    raw: Opaque<bind::netraid_event>,
}

// SAFETY: The kernel's wait queue and atomic are made for use from several threads.
unsafe impl Send for Event {}
// SAFETY: As above.
unsafe impl Sync for Event {}

impl Event {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: `slot` is valid for the call and pinned afterwards.
            raw <- Opaque::ffi_init(|slot| unsafe { bind::netraid_event_init(slot) }),
        })
    }

    /// Wakes the waiter; any context.
    pub(crate) fn raise(&self) {
        // SAFETY: Initialized by `new`.
        unsafe { bind::netraid_event_raise(self.raw.get()) };
    }

    /// Waits for a raise, at most `ms` milliseconds; false when the time is over. May sleep.
    pub(crate) fn wait(&self, ms: u32) -> bool {
        // SAFETY: Initialized by `new`.
        unsafe { bind::netraid_event_wait(self.raw.get(), ms) }
    }
}

/// Counts users that are not threads (I/O in flight) and waits for the last of them when it is dropped.
#[pin_data(PinnedDrop)]
struct Rundown {
    #[pin]
    raw: Opaque<bind::netraid_rundown>,
}

// SAFETY: The kernel's percpu_ref and completion are made for use from several threads.
unsafe impl Send for Rundown {}
// SAFETY: As above.
unsafe impl Sync for Rundown {}

/// How long a wait for I/O in flight lasts before it is mentioned in the log; it then goes on, since
/// the memory belongs to the device until the I/O ends.
const SLOW_MS: u32 = 30_000;

#[pinned_drop]
impl PinnedDrop for Rundown {
    fn drop(self: Pin<&mut Self>) {
        let raw = self.raw.get();
        // SAFETY: Initialized by `Guarded::new`; killed here and nowhere else.
        unsafe { bind::netraid_rundown_kill(raw) };
        // SAFETY: As above.
        while !unsafe { bind::netraid_rundown_wait(raw, SLOW_MS) } {
            pr_warn!("still waiting for I/O that a disk has not completed\n");
        }
        // SAFETY: No user is left, and none can come any more.
        unsafe { kernel::bindings::percpu_ref_exit(&raw mut (*raw).users) };
    }
}

/// A value that I/O in flight refers to. It is dropped by a thread, never by an interrupt, and only after all I/O
/// that refers to it has ended.
///
/// # Invariants
///
/// `rundown` is the first field, so that it is dropped, and with it waited for, before `value`.
#[pin_data]
pub(crate) struct Guarded<T> {
    #[pin]
    rundown: Rundown,
    #[pin]
    value: T,
}

impl<T> Guarded<T> {
    /// Wraps a value; may sleep.
    pub(crate) fn new<E>(value: impl PinInit<T, E>) -> impl PinInit<Self, Error>
    where
        Error: From<E>,
    {
        try_pin_init!(Self {
            rundown <- try_pin_init!(Rundown {
                raw <- Opaque::try_ffi_init(|slot| {
                    // SAFETY: `slot` is valid for the call and pinned afterwards.
                    to_result(unsafe { bind::netraid_rundown_init(slot) })
                }),
            }? Error),
            value <- value,
        }? Error)
    }

    /// A reference for I/O that is about to start; none when the value is being dropped. Any context.
    pub(crate) fn enter(&self) -> Option<Busy<T>> {
        // SAFETY: Initialized by `new`.
        let entered = unsafe { bind::netraid_rundown_enter(self.rundown.raw.get()) };
        // INVARIANT: The count was raised.
        entered.then(|| Busy(NonNull::from(self)))
    }
}

impl<T> Deref for Guarded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// A reference held by I/O in flight.
///
/// # Invariants
///
/// The pointer is valid: the [`Guarded`] it points to waits in its drop until the count taken for `self` is given back.
pub(crate) struct Busy<T>(NonNull<Guarded<T>>);

// SAFETY: A shared reference to `T` that can move between contexts.
unsafe impl<T: Send + Sync> Send for Busy<T> {}

impl<T> Busy<T> {
    /// The same without giving the count back at the end of the scope.
    fn guarded(&self) -> &Guarded<T> {
        // SAFETY: By the type invariant.
        unsafe { self.0.as_ref() }
    }
}

impl<T> Deref for Busy<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guarded().value
    }
}

impl<T> Drop for Busy<T> {
    fn drop(&mut self) {
        let this = ManuallyDrop::new(self);
        // SAFETY: By the type invariant; the pointer is not used any more after this call.
        unsafe { bind::netraid_rundown_leave(this.0.as_ref().rundown.raw.get()) };
    }
}
