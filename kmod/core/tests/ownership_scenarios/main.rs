// SPDX-License-Identifier: GPL-2.0

//! What two machines decide after one of them or both died, told as the stories that an operator knows.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says all it means in one place"
)]

mod machine;

use machine::{begin_resync, end_resync, Machine};
use netraid_core::meta::MetaFlags;
use netraid_core::name::Text;
use netraid_core::ownership::*;
use netraid_core::state::Role;

/// A source that was in step with its target, and that target.
fn in_step() -> (Machine, Machine) {
    (Machine::new("adam", Role::Source), Machine::new("eve", Role::Target))
}

/// The source dies, and the target takes over and is written to.
fn failed_over() -> (Machine, Machine) {
    let (mut a, mut b) = in_step();
    a.die();
    b.warm = true;
    assert_eq!(b.start(StartMode::Source, &a), StartPlan::Source);
    b.write_alone();
    (a, b)
}

/// The refusal's sentence.
#[track_caller]
fn refused(plan: StartPlan) -> String {
    match plan {
        StartPlan::Refuse(refusal) => refusal.to_string(),
        other => panic!("{other:?} is no refusal"),
    }
}

/// Covers: S83.
#[test]
fn after_both_died_the_mirror_waits_for_both_and_starts_where_it_was() {
    let (mut a, mut b) = in_step();
    a.die();
    b.die();
    a.boot();
    assert!(refused(a.start(StartMode::Auto, &b)).contains("data corrupt"));
    b.boot();
    assert_eq!(b.start(StartMode::Auto, &a), StartPlan::Target);
    assert_eq!(a.start(StartMode::Auto, &b), StartPlan::Source);
    assert!(!a.has(MetaFlags::DATA_CORRUPT));
}

/// Covers: S84, S93, S94.
#[test]
fn the_last_source_can_be_forced_online_and_is_whole_then() {
    let (mut a, mut b) = in_step();
    a.die();
    b.die();
    a.boot();
    refused(a.start(StartMode::Auto, &b));
    assert!(a.has(MetaFlags::DATA_CORRUPT) && a.has(MetaFlags::LAST_OWNER));
    assert_eq!(a.start(StartMode::Force, &b), StartPlan::Source);
    assert!(!a.has(MetaFlags::DATA_CORRUPT) && a.has(MetaFlags::LAST_OWNER));
    a.write_alone();
    assert_ne!(a.base, 0, "what the target misses is noted");
}

/// Covers: S86, S88, S89.
#[test]
fn a_target_that_saw_its_source_die_takes_over_and_stays_source() {
    let (mut a, mut b) = failed_over();
    assert_eq!(b.role, Role::Source);
    assert!(b.has(MetaFlags::LAST_OWNER) && b.base != 0);
    b.die();
    b.boot();
    assert!(b.has(MetaFlags::LAST_OWNER), "the flag outlives the restart");
    a.boot();
    a.start(StartMode::Yield, &b);
    assert_eq!(b.start(StartMode::Auto, &a), StartPlan::Source);
}

/// Covers: S87, S90.
#[test]
fn the_old_source_comes_back_as_target_without_an_operator() {
    let (mut a, b) = failed_over();
    a.boot();
    assert_eq!(a.start(StartMode::Auto, &b), StartPlan::Target);
    assert!(!a.has(MetaFlags::LAST_OWNER) && b.has(MetaFlags::LAST_OWNER));
    assert!(a.has(MetaFlags::YIELDED), "what it wrote at the end gives way");
}

/// The old source wrote something that the target never got, before it died. Covers: S87, S90.
#[test]
fn the_old_source_gives_way_with_its_last_writes_too() {
    let (mut a, mut b) = in_step();
    a.write_alone();
    a.die();
    b.warm = true;
    b.start(StartMode::Source, &a);
    b.write_alone();
    a.boot();
    assert_eq!(a.start(StartMode::Auto, &b), StartPlan::Target);
    assert!(a.has(MetaFlags::YIELDED) && !a.has(MetaFlags::SPLIT_BRAIN));
}

/// Covers: S91.
#[test]
fn a_target_in_the_middle_of_a_resync_takes_over_in_no_way() {
    let (mut a, mut b) = failed_over();
    a.boot();
    a.start(StartMode::Auto, &b);
    begin_resync(&b, &mut a);
    b.die();
    for mode in [StartMode::Source, StartMode::Force, StartMode::Keep] {
        assert!(refused(a.start(mode, &b)).contains("no usable copy"), "{mode:?}");
        assert!(
            refused(a.start_overridden(mode, &b)).contains("no usable copy"),
            "{mode:?}"
        );
    }
    a.die();
    a.boot();
    assert_eq!(a.start(StartMode::Auto, &b), StartPlan::Target, "it waits");
    b.boot();
    assert_eq!(b.start(StartMode::Auto, &a), StartPlan::Source);
    end_resync(&mut b, &mut a);
    b.die();
    a.warm = true;
    assert_eq!(a.start(StartMode::Source, &b), StartPlan::Source, "now it may");
}

/// Covers: S92.
#[test]
fn the_last_source_that_reaches_nobody_is_data_corrupt_and_says_what_to_do() {
    let (mut a, mut b) = in_step();
    a.die();
    b.die();
    a.boot();
    for mode in [StartMode::Auto, StartMode::Source] {
        let sentence = refused(a.start(mode, &b));
        assert!(
            sentence.contains("data corrupt") && sentence.contains("netraid-ctl force data"),
            "{sentence}"
        );
        assert!(a.has(MetaFlags::DATA_CORRUPT));
    }
    a.die();
    assert!(a.has(MetaFlags::DATA_CORRUPT), "the flag outlives the restart");
}

