// SPDX-License-Identifier: GPL-2.0

//! Invariant 2: every chunk in which two copies may differ is marked, or everything would be copied. Whatever loses its
//! power now, and whoever becomes source then.

use crate::cluster::Cluster;
use crate::disk::{Version, CHUNKS};
use crate::greet::{hello, source_facts, target_facts, welcome, Tells};
use crate::node::{Active, Node};
use crate::request::{Origin, Request};
use crate::roles::prospect;
use crate::store::Store;
use crate::target::bind;
use crate::volume::{Recording, Volume};
use netraid_core::handshake::{source_decide, target_decide, Agreement, Copying, Plan};
use netraid_core::legs::{LegNumber, LegSet, MAX_LEGS};
use netraid_core::meta::{MetaFlags, Superblock};
use netraid_core::state::Role;
use netraid_core::wire::{HelloFlags, Id, Welcome};

/// One side of a pair, in operation or as it would be after a power cut now.
#[derive(Clone, Copy)]
struct Side<'a> {
    number: usize,
    node: &'a Node,
    crashed: bool,
}

impl Side<'_> {
    /// What a chunk may hold.
    fn possible(&self, chunk: usize) -> Vec<Version> {
        if !self.crashed {
            return vec![self.node.disk.read(chunk)];
        }
        let mut all: Vec<_> = self.node.disk.possible(chunk).collect();
        let writes = self
            .requests()
            .filter(|it| it.local && it.origin != Origin::Copy && it.chunk == chunk);
        all.extend(writes.map(|it| it.version));
        let arrived = self.node.as_target().map_or(&[][..], |target| &target.under_way);
        all.extend(arrived.iter().filter(|it| it.chunk == chunk).map(|it| it.version));
        all
    }

    fn requests(&self) -> impl Iterator<Item = &Request> {
        let volume = match &self.node.active {
            Active::Source(source) => Some(&source.volume),
            Active::Target(target) => target.own.as_ref().map(|own| &own.volume),
            Active::Stopped => None,
        };
        volume.into_iter().flat_map(|volume| volume.requests.iter())
    }

    /// What it was sent of late, as it would tell a source; forgotten with a power cut.
    fn recent(&self, source: &Id) -> Option<u64> {
        self.node.recent_for(source).filter(|_| !self.crashed)
    }

    /// Its own marks as it would tell them as a target.
    fn own(&self) -> u64 {
        match (&self.node.active, &self.node.store) {
            (Active::Target(target), _) if !self.crashed => target.own.as_ref().map_or(0, |own| own.volume.own_words()),
            (_, Some(store)) => store.after_cut().own_words(),
            _ => 0,
        }
    }
}

/// A source that greets.
struct Greeter<'a> {
    side: Side<'a>,
    store: &'a Store,
    volume: &'a Volume,
    place: LegNumber,
}

