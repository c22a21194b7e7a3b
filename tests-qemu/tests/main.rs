// SPDX-License-Identifier: GPL-2.0
//! The tests that need machines: one for each behaviour, run by `cargo xtask test`.
//!
//! Machines are booted once and handed from test to test; after each the harness takes
//! everything down, looks at what the kernels said, and wipes the disks.

mod framework;
mod harness;
mod mirror;
mod replication;

use std::process::ExitCode;

fn main() -> ExitCode {
    harness::main([framework::CASES, replication::CASES])
}
