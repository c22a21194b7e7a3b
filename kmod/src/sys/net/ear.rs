// SPDX-License-Identifier: GPL-2.0

//! Taking in what arrives in the context of the network, without a thread.

use super::Socket;
use crate::sys::bind;
use core::{ffi::c_void, slice};
use kernel::{ffi, prelude::*, types::Opaque};
use netraid_core::wire::{ACKS_MAX, ACK_LEN, HEADER_LEN};

const _: () = assert!(bind::NETRAID_EAR_ROOM as usize == HEADER_LEN + ACKS_MAX * ACK_LEN);

/// Somebody who takes in messages as they arrive.
pub(crate) trait Ear: Sync {
    /// Takes whole messages from the beginning of what has arrived, which begins with one. Called with the lock of the
    /// socket held, in a softirq or by a thread that sends; nothing may sleep.
    fn hear(&self, arrived: &[u8]) -> Heard;
}

/// What an [`Ear`] made of it.
pub(crate) struct Heard {
    /// So many bytes were taken.
    pub(crate) taken: usize,
    /// The thread that receives has to know something.
    pub(crate) wake: bool,
}

/// A socket with an ear.
pub(crate) struct Listening<'a> {
    socket: &'a Socket,
    raw: KBox<Opaque<bind::netraid_ear>>,
}

impl Socket {
    /// Has an ear at the connection while `body` runs: it is offered what arrives during [`Listening::wait`]. What it does not
    /// take is there for [`Socket::receive`], which is called by the same thread. The socket is connected. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and `body` did not run.
    pub(crate) fn while_heard<R>(&self, ear: &dyn Ear, body: impl FnOnce(&Listening<'_>) -> R) -> Result<R> {
        let mut context = ear;
        let raw = bind::netraid_ear {
            hear: Some(hear),
            context: (&raw mut context).cast::<c_void>().cast(),
            data_ready: None,
            open: false,
            wake: false,
            room: [0; bind::NETRAID_EAR_ROOM as usize],
        };
        let listening = Listening {
            socket: self,
            raw: KBox::new(Opaque::new(raw), GFP_KERNEL)?,
        };
        // SAFETY: The socket is connected; `raw` and `context` are there until `netraid_ear_remove` has returned.
        unsafe { bind::netraid_ear_put(self.as_ptr(), listening.raw.get()) };
        let result = body(&listening);
        // SAFETY: Put above; `body`, and with it the only one who waits, has ended.
        unsafe { bind::netraid_ear_remove(self.as_ptr(), listening.raw.get()) };
        Ok(result)
    }
}

impl Listening<'_> {
    /// Waits, as long as one [`Socket::receive`] does, for something that the ear did not take, for the end of the
    /// connection, or to be woken by the ear; false when the time is over. May sleep.
    pub(crate) fn wait(&self) -> bool {
        // SAFETY: The ear is at the socket as long as there is a `Listening`.
        unsafe { bind::netraid_ear_wait(self.socket.as_ptr(), self.raw.get()) }
    }
}

/// # Safety
///
/// `context` is that of [`Socket::while_heard`], `data` is valid for `len` bytes, `wake` for a write.
unsafe extern "C" fn hear(context: *mut ffi::c_void, data: *const u8, len: u32, wake: *mut bool) -> u32 {
    // SAFETY: By the contract of this function.
    let (ear, arrived) = unsafe { (*context.cast::<&dyn Ear>(), slice::from_raw_parts(data, len as usize)) };
    let heard = ear.hear(arrived);
    if heard.wake {
        // SAFETY: By the contract of this function.
        unsafe { *wake = true };
    }
    u32::try_from(heard.taken).unwrap_or(len).min(len)
}
