// SPDX-License-Identifier: GPL-2.0

//! The start of an application's request: who gets it.

use super::state::State;
use kernel::prelude::*;
use netraid_core::{chunk::Geometry, inflight::Slot, local::Course, request::flush_is_moot, wire::Kind};

/// What became of an application's request that was to start.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Begun {
    /// It waits until the metadata says so.
    Waits,
    /// The local disk gets it, and the live legs.
    Both,
    /// The live legs alone get it.
    Legs,
    /// Nobody gets it: it ends with an error.
    Failed,
}

impl State {
    /// Starts an application's request: decides who gets it, and marks what legs will miss before anything changes. `disk`:
    /// which one is in use.
    pub(super) fn begin(&mut self, slot: Slot, geometry: &Geometry, disk: u32, now_ms: u64) -> Begun {
        let Self {
            requests, log, remotes, ..
        } = self;
        let Some(request) = requests.get_mut(slot.index()) else {
            return Begun::Waits;
        };
        let chunks = geometry.range(request.offset, request.len);
        let discards = request.kind == Some(Kind::Discard);
        let course = log.local.course();
        // One that was made for another disk is older than the copy of its place, which waits for it; so that is not
        // complete as long as such a one has not begun.
        let other = request.disk != disk;
        if course == Course::Nobody || (course == Course::Both && other && request.len > 0) {
            request.error = Some(EIO);
            return Begun::Failed;
        }
        // Without the disk, legs get nothing before it is everywhere on record that they lead.
        if (course != Course::Both && log.is_unsettled()) || !log.admits(chunks, discards, remotes) {
            log.wait(slot);
            return Begun::Waits;
        }
        request.local = course != Course::Legs && !other;
        let counts = course == Course::Both;
        // An acknowledgement takes a leg's word where it can't take the disk's.
        let copied = counts && (request.shadow.is_some() || request.data_len() == 0);
        for (leg, remote) in remotes.iter_mut().filter(|(_, remote)| remote.live) {
            if counts {
                remote.look_for_room();
            }
            if request.kind == Some(Kind::Flush) && flush_is_moot(request.local, remote.durable) {
                // It has what the flush is about.
                request.stored.put(leg, true);
                continue;
            }
            let begun = remote.lag.begin(request.data_len(), copied);
            request.early.put(leg, begun.early);
            request.barriers.put(leg, begun.barrier);
            remote.queue(leg, slot, request, now_ms);
        }
        if request.local {
            Begun::Both
        } else {
            Begun::Legs
        }
    }
}
