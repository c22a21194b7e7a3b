// SPDX-License-Identifier: GPL-2.0

//! Generic netlink: requests with checked attributes, replies, dumps, multicasts.
//!
//! The tables of the family (policies, operations, groups) are generated C, see `kmod/gen`. Its handlers are made by
//! [`genl_handlers!`](crate::genl_handlers).
//!
//! C header: [`include/net/genetlink.h`](srctree/include/net/genetlink.h)

mod msg;
mod request;
mod sentence;

pub(crate) use msg::{Family, Message, Writer};
pub(crate) use request::{c_string, display, Dump, Request};
pub(crate) use sentence::prepare_sentences;
