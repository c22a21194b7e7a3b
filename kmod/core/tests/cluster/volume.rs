// SPDX-License-Identifier: GPL-2.0

//! The data path of a source in small: its legs, its requests, and who gets them.

use crate::disk::{Version, CHUNKS};
use crate::mistake::Mistake;
use crate::remote::Remote;
use crate::request::{Origin, Request};
use crate::store::{Intents, Map, Store};
use netraid_core::followers::Followers;
use netraid_core::legs::{LegNumber, LegSet, MAX_LEGS};
use netraid_core::local::{Course, LocalDisk};
use netraid_core::meta::{places, MetaFlags};
use std::ops::Range;

/// What a write without a leg means for the generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Apart,
    Together,
    Parting,
}

/// A generation that is being put on record.
#[derive(Clone, Copy, Debug)]
pub struct Recording {
    pub bases: [Option<u64>; MAX_LEGS],
    pub followers: LegSet,
    pub parted: LegSet,
    pub gone: bool,
    pub fresh: u64,
}

/// A round of the intent log under way.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    pub changes: u64,
    pub lost: bool,
    pub over: bool,
}

/// A disk that is being filled.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rebuild {
    pub next: usize,
    pub failed: bool,
}

/// A disk with everything that is under way on it.
#[derive(Debug)]
pub struct Volume {
    pub intent: Intents,
    pub legs: [Option<Remote>; MAX_LEGS],
    pub steps: [Step; MAX_LEGS],
    /// How machines stand that this one does not know.
    pub others: Step,
    pub followers: Followers,
    pub local: LocalDisk,
    /// The disk is given up at its first failure.
    pub detaches: bool,
    /// There are no maps on the disk: whoever is lost misses everything.
    pub every_chunk: bool,
    /// Counts the disks that were put in.
    pub disk: u32,
    pub generation: u64,
    pub recording: Option<Recording>,
    pub requests: Vec<Request>,
    pub round: Option<Round>,
    pub rebuild: Rebuild,
    /// How many requests of applications there have been.
    pub entered: u64,
    /// Counts how often a leg was added or taken away.
    pub changes: u64,
    pub lazily: bool,
    /// For the observer: a write has ended that no copy that counts has, while there is one. It can't be: who went live after
    /// the write had begun was marked for it, and is copied to before it counts, which waits for the write. Those that were
    /// live before have it, or were lost, and nobody goes live any more. The application is told of an error all the same
    /// where that is not so.
    pub stranded: bool,
    /// For the observer: the writes that have begun since he looked, and which of all sources this is.
    pub begun: Vec<Version>,
    pub life: u32,
    /// For the observer: the writes that the device contains.
    pub seen: u128,
    pub mistake: Option<Mistake>,
    next_id: u32,
}

pub const fn bit(chunk: usize) -> Range<u64> {
    chunk as u64..chunk as u64 + 1
}

impl Volume {
    /// With these legs, of which the maps speak.
    pub fn new(store: &Store, legs: LegSet) -> Self {
        let mut volume = Self {
            intent: store.intents(),
            legs: [const { None }; MAX_LEGS],
            steps: [Step::Apart; MAX_LEGS],
            others: Step::Apart,
            followers: Followers::NONE,
            local: LocalDisk::Attached,
            detaches: true,
            every_chunk: !store.has_maps(),
            disk: 0,
            generation: store.now.sb.current,
            recording: None,
            requests: Vec::new(),
            round: None,
            rebuild: Rebuild::default(),
            entered: 0,
            changes: 0,
            lazily: false,
            stranded: false,
            begun: Vec::new(),
            life: 0,
            seen: 0,
            mistake: None,
            next_id: 1,
        };
        for leg in legs.iter() {
            volume.legs[leg.index()] = Some(Remote::new(store.missed(leg)));
        }
        volume
    }

    /// What a target marked that was written by itself, for whomever; with the map of the first place.
    pub fn own(store: &Store, mistake: Option<Mistake>) -> Self {
        let mut volume = Self::new(store, LegSet::of(LegNumber::FIRST));
        if mistake != Some(Mistake::TellsOneMap) {
            let others = places::taken(&store.now.sb.peers).without(LegSet::of(LegNumber::FIRST));
            for leg in others.iter() {
                let word = store.now.dirty[leg.index()];
                volume.leg_mut(LegNumber::FIRST).dirty.merge(0, std::iter::once(word));
            }
        }
        volume
    }

