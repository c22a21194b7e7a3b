// SPDX-License-Identifier: GPL-2.0

//! What a caller asks for.

use super::{msg::Message, sentence};
use crate::sys::{bind, net::NetNs};
use core::{ffi::c_void, fmt, marker::PhantomData, ptr::NonNull};
use kernel::{bindings, error::to_result, prelude::*, str::CStr};

/// A request being handled. The family's policy has checked its attributes by type, length and range.
///
/// # Invariants
///
/// Both pointers are valid for `'a`.
pub(crate) struct Request<'a> {
    skb: NonNull<bindings::sk_buff>,
    info: NonNull<bind::genl_info>,
    _handler: PhantomData<&'a ()>,
}

/// An attribute of a request.
#[derive(Clone, Copy)]
struct Attr<'a>(NonNull<bindings::nlattr>, PhantomData<&'a ()>);

impl<'a> Attr<'a> {
    fn u32(self) -> u32 {
        // SAFETY: The policy says that the attribute is a u32.
        unsafe { bind::netraid_attr_u32(self.0.as_ptr()) }
    }

    fn bytes(self) -> &'a [u8] {
        // SAFETY: The attribute lies in the request, which lives for `'a`.
        unsafe {
            let data = bind::netraid_attr_data(self.0.as_ptr());
            core::slice::from_raw_parts(data.cast(), bind::netraid_attr_len(self.0.as_ptr()) as usize)
        }
    }

    fn text(self) -> &'a [u8] {
        let bytes = self.bytes();
        bytes.split(|byte| *byte == 0).next().unwrap_or(bytes)
    }
}

impl<'a> Request<'a> {
    /// # Safety
    ///
    /// Both are valid for `'a`, as in a handler of the family.
    pub(crate) unsafe fn from_raw(skb: *mut bindings::sk_buff, info: *mut c_void) -> Result<Self> {
        // INVARIANT: By the contract of this function.
        Ok(Self {
            skb: NonNull::new(skb).ok_or(EINVAL)?,
            info: NonNull::new(info.cast()).ok_or(EINVAL)?,
            _handler: PhantomData,
        })
    }

    fn attr(&self, id: u32) -> Option<Attr<'a>> {
        // SAFETY: By the type invariant.
        let attr = unsafe { bind::netraid_attr(self.info.as_ptr(), id as i32) };
        NonNull::new(attr).map(|attr| Attr(attr, PhantomData))
    }

    /// A number.
    pub(crate) fn u32(&self, id: u32) -> Option<u32> {
        self.attr(id).map(Attr::u32)
    }

    /// A number of 32 or 64 bits, as its sender found fit.
    pub(crate) fn uint(&self, id: u32) -> Option<u64> {
        let bytes = self.bytes(id)?;
        let wide = bytes.try_into().map(u64::from_ne_bytes);
        let narrow = bytes.try_into().map(|it| u64::from(u32::from_ne_bytes(it)));
        wide.or(narrow).ok()
    }

    /// Whether a flag is given.
    pub(crate) fn flag(&self, id: u32) -> bool {
        self.attr(id).is_some()
    }

    /// Bytes.
    pub(crate) fn bytes(&self, id: u32) -> Option<&'a [u8]> {
        self.attr(id).map(Attr::bytes)
    }

    /// The bytes of a string without its closing NUL.
    pub(crate) fn text(&self, id: u32) -> Option<&'a [u8]> {
        self.attr(id).map(Attr::text)
    }

    /// A nest.
    pub(crate) fn nest(&self, id: u32) -> Option<Nest<'a>> {
        self.attr(id).map(|attr| Nest { attr, info: self.info })
    }

    /// Whether the caller may change the disks and the network of this machine.
    pub(crate) fn is_admin(&self) -> bool {
        // SAFETY: By the type invariant.
        unsafe { bind::netraid_info_is_admin(self.skb.as_ptr()) }
    }

    /// The caller's network name space.
    pub(crate) fn net(&self) -> Result<NetNs> {
        // SAFETY: By the type invariant.
        let net = unsafe { bind::netraid_info_net(self.info.as_ptr()) };
        let net = NonNull::new(net).ok_or(EINVAL)?;
        // SAFETY: The caller keeps its name space while the request is handled.
        Ok(unsafe { NetNs::from_raw(net) })
    }

    /// Refuses: `text` becomes the sentence in the extended acknowledgement, `error` its number.
    pub(crate) fn refuse(&self, error: impl Into<Error>, text: fmt::Arguments<'_>) -> Error {
        if let Some(text) = sentence::keep(text) {
            // SAFETY: The text lives until the acknowledgement was built, see there.
            unsafe { bind::netraid_info_error(self.info.as_ptr(), text) };
        }
        error.into()
    }

    /// As [`Request::refuse`], and names the attribute that is wrong.
    pub(crate) fn refuse_attr(&self, id: u32, error: Error, text: fmt::Arguments<'_>) -> Error {
        match self.attr(id) {
            // SAFETY: By the type invariant.
            Some(attr) => unsafe {
                bind::netraid_info_bad_attr(self.info.as_ptr(), attr.0.as_ptr());
            },
            // SAFETY: As above.
            None => unsafe { bind::netraid_info_missing(self.info.as_ptr(), id as i32) },
        }
        self.refuse(error, text)
    }

    /// Answers with one message that `fill` writes.
    pub(crate) fn reply(&self, command: u32, fill: impl FnOnce(&mut Message) -> Result) -> Result {
        let mut message = Message::new()?;
        // SAFETY: By the type invariant.
        message.start(|skb| unsafe { bind::netraid_reply_start(skb, self.info.as_ptr(), command as u8) })?;
        fill(&mut message)?;
        let skb = message.finish();
        // SAFETY: Ownership of the message passes to the call, whatever its result.
        to_result(unsafe { bind::netraid_msg_reply(skb, self.info.as_ptr()) })
    }
}

