// SPDX-License-Identifier: GPL-2.0

//! What the simulation has found, as the shortest histories in which it shows. Each is told twice: with the mistake it
//! is found, without it all is well.

use super::bugs::Bugs;
use super::events::{
    End::{Source, Target},
    Event::*,
};
use super::script::{calm, happen, tell, then_calm, ALL_LOST, EQUAL, GREET};
use super::world::{Config, World};
use netraid_core::ownership::StartMode;

fn found(bug: Bugs, config: Config, words: &str, script: impl Fn(&mut World)) {
    let outcome = |bugs| {
        let mut world = World::new(Config { bugs, ..config });
        tell!(&mut world => Extend(0, 1));
        script(&mut world);
        world.failure
    };
    let failure = outcome(bug);
    assert!(
        failure.as_deref().is_some_and(|it| it.contains(words)),
        "with the mistake: {failure:?}"
    );
    assert_eq!(outcome(Bugs::NONE), None, "without it");
}

#[test]
fn a_leg_that_is_taken_away_lets_no_write_end_before_that_is_recorded() {
    found(Bugs::UNEXTEND_LATE, EQUAL, "is confirmed", |world| {
        calm(world);
        tell!(world => Write(0, 7), Journal(0), LocalDone(0, 0), Unextend(0), Proceed(0, true));
    });
}

#[test]
fn that_copies_are_equal_is_said_of_one_target() {
    let config = Config { nodes: 3, ..EQUAL };
    found(Bugs::PREPARED_STAYS, config, "would not copy", |world| {
        happen(world, &GREET);
        tell!(world => Write(0, 1), Journal(0), LocalDone(0, 0));
        tell!(world => Send(0), Deliver(0, 1, 0, Target), Deliver(0, 1, 0, Target), TargetDone(1, 0));
        tell!(world => Deliver(0, 1, 0, Source), Round(0), Journal(0), Round(0), Round(0), Round(0), Send(0));
        tell!(world => Deliver(0, 1, 0, Target), TargetDone(1, 0), Deliver(0, 1, 0, Source), Round(0), Round(0));
        tell!(world => Journal(0), Journal(0), Journal(0));
    });
}

#[test]
fn a_round_counts_only_for_the_connection_it_began_with() {
    found(Bugs::ROUND_ACROSS, EQUAL, "would not copy", |world| {
        calm(world);
        then_calm!(world => Write(0, 3));
        // The second round proposes what was not touched since the first.
        tell!(world => Lose(0, 1, 0, Source), Round(0), Round(0), Round(0), Round(0), Attempt(0));
        happen(world, &GREET);
        tell!(world => Round(0));
    });
}

#[test]
fn a_target_is_given_the_generation_that_its_source_has() {
    found(Bugs::STALE_GENERATION, EQUAL, "in step", |world| {
        calm(world);
        tell!(world => Lose(0, 1, 0, Source), Attempt(0));
        happen(world, &GREET[..7]);
        then_calm!(world => Write(0, 3), Journal(0), Journal(0));
    });
}

#[test]
fn whoever_was_a_target_is_not_new() {
    let config = Config {
        nodes: 3,
        new: true,
        ..EQUAL
    };
    found(Bugs::NEW_STAYS, config, "would not copy", |world| {
        calm(world);
        then_calm!(world => TakeOver(1));
        then_calm!(world => Write(1, 3));
    });
}

#[test]
fn what_is_meant_for_a_new_connection_is_not_sent_to_the_old_one() {
    found(Bugs::OLD_LINK, EQUAL, "does not say so", |world| {
        happen(world, &GREET);
        tell!(world => Write(0, 3), Journal(0), LocalDone(0, 0));
        // The sender looks the connection up, and is interrupted.
        tell!(world => SendStep(0), Lose(0, 1, 0, Source), Attempt(0));
        happen(world, &GREET);
        then_calm!(world => Copy(0), Copy(0), LocalDone(0, 0));
    });
}

