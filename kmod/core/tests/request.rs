// SPDX-License-Identifier: GPL-2.0

//! The part of a request on a leg, and the queue that feeds the sending thread.

use netraid_core::fifo::Fifo;
use netraid_core::{
    legs::{LegNumber, LegSet},
    request::{flush_is_moot, After, Due, Part, Parts, Standing},
};
use proptest::prelude::*;
use std::collections::VecDeque;

const ALL: [Part; 7] = [
    Part::Done,
    Part::Queued,
    Part::Sending,
    Part::Sent,
    Part::Confirmed,
    Part::Abandoned,
    Part::Differing,
];

/// Pages that the sending thread has are never given back to the application: no confirmation and no lost connection
/// ends the part before the thread does. Covers: S35.
#[test]
fn a_request_being_sent_is_not_done_before_its_pages_are_back() {
    for act in [Part::confirm, Part::abandon] {
        let mut part = Part::Sending;
        act(&mut part);
        assert!(part.is_pending());
        assert_eq!(part.give_back(), After::Stored);
        assert!(!part.is_pending());
    }
}

/// Whatever was not confirmed when the connection ended is marked, exactly once. Covers: S24, S36.
#[test]
fn a_lost_connection_marks_everything_that_was_not_confirmed_once() {
    for start in ALL {
        let mut part = start;
        let unconfirmed = matches!(start, Part::Queued | Part::Sending | Part::Sent | Part::Differing);
        let marks = |after| matches!(after, After::Unknown | After::UnknownPending);
        assert_eq!(marks(part.abandon()), unconfirmed, "{start:?}");
        assert!(!marks(part.abandon()), "{start:?} marked twice");
    }
}

/// A confirmation for something that was not sent is unexpected and changes nothing.
#[test]
fn a_confirmation_nobody_waits_for_is_unexpected() {
    for start in [
        Part::Done,
        Part::Queued,
        Part::Confirmed,
        Part::Abandoned,
        Part::Differing,
    ] {
        for answer in [Part::confirm, Part::differ] {
            let mut part = start;
            assert_eq!(answer(&mut part), After::Unexpected);
            assert_eq!(part, start);
        }
    }
}

/// What the target has not is sent to it, once the sending thread has given the pages back.
#[test]
fn a_request_that_differs_is_sent_again() {
    let mut part = Part::Sent;
    assert_eq!(part.differ(), After::Again);
    assert_eq!(part, Part::Queued);
    let mut part = Part::Sending;
    assert_eq!(part.differ(), After::Pending);
    assert!(part.is_pending());
    assert_eq!(part.give_back(), After::Again);
    assert_eq!(part, Part::Queued);
}

const ONE: LegNumber = LegNumber::FIRST;
const OTHER: LegNumber = LegNumber::new(6).unwrap();

/// Parts of two legs.
fn parts(one: Part, other: Part) -> Parts {
    let mut parts = Parts::one(ONE, one);
    if other != Part::Done {
        parts.queue(OTHER);
        let steps: &[fn(&mut Parts, LegNumber) -> After] = match other {
            Part::Done | Part::Queued => &[],
            Part::Sending => &[Parts::take],
            Part::Sent => &[Parts::take, Parts::give_back],
            Part::Confirmed => &[Parts::take, Parts::confirm],
            Part::Abandoned => &[Parts::take, Parts::abandon],
            Part::Differing => &[Parts::take, Parts::differ],
        };
        for step in steps {
            step(&mut parts, OTHER);
        }
    }
    assert_eq!((parts.of(ONE), parts.of(OTHER)), (one, other));
    parts
}

/// The application is told once, never while the local disk is at work or a loss has to go on record first; only an
/// early end is told before a leg is done, and such a request stays until then; one leg that is waited for is enough to
/// wait. Covers: S38, S54.
#[test]
fn what_is_due_is_defined_in_every_standing() {
    let all = [false, true];
    for (one, other) in ALL.into_iter().flat_map(|one| ALL.map(|other| (one, other))) {
        for bits in 0..32 {
            let bit = |number: u32| all[usize::from(bits >> number & 1 != 0)];
            let mut standing = Standing {
                local: bit(0),
                parked: bit(1),
                told: bit(2),
                remote: parts(one, other),
                ..Standing::default()
            };
            standing.early.put(ONE, bit(3));
            standing.early.put(OTHER, bit(4));
            let may_wait = |part: Part, early: bool| part == Part::Done || early;
            let wanted = if standing.local || standing.parked {
                Due::Nothing
            } else if one == Part::Done && other == Part::Done {
                Due::Leave
            } else if may_wait(one, bit(3)) && may_wait(other, bit(4)) && !standing.told {
                Due::Tell
            } else {
                Due::Nothing
            };
            assert_eq!(standing.due(), wanted, "{standing:?}");
            let told = Standing { told: true, ..standing };
            assert_ne!(told.due(), Due::Tell, "it is told twice");
        }
    }
}

/// From its beginning to its end, in whatever order its parts end, a request is told exactly once, and an early one
/// never waits for the leg. Covers: S35, S38.
#[test]
fn a_request_is_told_once_whatever_the_order_of_events() {
    type Event = fn(&mut Standing);
    let events: [Event; 5] = [
        |it| it.local = false,
        |it| {
            it.remote.take(ONE);
        },
        |it| {
            it.remote.give_back(ONE);
        },
        |it| {
            it.remote.confirm(ONE);
        },
        |it| {
            it.remote.abandon(ONE);
        },
    ];
    for early in [false, true] {
        // Every sequence of six events, those that mean nothing among them.
        for mut number in 0..5_usize.pow(6) {
            let mut standing = Standing {
                local: true,
                early: if early { LegSet::of(ONE) } else { LegSet::NONE },
                remote: Parts::one(ONE, Part::Queued),
                ..Standing::default()
            };
            let mut told = 0;
            for _ in 0..6 {
                events[number % 5](&mut standing);
                number /= 5;
                match standing.due() {
                    Due::Nothing => {}
                    Due::Tell => {
                        assert!(early && !standing.remote.pending().is_empty());
                        (standing.told, told) = (true, told + 1);
                    }
                    Due::Leave => {
                        told += usize::from(!standing.told);
                        assert_eq!(told, 1);
                        break;
                    }
                }
                assert!(told <= 1);
                assert!(
                    !early || standing.local || told == 1,
                    "an early one waits: {standing:?}"
                );
            }
        }
    }
}

proptest! {
    /// The queue behaves as a `VecDeque` with a limit.
    #[test]
    fn the_queue_is_first_in_first_out(steps in prop::collection::vec(prop::option::of(any::<u16>()), 0..200)) {
        let mut fifo = Fifo::new(vec![0_u16; 7]);
        let mut model = VecDeque::new();
        for step in steps {
            if let Some(value) = step {
                prop_assert_eq!(fifo.push(value), model.len() < 7);
                if model.len() < 7 {
                    model.push_back(value);
                }
            } else {
                prop_assert_eq!(fifo.pop(), model.pop_front());
            }
            prop_assert_eq!(fifo.len(), model.len());
        }
    }
}

/// A flush without anybody to end it would hang; one that is left out where something could be lost would lie.
#[test]
fn a_flush_is_left_out_only_beside_the_local_disk_and_where_nothing_can_be_lost() {
    assert!(flush_is_moot(true, true));
    assert!(!flush_is_moot(false, true));
    assert!(!flush_is_moot(true, false));
    assert!(!flush_is_moot(false, false));
}
