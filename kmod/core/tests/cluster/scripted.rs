// SPDX-License-Identifier: GPL-2.0

//! Rules whose loss chance hardly finds in a short history: each has a history of its own, which holds as long as the rule is
//! kept, and is found broken without it.

use crate::cluster::Cluster;
use crate::mistake::Mistake;
use crate::shape::Shape;
use netraid_core::leg::State;
use netraid_core::legs::LegNumber;
use netraid_core::local::LocalDisk;
use netraid_core::ownership::StartMode;
use netraid_core::state::Role;

/// Orders of what is left to chance: who works first, which messages a broken connection still brings.
const ORDERS: u64 = 8;

/// Holds with all rules in every order, and is found broken in one without the rule.
fn needs(mistake: Mistake, history: impl Fn(&mut Cluster)) {
    let told = |seed: u64, mistake: Option<Mistake>| {
        let mut cluster = Cluster::in_step(seed, Shape::plain(2), mistake);
        history(&mut cluster);
        cluster
    };
    for seed in 0..ORDERS {
        let cluster = told(seed, None);
        let trace = || cluster.trace.join("\n");
        assert_eq!(cluster.broken, None, "order {seed}\n{}", trace());
    }
    let found = (0..ORDERS).find_map(|seed| told(seed, Some(mistake)).broken);
    println!("{mistake:?}: {found:?}");
    assert!(found.is_some(), "{mistake:?} is not found");
}

/// What was given up is in the past of who took it back, and would seem to be covered where somebody else has it.
#[test]
fn a_target_takes_over_the_past_of_its_source_with_the_data() {
    needs(Mistake::KeepsItsPast, |cluster| {
        cluster.separate(0, 2);
        cluster.part(0, 1);
        fork(cluster);
        cluster.has_written(0, &[3]);
        cluster.separate(1, 2);
        cluster.restore_between(0, 1);
        cluster.begin(1, StartMode::Yield);
        assert!(
            cluster.broken.is_some() || cluster.is_together(0, 1),
            "{}",
            cluster.trace.join("\n")
        );
    });
}

/// The first machine was cut off from both others. The second one becomes source, and has the third one as its target.
fn fork(cluster: &mut Cluster) {
    assert!(cluster.begin(1, StartMode::Source));
    assert_eq!(cluster.extend(1, 2), Ok(true));
    cluster.calm();
    assert!(cluster.broken.is_some() || cluster.is_together(1, 2));
    cluster.has_written(1, &[2]);
}

/// A third machine has what one gives up, and that the source is behind. What it writes then has to look new to it.
#[test]
fn a_source_does_not_go_on_in_the_generation_that_somebody_was_ahead_of() {
    needs(Mistake::GoesOnAfterLosing, |cluster| {
        // Otherwise what the source writes, and its third machine misses, begins one.
        let leg = cluster.nodes[0]
            .as_source()
            .and_then(|source| source.leg_to(2))
            .map(|(leg, _)| leg);
        assert_eq!(cluster.unextend(0, leg.unwrap()), Ok(true));
        cluster.calm();
        cluster.separate(0, 2);
        cluster.part(0, 1);
        fork(cluster);
        cluster.separate(1, 2);
        cluster.restore_between(0, 1);
        cluster.begin(1, StartMode::Yield);
        assert!(
            cluster.broken.is_some() || cluster.is_together(0, 1),
            "{}",
            cluster.trace.join("\n")
        );
        cluster.has_written(0, &[4]);
    });
}

/// What a machine marked when it was source before says nothing of what it was sent as a target since.
#[test]
fn a_target_that_becomes_source_does_not_believe_its_old_maps() {
    needs(Mistake::BelievesOldMaps, |cluster| {
        assert_eq!(cluster.switchover(1), Ok(true));
        assert_eq!(cluster.extend(1, 2), Ok(true));
        cluster.calm();
        cluster.held.push((1, 2));
        cluster.writes(1, 3);
        cluster.wait_for(|it| it.nodes[0].disk.read(3) < 100);
        cluster.crash(1);
        cluster.calm();
        cluster.begin(0, StartMode::Source);
        cluster.restore();
    });
}

