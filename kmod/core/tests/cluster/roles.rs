// SPDX-License-Identifier: GPL-2.0

//! Which machine is the source: starting, stopping, giving way.

use crate::cluster::{Cluster, Step};
use crate::mistake::Mistake;
use crate::net::Message;
use crate::node::{Active, Source};
use crate::request::Origin;
use crate::store::Store;
use crate::volume::Volume;
use netraid_core::leg::State;
use netraid_core::legs::{LegNumber, LegSet};
use netraid_core::meta::{places, MetaFlags, Superblock};
use netraid_core::name::Name;
use netraid_core::ownership::{become_source, start_decide, StartFacts, StartMode, StartPlan};
use netraid_core::state::Role;

/// Notes that a machine is the source. `wrote`: it marked something as a target.
pub fn note_source(sb: &mut Superblock, wrote: bool, fresh: u64, mistake: Option<Mistake>) {
    let before = sb.peers;
    become_source(sb, wrote, fresh);
    match mistake {
        Some(Mistake::GoesOnAfterPromotion) => sb.flags.set(MetaFlags::SHARED, false),
        Some(Mistake::BelievesOldMaps) => sb.peers[1..].copy_from_slice(&before[1..]),
        _ => {}
    }
}

/// The metadata and the volume of a machine that would become source now, out of service as it is.
pub fn prospect(store: &Store, mistake: Option<Mistake>) -> (Store, Volume) {
    let mut store = store.after_cut();
    let was_target = store.now.sb.role == Role::Target;
    let own = was_target
        .then(|| Volume::own(&store, mistake))
        .filter(|own| own.own_words() != 0 && store.tells());
    note_source(&mut store.now.sb, own.is_some(), u64::MAX - 1, mistake);
    let known = !was_target || mistake == Some(Mistake::BelievesOldMaps);
    let volume = Volume::source(&store, own, known, None);
    (store, volume)
}

