// SPDX-License-Identifier: GPL-2.0

//! TCP sockets in the kernel.
//!
//! C header: [`include/linux/net.h`](srctree/include/linux/net.h)

mod addr;
mod ear;
mod socket;

pub(crate) use addr::{Address, NetNs};
pub(crate) use ear::{Ear, Heard, Listening};
pub(crate) use socket::{Head, Listener, Manner, Socket};
