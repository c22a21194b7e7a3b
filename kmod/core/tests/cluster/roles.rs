// SPDX-License-Identifier: GPL-2.0

//! Which machine is the source: starting, stopping, giving way, and the other commands of an operator.

use crate::cluster::{Cluster, Kind, Step};
use crate::node::{Active, Source, Target, PORT};
use crate::volume::{Step as Parting, Volume};
use netraid_core::generation;
use netraid_core::leg::{Event, State};
use netraid_core::meta::{MetaFlags, Peer, PeerFlags};
use netraid_core::name::Name;
use netraid_core::ownership::{start_decide, Heard, StartFacts, StartMode, StartPlan};
use netraid_core::state::Role;

impl Cluster {
    /// Brings a mirror into service; false where it is refused.
    pub fn start(&mut self, node: usize, mode: StartMode, overridden: bool) -> Step<bool> {
        let warm = match &mut self.nodes[node].active {
            Active::Source(_) => return self.in_service(node, mode),
            Active::Target(target) => {
                if mode == StartMode::Auto || (mode != StartMode::Yield && target.conn.is_some()) {
                    return Ok(mode == StartMode::Auto);
                }
                target.warm
            }
            Active::Stopped => false,
        };
        let peer = if mode == StartMode::Yield { None } else { self.ask(node) };
        let sb = self.sb(node);
        let facts = StartFacts {
            mirror: Name::truncated("data"),
            role: sb.role,
            flags: sb.flags,
            has_data: sb.current != 0,
            warm,
            overridden,
        };
        let decision = start_decide(&facts, mode, peer.as_slice());
        self.note(|| {
            let heard = peer.map(|peer| peer.heard);
            format!(
                "{node}: start {mode:?} of {:?} {:?}, heard {heard:?}: {decision:?}",
                facts.role, facts.flags
            )
        });
        self.nodes[node].truth.gave_up |= decision.set.contains(MetaFlags::YIELDED);
        self.store(node)
            .change(|sb| sb.flags = sb.flags.without(decision.clear).with(decision.set, true))?;
        self.counts.yields += u32::from(decision.set.contains(MetaFlags::YIELDED));
        self.counts.warm += u32::from(decision.plan == StartPlan::Source && warm);
        self.counts.sources += u32::from(decision.plan == StartPlan::Source);
        match decision.plan {
            StartPlan::Refuse(_) => {
                let sb = self.sb(node);
                let wanted = sb.current != 0 && !sb.flags.contains(MetaFlags::STOPPED);
                self.nodes[node].waiting = wanted;
                Ok(false)
            }
            StartPlan::Source => self.become_source(node, mode).map(|()| true),
            StartPlan::Target => {
                let yields = decision.set.contains(MetaFlags::YIELDED);
                if yields && mode == StartMode::Auto {
                    self.check_way_given(node, peer.map(|peer| peer.heard));
                }
                if self.nodes[node].target().is_none() {
                    self.note_target(node, false)?;
                    self.open_target(node);
                }
                Ok(true)
            }
        }
    }

    fn in_service(&mut self, node: usize, mode: StartMode) -> Step<bool> {
        match mode {
            StartMode::Keep => {
                self.store(node)
                    .change(|sb| sb.flags.set(MetaFlags::SPLIT_BRAIN, false))?;
                Ok(true)
            }
            StartMode::Yield => self.give_way(node, true),
            _ => Ok(false),
        }
    }

    fn become_source(&mut self, node: usize, mode: StartMode) -> Step<()> {
        let own = self.nodes[node].target().and_then(|target| target.own.take());
        if let Some(conn) = self.nodes[node].target().and_then(|target| target.conn) {
            self.close_target_side(conn);
        }
        let rng = &mut self.rng;
        let machine = &mut self.nodes[node];
        machine.active = Active::Stopped;
        machine.waiting = false;
        let store = machine.store.as_mut().unwrap();
        let volume = own.map_or_else(|| Volume::new(store), |own| own.volume);
        let (marked, fresh) = (volume.own_words() != 0, rng.fresh());
        let mut volume = volume;
        store.change(|sb| {
            // What was written here in a pause counts as the first write that the other one misses.
            if sb.role == Role::Target && marked && !sb.peers[0].is_free() && sb.peers[0].base == 0 {
                sb.peers[0].base = sb.current;
                generation::rotate(&mut sb.current, &mut sb.history, fresh);
            }
            let was_target = sb.role == Role::Target;
            sb.role = Role::Source;
            let over = MetaFlags::DATA_CORRUPT
                .with(MetaFlags::YIELDED, true)
                .with(MetaFlags::STOPPED, true)
                .with(MetaFlags::CLEAN, true);
            sb.flags = sb.flags.without(over).with(MetaFlags::LAST_OWNER, true);
            let paused = sb.peers[0].flags.contains(PeerFlags::PAUSED) && !was_target;
            sb.peers[0].flags.set(PeerFlags::PAUSED, paused);
        })?;
        let peer = &store.sb.peers[0];
        let together = !peer.is_free() && peer.base == 0;
        volume.step = if together { Parting::Together } else { Parting::Apart };
        let extended = peer.port != 0;
        machine.active = Active::Source(Source {
            volume,
            legs: Vec::new(),
        });
        let truth = &mut machine.truth;
        truth.seen |= truth.paused;
        self.acknowledged |= truth.paused;
        truth.paused = 0;
        truth.gave_up = false;
        truth.mandate |= mode != StartMode::Auto;
        if extended {
            self.add_leg(node)?;
        }
        self.pump(node)
    }

