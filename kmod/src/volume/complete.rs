// SPDX-License-Identifier: GPL-2.0

//! What happens after the lock: bios end, waiting threads wake.

use super::{log::RoundFlush, now, state::State, Volume};
use crate::sys::{block::BioList, sync::IrqGuard};

/// How long a mirror that goes out of service waits for its last requests: longer than any leg takes to give its target
/// up, and than a disk takes to give a sector up.
const SETTLE_MS: u64 = 60_000;

impl Volume {
    /// Waits until no application's request is under way; false when that takes too long. The device has to be gone, so
    /// that no new ones come. May sleep.
    pub(crate) fn wait_idle(&self) -> bool {
        let until = now().saturating_add(SETTLE_MS);
        loop {
            {
                let mut state = self.state.lock();
                state.settling = true;
                if state.is_idle() {
                    return true;
                }
            }
            if now() > until {
                return false;
            }
            self.settled.wait(100);
        }
    }

    /// Lets go of the lock, then ends bios and wakes whoever has something to do. Any context.
    pub(super) fn release(&self, mut state: IrqGuard<'_, State>, ended: BioList) {
        let copied = core::mem::take(&mut state.copy_ended);
        let work = state.has_work();
        let drained = state.remote.draining && state.remote.outstanding == 0;
        let settled = state.settling && state.is_idle();
        let round = state.log.flush != RoundFlush::Idle && state.log.flush != RoundFlush::Running;
        drop(state);
        if round {
            self.flushed.raise();
        }
        if settled {
            self.settled.raise();
        }
        if drained {
            self.outgoing.raise();
        }
        if copied {
            self.copied.raise();
        }
        self.ended(ended, work);
    }

    pub(super) fn ended(&self, ended: BioList, work: bool) {
        if work {
            self.work.raise();
        }
        ended.end_all();
    }
}
