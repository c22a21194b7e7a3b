// SPDX-License-Identifier: GPL-2.0
//! Data truth: what a mirror may hold, sector by sector, whatever happened to its machines.
//!
//! The tool `truth` in a machine carries out a plan and reports each operation before the thread that did it begins the
//! next one. From these reports a [`Ledger`] on the host knows for each sector which contents are legal: what was
//! acknowledged last, and what was begun and not acknowledged. Several runs, one after the other and on changing
//! machines, are one history.

mod ledger;
mod log;
mod verdict;
mod workload;

pub use ledger::Ledger;
pub use log::{Outcome, Report, Reports};
pub use netraid_guest::truth::{Mix, Plan};
pub use verdict::{Fault, Settled, Verdict};
pub use workload::{Counts, Truth};