    /// For a source, whose role is on record. `known`: the maps say what each target misses.
    /// `recent`: what this machine was sent of late as a target.
    pub fn source(store: &Store, own: Option<Self>, known: bool, recent: Option<u64>) -> Self {
        let sb = &store.now.sb;
        let legs = places::taken(&sb.peers);
        let first = LegSet::of(LegNumber::FIRST);
        let mut volume = own.unwrap_or_else(|| Self::new(store, if known && !legs.is_empty() { legs } else { first }));
        volume.generation = sb.current;
        for leg in legs.iter() {
            if volume.leg(leg).is_none() {
                volume.add_leg(leg, recent.map_or_else(|| store.unknown(), |word| store.at_most(word)));
            }
        }
        if !legs.is_empty() && !legs.contains(LegNumber::FIRST) {
            volume.remove_leg(LegNumber::FIRST, store);
        }
        for leg in legs.iter() {
            let peer = &sb.peers[leg.index()];
            let together = !peer.is_free() && peer.base == 0;
            volume.steps[leg.index()] = if together { Step::Together } else { Step::Apart };
        }
        let shared = sb.flags.contains(MetaFlags::SHARED);
        volume.others = if shared { Step::Together } else { Step::Apart };
        volume
    }

    pub fn leg(&self, leg: LegNumber) -> Option<&Remote> {
        self.legs[leg.index()].as_ref()
    }

    pub fn leg_mut(&mut self, leg: LegNumber) -> &mut Remote {
        self.legs[leg.index()].as_mut().unwrap()
    }

    pub fn those(&self, holds: impl Fn(&Remote) -> bool) -> LegSet {
        LegNumber::all()
            .filter(|leg| self.leg(*leg).is_some_and(&holds))
            .collect()
    }

    pub fn live(&self) -> LegSet {
        self.those(|remote| remote.live)
    }

    pub fn in_step(&self) -> LegSet {
        self.those(|remote| remote.live && remote.in_step)
    }

    /// The legs that hold whatever was acknowledged, and have that on record.
    pub fn complete(&self) -> LegSet {
        if self.mistake == Some(Mistake::CountsUnnoted) {
            return self.in_step();
        }
        self.those(|remote| remote.complete)
    }

    /// Makes room for a leg. What it misses is on record only after the marks were kept.
    pub fn add_leg(&mut self, leg: LegNumber, dirty: Map) {
        self.changes += 1;
        self.steps[leg.index()] = Step::Apart;
        self.legs[leg.index()] = Some(Remote::new(dirty));
    }

    /// Forgets a leg; the last one leaves a place for the next.
    pub fn remove_leg(&mut self, leg: LegNumber, store: &Store) {
        let others = self.those(|_| true).without(LegSet::of(leg));
        if others.is_empty() {
            if leg == LegNumber::FIRST {
                return;
            }
            self.add_leg(LegNumber::FIRST, store.unknown());
        }
        self.changes += 1 + self.leg(leg).map_or(0, |remote| remote.changes);
        self.steps[leg.index()] = Step::Apart;
        self.legs[leg.index()] = None;
    }

    /// Counts every change of who gets the application's writes.
    pub fn all_changes(&self) -> u64 {
        self.legs
            .iter()
            .flatten()
            .fold(self.changes, |sum, remote| sum + remote.changes)
    }

    /// What this side may have written and the other does not know of.
    pub fn own_words(&self) -> u64 {
        let marked = self
            .leg(LegNumber::FIRST)
            .map_or(0, |remote| remote.dirty.map().word(0));
        marked | self.intents()
    }

    pub fn intents(&self) -> u64 {
        self.intent.marks().map().word(0)
    }

    pub fn request(&mut self, id: u32) -> Option<&mut Request> {
        self.requests.iter_mut().find(|request| request.id == id)
    }

    /// Whether a chunk is in use, be it by what was acknowledged before all have it: what is copied must not be older.
    pub fn is_used(&self, chunk: usize) -> bool {
        let passes = self.mistake == Some(Mistake::CopiesPassed);
        let used = |it: &&Request| it.origin != Origin::Round && !(passes && it.told);
        self.requests.iter().filter(used).any(|it| it.chunk == chunk)
    }

    pub fn add(&mut self, origin: Origin, chunk: usize, version: Version) -> u32 {
        let id = self.next_id;
        self.next_id += 1;
        self.entered += u64::from(origin == Origin::Application);
        self.requests.push(Request {
            id,
            origin,
            chunk,
            version,
            leg: LegNumber::FIRST,
            disk: self.disk,
            waiting: origin == Origin::Application,
            local: false,
            queued: LegSet::NONE,
            sent: LegSet::NONE,
            stored: LegSet::NONE,
            number: self.entered,
            seqs: [0; MAX_LEGS],
            early: LegSet::NONE,
            barriers: LegSet::NONE,
            told: false,
            parked: false,
            failed: false,
        });
        id
    }

