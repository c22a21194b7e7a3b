// SPDX-License-Identifier: GPL-2.0

//! The leg as the data path sees it, as `volume/remote.rs` and `volume/exchange.rs` have it.

use super::bugs::Bugs;
use super::disk::{Disk, Mask};
use super::meta::{geometry, Crash, Meta};
use super::volume::{Origin, Outgoing, Request, RoundFlush, Step, Volume, Work};
use netraid_core::{
    request::{After, Part},
    resync::{Cursor, Step as Next},
    wire::Kind,
};

impl Volume {
    fn leave(&mut self) {
        self.live = false;
        self.changes += 1;
        if self.every_chunk {
            self.maps.dirty.set_all();
        }
    }

    pub(crate) fn go_live(&mut self) -> bool {
        self.live = true;
        self.draining = false;
        if self.bugs.has(Bugs::STALE_GENERATION) {
            // As it was when they greeted.
        } else {
            self.announced.resync = self.announced.theirs != self.generation;
        }
        if !self.bugs.has(Bugs::ROUND_ACROSS) {
            self.changes += 1;
        }
        let clean = self.dirty() == 0 && (!self.announced.resync || self.announced.covered);
        if !clean {
            self.tell(Kind::ResyncStart);
        }
        self.follows = clean && self.announced.resync;
        clean
    }

    pub(crate) fn cut(&mut self) -> bool {
        self.leave();
        self.follows = false;
        if !self.bugs.has(Bugs::TOGETHER_LATE) {
            // What is missed from now on is not part of it.
            self.control.retain(|it| *it != Kind::ResyncDone);
        }
        self.draining = true;
        self.outstanding == 0
    }

    pub(crate) fn abandon(&mut self) {
        self.leave();
        self.follows = false;
        self.connection += 1;
        self.draining = false;
        self.control.clear();
        self.queue.clear();
        let ids: Vec<u64> = self.requests.iter().map(|it| it.id).collect();
        for id in ids {
            let Some(request) = self.request(id) else { continue };
            let after = request.remote.abandon();
            if matches!(after, After::Unknown | After::UnknownPending) {
                if let Some(chunk) = request.chunk() {
                    self.maps.dirty.set(chunk as u64..chunk as u64 + 1);
                }
            }
            if after == After::Unknown {
                self.missed(id);
            }
        }
    }

    fn missed(&mut self, id: u64) {
        let Some(&mut Request { origin, work, .. }) = self.request(id) else {
            return;
        };
        if origin == Origin::Round {
            self.flush = RoundFlush::Lost;
        }
        let counts = work != Work::Flush || (self.intent() != 0 && !self.bugs.has(Bugs::FLUSH_ALONE));
        if origin == Origin::Application && counts && self.must_record_loss() {
            self.request(id).unwrap().parked = true;
            self.parked.push_back(id);
            self.outstanding -= 1;
            return;
        }
        self.outstanding -= 1;
        self.finish_if_done(id);
    }

    pub(crate) fn is_parting(&self) -> bool {
        self.step == Step::Parting || self.others == Step::Parting
    }

    fn must_record_loss(&mut self) -> bool {
        if self.step == Step::Together {
            self.step = Step::Parting;
        }
        self.step == Step::Parting
    }

    /// As `journal::release`: lets go on whoever waited for what is on the disk now.
    pub(crate) fn release(&mut self, disk: &mut Disk) {
        for _ in 0..self.waiting.len() {
            if let Some(id) = self.waiting.pop_front() {
                self.begin(id, disk);
            }
        }
        while !self.is_parting() {
            let Some(id) = self.parked.pop_front() else { break };
            self.request(id).unwrap().parked = false;
            self.finish_if_done(id);
        }
    }

    pub(crate) fn tell(&mut self, kind: Kind) {
        if !self.control.contains(&kind) {
            self.control.push(kind);
        }
    }

    pub(crate) fn has_outgoing(&self) -> bool {
        let waits = self.is_parting() && !self.bugs.has(Bugs::STALE_GENERATION);
        !(self.control.is_empty() || waits) || !self.queue.is_empty()
    }

    /// What the leg misses from now on is a new generation.
    pub(crate) fn note_together(&mut self, late: bool) {
        if self.bugs.has(Bugs::TOGETHER_LATE) == late {
            self.step = Step::Together;
        }
    }

