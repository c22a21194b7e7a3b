// SPDX-License-Identifier: GPL-2.0

//! What a mirror remembers.
//!
//! The maps live in memory: they survive a lost connection and a pause, not a stop. After either side was stopped
//! or restarted, everything is copied.

use crate::volume::RemoteMap;
use kernel::prelude::*;
use netraid_core::{bitmap::Bitmap, chunk::Geometry};

/// A map in which nothing is marked; may sleep.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn empty_map(geometry: &Geometry) -> Result<RemoteMap> {
    let words = KVVec::from_elem(0_u64, geometry.words(), GFP_KERNEL)?;
    Bitmap::new(words, geometry.chunks()).ok_or(EINVAL)
}
