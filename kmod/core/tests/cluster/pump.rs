// SPDX-License-Identifier: GPL-2.0

//! What a machine does with the requests of applications, and what its journal and its threads do.

use crate::cluster::{Cluster, Step, WRITES};
use crate::node::{Active, Leg};
use crate::request::{Origin, Request};
use netraid_core::leg::{Event, State};
use netraid_core::legs::LegNumber;
use netraid_core::local::LocalDisk;

impl Cluster {
    /// After anything happened on a machine: starts what may start, ends what is done.
    pub fn pump(&mut self, node: usize) -> Step<()> {
        let Some((volume, _, store)) = self.nodes[node].volume() else {
            return Ok(());
        };
        let ended = volume.finish();
        volume.admit();
        let (stranded, begun, life) = (volume.stranded, std::mem::take(&mut volume.begun), volume.life);
        if self.shape.internal && volume.local.is_gone() && store.lost.is_none() {
            store.lost = Some(Box::new(store.now.clone()));
        }
        if stranded {
            self.fail(format!("{node}: no copy that counts has what is over"));
        }
        for request in ended {
            self.ended(node, &request);
        }
        begun.into_iter().for_each(|version| self.log.begins(version, life));
        let Some(source) = self.nodes[node].as_source() else {
            return Ok(());
        };
        let drained = |(leg, it): &&(LegNumber, Leg)| {
            let cut = source.volume.leg(*leg).is_some_and(|remote| remote.draining);
            it.machine.state() == State::Pausing && cut && source.volume.is_drained(*leg)
        };
        match source.legs.iter().find(drained).map(|(leg, _)| *leg) {
            Some(leg) => self.fire(node, leg, Event::Drained),
            None => Ok(()),
        }
    }

    /// An application is told what became of its write.
    fn ended(&mut self, node: usize, request: &Request) {
        let (version, chunk) = (request.version, request.chunk);
        if request.failed {
            return self.note(|| format!("{node}: write {version} of chunk {chunk} failed"));
        }
        self.note(|| format!("{node}: write {version} of chunk {chunk} is acknowledged"));
        let bit = 1 << version;
        let Some(source) = self.nodes[node].source() else {
            self.nodes[node].truth.paused |= bit;
            return;
        };
        source.volume.seen |= bit;
        self.counts.threefold += u32::from(source.volume.in_step().len() >= 2);
        self.counts.without_disk += u32::from(source.volume.local.is_gone());
        self.counts.acknowledged += 1;
        self.acknowledged |= bit;
        self.log.is_acknowledged(version);
        self.lags(node, request);
        self.check_acknowledged(node, request);
    }

    /// An application writes, on a source or on a target in a pause.
    pub fn write(&mut self, node: usize, chunk: usize) -> Step<()> {
        if self.next_version >= WRITES {
            return Ok(());
        }
        let version = self.next_version;
        let volume = match &mut self.nodes[node].active {
            Active::Source(source) => &mut source.volume,
            Active::Target(target) => match target.own.as_mut().filter(|own| own.front) {
                Some(own) => {
                    own.open = true;
                    &mut own.volume
                }
                None => return Ok(()),
            },
            Active::Stopped => return Ok(()),
        };
        volume.add(Origin::Application, chunk, version);
        self.log.add(version, chunk);
        self.next_version += 1;
        self.note(|| format!("{node}: write {version} of chunk {chunk}"));
        self.pump(node)
    }

    /// The journal of a machine writes one block.
    pub fn journal(&mut self, node: usize) -> Step<bool> {
        let rng = &mut self.rng;
        let Some((volume, _, store)) = self.nodes[node].volume() else {
            return Ok(false);
        };
        let before = store.now.sb.current;
        let done = volume.journal(store, rng)?;
        let after = store.now.sb.current;
        if before != after {
            let bases = store.now.sb.peers.map(|peer| peer.base);
            self.note(|| format!("{node}: generation {before:x} is over, {after:x} begins, bases {bases:x?}"));
        }
        self.pump(node)?;
        Ok(done)
    }

    pub fn local_done(&mut self, node: usize, id: u32) -> Step<()> {
        let machine = &mut self.nodes[node];
        let bad = machine.bad;
        let source = matches!(machine.active, Active::Source(_));
        if let Some((volume, disk, _)) = machine.volume() {
            let before = volume.local;
            let written = volume.local_done(id, disk, bad && source);
            let after = volume.local;
            if let Some(version) = written.filter(|_| source) {
                volume.seen |= 1 << version;
                machine.truth.seen |= 1 << version;
            }
            if before == LocalDisk::Attached && after != before {
                self.counts.given_up += 1;
                self.note(|| format!("{node}: the disk is given up"));
            }
        }
        self.pump(node)
    }

    pub fn round(&mut self, node: usize) -> Step<()> {
        if let Some((volume, disk, _)) = self.nodes[node].volume() {
            volume.round(disk);
        }
        self.pump(node)
    }

    /// The thread that fills a disk works.
    pub fn rebuild(&mut self, node: usize) -> Step<bool> {
        let machine = &mut self.nodes[node];
        let bad = machine.bad;
        let Some((volume, disk, store)) = machine.volume() else {
            return Ok(false);
        };
        let before = volume.local;
        let done = volume.rebuild(disk, bad, store);
        let (after, seen) = (volume.local, volume.seen);
        if before == LocalDisk::Rebuilding && after == LocalDisk::Attached {
            machine.truth.seen = seen;
            machine.truth.mixed = false;
            self.counts.rebuilt += 1;
            self.note(|| format!("{node}: the disk has everything"));
        }
        let done = done?;
        self.pump(node)?;
        Ok(done)
    }
}
