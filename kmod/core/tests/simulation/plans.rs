// SPDX-License-Identifier: GPL-2.0

//! What operators intend, and what befalls machines one after the other: the courses of events that matter most are
//! rare among random ones.

use super::events::{End, Event};
use super::rng::Rng;
use netraid_core::ownership::StartMode;

/// Number of plans.
pub(crate) const PLANS: usize = 9;

/// A course of events for a source and its target; it takes its time, and other things happen in between.
pub(crate) fn plan(which: usize, s: usize, t: usize, rng: &mut Rng) -> Vec<Event> {
    let luck = rng.next() % 1000;
    let start = |node, mode| Event::Start(node, mode, false);
    let back = |node| [Event::Boot(node), start(node, StartMode::Auto)];
    let takes_over = [
        Event::Lose(s, t, 0, End::Target),
        start(t, StartMode::Source),
        Event::Write(t, rng.below(2)),
        Event::Flush(t),
    ];
    match which {
        // The source dies, the target takes over, the source comes back.
        0 => [&[Event::Crash(s, luck)][..], &takes_over, &back(s)].concat(),
        // The same, and the new source dies in the resync, or before.
        1 => [
            &[Event::Crash(s, luck)][..],
            &takes_over,
            &back(s),
            &[Event::Crash(t, luck + 1)],
            &[start(s, StartMode::Source)],
            &back(t),
        ]
        .concat(),
        // Both die, and come back in some order.
        2 => {
            let (first, second) = if rng.one_in(2) { (s, t) } else { (t, s) };
            let both = [Event::Crash(first, luck), Event::Crash(second, luck + 1)];
            let again = [start(s, StartMode::Auto), start(t, StartMode::Auto)];
            [&both[..], &back(first), &back(second), &again].concat()
        }
        // The network fails, and both are source.
        3 => [
            &[Event::Cut(s, t), Event::Write(s, rng.below(2))][..],
            &takes_over,
            &[Event::Lose(s, t, 0, End::Source), Event::Heal(s, t)],
            &[Event::Stop(s), start(s, StartMode::Auto)],
        ]
        .concat(),
        // They change places, and back.
        4 => vec![Event::TakeOver(t), Event::Write(t, rng.below(2)), Event::TakeOver(s)],
        // The same by hand.
        5 => vec![
            Event::Demote(s),
            start(t, StartMode::Source),
            Event::Write(t, rng.below(2)),
        ],
        // The target dies, the source goes on for a while, and changes places when that is back.
        6 => [
            &[Event::Write(s, rng.below(2)), Event::Crash(t, luck), Event::Flush(s)][..],
            &back(t),
            &[Event::Demote(s), start(t, StartMode::Source)],
        ]
        .concat(),
        // A pause, with writes on both sides.
        7 => vec![
            Event::Pause(s),
            Event::Write(s, rng.below(2)),
            Event::Write(t, rng.below(2)),
            if rng.one_in(2) {
                Event::Crash(t, luck)
            } else {
                Event::Crash(s, luck)
            },
            Event::Boot(s),
            Event::Boot(t),
            start(s, StartMode::Auto),
            start(
                t,
                if rng.one_in(2) {
                    StartMode::Auto
                } else {
                    StartMode::Source
                },
            ),
            Event::Resume(s),
        ],
        // Machines are shut down in order.
        _ => [
            &[Event::Down(s), Event::Down(t)][..],
            &back(t),
            &back(s),
            &[start(t, StartMode::Auto), start(s, StartMode::Auto)],
        ]
        .concat(),
    }
}
