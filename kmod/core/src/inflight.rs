// SPDX-License-Identifier: GPL-2.0

//! Keeps overlapping requests in order.
//!
//! Two writes to the same bytes that are under way at the same time may reach two disks in
//! different order, and then the copies differ for ever. So each request is entered here first; it
//! may start when no request that arrived earlier and overlaps it is left, whether that one has
//! started or waits itself. Requests that do not overlap never wait for each other, and an empty
//! range (a flush) overlaps nothing.
//!
//! ```
//! use netraid_core::inflight::{Entry, Inflight};
//!
//! let mut inflight = Inflight::new([Entry::default(); 8].to_vec());
//! let (first, now) = inflight.insert(0, 4096).unwrap();
//! assert!(now);
//! let (second, now) = inflight.insert(512, 1024).unwrap();
//! assert!(!now);
//! inflight.remove(first);
//! assert_eq!(inflight.pop_ready(), Some(second));
//! assert_eq!(inflight.pop_ready(), None);
//! ```
//!
//! A request of an asynchronous leg stays here until the target has confirmed it, long after it ended for the
//! application. It is then [passed](Inflight::pass): later requests of the application need not wait for it any more,
//! for the target keeps their order by itself (see [`epoch`](crate::epoch)). What is copied, or read from the target,
//! has to wait all the same, and is entered with [`Inflight::insert_last`].
//!
//! The entries in use form a list in order of arrival, and each counts the earlier ones it waits
//! for. Entering or removing one costs a walk along that list: proportional to the requests under
//! way, not to the capacity. The module calls this under a spinlock.

use core::ops::DerefMut;

/// Most entries that can be in use: one less than there are numbers, the last of which says "none".
pub const MAX_CAPACITY: usize = u16::MAX as usize;

/// "No entry" in a link.
const NONE: u16 = u16::MAX;

/// Names an entry from its insertion to its removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(u16);

impl Slot {
    /// The slot with this number, as [`Slot::number`] gave it.
    #[must_use]
    pub const fn from_number(number: u16) -> Self {
        Self(number)
    }

    /// The number of the slot, below the capacity.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The number as an index, for tables that run in parallel.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where an entry stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Not in use.
    #[default]
    Free,
    /// Some earlier entry overlaps it.
    Waiting,
    /// Nothing is in its way any more, and [`Inflight::pop_ready`] has not yet said so.
    Ready,
    /// The caller was told that it may start.
    Started,
}

/// Storage of one request; `Entry::default()` is an unused one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Entry {
    start: u64,
    end: u64,
    /// Arrived before this one; not used in a free entry.
    earlier: u16,
    /// Arrived after this one; in a free entry, the next free one.
    later: u16,
    /// How many earlier entries in use this one waits for.
    blockers: u16,
    stage: Stage,
    /// It is not in the way of ordinary entries any more.
    passed: bool,
    /// It waits for those that were passed, too.
    last: bool,
}

impl Entry {
    fn overlaps(&self, start: u64, end: u64) -> bool {
        // The first two keep empty ranges out, which the last two would find inside others.
        self.start < self.end && start < end && self.start < end && start < self.end
    }

    /// Whether `later`, which arrived after this one, has to wait for it.
    fn blocks(&self, later: &Self) -> bool {
        (later.last || !self.passed) && self.overlaps(later.start, later.end)
    }
}

/// The requests under way, over storage of the caller.
///
/// # Invariants
///
/// Entries in use are linked from `first` to `last` in order of arrival, all others from `free`.
/// `blockers` of an entry is the number of entries before it in that list which overlap it, without
/// those that were passed unless it is to wait for these, too; it is zero exactly in the stages ready
/// and started. `ready` counts the entries in the stage ready. Only a started entry is passed.
#[derive(Debug)]
pub struct Inflight<S: DerefMut<Target = [Entry]>> {
    entries: S,
    first: u16,
    last: u16,
    free: u16,
    len: u16,
    ready: u16,
}

impl<S: DerefMut<Target = [Entry]>> Inflight<S> {
    /// Makes an empty set; its capacity is the length of `storage`, at most [`MAX_CAPACITY`].
    pub fn new(mut storage: S) -> Self {
        let capacity = u16::try_from(storage.len()).unwrap_or(u16::MAX);
        for (number, entry) in (0..capacity).zip(storage.iter_mut()) {
            let next = number.saturating_add(1);
            let later = if next < capacity { next } else { NONE };
            *entry = Entry {
                later,
                ..Entry::default()
            };
        }
        let free = if capacity == 0 { NONE } else { 0 };
        Self {
            entries: storage,
            first: NONE,
            last: NONE,
            free,
            len: 0,
            ready: 0,
        }
    }

    /// Enters a request for the bytes from `start` up to, but not including, `end` (any unit will
    /// do). The flag says whether it may start now; otherwise [`Inflight::pop_ready`] will name it.
    /// `None` where all entries are in use.
    pub fn insert(&mut self, start: u64, end: u64) -> Option<(Slot, bool)> {
        self.insert_as(start, end, false)
    }

    /// As [`Inflight::insert`], for a request that also waits for those that were passed.
    pub fn insert_last(&mut self, start: u64, end: u64) -> Option<(Slot, bool)> {
        self.insert_as(start, end, true)
    }

