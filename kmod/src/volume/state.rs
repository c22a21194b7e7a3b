// SPDX-License-Identifier: GPL-2.0

//! What the volume's lock protects.

use super::{
    copy::Copy,
    legs::Remotes,
    local::News,
    log::{Log, Step},
    rebuild::Rebuild,
    remote::Remote,
    rescue::Rescues,
    shadow::Shadow,
    write::Local,
};
use crate::meta::maps::Maps;
use crate::sys::{
    block::{Bio, BioList, Child, PagedBio},
    lend::Lent,
};
use core::ops::Range;
use kernel::prelude::*;
use netraid_core::{
    chunk::Geometry,
    inflight::{Entry, Inflight, Slot},
    legs::{LegNumber, LegSet, MAX_LEGS},
    local::Verdict,
    recent,
    request::{After, Due, Parts, Standing},
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
    /// A round of the intent log: a flush for the legs alone.
    Round,
    /// An application, whose read the local disk failed.
    Rescue,
    /// A disk that was put in, and gets all data.
    Rebuild,
}

impl Origin {
    /// Whether a leg is asked for data.
    pub(super) fn asks(self) -> bool {
        matches!(self, Self::Rescue | Self::Rebuild)
    }
}

/// One request under way.
#[derive(Default)]
pub(super) struct Request {
    /// The application's bio, lent to the senders while its data is being sent.
    pub(super) bio: Option<Lent<Bio>>,
    /// The clone for the local disk until it starts.
    pub(super) child: Option<Child<Local>>,
    /// The pages of a copy, until the disk has them.
    pub(super) copy: Option<PagedBio<Copy>>,
    /// What was read into them, lent to the senders.
    pub(super) read: Option<Lent<PagedBio<Copy>>>,
    /// The application's data in pages of our own, lent to the senders as the bio would be.
    pub(super) shadow: Option<Lent<PagedBio<Shadow>>>,
    pub(super) origin: Origin,
    /// The leg that asked for a copy, or that was asked for data.
    pub(super) leg: LegNumber,
    /// The legs that a copy is for.
    pub(super) legs: LegSet,
    /// Those of them that were asked whether they hold the data, and do not.
    pub(super) again: LegSet,
    /// The chunks whose marks go when the copy is confirmed.
    pub(super) clears: Range<u64>,
    pub(super) kind: Option<Kind>,
    /// The data of the copy is all zero.
    pub(super) zero: bool,
    pub(super) flags: Flags,
    pub(super) offset: u64,
    pub(super) len: u64,
    pub(super) accounting: usize,
    /// Which of the disks its local part is for.
    pub(super) disk: u32,
    /// The local disk is still at work.
    pub(super) local: bool,
    /// What the legs have to do.
    pub(super) remote: Parts,
    /// How many requests of applications had been entered with it.
    pub(super) number: u64,
    /// Its sequence number on each leg.
    pub(super) seqs: [u64; MAX_LEGS],
    /// When it was queued for the legs, milliseconds since boot.
    pub(super) queued_ms: u64,
    /// The legs that the application does not wait for.
    pub(super) early: LegSet,
    /// The legs that have confirmed it.
    pub(super) stored: LegSet,
    /// The legs on which it begins an epoch.
    pub(super) barriers: LegSet,
    /// It has ended for the application.
    pub(super) told: bool,
    pub(super) error: Option<Error>,
    /// Everybody has done or given up his part, but it ends only after the metadata says that a leg misses it.
    pub(super) parked: bool,
}

impl Request {
    /// Bytes that are sent with it.
    pub(super) fn data_len(&self) -> u64 {
        if self.kind == Some(Kind::Write) {
            self.len
        } else {
            0
        }
    }

    /// What a leg gets: those that hold something else than what they were asked about get the data.
    pub(super) fn kind_for(&self, leg: LegNumber) -> Option<Kind> {
        match self.kind {
            Some(Kind::Compare) if self.again.contains(leg) => Some(if self.zero { Kind::Zeroes } else { Kind::Write }),
            kind => kind,
        }
    }

    /// Whether it is a copy that a leg has still to get.
    pub(super) fn is_copy_for(&self, leg: LegNumber) -> bool {
        let comes = self.local || self.remote.of(leg).is_pending();
        self.origin == Origin::Copy && comes && self.legs.contains(leg)
    }

    /// Its sequence number on a leg.
    pub(super) fn seq(&self, leg: LegNumber) -> u64 {
        self.seqs.get(leg.index()).copied().unwrap_or(0)
    }

    pub(super) fn set_seq(&mut self, leg: LegNumber, seq: u64) {
        if let Some(place) = self.seqs.get_mut(leg.index()) {
            *place = seq;
        }
    }

    fn standing(&self) -> Standing {
        Standing {
            local: self.local,
            parked: self.parked,
            remote: self.remote,
            early: self.early,
            told: self.told,
        }
    }

