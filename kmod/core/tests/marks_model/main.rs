// SPDX-License-Identifier: GPL-2.0

//! Marks and the intent log on a disk that loses power at any moment, also in the middle of a block.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

mod disk;
mod history;
mod intent;
mod marks;
