// SPDX-License-Identifier: GPL-2.0

//! What has to hold after every step, seen by an observer who knows everything.

use crate::cluster::Cluster;
use crate::disk::CHUNKS;
use crate::node::{at, generations};
use crate::request::Request;
use netraid_core::generation::{relation, Relation};
use netraid_core::legs::LegNumber;
use netraid_core::meta::MetaFlags;

impl Cluster {
    /// All ordered pairs of machines.
    pub fn pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        let all = self.all();
        let others = move |a: usize| all.clone().map(move |b| (a, b));
        self.all().flat_map(others).filter(|(a, b)| a != b)
    }

    /// Everything that has to hold at any time.
    pub fn check(&mut self) {
        // The dearest of the checks; what is not marked stays so.
        self.checks += 1;
        let covered = self.checks % 4 == 0;
        if self.usable().is_empty() {
            self.fail(String::from("nobody has a usable copy any more, whoever starts now"));
        }
        for node in self.all() {
            self.check_alone(node);
            self.check_targets(node);
            self.check_lag(node);
            self.check_order(node);
            self.check_meeting(node);
        }
        for (a, b) in self.pairs() {
            if self.nodes[a].store.is_some() && self.nodes[b].store.is_some() {
                self.check_recorded(a, b);
                self.check_in_step(a, b);
                if covered {
                    self.check_covered(a, b);
                }
            }
        }
    }

    /// Invariant 5: a half copy says so persistently, and is never in use as a source's disk.
    fn check_alone(&mut self, node: usize) {
        if self.nodes[node].store.is_none() {
            return;
        }
        let inconsistent = self.nodes[node].has(MetaFlags::INCONSISTENT);
        let mixed = self.nodes[node].truth.mixed;
        if mixed && !inconsistent {
            self.fail(format!("{node}: half a copy, and does not say so"));
        }
        let used = self.nodes[node]
            .as_source()
            .is_some_and(|source| !source.volume.local.is_gone());
        let recording = self.nodes[node].has(MetaFlags::DETACHED);
        if used && (mixed || (inconsistent && !recording)) {
            self.fail(format!("{node}: is source with half a copy"));
        }
    }

    /// Invariants 1 and 4: what generations say of two usable copies holds for the acknowledged writes that they contain.
    fn check_recorded(&mut self, a: usize, b: usize) {
        let yields = self.nodes[a].has(MetaFlags::YIELDED) || self.nodes[b].has(MetaFlags::YIELDED);
        if yields || !self.nodes[a].is_usable() || !self.nodes[b].is_usable() {
            return;
        }
        let (mine, theirs) = (self.sb(a), self.sb(b));
        let same = mine.current == theirs.current;
        let related = relation(
            &generations(mine, &theirs.node_uuid),
            &generations(theirs, &mine.node_uuid),
        );
        let (here, there) = (self.nodes[a].truth.seen, self.nodes[b].truth.seen);
        // What an asynchronous target had not confirmed may be missing there.
        let lacks = there & !here & self.acknowledged & !self.lagging[a];
        if related.peer_is_covered() && lacks != 0 && !self.is_known_elsewhere(a, b, lacks) {
            self.fail(format!(
                "{a} lacks acknowledged writes {lacks:#x} of {b}, and sees {related:?}"
            ));
        }
        let lacks = here & !there & self.acknowledged & !self.lagging[b];
        if (related.peer_is_newer() || same) && lacks != 0 && !self.is_known_elsewhere(a, b, lacks) {
            self.fail(format!(
                "{b} lacks acknowledged writes {lacks:#x} of {a}, which sees {related:?}"
            ));
        }
    }

    /// Whether a machine has it on record that it went on without another one.
    fn went_on(&self, machine: usize, without: usize) -> bool {
        let (more, less) = (self.sb(machine), self.sb(without));
        let related = relation(&generations(more, &less.node_uuid), &generations(less, &more.node_uuid));
        let beyond = [
            Relation::PeerOlder,
            Relation::PeerFar,
            Relation::Forked,
            Relation::ForkedFar,
        ];
        beyond.contains(&related) && !self.is_together(machine, without)
    }

    /// Whether a third machine has these writes, and has it on record that it went on without both.
    fn is_known_elsewhere(&self, a: usize, b: usize, writes: u128) -> bool {
        self.all()
            .filter(|&third| third != a && third != b && self.nodes[third].is_usable())
            .filter(|&third| self.nodes[third].truth.seen & writes == writes)
            .any(|third| self.went_on(third, a) && self.went_on(third, b))
    }

    /// What a machine has is overwritten, as an operator wanted: who has some of that and has it not on record may have to give
    /// it up, too.
    pub fn give_up(&mut self, node: usize, kept: u128) {
        if self.nodes[node].truth.gave_up && self.nodes[node].is_usable() {
            let lost = self.nodes[node].truth.seen & !kept;
            let others = self
                .all()
                .filter(|&other| other != node && self.nodes[other].is_usable());
            let behind = others.filter(|&other| self.went_on(node, other));
            let given_up = behind.fold(0, |all, other| all | (self.nodes[other].truth.seen & lost));
            self.acknowledged &= !given_up;
        }
    }

    /// An operator forces a machine to be the source: what he gives up is what is on record elsewhere, and not with those that
    /// look the same from here, although they may have got it.
    pub fn force_gives_up(&mut self, node: usize) {
        let missing = self.acknowledged & !self.nodes[node].truth.seen;
        let others: Vec<_> = self
            .all()
            .filter(|&it| it != node && self.nodes[it].is_usable())
            .collect();
        for &other in &others {
            let there = self.nodes[other].truth.seen & missing;
            let recorded = others
                .iter()
                .filter(|&&third| third != other && self.went_on(third, other));
            let recorded = recorded.fold(0, |all, &third| all | self.nodes[third].truth.seen);
            self.acknowledged &= !(there & recorded);
        }
    }

    /// A leg that is in step has the same on both sides, and both know it.
    fn check_in_step(&mut self, a: usize, b: usize) {
        if !self.is_together(a, b) {
            return;
        }
        let Some(source) = self.nodes[a].as_source() else {
            return;
        };
        let Some((leg, _)) = source.leg_to(b) else { return };
        let volume = &source.volume;
        let settled = volume.followers.is_empty() && !volume.is_parting() && volume.recording.is_none();
        let (mine, theirs) = (self.sb(a), self.sb(b));
        if settled && (mine.current != theirs.current || mine.peers[leg.index()].base != 0) {
            return self.fail(format!("{a} and {b} are in step, and it is not on record"));
        }
        if volume.local.is_gone() {
            return;
        }
        // What the disk failed to write is marked.
        let busy = volume.busy() | volume.missed(leg);
        for chunk in (0..CHUNKS).filter(|chunk| busy >> chunk & 1 == 0) {
            let (here, there) = (self.nodes[a].disk.read(chunk), self.nodes[b].disk.read(chunk));
            if here != there {
                return self.fail(format!(
                    "{a} and {b} are in step, but chunk {chunk} is {here} and {there}"
                ));
            }
        }
    }

    /// All targets in step are the same.
    fn check_targets(&mut self, node: usize) {
        let Some(source) = self.nodes[node].as_source() else {
            return;
        };
        let volume = &source.volume;
        let together: Vec<_> = self.all().filter(|&other| self.is_together(node, other)).collect();
        let Some((&one, others)) = together.split_first() else {
            return;
        };
        // What the disk failed to write, and the application was told of, is marked for those that may have it.
        let legs = together.iter().filter_map(|&to| source.leg_to(to));
        let busy = legs.fold(volume.busy(), |all, (leg, _)| all | volume.missed(leg));
        for &other in others {
            for chunk in (0..CHUNKS).filter(|chunk| busy >> chunk & 1 == 0) {
                let (here, there) = (self.nodes[one].disk.read(chunk), self.nodes[other].disk.read(chunk));
                if here != there {
                    let text =
                        format!("{one} and {other} are in step with {node}, but chunk {chunk} is {here} and {there}");
                    return self.fail(text);
                }
            }
        }
    }

    /// Invariant 1, at the moment of the acknowledgement: the disk, if it counts, and every target in step have the write.
    pub fn check_acknowledged(&mut self, node: usize, request: &Request) {
        let Some(source) = self.nodes[node].as_source() else {
            return;
        };
        let counts = !source.volume.local.is_gone();
        // A target that has lost its power since it confirmed, which nobody has noticed.
        let unheard = request.stored.iter().filter_map(|leg| source.leg(leg));
        let unheard = unheard.filter(|leg| !self.is_together(node, leg.to)).count();
        let (chunk, version) = (request.chunk, request.version);
        let mut have = 0;
        for other in self.all() {
            let owes = if other == node {
                counts
            } else {
                self.is_together(node, other) && !(counts && self.shape.is_asynchronous(node, other))
            };
            let there = self.nodes[other].disk.read(chunk);
            have += u32::from(there == version);
            if owes && there != version {
                let text =
                    format!("write {version} is acknowledged by {node}, and {other}, which is in step, has {there}");
                return self.fail(text);
            }
        }
        if have == 0 && unheard == 0 {
            self.fail(format!("write {version} is acknowledged by {node}, and nobody has it"));
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
    pub fn check_way_given(&mut self, node: usize) {
        let sources: Vec<_> = self
            .all()
            .filter(|&to| self.reachable(node, to) && self.nodes[to].as_source().is_some())
            .filter(|&to| self.sb(node).peers.iter().any(|peer| at(peer) == Some(to)))
            .collect();
        // What a source acknowledges without its disk is not on that.
        let there = |to: usize| {
            let device = self.nodes[to].as_source().map_or(0, |source| source.volume.seen);
            self.nodes[to].truth.seen | device
        };
        let lost = |to: usize| self.nodes[node].truth.seen & !there(to) & self.acknowledged;
        let justified = |to: usize| lost(to) == 0 || self.nodes[to].truth.mandate >> node & 1 == 1;
        if !sources.is_empty() && !sources.iter().any(|&to| justified(to)) {
            self.fail(format!("{node} gives way to {sources:?}, which no operator decided"));
        }
    }

    /// The place in which a machine notes another one; the first where it notes nobody.
    pub fn place_of(sb: &netraid_core::meta::Superblock, uuid: &netraid_core::wire::Id) -> Option<LegNumber> {
        let known = LegNumber::all().find(|leg| {
            let peer = &sb.peers[leg.index()];
            !peer.is_free() && peer.uuid == *uuid
        });
        let nobody = netraid_core::meta::places::taken(&sb.peers).is_empty();
        known.or_else(|| nobody.then_some(LegNumber::FIRST))
    }
}