    /// Ends it for the application: its bio, to be ended outside the lock, is added to `ended`.
    fn tell(&mut self, ended: &mut BioList) {
        self.told = true;
        // Whatever lent it has it back: a request whose data is being sent does not end, and one that ends early lends its
        // copy.
        if let Some(mut bio) = self.bio.take().and_then(Lent::into_inner) {
            bio.finish_accounting(self.accounting, self.error.map_or(Ok(()), Err));
            ended.push(bio);
        }
    }
}

/// Everything that is under way on a volume.
pub(super) struct State {
    pub(super) inflight: Inflight<KVVec<Entry>>,
    pub(super) requests: KVVec<Request>,
    /// Bios for which there was no room in the table.
    pub(super) overflow: BioList,
    pub(super) remotes: Remotes,
    /// Counts how often a leg was added or taken away.
    pub(super) changes: u64,
    /// The generation of the data here, which targets are given with the beginning of a resync.
    pub(super) generation: u64,
    pub(super) log: Log,
    pub(super) rescues: Rescues,
    /// The local disk is given up at its first failure.
    pub(super) detaches: bool,
    /// What an operator has still to be told of that.
    pub(super) news: News,
    pub(super) rebuild: Rebuild,
    /// Requests of applications in the table.
    pub(super) applications: u32,
    /// How many there have been.
    pub(super) entered: u64,
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
    #[inline(never)]
    pub(super) fn new(capacity: usize, maps: Maps, every_chunk: bool, generation: u64) -> Result<Self> {
        let mut requests = KVVec::with_capacity(capacity, GFP_KERNEL)?;
        for _ in 0..capacity {
            requests.push(Request::default(), GFP_KERNEL)?;
        }
        let entries = KVVec::from_elem(Entry::default(), capacity, GFP_KERNEL)?;
        let mut remotes = Remotes::new();
        for (leg, maps) in maps.legs {
            remotes.put(leg, Some(Remote::new(maps, capacity, every_chunk)?));
        }
        Ok(Self {
            inflight: Inflight::new(entries),
            requests,
            overflow: BioList::new(),
            remotes,
            changes: 0,
            generation,
            log: Log::new(maps.intent, maps.written, capacity)?,
            rescues: Rescues::new(),
            detaches: false,
            news: News::default(),
            rebuild: Rebuild::default(),
            applications: 0,
            entered: 0,
            settling: false,
            stopping: false,
        })
    }

    pub(super) fn request(&mut self, slot: Slot) -> Option<&mut Request> {
        self.requests.get_mut(slot.index())
    }

    /// Puts a request into the table, which must have room.
    pub(super) fn enter(&mut self, mut request: Request) -> Option<Entered> {
        let end = request.offset.saturating_add(request.len);
        let (slot, now) = match request.origin {
            // What these bring to a disk, or take from one, must not be older than what was acknowledged early.
            Origin::Copy | Origin::Rescue | Origin::Rebuild => self.inflight.insert_last(request.offset, end),
            Origin::Application | Origin::Round => self.inflight.insert(request.offset, end),
        }?;
        if request.origin == Origin::Application {
            self.applications = self.applications.saturating_add(1);
            self.entered = self.entered.wrapping_add(1);
            request.number = self.entered;
        }
        *self.request(slot)? = request;
        Some(if now { Entered::Started(slot) } else { Entered::Waits })
    }

    /// Gives up on a leg's part of a request.
    pub(super) fn abandon(&mut self, slot: Slot, leg: LegNumber, geometry: &Geometry, ended: &mut BioList) {
        let Some(request) = self.requests.get_mut(slot.index()) else {
            return;
        };
        let after = request.remote.abandon(leg);
        // A read changes nothing there.
        let changes = !request.origin.asks();
        if changes && matches!(after, After::Unknown | After::UnknownPending) {
            if let Some(remote) = self.remotes.get_mut(leg) {
                remote.dirty.set(geometry.range(request.offset, request.len));
            }
        }
        let asks = self.request(slot).is_some_and(|request| request.origin.asks());
        if after == After::Unknown && asks && self.ask(slot, geometry).is_some() {
            // Another leg has it as well.
            if let (Some(request), Some(remote)) = (self.requests.get(slot.index()), self.remotes.get_mut(leg)) {
                remote.left(leg, request);
            }
        } else if after == After::Unknown {
            self.missed(slot, leg, ended);
        }
    }

    /// A leg will not do its part of a request: it is done when that is on record.
    pub(super) fn missed(&mut self, slot: Slot, leg: LegNumber, ended: &mut BioList) {
        let Some(request) = self.requests.get_mut(slot.index()) else {
            return;
        };
        if request.origin == Origin::Round {
            self.log.lose_round();
        }
        // A flush that a leg missed matters as long as something may not be durable there.
        let promised = request.len > 0 || self.log.intent_chunks() > 0;
        if request.origin == Origin::Application && promised && self.log.must_record_loss(leg) {
            // The loss of another leg may have brought it there already.
            if !core::mem::replace(&mut request.parked, true) {
                self.log.park(slot);
            }
        }
        self.remote_done(slot, leg, ended);
    }

