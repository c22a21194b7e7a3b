// SPDX-License-Identifier: GPL-2.0
//! Which machine is noted in which place.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says all it means in one place"
)]

use netraid_core::meta::places::{has_asynchronous, in_step, is_in_step, note_source, prepare, taken, PrepareError};
use netraid_core::meta::{Peer, PeerFlags, PEERS};
use netraid_core::state::Replication;
use netraid_core::wire::Id;

/// A machine with this number, known by its address alone or by its identity, too.
fn noted(number: u8, is_known: bool) -> Peer {
    let mut peer = Peer {
        ip_len: 4,
        port: 7900,
        base: 7,
        flags: PeerFlags::PAUSED.with(PeerFlags::NO_CHECKSUMS, true),
        ..Peer::FREE
    };
    peer.ip[..4].copy_from_slice(&address(number));
    if is_known {
        peer.uuid = id(number);
    }
    peer
}

const fn address(number: u8) -> [u8; 4] {
    [10, 77, 0, number]
}

const fn id(number: u8) -> Id {
    [number; 16]
}

fn peers(noted: &[Peer]) -> [Peer; PEERS] {
    let mut peers = [Peer::FREE; PEERS];
    peers[..noted.len()].copy_from_slice(noted);
    peers
}

/// Who is in which place, by the last byte of the address; 0 for nobody.
fn numbers(peers: &[Peer; PEERS]) -> [u8; PEERS] {
    peers.each_ref().map(|peer| peer.ip[3])
}

/// Covers: S54, S107, S110.
#[test]
fn a_future_target_gets_a_place_behind_the_source() {
    let mut all = peers(&[noted(1, true)]);
    for number in 2..=7 {
        let place = prepare(&all, &address(number), 7900).unwrap();
        assert_eq!(place.index(), usize::from(number) - 1);
        all[place.index()] = noted(number, false);
    }
    assert_eq!(prepare(&all, &address(8), 7900), Err(PrepareError::Full));
    assert_eq!(prepare(&all, &address(1), 7900), Err(PrepareError::IsSource));
    assert_eq!(prepare(&all, &address(5), 7900).unwrap().index(), 4, "noted anew");
    assert_eq!(
        prepare(&all, &address(5), 7901),
        Err(PrepareError::Full),
        "another port is another machine until that says who it is"
    );
    // Before any source has connected the first place is kept for it.
    assert_eq!(prepare(&peers(&[]), &address(2), 7900).unwrap().index(), 1);
}

/// Covers: S109, S110.
#[test]
fn the_source_comes_first_and_the_one_before_is_not_forgotten() {
    let before = peers(&[noted(1, true), noted(2, true), noted(3, false)]);
    // The same again.
    let mut all = before;
    assert!(note_source(&mut all, &id(1), &address(1), true));
    assert_eq!(numbers(&all), [1, 2, 3, 0, 0, 0, 0]);
    // One that is known by its identity, from whatever address.
    let mut all = before;
    assert!(!note_source(&mut all, &id(2), &address(9), true));
    assert_eq!(numbers(&all), [2, 1, 3, 0, 0, 0, 0]);
    // One that was prepared: its place becomes the first.
    let mut all = before;
    assert!(!note_source(&mut all, &id(3), &address(3), true));
    assert_eq!(numbers(&all), [3, 2, 1, 0, 0, 0, 0]);
    // A stranger: the first place is free for it, whose it was is still known.
    let mut all = before;
    assert!(!note_source(&mut all, &id(9), &address(9), true));
    assert_eq!(numbers(&all), [0, 2, 3, 1, 0, 0, 0]);
    assert!(all[0].is_free() && all[3].uuid == id(1));
    // What was noted of the others as targets is of the past.
    for peer in &all[1..=3] {
        assert_eq!((peer.base, peer.flags), (0, PeerFlags::NO_CHECKSUMS));
    }
}

/// It may have lost with its power what the source before had marked and the new one has not.
#[test]
fn the_marks_of_a_target_say_nothing_of_a_new_source_before_it_is_in_step() {
    let unknown = |all: &[Peer; PEERS]| all.each_ref().map(|peer| peer.flags.contains(PeerFlags::UNKNOWN));
    let first = core::array::from_fn(|place| place == 0);
    let mut all = peers(&[noted(1, true), noted(2, true)]);
    assert!(note_source(&mut all, &id(1), &address(1), true));
    assert_eq!(unknown(&all), [false; PEERS], "the same goes on");
    assert!(!note_source(&mut all, &id(2), &address(2), true));
    assert_eq!(unknown(&all), first);
    assert!(!is_in_step(&all));
    assert!(note_source(&mut all, &id(2), &address(2), true));
    assert_eq!(unknown(&all), first, "it was not in step when it was lost");
    in_step(&mut all);
    assert!(is_in_step(&all));
    assert!(note_source(&mut all, &id(2), &address(2), true));
    assert_eq!(unknown(&all), [false; PEERS]);
    // Who holds nothing has lost nothing.
    assert!(!note_source(&mut all, &id(1), &address(1), false));
    assert_eq!(unknown(&all), [false; PEERS]);
}

#[test]
fn a_machine_whose_address_somebody_else_has_is_no_prepared_one() {
    // The place is that of machine 2, which is known; a stranger from its address does not take it.
    let mut all = peers(&[noted(1, true), noted(2, true)]);
    assert!(!note_source(&mut all, &id(9), &address(2), true));
    assert_eq!(numbers(&all), [0, 2, 1, 0, 0, 0, 0]);
    // One that does not say where it is.
    let mut all = peers(&[
        noted(1, true),
        Peer {
            ip_len: 0,
            ..noted(2, false)
        },
    ]);
    assert!(!note_source(&mut all, &id(9), &[], true));
    assert_eq!(numbers(&all), [0, 2, 1, 0, 0, 0, 0]);
}

#[test]
fn where_all_places_are_taken_the_last_source_is_forgotten() {
    let full: Vec<Peer> = (1..=7).map(|number| noted(number, true)).collect();
    let mut all = peers(&full);
    assert!(!note_source(&mut all, &id(9), &address(9), true));
    assert_eq!(numbers(&all), [1, 2, 3, 4, 5, 6, 7], "the caller writes over the first");
    let mut all = peers(&[]);
    assert!(!note_source(&mut all, &id(9), &address(9), true));
    assert!(all.iter().all(Peer::is_free));
}

/// Covers: S53.
#[test]
fn asynchronous_targets_count_behind_the_source_alone() {
    let slow = |number, is_known| Peer {
        replication: Replication::Asynchronous,
        ..noted(number, is_known)
    };
    assert!(!has_asynchronous(&peers(&[slow(1, true), noted(2, true)])));
    assert!(has_asynchronous(&peers(&[
        noted(1, true),
        noted(2, true),
        slow(3, false)
    ])));
}

#[test]
fn a_place_is_taken_by_one_who_is_known_by_his_address_alone() {
    let mut peers = peers(&[noted(1, true), noted(2, false)]);
    peers[4] = Peer {
        port: 0,
        ..noted(3, true)
    };
    let places: Vec<_> = taken(&peers).iter().map(|leg| leg.index()).collect();
    assert_eq!(places, [0, 1, 4]);
}
