// SPDX-License-Identifier: GPL-2.0

//! Reads that the local disk failed: the target is asked, and the local disk gets what it answered. How that fits among
//! the writes is told in [`netraid_core::rescue`].
//!
//! The data goes into pages of our own: those of the application may be the same one many times, and are its own again
//! as soon as its read has ended, which is before the repair is over.

use super::{
    now,
    state::{Entered, Origin, Request, State},
    Volume,
};
use crate::{
    meta::maps::PEER,
    sys::{
        block::{Bio, BioList, IoResult, Op, PagedBio, PagedDone},
        errno::EOPNOTSUPP,
        misc,
        sync::{Busy, Guarded, IrqGuard},
    },
};
use kernel::prelude::*;
use netraid_core::{
    inflight::Slot,
    name::Name,
    rescue::{Answer, Asked, Quiet, Standing, MOST},
    wire::{Header, Kind},
};

/// The repairing part of such a read.
pub(crate) struct Repair {
    slot: Slot,
    offset: u64,
    mirror: Name,
    volume: Busy<Volume>,
}

/// Numbers for the operator.
#[derive(Clone, Copy, Default)]
pub(crate) struct Reads {
    /// Reads that the local disk failed.
    pub(crate) errors: u64,
    /// Those of them that the target served.
    pub(crate) remote: u64,
    /// Bytes written to the local disk again.
    pub(crate) repaired_bytes: u64,
    /// How often that failed.
    pub(crate) repair_errors: u64,
}

/// All such reads of a volume.
pub(super) struct Rescues {
    /// Reads that are not in the table yet; their error is noted in them.
    waiting: BioList,
    /// Those in the table.
    under_way: usize,
    reads: Quiet,
    repairs: Quiet,
    pub(super) counters: Reads,
}

impl Rescues {
    pub(super) const fn new() -> Self {
        Self {
            waiting: BioList::new(),
            under_way: 0,
            reads: Quiet::NEW,
            repairs: Quiet::NEW,
            counters: Reads::NONE,
        }
    }

    /// Whether none is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way == 0 && self.waiting.is_empty()
    }

    /// Whether one may enter the table if there is room.
    pub(super) fn has_ready(&self) -> bool {
        self.under_way < MOST && !self.waiting.is_empty()
    }

    /// One has left the table.
    pub(super) fn left(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }
}

impl Reads {
    const NONE: Self = Self {
        errors: 0,
        remote: 0,
        repaired_bytes: 0,
        repair_errors: 0,
    };
}

/// The local disk failed a read whose accounting goes on; any context. It ends with the error, unless the target is to
/// be asked.
pub(super) fn failed(volume: &Volume, mut bio: Bio, accounting: usize, error: Error) {
    // Nothing is wrong with the disk.
    let usual = error == EAGAIN || error == EOPNOTSUPP;
    let mut state = volume.state.lock();
    if !usual {
        state.rescues.counters.errors = state.rescues.counters.errors.saturating_add(1);
    }
    if usual || !state.remote.standing(false).may_ask() {
        drop(state);
        bio.finish_accounting(accounting, Err(error));
        return bio.end(Err(error));
    }
    bio.note(Err(error));
    state.rescues.waiting.push(bio);
    drop(state);
    volume.work.raise();
}

/// Moves reads into the table as far as there is room; may sleep.
pub(super) fn start_waiting(volume: &Volume) {
    loop {
        let mut state = volume.state.lock();
        if state.inflight.is_full() || !state.rescues.has_ready() {
            return;
        }
        let Some(bio) = state.rescues.waiting.pop() else { return };
        state.rescues.under_way = state.rescues.under_way.saturating_add(1);
        let request = Request {
            origin: Origin::Rescue,
            kind: Some(Kind::Read),
            offset: bio.offset(),
            len: u64::from(bio.len()),
            error: Some(bio.noted().err().unwrap_or(EIO)),
            // Until here it was the local disk's.
            accounting: misc::jiffies(),
            bio: Some(bio),
            ..Request::default()
        };
        if let Some(Entered::Started(slot)) = state.enter(request) {
            begin(volume, state, slot);
        }
    }
}

/// Nothing overlaps a read any more: asks the target, or ends it.
pub(super) fn begin(volume: &Volume, mut state: IrqGuard<'_, State>, slot: Slot) {
    let mut ended = BioList::new();
    let State { remote, requests, .. } = &mut *state;
    let mut asks = false;
    if let Some(request) = requests.get_mut(slot.index()) {
        let chunks = volume.geometry.range(request.offset, request.len);
        asks = remote.standing(remote.dirty.map().any(chunks)).may_ask();
        if asks {
            remote.queue(slot, request, now());
        }
    }
    state.finish_if_done(slot, &mut ended);
    volume.release(state, ended);
    if asks {
        volume.outgoing.raise();
    }
}

