// SPDX-License-Identifier: GPL-2.0

//! What the simulation found, each as a history that is told on purpose; and the failover scenarios as it sees them.

use crate::cluster::Cluster;
use crate::disk::{Disk, CHUNKS};
use crate::shape::{Kind, Shape};
use netraid_core::leg::State;
use netraid_core::legs::LegNumber;
use netraid_core::meta::{MetaFlags, PeerFlags};
use netraid_core::ownership::StartMode;
use netraid_core::state::Role;

/// One target, and machines that may take its place.
fn one_target(nodes: usize, kind: Kind) -> Shape {
    Shape {
        nodes,
        kind,
        ..Shape::plain(1)
    }
}

/// Two or more machines, the first of which is source; the second is its target and in step.
fn in_step(nodes: usize, kind: Kind) -> Cluster {
    let cluster = Cluster::in_step(1, one_target(nodes, kind), None);
    assert_eq!(cluster.leg_state(0, 1), Some(State::Synced));
    cluster
}

fn unextend(cluster: &mut Cluster, to: usize) {
    let leg = cluster.nodes[0].as_source().and_then(|source| source.leg_to(to));
    let (leg, _) = leg.unwrap();
    assert_eq!(cluster.unextend(0, leg), Ok(true));
    cluster.calm();
}

impl Cluster {
    /// Chunks that the target of a source is not known to have.
    fn missing(&self, node: usize) -> u32 {
        let volume = self.nodes[node].as_source().map(|source| &source.volume);
        volume.map_or(0, |volume| volume.missed(LegNumber::FIRST).count_ones())
    }

    /// The disks of two machines hold the same.
    fn same(&self, a: usize, b: usize) {
        for chunk in 0..CHUNKS {
            let (here, there) = (self.nodes[a].disk.read(chunk), self.nodes[b].disk.read(chunk));
            assert_eq!(here, there, "chunk {chunk}\n{}", self.trace.join("\n"));
        }
    }
}

/// Seed 19 of the first version: a mark that was only still on the disk, and already cleared in memory, counted as the
/// leg's own, and the log of intents let go of the chunk.
#[test]
fn a_chunk_copied_just_before_the_leg_is_lost_is_copied_again_to_a_target_that_lost_its_cache() {
    for seed in 0..40 {
        let mut cluster = in_step(2, Kind::Plain);
        cluster.rng = crate::rng::Rng::new(seed);
        cluster.part(0, 1);
        cluster.has_written(0, &[1, 3]);
        cluster.cut.clear();
        // Up to the moment at which the resync has something confirmed.
        while cluster.missing(0) > 1 {
            cluster.work(false);
        }
        cluster.part(0, 1);
        cluster.crash(1);
        cluster.cut.clear();
        cluster.boot_up(1);
        cluster.same(0, 1);
    }
}

/// Seed 4983. Covers: S97.
#[test]
fn a_machine_that_took_over_does_not_give_way_by_itself_to_the_one_it_took_over_from() {
    let mut cluster = in_step(2, Kind::Plain);
    cluster.crash(0);
    cluster.boot_up(0);
    cluster.part(0, 1);
    assert!(
        cluster.begin(1, StartMode::Source),
        "its source is gone while it was in step"
    );
    cluster.has_written(0, &[0, 1]);
    cluster.has_written(1, &[2]);
    cluster.crash(1);
    cluster.cut.clear();
    cluster.boot_up(1);
    assert_eq!(cluster.nodes[1].role(), Role::Stopped);
    assert!(cluster.nodes[1].has(MetaFlags::SPLIT_BRAIN));
    // An operator decides.
    assert!(cluster.begin(1, StartMode::Yield));
    cluster.same(0, 1);
}

