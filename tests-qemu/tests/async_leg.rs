// SPDX-License-Identifier: GPL-2.0
//! Asynchronous legs: writes end on the local disk, as long as the target is not too far behind.

use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use tests_qemu::{patience::scaled, patience::LinkTiming, workload::Plan, Cluster, Node, Workload};

use crate::{
    harness::{case, Case, SOON},
    mirror::{refused, status, Mirror, QUICK},
    persist::{differing, metadata, reload, turned, until, DEVICE, MAPPED},
};

pub(crate) const CASES: &[Case] = &[
    case!(writes_on_an_asynchronous_leg_return_before_the_round_trip).smoke(),
    case!(as_many_writes_as_the_limit_return_while_the_target_is_silent).smoke(),
    case!(a_network_that_is_too_slow_slows_the_writes_and_breaks_nothing),
    case!(asynchronous_targets_need_a_permission).smoke(),
    case!(the_type_of_a_leg_outlives_restarts_and_changes_of_place),
    case!(a_pause_and_a_stop_leave_no_acknowledged_write_behind),
    case!(a_stop_without_an_answer_marks_what_was_acknowledged_early),
];

/// A link may be silent for long.
pub(crate) const LASTING: LinkTiming = LinkTiming::new(1000, 120_000);

/// A mirror in sync with an asynchronous leg, made with these options of `create`.
pub(crate) fn in_sync<'a>(cluster: &'a Cluster, timing: LinkTiming, create: &str) -> Result<Mirror<'a>> {
    let (source, target) = cluster.pair();
    let mirror = Mirror::create_on(
        source,
        target,
        "vdb",
        format!("--async {create} {timing}"),
        format!("{create} {timing}"),
    )?;
    mirror.extend_with(format!("--type async {timing}"))?;
    mirror.wait("fully-operational")?;
    Ok(mirror)
}

/// Everything is delayed on the first network, in both directions.
pub(crate) fn delay(cluster: &Cluster, one_way: Duration) {
    for (from, to) in [(0, 1), (1, 0)] {
        cluster.network().way(from, to).delay(one_way);
    }
}

/// Waits until the target has confirmed everything.
pub(crate) fn confirmed(mirror: &Mirror<'_>) -> Result<()> {
    until("the target to confirm everything", || {
        Ok(mirror.count("unconfirmed_bytes")? == 0 && mirror.count("in_flight")? == 0)
    })
}

/// Nothing but the application's own writes happened to the leg.
pub(crate) fn undisturbed(mirror: &Mirror<'_>) -> Result<()> {
    let leg = mirror.leg()?;
    ensure!(
        leg["state"] == "fully-operational" && leg["connects"] == 1 && leg["resyncs"] == 1,
        "{leg}"
    );
    Ok(())
}

/// Covers: S38, S48.
fn writes_on_an_asynchronous_leg_return_before_the_round_trip(cluster: &Cluster) -> Result<()> {
    let mirror = in_sync(cluster, LASTING, "")?;
    let round_trip = Duration::from_secs(2);
    delay(cluster, round_trip / 2);
    let began = Instant::now();
    let mut workload = Workload::start(mirror.source, DEVICE, Plan::new(38, 4096).threads(1).count(200))?;
    workload.finish(SOON)?;
    let took = began.elapsed();
    ensure!(
        took < scaled(round_trip * 20),
        "200 writes one after the other took {took:?}"
    );
    let leg = mirror.leg()?;
    ensure!(leg["unconfirmed_bytes"].as_u64() > Some(0), "{leg}");
    ensure!(leg["sync_fallbacks"] == 0 && leg["oldest_ms"].is_u64(), "{leg}");
    let text = mirror.source.ctl("status data").ok()?;
    ensure!(text.contains("\tType: Asynchronous\n\tUnconfirmed: "), "{text}");
    confirmed(&mirror)?;
    undisturbed(&mirror)?;
    mirror.same_disks()
}

/// With this limit so many writes return though nothing comes back, and one more does not until something does.
fn holds_back_after(cluster: &Cluster, mirror: &Mirror<'_>, limit: u64) -> Result<()> {
    let fallbacks = mirror.count("sync_fallbacks")?;
    cluster.cut(mirror.source, mirror.target);
    let plan = Plan::new(1000 + limit, 4096).threads(1);
    Workload::start(mirror.source, DEVICE, plan.count(limit))?.finish(SOON)?;
    ensure!(mirror.count("unconfirmed_bytes")? == limit * 4096, "{}", mirror.leg()?);
    ensure!(mirror.count("sync_fallbacks")? == fallbacks, "{}", mirror.leg()?);
    let plan = Plan { seed: 1, ..plan };
    let mut next = Workload::start(mirror.source, DEVICE, plan.count(1))?;
    until("the next one to be counted", || {
        Ok(mirror.count("sync_fallbacks")? == fallbacks + 1)
    })?;
    ensure!(next.run().writes == 0, "it returned");
    ensure!(
        mirror.count("unconfirmed_bytes")? == (limit + 1) * 4096,
        "{}",
        mirror.leg()?
    );
    cluster.restore_links();
    next.finish(2 * SOON)?;
    confirmed(mirror)?;
    // Below the limit it is asynchronous again.
    Workload::start(mirror.source, DEVICE, Plan { seed: 2, ..plan }.count(1))?.finish(SOON)?;
    ensure!(mirror.count("sync_fallbacks")? == fallbacks + 1, "{}", mirror.leg()?);
    confirmed(mirror)
}

