// SPDX-License-Identifier: GPL-2.0

//! The journal of a volume and the rounds of its log of intents: what is on record, and when it may go.

use crate::disk::Disk;
use crate::net::Message;
use crate::rng::Rng;
use crate::store::{PowerCut, Store, Which};
use crate::volume::{bit, Origin, Remote, Round, Step, Volume};
use netraid_core::generation;
use netraid_core::marks::BLOCK_WORDS;

impl Volume {
    /// Writes one block, or the new generation; false where there is nothing to write.
    pub fn journal(&mut self, store: &mut Store, rng: &mut Rng) -> Result<bool, PowerCut> {
        if self.step == Step::Parting {
            self.part(store, rng)?;
            return Ok(true);
        }
        let which = if self.intent.marks().next_urgent().is_some() {
            Which::Intent
        } else if self.dirty.next_urgent().is_some() {
            Which::Dirty
        } else if !self.lazily {
            return Ok(false);
        } else if self.intent.marks().next_lazy(0).is_some() {
            Which::Intent
        } else if self.dirty.next_lazy(0).is_some() {
            Which::Dirty
        } else {
            self.lazily = false;
            return Ok(false);
        };
        let mut words = [0; BLOCK_WORDS];
        match which {
            Which::Intent => self.intent.marks_mut().begin(0, |_| 0, &mut words),
            Which::Dirty => {
                let intent = self.intent.marks();
                let hold = |index: usize| intent.map().word(index) & !intent.kept_word(index);
                self.dirty.begin(0, hold, &mut words);
            }
        }
        store.write_map(which, &words)?;
        match which {
            Which::Intent => self.intent.marks_mut().end(0, &words, true),
            Which::Dirty => self.dirty.end(0, &words, true),
        }
        Ok(true)
    }

    /// Records that the leg misses what is written from now on.
    pub fn part(&mut self, store: &mut Store, rng: &mut Rng) -> Result<(), PowerCut> {
        let fresh = rng.fresh();
        store.change(|sb| {
            sb.peers[0].base = sb.current;
            generation::rotate(&mut sb.current, &mut sb.history, fresh);
        })?;
        self.step = Step::Apart;
        Ok(())
    }

    /// Waits until every mark is on the disk.
    pub fn keep_marks(&mut self, store: &mut Store, rng: &mut Rng) -> Result<(), PowerCut> {
        self.lazily = true;
        for _ in 0..8 {
            if !self.journal(store, rng)? {
                break;
            }
        }
        Ok(())
    }

    /// Begins a round of the intent log, or ends one whose flushes are done.
    pub fn round(&mut self, disk: &mut Disk, out: &mut Vec<Message>) {
        if let Some(round) = self.round {
            if let Some(durable) = round.durable {
                self.round = None;
                self.end_round(round.losses, durable);
            }
            return;
        }
        self.lazily = true;
        if self.intent.marks().map().ones() == 0 {
            return;
        }
        self.intent.begin_round();
        for request in &self.requests {
            if request.origin != Origin::Round {
                self.intent.exclude(bit(request.chunk));
            }
        }
        if !self.intent.has_proposals() {
            return;
        }
        let losses = self.losses;
        disk.flush();
        if !self.live {
            return self.end_round(losses, true);
        }
        let id = self.add(Origin::Round, 0, 0);
        if let Some(request) = self.request(id) {
            request.waiting = false;
            request.remote = Remote::Sent;
        }
        out.push(Message::Flush { id });
        self.round = Some(Round { losses, durable: None });
    }

    fn end_round(&mut self, losses: u32, durable: bool) {
        if durable && losses == self.losses {
            let (live, dirty) = (self.live, &self.dirty);
            self.intent.end_round(|index| {
                let missed = dirty.map().word(index);
                (missed & dirty.kept_word(index)) | if live { !missed } else { 0 }
            });
        }
        self.lazily = true;
    }

    /// Both sides have just flushed, with nothing under way.
    pub fn end_round_now(&mut self) {
        if self.round.is_none() {
            self.intent.begin_round();
            self.intent.begin_round();
            self.end_round(self.losses, true);
        }
    }

    /// Clears the log as far as the disk and the leg allow, before the mirror goes out of service in order.
    pub fn settle(&mut self, disk: &mut Disk, store: &mut Store, rng: &mut Rng) -> Result<(), PowerCut> {
        let mut none = Vec::new();
        if !self.live && self.round.is_none() {
            self.round(disk, &mut none);
            self.round(disk, &mut none);
        }
        self.keep_marks(store, rng)
    }
}
