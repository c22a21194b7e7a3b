// SPDX-License-Identifier: GPL-2.0

//! What has to hold after every step, seen by an observer who knows everything.

use crate::cluster::Cluster;
use crate::disk::{Disk, Version, CHUNKS};
use crate::node::{Active, Node, Target};
use crate::roles::is_source;
use crate::source::{hello, source_facts};
use crate::store::ALL;
use crate::target::{target_facts, welcome};
use crate::volume::Request;
use netraid_core::generation::relation;
use netraid_core::handshake::{source_decide, target_decide, Copying, Plan};
use netraid_core::leg::State;
use netraid_core::meta::MetaFlags;
use netraid_core::ownership::Heard;
use netraid_core::state::Role;
use netraid_core::wire::HelloFlags;

/// One side of a pair, in operation or as it would be after a power cut now.
struct Side<'a> {
    node: &'a Node,
    crashed: bool,
}

impl Side<'_> {
    /// What a chunk may hold.
    fn possible(&self, chunk: usize) -> Vec<Version> {
        let disk: &Disk = &self.node.disk;
        if !self.crashed {
            return vec![disk.read(chunk)];
        }
        let mut all: Vec<_> = disk.possible(chunk).collect();
        all.extend(
            self.requests()
                .filter(|it| it.local && it.chunk == chunk)
                .map(|it| it.version),
        );
        all
    }

    fn requests(&self) -> impl Iterator<Item = &Request> {
        let volume = match &self.node.active {
            Active::Source(source) => Some(&source.volume),
            Active::Target(Target { own: Some(own), .. }) => Some(&own.volume),
            _ => None,
        };
        volume.into_iter().flat_map(|volume| volume.requests.iter())
    }

    /// Its own marks as it would tell or use them.
    fn marks(&self) -> u64 {
        let volume = match &self.node.active {
            Active::Source(source) if !self.crashed => Some(&source.volume),
            Active::Target(Target { own: Some(own), .. }) if !self.crashed => Some(&own.volume),
            _ => None,
        };
        match volume {
            Some(volume) => volume.own_words() | volume.unconfirmed(),
            None => self.kept(),
        }
    }

    fn kept(&self) -> u64 {
        let Some(store) = &self.node.store else { return 0 };
        if store.sb.flags.contains(MetaFlags::NO_BITMAP) {
            ALL
        } else {
            store.intent | store.dirty
        }
    }

    /// What this side, as a source, would copy because of its own marks.
    fn dirty(&self, distrust: bool) -> u64 {
        match &self.node.active {
            Active::Source(source) if !self.crashed => {
                let volume = &source.volume;
                let intents = volume.intent.marks().map().word(0);
                volume.dirty.map().word(0) | volume.unconfirmed() | if distrust { intents } else { 0 }
            }
            _ => self.kept(),
        }
    }
}

impl Cluster {
    /// Everything that has to hold at any time.
    pub fn check(&mut self) {
        for node in 0..self.nodes.len() {
            self.check_alone(node);
            for other in 0..self.nodes.len() {
                if node != other && self.nodes[node].store.is_some() && self.nodes[other].store.is_some() {
                    self.check_pair(node, other);
                }
            }
        }
    }

    /// Invariant 5: a half copy says so persistently, and is never in service as source.
    fn check_alone(&mut self, node: usize) {
        let Some(store) = &self.nodes[node].store else { return };
        let inconsistent = store.sb.flags.contains(MetaFlags::INCONSISTENT);
        let truth = self.nodes[node].truth;
        if truth.mixed && !inconsistent {
            self.fail(format!("{node}: half a copy, and does not say so"));
        }
        if matches!(self.nodes[node].active, Active::Source(_)) && (truth.mixed || inconsistent) {
            self.fail(format!("{node}: is source with half a copy"));
        }
    }

    fn check_pair(&mut self, a: usize, b: usize) {
        self.check_recorded(a, b);
        self.check_synced(a, b);
        self.check_covered(a, b);
    }

    /// Invariant 1: two usable copies that say that they are the same contain the same acknowledged writes.
    fn check_recorded(&mut self, a: usize, b: usize) {
        let usable = |node: usize| {
            let sb = self.sb(node);
            (sb.current != 0 && !sb.flags.contains(MetaFlags::INCONSISTENT)).then_some(sb.current)
        };
        let (Some(one), Some(other)) = (usable(a), usable(b)) else {
            return;
        };
        let (mine, theirs) = (self.nodes[a].truth.seen, self.nodes[b].truth.seen);
        let missing = mine & !theirs & self.acknowledged;
        if one == other && missing != 0 {
            self.fail(format!(
                "{b} misses acknowledged writes {missing:#x} of {a}, which nobody has on record"
            ));
        }
    }

    /// A leg that is in step has the same on both sides.
    fn check_synced(&mut self, a: usize, b: usize) {
        let Active::Source(source) = &self.nodes[a].active else {
            return;
        };
        let Some(leg) = source.legs.first().filter(|leg| leg.to == b) else {
            return;
        };
        let Active::Target(target) = &self.nodes[b].active else {
            return;
        };
        if leg.machine.state() != State::Synced || leg.conn.is_none() || target.conn != leg.conn {
            return;
        }
        let (mine, theirs) = (self.sb(a), self.sb(b));
        if mine.current != theirs.current || mine.peers[0].base != 0 {
            return self.fail(format!("{a} and {b} are in step, and it is not on record"));
        }
        let busy: u64 = source.volume.requests.iter().fold(0, |all, it| all | 1 << it.chunk);
        for chunk in (0..CHUNKS).filter(|chunk| busy >> chunk & 1 == 0) {
            let (here, there) = (self.nodes[a].disk.read(chunk), self.nodes[b].disk.read(chunk));
            if here != there {
                return self.fail(format!(
                    "{a} and {b} are in step, but chunk {chunk} is {here} and {there}"
                ));
            }
        }
    }

