// SPDX-License-Identifier: GPL-2.0
//! Who has still to note a generation.

use netraid_core::followers::Followers;
use netraid_core::legs::{LegNumber, LegSet};

fn legs(indexes: &[usize]) -> LegSet {
    indexes.iter().filter_map(|index| LegNumber::new(*index)).collect()
}

fn leg(index: usize) -> LegNumber {
    LegNumber::new(index).unwrap_or_default()
}

#[test]
fn each_of_them_is_waited_for_until_it_answers_or_is_lost() {
    let mut followers = Followers::NONE;
    assert!(followers.is_empty());
    followers.begin(legs(&[1, 2, 4]), 1000);
    for index in [1, 2, 4] {
        assert!(!followers.is_empty());
        assert!(!followers.noted(leg(index), 1001), "it was told nothing yet");
        followers.sent(leg(index));
        if index == 2 {
            followers.lost(leg(index));
        } else {
            assert!(followers.noted(leg(index), 1002));
        }
        assert!(!followers.noted(leg(index), 1003), "one message has one answer");
    }
    assert!(followers.is_empty());
}

/// Another leg is lost between the end of a resync and the answer to that.
#[test]
fn the_answer_to_the_end_of_a_resync_is_not_one_to_a_generation_that_began_after_it() {
    let mut followers = Followers::NONE;
    followers.sent(leg(1));
    followers.begin(legs(&[1]), 1000);
    followers.sent(leg(1));
    assert!(followers.noted(leg(1), 1001), "the end of the resync");
    assert!(!followers.is_empty());
    assert!(followers.noted(leg(1), 1002));
    assert!(followers.is_empty());
    assert!(!followers.noted(leg(1), 1003));
}

/// One that connects with all there is, but in an older generation.
#[test]
fn one_that_joins_is_waited_for_beside_the_others() {
    let mut followers = Followers::NONE;
    followers.begin(legs(&[1]), 1000);
    followers.sent(leg(1));
    followers.join(leg(3), 1500);
    assert_eq!(followers.waiting_ms(leg(1), 1600), 600);
    assert_eq!(followers.waiting_ms(leg(3), 1600), 100);
    assert!(!followers.noted(leg(3), 1600), "it was told nothing yet");
    followers.sent(leg(3));
    assert!(followers.noted(leg(1), 1700));
    assert!(!followers.is_empty());
    assert!(followers.noted(leg(3), 1800));
    assert!(followers.is_empty());
}

/// The legs 0 and 3 are lost one soon after the other: leg 1 is told of both generations before it answers.
#[test]
fn the_answer_to_an_earlier_generation_does_not_end_the_wait_for_a_later_one() {
    for sent_before_the_answer in [false, true] {
        let mut followers = Followers::NONE;
        followers.begin(legs(&[1, 3]), 0);
        followers.sent(leg(1));
        followers.lost(leg(3));
        followers.begin(legs(&[1]), 5);
        if sent_before_the_answer {
            followers.sent(leg(1));
        }
        assert!(followers.noted(leg(1), 6));
        assert!(!followers.is_empty(), "that was the answer to the first");
        if !sent_before_the_answer {
            followers.sent(leg(1));
        }
        assert!(followers.noted(leg(1), 7), "the second answer is no surprise");
        assert!(followers.is_empty());
        assert!(!followers.noted(leg(1), 8));
    }
}

#[test]
fn what_was_told_on_an_earlier_connection_is_not_answered_on_the_next() {
    let mut followers = Followers::NONE;
    followers.begin(legs(&[0]), 0);
    followers.sent(leg(0));
    followers.lost(leg(0));
    followers.begin(legs(&[0]), 10);
    assert!(!followers.noted(leg(0), 11));
    followers.sent(leg(0));
    assert!(followers.noted(leg(0), 12));
    assert!(followers.is_empty());
}

#[test]
fn silence_is_measured_from_the_last_answer() {
    let mut followers = Followers::NONE;
    assert_eq!(followers.waiting_ms(leg(5), 7000), 0);
    followers.begin(legs(&[5]), 1000);
    assert_eq!(
        followers.waiting_ms(leg(5), 7000),
        6000,
        "also while nothing could be sent"
    );
    followers.sent(leg(5));
    // Another generation does not begin the wait anew.
    followers.begin(legs(&[5]), 6000);
    assert_eq!(followers.waiting_ms(leg(5), 7000), 6000);
    followers.sent(leg(5));
    assert!(followers.noted(leg(5), 8000));
    assert_eq!(followers.waiting_ms(leg(5), 9000), 1000);
    assert!(followers.noted(leg(5), 9000));
    assert_eq!(followers.waiting_ms(leg(5), 99_000), 0);
}
