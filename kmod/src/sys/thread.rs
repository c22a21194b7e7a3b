// SPDX-License-Identifier: GPL-2.0

//! Kernel threads.
//!
//! C header: [`include/linux/kthread.h`](srctree/include/linux/kthread.h)

use super::{bind, misc::NoIo};
use core::{ffi::c_void, ptr::NonNull};
use kernel::{bindings, error::from_err_ptr, prelude::*, str::CStr};

/// A running kernel thread. Dropping it waits for the thread's end: whoever owns it first tells the thread to
/// end in the thread's own way (a flag and an event, a socket shut down).
///
/// # Invariants
///
/// `task` is referenced; `body` is a `KBox` of the closure cell that `drop_body` frees.
pub(crate) struct KThread {
    task: NonNull<bindings::task_struct>,
    body: *mut c_void,
    drop_body: unsafe fn(*mut c_void),
}

// SAFETY: A reference to a task may be given back by any thread.
unsafe impl Send for KThread {}
// SAFETY: There are no methods on shared references.
unsafe impl Sync for KThread {}

struct Cell<F>(Option<F>);

impl KThread {
    /// Starts a thread. All memory the thread allocates is allocated without I/O, since the I/O could be
    /// waiting for this very thread.
    pub(crate) fn spawn<F: FnOnce() + Send + 'static>(name: &CStr, body: F) -> Result<Self> {
        let cell = KBox::into_raw(KBox::new(Cell(Some(body)), GFP_KERNEL)?).cast::<c_void>();
        // SAFETY: `run` takes the cell; `name` is copied.
        let task = unsafe { bind::netraid_kthread_create(Some(run::<F>), cell.cast(), name.as_char_ptr()) };
        match from_err_ptr(task).and_then(|task| NonNull::new(task).ok_or(ENOMEM)) {
            // INVARIANT: The shim took a reference; `cell` is what `drop_cell::<F>` frees.
            Ok(task) => Ok(Self {
                task,
                body: cell,
                drop_body: drop_cell::<F>,
            }),
            Err(error) => {
                // SAFETY: No thread was made, so the cell is still ours.
                unsafe { drop_cell::<F>(cell) };
                Err(error)
            }
        }
    }
}

/// # Safety
///
/// `cell` comes from `KThread::spawn` with the same `F`, and nobody uses it any more.
unsafe fn drop_cell<F>(cell: *mut c_void) {
    // SAFETY: By the contract of this function.
    drop(unsafe { KBox::<Cell<F>>::from_raw(cell.cast()) });
}

/// # Safety
///
/// Called by the kernel once with the cell given to `netraid_kthread_create`.
unsafe extern "C" fn run<F: FnOnce()>(cell: *mut kernel::ffi::c_void) -> kernel::ffi::c_int {
    // SAFETY: The cell is freed only after this thread has ended.
    let cell = unsafe { &mut *cell.cast::<Cell<F>>() };
    let _scope = NoIo::enter();
    if let Some(body) = cell.0.take() {
        body();
    }
    0
}

impl Drop for KThread {
    fn drop(&mut self) {
        // SAFETY: The task is referenced, so this is fine for a thread that has ended by itself too.
        unsafe { bindings::kthread_stop(self.task.as_ptr()) };
        // SAFETY: The thread has ended (or never ran); by the type invariant.
        unsafe { (self.drop_body)(self.body) };
        // SAFETY: Gives back the reference taken at the start.
        unsafe { bind::netraid_kthread_put(self.task.as_ptr()) };
    }
}
