// SPDX-License-Identifier: GPL-2.0
//! Several targets, and what must not happen: that a machine counts as entitled since a bystander answers, that a healthy
//! target is dropped or waited for without an end since others were lost, that a copy is trusted which nobody kept track of.

use anyhow::{ensure, Result};
use serde_json::Value;
use tests_qemu::{patience::LinkTiming, workload::Plan, Cluster, Node, Workload, MIB};

use crate::{
    async_leg::LASTING,
    harness::{case, Case, SOON},
    mapper::Mapped,
    mirror::{refused, QUICK},
    persist::{boot, metadata, number, stands, until, up, CHUNK, DEVICE, MAPPED},
    several::{all_same, extend, extended, generation, has_all, in_step, leg, same, some_writes, wait, QUARTER},
};

pub(crate) const CASES: &[Case] = &[
    case!(an_old_source_does_not_start_on_the_word_of_a_bystander).three(),
    case!(two_that_were_promoted_from_one_copy_are_told_apart).three(),
    case!(two_targets_lost_at_once_leave_the_third_in_step).four(),
    case!(a_target_that_does_not_note_what_others_miss_is_given_up).three(),
    case!(a_second_target_that_was_prepared_is_compared).three(),
    case!(a_second_target_of_a_new_mirror_gets_what_was_ever_written).three(),
    case!(one_of_two_targets_is_shipped_and_gets_what_changed_meanwhile).three(),
];

/// A target whose metadata can be made to hang.
fn join_on<'a>(node: &'a Node, timing: &str) -> Result<Mapped<'a>> {
    let sectors = 4 * MIB / 512;
    let bits = Mapped::make(node, "bits", &format!("0 {sectors} linear /dev/vdf 0"))?;
    node.ctl(&format!(
        "join data --disk /dev/vdb --bitmap /dev/mapper/bits --yes {timing}"
    ))
    .ok()?;
    Ok(bits)
}

/// The one that took over has died, and somebody who knows nothing of it answers.
///
/// Covers: S83, S109.
fn an_old_source_does_not_start_on_the_word_of_a_bystander(cluster: &Cluster) -> Result<()> {
    extended(cluster, "")?;
    let [eve, adam, abel] = cluster.nodes() else {
        unreachable!("three machines")
    };
    eve.kill9()?;
    adam.ctl("promote data").ok()?;
    let workload = some_writes(adam, 720)?;
    adam.kill9()?;
    boot(eve)?;
    abel.ctl("status data").ok()?;
    let told = up(eve)?;
    ensure!(told.code != 0 && told.stderr.contains("data corrupt"), "{told:?}");
    refused(eve, "start data", &["data corrupt", "can't be asked"])?;
    boot(adam)?;
    adam.ctl("up --all").ok()?;
    stands(adam, "source", &["last_owner"])?;
    eve.ctl("up --all").ok()?;
    wait(adam, eve, "fully-operational")?;
    has_all(&workload, eve)
}

/// Adam and abel held the same when each became source. The former source follows adam before anything is written there,
/// so that nobody misses what is: it counted as the same to abel.
///
/// Covers: S87, S99, S110.
fn two_that_were_promoted_from_one_copy_are_told_apart(cluster: &Cluster) -> Result<()> {
    extended(cluster, "")?;
    let [eve, adam, abel] = cluster.nodes() else {
        unreachable!("three machines")
    };
    eve.kill9()?;
    adam.ctl("promote data").ok()?;
    boot(eve)?;
    up(eve)?;
    wait(adam, eve, "fully-operational")?;
    let copied = leg(adam, eve)?["resynced_bytes"].clone();
    let workload = some_writes(adam, 724)?;
    adam.kill9()?;
    refused(abel, "promote data", &["newer"])?;
    abel.ctl("force data --yes --override").ok()?;
    until("abel to be refused", || {
        let reason = leg(abel, eve).map_or(Value::Null, |leg| leg["reason"].clone());
        Ok(reason.as_str().is_some_and(|reason| reason.contains("newer data")))
    })?;
    has_all(&workload, eve)?;
    ensure!(copied == 0, "nothing was written that eve lacked: {copied}");
    Ok(())
}

