// SPDX-License-Identifier: GPL-2.0

//! The part of a request on a leg, and the queue that feeds the sending thread.

use netraid_core::fifo::Fifo;
use netraid_core::request::{After, Part};
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
