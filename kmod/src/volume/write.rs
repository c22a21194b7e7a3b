// SPDX-License-Identifier: GPL-2.0

//! Writes, flushes, discards and zeroes: to the local disk and to the leg.

use super::{
    now,
    state::{Entered, Request, State},
    Volume,
};
use crate::sys::{
    block::{Bio, BioList, Done, IoResult, Op},
    sync::{Busy, Guarded, IrqGuard},
};
use kernel::prelude::*;
use netraid_core::{
    inflight::Slot,
    wire::{Flags, Kind},
};

/// The local part of a request under way.
pub(super) struct Local {
    slot: Slot,
    volume: Busy<Volume>,
}

/// Takes in an application's bio that changes something; may sleep.
pub(super) fn submit(volume: &Guarded<Volume>, bio: Bio) {
    enter(volume, bio, Turn::Last);
}

/// Where a bio stands among those that wait for room in the table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It has just arrived, behind all that wait.
    Last,
    /// It has waited longest.
    First,
}

/// Puts a bio into the table and starts it if nothing is in its way; may sleep.
pub(super) fn enter(volume: &Guarded<Volume>, bio: Bio, turn: Turn) {
    let Some(busy) = volume.enter() else {
        return bio.end(Err(ENODEV));
    };
    // The clone is taken before the lock, and before the request is entered: whoever is in the table has all it needs
    // to end.
    let child = match volume.clones.clone_of(&bio, &volume.lower) {
        Ok(child) => child,
        Err(error) => return bio.end(Err(error)),
    };
    let mut state = volume.state.lock();
    if state.inflight.is_full() || (turn == Turn::Last && !state.overflow.is_empty()) {
        state.overflow.push(bio);
        // Room may have been made just before.
        let work = state.has_work();
        drop(state);
        if work {
            volume.work.raise();
        }
        return;
    }
    let mut request = describe(&bio);
    request.accounting = bio.start_accounting();
    request.bio = Some(bio);
    request.child = Some(child);
    if let Some(Entered::Started(slot)) = state.enter(request) {
        begin(volume, state, slot, busy);
    }
}

fn describe(bio: &Bio) -> Request {
    let (offset, len) = (bio.offset(), u64::from(bio.len()));
    let kind = match bio.op() {
        Op::Discard => Kind::Discard,
        Op::WriteZeroes => Kind::Zeroes,
        _ if len == 0 => Kind::Flush,
        _ => Kind::Write,
    };
    let flags = match kind {
        Kind::Write => Flags::NONE
            .with(Flags::FUA, bio.is_fua())
            .with(Flags::PREFLUSH, bio.is_preflush()),
        Kind::Zeroes => Flags::NONE.with(Flags::NOUNMAP, bio.is_nounmap()),
        _ => Flags::NONE,
    };
    Request {
        kind: Some(kind),
        flags,
        offset,
        len,
        ..Request::default()
    }
}

/// Decides who gets a request, lets go of the lock, and has it done, unless the metadata has to be written first.
pub(super) fn begin(volume: &Volume, mut state: IrqGuard<'_, State>, slot: Slot, busy: Busy<Volume>) {
    let live = state.remote.live;
    if !state.begin(slot, &volume.geometry, now()) {
        drop(state);
        return volume.journal.raise();
    }
    let child = state.request(slot).and_then(|request| request.child.take());
    drop(state);
    if live {
        volume.outgoing.raise();
    }
    match child {
        Some(child) => child.submit(Local { slot, volume: busy }),
        // Every entered request has one until it starts.
        None => Local { slot, volume: busy }.done(Err(EIO)),
    }
}

impl Done for Local {
    fn done(self, result: IoResult) {
        let volume = &*self.volume;
        let mut ended = BioList::new();
        let mut state = volume.state.lock();
        if let Some(request) = state.requests.get_mut(self.slot.index()) {
            request.local = false;
            if let Err(error) = result {
                request.error = Some(error);
                // The target may have what the local disk has not.
                let range = volume.geometry.range(request.offset, request.len);
                state.remote.dirty.set(range);
                state.copy_failed = true;
            }
        }
        state.finish_if_done(self.slot, &mut ended);
        volume.release(state, ended);
    }
}
