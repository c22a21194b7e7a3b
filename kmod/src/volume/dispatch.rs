// SPDX-License-Identifier: GPL-2.0

//! The dispatcher: starts what had to wait. Completions run in interrupts, where nothing can be submitted.

use super::{copy, rescue, state::Origin, write, Volume};
use crate::sys::{block::Bio, sync::Guarded};

/// How long the dispatcher sleeps when nothing raises its event; only a safety net.
const NAP_MS: u32 = 1000;

/// The thread's body.
pub(super) fn run(volume: &Guarded<Volume>) {
    loop {
        volume.work.wait(NAP_MS);
        start_ready(volume);
        // First: they are few, and the others fill the table again as soon as there is room.
        rescue::start_waiting(volume);
        while let Some(bio) = next_overflow(volume) {
            write::enter(volume, bio, write::Turn::First);
        }
        if volume.state.lock().stopping {
            return;
        }
    }
}

fn start_ready(volume: &Guarded<Volume>) {
    loop {
        // Taken before the lock; a volume that is going away has no request left to start.
        let Some(busy) = volume.enter() else { return };
        let mut state = volume.state.lock();
        let Some(slot) = state.inflight.pop_ready() else { return };
        match state.request(slot).map(|request| request.origin) {
            Some(Origin::Copy) => {
                let pages = copy::begin(&mut state, slot);
                drop(state);
                copy::start(pages, slot, busy);
            }
            Some(Origin::Rescue | Origin::Rebuild) => rescue::begin(volume, state, slot),
            _ => write::begin(volume, state, slot, busy),
        }
    }
}

fn next_overflow(volume: &Volume) -> Option<Bio> {
    let mut state = volume.state.lock();
    if state.inflight.is_full() {
        return None;
    }
    state.overflow.pop()
}