/// A write that the disk fails is marked for all that may have it; one of them may have been copied to since.
#[test]
fn a_source_that_becomes_a_target_tells_what_any_of_its_targets_may_have() {
    needs(Mistake::TellsOneMap, |cluster| {
        cluster.pass_errors_on(0);
        cluster.fail_disk(0, 3);
        cluster.nodes[0].bad = false;
        cluster.part(0, 1);
        cluster.restore();
        assert_eq!(cluster.give_way(0, false), Ok(true));
        cluster.calm();
        cluster.begin(2, StartMode::Source);
        assert_eq!(cluster.nodes[2].role(), Role::Source);
    });
}

/// Gives the disk of the first machine up, for the second one.
fn lose_disk(cluster: &mut Cluster) {
    cluster.fail_disk(0, 4);
    has_disk(cluster, LocalDisk::Detached);
}

/// The disk of the first machine stands so.
fn has_disk(cluster: &Cluster, wanted: LocalDisk) {
    let state = cluster.nodes[0].as_source().map(|source| source.volume.local);
    assert!(cluster.broken.is_some() || state == Some(wanted), "{state:?}");
}

/// What a target misses can't be copied any more.
#[test]
fn nothing_is_copied_from_a_disk_that_was_given_up() {
    needs(Mistake::CopiesFromLost, |cluster| {
        cluster.part(0, 2);
        cluster.has_written(0, &[3]);
        lose_disk(cluster);
        cluster.restore();
    });
}

/// The intents that are on record are those of the time when the disk was lost with the metadata on it.
#[test]
fn a_target_with_half_a_copy_gets_nothing_any_more_when_the_disk_is_gone() {
    needs(Mistake::FeedsHalfCopies, |cluster| {
        cluster.shape.internal = true;
        cluster.part(0, 1);
        cluster.has_written(0, &[3, 4]);
        cluster.cut.clear();
        cluster.wait_for(|it| it.leg_state(0, 1) == Some(State::Resyncing));
        cluster.nodes[0].bad = true;
        cluster.writes(0, 5);
        work_without_copying(cluster);
        cluster.writes(0, 2);
        work_without_copying(cluster);
        cluster.crash(0);
        cluster.calm();
    });
}

/// The first machine is the source, and its resync has no time to look whether it can go on.
fn work_without_copying(cluster: &mut Cluster) {
    for _ in 0..30 {
        let volume = cluster.nodes[0].as_source().map(|source| source.volume.at_disk());
        for id in volume.into_iter().flatten() {
            assert_eq!(cluster.local_done(0, id), Ok(()));
        }
        assert!(cluster.journal(0).is_ok());
        for leg in LegNumber::all().take(2) {
            assert!(cluster.send(0, leg).is_ok());
        }
        for id in cluster.conns.iter().map(|conn| conn.id).collect::<Vec<_>>() {
            cluster.deliver_on(id, true, false);
            cluster.deliver_on(id, false, false);
        }
        for node in 1..3 {
            assert!(cluster.end_one(node).is_ok());
        }
        cluster.check();
    }
}

/// A target that is told that its resync is over has half a copy, as far as its record goes, until it has noted that.
#[test]
fn a_target_stands_in_for_the_disk_only_after_it_noted_that_it_misses_nothing() {
    needs(Mistake::CountsUnnoted, |cluster| {
        cluster.part(0, 1);
        // The third machine is gone for good.
        cluster.crash(2);
        cluster.nodes[2].store = None;
        cluster.has_written(0, &[3]);
        cluster.cut.clear();
        cluster.wait_for(|it| it.leg_state(0, 1) == Some(State::Finishing));
        cluster.held.push((0, 1));
        let told = |it: &Cluster| {
            let source = it.nodes[0].as_source();
            source.is_some_and(|source| !source.volume.in_step().is_empty())
        };
        cluster.wait_for(told);
        cluster.nodes[0].bad = true;
        cluster.writes(0, 4);
        cluster.calm();
        cluster.crash(1);
        cluster.calm();
    });
}

/// Everything has to be there.
#[test]
fn a_disk_that_was_put_in_counts_when_all_is_there() {
    needs(Mistake::CountsTooEarly, |cluster| {
        lose_disk(cluster);
        assert_eq!(cluster.attach(0), Ok(true));
        cluster.calm();
        has_disk(cluster, LocalDisk::Attached);
    });
}

/// What was copied already may change.
#[test]
fn a_disk_that_is_rebuilt_gets_what_is_written_meanwhile() {
    needs(Mistake::SkipsRebuilding, |cluster| {
        lose_disk(cluster);
        assert_eq!(cluster.attach(0), Ok(true));
        cluster.wait_for(|it| {
            let volume = it.nodes[0].as_source().map(|source| &source.volume);
            volume.is_some_and(|volume| volume.rebuild.next > 2 && !volume.is_used(0))
        });
        cluster.has_written(0, &[0]);
    });
}

