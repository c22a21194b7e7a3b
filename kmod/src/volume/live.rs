// SPDX-License-Identifier: GPL-2.0

//! When writes go to a leg's target: from the moment it may get them until its connection is gone.

use super::{now, state::State, Volume};
use crate::sys::block::BioList;
use netraid_core::{inflight::Slot, legs::LegNumber};

impl Volume {
    /// From now on writes go to the target too; true when it misses nothing. Otherwise the target is told first that
    /// its copy is unusable. None where the local disk was given up: what is missing there can't be copied any more.
    pub(crate) fn go_live(&self, leg: LegNumber) -> Option<bool> {
        let mut state = self.state.lock();
        let State {
            remotes,
            log,
            generation,
            ..
        } = &mut *state;
        if log.local.is_gone() {
            return None;
        }
        let remote = remotes.get_mut(leg)?;
        remote.join();
        let same = remote.theirs == *generation && !log.is_parting();
        let clean = remote.is_clean(same);
        if !clean {
            remote.start_resync();
        } else if !same {
            // It has all of this generation, and is told of it; nothing more is written before it has noted that.
            log.followers.join(leg, now());
        }
        Some(clean)
    }

    /// From now on writes are marked only; true when nothing is outstanding. Otherwise the sender is woken when the last
    /// one is confirmed.
    pub(crate) fn cut(&self, leg: LegNumber) -> bool {
        let mut state = self.state.lock();
        state.log.followers.lost(leg);
        let drained = state.remotes.get_mut(leg).is_some_and(|remote| {
            remote.cut_off();
            remote.draining = true;
            remote.outstanding == 0
        });
        state.look_for_copy();
        drop(state);
        self.journal.raise();
        drained
    }

    /// Whether a cut is complete.
    pub(crate) fn is_drained(&self, leg: LegNumber) -> bool {
        self.with_leg(leg, |remote| remote.draining && remote.outstanding == 0)
    }

    /// The connection is gone: marks what was not confirmed and ends what only waited for it.
    pub(crate) fn abandon(&self, leg: LegNumber) {
        let mut ended = BioList::new();
        let mut state = self.state.lock();
        let Some(remote) = state.remotes.get_mut(leg) else {
            return;
        };
        remote.disconnect();
        // Before requests that waited for it end.
        state.look_for_copy();
        for number in 0..state.requests.len() {
            let Ok(number) = u16::try_from(number) else { break };
            state.abandon(Slot::from_number(number), leg, &self.geometry, &mut ended);
        }
        // What is on record may have waited for it.
        state.log.followers.lost(leg);
        let live = state.remotes.live();
        self.release(state, ended);
        // Another one may have been asked what this one did not answer.
        self.raise_all_outgoing(live);
        self.journal.raise();
    }
}