    fn insert_as(&mut self, start: u64, end: u64, last: bool) -> Option<(Slot, bool)> {
        let number = self.free;
        let next_free = self.entry(number)?.later;
        let mut new = Entry {
            start,
            end,
            earlier: self.last,
            later: NONE,
            last,
            ..Entry::default()
        };
        new.blockers = self.count_blockers(&new);
        let blockers = new.blockers;
        new.stage = if blockers == 0 { Stage::Started } else { Stage::Waiting };
        let earlier = new.earlier;
        if let Some(entry) = self.entry_mut(number) {
            *entry = new;
        }
        match self.entry_mut(earlier) {
            Some(entry) => entry.later = number,
            None => self.first = number,
        }
        self.last = number;
        self.free = next_free;
        self.len = self.len.saturating_add(1);
        Some((Slot(number), blockers == 0))
    }

    /// Takes a request out, whether it has started or not. Requests that waited only for it become
    /// ready. False, and nothing changes, where the slot is not in use.
    pub fn remove(&mut self, slot: Slot) -> bool {
        let Some(gone) = self.entry(slot.0).copied() else {
            return false;
        };
        if gone.stage == Stage::Free {
            return false;
        }
        if gone.stage == Stage::Ready {
            self.ready = self.ready.saturating_sub(1);
        }
        match self.entry_mut(gone.earlier) {
            Some(entry) => entry.later = gone.later,
            None => self.first = gone.later,
        }
        match self.entry_mut(gone.later) {
            Some(entry) => entry.earlier = gone.earlier,
            None => self.last = gone.earlier,
        }
        let free = self.free;
        if let Some(entry) = self.entry_mut(slot.0) {
            *entry = Entry {
                later: free,
                ..Entry::default()
            };
        }
        self.free = slot.0;
        self.len = self.len.saturating_sub(1);
        self.unblock_from(gone.later, |later| gone.blocks(later));
        true
    }

    /// A request that was started is not in the way of later ones any more, but for those of
    /// [`Inflight::insert_last`]; it stays under way. False, and nothing changes, where it has not started or was
    /// passed before.
    pub fn pass(&mut self, slot: Slot) -> bool {
        let Some(entry) = self.entry_mut(slot.0) else {
            return false;
        };
        if entry.stage != Stage::Started || entry.passed {
            return false;
        }
        let before = *entry;
        entry.passed = true;
        self.unblock_from(before.later, |later| !later.last && before.blocks(later));
        true
    }

    /// The next request that became ready, each one once, in order of arrival. It counts as
    /// started from then on.
    pub fn pop_ready(&mut self) -> Option<Slot> {
        if self.ready == 0 {
            return None;
        }
        let mut number = self.first;
        while let Some(entry) = self.entry_mut(number) {
            if entry.stage == Stage::Ready {
                entry.stage = Stage::Started;
                self.ready = self.ready.saturating_sub(1);
                return Some(Slot(number));
            }
            number = entry.later;
        }
        None
    }

    /// Whether [`Inflight::pop_ready`] would name one.
    #[must_use]
    pub fn has_ready(&self) -> bool {
        self.ready > 0
    }

    /// Requests under way, started or not.
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether [`Inflight::insert`] would fail.
    pub fn is_full(&self) -> bool {
        self.free == NONE
    }

    /// Most requests that can be under way.
    pub fn capacity(&self) -> usize {
        self.entries.len().min(MAX_CAPACITY)
    }

    /// Start and end of a request, `None` where the slot is not in use.
    pub fn range(&self, slot: Slot) -> Option<(u64, u64)> {
        self.used(slot).map(|entry| (entry.start, entry.end))
    }

    /// Whether a request was allowed to start, by [`Inflight::insert`] or [`Inflight::pop_ready`].
    pub fn is_started(&self, slot: Slot) -> bool {
        self.used(slot).is_some_and(|entry| entry.stage == Stage::Started)
    }

    /// The requests under way in order of arrival.
    pub fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        let mut number = self.first;
        core::iter::from_fn(move || {
            let slot = Slot(number);
            number = self.entry(number)?.later;
            Some(slot)
        })
    }

    fn entry(&self, number: u16) -> Option<&Entry> {
        if number == NONE {
            return None;
        }
        self.entries.get(usize::from(number))
    }

    fn entry_mut(&mut self, number: u16) -> Option<&mut Entry> {
        if number == NONE {
            return None;
        }
        self.entries.get_mut(usize::from(number))
    }

    fn used(&self, slot: Slot) -> Option<&Entry> {
        self.entry(slot.0).filter(|entry| entry.stage != Stage::Free)
    }

    /// Entries in use that a new one has to wait for.
    fn count_blockers(&self, new: &Entry) -> u16 {
        if new.start >= new.end {
            return 0;
        }
        let mut count = 0u16;
        let mut number = self.first;
        while let Some(entry) = self.entry(number) {
            count = count.saturating_add(u16::from(entry.blocks(new)));
            number = entry.later;
        }
        count
    }

    /// Tells the entries from `number` on that an earlier one is not in their way any more, if it was.
    fn unblock_from(&mut self, mut number: u16, was_blocked: impl Fn(&Entry) -> bool) {
        let mut ready = 0u16;
        while let Some(entry) = self.entry_mut(number) {
            if was_blocked(entry) {
                entry.blockers = entry.blockers.saturating_sub(1);
                if entry.blockers == 0 && entry.stage == Stage::Waiting {
                    entry.stage = Stage::Ready;
                    ready = ready.saturating_add(1);
                }
            }
            number = entry.later;
        }
        self.ready = self.ready.saturating_add(ready);
    }
}
