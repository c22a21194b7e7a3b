// SPDX-License-Identifier: GPL-2.0

//! Asynchronous targets, in histories that are told on purpose.

use crate::cluster::Cluster;
use crate::node::Arrived;
use crate::shape::Shape;
use crate::source::LIMIT;
use netraid_core::leg::State;
use netraid_core::ownership::StartMode;

/// Orders of what is left to chance.
const ORDERS: u64 = 20;

/// A source with a target nearby and one far away, which is machine 2.
fn told(history: impl Fn(&mut Cluster)) {
    told_of(false, history);
}

/// The same; `gives_way`: who can't keep up is given up for a while.
fn told_of(gives_way: bool, history: impl Fn(&mut Cluster)) {
    for seed in 0..ORDERS {
        let shape = Shape {
            far: 0b100,
            gives_way,
            ..Shape::plain(2)
        };
        let mut cluster = Cluster::in_step(seed, shape, None);
        history(&mut cluster);
        assert_eq!(cluster.broken, None, "order {seed}\n{}", cluster.trace.join("\n"));
    }
}

/// Writes that are acknowledged, and whose way to the machine far away is long.
fn lag(cluster: &mut Cluster, chunks: &[usize]) {
    cluster.held.push((0, 2));
    cluster.has_written(0, chunks);
    assert_eq!(cluster.lagging[2].count_ones() as usize, chunks.len());
}

/// Fails where two machines do not hold the same.
fn are_same(cluster: &Cluster, a: usize, b: usize) {
    for chunk in 0..crate::disk::CHUNKS {
        let (here, there) = (cluster.nodes[a].disk.read(chunk), cluster.nodes[b].disk.read(chunk));
        assert_eq!(here, there, "chunk {chunk}\n{}", cluster.trace.join("\n"));
    }
}

/// Covers: S42, S45.
#[test]
fn a_write_beyond_the_limit_waits_for_the_target() {
    told(|cluster| {
        lag(cluster, &[0, 1, 2]);
        assert_eq!(LIMIT, 3);
        let version = cluster.next_version;
        cluster.writes(0, 3);
        cluster.calm();
        assert_eq!(cluster.acknowledged >> version & 1, 0);
        cluster.restore();
        assert_eq!(cluster.acknowledged >> version & 1, 1);
        assert_eq!(cluster.lagging[2], 0);
        are_same(cluster, 0, 2);
    });
}

/// The application does not wait; what the target misses is marked, and copied when it is there again.
#[test]
fn a_target_that_can_not_keep_up_is_given_up_where_the_operator_wants_that() {
    told_of(true, |cluster| {
        lag(cluster, &[0, 1, 2]);
        let everything = cluster.counts.everything;
        cluster.has_written(0, &[3]);
        assert_eq!(cluster.counts.fallen_behind, 1);
        cluster.restore();
        assert!(cluster.is_together(0, 2), "{}", cluster.trace.join("\n"));
        are_same(cluster, 0, 2);
        assert_eq!(cluster.counts.everything, everything);
    });
}

/// The last writes are missing, and nothing else; who has them gives them up.
///
/// Covers: S38, S39.
#[test]
fn a_target_far_away_takes_over_without_the_last_writes_and_the_others_become_its_copies() {
    told(|cluster| {
        cluster.has_written(0, &[4, 5]);
        lag(cluster, &[0, 1, 2]);
        cluster.lose(2);
        cluster.crash(0);
        cluster.calm();
        assert!(cluster.begin(2, StartMode::Source), "{}", cluster.trace.join("\n"));
        assert_eq!(cluster.counts.left_behind, 3);
        cluster.has_written(2, &[2, 3]);
        assert_eq!(cluster.extend(2, 1), Ok(true));
        cluster.held.clear();
        cluster.boot_up(0);
        cluster.calm();
        for other in [0, 1] {
            assert_eq!(
                cluster.leg_state(2, other),
                Some(State::Synced),
                "{other}\n{}",
                cluster.trace.join("\n")
            );
            are_same(cluster, 2, other);
        }
    });
}

/// The log of intents of a source that comes back holds what was under way to a target far away.
///
/// Covers: S38.
#[test]
fn what_a_target_far_away_had_not_confirmed_is_marked_when_its_source_comes_back() {
    told(|cluster| {
        lag(cluster, &[0, 1]);
        cluster.lose(2);
        let everything = cluster.counts.everything;
        cluster.crash(0);
        cluster.held.clear();
        cluster.calm();
        cluster.boot_up(0);
        assert!(cluster.nodes[0].as_source().is_some() || cluster.begin(0, StartMode::Source));
        cluster.calm();
        assert!(cluster.is_together(0, 2), "{}", cluster.trace.join("\n"));
        are_same(cluster, 0, 2);
        assert_eq!(cluster.counts.everything, everything);
    });
}

/// Without the disk nobody but the targets has it.
///
/// Covers: S175.
#[test]
fn without_the_disk_a_write_waits_for_a_target_far_away_too() {
    told(|cluster| {
        cluster.fail_disk(0, 5);
        cluster.held.push((0, 2));
        let version = cluster.next_version;
        cluster.writes(0, 1);
        cluster.calm();
        assert_eq!(cluster.acknowledged >> version & 1, 0);
        cluster.restore();
        assert_eq!(cluster.acknowledged >> version & 1, 1);
    });
}

/// What the application was told before it began another write is on the disk before that.
///
/// Covers: S39.
#[test]
fn a_target_far_away_begins_nothing_before_what_was_acknowledged_earlier_has_ended() {
    told(|cluster| {
        lag(cluster, &[0, 1]);
        cluster.held.clear();
        let works_at = |cluster: &Cluster| -> Vec<Arrived> {
            let target = cluster.nodes[2].as_target();
            target.map_or(Vec::new(), |target| target.under_way.clone())
        };
        cluster.wait_for(|it| !works_at(it).is_empty());
        assert_eq!(works_at(cluster).len(), 1);
        cluster.crash(0);
        cluster.calm();
        assert!(cluster.begin(2, StartMode::Source));
        assert!(cluster.counts.left_behind <= 1);
    });
}
