// SPDX-License-Identifier: GPL-2.0
//! What `cargo xtask codegen` makes from the spec of the control interface.

#[rustfmt::skip]
mod netraid;

pub use netraid::*;
