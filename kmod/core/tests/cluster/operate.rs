// SPDX-License-Identifier: GPL-2.0

//! The commands of an operator on legs and disks.

use crate::cluster::{Cluster, Step};
use crate::mistake::Mistake;
use crate::node::{ip, port, put_address, Active, Source};
use crate::volume::Volume;
use netraid_core::leg::{Event, State};
use netraid_core::legs::{LegNumber, LegSet};
use netraid_core::meta::{places, MetaFlags, Peer, PeerFlags};
use netraid_core::state::Role;

impl Cluster {
    /// Gives a source another leg, or notes one for later on a target.
    pub fn extend(&mut self, node: usize, to: usize) -> Step<bool> {
        if node == to {
            return Ok(false);
        }
        let Some(source) = self.nodes[node].as_source() else {
            return self.prepare_leg(node, to);
        };
        let taken = places::taken(&self.sb(node).peers);
        let most = source.legs.len() >= self.shape.targets;
        if most || source.leg_to(to).is_some() || source.volume.local.is_gone() {
            return Ok(false);
        }
        let Some(place) = LegNumber::all().find(|leg| !taken.contains(*leg)) else {
            return Ok(false);
        };
        self.note(|| format!("{node}: extends to {to}, leg {}", place.id()));
        let rng = &mut self.rng;
        if let Some((volume, _, store)) = self.nodes[node].volume() {
            if !taken.is_empty() {
                volume.add_leg(place, store.unknown());
                volume.keep_marks(store, rng)?;
            }
            store.change(|sb| {
                let peer = &mut sb.peers[place.index()];
                put_address(peer, to);
                peer.flags.set(PeerFlags::PAUSED, false);
            })?;
        }
        self.add_leg(node, place)?;
        Ok(true)
    }

    fn prepare_leg(&mut self, node: usize, to: usize) -> Step<bool> {
        if self.nodes[node].as_target().is_none() || self.shape.targets == 1 {
            return Ok(false);
        }
        self.note(|| format!("{node}: notes {to} for later"));
        self.store(node).change(|sb| {
            if let Ok(place) = places::prepare(&sb.peers, &ip(to), port(to)) {
                put_address(&mut sb.peers[place.index()], to);
            }
        })?;
        Ok(true)
    }

    pub fn unextend(&mut self, node: usize, leg: LegNumber) -> Step<bool> {
        let Some(source) = self.nodes[node].as_source().filter(|it| it.leg(leg).is_some()) else {
            return Ok(false);
        };
        let volume = &source.volume;
        if volume.local.is_gone() && volume.complete() == LegSet::of(leg) {
            return Ok(false);
        }
        self.note(|| format!("{node}: unextends leg {}", leg.id()));
        self.drop_leg(node, leg)?;
        let goes_on = self.mistake == Some(Mistake::GoesOnAfterUnextend);
        let rng = &mut self.rng;
        if let Some((volume, _, store)) = self.nodes[node].volume() {
            if goes_on {
                store.change(|sb| sb.peers[leg.index()] = Peer::FREE)?;
            } else {
                volume.begin_generation(leg, store, rng, |sb| {
                    sb.flags.set(MetaFlags::PREPARED, false);
                    sb.peers[leg.index()] = Peer::FREE;
                })?;
            }
            volume.remove_leg(leg, store);
            volume.keep_marks(store, rng)?;
        }
        self.pump(node)?;
        Ok(true)
    }

    fn has_leg(&self, node: usize, leg: LegNumber) -> bool {
        self.nodes[node]
            .as_source()
            .is_some_and(|source| source.leg(leg).is_some())
    }

    fn has_disk(&self, node: usize) -> bool {
        self.nodes[node]
            .as_source()
            .is_some_and(|source| !source.volume.local.is_gone())
    }

    /// Pauses or resumes a leg.
    pub fn pause(&mut self, node: usize, leg: LegNumber, on: bool) -> Step<bool> {
        if !self.has_leg(node, leg) || (on && !self.has_disk(node)) {
            return Ok(false);
        }
        self.note(|| format!("{node}: {} leg {}", if on { "pauses" } else { "resumes" }, leg.id()));
        self.store(node)
            .change(|sb| sb.peers[leg.index()].flags.set(PeerFlags::PAUSED, on))?;
        self.fire(node, leg, if on { Event::Pause } else { Event::Resume })?;
        Ok(true)
    }

    pub fn full_resync(&mut self, node: usize, leg: LegNumber) -> Step<bool> {
        if !self.has_leg(node, leg) || !self.has_disk(node) {
            return Ok(false);
        }
        self.note(|| format!("{node}: is asked for a full copy to leg {}", leg.id()));
        self.store(node).change(|sb| {
            let flags = &mut sb.peers[leg.index()].flags;
            flags.set(PeerFlags::FULL, true);
            flags.set(PeerFlags::PAUSED, false);
        })?;
        self.fire(node, leg, Event::Resume)?;
        self.fire(node, leg, Event::Lost)?;
        Ok(true)
    }

    /// Puts a disk in where one was given up.
    pub fn attach(&mut self, node: usize) -> Step<bool> {
        let internal = self.shape.internal;
        let Some((volume, _, _)) = self.nodes[node].volume() else {
            return Ok(false);
        };
        if internal || !volume.put_in() {
            return Ok(false);
        }
        self.note(|| format!("{node}: another disk is put in"));
        let Self { nodes, rng, .. } = self;
        nodes[node].replace_disk(rng);
        nodes[node].truth.mixed = true;
        Ok(true)
    }

    /// Gives a disk to the mirror, whatever it holds.
    pub fn join(&mut self, node: usize) -> Step<bool> {
        self.note(|| format!("{node}: joins"));
        if self.nodes[node].as_source().is_some() {
            return Ok(false);
        }
        self.end_target(node);
        // Only the first time is its disk the same as that of the source.
        let mut flags = self.shape.kind.flags();
        if self.nodes[node].store.is_some() {
            flags.set(MetaFlags::PREPARED, false);
        }
        self.format(node, Role::Target, flags);
        self.nodes[node].bad = false;
        self.open_target(node)?;
        Ok(true)
    }

    /// The only machine makes the mirror.
    pub fn create(&mut self, node: usize) {
        self.format(node, Role::Source, self.shape.kind.flags());
        let (mistake, detaches) = (self.mistake, !self.shape.passes_on);
        let machine = &mut self.nodes[node];
        let mut volume = Volume::source(machine.store.as_ref().unwrap(), None, true, None);
        (volume.mistake, volume.detaches, volume.life) = (mistake, detaches, 1);
        let legs = Vec::new();
        machine.active = Active::Source(Source { volume, legs });
    }

    /// The device of a pause is closed.
    pub fn close_device(&mut self, node: usize) {
        let own = self.nodes[node].target().and_then(|target| target.own.as_mut());
        if let Some(own) = own.filter(|own| own.volume.requests.is_empty()) {
            own.open = false;
        }
    }

    /// Whether a source is in step with a machine, on both sides.
    pub fn is_together(&self, source: usize, other: usize) -> bool {
        let leg = self.nodes[source].as_source().and_then(|it| it.leg_to(other));
        let Some((_, leg)) = leg.filter(|(_, leg)| leg.machine.state() == State::Synced && leg.conn.is_some()) else {
            return false;
        };
        let target = self.nodes[other].as_target();
        target.is_some_and(|target| target.conn == leg.conn && target.in_sync)
    }
}
