// SPDX-License-Identifier: GPL-2.0

//! What happens next is a matter of chance: messages, disks, timers, operators, power cuts.

use crate::cluster::{Cluster, Step};
use crate::disk::CHUNKS;
use crate::net::Message;
use crate::node::{Active, Target};
use crate::store::PowerCut;
use netraid_core::leg::{Event, State};
use netraid_core::meta::MetaFlags;
use netraid_core::ownership::StartMode;

impl Cluster {
    /// One step of a history.
    pub fn step(&mut self) {
        let node = self.rng.below(self.nodes.len());
        let fused = self.rng.one_in(40);
        match self.rng.below(1000) {
            0..=799 => {
                // Some of what is drawn has nothing to do.
                let _ = (0..6).any(|_| self.work(fused));
            }
            800..=929 => self.application(node, fused),
            930..=975 => self.operate(node, fused),
            _ => self.fault(node),
        }
    }

    /// Something that a machine does by itself.
    pub fn work(&mut self, fused: bool) -> bool {
        match self.rng.below(10) {
            0..=4 => self.deliver(fused),
            5 => self.notice(),
            6 => self.each(fused, |cluster, node| {
                let ids = cluster.nodes[node]
                    .volume()
                    .map_or(Vec::new(), |(volume, _, _)| volume.at_disk());
                let Some(&id) = ids.get(cluster.rng.below(ids.len().max(1))) else {
                    return Ok(false);
                };
                cluster.local_done(node, id).map(|()| true)
            }),
            7 => self.each(fused, Self::journal),
            8 => self.each(fused, |cluster, node| {
                if cluster.nodes[node].booting {
                    cluster.nodes[node].booting = false;
                    return cluster.start(node, StartMode::Auto, false);
                }
                let leg = cluster.nodes[node].source().and_then(|source| source.legs.first());
                let Some(state) = leg.map(|leg| leg.machine.state()) else {
                    return Ok(false);
                };
                match state {
                    State::Waiting | State::Connecting => cluster.connect(node).map(|()| true),
                    State::Resyncing => cluster.copy(node).map(|()| true),
                    _ => Ok(false),
                }
            }),
            _ => self.each(fused, |cluster, node| {
                let rounds = cluster.rng.one_in(3) && cluster.nodes[node].volume().is_some();
                if rounds {
                    cluster.round(node)?;
                }
                Ok(rounds)
            }),
        }
    }

