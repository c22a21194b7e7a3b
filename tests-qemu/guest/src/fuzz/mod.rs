// SPDX-License-Identifier: GPL-2.0
//! Callers and peers that mean no good: they speak the protocol and the control interface of a module that is in
//! service, mostly wrongly, many times a second, and count what came of it.
//!
//! Messages are made by the encoder of `netraid_core` and then spoilt, so that each gets as far as the check it is to
//! break. Everything is drawn from a seed. With one thread the same seed says the same; with more, what is said on each
//! connection is the same, but not in which order connections are made.

mod corpus;
mod damage;
mod message;
mod netlink;
mod random;
mod request;
mod source;
mod stage;
mod target;
mod wire;

pub(crate) use netlink::{run as fuzz_netlink, Options as NetlinkOptions};
pub(crate) use stage::{run as stage, Options as StageOptions};
pub(crate) use wire::{run as fuzz_wire, Options as WireOptions};
