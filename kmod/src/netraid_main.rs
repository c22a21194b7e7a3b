// SPDX-License-Identifier: GPL-2.0

//! netraid: mirrors a local disk to other machines over TCP.

#![crate_name = "netraid"]
#![deny(unsafe_op_in_unsafe_fn)]

mod meta;
mod sys;
mod volume;

use kernel::prelude::*;

module! {
    type: Netraid,
    name: "netraid",
    authors: ["The netraid developers"],
    description: "Mirror of a local disk to other machines over TCP",
    license: "GPL",
}

struct Netraid {
    _family: sys::genl::Family,
}

impl kernel::Module for Netraid {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Self { _family: sys::genl::Family::register()? })
    }
}
