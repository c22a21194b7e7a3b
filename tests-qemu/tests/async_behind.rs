// SPDX-License-Identifier: GPL-2.0
//! Asynchronous legs that may fall behind rather than have the application wait, and how they catch up.

use anyhow::{ensure, Context as _, Result};
use serde_json::json;
use tests_qemu::{workload::Plan, Cluster, Workload};

use crate::{
    async_leg::{confirmed, LASTING},
    broken_network::disturb,
    harness::{case, Case, SOON},
    mirror::{refused, Mirror, QUICK},
    persist::{boot, reload, settled, CHUNK, DEVICE, MAPPED},
};

pub(crate) const CASES: &[Case] = &[
    case!(a_leg_that_may_fall_behind_holds_nobody_up).smoke(),
    case!(a_leg_that_fell_behind_catches_up_while_the_application_goes_on),
    case!(a_source_that_loses_power_while_its_leg_is_behind_knows_what_is_missing),
    case!(only_an_asynchronous_leg_can_fall_behind_and_it_is_remembered),
];

/// A mirror in sync whose leg may fall behind, with room for so many operations.
fn in_sync<'a>(cluster: &'a Cluster, limit: u32, create: &str) -> Result<Mirror<'a>> {
    let (source, target) = cluster.pair();
    let mirror = Mirror::create_on(
        source,
        target,
        "vdb",
        format!("--async={limit} {create} {LASTING}"),
        format!("{create} {LASTING}"),
    )?;
    mirror.extend_with(format!("--type async --congestion behind {LASTING}"))?;
    mirror.wait("fully-operational")?;
    Ok(mirror)
}

/// The target is silent, and so many writes go on all the same; returns their work load.
fn falls_behind(cluster: &Cluster, mirror: &Mirror<'_>, seed: u64, writes: u64) -> Result<Workload> {
    let mut here = mirror.source.events()?;
    cluster.cut(mirror.source, mirror.target);
    let plan = Plan::new(seed, 4096).threads(8).count(writes);
    let mut workload = Workload::start(mirror.source, DEVICE, plan)?;
    // Nobody answers, and nobody gives the connection up for that: only the policy can let them go on.
    let run = workload.finish(SOON)?;
    ensure!(run.errors.is_empty() && run.writes == writes, "{run:?}");
    here.wait_for_reason(&["adam can't keep up with the application", "in 5 s"], SOON)?;
    let leg = mirror.leg()?;
    ensure!(leg["state"] == "out-of-sync" && leg["falls"] == 1, "{leg}");
    ensure!(
        leg["unconfirmed"] == 0 && leg["dirty_chunks"].as_u64() > Some(0),
        "{leg}"
    );
    Ok(workload)
}

/// Covers: S38, S45.
fn a_leg_that_may_fall_behind_holds_nobody_up(cluster: &Cluster) -> Result<()> {
    let mirror = in_sync(cluster, 16, "")?;
    ensure!(mirror.leg()?["congestion"] == "behind", "{}", mirror.leg()?);
    let workload = falls_behind(cluster, &mirror, 60, 500)?;
    let told = mirror.source.ctl("status data").ok()?;
    ensure!(told.contains("can't keep up with the application"), "{told}");
    let mut here = mirror.source.events()?;
    cluster.restore_links();
    here.wait_for_reason(&["the target could not keep up with the application"], SOON)?;
    mirror.wait("fully-operational")?;
    confirmed(&mirror)?;
    ensure!(
        mirror.count("falls")? == 1 && mirror.count("resyncs")? == 2,
        "{}",
        mirror.leg()?
    );
    mirror.same_disks()?;
    let verdict = workload.judge_disk(mirror.target.disk("vdb")?)?;
    ensure!(verdict.good(), "{verdict:?}");
    let told = mirror.source.ctl("status data --detail").ok()?;
    ensure!(told.contains("\t\tFell behind: once\n"), "{told}");
    Ok(())
}

/// Covers: S41, S48.
fn a_leg_that_fell_behind_catches_up_while_the_application_goes_on(cluster: &Cluster) -> Result<()> {
    let mirror = in_sync(cluster, 16, "")?;
    // Far less than the application writes.
    disturb(cluster, "netem delay 5ms rate 4mbit")?;
    let mut here = mirror.source.events()?;
    let mut workload = Workload::start(mirror.source, DEVICE, Plan::new(61, 512).threads(8))?;
    here.wait_for_reason(&["adam can't keep up with the application"], SOON)?;
    here.wait_for("the end of the resync", 4 * SOON, |event| {
        event["event"] == "resync-done"
    })?;
    let run = workload.stop()?;
    ensure!(run.errors.is_empty(), "{run:?}");
    ensure!(mirror.count("falls")? > 0, "{}", mirror.leg()?);
    disturb(cluster, "pfifo")?;
    mirror.wait("fully-operational")?;
    confirmed(&mirror)?;
    mirror.same_disks()?;
    for node in cluster.nodes() {
        let verdict = workload.judge_disk(node.disk("vdb")?)?;
        ensure!(verdict.good(), "{}: {verdict:?}", node.name());
    }
    Ok(())
}

/// Covers: S39, S40, S56.
fn a_source_that_loses_power_while_its_leg_is_behind_knows_what_is_missing(cluster: &Cluster) -> Result<()> {
    let mirror = in_sync(cluster, 16, MAPPED)?;
    settled(mirror.source)?;
    let workload = falls_behind(cluster, &mirror, 62, 300)?;
    mirror.source.kill9()?;
    cluster.restore_links();
    boot(mirror.source)?;
    mirror.source.ctl("up --all").ok()?;
    mirror.wait("fully-operational")?;
    // Some of the disk, and no more of it than was written to.
    let leg = mirror.leg()?;
    let bytes = leg["resynced_bytes"].as_u64().context("resynced_bytes")?;
    ensure!(bytes > 0 && bytes <= 300 * 2 * CHUNK, "{leg}");
    ensure!(leg["congestion"] == "behind", "{leg}");
    mirror.same_disks()?;
    let verdict = workload.judge_disk(mirror.target.disk("vdb")?)?;
    ensure!(verdict.lost.is_empty(), "{verdict:?}");
    Ok(())
}

/// Covers: S43, S45.
fn only_an_asynchronous_leg_can_fall_behind_and_it_is_remembered(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let mirror = Mirror::create_on(eve, adam, "vdb", format!("--async {QUICK}"), QUICK)?;
    let extend = format!("extend data --to {} --yes {QUICK} --congestion behind", adam.ip());
    let sentence = "a synchronous leg can't fall behind; make it asynchronous, or leave the congestion policy out";
    refused(eve, &extend, &[sentence])?;
    eve.ctl(&format!("{extend} --type async")).ok()?;
    mirror.wait("fully-operational")?;
    eve.ctl("down data").ok()?;
    reload(eve)?;
    eve.ctl("up data").ok()?;
    mirror.wait("fully-operational")?;
    ensure!(mirror.leg()?["congestion"] == "behind", "{}", mirror.leg()?);
    eve.ctl("unextend data").ok()?;
    mirror.extend_with(format!("--type async {QUICK}"))?;
    mirror.wait("fully-operational")?;
    ensure!(mirror.leg()?["congestion"] == "block", "{}", mirror.leg()?);
    // The target knows nothing of it.
    let there = crate::mirror::status(adam, "data")?;
    ensure!(there["legs"][1]["congestion"] == json!(null), "{there}");
    Ok(())
}