    /// Does something on a machine where there is something to do; begins with any of them.
    fn each(&mut self, fused: bool, act: impl Fn(&mut Self, usize) -> Result<bool, PowerCut>) -> bool {
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
        let waiting: Vec<_> = self
            .conns
            .iter()
            .flat_map(|conn| {
                let there = (conn.target_side && !conn.to_target.is_empty()).then_some((conn.id, true));
                let here = (conn.source_side && !conn.to_source.is_empty()).then_some((conn.id, false));
                there.into_iter().chain(here)
            })
            .collect();
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
            message if to_target => match self.nodes[node].target() {
                Some(Target { conn, .. }) if *conn == Some(id) => self.target_hears(node, id, message),
                _ => Ok(()),
            },
            message => match self.nodes[node].source().and_then(|source| source.legs.first()) {
                Some(leg) if leg.conn == Some(id) => self.source_hears(node, message),
                _ => Ok(()),
            },
        };
        self.settle(node, result);
    }

    /// Somebody notices that a connection is over.
    pub fn notice(&mut self) -> bool {
        let count = self.nodes.len();
        let first = self.rng.below(count);
        for node in (first..first + count).map(|node| node % count) {
            let over = |conn: &crate::net::Conn, mine: bool| conn.broken && mine;
            match &self.nodes[node].active {
                Active::Source(source) => {
                    let id = source.legs.first().and_then(|leg| leg.conn);
                    let lost = id.is_some_and(|id| {
                        let conn = self.conns.iter().find(|conn| conn.id == id);
                        conn.is_none_or(|conn| over(conn, conn.to_source.is_empty()))
                    });
                    if lost {
                        let result = self.fire(node, Event::Lost);
                        self.settle(node, result);
                        return true;
                    }
                }
                Active::Target(target) => {
                    let lost = target.conn.is_some_and(|id| {
                        let conn = self.conns.iter().find(|conn| conn.id == id);
                        conn.is_none_or(|conn| over(conn, conn.to_target.is_empty()))
                    });
                    if lost {
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
        match self.rng.below(8) {
            0 | 1 if self.nodes[node].up => self.crash(node),
            0..=3 if !self.nodes[node].up => self.boot(node),
            4 if node != other => {
                if let Some(place) = self.cut.iter().position(|it| *it == pair) {
                    self.note(|| format!("{node} and {other} see each other"));
                    self.cut.remove(place);
                } else {
                    self.note(|| format!("{node} and {other} do not see each other"));
                    self.cut.push(pair);
                    let Self { conns, rng, .. } = self;
                    let between =
                        |conn: &crate::net::Conn| (conn.source.min(conn.target), conn.source.max(conn.target));
                    conns
                        .iter_mut()
                        .filter(|conn| between(conn) == pair)
                        .for_each(|conn| conn.cut(rng));
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
            _ => self.cut.clear(),
        }
    }

    /// An operator does something, wise or not.
    fn operate(&mut self, node: usize, fused: bool) {
        if !self.nodes[node].up {
            return self.boot(node);
        }
        let other = self.rng.below(self.nodes.len());
        if self.nodes[node].store.is_none() {
            return self.join(node);
        }
        if fused {
            self.light_fuse(node);
        }
        if self.rng.one_in(2) {
            let result = self.operate_well(node, other);
            self.settle(node, result);
            return;
        }
        let result = match self.rng.below(26) {
            0..=4 => self.start(node, StartMode::Source, false),
            5 => self.start(node, StartMode::Force, false),
            6 => self.start(node, StartMode::Force, true),
            7 => self.start(node, StartMode::Keep, false),
            8 => self.start(node, StartMode::Yield, false),
            9..=11 => self.start(node, StartMode::Auto, false),
            12 => self.stop(node, false),
            13 => self.stop(node, true),
            14 => self.give_way(node, false),
            15 | 16 => self.switchover(node),
            17..=19 => self.extend(node, other),
            20 => self.unextend(node),
            21 => self.pause(node, true),
            22 | 23 => self.pause(node, false),
            24 => self.full_resync(node),
            _ => {
                self.close_device(node);
                // The last copy is not thrown away; nothing could bring it back.
                let kept = (0..self.nodes.len()).any(|it| it != node && self.is_usable(it));
                if kept && self.rng.one_in(8) && self.nodes[node].source().is_none() {
                    self.join(node);
                }
                Ok(false)
            }
        };
        self.settle(node, result);
    }

    /// An operator does what the state of a machine suggests.
    fn operate_well(&mut self, node: usize, other: usize) -> Step<bool> {
        if self.nodes[node].has(MetaFlags::SPLIT_BRAIN) {
            let mode = [StartMode::Yield, StartMode::Keep][self.rng.below(2)];
            return self.start(node, mode, false);
        }
        let dice = self.rng.below(6);
        match &self.nodes[node].active {
            Active::Source(source) => match source.legs.first().map(|leg| leg.machine.state()) {
                None => self.extend(node, other),
                Some(State::Paused) => self.pause(node, false),
                Some(State::Synced) if dice == 0 => self.pause(node, true),
                Some(State::Waiting) if dice < 2 => self.give_way(node, dice == 0),
                Some(_) => Ok(false),
            },
            Active::Target(target) if target.pause => {
                self.close_device(node);
                Ok(false)
            }
            Active::Target(target) if target.conn.is_none() => self.start(node, StartMode::Source, false),
            Active::Target(_) if dice < 2 => self.switchover(node),
            Active::Target(_) => Ok(false),
            Active::Stopped => match dice {
                0..=2 => self.start(node, StartMode::Auto, false),
                3 | 4 => self.start(node, StartMode::Source, false),
                _ => self.start(node, StartMode::Force, self.nodes[node].has(MetaFlags::TOOK_OVER)),
            },
        }
    }
}
