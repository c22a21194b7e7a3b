// SPDX-License-Identifier: GPL-2.0
//! Numbers and sets of legs.

use netraid_core::legs::{LegNumber, LegSet, MAX_LEGS};

/// Covers: S107.
#[test]
fn there_are_seven_numbers_and_operators_count_from_one() {
    let ids: Vec<u32> = LegNumber::all().map(LegNumber::id).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5, 6, 7]);
    assert!(LegNumber::all().all(|leg| LegNumber::from_id(leg.id()) == Some(leg)));
    assert_eq!(LegNumber::from_id(0), None);
    assert_eq!(LegNumber::from_id(8), None);
    assert_eq!(LegNumber::from_id(u32::MAX), None);
    assert_eq!(LegNumber::new(MAX_LEGS), None);
    assert_eq!(
        std::iter::successors(Some(LegNumber::FIRST), |leg| leg.next()).count(),
        MAX_LEGS
    );
}

/// Every set against a vector of booleans. Covers: S107.
#[test]
fn a_set_holds_what_was_put_into_it() {
    for bits in 0..1_u32 << MAX_LEGS {
        let is_in = |leg: LegNumber| bits >> leg.index() & 1 != 0;
        let set: LegSet = LegNumber::all().filter(|leg| is_in(*leg)).collect();
        assert_eq!(set.len(), bits.count_ones());
        assert_eq!(set.is_empty(), bits == 0);
        assert!(LegNumber::all().all(|leg| set.contains(leg) == is_in(leg)));
        assert!(set.iter().eq(LegNumber::all().filter(|leg| is_in(*leg))));
        for leg in LegNumber::all() {
            let mut less = set;
            less.remove(leg);
            assert!(!less.contains(leg) && less.is_within(set));
            assert_eq!(set.is_within(less), !is_in(leg));
            assert_eq!(set.without(LegSet::of(leg)), less);
            assert_eq!(set.meets(LegSet::of(leg)), is_in(leg));
            assert_eq!(set.meets(less), !less.is_empty());
            let mut same = set;
            same.put(leg, false);
            assert_eq!(same, set);
        }
    }
}