/// Two targets, the first of which knows where the other one is, and both of which were told what is settled.
fn promise(cluster: &mut Cluster) {
    assert_eq!(cluster.extend(1, 2), Ok(true));
    cluster.has_written(0, &[5]);
    let promises = |node: usize| {
        let recent = cluster.nodes[node]
            .as_target()
            .and_then(|target| target.recent.as_ref());
        recent.is_some_and(netraid_core::recent::Recent::counts)
    };
    assert!(promises(1) && promises(2), "{}", cluster.trace.join("\n"));
}

/// The first target gets a write, and the second one never does.
fn send_to_one(cluster: &mut Cluster) {
    cluster.held.push((0, 2));
    cluster.writes(0, 3);
    cluster.wait_for(|it| it.nodes[1].disk.read(3) < 100);
}

/// The source is gone, the first target takes its place, and the other one becomes its target.
fn succeed(cluster: &mut Cluster) {
    cluster.lose(2);
    cluster.crash(0);
    cluster.restore();
    let everything = cluster.counts.everything;
    cluster.begin(1, StartMode::Source);
    cluster.calm();
    if cluster.broken.is_none() {
        assert!(cluster.is_together(1, 2), "{}", cluster.trace.join("\n"));
        assert_eq!(
            cluster.counts.everything, everything,
            "a promise is worth a needless copy"
        );
    }
}

/// Covers: S109, S110.
#[test]
fn what_was_begun_is_settled_only_when_it_has_ended() {
    needs(Mistake::SettlesEarly, |cluster| {
        promise(cluster);
        send_to_one(cluster);
        cluster.calm();
        succeed(cluster);
    });
}

/// Of one that is away it is not known what it holds.
///
/// Covers: S109, S110.
#[test]
fn nothing_is_settled_as_long_as_a_target_is_away_that_may_have_been_in_step() {
    needs(Mistake::SettlesUnknown, |cluster| {
        promise(cluster);
        send_to_one(cluster);
        cluster.lose(2);
        cluster.crash(0);
        cluster.separate(0, 2);
        cluster.calm();
        cluster.boot(0);
        cluster.calm();
        if cluster.nodes[0].role() != Role::Source {
            cluster.begin(0, StartMode::Force);
        }
        assert!(
            cluster.broken.is_some() || cluster.is_together(0, 1),
            "{}",
            cluster.trace.join("\n")
        );
        succeed(cluster);
    });
}

/// What all have got and none has made durable is in nobody's map.
fn is_made_durable(mistake: Mistake, who: usize) {
    needs(mistake, |cluster| {
        promise(cluster);
        cluster.unflushed = true;
        cluster.has_written(0, &[3]);
        succeed(cluster);
        cluster.crash(who);
        cluster.calm();
    });
}

/// Covers: S110.
#[test]
fn a_target_that_becomes_source_makes_durable_what_it_was_sent() {
    is_made_durable(Mistake::PromotesUnflushed, 1);
}

/// Covers: S110.
#[test]
fn a_target_that_gets_another_source_makes_durable_what_it_was_sent() {
    is_made_durable(Mistake::BindsUnflushed, 2);
}

/// It has lost with its power what the source before had marked, and is promoted before the new one has told it.
///
/// Covers: S110.
#[test]
fn what_a_target_marked_itself_says_nothing_of_a_new_source() {
    needs(Mistake::BelievesNewSource, |cluster| {
        assert_eq!(cluster.extend(2, 1), Ok(true));
        promise(cluster);
        cluster.unflushed = true;
        cluster.has_written(0, &[3]);
        cluster.separate(1, 2);
        cluster.crash(1);
        cluster.crash(0);
        cluster.calm();
        assert!(cluster.begin(2, StartMode::Source));
        cluster.boot_up(1);
        cluster.cut.clear();
        let source = cluster.sb(2).node_uuid;
        cluster.wait_for(|it| it.sb(1).peers[0].uuid == source);
        cluster.crash(1);
        cluster.crash(2);
        cluster.boot_up(1);
        cluster.begin(1, StartMode::Force);
        cluster.boot_up(2);
        cluster.restore();
        assert!(
            cluster.broken.is_some() || cluster.is_together(1, 2),
            "{}",
            cluster.trace.join("\n")
        );
    });
}
