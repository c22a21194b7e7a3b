// SPDX-License-Identifier: GPL-2.0
//! Several targets of one mirror: each has its own state, and none of them costs another one anything.

use anyhow::{ensure, Context as _, Result};
use serde_json::Value;
use tests_qemu::{workload::Plan, Cluster, Node, Workload};

use crate::{
    async_leg::LASTING,
    harness::{case, Case, SOON},
    mirror::{refused, status, QUICK},
    persist::{boot, until, until_within, CHUNK, DEVICE},
};

pub(crate) const CASES: &[Case] = &[
    case!(two_targets_get_every_write).three().smoke().debug(),
    case!(the_loss_of_one_target_leaves_the_other_in_step).three(),
    case!(a_source_with_two_targets_that_loses_power_has_marks_for_both).three(),
    case!(synchronous_and_asynchronous_targets_mix).three(),
    case!(one_of_two_targets_is_paused_or_taken_away).three(),
    case!(a_machine_can_be_the_target_of_one_leg_alone),
    case!(seven_targets_are_the_most).eight().memory(256),
    case!(two_sources_share_a_target_machine).three(),
];

/// Blocks of a quarter of `vdb`.
pub(crate) const QUARTER: u64 = 4096;

/// Makes a mirror on the first machine, with the others as its targets, and waits until all are in step.
pub(crate) fn extended(cluster: &Cluster, create: &str) -> Result<()> {
    let (source, targets) = split(cluster)?;
    source
        .ctl(&format!("create data --disk /dev/vdb {create} {QUICK}"))
        .ok()?;
    for target in targets {
        target.ctl(&format!("join data --disk /dev/vdb --yes {QUICK}")).ok()?;
        extend(source, target, &QUICK.to_string())?;
    }
    in_step(source, targets.len())
}

fn split(cluster: &Cluster) -> Result<(&Node, &[Node])> {
    cluster.nodes().split_first().context("a cluster without machines")
}

pub(crate) fn extend(source: &Node, target: &Node, options: &str) -> Result<()> {
    source
        .ctl(&format!("extend data --to {} --yes {options}", target.ip()))
        .ok()?;
    Ok(())
}

/// The network leg to a machine.
pub(crate) fn leg(source: &Node, target: &Node) -> Result<Value> {
    let state = status(source, "data")?;
    let legs = state["legs"].as_array().context("legs")?;
    let to = legs.iter().find(|leg| leg["peer_name"] == target.name());
    Ok(to
        .with_context(|| format!("no leg to {}: {state}", target.name()))?
        .clone())
}

/// Waits until a leg is in a state.
pub(crate) fn wait(source: &Node, target: &Node, state: &str) -> Result<()> {
    until_within(4 * SOON, &format!("{} to be {state}", target.name()), || {
        Ok(leg(source, target).is_ok_and(|leg| leg["state"] == state))
    })
    .with_context(|| format!("{:?}", leg(source, target)))
}

/// Waits until so many legs are in step.
pub(crate) fn in_step(source: &Node, count: usize) -> Result<()> {
    until_within(4 * SOON, "all targets to be in step", || {
        let state = status(source, "data")?;
        let legs = state["legs"].as_array().context("legs")?;
        let good = legs.iter().filter(|leg| leg["state"] == "fully-operational").count();
        // The local disk is the first of them.
        Ok(good == count + 1 && legs.len() == count + 1)
    })
    .with_context(|| format!("{:?}", status(source, "data")))
}

pub(crate) fn same(one: &Node, other: &Node) -> Result<()> {
    let (disk, there) = (one.disk("vdb")?, other.disk("vdb")?);
    let differ = disk.differences(there, disk.size(), CHUNK)?;
    ensure!(
        differ.is_empty(),
        "{} and {} differ: {differ:?}",
        one.name(),
        other.name()
    );
    Ok(())
}

pub(crate) fn all_same(cluster: &Cluster) -> Result<()> {
    let (source, targets) = split(cluster)?;
    targets.iter().try_for_each(|target| same(source, target))
}

