// SPDX-License-Identifier: GPL-2.0

//! What happens next is a matter of chance: messages, disks, timers, operators, power cuts.

use crate::cluster::{Cluster, Step};
use crate::disk::CHUNKS;
use crate::net::{Conn, Message};
use crate::node::Active;
use netraid_core::leg::{Event, State};
use netraid_core::legs::LegNumber;
use netraid_core::local::LocalDisk;
use netraid_core::meta::MetaFlags;
use netraid_core::ownership::StartMode;

impl Cluster {
    /// One step of a history.
    pub fn step(&mut self) {
        let node = self.rng.below(self.nodes.len());
        let fused = self.rng.one_in(40);
        match self.rng.below(1000) {
            0..=819 => {
                // Some of what is drawn has nothing to do.
                let _ = (0..6).any(|_| self.work(fused));
            }
            820..=929 => self.application(node, fused),
            930..=975 => self.operate(node, fused),
            _ => self.fault(node),
        }
    }

    /// Something that a machine does by itself.
    pub fn work(&mut self, fused: bool) -> bool {
        match self.rng.below(13) {
            0..=3 => self.deliver(fused),
            4 => self.notice(),
            5 => self.each(fused, |cluster, node| {
                if cluster.end_one(node)? {
                    return Ok(true);
                }
                let ids = cluster.nodes[node]
                    .volume()
                    .map_or(Vec::new(), |(volume, _, _)| volume.at_disk());
                let Some(&id) = ids.get(cluster.rng.below(ids.len().max(1))) else {
                    return Ok(false);
                };
                cluster.local_done(node, id).map(|()| true)
            }),
            6 => self.each(fused, Self::journal),
            7 | 8 => self.each(fused, Self::thread),
            9..=11 => self.each(fused, |cluster, node| {
                let leg = cluster.any_leg(node);
                leg.map_or(Ok(false), |leg| cluster.send(node, leg))
            }),
            _ => self.each(fused, |cluster, node| {
                if cluster.rng.one_in(2) {
                    return cluster.rebuild(node);
                }
                let rounds = cluster.rng.one_in(3) && cluster.nodes[node].volume().is_some();
                if rounds {
                    cluster.tell_settled(node)?;
                    if !cluster.unflushed {
                        cluster.round(node)?;
                    }
                }
                Ok(rounds)
            }),
        }
    }

    /// One of the legs of a source.
    pub fn any_leg(&mut self, node: usize) -> Option<LegNumber> {
        let legs: Vec<_> = self.nodes[node].as_source()?.legs.iter().map(|(leg, _)| *leg).collect();
        legs.get(self.rng.below(legs.len().max(1))).copied()
    }

    /// What the system does after a boot, or a leg's thread.
    fn thread(&mut self, node: usize) -> Step<bool> {
        if self.nodes[node].booting {
            self.nodes[node].booting = false;
            return self.start(node, StartMode::Auto, false);
        }
        let Some(leg) = self.any_leg(node) else {
            return Ok(false);
        };
        match self.state(node, leg) {
            Some(State::Waiting | State::Connecting) => self.connect(node, leg).map(|()| true),
            Some(State::Resyncing) => self.copy(node, leg).map(|()| true),
            Some(State::Finishing) => self.look_for_disk(node, leg),
            Some(State::Synced) => self.look_for_congestion(node, leg),
            _ => Ok(false),
        }
    }

    /// Does something on a machine where there is something to do; begins with any of them.
    fn each(&mut self, fused: bool, act: impl Fn(&mut Self, usize) -> Step<bool>) -> bool {
        let count = self.nodes.len();
        let first = self.rng.below(count);
        for node in (first..first + count).map(|node| node % count) {
            if !self.nodes[node].up || self.nodes[node].store.is_none() {
                continue;
            }
            if fused {
                self.light_fuse(node);
            }
            let result = act(self, node);
            if self.settle(node, result) != Some(false) {
                return true;
            }
        }
        false
    }

    /// A message arrives.
    fn deliver(&mut self, fused: bool) -> bool {
        let waits = |conn: &Conn| {
            let held = |from: usize, to: usize| self.held.contains(&(from, to));
            let goes = conn.target_side && !held(conn.source, conn.target) && !self.is_in_line(conn.target, conn.id);
            let comes = conn.source_side && !held(conn.target, conn.source);
            let there = (goes && !conn.to_target.is_empty()).then_some((conn.id, true));
            let here = (comes && !conn.to_source.is_empty()).then_some((conn.id, false));
            there.into_iter().chain(here)
        };
        let waiting: Vec<_> = self.conns.iter().flat_map(waits).collect();
        if waiting.is_empty() {
            return false;
        }
        let (id, to_target) = waiting[self.rng.below(waiting.len())];
        self.deliver_on(id, to_target, fused);
        true
    }

