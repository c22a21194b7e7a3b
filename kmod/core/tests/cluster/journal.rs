// SPDX-License-Identifier: GPL-2.0

//! The journal of a volume and the rounds of its log of intents: what is on record, and when it may go.

use crate::disk::Disk;
use crate::mistake::Mistake;
use crate::request::Origin;
use crate::rng::Rng;
use crate::store::{PowerCut, Store, Which};
use crate::volume::{bit, Recording, Round, Step, Volume};
use netraid_core::generation;
use netraid_core::legs::{LegNumber, LegSet, MAX_LEGS};
use netraid_core::local;
use netraid_core::marks::BLOCK_WORDS;
use netraid_core::meta::{MetaFlags, PeerFlags, Superblock};

impl Recording {
    /// What is noted on the disk.
    pub fn write(&self, sb: &mut Superblock, note: impl FnOnce(&mut Superblock)) {
        for leg in LegNumber::all() {
            let peer = &mut sb.peers[leg.index()];
            if let Some(held) = self.bases[leg.index()] {
                peer.base = held;
                peer.flags.set(PeerFlags::FOLLOWING, self.followers.contains(leg));
            }
        }
        note(sb);
        if self.gone {
            let lost = MetaFlags::DETACHED.with(MetaFlags::INCONSISTENT, true);
            sb.flags = sb.flags.with(lost, true);
        }
        sb.flags.set(MetaFlags::SHARED, false);
        generation::rotate(&mut sb.current, &mut sb.history, self.fresh);
    }
}

impl Volume {
    /// Begins to record a generation.
    pub fn begin_record(&mut self, parted: LegSet, fresh: u64) -> Recording {
        let recording = Recording {
            bases: self.bases(),
            followers: self.in_step().without(parted),
            parted,
            gone: self.local.is_gone(),
            fresh,
        };
        self.recording = Some(recording);
        recording
    }

    /// What is the base of each leg when a generation begins: what its target holds until it is told otherwise.
    fn bases(&mut self) -> [Option<u64>; MAX_LEGS] {
        let mut bases = [None; MAX_LEGS];
        for leg in self.those(|_| true).iter() {
            let held = self.held(leg);
            bases[leg.index()] = held;
            if let Some(held) = held {
                self.leg_mut(leg).theirs = held;
            }
        }
        bases
    }

    /// What a target holds for certain, if what it misses counts from now on.
    pub fn held(&self, leg: LegNumber) -> Option<u64> {
        let remote = self.leg(leg)?;
        let as_good_as_in_step = self.steps[leg.index()] != Step::Apart;
        if as_good_as_in_step && remote.theirs == 0 {
            // It has not been connected since this machine came into service, and holds what it held then.
            return Some(self.generation);
        }
        (remote.live || as_good_as_in_step).then_some(remote.theirs)
    }

    /// A generation is on record.
    fn end_record(&mut self, recording: &Recording) {
        self.recording = None;
        self.generation = recording.fresh;
        if recording.gone {
            let _nothing = self.local.on_event(local::Event::Recorded);
        }
        for leg in recording.parted.iter() {
            self.steps[leg.index()] = Step::Apart;
        }
        self.others = Step::Apart;
        let followers = self.in_step().without(recording.parted);
        for leg in followers.iter() {
            self.leg_mut(leg).say(netraid_core::wire::Kind::ResyncDone);
        }
        self.followers.begin(followers, 0);
    }

    /// Begins the record of who misses what, or ends it.
    fn record(&mut self, store: &mut Store, rng: &mut Rng) -> Result<(), PowerCut> {
        if let Some(recording) = self.recording {
            store.change(|sb| recording.write(sb, |_| {}))?;
            self.end_record(&recording);
        } else {
            self.begin_record(self.parting(), rng.fresh());
        }
        Ok(())
    }

    /// Records that nobody else holds what is here from now on. The leg that did is gone, or what it holds.
    pub fn begin_generation(
        &mut self,
        leg: LegNumber,
        store: &mut Store,
        rng: &mut Rng,
        note: impl FnOnce(&mut Superblock),
    ) -> Result<(), PowerCut> {
        if self.recording.is_some() {
            self.record(store, rng)?;
        }
        let mut parted = self.parting();
        parted.put(leg, true);
        let recording = self.begin_record(parted, rng.fresh());
        store.change(|sb| recording.write(sb, note))?;
        self.end_record(&recording);
        Ok(())
    }