pub(crate) fn has_all(workload: &Workload, node: &Node) -> Result<()> {
    let verdict = workload.judge_disk(node.disk("vdb")?)?;
    ensure!(verdict.lost.is_empty(), "{} lost {:?}", node.name(), verdict.lost);
    Ok(())
}

/// Writes to a quarter of the disk of its own.
pub(crate) fn some_writes(source: &Node, seed: u64) -> Result<Workload> {
    let plan = Plan::new(seed, QUARTER).first(seed % 4 * QUARTER);
    let mut workload = Workload::start(source, DEVICE, plan.threads(8).count(300))?;
    let run = workload.finish(2 * SOON)?;
    ensure!(run.errors.is_empty() && run.writes == 300, "{run:?}");
    Ok(workload)
}

pub(crate) fn generation(node: &Node) -> Result<Value> {
    Ok(status(node, "data")?["generation"].clone())
}

/// Covers: S104, S106.
fn two_targets_get_every_write(cluster: &Cluster) -> Result<()> {
    extended(cluster, "")?;
    let (eve, targets) = split(cluster)?;
    let workload = some_writes(eve, 700)?;
    all_same(cluster)?;
    for node in cluster.nodes() {
        has_all(&workload, node)?;
    }
    let told = eve.ctl("status data").ok()?;
    ensure!(
        told.contains("[-] eve -> adam\n") && told.contains("[-] eve -> abel\n"),
        "{told}"
    );
    for target in targets {
        let leg = leg(eve, target)?;
        ensure!(leg["connects"] == 1 && leg["resyncs"] == 1, "{leg}");
    }
    // What is not written but zeroed or discarded goes to both, too.
    eve.sh(&format!(
        "blkdiscard -z -o 1M -l 2M {DEVICE} && blkdiscard -o 8M -l 1M {DEVICE} && \
         dd if=/dev/urandom of={DEVICE} bs=64k count=20 oflag=direct conv=fsync status=none"
    ))
    .ok()?;
    all_same(cluster)
}

/// Covers: S24, S106, S110.
fn the_loss_of_one_target_leaves_the_other_in_step(cluster: &Cluster) -> Result<()> {
    extended(cluster, "")?;
    let [eve, adam, abel] = cluster.nodes() else {
        unreachable!("three machines")
    };
    let before = generation(eve)?;
    cluster.cut(eve, adam);
    let workload = some_writes(eve, 701)?;
    wait(eve, adam, "out-of-sync")?;
    let other = leg(eve, abel)?;
    ensure!(
        other["state"] == "fully-operational" && other["connects"] == 1 && other["dirty_chunks"] == 0,
        "{other}"
    );
    same(eve, abel)?;
    has_all(&workload, abel)?;
    // Whoever was left behind can be told from who was not.
    ensure!(generation(eve)? != before, "no generation has begun");
    ensure!(generation(abel)? == generation(eve)?, "abel has not noted it");
    ensure!(generation(adam)? == before, "adam can't know of it");
    let missed = leg(eve, adam)?["dirty_chunks"].as_u64().context("dirty_chunks")?;
    ensure!(missed > 0);
    let copied = leg(eve, adam)?["resynced_bytes"].as_u64().context("resynced_bytes")?;
    cluster.restore_links();
    in_step(eve, 2)?;
    let bytes = leg(eve, adam)?["resynced_bytes"].as_u64().context("resynced_bytes")? - copied;
    ensure!(
        bytes > 0 && bytes <= missed * CHUNK,
        "{bytes} bytes for {missed} chunks"
    );
    ensure!(leg(eve, abel)?["resyncs"] == 1, "{}", leg(eve, abel)?);
    all_same(cluster)
}

