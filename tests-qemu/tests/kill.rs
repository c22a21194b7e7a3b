// SPDX-License-Identifier: GPL-2.0
//! Machines that die in the middle of everything: QEMU gets SIGKILL, which is a power cut as far
//! as the machine is concerned, and what was acknowledged has to be where it should be.

use anyhow::{ensure, Result};
use tests_qemu::{patience::LinkTiming, workload::Plan, Cluster, Node, Workload, MIB};

use crate::{
    dice::Dice,
    harness::{case, Case, SOON},
    mirror::{self, Mirror},
    persist::{comes_back, number, until},
};

pub(crate) const CASES: &[Case] = &[
    case!(no_acknowledged_write_is_lost_when_the_source_is_killed_three_times).smoke(),
    case!(the_source_goes_on_without_a_killed_target_and_resyncs_when_it_is_back),
    case!(when_both_are_killed_every_acknowledged_write_is_on_both_disks),
    case!(a_target_whose_source_was_killed_in_a_resync_cannot_be_promoted),
];

/// The death of a machine is noticed after three seconds: soon, but not on a host that is merely
/// busy.
const STEADY: LinkTiming = LinkTiming::new(300, 3000);

/// Blocks each workload writes to, so that several find room beside each other.
const BLOCKS: u64 = 2048;

/// A mirror of `vdb` that is in sync.
fn in_sync<'a>(source: &'a Node, target: &'a Node) -> Result<Mirror<'a>> {
    let mirror = Mirror::create_on(source, target, "vdb", STEADY, STEADY)?;
    mirror.extend_with(STEADY)?;
    mirror.wait("fully-operational")?;
    Ok(mirror)
}

fn is_good(workload: &Workload, node: &Node) -> Result<()> {
    let verdict = workload.judge_device(node, "/dev/netraid0")?;
    let run = workload.run();
    ensure!(
        verdict.good() && run.errors.is_empty(),
        "{verdict:?} after {} writes with errors {:?}",
        run.writes,
        run.errors
    );
    Ok(())
}

/// Each time the survivor takes over and the killed one comes back as its target.
///
/// Covers: S9, S36.
fn no_acknowledged_write_is_lost_when_the_source_is_killed_three_times(cluster: &Cluster) -> Result<()> {
    let mut dice = Dice::new()?;
    let (mut source, mut target) = cluster.pair();
    in_sync(source, target)?;
    let mut workloads: Vec<Workload> = Vec::new();
    for round in 0..3 {
        if round > 0 {
            comes_back(target)?;
            source.ctl("wait data --for fully-operational").ok()?;
        }
        let plan = Plan::new(100 + round, BLOCKS).first(round * BLOCKS);
        let workload = Workload::start(source, "/dev/netraid0", plan)?;
        workload.more(dice.between(1, 400), SOON)?;
        source.kill9()?;
        let promoted = target.ctl("promote data --wait 30").ok()?;
        ensure!(promoted.contains("/dev/netraid0"), "{promoted}");
        ensure!(mirror::status(target, "data")?["role"] == "source");
        workloads.push(workload);
        // Those of the rounds before as well: they were written by the machine that is now dead.
        for workload in &workloads {
            is_good(workload, target)?;
        }
        (source, target) = (target, source);
    }
    let mut workload = Workload::start(source, "/dev/netraid0", Plan::new(99, 256).first(4 * BLOCKS).count(50))?;
    workload.finish(SOON)?;
    is_good(&workload, source)
}