impl super::remote::Remote {
    fn standing(&self, marked: bool) -> Standing {
        Standing {
            live: self.live,
            in_step: self.in_step,
            known: self.answers_reads,
            marked,
        }
    }
}

/// How a request is told to the target.
pub(super) fn asked(slot: Slot, request: &Request) -> Asked {
    Asked {
        handle: u32::from(slot.number()),
        seq: request.seq,
        offset: request.offset,
        len: request.len,
    }
}

impl State {
    /// What an answer is to those who wait for one, and to whom.
    fn answered(&mut self, header: &Header) -> Option<(Slot, Answer)> {
        let slot = Slot::from_number(u16::try_from(header.handle).ok()?);
        let request = self.request(slot).filter(|it| it.origin == Origin::Rescue)?;
        request
            .remote
            .is_pending()
            .then(|| (slot, asked(slot, request).answer(header)))
    }
}

impl Volume {
    /// What an answer of the target is.
    pub(crate) fn answer(&self, header: &Header) -> Answer {
        let mut state = self.state.lock();
        state.answered(header).map_or(Answer::Unexpected, |(_, answer)| answer)
    }

    /// Pages for the data of an answer that [`Volume::answer`] approved of. Sleeps until earlier repairs leave some.
    pub(crate) fn answer_pages(&self, header: &Header) -> Result<PagedBio<Repair>> {
        PagedBio::new(&self.repairs, &self.repair_pool, &self.lower, header.offset, header.len)
    }

    fn name(&self) -> (Name, Name) {
        let store = &self.store;
        store.with(|sb| (sb.name, sb.peers.get(PEER).map_or(Name::EMPTY, |peer| peer.name)))
    }
}

/// An answer has arrived whole, with its data unless the target could not read it. May sleep.
pub(crate) fn arrived(volume: &Guarded<Volume>, header: &Header, pages: Option<PagedBio<Repair>>) {
    let mut ended = BioList::new();
    let mut state = volume.state.lock();
    let Some((slot, _)) = state.answered(header) else {
        // The connection was given up meanwhile, and the read has ended. The pages go back outside the lock.
        return drop(state);
    };
    state.remote.progress_ms = now();
    let Some(request) = state.request(slot) else { return };
    let _stored = request.remote.confirm();
    let Some(pages) = pages else {
        state.remote_done(slot, &mut ended);
        return volume.release(state, ended);
    };
    // It stays in the table until the repair is over.
    request.local = true;
    let (bio, accounting, error) = (request.bio.take(), request.accounting, request.error.take());
    state.remote_done(slot, &mut ended);
    state.rescues.counters.remote = state.rescues.counters.remote.saturating_add(1);
    let told = state.rescues.reads.tell(now());
    volume.release(state, ended);
    if let Some(mut bio) = bio {
        pages.copy_to(&bio);
        bio.finish_accounting(accounting, Ok(()));
        bio.end(Ok(()));
    }
    let (mirror, peer) = volume.name();
    if let Some(kept) = told {
        let errno = -error.unwrap_or(EIO).to_errno();
        pr_warn!(
            "mirror {}: the disk of this machine can't read {} bytes at offset {} (error {errno}); {} had them, and they \
             are written here anew ({kept} more since the last such message)\n",
            mirror.as_str(),
            header.len,
            header.offset,
            peer.as_str()
        );
    }
    // The volume is there as long as its leg has threads.
    let Some(busy) = volume.enter() else { return };
    let repair = Repair {
        slot,
        offset: header.offset,
        mirror,
        volume: busy,
    };
    pages.submit(Op::Write, false, false, repair);
}

impl PagedDone for Repair {
    fn done(self, pages: PagedBio<Self>, result: IoResult) {
        let volume = &*self.volume;
        let bytes = u64::from(pages.len());
        // The pages go back before the place in the table is given to the next.
        drop(pages);
        let mut ended = BioList::new();
        let mut state = volume.state.lock();
        if let Some(request) = state.request(self.slot) {
            request.local = false;
        }
        let rescues = &mut state.rescues;
        let mut told = None;
        if result.is_ok() {
            rescues.counters.repaired_bytes = rescues.counters.repaired_bytes.saturating_add(bytes);
        } else {
            rescues.counters.repair_errors = rescues.counters.repair_errors.saturating_add(1);
            told = rescues.repairs.tell(now());
        }
        state.finish_if_done(self.slot, &mut ended);
        volume.release(state, ended);
        if let (Err(error), Some(kept)) = (result, told) {
            let errno = -error.to_errno();
            pr_warn!(
                "mirror {}: the disk of this machine can't be repaired by writing {bytes} bytes at offset {} (error \
                 {errno}); replace it ({kept} more since the last such message)\n",
                self.mirror.as_str(),
                self.offset
            );
        }
    }
}