#[test]
fn what_is_missed_after_a_resync_is_a_new_generation() {
    found(Bugs::TOGETHER_LATE, EQUAL, "is confirmed", |world| {
        happen(world, &GREET);
        tell!(world => Send(0), Deliver(0, 1, 0, Target), Copy(0), Copy(0), Copy(0));
        // The end of the resync waits to be sent; a pause begins.
        tell!(world => Pause(0), Proceed(0, true), Proceed(0, true), Proceed(0, true), Journal(0));
        tell!(world => Proceed(0, true), Proceed(0, true), Write(0, 3), Journal(0));
        then_calm!(world => Send(0), Deliver(0, 1, 0, Target), Deliver(0, 1, 0, Target), LocalDone(0, 0));
    });
}

#[test]
fn a_target_that_is_being_started_accepts_no_source() {
    found(Bugs::START_ACCEPTS, EQUAL, "without a usable copy", |world| {
        calm(world);
        tell!(world => Lose(0, 1, 0, Target), Lose(0, 1, 0, Source), Write(0, 3));
        tell!(world => Journal(0), Journal(0), Journal(0), LocalDone(0, 0), Demote(0));
        // Asked, and not heard, since the source closes its door first.
        tell!(world => Start(1, StartMode::Source, false), Proceed(1, true), Attempt(0));
        happen(world, &GREET);
        tell!(world => Proceed(1, true), Send(0), Deliver(0, 1, 0, Target), Proceed(1, true));
        assert!(world.failure.is_some() || world.nodes[1].is_open());
    });
}

#[test]
fn a_flush_without_the_leg_is_recorded() {
    found(Bugs::FLUSH_ALONE, EQUAL, "without what was promised", |world| {
        calm(world);
        then_calm!(world => Write(0, 3));
        then_calm!(world => Crash(1, ALL_LOST), Flush(0), Lose(0, 1, 0, Source));
        then_calm!(world => Demote(0));
        then_calm!(world => Boot(1), Start(1, StartMode::Source, false));
    });
}

#[test]
fn what_a_pass_found_counts_only_for_the_connection_it_began_with() {
    found(Bugs::OLD_CLEAN, EQUAL, "differ", |world| {
        happen(world, &GREET);
        // Nothing is left to copy; the thread is interrupted before it can say so.
        tell!(world => Copy(0), Copy(0), Lose(0, 1, 0, Source), Write(0, 3), Journal(0), LocalDone(0, 0), Attempt(0));
        happen(world, &GREET);
        then_calm!(world => Copy(0));
    });
}

#[test]
fn generations_are_noted_in_the_order_of_the_disk() {
    let config = Config { nodes: 3, ..EQUAL };
    found(Bugs::UNEXTEND_GENERATION, config, "in step", |world| {
        calm(world);
        tell!(world => Write(0, 3), Journal(0), LocalDone(0, 0), Unextend(0), JournalStep(0));
        tell!(world => Proceed(0, true), JournalStep(0), JournalStep(0), Proceed(0, true), Extend(0, 2));
        calm(world);
    });
}

#[test]
fn two_that_start_at_the_same_time_do_not_both_become_source() {
    found(Bugs::ANSWERS_WHILE_STARTING, EQUAL, "both in service", |world| {
        calm(world);
        then_calm!(world => Demote(0));
        tell!(world => Start(0, StartMode::Source, false), Start(1, StartMode::Source, false));
        then_calm!(world => Proceed(0, true), Proceed(1, true));
    });
}

#[test]
fn a_target_that_said_that_it_loses_nothing_keeps_its_word() {
    let config = Config {
        cacheless: 0b11,
        ..EQUAL
    };
    found(Bugs::BROKEN_WORD, config, "without what was promised", |world| {
        calm(world);
        tell!(world => Cache(1, true));
        then_calm!(world => Write(0, 3));
        then_calm!(world => Flush(0));
        then_calm!(world => Crash(1, ALL_LOST), Lose(0, 1, 0, Source));
        then_calm!(world => Demote(0));
        then_calm!(world => Boot(1), Start(1, StartMode::Source, false));
    });
}
