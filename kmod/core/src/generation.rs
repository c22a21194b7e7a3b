// SPDX-License-Identifier: GPL-2.0

//! Generations: how two copies of a mirror are related.
//!
//! The data on a disk has a generation, a random number. It changes when a source writes what a target that was in step
//! does not get: that target then holds the generation before, which the source notes as its *base*, and everything
//! written since is marked. So two copies with the same generation differ at most where one of them is marked, and the
//! numbers tell who went on without whom.
//!
//! What is on record before what is what makes that true also after a crash of anybody at any moment:
//!
//! * The source: base and new generation, before a write that the target missed is acknowledged.
//! * The target: the generation of the source together with the mark that it is inconsistent, before a resync changes
//!   its first byte. What it wrote itself is marked at the source by then, and its own base becomes 0.
//! * The source: base 0, before it tells the target that the resync is complete: from then on that may be in step, and
//!   the next write that it misses has to begin another generation.
//! * The source: another generation, when it lets go of a target: that one may come back after another one had the
//!   marks.
//! * Where a source has several targets: those that are still in step note the new generation, too, before a write that
//!   another one missed is acknowledged. Nobody could tell later otherwise that the other one has less than they, and it
//!   would be the same to them. Until they are told, what they held before is their base, so that a source that
//!   is restarted in between goes on with them.
//! * A target that becomes source: another generation, before anything changes on its disk or a target connects. Others may
//!   hold what it holds.
//! * A source: another generation, before it uses a target that was in step and holds something else now, or that gives up
//!   what it has beyond it: what that one held may be in use elsewhere.
//! * A target: the past of its source, with the generation; its own goes with what it held.
//! * A base, and a generation that is incomplete, belong to the machine they were noted for; another one that connects
//!   makes them 0.
//!
//! [`relation`] is a function of what both sides noted; the first line that holds decides:
//!
//! | what holds | relation |
//! |---|---|
//! | the other disk holds nothing yet (0) | [`Relation::PeerFresh`] |
//! | this disk holds nothing yet | [`Relation::SelfFresh`] |
//! | both have the same generation | [`Relation::Same`] |
//! | the other has the one that this side noted as its base | [`Relation::PeerOlder`] |
//! | the other has one of this side's past | [`Relation::PeerFar`] |
//! | this side has the one that the other noted as base | [`Relation::PeerNewer`] |
//! | this side has one of the other's past | [`Relation::PeerFarAhead`] |
//! | both noted the same base | [`Relation::Forked`] |
//! | something else of their pasts is the same | [`Relation::ForkedFar`] |
//! | nothing is | [`Relation::Unrelated`] |
//!
//! The past is short, so that two copies may have more in common than is still known. Then the answer is one that asks
//! for more copying or for an operator, never for less.

use crate::meta::HISTORY;

/// What one side noted, about its own disk and one other machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generations {
    /// What the disk holds, 0 for nothing.
    pub current: u64,
    /// What the other machine holds while this side marks what it misses, 0 while they are in step.
    pub base: u64,
    /// What the disk held before, the newest first, 0 where there is no more.
    pub history: [u64; HISTORY],
}

/// How another copy is related to the own one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// It holds nothing yet.
    PeerFresh,
    /// The own one holds nothing yet.
    SelfFresh,
    /// Both are the same, but for what is marked.
    Same,
    /// It misses what is marked here.
    PeerOlder,
    /// It misses something, and the marks here do not speak of it.
    PeerFar,
    /// The own one misses what is marked there.
    PeerNewer,
    /// The own one misses something, and the marks there do not speak of it.
    PeerFarAhead,
    /// Each misses what is marked on the other side.
    Forked,
    /// Each misses something, and the marks do not speak of it.
    ForkedFar,
    /// They have nothing in common.
    Unrelated,
}