/// The third is told of one loss while it has not yet noted the other.
///
/// Covers: S106, S110.
fn two_targets_lost_at_once_leave_the_third_in_step(cluster: &Cluster) -> Result<()> {
    let [eve, adam, abel, seth] = cluster.nodes() else {
        unreachable!("four machines")
    };
    eve.ctl(&format!("create data --disk /dev/vdb {MAPPED} {LASTING}"))
        .ok()?;
    let (soon, later) = (LinkTiming::new(200, 1000), LinkTiming::new(200, 4000));
    for (target, timing) in [(adam, soon), (seth, later)] {
        target.ctl(&format!("join data --disk /dev/vdb --yes {timing}")).ok()?;
        extend(eve, target, &timing.to_string())?;
    }
    let bits = join_on(abel, &LASTING.to_string())?;
    extend(eve, abel, &LASTING.to_string())?;
    in_step(eve, 3)?;
    let mut workload = Workload::start(eve, DEVICE, Plan::new(721, QUARTER).threads(8))?;
    workload.more(50, SOON)?;
    let before = metadata(eve)?.superblock.current;
    bits.hangs()?;
    cluster.cut(eve, adam);
    cluster.cut(eve, seth);
    until("two generations", || {
        let history = metadata(eve)?.superblock.history;
        Ok(history.iter().position(|past| *past == before) == Some(1))
    })?;
    bits.goes_on()?;
    workload.more(50, SOON)?;
    let healthy = leg(eve, abel)?;
    ensure!(
        healthy["state"] == "fully-operational" && healthy["connects"] == 1,
        "{healthy}"
    );
    ensure!(generation(abel)? == generation(eve)?, "abel has not noted the last one");
    cluster.restore_links();
    in_step(eve, 3)?;
    workload.stop()?;
    all_same(cluster)?;
    has_all(&workload, abel)
}

/// Covers: S106, S110.
fn a_target_that_does_not_note_what_others_miss_is_given_up(cluster: &Cluster) -> Result<()> {
    let [eve, adam, abel] = cluster.nodes() else {
        unreachable!("three machines")
    };
    eve.ctl(&format!("create data --disk /dev/vdb {QUICK}")).ok()?;
    adam.ctl(&format!("join data --disk /dev/vdb --yes {QUICK}")).ok()?;
    extend(eve, adam, &QUICK.to_string())?;
    let bits = join_on(abel, &QUICK.to_string())?;
    extend(eve, abel, &QUICK.to_string())?;
    in_step(eve, 2)?;
    let mut workload = Workload::start(eve, DEVICE, Plan::new(722, QUARTER).threads(8))?;
    workload.more(50, SOON)?;
    bits.hangs()?;
    cluster.cut(eve, adam);
    // Nobody is told that a write is done before it is known who lacks it, for as long as a target may take for a write.
    workload.more(50, 3 * SOON)?;
    wait(eve, abel, "out-of-sync")?;
    bits.goes_on()?;
    cluster.restore_links();
    in_step(eve, 2)?;
    workload.stop()?;
    all_same(cluster)?;
    has_all(&workload, abel)
}

