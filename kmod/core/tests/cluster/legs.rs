// SPDX-License-Identifier: GPL-2.0

//! What happens to a leg, and what that means for the requests that wait for it.

use crate::disk::{Disk, Version};
use crate::mistake::Mistake;
use crate::net::Message;
use crate::remote::Outgoing;
use crate::request::{Origin, Request};
use crate::rng::Rng;
use crate::volume::{bit, Step, Volume};
use netraid_core::legs::{LegNumber, LegSet};
use netraid_core::local::{Event, Verdict};
use netraid_core::recent::Marker;
use netraid_core::request::Due;
use netraid_core::wire::Kind;

impl Volume {
    /// Whether a new generation is being recorded.
    pub fn is_parting(&self) -> bool {
        self.others == Step::Parting || self.local.is_unrecorded() || !self.parting().is_empty()
    }

    /// The legs that it is recorded for.
    pub fn parting(&self) -> LegSet {
        LegNumber::all()
            .filter(|leg| self.steps[leg.index()] == Step::Parting)
            .collect()
    }

    /// Whether every target in step has noted the generation.
    pub fn has_followed(&self) -> bool {
        self.followers.is_empty() || self.mistake == Some(Mistake::LeavesFollowersBehind)
    }

    /// Whether it is not yet everywhere on record who misses what.
    pub fn is_unsettled(&self) -> bool {
        self.is_parting() || !self.has_followed()
    }

    /// A leg misses something: begins the record of that. Whether there is one.
    pub fn part(&mut self, leg: LegNumber) -> bool {
        let step = &mut self.steps[leg.index()];
        if *step == Step::Together {
            *step = Step::Parting;
        }
        *step == Step::Apart && self.has_followed()
    }

    /// From now on writes go to the target too; true when it misses nothing, none where the disk was given up.
    pub fn go_live(&mut self, leg: LegNumber) -> Option<bool> {
        if self.local.is_gone() && self.mistake != Some(Mistake::CopiesFromLost) {
            return None;
        }
        let (generation, parting) = (self.generation, self.is_parting());
        let remote = self.leg_mut(leg);
        remote.live = true;
        (remote.in_step, remote.complete) = (false, false);
        (remote.marker, remote.draining, remote.congested) = (Marker::NEW, false, false);
        remote.lag.connect();
        remote.changes += 1;
        let same = remote.theirs == generation && !parting;
        let clean = remote.dirty.map().ones() == 0 && (same || remote.covered);
        if !clean {
            remote.say(Kind::ResyncStart);
        } else if !same {
            self.followers.join(leg, 0);
        }
        Some(clean)
    }

    pub fn leave(&mut self, leg: LegNumber) {
        let every_chunk = self.every_chunk;
        let remote = self.leg_mut(leg);
        remote.live = false;
        (remote.in_step, remote.complete) = (false, false);
        remote.lag.drop_fence();
        remote.control.retain(|kind| *kind != Kind::Settled);
        remote.changes += 1;
        if every_chunk {
            remote.dirty.set_all();
        }
    }

    /// Application writes stop going to the target; true when nothing is outstanding.
    pub fn cut(&mut self, leg: LegNumber) -> bool {
        self.followers.lost(leg);
        self.leave(leg);
        let remote = self.leg_mut(leg);
        remote.control.retain(|kind| *kind != Kind::ResyncDone);
        remote.draining = true;
        self.look_for_copy();
        self.is_drained(leg)
    }

    pub fn is_drained(&self, leg: LegNumber) -> bool {
        !self.requests.iter().any(|request| request.is_pending(leg))
    }

    /// The connection is gone: marks what was not confirmed.
    pub fn abandon(&mut self, leg: LegNumber) {
        if self.leg(leg).is_none() {
            return;
        }
        self.leave(leg);
        let remote = self.leg_mut(leg);
        remote.draining = false;
        remote.control.clear();
        remote.queue.clear();
        self.look_for_copy();
        for index in 0..self.requests.len() {
            let request = self.requests[index];
            if !request.is_pending(leg) {
                continue;
            }
            self.requests[index].queued.remove(leg);
            self.requests[index].sent.remove(leg);
            self.leg_mut(leg).left(request.origin, request.seqs[leg.index()]);
            match request.origin {
                Origin::Rebuild => self.ask_another(request.id),
                _ => self.missed_by(index, leg),
            }
        }
        self.followers.lost(leg);
    }