    fn note_target(&mut self, node: usize, yields: bool) -> Step<()> {
        self.nodes[node].waiting = false;
        self.store(node).change(|sb| {
            sb.role = Role::Target;
            let over = MetaFlags::STOPPED.with(MetaFlags::CLEAN, true);
            sb.flags = sb.flags.without(over);
            if yields {
                let claims = MetaFlags::LAST_OWNER
                    .with(MetaFlags::DATA_CORRUPT, true)
                    .with(MetaFlags::SPLIT_BRAIN, true);
                sb.flags = sb.flags.without(claims).with(MetaFlags::YIELDED, true);
            }
        })
    }

    /// Whether a source has no write of an application under way.
    fn is_idle(&mut self, node: usize) -> bool {
        let applications = |it: &&crate::volume::Request| it.origin == crate::volume::Origin::Application;
        let volume = self.nodes[node].volume().map(|(volume, _, _)| volume);
        volume.is_none_or(|volume| volume.requests.iter().filter(applications).count() == 0)
    }

    /// Ends what a source does, in order.
    fn end_source(&mut self, node: usize) -> Step<()> {
        self.flush_leg(node);
        let rng = &mut self.rng;
        if let Some((volume, disk, store)) = self.nodes[node].volume() {
            volume.settle(disk, store, rng)?;
        }
        self.drop_leg(node)?;
        let machine = &mut self.nodes[node];
        let copies = machine
            .volume()
            .is_some_and(|(volume, _, _)| volume.step == Parting::Parting);
        if copies {
            self.fail(format!(
                "{node}: goes out of service while a generation is being recorded"
            ));
        }
        self.nodes[node].active = Active::Stopped;
        Ok(())
    }

    /// With a live leg and nothing under way, both sides flush before the log of intents is cleared.
    fn flush_leg(&mut self, node: usize) {
        let Some(source) = self.nodes[node].source() else {
            return;
        };
        let (live, quiet) = (source.volume.live, source.volume.requests.is_empty());
        let Some(id) = source.legs.first().and_then(|leg| leg.conn).filter(|_| live && quiet) else {
            return;
        };
        let Some((target, intact)) = self
            .conn(id)
            .map(|conn| (conn.target, !conn.broken && conn.target_side))
        else {
            return;
        };
        let serves = self.nodes[target]
            .target()
            .is_some_and(|target| target.conn == Some(id));
        let empty = self
            .conn(id)
            .is_some_and(|conn| conn.to_target.is_empty() && conn.to_source.is_empty());
        if intact && serves && empty {
            self.nodes[target].disk.flush();
            self.nodes[node].disk.flush();
            if let Some(source) = self.nodes[node].source() {
                source.volume.end_round_now();
            }
        }
    }

    /// Makes a source a target; false where it is in use.
    pub fn give_way(&mut self, node: usize, yields: bool) -> Step<bool> {
        if !self.is_idle(node) || self.nodes[node].source().is_none() {
            return Ok(false);
        }
        self.note(|| format!("{node}: gives way, yields {yields}"));
        self.nodes[node].truth.gave_up |= yields;
        self.end_source(node)?;
        self.note_target(node, yields)?;
        self.open_target(node);
        Ok(true)
    }

    /// Takes a mirror out of service.
    pub fn stop(&mut self, node: usize, keep_role: bool) -> Step<bool> {
        let idle = self.is_idle(node);
        match &self.nodes[node].active {
            Active::Source(_) if idle => self.end_source(node)?,
            Active::Target(target) if idle && target.own.as_ref().is_none_or(|own| !own.open) => {
                self.end_target(node);
            }
            _ => return Ok(false),
        }
        self.note(|| format!("{node}: stops"));
        self.nodes[node].waiting = false;
        let split = self.nodes[node].has(MetaFlags::SPLIT_BRAIN);
        self.nodes[node].truth.gave_up |= split && !keep_role;
        self.store(node).change(|sb| {
            sb.flags.set(MetaFlags::CLEAN, true);
            if !keep_role {
                sb.flags.set(MetaFlags::STOPPED, true);
                sb.flags = sb.flags.with(MetaFlags::YIELDED, split);
            }
        })?;
        Ok(true)
    }

