// SPDX-License-Identifier: GPL-2.0

//! Reads that the local disk failed: the target is asked, and the local disk gets what it answered. How that fits among
//! the writes is told in [`netraid_core::rescue`]. Where the disk was given up all reads come here, and nothing is repaired.
//!
//! The data goes into pages of our own: those of the application may be the same one many times, and are its own again
//! as soon as its read has ended, which is before the repair is over.

use super::{
    now,
    remote::Remote,
    state::{Entered, Origin, Request, State},
    Volume,
};
use crate::sys::{
    block::{Bio, BioList, IoResult, Op, PagedBio, PagedDone},
    errno::EOPNOTSUPP,
    lend::Lent,
    misc,
    sync::{Busy, Guarded, IrqGuard},
};
use kernel::prelude::*;
use netraid_core::{
    chunk::Geometry,
    inflight::Slot,
    legs::LegNumber,
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
    if usual || state.may_ask(|_| false).is_none() {
        drop(state);
        bio.finish_accounting(accounting, Err(error));
        return bio.end(Err(error));
    }
    bio.note(Err(error));
    state.rescues.waiting.push(bio);
    drop(state);
    volume.work.raise();
}

/// A read that the local disk is not asked for, since it was given up: a target has to be. May sleep.
pub(super) fn remote(volume: &Volume, mut bio: Bio) {
    let accounting = bio.start_accounting();
    let mut state = volume.state.lock();
    if state.may_ask(|_| false).is_none() {
        drop(state);
        bio.finish_accounting(accounting, Err(EIO));
        return bio.end(Err(EIO));
    }
    // What it ends with, should no target answer.
    bio.note(Err(EIO));
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
            disk: volume.disks.number(),
            // Until here it was the local disk's.
            accounting: misc::jiffies(),
            bio: Some(Lent::new(bio)),
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
    let asked = state.ask(slot, &volume.geometry);
    state.finish_if_done(slot, &mut ended);
    volume.release(state, ended);
    if let Some(leg) = asked {
        volume.raise_outgoing(leg);
    }
}

impl Remote {
    fn standing(&self, marked: bool) -> Standing {
        Standing {
            live: self.live,
            in_step: self.complete,
            known: self.answers_reads,
            marked,
        }
    }
}

/// How a request is told to the target.
pub(super) fn asked(slot: Slot, request: &Request) -> Asked {
    Asked {
        handle: u32::from(slot.number()),
        seq: request.seq(request.leg),
        offset: request.offset,
        len: request.len,
    }
}

impl State {
    /// A leg that certainly holds what the local disk should give; `marked` says of its marks whether it may not.
    fn may_ask(&self, marked: impl Fn(&Remote) -> bool) -> Option<LegNumber> {
        let able = |(leg, remote): (LegNumber, &Remote)| remote.standing(marked(remote)).may_ask().then_some(leg);
        self.remotes.iter().find_map(able)
    }

    /// Whether some leg holds what was acknowledged, and can be read from.
    pub(super) fn has_readable_leg(&self) -> bool {
        self.may_ask(|_| false).is_some()
    }

    /// Asks a leg for the data of a read, if there is one to be asked.
    pub(super) fn ask(&mut self, slot: Slot, geometry: &Geometry) -> Option<LegNumber> {
        let request = self.requests.get(slot.index())?;
        let chunks = geometry.range(request.offset, request.len);
        let leg = self.may_ask(|remote| remote.dirty.map().any(chunks.clone()))?;
        let Self { remotes, requests, .. } = self;
        let request = requests.get_mut(slot.index())?;
        request.leg = leg;
        remotes.get_mut(leg)?.queue(leg, slot, request, now());
        Some(leg)
    }