/// Covers: S94.
#[test]
fn force_on_a_machine_that_was_not_the_last_source_needs_more() {
    let (mut a, mut b) = in_step();
    a.die();
    b.die();
    b.boot();
    let sentence = refused(b.start(StartMode::Force, &a));
    assert!(sentence.contains("--override"), "{sentence}");
    assert_eq!(b.start_overridden(StartMode::Force, &a), StartPlan::Source);
}

/// Covers: S95.
#[test]
fn a_target_that_is_back_first_waits_for_the_last_source() {
    let (mut a, mut b) = in_step();
    a.write_alone();
    a.die();
    b.die();
    b.boot();
    let sentence = refused(b.start(StartMode::Source, &a));
    assert!(sentence.contains("was its last source"), "{sentence}");
    assert!(!b.has(MetaFlags::DATA_CORRUPT), "only the last source can be that");
    assert_eq!(b.start(StartMode::Auto, &a), StartPlan::Target);
    a.boot();
    assert_eq!(a.start(StartMode::Auto, &b), StartPlan::Source);
}

/// Covers: S95.
#[test]
fn a_target_does_not_take_over_from_a_source_that_wrote_without_it() {
    let (mut a, mut b) = in_step();
    a.write_alone();
    a.die();
    b.die();
    a.boot();
    // In service as a target, for instance after a demotion.
    (a.role, a.in_service) = (Role::Target, true);
    b.boot();
    let sentence = refused(b.start(StartMode::Source, &a));
    assert!(
        sentence.contains("newer data") && sentence.contains("start it there"),
        "{sentence}"
    );
}

/// Covers: S96.
#[test]
fn force_makes_no_second_source() {
    let (mut a, b) = failed_over();
    a.boot();
    for plan in [
        a.start(StartMode::Force, &b),
        a.start_overridden(StartMode::Force, &b),
        a.start(StartMode::Source, &b),
    ] {
        let sentence = refused(plan);
        assert!(sentence.contains("eve is the source of mirror 'data'"), "{sentence}");
    }
}

/// Covers: S97.
#[test]
fn two_sources_that_meet_after_a_partition_wait_for_an_operator() {
    let (mut a, mut b) = in_step();
    // The connection is cut, both go on.
    a.write_alone();
    b.warm = true;
    assert_eq!(b.decide(StartMode::Source, false, Heard::Nothing), StartPlan::Source);
    b.write_alone();
    for machine in [&mut a, &mut b] {
        // As the refusal of the handshake has it.
        machine.flags.set(MetaFlags::SPLIT_BRAIN, true);
    }
    b.die();
    b.boot();
    let sentence = refused(b.start(StartMode::Auto, &a));
    assert!(
        sentence.contains("split brain") && sentence.contains("resolve data --keep"),
        "{sentence}"
    );
    assert!(b.has(MetaFlags::LAST_OWNER) && !b.has(MetaFlags::YIELDED));
    assert_eq!(
        b.start(StartMode::Yield, &a),
        StartPlan::Target,
        "until somebody says so"
    );
    assert!(b.has(MetaFlags::YIELDED) && !b.has(MetaFlags::SPLIT_BRAIN) && !b.has(MetaFlags::LAST_OWNER));
}

/// Both come back after a split brain that nobody noticed while they were up. Covers: S97.
#[test]
fn a_split_brain_that_shows_only_at_the_start_is_kept_in_mind() {
    let (mut a, mut b) = in_step();
    a.write_alone();
    b.warm = true;
    b.decide(StartMode::Source, false, Heard::Nothing);
    b.write_alone();
    a.die();
    b.die();
    a.boot();
    b.boot();
    b.in_service = true;
    b.role = Role::Target;
    let sentence = refused(a.start(StartMode::Auto, &b));
    assert!(sentence.contains("split brain"), "{sentence}");
    assert!(a.has(MetaFlags::SPLIT_BRAIN));
    b.flags.set(MetaFlags::YIELDED, true);
    assert_eq!(a.start(StartMode::Keep, &b), StartPlan::Source);
    assert!(!a.has(MetaFlags::SPLIT_BRAIN));
}

/// Covers: S93, S97.
#[test]
fn one_that_was_forced_without_an_answer_does_not_give_way_by_itself() {
    let (mut a, mut b) = in_step();
    a.die();
    b.warm = true;
    b.start(StartMode::Source, &a);
    b.write_alone();
    a.boot();
    refused(a.decide(StartMode::Auto, false, Heard::Nothing));
    assert_eq!(a.decide(StartMode::Force, false, Heard::Nothing), StartPlan::Source);
    a.write_alone();
    a.die();
    a.boot();
    assert!(refused(a.start(StartMode::Auto, &b)).contains("split brain"));
    assert!(!a.has(MetaFlags::YIELDED));
}

#[test]
fn what_an_operator_stopped_stays_so_until_he_starts_it() {
    let (mut a, b) = in_step();
    a.flags.set(MetaFlags::STOPPED, true);
    a.in_service = false;
    let sentence = refused(a.start(StartMode::Auto, &b));
    assert!(sentence.contains("netraid-ctl start data"), "{sentence}");
    assert_eq!(a.start(StartMode::Source, &b), StartPlan::Source);
    assert!(!a.has(MetaFlags::STOPPED));
}

#[test]
fn the_words_of_a_machine_that_does_not_want_to_answer_are_passed_on() {
    let (mut a, _) = in_step();
    let words = Text::new("the disk on eve belongs to another mirror").unwrap();
    let sentence = refused(a.decide(StartMode::Auto, false, Heard::Refused(words)));
    assert!(sentence.contains(words.as_str()), "{sentence}");
    assert!(!a.has(MetaFlags::DATA_CORRUPT), "it was reached, so nothing is unknown");
}
