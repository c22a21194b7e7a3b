// SPDX-License-Identifier: GPL-2.0

//! What the volume's lock protects.

use super::{
    copy::Copy,
    log::Log,
    remote::Remote,
    rescue::{Reads, Rescues},
    write::Local,
};
use crate::meta::maps::Maps;
use crate::sys::block::{Bio, BioList, Child, PagedBio};
use core::ops::Range;
use kernel::prelude::*;
use netraid_core::{
    chunk::Geometry,
    inflight::{Entry, Inflight, Slot},
    request::{After, Part},
    wire::{Flags, Kind},
};

/// Who made a request.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Origin {
    /// An application.
    #[default]
    Application,
    /// The resync: a copy of a part of the disk.
    Copy,
    /// A round of the intent log: a flush for the leg alone.
    Round,
    /// An application, whose read the local disk failed.
    Rescue,
}

/// One request under way.
#[derive(Default)]
pub(super) struct Request {
    /// The application's bio; the sender has it while the remote part is being sent.
    pub(super) bio: Option<Bio>,
    /// The clone for the local disk until it starts.
    pub(super) child: Option<Child<Local>>,
    /// The pages of a copy, unless the disk or the sender has them.
    pub(super) copy: Option<PagedBio<Copy>>,
    pub(super) origin: Origin,
    /// The chunks whose marks go when the copy is confirmed.
    pub(super) clears: Range<u64>,
    pub(super) kind: Option<Kind>,
    /// The data of the copy is all zero.
    pub(super) zero: bool,
    pub(super) flags: Flags,
    pub(super) offset: u64,
    pub(super) len: u64,
    pub(super) accounting: usize,
    /// The local disk is still at work.
    pub(super) local: bool,
    /// What the leg has to do.
    pub(super) remote: Part,
    pub(super) seq: u64,
    pub(super) error: Option<Error>,
    /// Everybody has done or given up his part, but it ends only after the metadata says that the leg misses it.
    pub(super) parked: bool,
}

/// Numbers for the operator.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counters {
    /// Chunks the target may miss.
    pub(crate) dirty_chunks: u64,
    /// Bytes of those chunks.
    pub(crate) dirty_bytes: u64,
    /// Requests queued or sent and not confirmed.
    pub(crate) outstanding: u32,
    /// Bytes of application writes the target confirmed.
    pub(crate) replicated_bytes: u64,
    /// Bytes that copies of the resync brought to the target.
    pub(crate) copied_bytes: u64,
    /// Those of them that were zero, and sent without data.
    pub(crate) zeroed_bytes: u64,
    /// Bytes that the resync found to be the same on the target.
    pub(crate) equal_bytes: u64,
    /// Chunks that a crash now would make dirty.
    pub(crate) intent_chunks: u64,
    /// What became of reads that the local disk failed.
    pub(crate) reads: Reads,
}

impl Counters {
    /// Bytes that the resync is done with.
    pub(crate) fn resynced(&self) -> u64 {
        self.copied_bytes.saturating_add(self.equal_bytes)
    }
}

/// Everything that is under way on a volume.
pub(super) struct State {
    pub(super) inflight: Inflight<KVVec<Entry>>,
    pub(super) requests: KVVec<Request>,
    /// Bios for which there was no room in the table.
    pub(super) overflow: BioList,
    pub(super) remote: Remote,
    pub(super) log: Log,
    pub(super) rescues: Rescues,
    /// Requests of applications in the table.
    pub(super) applications: u32,
    pub(super) copies: u32,
    /// Bytes of those.
    pub(super) copy_bytes: u64,
    pub(super) copy_failed: bool,
    /// A copy has ended since the resync was last told.
    pub(super) copy_ended: bool,
    /// Somebody waits for [`State::is_idle`].
    pub(super) settling: bool,
    pub(super) stopping: bool,
}

/// What became of a request handed to [`State::enter`].
pub(super) enum Entered {
    /// It may start.
    Started(Slot),
    /// It waits for an overlapping one; the dispatcher starts it.
    Waits,
}

impl State {
    pub(super) fn new(capacity: usize, maps: Maps, every_chunk: bool, generation: u64) -> Result<Self> {
        let mut requests = KVVec::with_capacity(capacity, GFP_KERNEL)?;
        for _ in 0..capacity {
            requests.push(Request::default(), GFP_KERNEL)?;
        }
        let entries = KVVec::from_elem(Entry::default(), capacity, GFP_KERNEL)?;
        Ok(Self {
            inflight: Inflight::new(entries),
            requests,
            overflow: BioList::new(),
            remote: Remote::new(maps.dirty, maps.doubtful, capacity, every_chunk, generation)?,
            log: Log::new(maps.intent, maps.written, capacity)?,
            rescues: Rescues::new(),
            applications: 0,
            copies: 0,
            copy_bytes: 0,
            copy_failed: false,
            copy_ended: false,
            settling: false,
            stopping: false,
        })
    }

