// SPDX-License-Identifier: GPL-2.0

//! Two targets whose source dies at any moment: what may differ between them is among what the one or the other was sent
//! of late. Random histories of a source with two targets, each of which may take its place; and the same with each of
//! the rules broken, which a history has to notice.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says all it means in one place"
)]

mod world;

use world::World;

/// Steps of a history.
const STEPS: usize = 120;

/// A rule that is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    None,
    /// It is told before all has ended.
    TooEarly,
    /// Legs of which nothing is known are not waited for.
    UnknownLegs,
    /// A leg that may have been told of the generation counts as behind.
    Following,
    /// What was sent since the last mark is settled, too.
    OneMark,
    /// A connection that begins makes everything settled.
    Connect,
    /// A target promises from the start.
    AtOnce,
    /// Data that was entered after a mark was put in line is sent before it.
    Overtaken,
    /// Only what the new source was sent is looked at.
    OneSide,
}

pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }
}

/// The first history that goes wrong.
fn search(mistake: Mistake, first: u64, histories: u64) -> Option<u64> {
    let goes_wrong = |seed: u64| {
        std::panic::catch_unwind(|| {
            let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
            let mut world = World::new(mistake);
            for _ in 0..STEPS {
                world.step(&mut dice);
                world.check();
            }
        })
        .is_err()
    };
    (first..first + histories).find(|seed| goes_wrong(*seed))
}

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |text| text.parse().unwrap())
}

/// `NETRAID_HISTORIES` of them, from `NETRAID_FIRST` on. Covers: S109, S110.
#[test]
fn what_two_targets_differ_in_was_sent_of_late() {
    let (first, histories) = (number("NETRAID_FIRST", 1), number("NETRAID_HISTORIES", 50_000));
    assert_eq!(
        search(Mistake::None, first, histories),
        None,
        "the history with this number"
    );
}

/// Covers: S109, S110.
#[test]
fn each_rule_is_needed() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let all = [
        Mistake::TooEarly,
        Mistake::UnknownLegs,
        Mistake::Following,
        Mistake::OneMark,
        Mistake::Connect,
        Mistake::AtOnce,
        Mistake::Overtaken,
        Mistake::OneSide,
    ];
    let unnoticed: Vec<_> = all
        .into_iter()
        .filter(|it| search(*it, 1, number("NETRAID_MISTAKES", 400_000)).is_none())
        .collect();
    std::panic::set_hook(hook);
    assert_eq!(unnoticed, [], "these are not noticed");
}
