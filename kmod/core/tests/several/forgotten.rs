// SPDX-License-Identifier: GPL-2.0

//! What the checks are worth: each rule is forgotten once, and short histories find that. Those that chance finds too rarely
//! are in [`scripted`](crate::scripted).

use crate::history;
use crate::mistake::Mistake;
use crate::shape::Shape;

/// Steps of a history; a quarter of the usual.
const STEPS: usize = 100;

/// Histories that may be needed.
const MOST: u64 = 600;

/// Looks for a history that fails, from one on that is not far from the first that does.
fn is_found(mistake: Mistake, from: u64) {
    let found = (from..from + MOST).find_map(|seed| {
        let shape = Shape {
            internal: seed % 4 == 3,
            ..Shape::plain(2)
        };
        let broken = history(seed, shape, STEPS, Some(mistake), false).broken?;
        Some((seed, broken))
    });
    println!("{mistake:?}: {found:?}");
    assert!(found.is_some(), "{mistake:?} is not found");
}

macro_rules! forgotten {
    ($($name:ident: $mistake:ident, $from:literal;)+) => {
        $(#[test]
        fn $name() {
            is_found(Mistake::$mistake, $from);
        })+
    };
}

forgotten! {
    a_write_that_others_have_not_followed_is_found: LeavesFollowersBehind, 25;
    a_new_source_in_an_old_generation_is_found: GoesOnAfterPromotion, 0;
    a_source_that_goes_on_after_an_unextend_is_found: GoesOnAfterUnextend, 60;
    an_intent_that_only_one_leg_allows_to_forget_is_found: AsksOneLeg, 125;
    a_write_marked_for_one_leg_is_found: MarksForOneLeg, 115;
    an_unconfirmed_write_that_is_not_marked_is_found: ForgetsUnconfirmed, 15;
    a_copy_that_clears_the_marks_of_all_is_found: ClearsForAll, 0;
    a_resync_that_is_not_noted_is_found: HidesResync, 0;
    a_copy_before_the_beginning_of_a_resync_is_found: CopiesBeforeStart, 340;
    an_acknowledgement_that_asked_one_target_is_found: AsksOneTarget, 0;
    an_acknowledgement_before_the_record_is_found: TrustsMemory, 45;
}
