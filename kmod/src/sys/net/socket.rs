// SPDX-License-Identifier: GPL-2.0

//! A TCP connection, and a socket that listens for some.

use super::{Address, NetNs};
use crate::sys::errno::ECONNRESET;
use crate::sys::{
    bind,
    block::{Bio, PagedBio},
};
use core::{ffi::c_void, ptr::NonNull};
use kernel::{bindings, error::to_result, prelude::*};

/// An open socket; closed when dropped.
///
/// # Invariants
///
/// The pointer is an open kernel socket that we own.
struct Raw(NonNull<bindings::socket>);

// SAFETY: Sockets lock themselves.
unsafe impl Send for Raw {}
// SAFETY: As above.
unsafe impl Sync for Raw {}

impl Raw {
    fn new(net: &NetNs, address: &Address) -> Result<Self> {
        let mut raw = core::ptr::null_mut();
        let address = address.to_raw();
        // SAFETY: All pointers are valid for the call.
        to_result(unsafe { bind::netraid_sock_create(net.as_ptr(), &raw const address, &raw mut raw) })?;
        // INVARIANT: Just made.
        Ok(Self(NonNull::new(raw).ok_or(ENOMEM)?))
    }

    fn as_ptr(&self) -> *mut bindings::socket {
        self.0.as_ptr()
    }

    fn shutdown(&self) {
        // An error says that the connection is gone already.
        // SAFETY: By the type invariant.
        let _ = unsafe { bindings::kernel_sock_shutdown(self.as_ptr(), bindings::sock_shutdown_cmd_SHUT_RDWR) };
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::sock_release(self.as_ptr()) };
    }
}

/// What is ahead of the data of a bio in a message. Not on a stack, so that it can be sent as pages are.
pub(crate) struct Head<const LEN: usize>(KBox<[u8; LEN]>);

impl<const LEN: usize> Head<LEN> {
    /// With nothing in it. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(KBox::new([0; LEN], GFP_KERNEL)?))
    }

    /// What is to be sent.
    pub(crate) fn set(&mut self, bytes: [u8; LEN]) {
        *self.0 = bytes;
    }
}

/// How the data of a bio is sent.
#[derive(Clone, Copy)]
pub(crate) struct Manner {
    /// It may be kept to travel with what is sent next: the caller sends again at once, or [pushes](Socket::push).
    pub(crate) more: bool,
    /// Its pages are not copied: what is sent, or sent again after a loss, is what they hold at that time.
    pub(crate) lend: bool,
}

/// A TCP connection. One thread may send while another receives.
pub(crate) struct Socket(Raw);