/// Covers: S42, S43, S45, S46, S47, S48.
fn as_many_writes_as_the_limit_return_while_the_target_is_silent(cluster: &Cluster) -> Result<()> {
    let mirror = in_sync(cluster, LASTING, "")?;
    let effective = |limit: &str| -> Result<()> {
        let told = mirror.source.ctl("status data --detail").ok()?;
        ensure!(told.contains(&format!("Async limit: {limit}\n")), "{told}");
        Ok(())
    };
    effective("256")?;
    holds_back_after(cluster, &mirror, 256)?;
    for small in ["0", "1", "2"] {
        mirror.source.ctl(&format!("set data async-limit {small}")).ok()?;
        effective("256")?;
    }
    mirror.source.ctl("set data async-limit 3").ok()?;
    effective("3")?;
    holds_back_after(cluster, &mirror, 3)?;
    mirror.source.ctl("set data async-limit 1").ok()?;
    holds_back_after(cluster, &mirror, 256)?;
    mirror.source.ctl("set data async-limit 4096").ok()?;
    effective("4096")?;
    // More than the usual number, and none of them waits.
    let fallbacks = mirror.count("sync_fallbacks")?;
    cluster.cut(mirror.source, mirror.target);
    Workload::start(mirror.source, DEVICE, Plan::new(4096, 4096).threads(1).count(600))?.finish(SOON)?;
    ensure!(mirror.count("unconfirmed_bytes")? == 600 * 4096, "{}", mirror.leg()?);
    ensure!(mirror.count("sync_fallbacks")? == fallbacks, "{}", mirror.leg()?);
    cluster.restore_links();
    confirmed(&mirror)?;
    mirror.source.ctl("set data async-limit 4097").exits(1)?;
    undisturbed(&mirror)?;
    mirror.same_disks()
}

/// Covers: S45, S49.
fn a_network_that_is_too_slow_slows_the_writes_and_breaks_nothing(cluster: &Cluster) -> Result<()> {
    let mirror = in_sync(cluster, LASTING, "")?;
    mirror.source.ctl("set data async-limit 16").ok()?;
    let eve = mirror.source;
    eve.sh("modprobe sch_netem && tc qdisc add dev eth0 root netem rate 4mbit limit 12")
        .ok()?;
    let began = Instant::now();
    let mut workload = Workload::start(eve, DEVICE, Plan::new(49, 4096).count(700))?;
    workload.finish(2 * SOON)?;
    let took = began.elapsed();
    let shaped = eve.sh("tc qdisc del dev eth0 root").run()?;
    ensure!(shaped.code == 0, "{shaped:?}");
    // 700 blocks of 4096 bytes at 4 Mbit/s are 5.7 s; what the network buffers comes later.
    ensure!(took > Duration::from_secs(2), "it took {took:?} only");
    ensure!(mirror.count("sync_fallbacks")? > 0, "{}", mirror.leg()?);
    confirmed(&mirror)?;
    undisturbed(&mirror)?;
    mirror.same_disks()
}

/// Covers: S52, S53.
fn asynchronous_targets_need_a_permission(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let mirror = Mirror::create(eve, adam)?;
    let extend = format!("extend data --to {} --yes --type async", adam.ip());
    let bitmap = "/var/lib/netraid/bitmap_data";
    refused(
        eve,
        &extend,
        &["synchronous targets alone", &format!("netraid-ctl bitmap -a {bitmap}")],
    )?;
    ensure!(mirror.status()?["async_permitted"] == false, "{}", mirror.status()?);
    refused(
        eve,
        &format!("bitmap -a 100 {bitmap}"),
        &["`netraid-ctl stop data` first"],
    )?;
    eve.ctl("stop data").ok()?;
    let told = eve.ctl(&format!("bitmap -a 100 {bitmap}")).ok()?;
    ensure!(told.contains("100 operations outstanding"), "{told}");
    eve.ctl("start data").ok()?;
    eve.ctl(&extend).ok()?;
    mirror.wait("fully-operational")?;
    let state = mirror.status()?;
    ensure!(
        state["async_permitted"] == true && state["async_limit"] == 100,
        "{state}"
    );
    ensure!(state["legs"][1]["replication"] == "asynchronous", "{state}");
    // With the permission a leg may be synchronous all the same.
    eve.ctl("unextend data").ok()?;
    mirror.extend()?;
    mirror.wait("fully-operational")?;
    ensure!(mirror.leg()?["replication"] == "synchronous", "{}", mirror.leg()?);
    Workload::start(eve, DEVICE, Plan::new(53, 1024).count(50))?.finish(SOON)?;
    ensure!(mirror.count("unconfirmed_bytes")? == 0 && mirror.count("sync_fallbacks")? == 0);
    ensure!(status(adam, "data")?["legs"][1]["replication"] == "synchronous");
    mirror.same_disks()
}

