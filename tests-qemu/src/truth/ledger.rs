// SPDX-License-Identifier: GPL-2.0
//! What each sector may hold, by what was acknowledged and what was begun.
//!
//! Time is counted in reports. An operation can have begun as soon as the one before it of its thread was reported, and
//! was over, at the latest, when it was reported itself; so one operation came before another for certain if it was
//! reported no later than the one before the other. A sector may hold what an operation wrote unless another one that
//! came after it for certain is acknowledged. Operations that were under way when their run ended may have happened or
//! not; they are over when the next run begins.
//!
//! What is discarded has no defined content until it is written again, as the mirror passes discards on and promises
//! nothing of the content: the sector may hold whatever it might have held before, or zeroes, and the two disks of a
//! mirror may differ there. A read of it settles nothing.

use anyhow::{ensure, Context as _, Result};
use netraid_guest::truth::{Content, Found, Id, Kind, Operation, Plan};

use super::verdict::{Fault, Verdict};

/// Of an operation under way it is not known yet when it is over.
const UNDER_WAY: u64 = u64::MAX;

/// One operation, as a sector sees it.
#[derive(Clone, Copy, Debug)]
struct Entry {
    id: Id,
    /// What it leaves in the sector.
    content: Content,
    discards: bool,
    /// Reports until it was over.
    end: u64,
}

/// A run of the history.
#[derive(Debug)]
struct Run {
    plan: Plan,
    /// For each thread the operation under way, and how many reports there were when it can have begun.
    under_way: Vec<(u32, u64)>,
}

impl Run {
    /// Whether a thread has begun that operation and it writes this sector.
    fn wrote(&self, id: Id, sector: u64) -> bool {
        let begun = self.under_way.get(usize::from(id.thread()));
        let begun = begun.is_some_and(|&(number, _)| (1..=number).contains(&id.number()));
        let operation = self.plan.operation(id.thread(), id.number());
        begun && operation.has_data() && operation.sectors.contains(&sector)
    }
}

/// The history of a device that held zeroes when it began.
#[derive(Debug)]
pub struct Ledger {
    sectors: Vec<Vec<Entry>>,
    runs: Vec<Run>,
    running: bool,
    reports: u64,
}

impl Ledger {
    /// No run yet, over so many sectors.
    #[must_use]
    pub fn new(sectors: u64) -> Self {
        let nothing = Entry {
            id: Id::new(0, 0, 0),
            content: Content::Zero,
            discards: false,
            end: 0,
        };
        let sectors = (0..sectors).map(|_| vec![nothing]).collect();
        Self {
            sectors,
            runs: Vec::new(),
            running: false,
            reports: 0,
        }
    }

    /// How many runs there were.
    #[must_use]
    pub fn runs(&self) -> u32 {
        u32::try_from(self.runs.len()).unwrap_or(u32::MAX)
    }

    /// A run begins; every thread begins its first operation.
    ///
    /// # Errors
    ///
    /// When the last one is not over, this is not the next one, or it writes beyond the last sector.
    pub fn begin(&mut self, plan: Plan) -> Result<()> {
        ensure!(!self.running, "the last run is not over");
        ensure!(plan.run == self.runs(), "run {} is not the next one", plan.run);
        ensure!(plan.sectors <= self.sectors.len() as u64, "the run is too large");
        let under_way = vec![(1, self.reports); usize::from(plan.threads)];
        for thread in 0..plan.threads {
            self.enter(&plan.operation(thread, 1), plan.id(thread, 1));
        }
        self.runs.push(Run { plan, under_way });
        self.running = true;
        Ok(())
    }

    /// A thread reports an operation as acknowledged, and begins its next one.
    ///
    /// # Errors
    ///
    /// When that is not the one it had under way.
    pub fn acknowledge(&mut self, thread: u8, number: u32) -> Result<Operation> {
        ensure!(self.running, "nothing runs that could report");
        let run = self.runs.last_mut().context("no run")?;
        let under_way = run.under_way.get_mut(usize::from(thread)).context("no such thread")?;
        let (expected, began) = *under_way;
        ensure!(number == expected, "thread {thread} reports {number}, not {expected}");
        self.reports += 1;
        *under_way = (number + 1, self.reports);
        let (id, operation) = (run.plan.id(thread, number), run.plan.operation(thread, number));
        let (next, next_id) = (run.plan.operation(thread, number + 1), run.plan.id(thread, number + 1));
        let end = self.reports;
        for entries in places(&mut self.sectors, &operation) {
            let discards = operation.kind == Kind::Discard;
            // A discard has only other discards behind it.
            entries.retain(|entry| entry.end > began || discards && !entry.discards);
            for entry in entries.iter_mut().filter(|entry| entry.id == id) {
                entry.end = end;
            }
        }
        self.enter(&next, next_id);
        Ok(operation)
    }

