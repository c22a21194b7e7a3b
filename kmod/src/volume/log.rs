// SPDX-License-Identifier: GPL-2.0

//! The volume's side of the metadata: who waits for it, and for what.

use super::legs::Remotes;
use crate::meta::maps::{Intents, Map};
use core::ops::Range;
use kernel::prelude::*;
use netraid_core::{
    fifo::Fifo,
    followers::Followers,
    inflight::Slot,
    legs::{LegNumber, LegSet, MAX_LEGS},
    local::LocalDisk,
};

/// What a write without a leg means for the generations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Step {
    /// That leg and this disk are known to differ, or there is no such leg: nothing more has to be recorded.
    #[default]
    Apart,
    /// The leg has the same generation. The first write it misses begins a new one, on record before it ends.
    Together,
    /// A new generation is being recorded.
    Parting,
}

/// One of the maps of a volume, in the order in which blocks are written: a mark that takes the place of another is on
/// the disk first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Written,
    Intent,
    Dirty(LegNumber),
}

impl Which {
    /// Each of them, in that order.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        core::iter::successors(Some(Self::Written), |which| which.next())
    }

    /// The one after this.
    pub(super) fn next(self) -> Option<Self> {
        match self {
            Self::Written => Some(Self::Intent),
            Self::Intent => Some(Self::Dirty(LegNumber::FIRST)),
            Self::Dirty(leg) => leg.next().map(Self::Dirty),
        }
    }
}

/// How the flush of a round stands on the legs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum RoundFlush {
    /// None is under way.
    #[default]
    Idle,
    Running,
    /// The legs are durable.
    Done,
    /// One was lost before.
    Lost,
}

/// What is in the log, and who waits for it.
pub(super) struct Log {
    pub(super) intent: Intents,
    pub(super) written: Option<Map>,
    /// Requests that have not begun, because a mark or a generation has to be on the disk first.
    waiting: Fifo<Slot, KVVec<Slot>>,
    /// Requests that everybody is done with, which may not end before the new generation is recorded.
    parked: Fifo<Slot, KVVec<Slot>>,
    /// How each leg stands.
    steps: [Step; MAX_LEGS],
    /// How those stand that this machine does not know: others that were targets of the same source as it.
    others: Step,
    /// Legs in step that were told of a new generation, or will be, and have not noted it yet. What another leg misses is
    /// not acknowledged before they have: else nobody could tell later that one who noted nothing has less than they.
    pub(super) followers: Followers,
    /// How the local disk stands. That it was given up is on record, and noted by the legs in step as another generation,
    /// before anything is acknowledged that it lacks.
    pub(super) local: LocalDisk,
    /// A generation is being put on record: nobody is told of the one before any more.
    pub(super) recording: bool,
    pub(super) flush: RoundFlush,
    /// A leg of the round under way was lost.
    round_lost: bool,
    /// Where the writing of what is not urgent goes on, while that is under way.
    pub(super) lazily: Option<(Which, u64)>,
    /// The metadata can't be written: what depends on it fails, rather than ending unrecorded.
    pub(super) failed: bool,
}

impl Log {
    pub(super) fn new(intent: Intents, written: Option<Map>, capacity: usize) -> Result<Self> {
        let slots = || KVVec::from_elem(Slot::from_number(0), capacity, GFP_KERNEL);
        Ok(Self {
            intent,
            written,
            waiting: Fifo::new(slots()?),
            parked: Fifo::new(slots()?),
            steps: [Step::Apart; MAX_LEGS],
            others: Step::Apart,
            followers: Followers::NONE,
            local: LocalDisk::Attached,
            recording: false,
            flush: RoundFlush::Idle,
            round_lost: false,
            lazily: None,
            failed: false,
        })
    }

    /// How a leg stands.
    pub(super) fn step(&self, leg: LegNumber) -> Step {
        self.steps.get(leg.index()).copied().unwrap_or_default()
    }

    /// A leg stands otherwise now.
    pub(super) fn set_step(&mut self, leg: LegNumber, step: Step) {
        if let Some(place) = self.steps.get_mut(leg.index()) {
            *place = step;
        }
    }

    /// Machines that this one does not know stand otherwise now.
    pub(super) fn set_others(&mut self, step: Step) {
        self.others = step;
    }

    /// Whether machines that are not known here may hold the same.
    pub(super) fn may_be_shared(&self) -> bool {
        self.others != Step::Apart
    }

    /// The legs that a new generation is being recorded for.
    pub(super) fn parting(&self) -> LegSet {
        LegNumber::all()
            .filter(|leg| self.step(*leg) == Step::Parting)
            .collect()
    }

