// SPDX-License-Identifier: GPL-2.0

//! Asynchronous targets, for the observer: what they may lack, and in which order they get it.

use crate::cluster::{Cluster, Step, WRITES};
use crate::disk::Version;
use crate::node::{Arrived, Target};
use crate::request::{Origin, Request};
use crate::source::LIMIT;
use netraid_core::leg::Event;
use netraid_core::legs::LegNumber;

/// A write of an application.
#[derive(Clone, Copy, Debug)]
struct Entry {
    version: Version,
    chunk: usize,
    /// The source that began it.
    life: u32,
    begun: Option<u32>,
    acknowledged: Option<u32>,
}

/// When each write began and was acknowledged.
#[derive(Debug, Default)]
pub struct Log {
    entries: Vec<Entry>,
    clock: u32,
}

impl Log {
    pub fn add(&mut self, version: Version, chunk: usize) {
        self.entries.push(Entry {
            version,
            chunk,
            life: 0,
            begun: None,
            acknowledged: None,
        });
    }

    fn tick(&mut self, version: Version, note: impl Fn(&mut Entry, u32)) {
        self.clock += 1;
        if let Some(entry) = self.entries.iter_mut().find(|it| it.version == version) {
            note(entry, self.clock);
        }
    }

    pub fn begins(&mut self, version: Version, life: u32) {
        self.tick(version, |entry, clock| (entry.begun, entry.life) = (Some(clock), life));
    }

    pub fn is_acknowledged(&mut self, version: Version) {
        self.tick(version, |entry, clock| entry.acknowledged = Some(clock));
    }
}

impl Cluster {
    /// A write was acknowledged: which targets have not confirmed it.
    pub fn lags(&mut self, node: usize, request: &Request) {
        let Some(source) = self.nodes[node].as_source() else {
            return;
        };
        let behind = request
            .pending()
            .iter()
            .filter_map(|leg| source.leg(leg).map(|leg| leg.to));
        for to in behind.filter(|to| self.shape.is_asynchronous(node, *to)) {
            self.lagging[to] |= 1 << request.version;
            self.counts.early += 1;
        }
    }

    /// A target has confirmed something: what it lacks of what was acknowledged is what it has still to confirm.
    pub fn has_caught_up(&mut self, node: usize) {
        let Some(source) = self.nodes[node].as_source() else {
            return;
        };
        for (leg, it) in &source.legs {
            let lacks = |request: &&Request| request.origin == Origin::Application && request.is_pending(*leg);
            if source.volume.leg(*leg).is_some_and(|remote| remote.complete) {
                let lacking = source.volume.requests.iter().filter(lacks);
                self.lagging[it.to] &= lacking.fold(0, |all, request| all | 1 << request.version);
            }
        }
    }

    /// A leg that can't keep up is given up for a while, where its operator wants that; what is all there is is waited for.
    pub fn look_for_congestion(&mut self, node: usize, leg: LegNumber) -> Step<bool> {
        let Some(source) = self.nodes[node].source() else {
            return Ok(false);
        };
        let gone = source.volume.local.is_gone();
        let congested = std::mem::take(&mut source.volume.leg_mut(leg).congested);
        if congested && !gone {
            self.counts.fallen_behind += 1;
            self.fire(node, leg, Event::Congested)?;
        }
        Ok(congested && !gone)
    }

    /// What was acknowledged and an asynchronous target has not confirmed is no more than the limit.
    pub fn check_lag(&mut self, node: usize) {
        let Some(source) = self.nodes[node].as_source() else {
            return;
        };
        for (leg, it) in &source.legs {
            let told = source.volume.requests.iter().filter(|request| request.told);
            let behind = told.filter(|request| request.is_pending(*leg)).count();
            if behind > LIMIT as usize {
                let text = format!("{} lags behind {node} by {behind} writes", it.to);
                return self.fail(text);
            }
        }
    }

    /// Invariant 7: no two writes of a place are under way on a target, which may end them in any order.
    pub fn check_meeting(&mut self, node: usize) {
        let under_way = self.nodes[node].as_target().map_or(&[][..], |target| &target.under_way);
        let chunk = |write: &Arrived| 1_u64 << write.chunk;
        let all = under_way.iter().fold(0, |all, write| all | chunk(write));
        if all.count_ones() as usize != under_way.len() {
            let text = format!("{node} is at work on two writes of one place, {under_way:?}");
            self.fail(text);
        }
    }

    /// Invariant 6: a target that counts as a copy never holds a write without one that was acknowledged before that began.
    pub fn check_order(&mut self, node: usize) {
        let Some(target) = self.nodes[node].as_target() else {
            return;
        };
        // One that lost its source in step, too; one that lost its power may have lost what was in its cache.
        let was_in_step = target.warm && target.conn.is_none();
        if !(target.in_sync || was_in_step) {
            return;
        }
        let of_source = |entry: &&Entry| entry.life == target.life && target.life != 0;
        let entries = || self.log.entries.iter().filter(of_source);
        let held = entries().filter(|entry| self.may_hold(node, target, entry));
        let Some(later) = held.max_by_key(|entry| entry.begun) else {
            return;
        };
        let before = |entry: &&Entry| entry.acknowledged.is_some_and(|at| Some(at) < later.begun);
        let missing = entries().filter(before).find(|entry| !self.holds(node, entry));
        if let Some(earlier) = missing {
            let (earlier, later) = (earlier.version, later.version);
            self.fail(format!(
                "{node} has write {later}, and not write {earlier}, which was acknowledged before that began"
            ));
        }
    }

    /// Whether the disk of a target holds a write, or what was written to its place later.
    fn holds(&self, node: usize, entry: &Entry) -> bool {
        let there = self.nodes[node].disk.read(entry.chunk);
        there >= entry.version && there < WRITES
    }

    fn may_hold(&self, node: usize, target: &Target, entry: &Entry) -> bool {
        let comes = target.under_way.iter().any(|write| write.version == entry.version);
        comes || self.nodes[node].disk.read(entry.chunk) == entry.version
    }
}
