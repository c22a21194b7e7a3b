// SPDX-License-Identifier: GPL-2.0
//! Control of netraid mirrors: what `netraid-ctl` does, apart from `main`.
//!
//! [`cmd`] has one file for each sub-command. They talk to the kernel through [`nl`], which turns the attribute sets
//! generated from the spec ([`gen`]) into messages, and look at the machine through [`disk::Host`]. [`model`] adds to
//! what the kernel told what follows from it, [`output`] shows it. Everything a command touches is in its [`Env`], so
//! that the tests can run the whole program without a kernel.
//!
//! What has to be known of a mirror to bring it up after a restart is in [`config`]. [`meta`] is the metadata of mirrors
//! in files and on devices, which `bitmap` works on without the kernel; where it may be is told by [`place`].

pub mod addr;
pub mod cli;
pub mod cmd;
pub mod config;
pub mod defaults;
pub mod disk;
pub mod env;
pub mod error;
pub mod gen;
pub mod meta;
pub mod model;
pub mod nl;
pub mod node;
pub mod output;
pub mod place;
pub mod shared;

pub use env::Env;
