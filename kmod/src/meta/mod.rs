// SPDX-License-Identifier: GPL-2.0

//! What a mirror remembers: its metadata in a file, on a device or at the end of the disk, and its maps in memory.
//!
//! The format, and what is decided by what it says, is in [`netraid_core::meta`].

mod map_blocks;
pub(crate) mod maps;
mod place;
mod refusal;
mod store;

pub(crate) use place::{MetaIdentity, MetaIo};
pub(crate) use refusal::MetaRefusal;
pub(crate) use store::Store;