    /// Invariant 2: whatever loses its power now, if `a` then brings `b` up to date by marks, they cover every
    /// difference.
    fn check_covered(&mut self, a: usize, b: usize) {
        let sb = self.sb(a);
        if sb.current == 0 || sb.flags.contains(MetaFlags::INCONSISTENT) || self.nodes[a].truth.mixed {
            return;
        }
        let running = matches!(self.nodes[a].active, Active::Source(_));
        let serving = matches!(self.nodes[b].active, Active::Target(_));
        let yielded = self.nodes[b].has(MetaFlags::YIELDED);
        for combination in 0..8 {
            let bit = |number: u32| combination >> number & 1 == 1;
            // What is out of service is as after a power cut; what has yielded need not be asked to.
            if (!running && !bit(0)) || (!serving && !bit(1)) || (yielded && bit(2)) {
                continue;
            }
            let source = Side {
                node: &self.nodes[a],
                crashed: bit(0),
            };
            let target = Side {
                node: &self.nodes[b],
                crashed: bit(1),
            };
            if let Some(chunk) = self.uncovered(a, b, &source, &target, bit(2)) {
                let (here, there) = (source.possible(chunk), target.possible(chunk));
                let text = format!(
                    "{a} (cut off: {}) would bring {b} (cut off: {}, yields: {}) up to date without chunk {chunk}, \
                     {here:?} and {there:?}",
                    source.crashed,
                    target.crashed,
                    bit(2)
                );
                return self.fail(text);
            }
        }
    }

    /// A chunk that differs and would not be copied.
    fn uncovered(&self, a: usize, b: usize, source: &Side<'_>, target: &Side<'_>, yields: bool) -> Option<usize> {
        let (mine, theirs) = (self.sb(a), self.sb(b));
        let hello = hello(self, a, HelloFlags::NONE);
        let mut facts = target_facts(theirs, Role::Target, &hello);
        facts.yielded |= yields;
        if !relation(&facts.mine, &hello.generations()).is_marked() || target_decide(&facts, &hello).is_err() {
            return None;
        }
        let own = match &target.node.active {
            Active::Target(running) if !target.crashed => running.own.as_ref().map_or(0, |_| target.marks()),
            _ => target.kept(),
        };
        let instance = if target.crashed { [8; 16] } else { target.node.instance };
        let mut welcome = welcome(theirs, Role::Target, own != 0, instance, &hello);
        if yields {
            let bits = welcome.flags.bits() | netraid_core::wire::WelcomeFlags::YIELDED.bits();
            welcome.flags = netraid_core::wire::WelcomeFlags::from_bits(bits);
        }
        let Plan::Agree(agreement) = source_decide(&source_facts(mine, &welcome, false), &welcome) else {
            return None;
        };
        if agreement.copying == Copying::Everything {
            return None;
        }
        let told = if agreement.merge_map { own } else { 0 };
        let marked = source.dirty(agreement.distrust) | told;
        // What is on its way to the disk is there soon.
        let busy = source
            .requests()
            .filter(|it| it.local && !source.crashed)
            .fold(0, |all, it| all | 1 << it.chunk);
        (0..CHUNKS)
            .filter(|chunk| (marked | busy) >> chunk & 1 == 0)
            .find(|&chunk| {
                let (here, there) = (source.possible(chunk), target.possible(chunk));
                here.iter().any(|it| *it != here[0]) || there.iter().any(|it| *it != here[0])
            })
    }

    /// Invariant 1, at the moment of the acknowledgement: a target in step has the write.
    pub fn check_acknowledged(&mut self, node: usize, request: &Request) {
        let Active::Source(source) = &self.nodes[node].active else {
            return;
        };
        let Some(leg) = source.legs.first().filter(|leg| leg.machine.state() == State::Synced) else {
            return;
        };
        let (to, conn) = (leg.to, leg.conn);
        let Active::Target(target) = &self.nodes[to].active else {
            return;
        };
        let there = self.nodes[to].disk.read(request.chunk);
        if target.conn == conn && there != request.version {
            let text = format!(
                "write {} is acknowledged, and {to}, which is in step, has {there}",
                request.version
            );
            self.fail(text);
        }
    }

    /// Invariant 4: what nobody gave up is not overwritten.
    pub fn check_overwrite(&mut self, target: usize, seen: u128) {
        let theirs = self.nodes[target].truth;
        let lost = theirs.seen & !seen & self.acknowledged;
        if lost != 0 && !theirs.gave_up && !self.nodes[target].has(MetaFlags::INCONSISTENT) {
            self.fail(format!(
                "writes {lost:#x} on {target} are overwritten, and nobody gave them up"
            ));
        }
    }

    /// Invariant 4: a machine gives way by itself only to one that has all its data, or that an operator made the source.
    pub fn check_way_given(&mut self, node: usize, heard: Option<Heard>) {
        let Some(to) = crate::node::at_port(self.sb(node).peers[0].port) else {
            return;
        };
        if !heard.is_some_and(|heard| is_source(&heard)) {
            return;
        }
        let (theirs, mine) = (self.nodes[to].truth, self.nodes[node].truth);
        let lost = mine.seen & !theirs.seen & self.acknowledged;
        if lost != 0 && !theirs.mandate {
            self.fail(format!("{node} gives {lost:#x} up for {to}, which no operator decided"));
        }
    }
}
