// SPDX-License-Identifier: GPL-2.0
//! The netlink layer: requests to the kernel and events from it.
//!
//! Everything above [`Transport`] works on bytes, so that the tests can put a kernel of their own below it. A client
//! has one socket for requests; events come on another, since a socket that listens to a group would mix them with
//! its answers.

mod client;
mod events;
mod extack;
mod family;
mod socket;
pub mod wire;

use std::io;
use std::time::Duration;

use thiserror::Error;

pub use client::Client;
pub use events::{EventStream, Item};
pub use extack::Refusal;
pub use socket::Netlink;

use self::wire::WireError;

/// A netlink socket.
pub trait Transport {
    /// Sends one datagram to the kernel.
    ///
    /// # Errors
    ///
    /// As `send(2)`.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// The next datagram from the kernel, `None` when none came within `timeout`.
    ///
    /// # Errors
    ///
    /// As `recv(2)`; `ENOBUFS` says that messages were lost.
    fn receive(&mut self, timeout: Duration) -> io::Result<Option<Vec<u8>>>;

    /// Listens to a multicast group from now on.
    ///
    /// # Errors
    ///
    /// As `setsockopt(2)`.
    fn join(&mut self, group: u32) -> io::Result<()>;
}

/// Something that opens netlink sockets: the kernel, or what stands for it in a test.
pub trait Kernel {
    /// Opens a socket.
    ///
    /// # Errors
    ///
    /// When the system has none to give.
    fn open(&self) -> io::Result<Box<dyn Transport>>;
}

/// Why the kernel did not do what it was asked to.
#[derive(Debug, Error)]
pub enum NlError {
    /// The kernel does not know the family.
    #[error("netraid module not loaded; load it with `modprobe netraid`")]
    NotLoaded,
    /// The kernel said no.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// No answer came.
    #[error("the kernel did not answer within {} seconds; `dmesg` may say why", .0.as_secs())]
    Silent(Duration),
    /// The list of mirrors changed each time it was read.
    #[error("the list of mirrors changed while it was read, {0} times in a row; try again")]
    Unsteady(u32),
    /// The socket failed.
    #[error("the netlink socket failed ({what}): {source}")]
    Socket {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A message was malformed.
    #[error("{0}; netraid-ctl and the netraid module may be of different versions")]
    Wire(#[from] WireError),
}

impl NlError {
    /// The error number, where the kernel gave one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused(refusal) => Some(refusal.errno()),
            _ => None,
        }
    }

    fn socket(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Socket { what, source }
    }
}
