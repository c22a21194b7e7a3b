// SPDX-License-Identifier: GPL-2.0

//! What the checks are worth: each rule is forgotten once, and short histories find that. Those that chance finds too rarely
//! are in [`scripted`](crate::scripted).

use crate::history;
use crate::mistake::Mistake;
use crate::shape::Shape;

/// Steps of a history; a quarter of the usual.
const STEPS: usize = 100;

/// Histories that may be needed.
const MOST: u64 = 1500;

/// Looks for a history that fails, from one on that is not far from the first that does.
fn is_found(mistake: Mistake, from: u64, far: u8) {
    let found = (from..from + MOST).find_map(|seed| {
        let shape = Shape {
            internal: seed % 4 == 3,
            far,
            ..Shape::plain(2)
        };
        let broken = history(seed, shape, STEPS, Some(mistake), false).broken?;
        Some((seed, broken))
    });
    println!("{mistake:?}: {found:?}");
    assert!(found.is_some(), "{mistake:?} is not found");
}

macro_rules! forgotten {
    ($($name:ident: $mistake:ident, $from:literal, $far:literal;)+) => {
        $(#[test]
        fn $name() {
            is_found(Mistake::$mistake, $from, $far);
        })+
    };
}

forgotten! {
    a_write_that_others_have_not_followed_is_found: LeavesFollowersBehind, 30, 0;
    a_new_source_in_an_old_generation_is_found: GoesOnAfterPromotion, 0, 0;
    a_source_that_goes_on_after_an_unextend_is_found: GoesOnAfterUnextend, 250, 0;
    an_intent_that_only_one_leg_allows_to_forget_is_found: AsksOneLeg, 1360, 0;
    a_write_marked_for_one_leg_is_found: MarksForOneLeg, 1650, 0;
    an_unconfirmed_write_that_is_not_marked_is_found: ForgetsUnconfirmed, 20, 0;
    a_copy_that_clears_the_marks_of_all_is_found: ClearsForAll, 0, 0;
    a_resync_that_is_not_noted_is_found: HidesResync, 0, 0;
    a_copy_before_the_beginning_of_a_resync_is_found: CopiesBeforeStart, 2970, 0;
    an_acknowledgement_that_asked_one_target_is_found: AsksOneTarget, 0, 0;
    an_acknowledgement_before_the_record_is_found: TrustsMemory, 140, 0;
    what_was_acknowledged_early_and_is_not_marked_is_found: ForgetsTold, 160, 2;
    a_copy_that_overtakes_what_was_acknowledged_early_is_found: CopiesPassed, 200, 2;
    an_order_that_is_not_sent_is_found: SendsNoBarrier, 0, 2;
    an_order_that_a_target_does_not_keep_is_found: IgnoresBarrier, 0, 2;
    a_target_that_lags_too_far_behind_is_found: PassesLimit, 670, 2;
    a_write_that_nobody_has_but_a_dead_disk_is_found: LagsWithoutDisk, 0, 2;
}
