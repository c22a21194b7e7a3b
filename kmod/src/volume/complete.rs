// SPDX-License-Identifier: GPL-2.0

//! What happens after the lock: bios end, waiting threads wake.

use super::{
    log::RoundFlush,
    now,
    remote::Remote,
    state::{Origin, Request, State},
    Volume,
};
use crate::sys::{block::BioList, sync::IrqGuard};

/// How long a mirror that goes out of service waits for its last requests: longer than any leg takes to give its target
/// up, and than a disk takes to give a sector up.
const SETTLE_MS: u64 = 60_000;

impl Volume {
    /// Waits until no application's request is under way; false when that takes too long. The device has to be gone, so
    /// that no new ones come. May sleep.
    pub(crate) fn wait_idle(&self) -> bool {
        self.wait_idle_for(SETTLE_MS)
    }

    /// The same for at most so many milliseconds.
    pub(crate) fn wait_idle_for(&self, ms: u64) -> bool {
        let until = now().saturating_add(ms);
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

    /// Whether applications wait for nothing any more: what is under way has been acknowledged, and only
    /// asynchronous legs have not confirmed it.
    pub(crate) fn is_behind(&self) -> bool {
        let state = self.state.lock();
        let told = |request: &Request| request.origin != Origin::Application || request.told;
        let mut all = state
            .inflight
            .iter()
            .filter_map(|slot| state.requests.get(slot.index()));
        state.overflow.is_empty() && state.rescues.is_idle() && all.all(told)
    }

    /// Lets go of the lock, then ends bios and wakes whoever has something to do. Any context.
    pub(super) fn release(&self, mut state: IrqGuard<'_, State>, ended: BioList) {
        let copied = state.remotes.those(|remote| remote.copy_ended);
        for (_, remote) in state.remotes.iter_mut() {
            remote.copy_ended = false;
        }
        let work = state.has_work();
        // A cut is complete, or what a fence kept back can be sent.
        let can_send = |remote: &Remote| (remote.draining && remote.outstanding == 0) || remote.lag.has_passed();
        let sends = state.remotes.those(can_send);
        let settled = state.settling && state.is_idle();
        let rebuilding = core::mem::take(&mut state.rebuild.ended);
        let journal = state.log.local.is_unrecorded();
        let round = state.log.flush != RoundFlush::Idle && state.log.flush != RoundFlush::Running;
        drop(state);
        if round {
            self.flushed.raise();
        }
        if settled {
            self.settled.raise();
        }
        if rebuilding {
            self.rebuilding.raise();
        }
        if journal {
            self.journal.raise();
        }
        self.raise_all_outgoing(sends);
        for leg in copied.iter() {
            self.raise_copied(leg);
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
