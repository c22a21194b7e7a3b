// SPDX-License-Identifier: GPL-2.0

//! The kernel's C resources, each with one owner and one `Drop`.
//!
//! The only folder of the module with `unsafe` code and raw bindings. What is
//! missing in the `kernel` crate (sockets, bios, bio-based disks, threads,
//! generic netlink) is wrapped here, in the words of that crate; nothing in here
//! knows what a mirror is.

pub(crate) mod bind;
pub(crate) mod block;
pub(crate) mod errno;
pub(crate) mod file;
pub(crate) mod genl;
pub(crate) mod global;
pub(crate) mod lend;
pub(crate) mod misc;
pub(crate) mod net;
pub(crate) mod sync;
pub(crate) mod thread;