    /// Whether there was no other connection since.
    pub(crate) fn is_now(&self, epoch: u64) -> bool {
        epoch == self.connection || self.bugs.has(Bugs::OLD_LINK)
    }

    pub(crate) fn next_outgoing(&mut self, epoch: u64) -> Option<Outgoing> {
        if !self.is_now(epoch) {
            return None;
        }
        const ORDER: [Kind; 4] = [Kind::ResyncStart, Kind::ResyncDone, Kind::Pause, Kind::Resume];
        if let Some(kind) = ORDER.into_iter().find(|kind| self.control.contains(kind)) {
            if self.bugs.has(Bugs::STALE_GENERATION) {
                self.control.retain(|it| *it != kind);
                if kind == Kind::ResyncDone {
                    self.note_together(false);
                }
                return Some(Outgoing::Control(kind, self.announced.generation));
            }
            if self.is_parting() {
                // The generation is about to change.
                return None;
            }
            self.control.retain(|it| *it != kind);
            if kind == Kind::ResyncDone {
                self.note_together(false);
            }
            return Some(Outgoing::Control(kind, self.generation));
        }
        loop {
            let id = self.queue.pop_front()?;
            if self.request(id).is_some_and(|it| it.remote.take() != After::Unexpected) {
                return Some(Outgoing::Request(id));
            }
        }
    }

    pub(crate) fn sent(&mut self, id: u64) {
        let Some(request) = self.request(id) else { return };
        let abandoned = request.remote == Part::Abandoned;
        if request.remote.give_back() == After::Stored {
            self.stored(id, abandoned);
        }
    }

    /// False where nobody waits for it.
    pub(crate) fn confirm(&mut self, seq: u64) -> bool {
        let Some(request) = self.requests.iter_mut().find(|it| it.seq == seq && seq != 0) else {
            return false;
        };
        if !matches!(request.remote, Part::Sent | Part::Sending) {
            return false;
        }
        let id = request.id;
        if request.remote.confirm() == After::Stored {
            self.stored(id, false);
        }
        true
    }

    fn stored(&mut self, id: u64, abandoned: bool) {
        if abandoned {
            return self.missed(id);
        }
        let Some(&mut Request { origin, work, .. }) = self.request(id) else {
            return;
        };
        match (origin, work) {
            (Origin::Copy, Work::Write(chunk, _)) => {
                let chunks = chunk as u64..chunk as u64 + 1;
                self.maps.intent.note(chunks.clone());
                self.maps.dirty.clear(chunks);
            }
            (Origin::Round, _) => self.flush = RoundFlush::Done,
            _ => {}
        }
        self.outstanding -= 1;
        self.finish_if_done(id);
    }

    /// What the resync does next.
    pub(crate) fn next_copy(&self, cursor: &mut Cursor) -> Next {
        cursor.next(self.maps.dirty.map(), &geometry(), geometry().chunk_size(), 64)
    }

    pub(crate) fn copy(&mut self, chunk: usize) {
        let id = self.add(Origin::Copy, Work::Write(chunk, 0));
        self.request(id).unwrap().local = Some(0);
        self.copies += 1;
    }

    pub(crate) fn flush_leg(&mut self) {
        let id = self.add(Origin::Round, Work::Flush);
        self.flush = RoundFlush::Running;
        self.queue(id);
    }

    /// The local disk is done with everything.
    pub(crate) fn end_local(&mut self, disk: &mut Disk) {
        while let Some(id) = self.requests.iter().find(|it| it.local.is_some()).map(|it| it.id) {
            self.local_done(id, disk);
        }
    }

    /// Ends everything that is under way without a leg.
    pub(crate) fn finish_all(&mut self, meta: &mut Meta, disk: &mut Disk) -> Result<(), Crash> {
        while !self.is_idle() {
            self.end_local(disk);
            self.journal(meta, disk, 0)?;
        }
        Ok(())
    }

    /// Chunks that the leg would miss were the connection lost now.
    pub(crate) fn missing(&self) -> Mask {
        let pending = self.requests.iter().filter(|it| it.remote.is_pending());
        pending.fold(self.dirty(), |mask, it| mask | it.mask())
    }
}
