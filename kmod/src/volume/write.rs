// SPDX-License-Identifier: GPL-2.0

//! Writes, flushes, discards and zeroes: to the local disk and to the legs.

use super::{
    begin::Begun,
    direct, now, shadow,
    state::{Entered, Request, State},
    Volume,
};
use crate::sys::{
    block::{Bio, BioList, Done, IoResult, Op},
    lend::Lent,
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
    // to end. Another disk may be put in meanwhile.
    let disk = volume.disks.number();
    let child = match volume.clones.clone_of(&bio, volume.disks.get(disk)) {
        Ok(child) => child,
        Err(error) => return bio.end(Err(error)),
    };
    let shadow = shadow::of(volume, &bio);
    let mut state = volume.state.lock();
    if volume.disks.number() != disk {
        drop(state);
        drop((child, shadow, busy));
        return enter(volume, bio, turn);
    }
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
    request.bio = Some(Lent::new(bio));
    request.child = Some(child);
    request.disk = disk;
    request.shadow = shadow.map(Lent::new);
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
    let live = state.remotes.live();
    let begun = state.begin(slot, &volume.geometry, volume.disks.number(), now());
    match begun {
        Begun::Both | Begun::Legs => {}
        Begun::Waits => {
            drop(state);
            return volume.journal.raise();
        }
        Begun::Failed => {
            let mut ended = BioList::new();
            let child = state.request(slot).and_then(|request| request.child.take());
            state.finish_if_done(slot, &mut ended);
            volume.release(state, ended);
            return drop(child);
        }
    }
    let congested = state.remotes.those(|remote| remote.congested);
    let request = state.request(slot);
    let short = request
        .as_ref()
        .is_some_and(|request| request.data_len() <= direct::LONGEST.into());
    let child = request.and_then(|request| request.child.take());
    let alone = state.remotes.those(|remote| short && remote.is_alone());
    drop(state);
    for leg in congested.iter() {
        volume.raise_copied(leg);
    }
    for leg in live.iter() {
        if alone.contains(leg) {
            volume.send_or_raise(leg);
        } else {
            volume.raise_outgoing(leg);
        }
    }
    match child {
        // The disk is not asked any more, or is another one now.
        Some(_) if begun == Begun::Legs => {}
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
        let disk = state.request(self.slot).map_or(0, |request| request.disk);
        let failed = result
            .err()
            .filter(|error| !volume.disk_failed(&mut state, disk, *error));
        let State { requests, remotes, .. } = &mut *state;
        if let Some(request) = requests.get_mut(self.slot.index()) {
            request.local = false;
            if let Some(error) = failed {
                request.error = Some(error);
                // The targets may have what the local disk has not.
                let range = volume.geometry.range(request.offset, request.len);
                for (_, remote) in remotes.iter_mut() {
                    remote.dirty.set(range.clone());
                    remote.copy_failed = true;
                }
            }
        }
        state.finish_if_done(self.slot, &mut ended);
        volume.release(state, ended);
    }
}