impl Greeter<'_> {
    /// What both agree on, and what the source notes before.
    fn agree(&self, welcome: &Welcome) -> Option<Agreement> {
        let mut sb = self.store.now.sb.clone();
        let decide = |sb: &Superblock| match source_decide(&source_facts(sb, self.place, welcome, false), welcome) {
            Plan::Agree(agreement) => Some(agreement),
            Plan::Refuse(_) => None,
        };
        let agreement = decide(&sb)?;
        if !agreement.begins {
            return Some(agreement);
        }
        let mut bases = [None; MAX_LEGS];
        for leg in LegNumber::all() {
            bases[leg.index()] = self.volume.held(leg);
        }
        let recording = Recording {
            bases,
            followers: LegSet::NONE,
            parted: LegSet::NONE,
            gone: false,
            fresh: u64::MAX,
        };
        recording.write(&mut sb, |_| {});
        decide(&sb)
    }

    /// What would be copied; none where that is nothing or everything.
    fn copied(&self, target: Side<'_>, yields: bool) -> Option<u64> {
        let sb = &self.store.now.sb;
        let kept = target.node.store.as_ref()?;
        let mut theirs = if target.crashed {
            kept.after_cut().now.sb
        } else {
            kept.now.sb.clone()
        };
        theirs
            .flags
            .set(MetaFlags::YIELDED, yields || theirs.flags.contains(MetaFlags::YIELDED));
        let hello = hello(self.side.number, self.side.node, sb, self.place, HelloFlags::NONE);
        if target_decide(&target_facts(&theirs, Role::Target, &hello), &hello).is_err() {
            return None;
        }
        bind(&mut theirs, self.side.number, &hello, None);
        let instance = if target.crashed { [8; 16] } else { target.node.instance };
        let own = target.own();
        let recent = target.recent(&hello.node_uuid);
        let tells = Tells {
            map: own != 0,
            recent: recent.is_some(),
        };
        let welcome = welcome(&theirs, Role::Target, tells, instance, &hello);
        let agreement = self.agree(&welcome)?;
        if agreement.copying == Copying::Everything {
            return None;
        }
        let told = if agreement.merge_map {
            own | recent.unwrap_or(0)
        } else {
            0
        };
        let distrusted = if agreement.distrust { self.volume.intents() } else { 0 };
        Some(self.volume.missed(self.place) | distrusted | told)
    }
}

impl Cluster {
    pub fn check_covered(&mut self, a: usize, b: usize) {
        let running = self.nodes[a].as_source().is_some();
        let serving = self.nodes[b].as_target().is_some();
        for combination in 0..8 {
            let bit = |number: u32| combination >> number & 1 == 1;
            // What is out of service is as after a power cut.
            if (!running && !bit(0)) || (!serving && !bit(1)) {
                continue;
            }
            let side = |number: usize, crashed| Side {
                number,
                node: &self.nodes[number],
                crashed,
            };
            let (source, target) = (side(a, bit(0)), side(b, bit(1)));
            if let Some(chunk) = self.uncovered(source, target, bit(2)) {
                let (here, there) = (source.possible(chunk), target.possible(chunk));
                let cut = |side: Side<'_>| if side.crashed { " after a power cut" } else { "" };
                let text = format!(
                    "{a}{} would bring {b}{} up to date without chunk {chunk}, {here:?} and {there:?}",
                    cut(source),
                    cut(target),
                );
                return self.fail(text);
            }
        }
    }

    /// A chunk that differs and would not be copied.
    fn uncovered(&self, source: Side<'_>, target: Side<'_>, yields: bool) -> Option<usize> {
        let it = source.node;
        let prospect = if source.crashed {
            Some(prospect(it.store.as_ref()?, self.mistake))
        } else {
            None
        };
        let (store, volume) = match (&prospect, it.as_source()) {
            (Some((store, volume)), _) => (store, volume),
            (None, Some(source)) => (it.store.as_ref()?, &source.volume),
            (None, None) => return None,
        };
        let sb = &store.now.sb;
        let unusable = sb.current == 0 || sb.flags.contains(MetaFlags::INCONSISTENT);
        if unusable || it.truth.mixed || volume.local.is_gone() {
            return None;
        }
        let place = Self::place_of(sb, &target.node.uuid)?;
        volume.leg(place)?;
        let greeter = Greeter {
            side: source,
            store,
            volume,
            place,
        };
        let marked = greeter.copied(target, yields)?;
        // What is on its way to the disk is there soon.
        let busy = source.requests().filter(|it| it.local && !source.crashed);
        let marked = busy.fold(marked, |all, it| all | 1 << it.chunk);
        (0..CHUNKS).filter(|chunk| marked >> chunk & 1 == 0).find(|&chunk| {
            let (here, there) = (source.possible(chunk), target.possible(chunk));
            here.iter().chain(&there).any(|it| *it != here[0])
        })
    }

    /// Machines that hold a whole copy.
    pub fn usable(&self) -> Vec<usize> {
        self.all().filter(|&node| self.nodes[node].is_usable()).collect()
    }
}