    /// The target holds something else than what it was asked about, and gets the data.
    pub(super) fn send_again(&mut self, slot: Slot, leg: LegNumber) {
        let Self { requests, remotes, .. } = self;
        if let (Some(request), Some(remote)) = (requests.get_mut(slot.index()), remotes.get_mut(leg)) {
            remote.queue_again(leg, slot, request);
        }
    }

    /// It is on record what the legs miss.
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

    /// A leg has done its part of a request, or will not do it.
    pub(super) fn remote_done(&mut self, slot: Slot, leg: LegNumber, ended: &mut BioList) {
        if let (Some(request), Some(remote)) = (self.requests.get(slot.index()), self.remotes.get_mut(leg)) {
            remote.left(leg, request);
        }
        self.finish_if_done(slot, ended);
    }

    /// Ends a request when nobody has to do anything about it any more; for the application alone when only
    /// asynchronous legs have. Bios to be ended, outside the lock, are added to `ended`.
    pub(super) fn finish_if_done(&mut self, slot: Slot, ended: &mut BioList) {
        let gone = self.log.local.is_gone();
        let complete = if gone { self.complete() } else { LegSet::NONE };
        let Some(request) = self.requests.get_mut(slot.index()) else {
            return;
        };
        let mut standing = request.standing();
        if gone && !request.told {
            standing.early = LegSet::NONE;
        }
        let due = standing.due();
        if due == Due::Nothing {
            return;
        }
        if gone && request.origin == Origin::Application && !request.told && request.error.is_none() {
            let confirmed = request.stored.meets(complete);
            match self.log.local.verdict(confirmed, self.log.is_unsettled()) {
                Verdict::AsDone => {}
                Verdict::Wait => {
                    request.parked = true;
                    self.log.park(slot);
                    return;
                }
                Verdict::Fail => request.error = Some(EIO),
            }
        }
        if request.origin == Origin::Application && !request.told {
            // Before anything can begin that was to wait for it.
            for (_, remote) in self.remotes.iter_mut() {
                remote.lag.complete();
            }
        }
        if due == Due::Tell {
            request.tell(ended);
            self.inflight.pass(slot);
            return;
        }
        let mut request = core::mem::take(request);
        match request.origin {
            Origin::Application => self.applications = self.applications.saturating_sub(1),
            // Counted for each leg when that is done with it.
            Origin::Copy => {}
            Origin::Round => self.log.end_round(),
            Origin::Rescue => self.rescues.left(),
            Origin::Rebuild => self.rebuild.end(request.len, request.error),
        }
        request.tell(ended);
        self.inflight.remove(slot);
    }

    /// When the oldest request of an application that a leg has not confirmed was queued.
    pub(super) fn oldest_queued_ms(&self, leg: LegNumber) -> Option<u64> {
        let requests = self.inflight.iter().filter_map(|slot| self.requests.get(slot.index()));
        let waits = |request: &&Request| request.origin == Origin::Application && request.remote.of(leg).is_pending();
        requests.filter(waits).map(|request| request.queued_ms).min()
    }

    /// Has the legs in step told what is settled, where that is known: see [`netraid_core::recent`]. `following`: those that
    /// may have been told of the present generation although an older one is on record.
    pub(super) fn tell_settled(&mut self, following: LegSet) -> LegSet {
        let Self {
            inflight,
            requests,
            remotes,
            log,
            entered,
            ..
        } = self;
        if log.is_unsettled() || log.recording || log.may_be_shared() {
            return LegSet::NONE;
        }
        let standing = |(leg, remote): (LegNumber, &Remote)| recent::Standing {
            in_step: remote.live && remote.in_step,
            is_behind: log.step(leg) == Step::Apart && !following.contains(leg),
        };
        if !recent::may_settle(remotes.iter().map(standing)) {
            return LegSet::NONE;
        }
        let under_way = inflight.iter().filter_map(|slot| requests.get(slot.index()));
        let oldest = under_way
            .filter(|request| request.origin == Origin::Application)
            .map(|request| request.number)
            .min();
        let due = remotes.those(|remote| remote.in_step && remote.is_settling_due(*entered, oldest));
        for (_, remote) in remotes.iter_mut().filter(|(leg, _)| due.contains(*leg)) {
            remote.settle();
        }
        due
    }

    /// Counts every change of who gets the application's writes.
    pub(super) fn all_changes(&self) -> u64 {
        self.changes.wrapping_add(self.remotes.changes())
    }

    /// Whether no application's request is under way, be it for an asynchronous leg alone.
    pub(super) fn is_idle(&self) -> bool {
        self.applications == 0 && self.overflow.is_empty() && self.rescues.is_idle()
    }

    /// Whether the dispatcher has something to do.
    pub(super) fn has_work(&self) -> bool {
        let waits = !self.overflow.is_empty() || self.rescues.has_ready();
        self.inflight.has_ready() || (waits && !self.inflight.is_full())
    }
}