/// Seed 102295: the device of a pause was gone when its machine was made the source.
#[test]
fn writes_of_a_pause_begin_a_generation_also_where_their_machine_is_started_later() {
    let mut cluster = in_step(2, Kind::Plain);
    assert!(cluster.pause(0, LegNumber::FIRST, true).unwrap());
    cluster.calm();
    cluster.has_written(1, &[2, 4]);
    cluster.crash(0);
    cluster.calm();
    cluster.crash(1);
    cluster.boot(1);
    cluster.nodes[1].booting = false;
    assert!(cluster.start(1, StartMode::Force, true).unwrap());
    cluster.calm();
    assert_ne!(cluster.sb(0).current, cluster.sb(1).current);
    cluster.boot_up(0);
    cluster.same(0, 1);
    assert_eq!(cluster.nodes[1].role(), Role::Source);
}

/// Seed 12569: that a disk was prepared outlived its first copy.
#[test]
fn a_target_that_was_prepared_does_not_believe_the_next_one_to_be() {
    let mut cluster = in_step(2, Kind::Prepared);
    cluster.has_written(0, &[1, 2]);
    cluster.crash(0);
    cluster.calm();
    assert!(cluster.begin(1, StartMode::Source));
    cluster.has_written(1, &[4]);
    // The disk of the dead machine is replaced by one with the image of the beginning.
    cluster.nodes[0].store = None;
    cluster.nodes[0].disk = Disk::new(200);
    cluster.boot(0);
    assert_eq!(cluster.join(0), Ok(true));
    cluster.calm();
    assert_eq!(cluster.leg_state(1, 0), Some(State::Synced));
    cluster.same(0, 1);
}

#[test]
fn a_first_copy_that_never_ended_says_nothing_of_the_next_prepared_disk() {
    let mut cluster = Cluster::new(1, one_target(3, Kind::Prepared));
    cluster.tracing = true;
    cluster.create(0);
    for node in 1..3 {
        assert_eq!(cluster.join(node), Ok(true));
    }
    cluster.has_written(0, &[0, 1, 2]);
    assert!(cluster.extend(0, 1).unwrap());
    while cluster.missing(0) > 1 {
        cluster.work(false);
    }
    // What was copied is durable on both, and the log of intents forgets it.
    for _ in 0..20 {
        cluster.round(0).unwrap();
        cluster.journal(0).unwrap();
        let id = cluster.conns[0].id;
        cluster.deliver_on(id, true, false);
        cluster.deliver_on(id, false, false);
    }
    assert_eq!(cluster.missing(0), 1);
    unextend(&mut cluster, 1);
    assert!(cluster.extend(0, 2).unwrap());
    cluster.calm();
    cluster.same(0, 2);
}

/// Found by writing the rules down: a generation that both still have says nothing once another machine was in between.
#[test]
fn a_target_that_comes_back_after_another_one_is_copied_in_full() {
    let mut cluster = in_step(3, Kind::Plain);
    unextend(&mut cluster, 1);
    assert!(cluster.extend(0, 2).unwrap());
    cluster.calm();
    cluster.has_written(0, &[0, 5]);
    unextend(&mut cluster, 2);
    assert!(cluster.extend(0, 1).unwrap());
    cluster.calm();
    cluster.same(0, 1);
}

/// Whatever message is the last to arrive, what is copied again is what is marked, and it is enough.
#[test]
fn a_resync_that_is_cut_off_anywhere_goes_on_with_the_marks() {
    for events in 0..120 {
        let mut cluster = in_step(2, Kind::Plain);
        let full = cluster.counts.everything;
        cluster.part(0, 1);
        cluster.has_written(0, &[1, 3]);
        cluster.cut.clear();
        for _ in 0..events {
            let _ = (0..6).any(|_| cluster.work(false));
        }
        match events % 3 {
            0 => cluster.crash(0),
            1 => cluster.crash(1),
            _ => cluster.part(0, 1),
        }
        cluster.calm();
        cluster.cut.clear();
        for node in 0..2 {
            if !cluster.nodes[node].up {
                cluster.boot_up(node);
            }
        }
        cluster.calm();
        assert_eq!(cluster.leg_state(0, 1), Some(State::Synced), "after {events} events");
        cluster.same(0, 1);
        assert_eq!(
            cluster.counts.everything, full,
            "a needless full copy after {events} events"
        );
    }
}

