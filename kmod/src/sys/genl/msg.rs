// SPDX-License-Identifier: GPL-2.0

//! Messages to callers and listeners.

use crate::sys::bind;
use core::ptr::NonNull;
use kernel::{bindings, error::to_result, prelude::*};

/// A message that is being written. Dropping it unfinished takes it back whole.
///
/// # Invariants
///
/// `skb` is valid and, if `owned`, ours; `header` is null or the message begun in it.
pub(crate) struct Message {
    skb: NonNull<bindings::sk_buff>,
    header: *mut kernel::ffi::c_void,
    owned: bool,
}

impl Message {
    /// An empty message; may sleep.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: No preconditions.
        let skb = NonNull::new(unsafe { bind::netraid_msg_new(bind::NETRAID_MSG_SIZE) }).ok_or(ENOMEM)?;
        // INVARIANT: Just made.
        Ok(Self {
            skb,
            header: core::ptr::null_mut(),
            owned: true,
        })
    }

    /// # Safety
    ///
    /// `skb` is valid while the message lives.
    pub(super) unsafe fn borrowed(skb: NonNull<bindings::sk_buff>) -> Self {
        // INVARIANT: By the contract of this function.
        Self {
            skb,
            header: core::ptr::null_mut(),
            owned: false,
        }
    }

    pub(super) fn start(&mut self, header: impl FnOnce(*mut bindings::sk_buff) -> *mut kernel::ffi::c_void) -> Result {
        // INVARIANT: The header is in `skb`.
        self.header = header(self.skb.as_ptr());
        if self.header.is_null() {
            Err(EMSGSIZE)
        } else {
            Ok(())
        }
    }

    /// Completes the message and gives it away.
    pub(super) fn finish(self) -> *mut bindings::sk_buff {
        let this = core::mem::ManuallyDrop::new(self);
        // SAFETY: By the type invariant; a message is finished only after it was started.
        unsafe { bind::netraid_msg_end(this.skb.as_ptr(), this.header) };
        this.skb.as_ptr()
    }

    /// Sends a message that `fill` writes to a group of listeners; may sleep.
    pub(crate) fn multicast(command: u32, group: u32, fill: impl FnOnce(&mut Self) -> Result) -> Result {
        let mut message = Self::new()?;
        // SAFETY: The buffer is valid.
        message.start(|skb| unsafe { bind::netraid_event_start(skb, command as u8) })?;
        fill(&mut message)?;
        let skb = message.finish();
        // SAFETY: Ownership of the message passes to the call.
        unsafe { bind::netraid_msg_multicast(skb, group) };
        Ok(())
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe {
            if !self.header.is_null() {
                bind::netraid_msg_cancel(self.skb.as_ptr(), self.header);
            }
            if self.owned {
                bind::netraid_msg_free(self.skb.as_ptr());
            }
        }
    }
}

/// Writes attributes. All fail with `EMSGSIZE` when there is no room left.
pub(crate) trait Writer {
    /// A number of 32 bits.
    fn u32(&mut self, id: u32, value: u32) -> Result;
    /// A number of 32 or 64 bits, as needed.
    fn uint(&mut self, id: u32, value: u64) -> Result;
    /// A flag, when it is set.
    fn flag(&mut self, id: u32, value: bool) -> Result;
    /// Bytes.
    fn bytes(&mut self, id: u32, value: &[u8]) -> Result;
    /// A string.
    fn text(&mut self, id: u32, value: &str) -> Result;
    /// Attributes inside an attribute.
    fn nest(&mut self, id: u32, fill: impl FnOnce(&mut Self) -> Result) -> Result;
}

impl Writer for Message {
    fn u32(&mut self, id: u32, value: u32) -> Result {
        // SAFETY: By the type invariant.
        to_result(unsafe { bind::netraid_put_u32(self.skb.as_ptr(), id as i32, value) })
    }

    fn uint(&mut self, id: u32, value: u64) -> Result {
        // SAFETY: By the type invariant.
        to_result(unsafe { bind::netraid_put_uint(self.skb.as_ptr(), id as i32, value) })
    }

    fn flag(&mut self, id: u32, value: bool) -> Result {
        if !value {
            return Ok(());
        }
        // SAFETY: By the type invariant.
        to_result(unsafe { bind::netraid_put_flag(self.skb.as_ptr(), id as i32) })
    }

    fn bytes(&mut self, id: u32, value: &[u8]) -> Result {
        let data = value.as_ptr().cast();
        // SAFETY: By the type invariant; `value` is valid for the call.
        to_result(unsafe { bind::netraid_put_bytes(self.skb.as_ptr(), id as i32, data, value.len() as u32) })
    }

    fn text(&mut self, id: u32, value: &str) -> Result {
        let data = value.as_ptr().cast();
        // SAFETY: By the type invariant; `value` is valid for the call.
        to_result(unsafe { bind::netraid_put_string(self.skb.as_ptr(), id as i32, data, value.len() as u32) })
    }

    fn nest(&mut self, id: u32, fill: impl FnOnce(&mut Self) -> Result) -> Result {
        // SAFETY: By the type invariant.
        let nest = unsafe { bind::netraid_nest_start(self.skb.as_ptr(), id as i32) };
        let nest = NonNull::new(nest).ok_or(EMSGSIZE)?;
        // A nest that is cut short goes away with the whole message.
        fill(self)?;
        // SAFETY: `nest` was started in this buffer and is closed once.
        unsafe { bind::netraid_nest_end(self.skb.as_ptr(), nest.as_ptr()) };
        Ok(())
    }
}

/// The registered family; dropping it waits for running handlers and ends the service.
pub(crate) struct Family(());

impl Family {
    /// Registers the family; from then on its handlers are called.
    pub(crate) fn register() -> Result<Self> {
        // SAFETY: The tables are static.
        to_result(unsafe { bind::netraid_family_register() })?;
        Ok(Self(()))
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        // SAFETY: Registered by `register`.
        unsafe { bind::netraid_family_unregister() };
        super::sentence::clear();
    }
}
