// SPDX-License-Identifier: GPL-2.0

//! The threads behind the data path: the one that writes the metadata, and the rounds of the intent log. As
//! `volume/journal.rs` and `volume/rounds.rs` have them.

use super::bugs::Bugs;
use super::disk::{Disk, ALL};
use super::meta::{Meta, Step as Done, Which};
use super::volume::{Round, RoundFlush, Step, Task, Volume};
use netraid_core::{generation::rotate, marks::BLOCK_WORDS, meta::MetaFlags};

impl Volume {
    /// Whether the journal has something to do.
    pub(crate) fn has_task(&mut self) -> bool {
        self.task.is_some() || self.is_parting() || self.lazily.is_some() || self.urgent().is_some()
    }

    fn urgent(&mut self) -> Option<(Which, u64)> {
        let found = |which| Some((which, self.map(which)?.next_urgent()?));
        Which::ALL.into_iter().find_map(found)
    }

    fn next_block(&mut self) -> Option<(Which, u64)> {
        if let Some(found) = self.urgent() {
            return Some(found);
        }
        let (mut which, mut from) = self.lazily?;
        loop {
            if let Some(block) = self.map(which).and_then(|map| map.next_lazy(from)) {
                self.lazily = Some((which, block + 1));
                return Some((which, block));
            }
            match which.next() {
                Some(next) => (which, from) = (next, 0),
                None => {
                    self.lazily = None;
                    return None;
                }
            }
        }
    }

    /// One step of the journal.
    pub(crate) fn journal(&mut self, meta: &mut Meta, disk: &mut Disk, fresh: u64) -> Done {
        match self.task.take() {
            None => self.begin_task(),
            Some(Task::Part) => {
                part(meta, fresh, self.step)?;
                if !self.bugs.has(Bugs::UNEXTEND_GENERATION) {
                    self.generation = fresh;
                }
                self.task = Some(Task::Parted(fresh));
                return Ok(());
            }
            Some(Task::Parted(fresh)) => {
                if self.bugs.has(Bugs::UNEXTEND_GENERATION) {
                    self.generation = fresh;
                }
                (self.step, self.others) = (Step::Apart, Step::Apart);
            }
            Some(Task::Block(which, words)) => {
                meta.write_map(which, words[0])?;
                if let Some(map) = self.map(which) {
                    map.end(0, &words, true);
                }
            }
        }
        if self.task.is_none() {
            self.release(disk);
        }
        Ok(())
    }

    fn begin_task(&mut self) {
        if self.is_parting() {
            self.task = Some(Task::Part);
            return;
        }
        let Some((which, block)) = self.next_block() else {
            return;
        };
        let mut words = Box::new([0; BLOCK_WORDS]);
        if which == Which::Dirty {
            let intent = self.maps.intent.marks();
            let hold = |index: usize| intent.map().word(index) & !intent.kept_word(index);
            self.maps.dirty.begin(block, hold, &mut words);
        } else if let Some(map) = self.map(which) {
            map.begin(block, |_| 0, &mut words);
        }
        self.task = Some(Task::Block(which, words));
    }

    /// Whether every mark is on the disk, as `Volume::keep_marks` waits for it.
    pub(crate) fn is_kept(&mut self) -> bool {
        self.lazily.is_none()
            && Which::ALL
                .into_iter()
                .all(|which| self.map(which).is_none_or(|map| map.is_settled() && !map.is_writing()))
    }

    /// Has everything written at once.
    pub(crate) fn keep(&mut self, meta: &mut Meta, disk: &mut Disk, fresh: u64) -> Done {
        while !self.is_kept() || self.task.is_some() {
            self.journal(meta, disk, fresh)?;
        }
        Ok(())
    }

    pub(crate) fn distrust(&mut self) {
        let intent = self.intent();
        self.maps.dirty.merge(0, [intent].into_iter());
    }

    pub(crate) fn mark_written(&mut self) {
        if let Some(written) = self.maps.written.as_ref().map(|it| it.map().word(0)) {
            self.maps.dirty.merge(0, [written].into_iter());
        }
    }

    pub(crate) fn forget_marks(&mut self) {
        self.maps.dirty.clear(0..u64::from(ALL.count_ones()));
        self.maps.intent.forget();
        self.lazily = Some((Which::Written, 0));
    }

    /// Whether the next step of a round waits for the leg.
    pub(crate) fn round_waits(&self) -> bool {
        matches!(self.round, Round::Waiting(_)) && self.flush == RoundFlush::Running
    }

    /// One step of a round.
    pub(crate) fn step_round(&mut self, disk: &mut Disk) {
        self.round = match self.round {
            Round::Idle => match self.propose() {
                Some(changes) => Round::Local(changes, disk.now()),
                None => self.write_lazily(),
            },
            Round::Local(changes, until) => {
                disk.flush(until);
                Round::Leg(changes)
            }
            Round::Leg(changes) if self.live => {
                self.flush_leg();
                Round::Waiting(changes)
            }
            Round::Leg(changes) => Round::End(changes),
            Round::Waiting(changes) => match self.flush {
                RoundFlush::Running => Round::Waiting(changes),
                RoundFlush::Done => Round::End(changes),
                RoundFlush::Lost | RoundFlush::Idle => self.write_lazily(),
            },
            Round::End(changes) => {
                if changes == self.changes {
                    self.end_round();
                }
                self.write_lazily()
            }
        };
    }

    fn propose(&mut self) -> Option<u64> {
        if self.intent() == 0 {
            return None;
        }
        self.maps.intent.begin_round();
        for request in &self.requests {
            if let Some(chunk) = request.chunk() {
                self.maps.intent.exclude(chunk as u64..chunk as u64 + 1);
            }
        }
        self.maps.intent.has_proposals().then_some(self.changes)
    }

    fn end_round(&mut self) {
        let (live, dirty, written) = (self.live, &self.maps.dirty, &self.maps.written);
        self.maps.intent.end_round(|index| {
            let missed = dirty.map().word(index);
            let known = written
                .as_ref()
                .map_or(u64::MAX, |map| !map.map().word(index) | map.kept_word(index));
            let marked = missed & dirty.kept_word(index);
            known & (marked | if live { !missed } else { 0 })
        });
    }

    fn write_lazily(&mut self) -> Round {
        if self.lazily.is_none() {
            self.lazily = Some((Which::Written, 0));
        }
        Round::Idle
    }
}

/// As `Volume::part`, but for what follows in memory. The base of a target that was apart before is on record.
pub(crate) fn part(meta: &mut Meta, fresh: u64, step: Step) -> Done {
    meta.change(|sb| {
        if step != Step::Apart {
            sb.peers[0].base = sb.current;
        }
        sb.flags.set(MetaFlags::SHARED, false);
        rotate(&mut sb.current, &mut sb.history, fresh);
    })
}