/// Covers: S36, S55, S106.
fn a_source_with_two_targets_that_loses_power_has_marks_for_both(cluster: &Cluster) -> Result<()> {
    extended(cluster, "")?;
    let [eve, adam, abel] = cluster.nodes() else {
        unreachable!("three machines")
    };
    for (seed, one_is_away) in [(702, false), (703, true)] {
        if one_is_away {
            cluster.cut(eve, abel);
            wait(eve, abel, "out-of-sync")?;
        }
        let workload = Workload::start(eve, DEVICE, Plan::new(seed, 4096).threads(8))?;
        workload.more(100, SOON)?;
        eve.kill9()?;
        cluster.restore_links();
        boot(eve)?;
        eve.ctl("up --all").ok()?;
        in_step(eve, 2)?;
        all_same(cluster)?;
        for node in [adam, abel] {
            has_all(&workload, node)?;
            let copied = leg(eve, node)?["resynced_bytes"].as_u64().context("resynced_bytes")?;
            ensure!(
                copied < eve.disk("vdb")?.size(),
                "everything was copied to {}",
                node.name()
            );
        }
    }
    Ok(())
}

/// Covers: S53, S54.
fn synchronous_and_asynchronous_targets_mix(cluster: &Cluster) -> Result<()> {
    let [eve, adam, abel] = cluster.nodes() else {
        unreachable!("three machines")
    };
    eve.ctl(&format!("create data --disk /dev/vdb --async=32 {LASTING}"))
        .ok()?;
    for (target, options) in [(adam, ""), (abel, "--type async")] {
        target.ctl(&format!("join data --disk /dev/vdb --yes {LASTING}")).ok()?;
        extend(eve, target, &format!("{options} {LASTING}"))?;
    }
    in_step(eve, 2)?;
    // The asynchronous one is silent: as many writes as it may lag behind are done when the other one has them.
    cluster.cut(eve, abel);
    let mut workload = Workload::start(eve, DEVICE, Plan::new(704, 4096).threads(1).count(32))?;
    workload.finish(SOON)?;
    ensure!(leg(eve, abel)?["unconfirmed"] == 32, "{}", leg(eve, abel)?);
    ensure!(leg(eve, adam)?["unconfirmed"] == 0, "{}", leg(eve, adam)?);
    same(eve, adam)?;
    has_all(&workload, adam)?;
    cluster.restore_links();
    until("abel to confirm everything", || Ok(leg(eve, abel)?["unconfirmed"] == 0))?;
    // The synchronous one is silent: nothing is done, though the other one has it.
    cluster.cut(eve, adam);
    let mut waiting = Workload::start(eve, DEVICE, Plan::new(705, 4096).threads(1).count(1))?;
    until("the write to arrive", || {
        Ok(waiting.judge_disk(abel.disk("vdb")?).is_ok() && leg(eve, adam)?["unconfirmed"] == 1)
    })?;
    ensure!(waiting.run().writes == 0, "it did not wait for adam");
    cluster.restore_links();
    waiting.finish(2 * SOON)?;
    in_step(eve, 2)?;
    until("everything to be confirmed", || Ok(leg(eve, abel)?["unconfirmed"] == 0))?;
    all_same(cluster)
}

/// Covers: S106, S228, S230.
fn one_of_two_targets_is_paused_or_taken_away(cluster: &Cluster) -> Result<()> {
    extended(cluster, "")?;
    let [eve, adam, abel] = cluster.nodes() else {
        unreachable!("three machines")
    };
    eve.ctl("pause data --leg 2").ok()?;
    some_writes(eve, 706)?;
    ensure!(leg(eve, adam)?["state"] == "fully-operational", "{}", leg(eve, adam)?);
    ensure!(leg(eve, abel)?["state"] == "paused", "{}", leg(eve, abel)?);
    same(eve, adam)?;
    ensure!(generation(adam)? == generation(eve)? && generation(abel)? != generation(eve)?);
    abel.sh("dd if=/dev/urandom of=/dev/netraid0 bs=64k seek=40 count=2 oflag=direct status=none")
        .ok()?;
    eve.ctl("resume data").ok()?;
    in_step(eve, 2)?;
    all_same(cluster)?;
    refused(eve, "unextend data", &["leg 1 (adam)", "leg 2 (abel)", "say --leg N"])?;
    eve.ctl("unextend data --leg 1").ok()?;
    some_writes(eve, 707)?;
    ensure!(leg(eve, abel)?["state"] == "fully-operational", "{}", leg(eve, abel)?);
    ensure!(
        leg(eve, abel)?["connects"] == 1 && leg(eve, abel)?["id"] == 2,
        "{}",
        leg(eve, abel)?
    );
    same(eve, abel)?;
    // The place that has become free is used again, and what is there is compared before it is copied.
    extend(eve, adam, &QUICK.to_string())?;
    in_step(eve, 2)?;
    ensure!(leg(eve, adam)?["id"] == 1, "{}", leg(eve, adam)?);
    let copied = leg(eve, adam)?["resynced_bytes"].as_u64().context("resynced_bytes")?;
    ensure!(copied < eve.disk("vdb")?.size(), "{}", leg(eve, adam)?);
    all_same(cluster)?;
    eve.ctl("unextend data --leg 1").ok()?;
    eve.ctl("unextend data").ok()?;
    some_writes(eve, 708)?;
    extend(eve, abel, &QUICK.to_string())?;
    in_step(eve, 1)?;
    same(eve, abel)
}

