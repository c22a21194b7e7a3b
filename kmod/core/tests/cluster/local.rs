// SPDX-License-Identifier: GPL-2.0

//! The disk of a source: what it is told to write, its failure, and another one that is filled in its place.

use crate::disk::{Disk, Version};
use crate::mistake::Mistake;
use crate::node::Node;
use crate::request::Origin;
use crate::rng::Rng;
use crate::store::{PowerCut, Store};
use crate::volume::{bit, Rebuild, Volume};
use netraid_core::legs::{LegNumber, LegSet};
use netraid_core::local::{Action, Event, LocalDisk};
use netraid_core::meta::MetaFlags;
use netraid_core::wire::Kind;

impl Volume {
    /// The requests at which the local disk works.
    pub fn at_disk(&self) -> Vec<u32> {
        self.requests.iter().filter(|it| it.local).map(|it| it.id).collect()
    }

    /// The disk failed something that changes it: whether the error is nobody's business.
    fn failed(&mut self, disk: u32) -> bool {
        if disk != self.disk {
            return true;
        }
        if self.local == LocalDisk::Rebuilding {
            self.rebuild.failed = true;
            return true;
        }
        if self.local.is_gone() {
            return true;
        }
        let covered = self.detaches && !self.complete().is_empty();
        if self.local.on_event(Event::Failed { covered }) != Action::GiveUp {
            return false;
        }
        let in_step = self.in_step();
        for leg in self.those(|_| true).without(in_step).iter() {
            self.leg_mut(leg).copy_failed = true;
            if self.mistake != Some(Mistake::FeedsHalfCopies) {
                // What it gets may be on no record, as that may have been on the disk, and can't be made up for by copying. Its
                // resync does not end any more.
                self.leave(leg);
                self.leg_mut(leg).control.retain(|kind| *kind != Kind::ResyncDone);
            }
        }
        true
    }

    /// The local disk is done with a request; the version that it wrote, if it did.
    pub fn local_done(&mut self, id: u32, disk: &mut Disk, bad: bool) -> Option<Version> {
        let current = self.disk;
        let request = self.request(id)?;
        let (origin, chunk, version, made_for) = (request.origin, request.chunk, request.version, request.disk);
        if origin == Origin::Copy {
            self.was_read(id, disk.read(chunk));
            return None;
        }
        request.local = false;
        // What was on its way to a disk that was taken out is lost with it.
        if !bad && made_for == current {
            request.failed &= origin != Origin::Rebuild;
            disk.write(chunk, version);
            return (origin == Origin::Application).then_some(version);
        }
        if !self.failed(made_for) {
            if let Some(request) = self.request(id) {
                request.failed = true;
            }
            for remote in self.legs.iter_mut().flatten() {
                // The targets may have what the local disk has not.
                remote.dirty.set(bit(chunk));
                remote.copy_failed = true;
            }
        }
        None
    }

    /// An operator puts a disk in; false where it can't be filled.
    pub fn put_in(&mut self) -> bool {
        let busy = self.requests.iter().any(|it| it.origin == Origin::Rebuild);
        if busy || self.local.on_event(Event::PutIn) != Action::Rebuild {
            return false;
        }
        self.disk += 1;
        self.rebuild = Rebuild::default();
        self.changes += 1;
        true
    }

    /// The thread that fills a disk does one thing; whether it had one to do.
    pub fn rebuild(&mut self, node_disk: &mut Disk, bad: bool, store: &mut Store) -> Result<bool, PowerCut> {
        if self.local != LocalDisk::Rebuilding {
            return Ok(false);
        }
        let under_way = self.requests.iter().filter(|it| it.origin == Origin::Rebuild).count();
        let chunk = self.rebuild.next;
        let all = if self.mistake == Some(Mistake::CountsTooEarly) {
            2
        } else {
            crate::disk::CHUNKS
        };
        if !self.rebuild.failed && chunk < all {
            if self.is_used(chunk) || under_way > 1 {
                return Ok(false);
            }
            let id = self.add(Origin::Rebuild, chunk, 0);
            if let Some(request) = self.request(id) {
                request.failed = true;
            }
            self.rebuild.next += 1;
            self.ask_another(id);
            return Ok(true);
        }
        if under_way > 0 {
            return Ok(false);
        }
        if self.rebuild.failed || bad {
            self.local.on_event(Event::Failed { covered: false });
            return Ok(true);
        }
        node_disk.flush();
        if self.recording.is_some() {
            // The record of a generation is not ended in between.
            return Ok(false);
        }
        self.local.on_event(Event::Rebuilt);
        self.changes += 1;
        let over = MetaFlags::DETACHED.with(MetaFlags::INCONSISTENT, true);
        store.change(|sb| sb.flags = sb.flags.without(over))?;
        Ok(true)
    }

    /// Asks a leg for the data of a chunk, if there is one that certainly has it.
    pub fn ask_another(&mut self, id: u32) {
        let Some(chunk) = self.request(id).map(|request| request.chunk) else {
            return;
        };
        let has_it = |leg: &LegNumber| {
            self.leg(*leg)
                .is_some_and(|remote| !remote.dirty.map().get(chunk as u64))
        };
        if let Some(leg) = self.complete().iter().find(has_it) {
            self.queue(id, LegSet::of(leg));
        }
    }

    /// A target tells what it holds.
    pub fn answered(&mut self, id: u32, leg: LegNumber, version: Version) -> bool {
        let Some(request) = self.request(id).filter(|it| it.sent.contains(leg)) else {
            return false;
        };
        request.sent.remove(leg);
        (request.local, request.version) = (true, version);
        true
    }
}

impl Node {
    /// What is on the disk is as good as random, and another one takes its place.
    pub fn replace_disk(&mut self, rng: &mut Rng) {
        self.disk = Disk::new(2000 + u32::try_from(rng.below(1000)).unwrap() * 10);
        self.bad = false;
    }
}
