// SPDX-License-Identifier: GPL-2.0

//! What the disks really hold, against what the generations say.

use super::world::{Chunks, Leg, Machine, World, CHUNKS};
use netraid_core::generation::{relation, Relation};
use std::fmt;

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, it) in self.machines.iter().enumerate() {
            let content = it.content.map(|writes| format!("{writes:x}"));
            let (generations, marks) = (it.generations(0).history, it.marks.map(|mask| format!("{mask:05b}")));
            writeln!(
                f,
                "\n{number}: source {} inconsistent {:?} yielded {}",
                it.is_source, it.inconsistent, it.yielded
            )?;
            writeln!(f, "  content {content:?}")?;
            writeln!(
                f,
                "  generation {} past {generations:?} bases {:?} marks {marks:?}",
                it.current, it.base
            )?;
        }
        writeln!(f, "legs {:?}, promised {:x}", self.legs, self.promised)
    }
}

impl World {
    /// What a target is about to lose was given up, or was never said to be done on a source.
    pub(crate) fn check_nothing_is_lost(&self, source: usize, target: usize) {
        let (from, to) = (&self.machines[source], &self.machines[target]);
        let lost = (from.content.iter().zip(&to.content)).fold(0, |all, (from, to)| all | (to & !from));
        if to.is_usable() && !to.yielded {
            assert_eq!(lost & self.promised, 0, "writes are lost: {source} {target} {self}");
        }
    }

    /// Chunks in which `of` holds writes that `other` lacks.
    fn more(of: &Machine, other: &Machine) -> Chunks {
        (0..CHUNKS).fold(0, |all, chunk| {
            all | Chunks::from(of.content[chunk] & !other.content[chunk] != 0) << chunk
        })
    }

    /// The relation that one machine sees, after a check that it is true.
    pub(crate) fn checked_relation(&self, me: usize, peer: usize) -> Relation {
        let (mine, theirs) = (&self.machines[me], &self.machines[peer]);
        let seen = relation(&mine.generations(peer), &theirs.generations(me));
        self.check_direction(me, peer, seen);
        // Who else goes on with an interrupted resync begins anew, see `connect`; and of several targets the one that
        // becomes source begins another generation.
        let comparable = mine.is_usable() && theirs.inconsistent.is_none_or(|began| began == me);
        let comparable = comparable && ((mine.is_source && !mine.shared) || !self.has_more_targets());
        if !comparable {
            return seen;
        }
        let differing = Self::more(mine, theirs) | Self::more(theirs, mine);
        let unmarked = differing & !(mine.marks[peer] | theirs.marks[me]);
        assert!(
            !seen.is_marked() || unmarked == 0,
            "{me} takes {peer} for {seen:?}: {self}"
        );
        seen
    }

    /// Who counts as covered holds nothing that was promised and that the other one lacks.
    fn check_direction(&self, me: usize, peer: usize, seen: Relation) {
        let (mine, theirs) = (&self.machines[me], &self.machines[peer]);
        let lost = |from: &Machine, to: &Machine| {
            let writes = from.content.iter().zip(&to.content).map(|(from, to)| from & !to);
            writes.fold(0, |all, it| all | it) & self.promised
        };
        if !mine.is_usable() || !theirs.is_usable() {
            return;
        }
        if seen.peer_is_covered() {
            assert_eq!(lost(theirs, mine), 0, "{me} takes {peer} for {seen:?}: {self}");
        }
        if seen.peer_is_newer() {
            assert_eq!(lost(mine, theirs), 0, "{me} takes {peer} for {seen:?}: {self}");
        }
    }

    /// Everything that has to hold at any time.
    pub(crate) fn check(&self) {
        for me in 0..self.len() {
            for peer in self.others(me) {
                self.checked_relation(me, peer);
                let (from, to) = (&self.machines[me], &self.machines[peer]);
                if self.legs[me][peer] == Leg::InStep {
                    assert_eq!(from.content, to.content, "{me} {peer}: {self}");
                    assert_eq!(from.current, to.current);
                }
            }
        }
    }
}