/// Covers: S44, S53.
fn the_type_of_a_leg_outlives_restarts_and_changes_of_place(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    eve.sh("mkdir -p /etc/default && echo LKDR_ASYNC_LIMIT=20 > /etc/default/netraid")
        .ok()?;
    let mirror = in_sync(cluster, QUICK, "")?;
    eve.sh("rm /etc/default/netraid").ok()?;
    let asynchronous = |node: &Node| -> Result<()> {
        let state = status(node, "data")?;
        ensure!(
            state["legs"][1]["replication"] == "asynchronous",
            "{}: {state}",
            node.name()
        );
        Ok(())
    };
    ensure!(mirror.status()?["async_limit"] == 20, "{}", mirror.status()?);
    asynchronous(eve)?;
    asynchronous(adam)?;
    reload(eve)?;
    mirror.wait("fully-operational")?;
    asynchronous(eve)?;
    ensure!(mirror.status()?["async_limit"] == 20, "{}", mirror.status()?);
    adam.ctl("switchover data").ok()?;
    let turned = turned(&mirror);
    turned.wait("fully-operational")?;
    asynchronous(adam)?;
    asynchronous(eve)?;
    delay(cluster, Duration::from_millis(200));
    Workload::start(adam, DEVICE, Plan::new(54, 1024).threads(1).count(20))?.finish(SOON)?;
    ensure!(turned.count("unconfirmed_bytes")? > 0, "{}", turned.leg()?);
    cluster.restore_links();
    confirmed(&turned)?;
    turned.same_disks()
}

/// Covers: S38, S45.
fn a_pause_and_a_stop_leave_no_acknowledged_write_behind(cluster: &Cluster) -> Result<()> {
    let mirror = in_sync(cluster, LASTING, "")?;
    delay(cluster, Duration::from_millis(400));
    let write = |seed: u64| -> Result<()> {
        let plan = Plan::new(seed, 4096).threads(1).count(60);
        Workload::start(mirror.source, DEVICE, plan)?.finish(SOON)?;
        ensure!(mirror.count("unconfirmed_bytes")? > 0, "{}", mirror.leg()?);
        Ok(())
    };
    write(1)?;
    mirror.source.ctl("pause data").ok()?;
    ensure!(mirror.count("dirty_chunks")? == 0, "{}", mirror.leg()?);
    mirror.same_disks()?;
    mirror.source.ctl("resume data").ok()?;
    mirror.wait("fully-operational")?;
    write(2)?;
    mirror.source.ctl("stop data").ok()?;
    mirror.same_disks()?;
    cluster.restore_links();
    mirror.source.ctl("start data").ok()?;
    mirror.wait("fully-operational")?;
    ensure!(mirror.count("resynced_bytes")? == 0, "{}", mirror.leg()?);
    // Nor does one that changes places.
    delay(cluster, Duration::from_millis(400));
    write(3)?;
    mirror.target.ctl("switchover data").timeout(2 * SOON).ok()?;
    cluster.restore_links();
    let turned = turned(&mirror);
    turned.wait("fully-operational")?;
    ensure!(turned.count("resynced_bytes")? == 0, "{}", turned.leg()?);
    turned.same_disks()
}

/// Covers: S39, S40.
fn a_stop_without_an_answer_marks_what_was_acknowledged_early(cluster: &Cluster) -> Result<()> {
    let mirror = in_sync(cluster, LinkTiming::new(500, 4000), MAPPED)?;
    let (eve, adam) = cluster.pair();
    let before = mirror.status()?["generation"].clone();
    cluster.cut(eve, adam);
    Workload::start(eve, DEVICE, Plan::new(40, 4096).threads(1).count(40))?.finish(SOON)?;
    // Waits for as long as the link may be silent.
    eve.ctl("stop data").timeout(2 * SOON).ok()?;
    let (differ, marked) = (differing(&mirror)?, metadata(eve)?.after_crash());
    ensure!(!differ.is_empty(), "everything arrived, so nothing was shown");
    ensure!(differ.is_subset(&marked), "{differ:?} are not all in {marked:?}");
    cluster.restore_links();
    eve.ctl("start data").ok()?;
    mirror.wait("fully-operational")?;
    ensure!(mirror.status()?["generation"] != before, "no new generation began");
    ensure!(mirror.count("resynced_bytes")? > 0, "{}", mirror.leg()?);
    mirror.same_disks()
}
