// SPDX-License-Identifier: GPL-2.0
//! Ctrl-C, and what a service manager sends instead: the first time asks for an end in order, the second time ends at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;

use anyhow::{Context as _, Result};
use nix::sys::signal::{raise, SigSet, Signal};

/// Whether somebody wants the end.
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Catches it from now on; to be called before other threads begin, which inherit that they do not.
    pub(super) fn catch() -> Result<Self> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGINT);
        signals.add(Signal::SIGTERM);
        signals.thread_block().context("catch Ctrl-C")?;
        let came = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&came);
        thread::spawn(move || {
            while let Ok(signal) = signals.wait() {
                if seen.swap(true, Ordering::Relaxed) {
                    // Now as if it had never been caught; if even that fails there is nothing left to try.
                    let _hopeless = signals.thread_unblock().and_then(|()| raise(signal));
                }
                eprintln!("The end comes when the fault under way has come to its own; once more ends at once.");
            }
        });
        Ok(Self(came))
    }

    /// Whether it came.
    pub(super) fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