impl Socket {
    /// Makes a socket that is not connected yet, so that another thread can end the attempt by
    /// [`Socket::shutdown`]. May sleep.
    pub(crate) fn new(net: &NetNs, to: &Address) -> Result<Self> {
        let socket = Self(Raw::new(net, to)?);
        Ok(socket)
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::socket {
        self.0.as_ptr()
    }

    /// Connects; sleeps for at most `timeout_ms`.
    ///
    /// # Errors
    ///
    /// `ECONNREFUSED` nobody listens, `EINPROGRESS` no answer in time, `EHOSTUNREACH` or `ENETUNREACH` no way there.
    pub(crate) fn connect(&self, to: &Address, timeout_ms: u32) -> Result {
        let to = to.to_raw();
        // SAFETY: By the type invariant; `to` is valid for the call.
        to_result(unsafe { bind::netraid_sock_connect(self.0.as_ptr(), &raw const to, timeout_ms) })
    }

    /// Sets what a mirror needs: no delay of small messages, memory without I/O, and a look at the clock after
    /// every `timeout_ms` in which a send made no progress.
    pub(crate) fn tune(&self, timeout_ms: u32) {
        // SAFETY: By the type invariant.
        unsafe { bind::netraid_sock_tune(self.0.as_ptr(), timeout_ms) };
    }

    /// How long one [`Socket::receive`] waits for data.
    pub(crate) fn set_wait(&self, ms: u32) {
        // SAFETY: By the type invariant.
        unsafe { bind::netraid_sock_wait_ms(self.0.as_ptr(), ms) };
    }

    /// The other side's address.
    pub(crate) fn peer(&self) -> Result<Address> {
        let mut raw = bind::netraid_addr::default();
        // SAFETY: By the type invariant; `raw` is valid for the call.
        to_result(unsafe { bind::netraid_sock_peer(self.0.as_ptr(), &raw mut raw) })?;
        Address::from_raw(&raw)
    }

    /// Ends the connection at once in both directions: threads in a send, a receive or a connect come back
    /// with an error. Any thread.
    pub(crate) fn shutdown(&self) {
        self.0.shutdown();
    }

    /// Has the socket forget what it still has to send when it is closed, since those pages may be reused by then.
    pub(crate) fn abort_on_close(&self) {
        // SAFETY: By the type invariant.
        unsafe { bind::netraid_sock_abort(self.0.as_ptr()) };
    }

    /// Sends all of `head` and, at once, of `data`, which may be empty. Sleeps until it is queued. Each time the other side
    /// has taken nothing for the time given to [`Socket::tune`], `patient` says whether to go on. With `more`, it may be
    /// kept to travel with what is sent next: the caller sends again at once, or [pushes](Socket::push).
    pub(crate) fn send(&self, head: &[u8], data: &[u8], more: bool, patient: &dyn Fn() -> bool) -> Result {
        let (head_len, data_len) = (head.len() as u32, data.len() as u32);
        Self::send_all(head_len.saturating_add(data_len), patient, |done| {
            let head = head.get(done as usize..).unwrap_or(&[]);
            let data = data.get(done.saturating_sub(head_len) as usize..).unwrap_or(&[]);
            let (head_ptr, data_ptr) = (head.as_ptr().cast::<c_void>(), data.as_ptr().cast::<c_void>());
            let (head_len, data_len) = (head.len() as u32, data.len() as u32);
            // SAFETY: By the type invariant; both slices are valid for the call.
            unsafe { bind::netraid_sock_send(self.0.as_ptr(), head_ptr, head_len, data_ptr, data_len, more) }
        })
    }

    fn send_all(len: u32, patient: &dyn Fn() -> bool, send: impl Fn(u32) -> i32) -> Result {
        let mut done = 0;
        while done < len {
            match count(send(done)) {
                Ok(sent) => done = done.saturating_add(sent as u32),
                Err(error) if error == EAGAIN && patient() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn send_raw<const LEN: usize>(
        &self,
        head: &Head<LEN>,
        bio: *mut bindings::bio,
        len: u32,
        Manner { more, lend }: Manner,
        patient: &dyn Fn() -> bool,
    ) -> Result {
        let (socket, head_len) = (self.0.as_ptr(), LEN as u32);
        if lend {
            // It is about to be another one, and cannot be lent.
            self.send(&*head.0, &[], true, patient)?;
            return Self::send_all(len, patient, |skip| {
                // SAFETY: `bio` is valid and has `len` bytes; see the callers.
                unsafe { bind::netraid_sock_send_bio(socket, bio, skip, len.saturating_sub(skip), more, true) }
            });
        }
        Self::send_all(head_len.saturating_add(len), patient, |done| {
            let Some(skip) = done.checked_sub(head_len) else {
                let rest = head.0.get(done as usize..).unwrap_or(&[]);
                let (data, left) = (rest.as_ptr().cast::<c_void>(), rest.len() as u32);
                // SAFETY: By the type invariant; `rest` is in memory of the heap, `bio` is valid, see the callers.
                return unsafe { bind::netraid_sock_send_headed(socket, data, left, bio, more) };
            };
            // SAFETY: `bio` is valid and has `len` bytes; see the callers.
            unsafe { bind::netraid_sock_send_bio(socket, bio, skip, len.saturating_sub(skip), more, false) }
        })
    }

    /// Sends `head` and the data of a bio; otherwise as [`Socket::send`].
    pub(crate) fn send_bio<const LEN: usize>(
        &self,
        head: &Head<LEN>,
        bio: &Bio,
        manner: Manner,
        patient: &dyn Fn() -> bool,
    ) -> Result {
        self.send_raw(head, bio.as_ptr(), bio.len(), manner, patient)
    }

    /// Sends `head` and the data of a bio with pages of its own; otherwise as [`Socket::send`].
    pub(crate) fn send_paged<C, const LEN: usize>(
        &self,
        head: &Head<LEN>,
        bio: &PagedBio<C>,
        manner: Manner,
        patient: &dyn Fn() -> bool,
    ) -> Result {
        self.send_raw(head, bio.rewound(), bio.len(), manner, patient)
    }

    /// Whether so many bytes can be sent without a wait. Any context; a moment old.
    pub(crate) fn has_room(&self, bytes: u32) -> bool {
        // SAFETY: By the type invariant.
        unsafe { bind::netraid_sock_has_room(self.0.as_ptr(), bytes) }
    }

    /// Sends what was kept for more to come.
    pub(crate) fn push(&self) {
        // SAFETY: By the type invariant.
        unsafe { bind::netraid_sock_push(self.0.as_ptr()) };
    }

    /// Bytes that have arrived and were not received yet; any context; a moment old.
    pub(crate) fn readable(&self) -> u32 {
        // SAFETY: By the type invariant.
        unsafe { bind::netraid_sock_readable(self.0.as_ptr()) }
    }

    /// Receives up to `data.len()` bytes, at least one.
    ///
    /// # Errors
    ///
    /// `EAGAIN` when nothing came within the time given to [`Socket::set_wait`], `ECONNRESET` when the other side
    /// has closed.
    pub(crate) fn receive(&self, data: &mut [u8]) -> Result<usize> {
        // SAFETY: By the type invariant; `data` is valid for the call.
        let got = count(unsafe {
            let data_ptr = data.as_mut_ptr().cast::<c_void>();
            bind::netraid_sock_recv(self.0.as_ptr(), data_ptr, data.len() as u32)
        })?;
        if got == 0 {
            Err(ECONNRESET.into())
        } else {
            Ok(got)
        }
    }

    /// Receives into the pages of a bio from byte `skip` on, and what comes after that into `tail`, which is in memory of the
    /// heap; the number of bytes counts through both. Otherwise as [`Socket::receive`].
    pub(crate) fn receive_paged<C>(&self, bio: &PagedBio<C>, skip: u32, tail: &mut [u8]) -> Result<u32> {
        let left = bio.len().checked_sub(skip).filter(|left| *left > 0).ok_or(EINVAL)?;
        let (socket, bio) = (self.0.as_ptr(), bio.rewound());
        let (tail, room) = (tail.as_mut_ptr().cast::<c_void>(), tail.len() as u32);
        // SAFETY: By the type invariant; the bio has `left` bytes from `skip` on; `tail` is valid for the call.
        let got = count(unsafe { bind::netraid_sock_recv_bio(socket, bio, skip, left, tail, room) })?;
        if got == 0 {
            Err(ECONNRESET.into())
        } else {
            Ok(got as u32)
        }
    }
}

/// The result of a socket call: a count or a negative errno.
fn count(result: i32) -> Result<usize> {
    to_result(result)?;
    usize::try_from(result).map_err(|_| EIO)
}

/// A socket that listens.
pub(crate) struct Listener(Raw);

impl Listener {
    /// Listens on `address`; may sleep.
    ///
    /// # Errors
    ///
    /// `EADDRINUSE` port taken, `EADDRNOTAVAIL` not an address of this machine.
    pub(crate) fn new(net: &NetNs, address: &Address) -> Result<Self> {
        let raw = Raw::new(net, address)?;
        let at = address.to_raw();
        // SAFETY: The socket is open; `at` is valid for the call.
        to_result(unsafe { bind::netraid_sock_bind_listen(raw.as_ptr(), &raw const at) })?;
        Ok(Self(raw))
    }

    /// How long one [`Listener::accept`] waits.
    pub(crate) fn set_wait(&self, ms: u32) {
        // SAFETY: By the type invariant.
        unsafe { bind::netraid_sock_wait_ms(self.0.as_ptr(), ms) };
    }

    /// Waits for a connection.
    ///
    /// # Errors
    ///
    /// `EAGAIN` none came in time, `EINVAL` after [`Listener::shutdown`].
    pub(crate) fn accept(&self) -> Result<Socket> {
        let mut peer = core::ptr::null_mut();
        // SAFETY: By the type invariant; `peer` is valid for the call.
        to_result(unsafe { bind::netraid_sock_accept(self.0.as_ptr(), &raw mut peer) })?;
        // INVARIANT: The new socket is ours.
        Ok(Socket(Raw(NonNull::new(peer).ok_or(EIO)?)))
    }

    /// Ends a waiting accept.
    pub(crate) fn shutdown(&self) {
        self.0.shutdown();
    }
}
