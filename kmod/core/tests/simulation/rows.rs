// SPDX-License-Identifier: GPL-2.0

//! What is promised to operators, told step by step.

use super::disk::Mask;
use super::events::{
    End::{Source, Target},
    Event::*,
};
use super::script::{calm, happen, tell, then_calm, ALL_LOST, EQUAL, GREET};
use super::world::{Config, World};
use netraid_core::{meta::MetaFlags, ownership::StartMode};

/// A source and its target in step.
fn pair() -> World {
    let mut world = World::new(EQUAL);
    then_calm!(&mut world => Extend(0, 1));
    assert!(world.nodes[0].leg().is_some_and(|leg| leg.is_together()));
    world
}

fn start(node: usize, mode: StartMode) -> super::events::Event {
    Start(node, mode, false)
}

fn has(world: &World, node: usize, flag: MetaFlags) -> bool {
    world.nodes[node].meta.has(flag)
}

fn differing(world: &World) -> Mask {
    assert_eq!(world.failure, None);
    world.nodes[0].disk.differs(&world.nodes[1].disk)
}

/// Covers: S56.
#[test]
fn a_source_that_comes_back_copies_what_was_in_use() {
    let mut world = pair();
    then_calm!(&mut world => Write(0, 3));
    then_calm!(&mut world => Crash(0, ALL_LOST));
    then_calm!(&mut world => Boot(0), start(0, StartMode::Auto));
    assert!(world.nodes[0].is_open());
    assert_eq!(differing(&world), 0);
    let resynced = world.nodes[0].disk.visible(3) < world.ledger.first;
    assert!(resynced, "what was not durable is gone on both");
}

/// Covers: S59, S86, S87, S88, S89, S90.
#[test]
fn a_failover_and_the_way_back() {
    let mut world = pair();
    then_calm!(&mut world => Write(0, 1), Write(0, 2), Cut(0, 1), Lose(0, 1, 0, Source), Lose(0, 1, 0, Target));
    // What the target never got.
    then_calm!(&mut world => Write(0, 5), Flush(0));
    then_calm!(&mut world => Crash(0, ALL_LOST), start(1, StartMode::Source));
    assert!(world.nodes[1].is_open(), "{}", world.describe());
    then_calm!(&mut world => Write(1, 2), Heal(0, 1));
    let newer = world.nodes[1].disk.visible(5);
    then_calm!(&mut world => Boot(0), start(0, StartMode::Auto));
    assert_eq!(differing(&world), 0);
    assert_eq!(world.nodes[0].disk.visible(5), newer);
    assert!(has(&world, 1, MetaFlags::LAST_OWNER) && !has(&world, 0, MetaFlags::LAST_OWNER));
}

/// Covers: S78, S80, S91.
#[test]
fn a_target_in_the_middle_of_a_resync_is_never_started() {
    let mut world = World::new(Config::PAIR);
    tell!(&mut world => Extend(0, 1));
    happen(&mut world, &GREET);
    tell!(&mut world => Send(0), Deliver(0, 1, 0, Target), Copy(0), Copy(0), LocalDone(0, 0), Send(0));
    tell!(&mut world => Deliver(0, 1, 0, Target), Crash(0, ALL_LOST), Crash(1, 0), Boot(1));
    for mode in [StartMode::Source, StartMode::Force, StartMode::Keep] {
        then_calm!(&mut world => Start(1, mode, true));
        assert!(!world.nodes[1].is_open(), "{mode:?}");
    }
    then_calm!(&mut world => start(1, StartMode::Auto));
    then_calm!(&mut world => Boot(0), start(0, StartMode::Auto));
    assert_eq!(differing(&world), 0, "{}", world.describe());
}

/// Covers: S83, S92.
#[test]
fn after_both_died_the_last_source_waits_until_it_can_ask() {
    let mut world = pair();
    then_calm!(&mut world => Write(0, 1), Crash(0, 0), Crash(1, 0), Boot(0), start(0, StartMode::Auto));
    assert!(!world.nodes[0].is_open() && has(&world, 0, MetaFlags::DATA_CORRUPT));
    then_calm!(&mut world => Boot(1), start(1, StartMode::Auto));
    assert!(!world.nodes[1].is_open());
    then_calm!(&mut world => start(0, StartMode::Auto));
    assert!(world.nodes[0].is_open() && !has(&world, 0, MetaFlags::DATA_CORRUPT));
    assert_eq!(differing(&world), 0);
}

/// Covers: S83, S95.
#[test]
fn after_both_died_the_target_waits_for_the_last_source() {
    let mut world = pair();
    then_calm!(&mut world => Write(0, 1), Crash(0, 0), Crash(1, 0), Boot(1), start(1, StartMode::Source));
    assert!(!world.nodes[1].is_open());
    then_calm!(&mut world => start(1, StartMode::Auto));
    assert!(!world.nodes[1].is_open());
    then_calm!(&mut world => Boot(0), start(0, StartMode::Auto));
    assert!(world.nodes[0].is_open());
    assert_eq!(differing(&world), 0);
}

/// Covers: S93, S96.
#[test]
fn the_last_source_can_be_forced_and_no_other_one() {
    let mut world = pair();
    then_calm!(&mut world => Crash(0, 0), Crash(1, 0), Boot(1), start(1, StartMode::Force));
    assert!(!world.nodes[1].is_open());
    then_calm!(&mut world => Crash(1, 0), Boot(0), start(0, StartMode::Auto));
    then_calm!(&mut world => start(0, StartMode::Force));
    assert!(world.nodes[0].is_open() && !has(&world, 0, MetaFlags::DATA_CORRUPT));
}

/// Covers: S97.
#[test]
fn nothing_flows_in_a_split_brain() {
    let mut world = pair();
    then_calm!(&mut world => Cut(0, 1), Lose(0, 1, 0, Target), Lose(0, 1, 0, Source), Write(0, 1));
    then_calm!(&mut world => start(1, StartMode::Source));
    then_calm!(&mut world => Write(1, 2), Heal(0, 1));
    then_calm!(&mut world => Demote(1));
    assert_eq!(differing(&world), 0b110);
    assert!(has(&world, 0, MetaFlags::SPLIT_BRAIN) && has(&world, 1, MetaFlags::SPLIT_BRAIN));
    // An operator takes one of them out of service, and with that gives up what it wrote.
    then_calm!(&mut world => Stop(1));
    then_calm!(&mut world => Start(1, StartMode::Auto, true));
    assert_eq!(differing(&world), 0, "{}", world.describe());
    calm(&mut world);
}