    pub(super) fn request(&mut self, slot: Slot) -> Option<&mut Request> {
        self.requests.get_mut(slot.index())
    }

    /// Puts a request into the table, which must have room.
    pub(super) fn enter(&mut self, request: Request) -> Option<Entered> {
        let end = request.offset.saturating_add(request.len);
        let (slot, now) = self.inflight.insert(request.offset, end)?;
        if request.origin == Origin::Application {
            self.applications = self.applications.saturating_add(1);
        }
        *self.request(slot)? = request;
        Some(if now { Entered::Started(slot) } else { Entered::Waits })
    }

    /// Starts an application's request: decides who gets it, and marks what a leg will miss before anything changes.
    /// False when it has to wait until the metadata says so; [`State::next_admitted`] comes back to it.
    pub(super) fn begin(&mut self, slot: Slot, geometry: &Geometry, now_ms: u64) -> bool {
        let live = self.remote.live;
        let Some(request) = self.requests.get_mut(slot.index()) else {
            return false;
        };
        let chunks = geometry.range(request.offset, request.len);
        let discards = request.kind == Some(Kind::Discard);
        if !self.log.admits(chunks, discards, live, &mut self.remote.dirty) {
            self.log.wait(slot);
            return false;
        }
        request.local = true;
        if live {
            self.remote.queue(slot, request, now_ms);
        }
        true
    }

    /// Gives up on a request's remote part.
    pub(super) fn abandon(&mut self, slot: Slot, geometry: &Geometry, ended: &mut BioList) {
        let Some(request) = self.requests.get_mut(slot.index()) else {
            return;
        };
        let after = request.remote.abandon();
        // A read changes nothing there.
        let changes = request.origin != Origin::Rescue;
        if changes && matches!(after, After::Unknown | After::UnknownPending) {
            self.remote.dirty.set(geometry.range(request.offset, request.len));
        }
        if after == After::Unknown {
            self.missed(slot, ended);
        }
    }

    /// The leg will not do its part of a request: it is done when that is on record.
    pub(super) fn missed(&mut self, slot: Slot, ended: &mut BioList) {
        let Some(request) = self.requests.get_mut(slot.index()) else {
            return;
        };
        if request.origin == Origin::Round {
            self.log.round_ended(false);
        }
        // A flush that the leg missed matters as long as something may not be durable there.
        let promised = request.len > 0 || self.log.intent_chunks() > 0;
        if request.origin == Origin::Application && promised && self.log.must_record_loss() {
            request.parked = true;
            self.log.park(slot);
            self.remote.outstanding = self.remote.outstanding.saturating_sub(1);
            return;
        }
        self.remote_done(slot, ended);
    }

    /// The target holds something else than what it was asked about, and gets the data.
    pub(super) fn send_again(&mut self, slot: Slot) {
        let Self { requests, remote, .. } = self;
        if let Some(request) = requests.get_mut(slot.index()) {
            remote.queue_again(slot, request);
        }
    }

    /// It is on record what the leg misses.
    pub(super) fn unpark(&mut self, slot: Slot, recorded: bool, ended: &mut BioList) {
        let Some(request) = self.requests.get_mut(slot.index()) else {
            return;
        };
        request.parked = false;
        if !recorded {
            request.error = Some(EIO);
        }
        self.finish_if_done(slot, ended);
    }

    /// The leg has done its part of a request.
    pub(super) fn remote_done(&mut self, slot: Slot, ended: &mut BioList) {
        self.remote.outstanding = self.remote.outstanding.saturating_sub(1);
        self.finish_if_done(slot, ended);
    }

    /// Ends a request when nobody has to do anything about it any more. Bios to be ended, outside the lock, are added
    /// to `ended`.
    pub(super) fn finish_if_done(&mut self, slot: Slot, ended: &mut BioList) {
        let Some(request) = self.requests.get_mut(slot.index()) else {
            return;
        };
        if request.local || request.parked || request.remote.is_pending() {
            return;
        }
        let request = core::mem::take(request);
        match request.origin {
            Origin::Application => self.applications = self.applications.saturating_sub(1),
            Origin::Copy => {
                self.copies = self.copies.saturating_sub(1);
                self.copy_bytes = self.copy_bytes.saturating_sub(request.len);
                self.copy_ended = true;
            }
            Origin::Round => {}
            Origin::Rescue => self.rescues.left(),
        }
        if let Some(mut bio) = request.bio {
            bio.finish_accounting(request.accounting, request.error.map_or(Ok(()), Err));
            ended.push(bio);
        }
        self.inflight.remove(slot);
    }

    /// Whether no application's request is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.applications == 0 && self.overflow.is_empty() && self.rescues.is_idle()
    }

    /// Whether the dispatcher has something to do.
    pub(super) fn has_work(&self) -> bool {
        let waits = !self.overflow.is_empty() || self.rescues.has_ready();
        self.inflight.has_ready() || (waits && !self.inflight.is_full())
    }
}
