// SPDX-License-Identifier: GPL-2.0

//! The volume's side of the metadata: who waits for it, and for what.

use crate::meta::maps::{Intents, Map};
use core::ops::Range;
use kernel::prelude::*;
use netraid_core::{fifo::Fifo, inflight::Slot};

/// What a write without the leg means for the generations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Step {
    /// The leg and this disk are known to differ, or there is no leg: nothing more has to be recorded.
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
    Dirty,
}

impl Which {
    pub(super) const ALL: [Self; 3] = [Self::Written, Self::Intent, Self::Dirty];

    /// The one after this.
    pub(super) fn next(self) -> Option<Self> {
        match self {
            Self::Written => Some(Self::Intent),
            Self::Intent => Some(Self::Dirty),
            Self::Dirty => None,
        }
    }
}

/// How the flush of a round stands on the leg.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum RoundFlush {
    /// None is under way.
    #[default]
    Idle,
    Running,
    /// The leg is durable.
    Done,
    /// The leg was lost before.
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
    pub(super) step: Step,
    pub(super) flush: RoundFlush,
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
            step: Step::Apart,
            flush: RoundFlush::Idle,
            lazily: None,
            failed: false,
        })
    }

    /// Whether a change of chunks may begin: with a live leg, once the intent is on record; without one, once it is on
    /// record that the leg misses them. Notes both. `discards`: the content is not wanted any more.
    pub(super) fn admits(&mut self, chunks: Range<u64>, discards: bool, live: bool, dirty: &mut Map) -> bool {
        if chunks.is_empty() {
            return self.admits_flush(live);
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
        if live {
            if let Some(written) = &mut self.written {
                // The intent says it for the time being.
                written.set_lazily(chunks.clone());
            }
            return self.intent.touch(chunks) && !self.failed;
        }
        if self.step == Step::Together {
            self.step = Step::Parting;
        }
        dirty.set(chunks.clone());
        let mut kept = dirty.is_kept(chunks.clone());
        if let Some(written) = &mut self.written {
            written.set(chunks.clone());
            kept &= written.is_kept(chunks);
        }
        kept && self.step == Step::Apart && !self.failed
    }

    /// A flush promises that what was written is durable. What the leg had confirmed before it went may not be durable
    /// there: that it lacks the promise is on record first.
    fn admits_flush(&mut self, live: bool) -> bool {
        if live || self.intent_chunks() == 0 {
            return true;
        }
        if self.step == Step::Together {
            self.step = Step::Parting;
        }
        self.step == Step::Apart && !self.failed
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

    /// Whether the loss of a write has to be recorded before the write ends; begins it if so.
    pub(super) fn must_record_loss(&mut self) -> bool {
        if self.step == Step::Together {
            self.step = Step::Parting;
        }
        self.step == Step::Parting || self.failed
    }

    /// A request waits for the record of its loss.
    pub(super) fn park(&mut self, slot: Slot) {
        let _ = self.parked.push(slot);
    }

    /// The next of those, once the record is there or can't be made.
    pub(super) fn next_parked(&mut self) -> Option<Slot> {
        if self.step == Step::Parting && !self.failed {
            return None;
        }
        self.parked.pop()
    }

    /// The leg's part of a round's flush has ended.
    pub(super) fn round_ended(&mut self, durable: bool) {
        self.flush = if durable { RoundFlush::Done } else { RoundFlush::Lost };
    }

    pub(super) fn intent_word(&self, index: usize) -> u64 {
        self.intent.marks().map().word(index)
    }

    pub(super) fn intent_chunks(&self) -> u64 {
        self.intent.marks().map().ones()
    }
}