    fn missed_by(&mut self, index: usize, leg: LegNumber) {
        let Request { origin, chunk, .. } = self.requests[index];
        if origin == Origin::Round {
            if let Some(round) = &mut self.round {
                round.lost = true;
            }
            return;
        }
        let told = self.requests[index].told;
        let forgets = self.mistake == Some(Mistake::ForgetsUnconfirmed) && leg != LegNumber::FIRST;
        let forgets = forgets || (self.mistake == Some(Mistake::ForgetsTold) && told);
        if !forgets {
            self.leg_mut(leg).dirty.set(bit(chunk));
        }
        if origin == Origin::Application && !self.part(leg) {
            self.requests[index].parked = true;
        }
    }

    /// A leg is not live any more: without the disk, somebody else has to be in step.
    fn look_for_copy(&mut self) {
        if self.complete().is_empty() {
            self.local.on_event(Event::Alone);
        }
    }

    /// The target has noted that it misses nothing, or a generation; false where that was not waited for.
    pub fn followed(&mut self, leg: LegNumber) -> bool {
        let followed = self.followers.noted(leg, 0);
        let remote = self.leg_mut(leg);
        remote.complete |= followed && remote.live && remote.in_step;
        followed
    }

    /// The target confirms; false where nobody waits for it.
    pub fn confirmed(&mut self, leg: LegNumber, id: u32) -> bool {
        let clears_all = self.mistake == Some(Mistake::ClearsForAll);
        let Some(request) = self.request(id).filter(|it| it.sent.contains(leg)) else {
            return false;
        };
        request.sent.remove(leg);
        request.stored.put(leg, true);
        let (origin, chunk, seq) = (request.origin, request.chunk, request.seqs[leg.index()]);
        self.leg_mut(leg).left(origin, seq);
        if origin == Origin::Copy && !self.leg_mut(leg).copy_failed {
            // The target may have it in its cache alone as yet.
            self.intent.note(bit(chunk));
            let all = self.those(|_| true);
            for leg in if clears_all { all } else { LegSet::of(leg) }.iter() {
                self.leg_mut(leg).dirty.clear(bit(chunk));
            }
        }
        true
    }

    /// Takes out what everybody is done with; the writes of applications that end by that, or before all legs have them.
    pub fn finish(&mut self) -> Vec<Request> {
        let mut told = Vec::new();
        let mut over = Vec::new();
        for index in 0..self.requests.len() {
            let due = self.due(index);
            let request = &mut self.requests[index];
            if due == Due::Nothing {
                continue;
            }
            let tells = request.origin == Origin::Application && !request.told;
            request.told |= tells;
            let request = *request;
            if tells {
                told.push(request);
                // Before anything can begin that was to wait for it.
                self.legs.iter_mut().flatten().for_each(|remote| remote.lag.complete());
            }
            if due == Due::Leave {
                over.push(request);
            }
        }
        self.requests.retain(|it| !over.iter().any(|over| over.id == it.id));
        over.iter().for_each(|request| self.ended(request));
        told
    }

    /// What is due for a request.
    fn due(&mut self, index: usize) -> Due {
        let unsettled = self.is_unsettled();
        let gone = self.local.is_gone();
        let complete = self.complete();
        let request = &mut self.requests[index];
        request.parked &= unsettled;
        if request.waiting || request.local || request.parked {
            return Due::Nothing;
        }
        let pending = request.pending();
        let waits = gone && !request.told && self.mistake != Some(Mistake::LagsWithoutDisk);
        let early = if waits { LegSet::NONE } else { request.early };
        let one = self.mistake == Some(Mistake::AsksOneTarget) && !request.stored.is_empty();
        let due = if pending.is_empty() || one {
            Due::Leave
        } else if pending.is_within(early) && !request.told {
            Due::Tell
        } else {
            return Due::Nothing;
        };
        if gone && request.origin == Origin::Application && !request.failed && !request.told && due == Due::Leave {
            let confirmed = request.stored.meets(complete);
            self.stranded |= !confirmed && !self.local.is_without_copy();
            let unsettled = unsettled && self.mistake != Some(Mistake::TrustsMemory);
            let verdict = match self.local.verdict(confirmed, unsettled) {
                Verdict::Wait if self.mistake == Some(Mistake::TrustsMemory) => Verdict::AsDone,
                verdict => verdict,
            };
            request.parked = verdict == Verdict::Wait;
            request.failed = verdict == Verdict::Fail;
            if request.parked {
                return Due::Nothing;
            }
        }
        due
    }

    fn ended(&mut self, request: &Request) {
        match request.origin {
            Origin::Application => {}
            Origin::Copy => {
                if let Some(remote) = &mut self.legs[request.leg.index()] {
                    remote.copies = remote.copies.saturating_sub(1);
                }
            }
            Origin::Round => {
                if let Some(round) = &mut self.round {
                    round.over = true;
                }
            }
            Origin::Rebuild => self.rebuild.failed |= request.failed,
        }
    }

