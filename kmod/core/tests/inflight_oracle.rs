// SPDX-License-Identifier: GPL-2.0

//! The order of overlapping requests against an oracle that compares every request with every
//! other.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says all it means in one place"
)]

use netraid_core::inflight::{Entry, Inflight, Slot, MAX_CAPACITY};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

#[derive(Clone, Debug)]
enum Op {
    Insert(u64, u64),
    /// As above, for one that also waits for those that were passed.
    InsertLast(u64, u64),
    /// Passes one of those under way, which only works where it has started.
    Pass(prop::sample::Index),
    /// Removes one of the requests under way, started or not.
    Remove(prop::sample::Index),
    /// Removes one of those that have started, as the module does.
    Finish(prop::sample::Index),
    Pop,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0u64..40, 0u64..12).prop_map(|(start, len)| Op::Insert(start, start + len)),
        2 => (0u64..40, 0u64..12).prop_map(|(start, len)| Op::InsertLast(start, start + len)),
        3 => any::<prop::sample::Index>().prop_map(Op::Pass),
        1 => Just(Op::Insert(u64::MAX - 1, u64::MAX)),
        1 => Just(Op::Insert(20, 10)),
        1 => any::<prop::sample::Index>().prop_map(Op::Remove),
        3 => any::<prop::sample::Index>().prop_map(Op::Finish),
        4 => Just(Op::Pop),
    ]
}

/// One request in the oracle; the requests are kept in order of arrival.
#[derive(Clone, Copy, Debug)]
struct Known {
    slot: Slot,
    start: u64,
    end: u64,
    started: bool,
    passed: bool,
    last: bool,
}

/// Whether two ranges share a number, found by looking.
fn overlap(a: (u64, u64), b: (u64, u64)) -> bool {
    (a.0..a.1).any(|number| (b.0..b.1).contains(&number))
}

fn blocked(known: &[Known], index: usize) -> bool {
    let own = (known[index].start, known[index].end);
    let in_its_way = |earlier: &&Known| known[index].last || !earlier.passed;
    known[..index]
        .iter()
        .filter(in_its_way)
        .any(|earlier| overlap((earlier.start, earlier.end), own))
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn requests_start_exactly_when_nothing_earlier_overlaps_them(
        capacity in 0usize..20,
        ops in prop::collection::vec(op(), 0..150),
    ) {
        let mut inflight = Inflight::new(vec![Entry::default(); capacity]);
        let mut known: Vec<Known> = Vec::new();
        for op in ops {
            match op {
                Op::Insert(start, end) | Op::InsertLast(start, end) => {
                    let last = matches!(op, Op::InsertLast(..));
                    let inserted = if last { inflight.insert_last(start, end) } else { inflight.insert(start, end) };
                    match inserted {
                        None => prop_assert_eq!(known.len(), capacity),
                        Some((slot, now)) => {
                            prop_assert!(known.iter().all(|other| other.slot != slot), "a slot is used once");
                            known.push(Known { slot, start, end, started: now, passed: false, last });
                            prop_assert_eq!(now, !blocked(&known, known.len() - 1));
                        }
                    }
                }
                Op::Pass(index) if !known.is_empty() => {
                    let index = index.index(known.len());
                    let one = &mut known[index];
                    prop_assert_eq!(inflight.pass(one.slot), one.started && !one.passed);
                    one.passed |= one.started;
                }
                Op::Pass(_) => {}
                Op::Remove(index) if !known.is_empty() => {
                    let gone = known.remove(index.index(known.len()));
                    prop_assert!(inflight.remove(gone.slot));
                    prop_assert!(!inflight.remove(gone.slot), "a slot is removed once");
                }
                Op::Finish(index) => {
                    let started: Vec<usize> = (0..known.len()).filter(|&i| known[i].started).collect();
                    if !started.is_empty() {
                        let gone = known.remove(started[index.index(started.len())]);
                        prop_assert!(inflight.remove(gone.slot));
                    }
                }
                Op::Remove(_) => {}
                Op::Pop => {
                    let next = (0..known.len()).find(|&i| !known[i].started && !blocked(&known, i));
                    prop_assert_eq!(inflight.pop_ready(), next.map(|i| known[i].slot));
                    if let Some(i) = next {
                        known[i].started = true;
                    }
                }
            }
            prop_assert_eq!(inflight.len(), known.len());
            prop_assert_eq!(inflight.is_empty(), known.is_empty());
            prop_assert_eq!(inflight.is_full(), known.len() == capacity);
            prop_assert!(inflight.iter().eq(known.iter().map(|k| k.slot)), "order of arrival");
            for request in &known {
                prop_assert_eq!(inflight.range(request.slot), Some((request.start, request.end)));
                prop_assert_eq!(inflight.is_started(request.slot), request.started);
            }
        }
        // Whatever happened, letting everything that may start finish empties the set.
        while inflight.pop_ready().is_some() {}
        while !inflight.is_empty() {
            let started = inflight.iter().find(|&slot| inflight.is_started(slot));
            prop_assert!(started.is_some(), "nobody waits for ever");
            inflight.remove(started.unwrap());
            while inflight.pop_ready().is_some() {}
        }
    }
}