/// Covers: S108.
fn a_machine_can_be_the_target_of_one_leg_alone(cluster: &Cluster) -> Result<()> {
    extended(cluster, "")?;
    let (eve, adam) = cluster.pair();
    let again = format!("extend data --to {} --yes {QUICK}", adam.ip());
    refused(
        eve,
        &again,
        &["is extended to 10.77.0.2:7900 already (leg 1)", "unextend"],
    )?;
    // Under another address it is known by its identity.
    let there = format!("extend data --to {} --yes {QUICK}", adam.ip_on(1));
    eve.ctl(&there).ok()?;
    until("the second leg to be refused", || {
        let state = status(eve, "data")?;
        let reason = state["legs"][2]["reason"].as_str().unwrap_or_default();
        Ok(reason.contains("is adam, the target of leg 1 already; each target needs a machine of its own"))
    })
    .with_context(|| format!("{:?}", status(eve, "data")))?;
    some_writes(eve, 716)?;
    let first = status(eve, "data")?["legs"][1].clone();
    ensure!(
        first["state"] == "fully-operational" && first["connects"] == 1,
        "the first leg was disturbed: {first}"
    );
    eve.ctl("unextend data --leg 2").ok()?;
    all_same(cluster)
}

/// Covers: S107.
fn seven_targets_are_the_most(cluster: &Cluster) -> Result<()> {
    extended(cluster, "")?;
    let (eve, targets) = split(cluster)?;
    let workload = some_writes(eve, 717)?;
    all_same(cluster)?;
    for node in targets {
        has_all(&workload, node)?;
    }
    let more = format!("extend data --to 10.77.0.99 --yes {QUICK}");
    refused(eve, &more, &["mirror 'data' has 7 targets, and can't have more"])?;
    // One of them goes, and there is room for it again.
    eve.ctl("unextend data --leg 4").ok()?;
    in_step(eve, 6)?;
    let fourth = targets.get(3).context("a fourth target")?;
    extend(eve, fourth, &QUICK.to_string())?;
    in_step(eve, 7)?;
    all_same(cluster)
}

/// Covers: S105.
fn two_sources_share_a_target_machine(cluster: &Cluster) -> Result<()> {
    let [eve, adam, abel] = cluster.nodes() else {
        unreachable!("three machines")
    };
    for (source, name, disk) in [(eve, "one", "vdb"), (adam, "two", "vdc")] {
        source.ctl(&format!("create {name} --disk /dev/{disk}")).ok()?;
        abel.ctl(&format!("join {name} --disk /dev/{disk} --yes")).ok()?;
        source
            .ctl(&format!("extend {name} --to {} --yes --wait", abel.ip()))
            .ok()?;
        source
            .sh("dd if=/dev/urandom of=/dev/netraid0 bs=1M count=8 oflag=direct status=none")
            .ok()?;
        let (here, there) = (source.disk(disk)?, abel.disk(disk)?);
        ensure!(
            here.differences(there, here.size(), CHUNK)?.is_empty(),
            "{name} differs"
        );
    }
    refused(
        abel,
        "join three --disk /dev/vdb --yes",
        &["the disk /dev/vdb cannot be used: it is used by mirror one"],
    )
}
