// SPDX-License-Identifier: GPL-2.0
//! What the agent in a test machine and the test process on the host share.
//!
//! [`proto`] is the language spoken over the virtio-serial port, [`blocks`] the content that
//! the verified writer puts into blocks, so that both sides can judge a disk, [`truth`] the same for sectors and for
//! operations of every kind.

pub mod blocks;
pub mod proto;
pub mod truth;
