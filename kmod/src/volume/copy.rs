// SPDX-License-Identifier: GPL-2.0

//! Copies of the resync: read here, sent there, and in the same table as the application's writes, so that neither
//! overtakes the other.

use super::{
    now,
    state::{Entered, Origin, Request, State},
    Volume,
};
use crate::resync::Clears;
use crate::sys::{
    block::{BioList, IoResult, Op, PagedBio, PagedDone},
    sync::{Busy, Guarded},
};
use kernel::prelude::*;
use netraid_core::{
    inflight::Slot,
    legs::LegNumber,
    resync::{Cursor, Step},
    wire::{Flags, Kind},
};

/// Words of the map looked at under the lock at a time: 256 KiB of disk for each bit, a few microseconds.
const SCAN_WORDS: usize = 4096;

/// The reading part of a copy.
pub(crate) struct Copy {
    slot: Slot,
    volume: Busy<Volume>,
}

/// How copying stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Copied {
    /// Copies not yet confirmed.
    pub(crate) under_way: u32,
    /// Bytes of those.
    pub(crate) bytes: u64,
    /// The local disk could not be read since the last call.
    pub(crate) failed: bool,
    /// The application has requests under way.
    pub(crate) busy: bool,
}

impl Volume {
    /// What to copy to a leg next.
    pub(crate) fn next_copy(&self, leg: LegNumber, cursor: &mut Cursor, max_bytes: u32) -> Step {
        let state = self.state.lock();
        let Some(remote) = state.remotes.get(leg) else {
            return Step::End;
        };
        let doubtful = |chunk: u64| remote.is_doubtful(chunk);
        cursor.next_with(remote.dirty.map(), doubtful, &self.geometry, max_bytes, SCAN_WORDS)
    }

    /// How copying to a leg stands.
    pub(crate) fn copied_so_far(&self, leg: LegNumber) -> Copied {
        let mut state = self.state.lock();
        let busy = state.applications > 0;
        match state.remotes.get_mut(leg) {
            Some(remote) => Copied {
                under_way: remote.copies,
                bytes: remote.copy_bytes,
                failed: core::mem::take(&mut remote.copy_failed),
                busy,
            },
            None => Copied {
                under_way: 0,
                bytes: 0,
                failed: false,
                busy,
            },
        }
    }
}

/// A part of the disk to be copied to a leg.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    pub(crate) leg: LegNumber,
    pub(crate) offset: u64,
    pub(crate) len: u32,
    /// It is copied only if the target holds something else.
    pub(crate) compare: bool,
    /// Which marks the confirmation clears.
    pub(crate) clears: Clears,
}

/// Begins to copy. May sleep. False when the table is full.
pub(crate) fn enter(volume: &Guarded<Volume>, part: Part) -> Result<bool> {
    let Part {
        leg,
        offset,
        len,
        compare,
        clears,
    } = part;
    let busy = volume.enter().ok_or(ENODEV)?;
    let disk = volume.disks.number();
    let pages = PagedBio::new(&volume.copies, &volume.pool, volume.disks.get(disk), offset, len)?;
    let geometry = &volume.geometry;
    let clears = match clears {
        Clears::Covered => geometry.inner_range(offset, u64::from(len)),
        Clears::Chunk(offset, len) => geometry.inner_range(offset, len),
        Clears::Nothing => 0..0,
    };
    let request = Request {
        copy: Some(pages),
        origin: Origin::Copy,
        leg,
        clears,
        kind: Some(if compare { Kind::Compare } else { Kind::Write }),
        flags: Flags::RESYNC,
        offset,
        len: u64::from(len),
        ..Request::default()
    };
    let mut state = volume.state.lock();
    // What was given up, be it replaced meanwhile, is not copied from.
    if state.log.local.is_gone() || volume.disks.number() != disk {
        drop(state);
        drop(request);
        return Err(EIO);
    }
    if state.inflight.is_full() {
        drop(state);
        // The pages go back outside the lock.
        drop(request);
        return Ok(false);
    }
    if let Some(remote) = state.remotes.get_mut(leg) {
        remote.copies = remote.copies.saturating_add(1);
        remote.copy_bytes = remote.copy_bytes.saturating_add(u64::from(len));
    }
    if let Some(Entered::Started(slot)) = state.enter(request) {
        let pages = begin(&mut state, slot);
        drop(state);
        start(pages, slot, busy);
    }
    Ok(true)
}

/// Under the lock: takes the pages out for reading.
pub(super) fn begin(state: &mut State, slot: Slot) -> Option<PagedBio<Copy>> {
    let request = state.request(slot)?;
    request.local = true;
    request.copy.take()
}

/// After the lock: reads.
pub(super) fn start(pages: Option<PagedBio<Copy>>, slot: Slot, busy: Busy<Volume>) {
    if let Some(pages) = pages {
        pages.submit(Op::Read, false, false, Copy { slot, volume: busy });
    }
}

impl PagedDone for Copy {
    fn done(self, pages: PagedBio<Self>, result: IoResult) {
        let volume = &*self.volume;
        // What is all zero travels as such.
        let is_zero = result.is_ok() && pages.is_zero();
        let mut state = volume.state.lock();
        let State {
            requests, remotes, log, ..
        } = &mut *state;
        let Some(request) = requests.get_mut(self.slot.index()) else {
            return;
        };
        // What was read from a disk that was given up is not sent: it may lack what the target has.
        let result = if log.local.is_gone() { Err(EIO) } else { result };
        request.local = false;
        let leg = request.leg;
        let mut sends = false;
        // Pages that are not sent go back when the request is taken out of the table, or at the end of this function.
        let mut unused = None;
        if let Some(remote) = remotes.get_mut(leg).filter(|remote| remote.live && result.is_ok()) {
            sends = true;
            request.zero = is_zero;
            if is_zero && request.kind == Some(Kind::Write) {
                request.kind = Some(Kind::Zeroes);
                unused = Some(pages);
            } else {
                request.copy = Some(pages);
            }
            remote.queue(leg, self.slot, request, now());
        } else {
            unused = Some(pages);
        }
        if let Some(remote) = remotes.get_mut(leg) {
            remote.copy_failed |= result.is_err();
        }
        state.finish_if_done(self.slot, &mut BioList::new());
        volume.release(state, BioList::new());
        if sends {
            volume.raise_outgoing(leg);
        }
        drop(unused);
    }
}