#[test]
fn a_request_waits_for_an_earlier_one_that_waits_itself() {
    let mut inflight = Inflight::new(vec![Entry::default(); 4]);
    let (first, _) = inflight.insert(0, 10).unwrap();
    let (second, now) = inflight.insert(5, 20).unwrap();
    assert!(!now);
    let (third, now) = inflight.insert(15, 25).unwrap();
    assert!(!now, "it overlaps only the one that waits");
    inflight.remove(first);
    assert_eq!(inflight.pop_ready(), Some(second));
    assert_eq!(inflight.pop_ready(), None);
    inflight.remove(second);
    assert_eq!(inflight.pop_ready(), Some(third));
}

#[test]
fn what_becomes_ready_at_different_times_comes_in_order_of_arrival() {
    let mut inflight = Inflight::new(vec![Entry::default(); 4]);
    let (a, _) = inflight.insert(0, 1).unwrap();
    let (b, _) = inflight.insert(10, 11).unwrap();
    let (waits_for_a, _) = inflight.insert(0, 1).unwrap();
    let (waits_for_b, _) = inflight.insert(10, 11).unwrap();
    inflight.remove(b);
    inflight.remove(a);
    assert_eq!(inflight.pop_ready(), Some(waits_for_a));
    assert_eq!(inflight.pop_ready(), Some(waits_for_b));
}

/// Covers: S38.
#[test]
fn what_was_passed_is_in_the_way_of_copies_alone() {
    let mut inflight = Inflight::new(vec![Entry::default(); 5]);
    let (early, _) = inflight.insert(0, 10).unwrap();
    let (waits, now) = inflight.insert(5, 6).unwrap();
    assert!(!now);
    let (copy, now) = inflight.insert_last(0, 10).unwrap();
    assert!(!now);
    assert!(!inflight.pass(waits), "it has not started");
    assert!(inflight.pass(early));
    assert!(!inflight.pass(early), "once is enough");
    assert_eq!(inflight.pop_ready(), Some(waits));
    assert!(inflight.insert(20, 30).unwrap().1);
    inflight.remove(waits);
    assert_eq!(inflight.pop_ready(), None, "the copy waits for the one that was passed");
    let (behind, now) = inflight.insert(0, 1).unwrap();
    assert!(!now, "and who comes after the copy waits for the copy");
    inflight.remove(early);
    assert_eq!(inflight.pop_ready(), Some(copy));
    inflight.remove(copy);
    assert_eq!(inflight.pop_ready(), Some(behind));
}

#[test]
fn an_empty_range_conflicts_with_nothing() {
    let mut inflight = Inflight::new(vec![Entry::default(); 3]);
    assert!(inflight.insert(0, 100).unwrap().1);
    assert!(inflight.insert(50, 50).unwrap().1);
    assert!(!inflight.insert(50, 51).unwrap().1);
}

#[test]
fn slots_that_do_not_exist_are_ignored() {
    let mut inflight = Inflight::new(vec![Entry::default(); 2]);
    for number in [0, 1, 2, u16::MAX] {
        let slot = Slot::from_number(number);
        assert!(!inflight.remove(slot));
        assert_eq!(inflight.range(slot), None);
        assert!(!inflight.is_started(slot));
    }
}

#[test]
fn the_capacity_ends_where_the_numbers_end() {
    let mut inflight = Inflight::new(vec![Entry::default(); MAX_CAPACITY + 10]);
    assert_eq!(inflight.capacity(), MAX_CAPACITY);
    for _ in 0..MAX_CAPACITY {
        // Empty ranges, so that nothing has to be compared.
        assert!(inflight.insert(0, 0).is_some());
    }
    assert!(inflight.is_full());
    assert!(inflight.insert(0, 0).is_none());
    assert!(inflight.remove(Slot::from_number(u16::MAX - 1)));
    assert_eq!(inflight.insert(0, 0), Some((Slot::from_number(u16::MAX - 1), true)));
}
