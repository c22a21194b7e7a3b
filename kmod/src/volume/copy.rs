// SPDX-License-Identifier: GPL-2.0

//! Copies of the resync: read here, sent there, and in the same table as the application's writes, so that neither
//! overtakes the other. What several legs lack is read once: a copy goes to each leg that would ask for the same one.

use super::{
    legs::Remotes,
    now,
    remote::Remote,
    state::{Entered, Origin, Request, State},
    Volume,
};
use crate::resync::Clears;
use crate::sys::{
    block::{BioList, IoResult, Op, PagedBio, PagedDone},
    lend::Lent,
    sync::{Busy, Guarded},
};
use core::ops::Range;
use kernel::prelude::*;
use netraid_core::{
    chunk::Geometry,
    inflight::Slot,
    legs::{LegNumber, LegSet},
    pace::takes_unasked,
    resync::{is_shared, Cursor, Step},
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
    /// Bytes that other legs asked for and this one got, too, since the last call.
    pub(crate) shared_bytes: u64,
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
        let under_way = |chunk: u64| {
            if remote.shared_copies == 0 {
                // What the leg asked for itself is behind the cursor.
                return None;
            }
            state.shared_copy(leg, chunk)
        };
        let map = remote.dirty.map();
        cursor.next_with(map, doubtful, under_way, &self.geometry, max_bytes, SCAN_WORDS)
    }

    /// How copying to a leg stands. From now on so many bytes of copies may be under way; with 0 no resync is at work.
    pub(crate) fn copied_so_far(&self, leg: LegNumber, window: u64) -> Copied {
        let mut state = self.state.lock();
        let busy = state.applications > 0;
        match state.remotes.get_mut(leg) {
            Some(remote) => {
                remote.copy_window = window;
                Copied {
                    under_way: remote.copies,
                    bytes: remote.copy_bytes,
                    shared_bytes: core::mem::take(&mut remote.shared_bytes),
                    failed: core::mem::take(&mut remote.copy_failed),
                    busy,
                }
            }
            None => Copied {
                under_way: 0,
                bytes: 0,
                shared_bytes: 0,
                failed: false,
                busy,
            },
        }
    }
}

impl State {
    /// Where the copy ends that brings a leg this chunk though another leg asked for it.
    fn shared_copy(&self, leg: LegNumber, chunk: u64) -> Option<u64> {
        let mut requests = self.inflight.iter().filter_map(|slot| self.requests.get(slot.index()));
        let copy = requests.find(|request| request.is_copy_for(leg) && request.clears.contains(&chunk))?;
        Some(copy.clears.end)
    }

    /// The legs that a copy of any of these chunks is under way to.
    fn copied_to(&self, chunks: &Range<u64>) -> LegSet {
        let mut legs = LegSet::NONE;
        let requests = self.inflight.iter().filter_map(|slot| self.requests.get(slot.index()));
        for copy in requests.filter(|copy| copy.clears.start < chunks.end && chunks.start < copy.clears.end) {
            for leg in copy.legs.iter().filter(|leg| copy.is_copy_for(*leg)) {
                legs.put(leg, true);
            }
        }
        legs
    }

    /// The legs that a copy is good for: beside the one that asks for it those whose resync is at work, has room for
    /// what others ask for, and lacks just that, also when all that is under way has come.
    fn sharing(&self, copy: &Request, geometry: &Geometry) -> LegSet {
        let served = self.copied_to(&copy.clears);
        let mut legs = self.remotes.lacking(copy, geometry).without(served);
        legs.put(copy.leg, true);
        legs
    }
}

impl Remotes {
    /// The legs whose resync is at work, has room for what others ask for, and wants just this copy.
    fn lacking(&self, copy: &Request, geometry: &Geometry) -> LegSet {
        let compare = copy.kind == Some(Kind::Compare);
        // A piece of a chunk clears no mark, or that of the whole chunk.
        let whole = copy.clears == geometry.range(copy.offset, copy.len);
        let shares = |remote: &Remote| {
            let doubtful = |chunk: u64| remote.is_doubtful(chunk);
            let takes = remote.live && takes_unasked(remote.copy_bytes, remote.copy_window);
            takes && is_shared(remote.dirty.map(), doubtful, copy.clears.clone(), compare)
        };
        if whole {
            self.those(shares)
        } else {
            LegSet::NONE
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
    let mut request = Request {
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
    request.legs = state.sharing(&request, geometry);
    for (leg, remote) in state.remotes.iter_mut().filter(|(leg, _)| request.legs.contains(*leg)) {
        remote.copy_begins(leg, &request);
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
        // Pages that are not sent go back when the request is taken out of the table, or at the end of this function.
        let mut unused = None;
        let live = |leg: &LegNumber| remotes.get(*leg).is_some_and(|remote| remote.live);
        let sends: LegSet = request.legs.iter().filter(|leg| result.is_ok() && live(leg)).collect();
        if sends.is_empty() {
            unused = Some(pages);
        } else if is_zero && request.kind == Some(Kind::Write) {
            request.kind = Some(Kind::Zeroes);
            unused = Some(pages);
        } else {
            request.zero = is_zero;
            request.read = Some(Lent::new(pages));
        }
        for leg in request.legs.iter() {
            let Some(remote) = remotes.get_mut(leg) else { continue };
            if sends.contains(leg) {
                remote.queue(leg, self.slot, request, now());
            } else {
                remote.copy_left(leg, request);
                remote.copy_failed |= result.is_err();
            }
        }
        state.finish_if_done(self.slot, &mut BioList::new());
        volume.release(state, BioList::new());
        volume.raise_all_outgoing(sends);
        drop(unused);
    }
}