    /// What an answer of a leg is to those who wait for one, and to whom.
    fn answered(&mut self, leg: LegNumber, header: &Header) -> Option<(Slot, Answer)> {
        let slot = Slot::from_number(u16::try_from(header.handle).ok()?);
        let asked_it = |it: &&mut Request| it.origin.asks() && it.leg == leg;
        let request = self.request(slot).filter(asked_it)?;
        request
            .remote
            .of(leg)
            .is_pending()
            .then(|| (slot, asked(slot, request).answer(header)))
    }
}

impl Volume {
    /// What an answer of the target is.
    pub(crate) fn answer(&self, leg: LegNumber, header: &Header) -> Answer {
        let mut state = self.state.lock();
        state
            .answered(leg, header)
            .map_or(Answer::Unexpected, |(_, answer)| answer)
    }

    /// Pages for the data of an answer that [`Volume::answer`] approved of. Sleeps until earlier repairs leave some.
    pub(crate) fn answer_pages(&self, header: &Header) -> Result<PagedBio<Repair>> {
        PagedBio::new(
            &self.repairs,
            &self.repair_pool,
            self.lower(),
            header.offset,
            header.len,
        )
    }

    /// The names of the mirror and of a leg's target.
    pub(super) fn names(&self, leg: LegNumber) -> (Name, Name) {
        let store = &self.store;
        store.with(|sb| {
            let peer = sb.peers.get(leg.index());
            (sb.name, peer.map_or(Name::EMPTY, |peer| peer.name))
        })
    }
}

/// An answer has arrived whole, with its data unless the target could not read it. May sleep.
pub(crate) fn arrived(volume: &Guarded<Volume>, leg: LegNumber, header: &Header, pages: Option<PagedBio<Repair>>) {
    let mut ended = BioList::new();
    let mut state = volume.state.lock();
    let Some((slot, _)) = state.answered(leg, header) else {
        // The connection was given up meanwhile, and the read has ended. The pages go back outside the lock.
        return drop(state);
    };
    if let Some(remote) = state.remotes.get_mut(leg) {
        remote.progress_ms = now();
    }
    let gone = state.log.local.is_gone();
    let Some(request) = state.request(slot) else { return };
    let _stored = request.remote.confirm(leg);
    let Some(pages) = pages else {
        state.remote_done(slot, leg, &mut ended);
        return volume.release(state, ended);
    };
    // It stays in the table until the repair is over.
    // One that was given up is not repaired, but for one that was put in.
    let rebuilds = request.origin == Origin::Rebuild;
    let writes = rebuilds || !gone;
    request.local = writes;
    let (bio, accounting, error) = (request.bio.take(), request.accounting, request.error.take());
    state.remote_done(slot, leg, &mut ended);
    let mut told = None;
    if !rebuilds {
        state.rescues.counters.remote = state.rescues.counters.remote.saturating_add(1);
    }
    if !gone {
        told = state.rescues.reads.tell(now());
    }
    volume.release(state, ended);
    // It is not lent to anybody: its data was asked for.
    if let Some(mut bio) = bio.and_then(Lent::into_inner) {
        pages.copy_to(&bio);
        bio.finish_accounting(accounting, Ok(()));
        bio.end(Ok(()));
    }
    if !writes {
        return;
    }
    let (mirror, peer) = volume.names(leg);
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
        let (mut disk, mut rebuilds) = (0, false);
        if let Some(request) = state.request(self.slot) {
            request.local = false;
            (disk, rebuilds) = (request.disk, request.origin == Origin::Rebuild);
            if rebuilds {
                request.error = result.err();
            }
        }
        let rescues = &mut state.rescues;
        let mut told = None;
        if rebuilds {
            // Counted, and told, by whoever wanted it.
        } else if result.is_ok() {
            rescues.counters.repaired_bytes = rescues.counters.repaired_bytes.saturating_add(bytes);
        } else {
            rescues.counters.repair_errors = rescues.counters.repair_errors.saturating_add(1);
            told = rescues.repairs.tell(now());
        }
        if let Err(error) = result {
            let _gone = volume.disk_failed(&mut state, disk, error);
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