    fn end_target(&mut self, node: usize) {
        let conn = self.nodes[node].target().and_then(|target| target.conn.take());
        if let Some(conn) = conn {
            if let Some(conn) = self.conn(conn).filter(|conn| !conn.broken) {
                conn.to_source.push_back(crate::net::Message::Bye);
            }
            self.close_target_side(conn);
        }
        self.nodes[node].active = Active::Stopped;
    }

    /// Changes places with the source.
    pub fn switchover(&mut self, node: usize) -> Step<bool> {
        let Some(conn) = self.nodes[node].target().filter(|it| it.in_sync).and_then(|it| it.conn) else {
            return Ok(false);
        };
        let Some(source) = self
            .conn(conn)
            .filter(|it| !it.broken && it.source_side)
            .map(|it| it.source)
        else {
            return Ok(false);
        };
        let legs = self.nodes[source].source().map(|source| &source.legs);
        let synced = legs.is_some_and(|legs| {
            legs.first()
                .is_some_and(|leg| leg.conn == Some(conn) && leg.machine.state() == State::Synced)
        });
        if !synced {
            return Ok(false);
        }
        let result = self.give_way(source, false);
        if self.settle(source, result) != Some(true) {
            return Ok(false);
        }
        self.target_loses(node, true);
        self.counts.switched += 1;
        self.start(node, StartMode::Source, false)
    }

    pub fn extend(&mut self, node: usize, to: usize) -> Step<bool> {
        if self.nodes[node].source().is_none_or(|source| !source.legs.is_empty()) || node == to {
            return Ok(false);
        }
        self.note(|| format!("{node}: extends to {to}"));
        self.store(node).change(|sb| {
            sb.peers[0].port = PORT + u16::try_from(to).unwrap();
            sb.peers[0].flags.set(PeerFlags::PAUSED, false);
        })?;
        self.add_leg(node)?;
        Ok(true)
    }

    pub fn unextend(&mut self, node: usize) -> Step<bool> {
        if self.nodes[node].source().is_none_or(|source| source.legs.is_empty()) {
            return Ok(false);
        }
        self.note(|| format!("{node}: unextends"));
        self.drop_leg(node)?;
        let fresh = self.rng.fresh();
        self.store(node).change(|sb| {
            generation::rotate(&mut sb.current, &mut sb.history, fresh);
            sb.flags.set(MetaFlags::PREPARED, false);
            sb.peers[0] = Peer::FREE;
        })?;
        if let Some(source) = self.nodes[node].source() {
            source.volume.step = Parting::Apart;
        }
        self.pump(node)?;
        Ok(true)
    }

    /// Pauses or resumes.
    pub fn pause(&mut self, node: usize, on: bool) -> Step<bool> {
        if self.nodes[node].source().is_none_or(|source| source.legs.is_empty()) {
            return Ok(false);
        }
        self.note(|| format!("{node}: {}", if on { "pauses" } else { "resumes" }));
        self.store(node)
            .change(|sb| sb.peers[0].flags.set(PeerFlags::PAUSED, on))?;
        self.fire(node, if on { Event::Pause } else { Event::Resume })?;
        Ok(true)
    }

    pub fn full_resync(&mut self, node: usize) -> Step<bool> {
        if self.nodes[node].source().is_none_or(|source| source.legs.is_empty()) {
            return Ok(false);
        }
        self.note(|| format!("{node}: is asked for a full copy"));
        self.store(node).change(|sb| {
            sb.peers[0].flags.set(PeerFlags::FULL, true);
            sb.peers[0].flags.set(PeerFlags::PAUSED, false);
        })?;
        self.fire(node, Event::Resume)?;
        self.fire(node, Event::Lost)?;
        Ok(true)
    }

    /// Gives a disk to the mirror, whatever it holds.
    pub fn join(&mut self, node: usize) {
        self.note(|| format!("{node}: joins"));
        if let Active::Target(Target { .. }) = self.nodes[node].active {
            self.end_target(node);
        }
        // Only the first time is its disk the same as the source's.
        let flags = match self.nodes[node].store {
            None => self.kind.flags(),
            Some(_) => MetaFlags::NONE,
        };
        self.format(node, Role::Target, flags);
        self.open_target(node);
    }

    /// The only machine makes the mirror.
    pub fn create(&mut self, node: usize) {
        let flags = self.kind.flags();
        self.format(node, Role::Source, flags);
        self.store(node).dirty = if self.kind == Kind::Prepared {
            0
        } else {
            crate::store::ALL
        };
        let store = self.nodes[node].store.as_ref().unwrap();
        let volume = Volume::new(store);
        self.nodes[node].active = Active::Source(Source {
            volume,
            legs: Vec::new(),
        });
    }

    /// The device of a pause is closed.
    pub fn close_device(&mut self, node: usize) {
        let own = self.nodes[node].target().and_then(|target| target.own.as_mut());
        if let Some(own) = own.filter(|own| own.volume.requests.is_empty()) {
            own.open = false;
        }
    }
}

/// Whether it was a source that answered.
pub fn is_source(heard: &Heard) -> bool {
    matches!(heard, Heard::Answer(answer) if answer.role == Role::Source)
}
