// SPDX-License-Identifier: GPL-2.0

//! The data path of the module in small: requests, marks, and what is on record before what.

use crate::disk::{Disk, Version, CHUNKS};
use crate::net::Message;
use crate::rng::Rng;
use crate::store::{Intents, Map, Store};
use netraid_core::meta::MetaFlags;
use std::ops::Range;

/// What a write without the leg means for the generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Apart,
    Together,
    Parting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Application,
    Copy,
    Round,
}

/// The leg's part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remote {
    None,
    Sent,
    Done,
    Missed,
}

#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub id: u32,
    pub origin: Origin,
    pub chunk: usize,
    pub version: Version,
    /// It has not begun, because a mark or another request is in its way.
    pub waiting: bool,
    /// The local disk is at work.
    pub local: bool,
    pub remote: Remote,
    /// It may not end before the new generation is on record.
    pub parked: bool,
}

/// A round of the intent log under way.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    pub losses: u32,
    pub durable: Option<bool>,
}

/// A disk with everything that is under way on it.
#[derive(Debug)]
pub struct Volume {
    pub intent: Intents,
    pub dirty: Map,
    pub step: Step,
    pub live: bool,
    pub draining: bool,
    pub requests: Vec<Request>,
    pub no_bitmap: bool,
    /// The generation that the target is given, and whether it has to be given one in any case.
    pub announced: (u64, bool),
    pub losses: u32,
    next_id: u32,
    pub round: Option<Round>,
    /// Marks that are not urgent are being written.
    pub lazily: bool,
}

pub const fn bit(chunk: usize) -> Range<u64> {
    chunk as u64..chunk as u64 + 1
}

impl Volume {
    pub fn new(store: &Store) -> Self {
        let no_bitmap = store.sb.flags.contains(MetaFlags::NO_BITMAP);
        let (intent, dirty) = store.load(no_bitmap);
        Self {
            intent,
            dirty,
            step: Step::Apart,
            live: false,
            draining: false,
            requests: Vec::new(),
            no_bitmap,
            announced: (0, false),
            losses: 0,
            next_id: 1,
            round: None,
            lazily: false,
        }
    }

    /// What this side may have written and the other does not know of.
    pub fn own_words(&self) -> u64 {
        self.dirty.map().word(0) | self.intent.marks().map().word(0)
    }

    pub fn request(&mut self, id: u32) -> Option<&mut Request> {
        self.requests.iter_mut().find(|request| request.id == id)
    }

    pub fn add(&mut self, origin: Origin, chunk: usize, version: Version) -> u32 {
        let id = self.next_id;
        self.next_id += 1;
        self.requests.push(Request {
            id,
            origin,
            chunk,
            version,
            waiting: true,
            local: false,
            remote: Remote::None,
            parked: false,
        });
        id
    }

    /// An application writes.
    pub fn submit(&mut self, chunk: usize, version: Version) {
        self.add(Origin::Application, chunk, version);
    }

    /// Starts what may start.
    pub fn admit(&mut self, out: &mut Vec<Message>) {
        for index in 0..self.requests.len() {
            let Request {
                id,
                origin,
                chunk,
                version,
                waiting,
                ..
            } = self.requests[index];
            let before = &self.requests[..index];
            let overlaps = before.iter().any(|it| it.origin != Origin::Round && it.chunk == chunk);
            if !waiting || overlaps || origin != Origin::Application || !self.admits(chunk) {
                continue;
            }
            let live = self.live;
            let request = &mut self.requests[index];
            request.waiting = false;
            request.local = true;
            if live {
                request.remote = Remote::Sent;
                out.push(Message::Write {
                    id,
                    chunk,
                    version,
                    resync: false,
                });
            }
        }
    }

    fn admits(&mut self, chunk: usize) -> bool {
        if self.live {
            return self.intent.touch(bit(chunk));
        }
        if self.step == Step::Together {
            self.step = Step::Parting;
        }
        self.dirty.set(bit(chunk));
        self.dirty.is_kept(bit(chunk)) && self.step == Step::Apart
    }

    /// The requests at which the local disk works.
    pub fn at_disk(&self) -> Vec<u32> {
        self.requests.iter().filter(|it| it.local).map(|it| it.id).collect()
    }

    pub fn local_done(&mut self, id: u32, disk: &mut Disk) {
        if let Some(request) = self.request(id) {
            request.local = false;
            disk.write(request.chunk, request.version);
        }
    }

