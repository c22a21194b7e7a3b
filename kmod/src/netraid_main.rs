// SPDX-License-Identifier: GPL-2.0

//! netraid: keeps a local disk, block by block, on the disks of other machines, over TCP.
//!
//! | folder | owns |
//! |---|---|
//! | `control` | the netlink family, the mirrors, the events |
//! | `volume` | the data path over one local disk |
//! | `leg` | the connection to another machine, on either side of it |
//! | `resync` | the copying of what a target misses |
//! | `meta` | what a mirror remembers |
//! | `sys` | the kernel's C resources; the only `unsafe` code |
//!
//! What is to be done is decided by the crate `netraid_core`, which knows no kernel.

#![crate_name = "netraid"]
#![deny(unsafe_code)]
#![deny(unsafe_op_in_unsafe_fn)]
#![allow(
    clippy::large_enum_variant,
    clippy::result_large_err,
    reason = "a sentence lies in place, as nothing is allocated where something fails"
)]

mod control;
mod leg;
mod meta;
mod resync;
#[allow(unsafe_code, reason = "wraps the kernel's C interfaces")]
mod sys;
mod volume;

use core::borrow::Borrow;
use kernel::prelude::*;

module! {
    type: Netraid,
    name: "netraid",
    authors: ["The netraid developers"],
    description: "Mirror of a local disk to other machines over TCP",
    license: "GPL",
    params: {
        max_resyncs: u32 {
            default: 8,
            description: "How many mirrors are resynchronized at a time, 1 to 64",
        },
    },
}

/// The loaded module. While a mirror is in service it holds a reference on the module, so that this is dropped only
/// when all are stopped.
struct Netraid {
    family: Option<sys::genl::Family>,
}

impl kernel::Module for Netraid {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let most = number(module_parameters::max_resyncs.value());
        if !netraid_core::turns::is_right_number(most) {
            pr_err!("max_resyncs={most} makes no sense; give a number from 1 to 64\n");
            return Err(EINVAL);
        }
        resync::prepare_turns(most);
        sys::genl::prepare_sentences();
        control::prepare_registry();
        control::prepare_events();
        leg::prepare_receptions();
        control::open_desk()?;
        let family = sys::genl::Family::register().inspect_err(|_| control::close_desk())?;
        pr_info!("loaded\n");
        Ok(Self { family: Some(family) })
    }
}

/// The value of a parameter, which some kernels give by reference.
fn number(value: impl Borrow<u32>) -> u32 {
    *value.borrow()
}

impl Drop for Netraid {
    fn drop(&mut self) {
        // First no new operations, and an end of those that run; then what they left.
        drop(self.family.take());
        control::close_desk();
        control::clear();
    }
}