    /// The next message of a connection arrives at one of its ends.
    pub fn deliver_on(&mut self, id: u32, to_target: bool, fused: bool) {
        let Some(conn) = self.conn(id) else { return };
        let (source, target) = (conn.source, conn.target);
        let queue = if to_target {
            &mut conn.to_target
        } else {
            &mut conn.to_source
        };
        let Some(message) = queue.pop_front() else { return };
        let node = if to_target { target } else { source };
        self.note(|| match &message {
            Message::Hello(hello) => format!("{node}: hears Hello of {source}, {:x?}", hello.generations()),
            Message::Welcome(it) => format!("{node}: hears Welcome {:?} {:x?}", it.flags, it.generations()),
            message => format!("{node}: hears {message:x?}"),
        });
        if fused {
            self.light_fuse(node);
        }
        let result = match message {
            Message::Hello(hello) => self.greeted(node, id, source, &hello),
            message if to_target => match self.nodes[node].as_target() {
                Some(target) if target.conn == Some(id) => self.target_hears(node, id, message),
                _ => Ok(()),
            },
            message => match self.nodes[node].as_source().and_then(|source| source.leg_to(target)) {
                Some((leg, it)) if it.conn == Some(id) => self.source_hears(node, leg, message),
                _ => Ok(()),
            },
        };
        self.settle(node, result);
    }

    /// Somebody notices that a connection is over.
    fn notice(&mut self) -> bool {
        let count = self.nodes.len();
        let first = self.rng.below(count);
        for node in (first..first + count).map(|node| node % count) {
            let over = |id: Option<u32>, unheard: fn(&Conn) -> bool| {
                let is_over = |id| {
                    let conn = self.conns.iter().find(|conn| conn.id == id);
                    conn.is_none_or(|conn| conn.broken && !unheard(conn))
                };
                id.is_some_and(is_over)
            };
            match &self.nodes[node].active {
                Active::Source(source) => {
                    let unheard = |conn: &Conn| !conn.to_source.is_empty();
                    let lost = source.legs.iter().find(|(_, leg)| over(leg.conn, unheard));
                    if let Some(leg) = lost.map(|(leg, _)| *leg) {
                        let result = self.fire(node, leg, Event::Lost);
                        self.settle(node, result);
                        return true;
                    }
                }
                Active::Target(target) => {
                    if over(target.conn, |conn| !conn.to_target.is_empty()) {
                        self.target_loses(node, false);
                        return true;
                    }
                }
                Active::Stopped => {}
            }
        }
        self.conns.retain(|conn| !conn.is_over());
        false
    }

    fn application(&mut self, node: usize, fused: bool) {
        let chunk = self.rng.below(CHUNKS);
        if fused {
            self.light_fuse(node);
        }
        let result = self.write(node, chunk);
        self.settle(node, result);
    }

    fn fault(&mut self, node: usize) {
        let other = self.rng.below(self.nodes.len());
        let pair = (node.min(other), node.max(other));
        match self.rng.below(10) {
            0 | 1 if self.nodes[node].up => self.crash(node),
            0..=3 if !self.nodes[node].up => self.boot(node),
            4 if node != other => {
                if let Some(place) = self.cut.iter().position(|it| *it == pair) {
                    self.note(|| format!("{node} and {other} see each other"));
                    self.cut.remove(place);
                } else {
                    self.separate(node, other);
                }
            }
            5 => {
                let Self { conns, rng, .. } = self;
                if !conns.is_empty() {
                    let index = rng.below(conns.len());
                    conns[index].cut(rng);
                }
            }
            6 => self.nodes[node].disk.flush(),
            7 | 8 => {
                let state = self.nodes[node].as_source().map(|source| source.volume.local);
                if matches!(state, Some(LocalDisk::Attached | LocalDisk::Rebuilding)) {
                    self.note(|| format!("{node}: the disk fails from now on"));
                    self.nodes[node].bad = true;
                }
            }
            _ if self.lagging.iter().any(|behind| *behind != 0) => self.fail_over(),
            _ => self.cut.clear(),
        }
    }

