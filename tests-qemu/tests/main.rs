// SPDX-License-Identifier: GPL-2.0
//! The tests that need machines: one for each behaviour, run by `cargo xtask test`.
//!
//! Machines are booted once and handed from test to test; after each the harness takes
//! everything down, looks at what the kernels said, and wipes the disks.

mod bad_disks;
mod bad_names;
mod bad_peers;
mod bad_requests;
mod bad_sources;
mod bypass;
mod callers;
mod data;
mod device;
mod filesystems;
mod framework;
mod harness;
mod kill;
mod lifecycle;
mod link;
mod mirror;
mod netlink;
mod pause;
mod replication;
mod resync;
mod roles;
mod status;
mod teardown;

use std::process::ExitCode;

fn main() -> ExitCode {
    harness::main([
        framework::CASES,
        bad_disks::CASES,
        bad_names::CASES,
        bad_peers::CASES,
        bad_requests::CASES,
        bad_sources::CASES,
        callers::CASES,
        data::CASES,
        device::CASES,
        filesystems::CASES,
        kill::CASES,
        lifecycle::CASES,
        link::CASES,
        netlink::CASES,
        pause::CASES,
        replication::CASES,
        resync::CASES,
        roles::CASES,
        status::CASES,
        teardown::CASES,
    ])
}