/// Attributes inside an attribute.
#[derive(Clone, Copy)]
pub(crate) struct Nest<'a> {
    attr: Attr<'a>,
    info: NonNull<bind::genl_info>,
}

impl<'a> Nest<'a> {
    fn attr(&self, id: u32) -> Option<Attr<'a>> {
        let mut found = core::ptr::null_mut();
        // SAFETY: The nest lies in a request that is being handled.
        let result = unsafe {
            let nest = self.attr.0.as_ptr();
            bind::netraid_attr_nest(nest, id as i32, self.info.as_ptr(), &raw mut found)
        };
        if result != 0 {
            return None;
        }
        NonNull::new(found).map(|attr| Attr(attr, PhantomData))
    }

    /// A number.
    pub(crate) fn u32(&self, id: u32) -> Option<u32> {
        self.attr(id).map(Attr::u32)
    }

    /// Bytes.
    pub(crate) fn bytes(&self, id: u32) -> Option<&'a [u8]> {
        self.attr(id).map(Attr::bytes)
    }

    /// Whether a flag is there.
    pub(crate) fn flag(&self, id: u32) -> bool {
        self.attr(id).is_some()
    }
}

/// Bytes for which every reader has room: what the kernel fills where nothing else is asked for (NLMSG_GOODSIZE).
const USUAL: u32 = 3776;

/// A dump in progress: called again and again until it writes nothing.
///
/// # Invariants
///
/// Both pointers are valid for `'a`.
pub(crate) struct Dump<'a> {
    skb: NonNull<bindings::sk_buff>,
    cb: NonNull<bindings::netlink_callback>,
    _handler: PhantomData<&'a ()>,
}