impl Relation {
    /// Every relation, for exhaustive tests.
    pub const ALL: [Self; 10] = [
        Self::PeerFresh,
        Self::SelfFresh,
        Self::Same,
        Self::PeerOlder,
        Self::PeerFar,
        Self::PeerNewer,
        Self::PeerFarAhead,
        Self::Forked,
        Self::ForkedFar,
        Self::Unrelated,
    ];

    /// Whether the other copy holds nothing that the own one lacks, but for marks.
    #[must_use]
    pub const fn peer_is_covered(self) -> bool {
        matches!(self, Self::PeerFresh | Self::Same | Self::PeerOlder | Self::PeerFar)
    }

    /// Whether the own copy holds nothing that the other one lacks, but for marks.
    #[must_use]
    pub const fn peer_is_newer(self) -> bool {
        matches!(self, Self::PeerNewer | Self::PeerFarAhead)
    }

    /// Whether each holds something that the other one lacks.
    #[must_use]
    pub const fn is_fork(self) -> bool {
        matches!(self, Self::Forked | Self::ForkedFar)
    }

    /// Whether the marks of both sides together cover every difference.
    #[must_use]
    pub const fn is_marked(self) -> bool {
        matches!(self, Self::Same | Self::PeerOlder | Self::PeerNewer | Self::Forked)
    }
}

/// Relates two copies, see the table of the [module](self).
#[must_use]
pub fn relation(mine: &Generations, theirs: &Generations) -> Relation {
    if theirs.current == 0 {
        Relation::PeerFresh
    } else if mine.current == 0 {
        Relation::SelfFresh
    } else if mine.current == theirs.current {
        Relation::Same
    } else if theirs.current == mine.base {
        Relation::PeerOlder
    } else if mine.history.contains(&theirs.current) {
        Relation::PeerFar
    } else if mine.current == theirs.base {
        Relation::PeerNewer
    } else if theirs.history.contains(&mine.current) {
        Relation::PeerFarAhead
    } else if mine.base != 0 && mine.base == theirs.base {
        Relation::Forked
    } else if past(mine).any(|generation| past(theirs).any(|other| other == generation)) {
        Relation::ForkedFar
    } else {
        Relation::Unrelated
    }
}

/// What a side knows of its past.
fn past(of: &Generations) -> impl Iterator<Item = u64> + '_ {
    let all = of.history.iter().copied().chain([of.base]);
    all.filter(|&generation| generation != 0)
}

/// Begins another generation, 0 where the disk holds nothing any more; the one before, if there was one, becomes the
/// newest of the past.
pub fn rotate(current: &mut u64, history: &mut [u64; HISTORY], next: u64) {
    let before = core::mem::replace(current, next);
    if before == next || before == 0 {
        return;
    }
    // One that is in the past already only moves to the front, so that no other is forgotten for it.
    let place = history
        .iter()
        .position(|&generation| generation == before || generation == 0);
    let end = place.map_or(HISTORY, |place| place.saturating_add(1));
    if let Some(front) = history.get_mut(..end) {
        front.rotate_right(1);
    }
    let [newest, ..] = history;
    *newest = before;
}