/// What was written since its copy was made is marked nowhere, for the first target has it.
///
/// Covers: S270, S271.
fn a_second_target_that_was_prepared_is_compared(cluster: &Cluster) -> Result<()> {
    let [eve, adam, abel] = cluster.nodes() else {
        unreachable!("three machines")
    };
    eve.ctl(&format!("create data --disk /dev/vdb --no-full-sync {QUICK}"))
        .ok()?;
    adam.ctl(&format!("join data --disk /dev/vdb --yes {QUICK}")).ok()?;
    extend(eve, adam, &QUICK.to_string())?;
    in_step(eve, 1)?;
    // The image, as it is shipped.
    let image = eve.disk("vdb")?.read(0, eve.disk("vdb")?.size())?;
    abel.disk("vdb")?.write(0, &image)?;
    let workload = some_writes(eve, 723)?;
    abel.ctl(&format!("join data --disk /dev/vdb --yes --no-full-sync {QUICK}"))
        .ok()?;
    extend(eve, abel, &format!("--no-full-sync {QUICK}"))?;
    in_step(eve, 2)?;
    all_same(cluster)?;
    has_all(&workload, abel)?;
    let copied = leg(eve, abel)?["resynced_bytes"].as_u64().unwrap_or(u64::MAX);
    // Only what differs went over the network: at most what was written.
    ensure!(copied > 0 && copied <= 4096 * QUARTER + CHUNK, "{}", leg(eve, abel)?);
    Ok(())
}

/// Covers: S106.
fn a_second_target_of_a_new_mirror_gets_what_was_ever_written(cluster: &Cluster) -> Result<()> {
    let [eve, adam, abel] = cluster.nodes() else {
        unreachable!("three machines")
    };
    eve.ctl(&format!("create data --disk /dev/vdb --new {QUICK}")).ok()?;
    eve.sh(&format!("netraid-guest scatter {DEVICE} 3 100 200")).ok()?;
    adam.ctl(&format!("join data --disk /dev/vdb --yes {QUICK}")).ok()?;
    extend(eve, adam, &QUICK.to_string())?;
    in_step(eve, 1)?;
    eve.sh(&format!("netraid-guest scatter {DEVICE} 100 300")).ok()?;
    abel.ctl(&format!("join data --disk /dev/vdb --yes {QUICK}")).ok()?;
    extend(eve, abel, &QUICK.to_string())?;
    in_step(eve, 2)?;
    ensure!(leg(eve, abel)?["resynced_bytes"] == 4 * CHUNK, "{}", leg(eve, abel)?);
    same(adam, abel)
}

/// The other one goes on, and nothing is copied to it.
///
/// Covers: S274, S275, S276.
fn one_of_two_targets_is_shipped_and_gets_what_changed_meanwhile(cluster: &Cluster) -> Result<()> {
    extended(cluster, "")?;
    let [eve, adam, abel] = cluster.nodes() else {
        unreachable!("three machines")
    };
    until("the copies to be durable", || Ok(number(eve, "intent_chunks")? == 0))?;
    let copied = |target: &Node| -> Result<Option<u64>> { Ok(leg(eve, target)?["resynced_bytes"].as_u64()) };
    let (to_adam, to_abel) = (copied(adam)?, copied(abel)?);
    let id = leg(eve, abel)?["id"].clone();
    eve.ctl(&format!("pause data --leg {id}")).ok()?;
    wait(eve, abel, "paused")?;
    eve.sh(&format!("netraid-guest scatter {DEVICE} 3 100 200")).ok()?;
    abel.power_off()?;
    until("its going to be noticed", || {
        Ok(leg(eve, abel)?["connection"] != "connected")
    })?;
    eve.sh(&format!("netraid-guest scatter {DEVICE} 201 400")).ok()?;
    boot(abel)?;
    abel.ctl("up --all").ok()?;
    until("the shipped one to be back", || {
        Ok(leg(eve, abel)?["connection"] == "connected")
    })?;
    let state = leg(eve, abel)?;
    ensure!(state["state"] == "paused" && state["dirty_chunks"] == 5, "{state}");
    eve.ctl(&format!("resume data --leg {id}")).ok()?;
    in_step(eve, 2)?;
    ensure!(
        copied(abel)? == to_abel.map(|bytes| bytes + 5 * CHUNK),
        "{}",
        leg(eve, abel)?
    );
    ensure!(copied(adam)? == to_adam, "{}", leg(eve, adam)?);
    all_same(cluster)
}
