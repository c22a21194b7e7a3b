// SPDX-License-Identifier: GPL-2.0

//! The bitmap against a set of numbers that does the same, slowly.

#![allow(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says all it means in one place"
)]

use netraid_core::bitmap::{words_for, Bitmap, Next};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use std::collections::BTreeSet;
use std::ops::Range;

#[derive(Clone, Debug)]
enum Op {
    Set(u64),
    Clear(u64),
    SetRange(Range<u64>),
    ClearRange(Range<u64>),
    SetAll,
    ClearAll,
    Merge(usize, Vec<u64>),
}

/// A bit that mostly exists, and sometimes is beyond any map.
fn bit() -> impl Strategy<Value = u64> {
    prop_oneof![20 => 0u64..300, 1 => Just(u64::MAX), 1 => any::<u64>()]
}

fn op() -> impl Strategy<Value = Op> {
    let words = prop::collection::vec(any::<u64>(), 0..5);
    prop_oneof![
        8 => bit().prop_map(Op::Set),
        8 => bit().prop_map(Op::Clear),
        4 => (bit(), bit()).prop_map(|(a, b)| Op::SetRange(a..b)),
        4 => (bit(), bit()).prop_map(|(a, b)| Op::ClearRange(a..b)),
        1 => Just(Op::SetAll),
        1 => Just(Op::ClearAll),
        2 => (0usize..6, words).prop_map(|(first, words)| Op::Merge(first, words)),
    ]
}

/// Does the operation on the set; how many bits it changed.
fn apply(set: &mut BTreeSet<u64>, bits: u64, op: &Op) -> u64 {
    let before: Vec<u64> = set.iter().copied().collect();
    match op {
        Op::Set(bit) => set.extend((*bit < bits).then_some(*bit)),
        Op::Clear(bit) => drop(set.remove(bit)),
        Op::SetRange(range) => set.extend(range.start..range.end.min(bits)),
        Op::ClearRange(range) => set.retain(|bit| !range.contains(bit)),
        Op::SetAll => set.extend(0..bits),
        Op::ClearAll => set.clear(),
        Op::Merge(first, words) => {
            for (index, word) in words.iter().enumerate() {
                let base = (first + index) as u64 * 64;
                set.extend(
                    (0..64)
                        .filter(|bit| word >> bit & 1 == 1)
                        .map(|bit| base + bit)
                        .filter(|&bit| bit < bits),
                );
            }
        }
    }
    (before.len() as u64).abs_diff(set.len() as u64)
}

/// Does the operation on the map; how many bits it says it changed.
fn apply_to_map(map: &mut Bitmap<Vec<u64>>, op: Op) -> u64 {
    let ones = map.ones();
    match op {
        Op::Set(bit) => u64::from(map.set(bit)),
        Op::Clear(bit) => u64::from(map.clear(bit)),
        Op::SetRange(range) => map.set_range(range),
        Op::ClearRange(range) => map.clear_range(range),
        Op::SetAll => {
            map.set_all();
            map.ones() - ones
        }
        Op::ClearAll => {
            map.clear_all();
            ones - map.ones()
        }
        Op::Merge(first, words) => map.merge(first, words.into_iter()),
    }
}

/// All set bits, found by scans of at most `max_words` words.
fn scan(map: &Bitmap<Vec<u64>>, max_words: usize) -> Vec<u64> {
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        match map.next_one(at, max_words) {
            Next::Bit(bit) => {
                assert!(bit >= at);
                found.push(bit);
                at = bit + 1;
            }
            Next::Continue(next) => {
                assert!(next > at, "a scan must get on");
                at = next;
            }
            Next::End => return found,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn does_what_a_set_does(
        bits in 0u64..260,
        start in prop::collection::vec(any::<u64>(), 5..7),
        ops in prop::collection::vec(op(), 0..60),
        max_words in 0usize..7,
    ) {
        let mut set: BTreeSet<u64> = (0..bits).filter(|bit| start[*bit as usize / 64] >> (bit % 64) & 1 == 1).collect();
        let mut map = Bitmap::new(start, bits).unwrap();
        prop_assert_eq!(map.ones(), set.len() as u64, "the count of what was there");
        for op in ops {
            let changed = apply(&mut set, bits, &op);
            prop_assert_eq!(apply_to_map(&mut map, op), changed);
            prop_assert_eq!(map.ones(), set.len() as u64);
        }
        let expected: Vec<u64> = set.iter().copied().collect();
        prop_assert_eq!(scan(&map, max_words), expected);
        for bit in 0..bits + 70 {
            prop_assert_eq!(map.get(bit), set.contains(&bit));
            let any = set.range(bit..bit + 50).next().is_some();
            prop_assert_eq!(map.any(bit..bit + 50), any);
        }
        for (index, word) in map.into_words().into_iter().enumerate() {
            let base = index as u64 * 64;
            let expected = (0..64).filter(|bit| set.contains(&(base + bit))).fold(0, |word, bit| word | 1u64 << bit);
            prop_assert_eq!(word, expected, "nothing beyond the end is set");
        }
    }
}

#[test]
fn too_few_words_are_refused_and_spare_ones_cleared() {
    assert!(Bitmap::new(vec![0u64; 1], 65).is_none());
    assert!(Bitmap::new(Vec::new(), u64::MAX).is_none());
    assert_eq!(Bitmap::new(vec![u64::MAX; 3], 65).unwrap().ones(), 65);
    assert_eq!(Bitmap::new(Vec::new(), 0).unwrap().next_one(0, 1), Next::End);
    assert_eq!((words_for(0), words_for(64), words_for(65)), (0, 1, 2));
}

#[test]
fn a_bounded_scan_looks_at_no_more_words_than_allowed() {
    let mut map = Bitmap::new(vec![0u64; 10], 640).unwrap();
    map.set(639);
    assert_eq!(map.next_one(0, 4), Next::Continue(256));
    assert_eq!(map.next_one(256, 4), Next::Continue(512));
    assert_eq!(map.next_one(512, 2), Next::Bit(639));
    assert_eq!(map.next_one(70, 1), Next::Continue(128));
    assert_eq!(map.next_one(0, 0), Next::Continue(64));
    map.clear(639);
    assert_eq!(map.next_one(512, 2), Next::End);
}
