// SPDX-License-Identifier: GPL-2.0

//! What happens after the lock: bios end, waiting threads wake.

use super::{state::State, Volume};
use crate::sys::{block::BioList, sync::IrqGuard};

impl Volume {
    /// Lets go of the lock, then ends bios and wakes whoever has something to do. Any context.
    pub(super) fn release(&self, mut state: IrqGuard<'_, State>, ended: BioList) {
        let copied = core::mem::take(&mut state.copy_ended);
        let work = state.has_work();
        let drained = state.remote.draining && state.remote.outstanding == 0;
        drop(state);
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