/// Covers: S59, S86, S87, S89, S90.
#[test]
fn after_a_failover_the_old_source_gives_its_unreplicated_writes_up() {
    let mut cluster = in_step(2, Kind::Plain);
    let full = cluster.counts.everything;
    cluster.part(0, 1);
    cluster.has_written(0, &[0, 1]);
    cluster.crash(0);
    assert!(cluster.begin(1, StartMode::Source));
    cluster.has_written(1, &[1, 2]);
    cluster.cut.clear();
    cluster.boot_up(0);
    assert_eq!(cluster.leg_state(1, 0), Some(State::Synced));
    assert!(!cluster.nodes[0].has(MetaFlags::LAST_OWNER) && cluster.nodes[1].has(MetaFlags::LAST_OWNER));
    cluster.same(0, 1);
    assert_eq!(cluster.counts.everything, full, "partial: the marks of both sides");
}

/// Covers: S83, S92, S95.
#[test]
fn after_both_died_the_last_source_waits_for_its_target() {
    let mut cluster = in_step(2, Kind::Plain);
    cluster.has_written(0, &[3]);
    cluster.crash(0);
    cluster.crash(1);
    cluster.boot_up(0);
    assert_eq!(cluster.nodes[0].role(), Role::Stopped);
    assert!(cluster.nodes[0].has(MetaFlags::DATA_CORRUPT));
    cluster.boot_up(1);
    assert_eq!(cluster.nodes[1].role(), Role::Target);
    assert!(cluster.begin(0, StartMode::Auto));
    assert_eq!(cluster.leg_state(0, 1), Some(State::Synced));
    assert!(!cluster.nodes[0].has(MetaFlags::DATA_CORRUPT));
}

/// Covers: S97, S98, S100.
#[test]
fn a_split_brain_stands_until_one_side_yields_and_then_costs_a_partial_copy() {
    let mut cluster = in_step(2, Kind::Plain);
    let full = cluster.counts.everything;
    cluster.part(0, 1);
    assert!(cluster.begin(1, StartMode::Source));
    cluster.has_written(0, &[0, 1]);
    cluster.has_written(1, &[1, 2]);
    let disks = |cluster: &Cluster| {
        [0, 1].map(|node| {
            (0..CHUNKS)
                .map(|it| cluster.nodes[node].disk.read(it))
                .collect::<Vec<_>>()
        })
    };
    let before = disks(&cluster);
    cluster.cut.clear();
    cluster.calm();
    assert!(cluster.nodes[0].has(MetaFlags::SPLIT_BRAIN) && cluster.nodes[1].has(MetaFlags::SPLIT_BRAIN));
    assert_eq!(disks(&cluster), before, "nothing flows");
    assert!(cluster.begin(1, StartMode::Yield));
    assert_eq!(cluster.leg_state(0, 1), Some(State::Synced));
    cluster.same(0, 1);
    assert_eq!(cluster.counts.everything, full);
    assert!(!cluster.nodes[0].has(MetaFlags::SPLIT_BRAIN) && !cluster.nodes[1].has(MetaFlags::SPLIT_BRAIN));
}

/// Covers: S275, S276.
#[test]
fn a_pause_outlives_power_cuts_of_both_and_ends_with_a_partial_copy() {
    let mut cluster = in_step(2, Kind::Plain);
    let full = cluster.counts.everything;
    assert!(cluster.pause(0, LegNumber::FIRST, true).unwrap());
    cluster.calm();
    cluster.has_written(0, &[0]);
    cluster.has_written(1, &[4]);
    cluster.crash(1);
    cluster.crash(0);
    cluster.boot_up(1);
    cluster.boot_up(0);
    assert!(cluster.begin(0, StartMode::Auto) || cluster.nodes[0].role() == Role::Source);
    assert!(cluster.sb(0).peers[0].flags.contains(PeerFlags::PAUSED));
    assert_eq!(cluster.leg_state(0, 1), Some(State::Paused));
    assert!(cluster.pause(0, LegNumber::FIRST, false).unwrap());
    cluster.calm();
    assert_eq!(cluster.leg_state(0, 1), Some(State::Synced));
    cluster.same(0, 1);
    assert_eq!(cluster.counts.everything, full);
}