    /// The run is over: killed, refused, or lost with its machine. What it had under way happened or did not.
    pub fn end(&mut self) {
        self.reports += 1;
        let reports = self.reports;
        let entries = self.sectors.iter_mut().flatten();
        for entry in entries.filter(|entry| entry.end == UNDER_WAY) {
            entry.end = reports;
        }
        self.running = false;
    }

    fn enter(&mut self, operation: &Operation, id: Id) {
        let content = if operation.has_data() {
            Content::Written(id)
        } else {
            Content::Zero
        };
        let entry = Entry {
            id,
            content,
            discards: operation.kind == Kind::Discard,
            end: UNDER_WAY,
        };
        for entries in places(&mut self.sectors, operation) {
            entries.push(entry);
        }
    }

    /// What a sector may hold.
    #[must_use]
    pub fn legal(&self, sector: u64) -> Vec<Content> {
        let mut legal = Vec::new();
        for entry in self.entries(sector) {
            if !legal.contains(&entry.content) {
                legal.push(entry.content);
            }
        }
        legal
    }

    /// Whether a sector was or may be discarded, and not written since: the disks may differ there.
    #[must_use]
    pub fn undefined(&self, sector: u64) -> bool {
        self.entries(sector).iter().any(|entry| entry.discards)
    }

    fn entries(&self, sector: u64) -> &[Entry] {
        let at = usize::try_from(sector).unwrap_or(usize::MAX);
        self.sectors.get(at).map_or(&[], Vec::as_slice)
    }

    /// Judges what was found on a disk.
    #[must_use]
    pub fn judge(&self, found: &Found) -> Verdict {
        let mut verdict = Verdict::default();
        for (sector, held) in found.sectors() {
            if self.entries(sector).iter().any(|entry| entry.content == held) {
                verdict.fine += 1;
                continue;
            }
            let fault = Fault {
                sector,
                held,
                legal: self.legal(sector),
            };
            if self.once_legal(sector, held) {
                verdict.lost.push(fault);
            } else {
                verdict.impossible.push(fault);
            }
        }
        verdict
    }

    /// Whether a sector may ever have held that.
    fn once_legal(&self, sector: u64, held: Content) -> bool {
        match held {
            Content::Zero => true,
            Content::Written(id) => {
                let at = usize::try_from(id.run()).unwrap_or(usize::MAX);
                self.runs.get(at).is_some_and(|run| run.wrote(id, sector))
            }
            Content::Misplaced(_) | Content::Bad => false,
        }
    }

    /// Sectors in which two disks differ though they must not, when both are to be in step.
    #[must_use]
    pub fn differing(&self, one: &Found, other: &Found) -> Vec<u64> {
        let pairs = one.sectors().zip(other.sectors());
        let differ = pairs.filter(|((sector, held), (_, other))| held != other && !self.undefined(*sector));
        differ.map(|((sector, _), _)| sector).collect()
    }

    /// No run is under way, and both disks hold this: what was in doubt is so from now on.
    pub fn settle(&mut self, found: &Found) {
        let reports = self.reports;
        for (sector, held) in found.sectors() {
            let Ok(at) = usize::try_from(sector) else { continue };
            let Some(entries) = self.sectors.get_mut(at) else {
                continue;
            };
            let known = entries.iter().find(|entry| entry.content == held).copied();
            if let (Some(known), false) = (known, entries.iter().any(|entry| entry.discards)) {
                let end = reports.min(known.end);
                *entries = vec![Entry { end, ..known }];
            }
        }
    }
}

/// What is known of the sectors of an operation.
fn places<'a>(sectors: &'a mut [Vec<Entry>], operation: &Operation) -> impl Iterator<Item = &'a mut Vec<Entry>> {
    let place = |sector: u64| usize::try_from(sector).unwrap_or(usize::MAX).min(sectors.len());
    let (first, end) = (place(operation.sectors.start), place(operation.sectors.end));
    sectors[first..end].iter_mut()
}

#[cfg(test)]
mod tests;