    /// Whether a new generation is being recorded.
    pub(super) fn is_parting(&self) -> bool {
        self.others == Step::Parting || self.local.is_unrecorded() || !self.parting().is_empty()
    }

    /// Whether it is not yet everywhere on record who misses what.
    pub(super) fn is_unsettled(&self) -> bool {
        self.is_parting() || !self.followers.is_empty()
    }

    /// A leg misses something: begins the record of that, if there is none. Whether there is one.
    fn part(&mut self, leg: LegNumber) -> bool {
        if self.step(leg) == Step::Together {
            self.set_step(leg, Step::Parting);
        }
        self.step(leg) == Step::Apart && self.followers.is_empty()
    }

    /// Something is about to change here, which machines that this one does not know miss: as with a leg. Legs in step,
    /// too, get nothing of a generation that they have not noted.
    fn part_from_others(&mut self) -> bool {
        if self.others == Step::Together {
            self.others = Step::Parting;
        }
        self.others == Step::Apart && self.followers.is_empty()
    }

    /// Whether a change of chunks may begin: for each live leg, once the intent is on record; for each other one, once it
    /// is on record that it misses them. Notes both. `discards`: the content is not wanted any more.
    pub(super) fn admits(&mut self, chunks: Range<u64>, discards: bool, legs: &mut Remotes) -> bool {
        if chunks.is_empty() {
            return self.admits_flush(legs);
        }
        // What was never written has no content to lose; `mkfs` discards all of it first.
        if discards
            && self
                .written
                .as_ref()
                .is_some_and(|written| !written.map().any(chunks.clone()))
        {
            return true;
        }
        let live = legs.live();
        let mut kept = self.part_from_others();
        for (leg, remote) in legs.iter_mut().filter(|(_, remote)| !remote.live) {
            remote.dirty.set(chunks.clone());
            kept &= remote.dirty.is_kept(chunks.clone());
            kept &= self.part(leg);
        }
        if live.is_empty() {
            if let Some(written) = &mut self.written {
                written.set(chunks.clone());
                kept &= written.is_kept(chunks);
            }
        } else {
            if let Some(written) = &mut self.written {
                // The intent says it for the time being.
                written.set_lazily(chunks.clone());
            }
            kept &= self.intent.touch(chunks);
        }
        kept && !self.failed
    }

    /// A flush promises that what was written is durable. What a leg had confirmed before it went may not be durable
    /// there: that it lacks the promise is on record first.
    fn admits_flush(&mut self, legs: &Remotes) -> bool {
        if self.intent_chunks() == 0 {
            return true;
        }
        let absent = legs.those(|remote| !remote.live);
        let mut kept = true;
        for leg in absent.iter() {
            kept &= self.part(leg);
        }
        kept && (absent.is_empty() || !self.failed)
    }

    /// Notes chunks that were changed on the target and may not be durable there.
    pub(super) fn touch(&mut self, chunks: Range<u64>) {
        self.intent.note(chunks);
    }

    /// A request waits; there is room for all there can be.
    pub(super) fn wait(&mut self, slot: Slot) {
        let _ = self.waiting.push(slot);
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The one that has waited longest.
    pub(super) fn next_waiting(&mut self) -> Option<Slot> {
        self.waiting.pop()
    }

    /// Whether the loss of a write by a leg has to be recorded before the write ends; begins it if so.
    pub(super) fn must_record_loss(&mut self, leg: LegNumber) -> bool {
        !self.part(leg) || self.failed
    }

    /// A request waits for the record of its loss.
    pub(super) fn park(&mut self, slot: Slot) {
        let _ = self.parked.push(slot);
    }

    /// The next of those, once the record is there or can't be made.
    pub(super) fn next_parked(&mut self) -> Option<Slot> {
        if self.is_unsettled() && !self.failed {
            return None;
        }
        self.parked.pop()
    }

    /// The flush of a round begins.
    pub(super) fn begin_round(&mut self) {
        self.flush = RoundFlush::Running;
        self.round_lost = false;
    }

    /// A leg did not do its part of the flush.
    pub(super) fn lose_round(&mut self) {
        self.round_lost = true;
    }

    /// All legs have done their parts of the flush, or were lost.
    pub(super) fn end_round(&mut self) {
        self.flush = if self.round_lost {
            RoundFlush::Lost
        } else {
            RoundFlush::Done
        };
    }

    pub(super) fn intent_word(&self, index: usize) -> u64 {
        self.intent.marks().map().word(index)
    }

    pub(super) fn intent_chunks(&self) -> u64 {
        self.intent.marks().map().ones()
    }
}