    /// The next message for a leg's connection.
    pub fn next_outgoing(&mut self, leg: LegNumber, conn: Option<u32>) -> Option<Outgoing> {
        let held_back = self.is_parting() || self.recording.is_some();
        if !held_back {
            if let Some(kind) = self.leg_mut(leg).next_control() {
                return Some(self.next_control(leg, kind, conn));
            }
        }
        // Nothing goes to a target that has still to be told that its copy is unusable from now on.
        let waits = self.leg(leg)?.control.contains(&Kind::ResyncStart);
        if waits && self.mistake != Some(Mistake::CopiesBeforeStart) {
            return None;
        }
        let id = self.leg_mut(leg).queue.pop_front()?;
        let request = self.request(id)?;
        request.queued.remove(leg);
        request.sent.put(leg, true);
        let (chunk, version, barrier) = (request.chunk, request.version, request.barriers.contains(leg));
        let message = match request.origin {
            Origin::Round => Message::Flush(id),
            Origin::Rebuild => Message::Read { id, chunk },
            origin => Message::Write {
                id,
                chunk,
                version,
                resync: origin == Origin::Copy,
                barrier,
            },
        };
        Some(Outgoing {
            conn,
            message,
            ends: None,
        })
    }

    fn next_control(&mut self, leg: LegNumber, kind: Kind, conn: Option<u32>) -> Outgoing {
        // What the target has not confirmed may come after it.
        let under_way = self.requests.iter().filter(|it| it.origin == Origin::Application);
        let unconfirmed = under_way
            .filter(|it| it.is_pending(leg))
            .fold(0, |all, it| all | 1 << it.version);
        let (generation, seen, entered) = (self.generation, self.seen & !unconfirmed, self.entered);
        let remote = self.leg_mut(leg);
        let mut ends = None;
        let message = match kind {
            Kind::ResyncStart => {
                remote.theirs = generation;
                Message::ResyncStart(generation)
            }
            Kind::ResyncDone => {
                remote.theirs = generation;
                remote.in_step = true;
                self.followers.sent(leg);
                // From here on the target may be in step: what it misses then is a new generation.
                self.steps[leg.index()] = Step::Together;
                ends = Some(generation);
                Message::ResyncDone { generation, seen }
            }
            Kind::Settled => {
                let (number, settled) = remote.marker.send(entered);
                Message::Settled { number, settled }
            }
            Kind::Pause => Message::Pause,
            Kind::Resume => Message::Resume,
            _ => Message::Bye,
        };
        Outgoing { conn, message, ends }
    }

    /// The next chunk that the resync copies; `None` where all marked ones are in use.
    pub fn next_copy(&mut self, leg: LegNumber, rng: &mut Rng) -> Option<u32> {
        let dirty = self.leg(leg)?.dirty.map().word(0);
        let free: Vec<_> = self
            .chunks()
            .filter(|&chunk| dirty >> chunk & 1 == 1 && !self.is_used(chunk))
            .collect();
        if free.is_empty() {
            return None;
        }
        let id = self.add(Origin::Copy, free[rng.below(free.len())], 0);
        self.leg_mut(leg).copies += 1;
        let request = self.request(id)?;
        request.leg = leg;
        request.local = true;
        Some(id)
    }

    /// A copy was read.
    pub fn was_read(&mut self, id: u32, version: Version) {
        let gone = self.local.is_gone() && self.mistake != Some(Mistake::CopiesFromLost);
        let Some(request) = self.request(id) else { return };
        (request.local, request.version) = (false, version);
        let leg = request.leg;
        if gone {
            if let Some(remote) = &mut self.legs[leg.index()] {
                remote.copy_failed = true;
            }
        } else if self.leg(leg).is_some_and(|remote| remote.live) {
            self.queue(id, LegSet::of(leg));
        }
    }

    /// Whether the resync has nothing left to do.
    pub fn is_clean(&self, leg: LegNumber) -> bool {
        self.leg(leg)
            .is_some_and(|remote| remote.dirty.map().ones() == 0 && remote.copies == 0)
    }

    /// A power cut: what the local disk was at work on may be there or not.
    pub fn crash(&self, disk: &mut Disk, rng: &mut Rng) {
        for request in self.requests.iter().filter(|it| it.local && it.origin != Origin::Copy) {
            if rng.one_in(2) {
                disk.write(request.chunk, request.version);
            }
        }
        disk.crash(rng);
    }
}
