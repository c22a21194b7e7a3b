// SPDX-License-Identifier: GPL-2.0
//! The whole program, run against a kernel and a machine that exist in memory only.

#![expect(
    clippy::unwrap_used,
    reason = "in a test an unexpected value is a failure, and the helpers are part of the tests"
)]

mod actions;
mod address;
mod attach;
mod bitmap;
mod changes;
mod defaults;
mod disks;
mod events;
mod failover;
mod fake;
mod listing;
mod machine;
mod making;
mod messages;
mod mirrors;
mod places;
mod priorities;
mod promote;
mod service;
mod shared;
mod standing;
mod status;
mod waiting;