    fn next_block(&mut self) -> Option<Which> {
        let urgent = Which::all().find(|which| self.map(*which).is_some_and(|map| map.next_urgent().is_some()));
        if urgent.is_some() || !self.lazily {
            return urgent;
        }
        let lazy = Which::all().find(|which| self.map(*which).is_some_and(|map| map.next_lazy(0).is_some()));
        self.lazily = lazy.is_some();
        lazy
    }

    fn map(&self, which: Which) -> Option<&crate::store::Map> {
        match which {
            Which::Intent => Some(self.intent.marks()),
            Which::Dirty(leg) => self.leg(leg).map(|remote| &remote.dirty),
        }
    }

    /// Writes one block, or the new generation; false where there is nothing to write.
    pub fn journal(&mut self, store: &mut Store, rng: &mut Rng) -> Result<bool, PowerCut> {
        if self.is_parting() || self.recording.is_some() {
            self.record(store, rng)?;
            return Ok(true);
        }
        let Some(which) = self.next_block() else {
            return Ok(false);
        };
        let mut words = [0; BLOCK_WORDS];
        let Self { intent, legs, .. } = self;
        match which {
            Which::Intent => {
                intent.marks_mut().begin(0, |_| 0, &mut words);
                store.write_map(which, &words)?;
                intent.marks_mut().end(0, &words, true);
            }
            Which::Dirty(leg) => {
                let marks = intent.marks();
                let hold = |index: usize| marks.map().word(index) & !marks.kept_word(index);
                if let Some(remote) = &mut legs[leg.index()] {
                    remote.dirty.begin(0, hold, &mut words);
                    store.write_map(which, &words)?;
                    remote.dirty.end(0, &words, true);
                }
            }
        }
        Ok(true)
    }

    /// Waits until every mark is on the disk.
    pub fn keep_marks(&mut self, store: &mut Store, rng: &mut Rng) -> Result<(), PowerCut> {
        self.lazily = true;
        for _ in 0..20 {
            if !self.journal(store, rng)? {
                break;
            }
        }
        Ok(())
    }

    /// Begins a round of the intent log, or ends one whose flushes are done.
    pub fn round(&mut self, disk: &mut Disk) {
        if let Some(round) = self.round {
            if round.over {
                self.round = None;
                self.end_round(&round);
            }
            return;
        }
        self.lazily = true;
        if self.intents() == 0 {
            return;
        }
        self.intent.begin_round();
        for request in self.requests.iter().filter(|it| it.origin != Origin::Round) {
            self.intent.exclude(bit(request.chunk));
        }
        if !self.intent.has_proposals() {
            return;
        }
        let mut round = Round {
            changes: self.all_changes(),
            lost: false,
            over: false,
        };
        if self.local.is_written() {
            disk.flush();
        }
        let live = self.live();
        if live.is_empty() {
            round.over = true;
        } else {
            let id = self.add(Origin::Round, 0, 0);
            self.queue(id, live);
        }
        self.round = Some(round);
    }

    fn end_round(&mut self, round: &Round) {
        if !round.lost && round.changes == self.all_changes() {
            let one = self.mistake == Some(Mistake::AsksOneLeg);
            let asked = if one { 1 } else { MAX_LEGS };
            let Self { intent, legs, .. } = self;
            intent.end_round(|index| {
                legs.iter().flatten().take(asked).fold(u64::MAX, |known, remote| {
                    let missed = remote.dirty.map().word(index);
                    let marked = missed & remote.dirty.kept_word(index);
                    known & (marked | if remote.live { !missed } else { 0 })
                })
            });
        }
        self.lazily = true;
    }

    /// Clears the log as far as the disk allows, before the mirror goes out of service in order.
    pub fn settle(&mut self, disk: &mut Disk, store: &mut Store, rng: &mut Rng) -> Result<(), PowerCut> {
        for _ in 0..4 {
            if self.live().is_empty() {
                self.round(disk);
            }
        }
        self.keep_marks(store, rng)
    }

    /// The other side has taken over what this one had marked.
    pub fn forget_marks(&mut self) {
        for remote in self.legs.iter_mut().flatten() {
            remote.dirty.clear(0..crate::disk::CHUNKS as u64);
        }
        self.intent.forget();
        self.lazily = true;
    }

    /// A leg may have lost what it had confirmed and not made durable.
    pub fn distrust(&mut self, leg: LegNumber) {
        let word = self.intents();
        self.leg_mut(leg).dirty.merge(0, std::iter::once(word));
    }
}

impl Volume {
    /// All sides have just flushed, with nothing under way.
    pub fn end_round_now(&mut self) {
        self.intent.begin_round();
        self.intent.begin_round();
        let round = Round {
            changes: self.all_changes(),
            lost: false,
            over: true,
        };
        self.end_round(&round);
    }
}