    /// The target confirms; false where nobody waits for it.
    pub fn confirmed(&mut self, id: u32) -> bool {
        let Some(request) = self.request(id).filter(|it| it.remote == Remote::Sent) else {
            return false;
        };
        request.remote = Remote::Done;
        let (origin, chunk) = (request.origin, request.chunk);
        match origin {
            Origin::Application => {}
            Origin::Copy => {
                // The target may have it in its cache alone as yet.
                self.intent.note(bit(chunk));
                self.dirty.clear(bit(chunk));
            }
            Origin::Round => self.round_ended(true),
        }
        true
    }

    fn round_ended(&mut self, durable: bool) {
        if let Some(round) = &mut self.round {
            round.durable = Some(durable);
        }
    }

    /// Application writes stop going to the target.
    pub fn leave(&mut self) {
        self.live = false;
        self.losses += 1;
        if self.no_bitmap {
            self.dirty.set_all();
        }
    }

    pub fn outstanding(&self) -> usize {
        self.requests.iter().filter(|it| it.remote == Remote::Sent).count()
    }

    /// The connection is gone: marks what was not confirmed.
    pub fn abandon(&mut self) {
        self.leave();
        self.draining = false;
        for index in 0..self.requests.len() {
            let request = self.requests[index];
            if request.remote != Remote::Sent {
                continue;
            }
            if request.origin != Origin::Round {
                self.dirty.set(bit(request.chunk));
            }
            self.missed(index);
        }
    }

    fn missed(&mut self, index: usize) {
        let origin = self.requests[index].origin;
        if origin == Origin::Round {
            self.round_ended(false);
        }
        if origin == Origin::Application {
            if self.step == Step::Together {
                self.step = Step::Parting;
            }
            self.requests[index].parked = self.step == Step::Parting;
        }
        self.requests[index].remote = Remote::Missed;
    }

    /// Takes out what everybody is done with; the writes of applications that are acknowledged by that.
    pub fn finish(&mut self) -> Vec<Request> {
        if self.step != Step::Parting {
            for request in &mut self.requests {
                request.parked = false;
            }
        }
        let over = |it: &Request| !it.waiting && !it.local && !it.parked && it.remote != Remote::Sent;
        let ended: Vec<_> = self.requests.iter().copied().filter(over).collect();
        self.requests.retain(|it| !over(it));
        ended
            .into_iter()
            .filter(|it| it.origin == Origin::Application)
            .collect()
    }

    /// From now on writes go to the target too; true when it misses nothing.
    pub fn go_live(&mut self) -> bool {
        self.live = true;
        self.draining = false;
        self.dirty.map().ones() == 0 && !self.announced.1
    }

    /// The next chunk that the resync copies; `None` where all marked ones are in use.
    pub fn next_copy(&mut self, disk: &Disk, rng: &mut Rng) -> Option<Message> {
        let free = |&chunk: &usize| {
            let used = |it: &Request| it.origin != Origin::Round && it.chunk == chunk;
            self.dirty.map().get(chunk as u64) && !self.requests.iter().any(used)
        };
        let free: Vec<_> = (0..CHUNKS).filter(free).collect();
        if free.is_empty() || !self.live {
            return None;
        }
        let chunk = free[rng.below(free.len())];
        let version = disk.read(chunk);
        let id = self.add(Origin::Copy, chunk, version);
        let request = self.request(id)?;
        request.waiting = false;
        request.remote = Remote::Sent;
        Some(Message::Write {
            id,
            chunk,
            version,
            resync: true,
        })
    }

    /// Whether the resync has nothing left to do.
    pub fn is_clean(&self) -> bool {
        let copying = self.requests.iter().any(|it| it.origin == Origin::Copy);
        self.dirty.map().ones() == 0 && !copying
    }

    /// The target may have lost what it confirmed and had not made durable.
    pub fn distrust(&mut self) {
        let word = self.intent.marks().map().word(0);
        self.dirty.merge(0, std::iter::once(word));
    }

    /// The other side has taken over what this one had marked.
    pub fn forget_marks(&mut self) {
        self.dirty.clear(0..CHUNKS as u64);
        self.intent.forget();
        self.lazily = true;
    }

    /// The chunks of requests of which the target has not confirmed its part.
    pub fn unconfirmed(&self) -> u64 {
        let sent = self
            .requests
            .iter()
            .filter(|it| it.remote == Remote::Sent && it.origin != Origin::Round);
        sent.fold(0, |all, it| all | 1 << it.chunk)
    }

    /// A power cut: what the local disk was at work on may be there or not.
    pub fn crash(&self, disk: &mut Disk, rng: &mut Rng) {
        for request in self.requests.iter().filter(|it| it.local) {
            if rng.one_in(2) {
                disk.write(request.chunk, request.version);
            }
        }
        disk.crash(rng);
    }
}
