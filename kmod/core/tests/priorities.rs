// SPDX-License-Identifier: GPL-2.0
//! Which machine has which priority.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says all it means in one place"
)]

use netraid_core::legs::LegNumber;
use netraid_core::meta::priorities::{asked, hear, is_known, learns, next, note, Holder, Refusal};
use netraid_core::meta::{Peer, Superblock, BLOCK_LEN, PEERS};
use netraid_core::name::Name;
use netraid_core::priority::{OutOfRange, Priorities, Priority};
use netraid_core::wire::Id;

const fn id(number: u8) -> Id {
    [number; 16]
}

fn given(number: u32) -> Option<Priority> {
    Priority::new(number).ok()
}

fn leg(id: u32) -> LegNumber {
    LegNumber::from_id(id).unwrap()
}

/// A mirror whose machine has a priority, and the others these; 0 for none.
fn mirror(own: u32, others: &[u32]) -> Superblock {
    let mut sb = Superblock {
        name: Name::new("data").unwrap(),
        priority: given(own),
        ..Superblock::default()
    };
    for (at, (peer, number)) in (1..).zip(sb.peers.iter_mut().zip(others)) {
        peer.uuid = id(at);
        peer.priority = given(*number);
    }
    sb
}

/// Own and others, 0 for none.
fn numbers(sb: &Superblock) -> (u16, [u16; PEERS]) {
    let field = |peer: &Peer| Priority::to_field(peer.priority);
    (Priority::to_field(sb.priority), sb.peers.each_ref().map(field))
}

fn told(source: u32, target: u32) -> Priorities {
    Priorities {
        source: given(source),
        target: given(target),
    }
}

/// Covers: S112.
#[test]
fn a_priority_is_one_to_nine_hundred_and_ninety_nine() {
    for number in [1, 2, 500, 998, 999] {
        assert_eq!(u32::from(Priority::new(number).unwrap().number()), number);
    }
    for number in [0, 1000, 65536, 65537, u32::MAX] {
        assert_eq!(Priority::new(number), Err(OutOfRange(number)));
        assert_eq!(
            asked(&mirror(1, &[]), leg(1), number),
            Err(Refusal::OutOfRange(OutOfRange(number)))
        );
    }
    assert_eq!(
        OutOfRange(1000).to_string(),
        "priority 1000 is out of range; choose one from 1, the highest, to 999"
    );
    assert!(Priority::HIGHEST < Priority::LOWEST);
}

/// Covers: S112.
#[test]
fn one_that_another_machine_has_is_refused() {
    let sb = mirror(1, &[10, 500]);
    let taken = |number, by| {
        Err(Refusal::Taken {
            priority: given(number).unwrap(),
            by,
            free: given(510).unwrap(),
        })
    };
    assert_eq!(asked(&sb, leg(3), 1), taken(1, Holder::Here));
    assert_eq!(asked(&sb, leg(3), 10), taken(10, Holder::Leg(leg(1))));
    assert_eq!(asked(&sb, leg(3), 500), taken(500, Holder::Leg(leg(2))));
    // They need not be consecutive, and a machine may keep its own.
    assert_eq!(asked(&sb, leg(3), 7), Ok(given(7).unwrap()));
    assert_eq!(asked(&sb, leg(2), 500), Ok(given(500).unwrap()));
    // One that was taken in between is not given twice.
    let mut sb = sb;
    note(&mut sb, leg(3), given(10).unwrap());
    assert_eq!(numbers(&sb), (1, [10, 500, 0, 0, 0, 0, 0]));
    note(&mut sb, leg(3), given(20).unwrap());
    assert_eq!(numbers(&sb), (1, [10, 500, 20, 0, 0, 0, 0]));
}