    /// Hands a request to legs.
    pub fn queue(&mut self, id: u32, legs: LegSet) {
        for leg in legs.iter() {
            let remote = self.leg_mut(leg);
            remote.queue.push_back(id);
            let seq = remote.next_seq;
            remote.next_seq += 1;
            if let Some(request) = self.request(id) {
                request.queued.put(leg, true);
                request.seqs[leg.index()] = seq;
            }
        }
    }

    /// Starts what may start.
    pub fn admit(&mut self) {
        for index in 0..self.requests.len() {
            let Request { chunk, waiting, .. } = self.requests[index];
            let before = &self.requests[..index];
            // A target keeps the order of what was acknowledged before it has it.
            let ahead = |it: &&Request| it.origin != Origin::Round && !it.told;
            let overlaps = before.iter().filter(ahead).any(|it| it.chunk == chunk);
            if waiting && !overlaps {
                self.begin(index);
            }
        }
    }

    /// Decides who gets a request of an application.
    fn begin(&mut self, index: usize) {
        let Request { id, chunk, disk, .. } = self.requests[index];
        let course = self.local.course();
        let other = disk != self.disk;
        if course == Course::Nobody || (course == Course::Both && other) {
            let request = &mut self.requests[index];
            (request.waiting, request.failed) = (false, true);
            return;
        }
        let takers = self.live();
        if (course != Course::Both && self.is_unsettled()) || !self.admits(chunk, takers) {
            return;
        }
        let skips = self.mistake == Some(Mistake::SkipsRebuilding) && course == Course::Rebuilding;
        let request = &mut self.requests[index];
        request.waiting = false;
        request.local = course != Course::Legs && !other && !skips;
        self.begun.push(request.version);
        self.lag_behind(id, takers, course == Course::Both);
        self.queue(id, takers);
    }

    /// Decides which legs the application does not wait for. `counts`: the local disk has the data that they lack.
    fn lag_behind(&mut self, id: u32, legs: LegSet, counts: bool) {
        let mistake = self.mistake;
        for leg in legs.iter() {
            if counts {
                self.leg_mut(leg).look_for_room();
            }
            let lag = &mut self.leg_mut(leg).lag;
            let begun = lag.begin(1, counts);
            let passes = mistake == Some(Mistake::PassesLimit) && lag.is_asynchronous();
            let barrier = begun.barrier && mistake != Some(Mistake::SendsNoBarrier);
            if let Some(request) = self.request(id) {
                request.early.put(leg, begun.early || passes);
                request.barriers.put(leg, barrier);
            }
        }
    }

    /// Whether a change of a chunk may begin: all that has to be on record before is.
    fn admits(&mut self, chunk: usize, takers: LegSet) -> bool {
        if self.others == Step::Together {
            self.others = Step::Parting;
        }
        let mut kept = self.others == Step::Apart && self.has_followed();
        for (number, leg) in self.those(|_| true).without(takers).iter().enumerate() {
            if number == 0 || self.mistake != Some(Mistake::MarksForOneLeg) {
                let dirty = &mut self.leg_mut(leg).dirty;
                dirty.set(bit(chunk));
                kept &= dirty.is_kept(bit(chunk));
            }
            kept &= self.part(leg);
        }
        if !takers.is_empty() {
            kept &= self.intent.touch(bit(chunk));
        }
        kept
    }

    /// The chunks of requests of which a leg has not confirmed its part.
    pub fn unconfirmed(&self, leg: LegNumber) -> u64 {
        let sent = self.requests.iter().filter(|it| it.origin != Origin::Round);
        sent.filter(|it| it.origin != Origin::Rebuild && it.is_pending(leg))
            .fold(0, |all, it| all | 1 << it.chunk)
    }

    /// Everything that is marked, or will be when the leg is lost.
    pub fn missed(&self, leg: LegNumber) -> u64 {
        self.leg(leg).map_or(0, |remote| remote.dirty.map().word(0)) | self.unconfirmed(leg)
    }

    /// Chunks that are in use.
    pub fn busy(&self) -> u64 {
        let used = self.requests.iter().filter(|it| it.origin != Origin::Round);
        used.fold(0, |all, it| all | 1 << it.chunk)
    }

    pub fn chunks(&self) -> impl Iterator<Item = usize> {
        0..CHUNKS
    }
}