/// Covers: S12, S24.
fn the_source_goes_on_without_a_killed_target_and_resyncs_when_it_is_back(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let mirror = in_sync(eve, adam)?;
    until("the copy to be durable", || Ok(number(eve, "intent_chunks")? == 0))?;
    let mut workload = Workload::start(eve, "/dev/netraid0", Plan::new(1, BLOCKS))?;
    workload.more(100, SOON)?;
    adam.kill9()?;
    let mut events = eve.events()?;
    events.wait_for("the loss of the target", SOON, |event| {
        event["mirror"]["legs"][1]["state"] == "out-of-sync"
    })?;
    workload.more(200, SOON)?;
    let status = mirror.status()?;
    ensure!(status["legs"][1]["dirty_chunks"].as_u64() > Some(0), "{status}");
    ensure!(workload.run().errors.is_empty());
    // Nothing is done on the source from here on.
    comes_back(adam)?;
    events.wait_for("the end of the resync", SOON * 2, |event| {
        event["event"] == "resync-done"
    })?;
    workload.more(50, SOON)?;
    let status = mirror.status()?;
    let leg = &status["legs"][1];
    ensure!(leg["state"] == "fully-operational" && leg["connects"] == 2, "{status}");
    // The target gets what it misses, and what it may have lost with its power.
    ensure!(leg["resyncs"] == 2, "{status}");
    let run = workload.stop()?;
    ensure!(run.errors.is_empty(), "{:?}", run.errors);
    mirror.same_disks()?;
    let verdict = workload.judge_disk(adam.disk("vdb")?)?;
    ensure!(verdict.good(), "{verdict:?}");
    Ok(())
}

/// Covers: S36.
fn when_both_are_killed_every_acknowledged_write_is_on_both_disks(cluster: &Cluster) -> Result<()> {
    let mut dice = Dice::new()?;
    let (eve, adam) = cluster.pair();
    in_sync(eve, adam)?;
    let workload = Workload::start(eve, "/dev/netraid0", Plan::new(2, BLOCKS))?;
    workload.more(dice.between(100, 400), SOON)?;
    // In this order, for a source that has lost its target goes on alone.
    eve.kill9()?;
    adam.kill9()?;
    for node in [eve, adam] {
        let verdict = workload.judge_disk(node.disk("vdb")?)?;
        ensure!(verdict.good(), "on {}: {verdict:?}", node.name());
    }
    // Either disk will do to go on with.
    cluster.on_all(Node::boot)?;
    adam.insmod()?;
    adam.ctl("force data --yes --override").ok()?;
    is_good(&workload, adam)
}

/// Covers: S24, S36.
fn a_target_whose_source_was_killed_in_a_resync_cannot_be_promoted(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    eve.sh("head -c 8M /dev/urandom > /dev/vdb && sync").ok()?;
    let mirror = Mirror::create_on(eve, adam, "vdb", "", STEADY)?;
    // The resync comes this far and no farther.
    let way = cluster.network().way(0, 1);
    let (mut passed, before) = (0, way.traffic().dropped);
    way.filter(move |packet| {
        passed += packet.payload().map_or(0, <[u8]>::len) as u64;
        passed < 4 * MIB
    });
    let mut events = adam.events()?;
    mirror.extend_with(STEADY)?;
    way.wait_for(SOON, |traffic| traffic.dropped > before)?;
    eve.kill9()?;
    let refused = |what: &str| -> Result<()> {
        let output = adam.ctl("promote data").exits(2)?;
        ensure!(
            output.stderr.contains("a resync of mirror 'data' is in progress")
                && output.stderr.contains("its copy is unusable until it is complete"),
            "{what}: {output:?}"
        );
        Ok(())
    };
    events.wait_for("the loss of the source", SOON, |event| {
        let leg = &event["mirror"]["legs"][1];
        leg["state"] == "out-of-sync" && leg["connection"] == "disconnected" && leg["resyncs"] == 1
    })?;
    refused("without its source")?;
    let status = mirror::status(adam, "data")?;
    ensure!(status["inconsistent"] == true && status["role"] == "target", "{status}");
    ensure!(status["device_present"] == false, "{status}");
    // Out of service and back does not make the copy whole either.
    adam.ctl("stop data").ok()?;
    refused("stopped")?;
    // Some of the copy came, and some did not.
    let (one, other) = (eve.disk("vdb")?, adam.disk("vdb")?);
    let differ = one.differences(other, 8 * MIB, 65536)?.len();
    ensure!((1..128).contains(&differ), "{differ} of 128 chunks differ");
    Ok(())
}
