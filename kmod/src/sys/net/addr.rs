// SPDX-License-Identifier: GPL-2.0

//! Addresses and the name space they are valid in.

use crate::sys::bind;
use core::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
    ptr::NonNull,
};
use kernel::{bindings, prelude::*};
use netraid_core::meta::Peer;

/// An internet address with a TCP port.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address {
    ip: [u8; 16],
    ip_len: usize,
    /// TCP port.
    pub(crate) port: u16,
    /// Interface of a link-local IPv6 address, 0 for none.
    pub(crate) scope_id: u32,
}

impl Address {
    /// An address from its bytes, 4 for IPv4 or 16 for IPv6.
    ///
    /// # Errors
    ///
    /// `EINVAL` for any other length.
    pub(crate) fn new(ip: &[u8], port: u16, scope_id: u32) -> Result<Self> {
        let mut bytes = [0; 16];
        match ip.len() {
            4 | 16 => bytes.get_mut(..ip.len()).ok_or(EINVAL)?.copy_from_slice(ip),
            _ => return Err(EINVAL),
        }
        Ok(Self {
            ip: bytes,
            ip_len: ip.len(),
            port,
            scope_id,
        })
    }

    /// The bytes of the address, 4 or 16.
    pub(crate) fn ip(&self) -> &[u8] {
        self.ip.get(..self.ip_len).unwrap_or(&[])
    }

    /// The same machine at another port.
    pub(crate) fn with_port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// Notes it as that of a peer.
    pub(crate) fn to_peer(self, peer: &mut Peer) {
        peer.ip = self.ip;
        peer.ip_len = u8::try_from(self.ip_len).unwrap_or(0);
        peer.port = self.port;
        peer.scope_id = self.scope_id;
    }

    pub(super) fn to_raw(self) -> bind::netraid_addr {
        bind::netraid_addr {
            ip: self.ip,
            ip_len: self.ip_len as u32,
            port: u32::from(self.port),
            scope_id: self.scope_id,
        }
    }

    pub(super) fn from_raw(raw: &bind::netraid_addr) -> Result<Self> {
        let ip = raw.ip.get(..raw.ip_len as usize).ok_or(EINVAL)?;
        Self::new(ip, u16::try_from(raw.port).map_err(|_| EINVAL)?, raw.scope_id)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Ok(four) = <[u8; 4]>::try_from(self.ip()) {
            write!(f, "{}:{}", Ipv4Addr::from(four), self.port)
        } else {
            write!(f, "[{}]:{}", Ipv6Addr::from(self.ip), self.port)
        }
    }
}

/// A reference to a network name space.
///
/// # Invariants
///
/// The pointer is a name space on which we hold a reference.
pub(crate) struct NetNs(NonNull<bindings::net>);

// SAFETY: A reference to a name space may be used and given back by any thread.
unsafe impl Send for NetNs {}
// SAFETY: As above.
unsafe impl Sync for NetNs {}

impl NetNs {
    /// # Safety
    ///
    /// `net` is valid for the call.
    pub(in crate::sys) unsafe fn from_raw(net: NonNull<bindings::net>) -> Self {
        // SAFETY: By the contract of this function.
        unsafe { bind::netraid_net_get(net.as_ptr()) };
        // INVARIANT: Just referenced.
        Self(net)
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::net {
        self.0.as_ptr()
    }
}

impl PartialEq for NetNs {
    /// As long as both are held, name spaces are the same where their addresses are.
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Clone for NetNs {
    fn clone(&self) -> Self {
        // SAFETY: By the type invariant.
        unsafe { Self::from_raw(self.0) }
    }
}

impl Drop for NetNs {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bind::netraid_net_put(self.as_ptr()) };
    }
}