/// A target takes over the generation of its source. `past` is what the source held, and before, when they greeted; `None`
/// where that was taken over on this connection already. The target's own past is not in that of what takes its place: it
/// may have been given up, and whoever has it would be taken to be covered.
pub fn take_over(
    current: &mut u64,
    history: &mut [u64; HISTORY],
    past: Option<(u64, [u64; HISTORY])>,
    generation: u64,
) {
    if let Some((before, older)) = past {
        (*current, *history) = (before, older);
    }
    rotate(current, history, generation);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_the_past_of_its_source_and_none_of_its_own() {
        let source = Some((5, [4, 3, 0, 0, 0, 0, 0, 0]));
        let (mut current, mut history) = (7, [6, 2, 0, 0, 0, 0, 0, 0]);
        take_over(&mut current, &mut history, source, 5);
        assert_eq!((current, history), (5, [4, 3, 0, 0, 0, 0, 0, 0]));
        // One that began after the greeting, and one after that.
        take_over(&mut current, &mut history, source, 8);
        assert_eq!((current, history), (8, [5, 4, 3, 0, 0, 0, 0, 0]));
        take_over(&mut current, &mut history, None, 9);
        assert_eq!((current, history), (9, [8, 5, 4, 3, 0, 0, 0, 0]));
    }

    fn side(current: u64, base: u64, past: &[u64]) -> Generations {
        let mut history = [0; HISTORY];
        for (to, from) in history.iter_mut().zip(past) {
            *to = *from;
        }
        Generations { current, base, history }
    }

    #[test]
    fn every_line_of_the_table() {
        use Relation as R;
        let cases = [
            (side(5, 0, &[]), side(0, 0, &[]), R::PeerFresh),
            (side(0, 0, &[]), side(5, 0, &[]), R::SelfFresh),
            (side(0, 0, &[]), side(0, 0, &[]), R::PeerFresh),
            (side(5, 3, &[3]), side(5, 0, &[]), R::Same),
            (side(5, 3, &[3]), side(3, 0, &[]), R::PeerOlder),
            (side(5, 3, &[4, 3, 2]), side(2, 0, &[]), R::PeerFar),
            (side(3, 0, &[]), side(5, 3, &[3]), R::PeerNewer),
            (side(3, 0, &[]), side(7, 5, &[5, 3]), R::PeerFarAhead),
            (side(5, 3, &[3]), side(6, 3, &[3]), R::Forked),
            (side(5, 3, &[3, 2]), side(6, 4, &[4, 2]), R::ForkedFar),
            (side(5, 3, &[3]), side(6, 0, &[3]), R::ForkedFar),
            (side(5, 3, &[3]), side(6, 4, &[4]), R::Unrelated),
            (side(5, 0, &[]), side(6, 0, &[]), R::Unrelated),
        ];
        for (mine, theirs, expected) in cases {
            assert_eq!(relation(&mine, &theirs), expected, "{mine:?} {theirs:?}");
        }
    }

    #[test]
    fn both_sides_see_the_same_relation_from_their_side() {
        use Relation as R;
        let values = [0, 1, 2, 3];
        for n in 0..4usize.pow(6) {
            let at = |place: u32| values[n / 4usize.pow(place) % 4];
            let (a, b) = (side(at(0), at(1), &[at(2)]), side(at(3), at(4), &[at(5)]));
            let mirrored = match relation(&a, &b) {
                R::PeerOlder | R::PeerFar if a.current == b.base || b.history.contains(&a.current) => continue,
                R::PeerFresh if a.current == 0 => continue,
                R::PeerFresh => R::SelfFresh,
                R::SelfFresh => R::PeerFresh,
                R::PeerOlder => R::PeerNewer,
                R::PeerFar => R::PeerFarAhead,
                R::PeerNewer => R::PeerOlder,
                R::PeerFarAhead => R::PeerFar,
                same => same,
            };
            assert_eq!(relation(&b, &a), mirrored, "{a:?} {b:?}");
        }
    }

    #[test]
    fn the_past_keeps_the_newest() {
        let (mut current, mut history) = (0, [0; HISTORY]);
        for generation in 1..=10 {
            rotate(&mut current, &mut history, generation);
        }
        rotate(&mut current, &mut history, 10);
        assert_eq!((current, history), (10, [9, 8, 7, 6, 5, 4, 3, 2]));
        rotate(&mut current, &mut history, 8);
        assert_eq!((current, history), (8, [10, 9, 8, 7, 6, 5, 4, 3]));
        rotate(&mut current, &mut history, 10);
        rotate(&mut current, &mut history, 0);
        assert_eq!((current, history), (0, [10, 8, 9, 7, 6, 5, 4, 3]));
    }
}