impl Dump<'_> {
    /// # Safety
    ///
    /// Both are valid for the lifetime chosen, as in a dump handler of the family.
    pub(crate) unsafe fn from_raw(skb: *mut bindings::sk_buff, cb: *mut c_void) -> Result<Self> {
        // INVARIANT: By the contract of this function.
        Ok(Self {
            skb: NonNull::new(skb).ok_or(EINVAL)?,
            cb: NonNull::new(cb.cast()).ok_or(EINVAL)?,
            _handler: PhantomData,
        })
    }

    /// Where the last call stopped; 0 at first.
    pub(crate) fn cursor(&mut self) -> &mut u64 {
        // SAFETY: The callback has room for it, and the borrow of `self` keeps it single.
        unsafe { &mut *bind::netraid_dump_cursor(self.cb.as_ptr()) }
    }

    /// Adds one object; false when this message is full. `generation` tells the reader of changes meanwhile.
    pub(crate) fn add(
        &mut self,
        command: u32,
        generation: u64,
        fill: impl FnOnce(&mut Message) -> Result,
    ) -> Result<bool> {
        let alone = self.is_empty();
        let cb = self.cb.as_ptr();
        // SAFETY: The dump's own buffer, valid by the type invariant.
        let mut message = unsafe { Message::borrowed(self.skb) };
        let started = message.start(|skb| {
            // SAFETY: By the type invariant.
            unsafe {
                let header = bind::netraid_dump_start(skb, cb, command as u8);
                if !header.is_null() {
                    bind::netraid_dump_generation(cb, header, generation);
                }
                header
            }
        });
        if started.is_err() {
            return Ok(false);
        }
        match fill(&mut message) {
            // Only an object that is that large by itself makes a message larger than usual; another waits for the next.
            Ok(()) if !alone && self.len() > USUAL => Ok(false),
            Ok(()) => {
                message.finish();
                Ok(true)
            }
            Err(error) if error == EMSGSIZE => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// How much the current message already holds; an object that does not fit an empty one never will.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> u32 {
        // SAFETY: By the type invariant.
        unsafe { (*self.skb.as_ptr()).len }
    }
}

/// Makes the C entry points of the family's operations from safe functions.
///
/// `do` handlers take a `&Request` and return a `Result`; `dump` handlers take a `&mut Dump`.
#[macro_export]
macro_rules! genl_handlers {
    ($(do $name:ident => $handler:path;)* $(dump $dump_name:ident => $dump_handler:path;)*) => {
        $(
            /// # Safety
            ///
            /// Called by generic netlink with a valid message and its info.
            #[allow(unsafe_code, reason = "the entry points of a C table")]
            #[no_mangle]
            unsafe extern "C" fn $name(
                skb: *mut ::kernel::bindings::sk_buff,
                info: *mut ::core::ffi::c_void,
            ) -> ::kernel::ffi::c_int {
                // Memory must not come from writing to a mirror while a mirror may wait for this handler.
                let _scope = $crate::sys::misc::NoIo::enter();
                // SAFETY: Both are valid while the handler runs.
                let request = unsafe { $crate::sys::genl::Request::from_raw(skb, info) };
                match request.and_then(|request| $handler(&request)) {
                    Ok(()) => 0,
                    Err(error) => error.to_errno(),
                }
            }
        )*
        $(
            /// # Safety
            ///
            /// Called by generic netlink with a valid buffer and callback.
            #[allow(unsafe_code, reason = "the entry points of a C table")]
            #[no_mangle]
            unsafe extern "C" fn $dump_name(
                skb: *mut ::kernel::bindings::sk_buff,
                cb: *mut ::core::ffi::c_void,
            ) -> ::kernel::ffi::c_int {
                let _scope = $crate::sys::misc::NoIo::enter();
                // SAFETY: Both are valid while the handler runs.
                let dump = unsafe { $crate::sys::genl::Dump::from_raw(skb, cb) };
                match dump.and_then(|mut dump| {
                    $dump_handler(&mut dump)?;
                    Ok(!dump.is_empty())
                }) {
                    // A positive number asks for another call.
                    Ok(true) => 1,
                    Ok(false) => 0,
                    Err(error) => error.to_errno(),
                }
            }
        )*
    };
}

/// A C string of at most `N` bytes from the bytes of an attribute.
pub(crate) fn c_string(text: &[u8]) -> Result<kernel::str::CString> {
    let text = core::str::from_utf8(text).map_err(|_| EINVAL)?;
    kernel::str::CString::try_from_fmt(kernel::prelude::fmt!("{text}"))
}

/// The text of a C string for messages.
pub(crate) fn display(path: &CStr) -> &str {
    path.to_str().unwrap_or("(a path that is not UTF-8)")
}
