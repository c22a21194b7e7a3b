// SPDX-License-Identifier: GPL-2.0
//! Metadata as files and devices have it, read and written without the kernel module.
//!
//! The format is [`netraid_core::meta`], the same code as in the module. [`MetaFile`] is metadata that exists;
//! [`prepare`] makes room for metadata that the module will write.

mod error;
mod file;
mod prepare;

pub use error::AccessError;
pub use file::{Access, Map, MetaFile};
pub use prepare::{prepare, Prepared};
