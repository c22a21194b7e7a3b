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
    /// What to copy next.
    pub(crate) fn next_copy(&self, cursor: &mut Cursor, max_bytes: u32) -> Step {
        let state = self.state.lock();
        let remote = &state.remote;
        let doubtful = |chunk: u64| remote.is_doubtful(chunk);
        cursor.next_with(remote.dirty.map(), doubtful, &self.geometry, max_bytes, SCAN_WORDS)
    }

    /// How copying stands.
    pub(crate) fn copied_so_far(&self) -> Copied {
        let mut state = self.state.lock();
        let failed = core::mem::take(&mut state.copy_failed);
        Copied {
            under_way: state.copies,
            bytes: state.copy_bytes,
            failed,
            busy: state.applications > 0,
        }
    }
}

/// Begins to copy `len` bytes from `offset` on, with `compare` only if the target holds something else; `clears` says
/// which marks the confirmation clears. May sleep. False when the table is full.
pub(crate) fn enter(volume: &Guarded<Volume>, offset: u64, len: u32, compare: bool, clears: Clears) -> Result<bool> {
    let busy = volume.enter().ok_or(ENODEV)?;
    let pages = PagedBio::new(&volume.copies, &volume.pool, &volume.lower, offset, len)?;
    let geometry = &volume.geometry;
    let clears = match clears {
        Clears::Covered => geometry.inner_range(offset, u64::from(len)),
        Clears::Chunk(offset, len) => geometry.inner_range(offset, len),
        Clears::Nothing => 0..0,
    };
    let request = Request {
        copy: Some(pages),
        origin: Origin::Copy,
        clears,
        kind: Some(if compare { Kind::Compare } else { Kind::Write }),
        flags: Flags::RESYNC,
        offset,
        len: u64::from(len),
        ..Request::default()
    };
    let mut state = volume.state.lock();
    if state.inflight.is_full() {
        drop(state);
        // The pages go back outside the lock.
        drop(request);
        return Ok(false);
    }
    state.copies = state.copies.saturating_add(1);
    state.copy_bytes = state.copy_bytes.saturating_add(u64::from(len));
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
        let live = state.remote.live;
        let State {
            requests,
            remote,
            copy_failed,
            ..
        } = &mut *state;
        let Some(request) = requests.get_mut(self.slot.index()) else {
            return;
        };
        request.local = false;
        // Pages that are not sent go back when the request is taken out of the table, or at the end of this function.
        let mut unused = None;
        if result.is_ok() && live {
            request.zero = is_zero;
            if is_zero && request.kind == Some(Kind::Write) {
                request.kind = Some(Kind::Zeroes);
                unused = Some(pages);
            } else {
                request.copy = Some(pages);
            }
            remote.queue(self.slot, request, now());
        } else {
            *copy_failed |= result.is_err();
            unused = Some(pages);
        }
        state.finish_if_done(self.slot, &mut BioList::new());
        volume.release(state, BioList::new());
        if live {
            volume.outgoing.raise();
        }
        drop(unused);
    }
}