impl Cluster {
    /// Brings a mirror into service; false where it is refused.
    pub fn start(&mut self, node: usize, mode: StartMode, overridden: bool) -> Step<bool> {
        let warm = match &self.nodes[node].active {
            Active::Source(_) => return self.in_service(node, mode),
            Active::Target(target) => {
                if mode == StartMode::Auto || target.conn.is_some() {
                    return Ok(mode == StartMode::Auto);
                }
                target.warm
            }
            Active::Stopped => false,
        };
        let peers = if mode == StartMode::Yield {
            Vec::new()
        } else {
            self.ask_all(node)
        };
        let sb = self.sb(node);
        let facts = StartFacts {
            mirror: Name::truncated("data"),
            role: sb.role,
            flags: sb.flags,
            has_data: sb.current != 0,
            warm,
            overridden,
        };
        let decision = start_decide(&facts, mode, &peers);
        self.note(|| {
            let heard: Vec<_> = peers.iter().map(|peer| peer.heard).collect();
            format!(
                "{node}: start {mode:?}, {:?}, heard {heard:?}: {:?}",
                facts.flags, decision.plan
            )
        });
        let yields = decision.set.contains(MetaFlags::YIELDED);
        self.nodes[node].truth.gave_up |= yields;
        self.counts.yields += u32::from(yields);
        self.store(node)
            .change(|sb| sb.flags = sb.flags.without(decision.clear).with(decision.set, true))?;
        match decision.plan {
            StartPlan::Refuse(_) => {
                let sb = self.sb(node);
                let wanted = sb.current != 0 && !sb.flags.contains(MetaFlags::STOPPED);
                let stopped = self.nodes[node].role() == Role::Stopped;
                self.nodes[node].waiting = wanted && stopped;
                Ok(false)
            }
            StartPlan::Source => {
                self.counts.warm += u32::from(warm);
                self.become_source(node, mode).map(|()| true)
            }
            StartPlan::Target => {
                if yields && mode == StartMode::Auto {
                    self.check_way_given(node);
                }
                if self.nodes[node].as_target().is_none() {
                    self.note_target(node, false)?;
                    self.open_target(node)?;
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
        let was_target = self.sb(node).role == Role::Target;
        let mistake = self.mistake;
        self.end_under_way(node);
        let recent = self.nodes[node].target().and_then(|target| target.recent.take());
        let recent = recent.filter(|recent| recent.counts() && self.store(node).has_maps());
        let own = match self.nodes[node].target() {
            Some(target) => target.own.take().map(|own| own.volume),
            None if was_target => self.own_marks(node)?,
            None => None,
        };
        self.nodes[node].active = Active::Stopped;
        self.nodes[node].waiting = false;
        if was_target && mistake != Some(Mistake::PromotesUnflushed) {
            // What a source had confirmed here is in no log of intents of this machine: a power cut must not take it back.
            self.nodes[node].disk.flush();
        }
        let (wrote, fresh) = (own.as_ref().is_some_and(|own| own.own_words() != 0), self.rng.fresh());
        self.store(node).change(|sb| note_source(sb, wrote, fresh, mistake))?;
        let known = !was_target || mistake == Some(Mistake::BelievesOldMaps);
        let Self { nodes, rng, .. } = self;
        let machine = &mut nodes[node];
        let store = machine.store.as_mut().unwrap();
        let known_legs = own
            .as_ref()
            .map_or(LegSet::of(LegNumber::FIRST), |own| own.those(|_| true));
        let mut volume = Volume::source(store, own, known, recent.as_ref().map(|recent| recent.word(0)));
        volume.keep_marks(store, rng)?;
        if recent.is_some() {
            let others = places::taken(&store.now.sb.peers).without(known_legs);
            volume.rely_on_recent(others, store)?;
        }
        volume.mistake = mistake;
        volume.detaches = !self.shape.passes_on;
        self.observe_source(node, mode, &mut volume);
        let legs = Vec::new();
        self.nodes[node].active = Active::Source(Source { volume, legs });
        self.counts.sources += 1;
        let taken = places::taken(&self.sb(node).peers);
        for leg in taken.iter() {
            self.add_leg(node, leg)?;
        }
        self.pump(node)
    }

    /// For the observer: what a machine's data contains that becomes the source, and what is given up by that.
    fn observe_source(&mut self, node: usize, mode: StartMode, volume: &mut Volume) {
        let truth = &mut self.nodes[node].truth;
        truth.seen |= truth.paused;
        self.acknowledged |= truth.paused;
        (truth.paused, truth.gave_up) = (0, false);
        if mode != StartMode::Auto {
            truth.mandate = u8::MAX;
        }
        volume.seen = truth.seen;
        // Who makes an asynchronous target the source gives up what it lacks.
        let lacks = std::mem::take(&mut self.lagging[node]) & !volume.seen & self.acknowledged;
        self.counts.left_behind += lacks.count_ones();
        self.acknowledged &= !lacks;
        if mode == StartMode::Force {
            self.force_gives_up(node);
        }
        self.lives += 1;
        volume.life = self.lives;
    }

    fn note_target(&mut self, node: usize, yields: bool) -> Step<()> {
        self.nodes[node].waiting = false;
        self.store(node).change(|sb| {
            sb.role = Role::Target;
            sb.forget_lost_disk();
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

    /// Whether no write of an application is under way.
    fn is_idle(&mut self, node: usize) -> bool {
        let volume = self.nodes[node].volume().map(|(volume, _, _)| volume);
        volume.is_none_or(|volume| volume.requests.iter().all(|it| it.origin != Origin::Application))
    }

    /// Ends what a source does, in order.
    fn end_source(&mut self, node: usize) -> Step<()> {
        self.flush_everywhere(node);
        let rng = &mut self.rng;
        if let Some((volume, disk, store)) = self.nodes[node].volume() {
            volume.settle(disk, store, rng)?;
        }
        for leg in LegNumber::all() {
            self.drop_leg(node, leg)?;
        }
        let parts = self.nodes[node].as_source().is_some_and(|it| it.volume.is_parting());
        if parts {
            self.fail(format!(
                "{node}: goes out of service while a generation is being recorded"
            ));
        }
        self.nodes[node].active = Active::Stopped;
        Ok(())
    }

    /// With nothing under way, all sides flush before the log of intents is cleared.
    fn flush_everywhere(&mut self, node: usize) {
        let Some(source) = self.nodes[node].as_source() else {
            return;
        };
        let live = source.volume.live();
        let quiet = source.volume.requests.is_empty() && source.volume.round.is_none();
        let legs = live.iter().filter_map(|leg| source.leg(leg));
        let ends: Vec<_> = legs.filter_map(|leg| Some((leg.conn?, leg.to))).collect();
        let listens = |&(id, to): &(u32, usize)| {
            let serves = self.nodes[to].as_target().is_some_and(|target| target.conn == Some(id));
            let mut conns = self.conns.iter().filter(|conn| conn.id == id && !conn.broken);
            serves && conns.any(|conn| conn.target_side && conn.to_target.is_empty() && conn.to_source.is_empty())
        };
        if !quiet || ends.is_empty() || ends.len() != live.iter().count() || !ends.iter().all(listens) {
            return;
        }
        ends.iter().for_each(|(_, to)| self.nodes[*to].disk.flush());
        if let Some((volume, disk, _)) = self.nodes[node].volume() {
            if volume.local.is_written() {
                disk.flush();
            }
            volume.end_round_now();
        }
    }

    /// Makes a source a target; false where it is in use.
    pub fn give_way(&mut self, node: usize, yields: bool) -> Step<bool> {
        if !self.is_idle(node) || self.nodes[node].as_source().is_none() {
            return Ok(false);
        }
        self.note(|| format!("{node}: gives way, yields {yields}"));
        self.nodes[node].truth.gave_up |= yields;
        self.end_source(node)?;
        self.note_target(node, yields)?;
        self.open_target(node)?;
        Ok(true)
    }

    /// Takes a mirror out of service.
    pub fn stop(&mut self, node: usize, for_shutdown: bool) -> Step<bool> {
        if !self.is_idle(node) {
            return Ok(false);
        }
        match &self.nodes[node].active {
            Active::Source(_) => self.end_source(node)?,
            Active::Target(target) if !target.own.as_ref().is_some_and(|own| own.open) => self.end_target(node),
            _ => return Ok(false),
        }
        self.note(|| format!("{node}: stops"));
        self.nodes[node].waiting = false;
        let split = self.nodes[node].has(MetaFlags::SPLIT_BRAIN);
        self.nodes[node].truth.gave_up |= split && !for_shutdown;
        self.store(node).change(|sb| {
            sb.forget_lost_disk();
            sb.flags.set(MetaFlags::CLEAN, true);
            if !for_shutdown {
                sb.flags.set(MetaFlags::STOPPED, true);
                let yields = sb.flags.contains(MetaFlags::SPLIT_BRAIN);
                sb.flags = sb.flags.with(MetaFlags::YIELDED, yields);
            }
        })?;
        self.nodes[node].truth.gave_up |= self.store(node).lost.is_some();
        self.store(node).reload();
        Ok(true)
    }

    pub fn end_target(&mut self, node: usize) {
        self.end_under_way(node);
        if let Some(conn) = self.nodes[node].target().and_then(|target| target.conn.take()) {
            self.send_source(conn, Message::Bye);
            self.close_target_side(conn);
        }
        self.nodes[node].active = Active::Stopped;
    }

    /// Changes places with the source.
    pub fn switchover(&mut self, node: usize) -> Step<bool> {
        let target = self.nodes[node].as_target().filter(|target| target.in_sync);
        let Some(id) = target.and_then(|target| target.conn) else {
            return Ok(false);
        };
        let Some(source) = self
            .conn(id)
            .filter(|it| !it.broken && it.source_side)
            .map(|it| it.source)
        else {
            return Ok(false);
        };
        let leg = self.nodes[source].as_source().and_then(|source| source.leg_to(node));
        if !leg.is_some_and(|(_, leg)| leg.conn == Some(id) && leg.machine.state() == State::Synced) {
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
}