    /// A source loses its power while an asynchronous target lags behind, which takes its place.
    fn fail_over(&mut self) {
        let behind = |&(_, to): &(usize, usize)| self.lagging[to] != 0;
        let Some((source, to)) = self.pairs().filter(|&(a, b)| self.is_together(a, b)).find(behind) else {
            return;
        };
        self.crash(source);
        self.target_loses(to, false);
        let result = self.start(to, StartMode::Source, false);
        self.settle(to, result);
    }

    /// Nothing passes between two machines from now on.
    pub fn separate(&mut self, node: usize, other: usize) {
        self.note(|| format!("{node} and {other} do not see each other"));
        self.cut.push((node.min(other), node.max(other)));
        let Self { conns, rng, .. } = self;
        conns
            .iter_mut()
            .filter(|conn| conn.is_between(node, other))
            .for_each(|conn| conn.cut(rng));
    }

    /// An operator does something, wise or not.
    fn operate(&mut self, node: usize, fused: bool) {
        if !self.nodes[node].up {
            return self.boot(node);
        }
        let other = self.rng.below(self.nodes.len());
        if fused {
            self.light_fuse(node);
        }
        let result = if self.rng.one_in(2) {
            self.operate_well(node, other)
        } else {
            self.operate_badly(node, other)
        };
        self.settle(node, result);
    }

    fn operate_badly(&mut self, node: usize, other: usize) -> Step<bool> {
        let leg = self.any_leg(node).unwrap_or(LegNumber::FIRST);
        match self.rng.below(26) {
            0..=4 => self.start(node, StartMode::Source, false),
            5 => self.start(node, StartMode::Force, false),
            6 => self.start(node, StartMode::Force, true),
            7 => self.start(node, StartMode::Keep, false),
            8 => self.start(node, StartMode::Yield, false),
            9..=11 => self.start(node, StartMode::Auto, false),
            12 => self.stop(node, true),
            13 => self.stop(node, false),
            14 => self.give_way(node, false),
            15 | 16 => self.switchover(node),
            17..=19 => self.extend(node, other),
            20 => self.unextend(node, leg),
            21 => self.pause(node, leg, true),
            22 | 23 => self.pause(node, leg, false),
            24 => self.full_resync(node, leg),
            _ => {
                self.close_device(node);
                // The last copy is not thrown away; nothing could bring it back.
                let usable = self.usable();
                let mut others = usable
                    .into_iter()
                    .filter(|&other| other != node && !self.nodes[other].bad);
                let kept = others.any(|other| {
                    let source = self.nodes[other].as_source();
                    source.is_none_or(|source| !source.volume.local.is_gone())
                });
                if kept && self.rng.one_in(8) {
                    return self.join(node);
                }
                Ok(false)
            }
        }
    }

    /// An operator does what the state of a machine suggests.
    fn operate_well(&mut self, node: usize, other: usize) -> Step<bool> {
        if self.nodes[node].has(MetaFlags::SPLIT_BRAIN) {
            let mode = [StartMode::Yield, StartMode::Keep][self.rng.below(2)];
            return self.start(node, mode, false);
        }
        let dice = self.rng.below(6);
        let leg = self.any_leg(node);
        match &self.nodes[node].active {
            Active::Source(source) if source.volume.local == LocalDisk::Detached => self.attach(node),
            Active::Source(source) if source.volume.local == LocalDisk::Ended => self.stop(node, true),
            Active::Source(source) if source.legs.len() < self.shape.targets && dice < 5 => self.extend(node, other),
            Active::Source(_) => match leg.map(|leg| (leg, self.state(node, leg))) {
                Some((leg, Some(State::Paused))) => self.pause(node, leg, false),
                Some((leg, Some(State::Synced))) if dice == 0 => self.pause(node, leg, true),
                Some((_, Some(State::Waiting))) if dice < 2 => self.give_way(node, dice == 0),
                _ => Ok(false),
            },
            Active::Target(target) if target.pause => {
                self.close_device(node);
                Ok(false)
            }
            Active::Target(target) if target.conn.is_none() && dice < 4 => self.start(node, StartMode::Source, false),
            Active::Target(_) if dice < 2 => self.switchover(node),
            Active::Target(_) => Ok(false),
            Active::Stopped => match dice {
                0..=2 => self.start(node, StartMode::Auto, false),
                3 | 4 => self.start(node, StartMode::Source, false),
                _ => {
                    let overridden = self.nodes[node].has(MetaFlags::TOOK_OVER);
                    self.start(node, StartMode::Force, overridden)
                }
            },
        }
    }
}
