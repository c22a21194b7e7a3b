// SPDX-License-Identifier: GPL-2.0

//! Time, random numbers, the module's own reference, the machine's name.

use super::bind;
use kernel::{
    bindings,
    str::{CStr, CStrExt as _},
};
use netraid_core::name::Name;

/// Milliseconds since boot, suspend included. Any context.
pub(crate) fn now_ms() -> u64 {
    // SAFETY: No preconditions.
    unsafe { bind::netraid_now_ms() }
}

/// What the accounting of a bio begins with, see [`Bio::start_accounting`](super::block::Bio::start_accounting). Any
/// context.
pub(crate) fn jiffies() -> usize {
    // SAFETY: No preconditions.
    unsafe { bind::netraid_jiffies() }
}

/// Milliseconds since 1970-01-01 UTC. Any context.
pub(crate) fn wall_ms() -> u64 {
    // SAFETY: No preconditions.
    unsafe { bind::netraid_wall_ms() }
}

/// Sleeps for about `ms` milliseconds.
pub(crate) fn sleep_ms(ms: u32) {
    // SAFETY: Callers are threads.
    unsafe { bindings::msleep(ms) };
}

/// Random bytes from the kernel's generator. Any context.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // SAFETY: The buffer is valid for `N` bytes.
    unsafe { bindings::get_random_bytes(bytes.as_mut_ptr().cast(), N) };
    bytes
}

/// A random number.
pub(crate) fn random_u32() -> u32 {
    u32::from_le_bytes(random())
}

/// The host name of the machine.
pub(crate) fn node_name() -> Name {
    // SAFETY: The name is a NUL-terminated array inside the kernel's own name space structure, which never goes away.
    let name = unsafe { CStr::from_char_ptr(bind::netraid_node_name()) };
    Name::truncated(name.to_str().unwrap_or("unnamed"))
}

/// While it lives, what the current task allocates does not come from I/O.
pub(crate) struct NoIo(u32);

impl NoIo {
    /// Begins such a scope; scopes nest.
    pub(crate) fn enter() -> Self {
        // SAFETY: Given back by `drop`, in the same task: the guard stays on its stack.
        Self(unsafe { bind::netraid_noio_save() })
    }
}

impl Drop for NoIo {
    fn drop(&mut self) {
        // SAFETY: The flags come from `netraid_noio_save`.
        unsafe { bind::netraid_noio_restore(self.0) };
    }
}

/// Keeps the module from being unloaded.
pub(crate) struct ModuleRef(());

impl ModuleRef {
    /// Called by code that runs inside the module and is itself protected against its end, as netlink handlers are.
    pub(crate) fn take() -> Self {
        // SAFETY: The module is alive, since it is running this.
        unsafe { bind::netraid_module_get() };
        Self(())
    }
}

impl Drop for ModuleRef {
    fn drop(&mut self) {
        // SAFETY: Gives back what `take` took; the caller runs in a context that keeps the module by other means.
        unsafe { bind::netraid_module_put() };
    }
}