/// Covers: S112.
#[test]
fn who_asks_for_none_gets_the_next_multiple_of_ten() {
    let cases: [(u32, &[u32], u16); 8] = [
        (1, &[], 10),
        (1, &[10], 20),
        (1, &[10, 20, 15], 30),
        (500, &[], 510),
        (0, &[0, 0], 10),
        (980, &[10], 990),
        (1, &[990], 2),
        (999, &[1, 2, 4], 3),
    ];
    for (own, others, expected) in cases {
        assert_eq!(
            next(&mirror(own, others), leg(7)).number(),
            expected,
            "{own} {others:?}"
        );
    }
    assert_eq!(
        next(&mirror(1, &[10, 20]), leg(2)).number(),
        20,
        "its own is not in its way"
    );
}

/// Covers: S112.
#[test]
fn the_word_of_the_source_counts_on_a_target() {
    let mut sb = mirror(0, &[0, 0]);
    assert!(!is_known(&sb, &told(1, 10)));
    hear(&mut sb, &id(1), &told(1, 10));
    assert_eq!(numbers(&sb), (10, [1, 0, 0, 0, 0, 0, 0]));
    assert!(is_known(&sb, &told(1, 10)));
    // Who is noted here with what the source gave to another one has none.
    let mut sb = mirror(0, &[0, 1, 10, 20]);
    hear(&mut sb, &id(1), &told(1, 10));
    assert_eq!(numbers(&sb), (10, [1, 0, 0, 20, 0, 0, 0]));
    // Another source, which gives what the last one had.
    let mut sb = mirror(20, &[10, 1]);
    hear(&mut sb, &id(1), &told(20, 1));
    assert_eq!(numbers(&sb), (1, [20, 0, 0, 0, 0, 0, 0]));
}

#[test]
fn a_source_that_tells_nothing_changes_nothing() {
    let mut sb = mirror(20, &[1, 10]);
    assert!(is_known(&sb, &Priorities::NONE));
    hear(&mut sb, &id(1), &Priorities::NONE);
    assert_eq!(numbers(&sb), (20, [1, 10, 0, 0, 0, 0, 0]));
    // Unless another one was noted in its place, for want of room.
    hear(&mut sb, &id(9), &Priorities::NONE);
    assert_eq!(numbers(&sb), (20, [0, 10, 0, 0, 0, 0, 0]));
    // It has one, and has been told none for this machine.
    let mut sb = mirror(20, &[0, 10]);
    hear(&mut sb, &id(1), &told(20, 0));
    assert_eq!(numbers(&sb), (0, [20, 10, 0, 0, 0, 0, 0]));
    // It has none, and gives this machine what was that of the source here.
    let mut sb = mirror(20, &[1, 10]);
    hear(&mut sb, &id(1), &told(0, 1));
    assert_eq!(numbers(&sb), (1, [0, 10, 0, 0, 0, 0, 0]));
}

#[test]
fn a_source_that_tells_the_same_for_both_is_not_believed_for_the_target() {
    let mut sb = mirror(20, &[1]);
    hear(&mut sb, &id(1), &told(5, 5));
    assert_eq!(numbers(&sb), (20, [5, 0, 0, 0, 0, 0, 0]));
    assert!(is_known(&sb, &told(5, 5)));
}

/// Covers: S112.
#[test]
fn a_source_that_was_given_none_for_a_target_learns_it_from_there() {
    let sb = mirror(10, &[0, 1]);
    assert_eq!(learns(&sb, leg(1), given(20)), given(20));
    assert_eq!(learns(&sb, leg(1), None), None);
    assert_eq!(learns(&sb, leg(1), given(1)), None, "that of another one");
    assert_eq!(learns(&sb, leg(1), given(10)), None, "its own");
    assert_eq!(learns(&sb, leg(2), given(20)), None, "an operator gave another one");
}

/// Covers: S112.
#[test]
fn metadata_from_before_there_were_priorities_gives_none() {
    let mut block = [0; BLOCK_LEN];
    let before = mirror(0, &[0, 0]);
    before.encode(&mut block);
    let read = Superblock::decode(&block).unwrap();
    assert_eq!(numbers(&read), (0, [0; PEERS]));
    assert_eq!(Priority::from_field(1000), None, "what a later version may write there");
    assert_eq!(Priority::to_field(None), 0);
}
