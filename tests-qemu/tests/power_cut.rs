// SPDX-License-Identifier: GPL-2.0
//! The power goes at random moments: what differs is marked, and nobody takes the wrong side for the right one.

use std::env;

use anyhow::{ensure, Context as _, Result};
use tests_qemu::{patience::LinkTiming, workload::Plan, Cluster, Node, Workload, MIB};

use crate::{
    dice::Dice,
    harness::{case, Case, SOON},
    mirror::{status, Mirror, QUICK},
    persist::{
        self, boot, bytes_of, comes_back, cut_power, differing, metadata, stands, until, CHUNK, DEVICE, MAPPED, SIZE,
    },
};

pub(crate) const CASES: &[Case] = &[
    case!(what_differs_after_a_power_cut_of_the_source_is_marked),
    case!(a_degraded_source_that_loses_power_copies_little_more_than_what_differs),
    case!(what_differs_after_a_power_cut_of_both_is_marked),
    case!(a_target_that_loses_power_in_a_resync_goes_on_with_it),
    case!(a_source_that_loses_power_while_generations_change_leads_on),
];

/// Environment variable: how many cuts each of these tests makes.
const CUTS: &str = "NETRAID_CUTS";
/// Cuts where nothing else is asked for.
const FEW: u64 = 3;
/// Blocks the writer has, all over the disk.
const BLOCKS: u64 = SIZE / 4096;

pub(crate) fn cuts(usual: u64) -> Result<u64> {
    match env::var(CUTS) {
        Ok(text) => text.parse().with_context(|| format!("{CUTS}={text}")),
        Err(_) => Ok(usual),
    }
}

/// Waits for some writes, a random number of them.
fn writes(workload: &Workload, dice: &mut Dice) -> Result<()> {
    workload.more(dice.between(20, 300), SOON)
}

/// A machine's disk has every acknowledged write; what other runs left between them does not count.
fn has_all(workload: &Workload, node: &Node) -> Result<()> {
    let verdict = workload.judge_disk(node.disk("vdb")?)?;
    ensure!(verdict.lost.is_empty(), "{} lost {:?}", node.name(), verdict.lost);
    Ok(())
}

/// Every difference is marked on the source; the chunks that differ and those that are marked.
fn all_marked(mirror: &Mirror<'_>, seed: u64) -> Result<(u64, u64)> {
    let (differ, marked) = (differing(mirror)?, metadata(mirror.source)?.after_crash());
    let forgotten: Vec<_> = differ.difference(&marked).collect();
    ensure!(
        forgotten.is_empty(),
        "round {seed}: chunks {forgotten:?} differ and are not marked: {:?}",
        metadata(mirror.source)?.superblock
    );
    Ok((differ.len() as u64, marked.len() as u64))
}

/// Covers: S36, S55, S56.
fn what_differs_after_a_power_cut_of_the_source_is_marked(cluster: &Cluster) -> Result<()> {
    let mut dice = Dice::new()?;
    let mirror = persist::mapped(cluster)?;
    for round in 0..cuts(FEW)? {
        // What the round before marked as differing would be copied without a look at it.
        persist::settled(mirror.source)?;
        let workload = Workload::start(mirror.source, DEVICE, Plan::new(500 + round, BLOCKS).threads(8))?;
        writes(&workload, &mut dice)?;
        mirror.source.kill9()?;
        // What had arrived is still being written there.
        mirror.target.ctl("wait data --for disconnected").ok()?;
        until("the last write there", || {
            Ok(status(mirror.target, "data")?["legs"][1]["in_flight"] == 0)
        })?;
        let (differ, marked) = all_marked(&mirror, round)?;
        comes_back(mirror.source)?;
        stands(mirror.source, "source", &["last_owner"])?;
        mirror.wait("fully-operational")?;
        let bytes = mirror.count("resynced_bytes")?;
        println!(
            "{differ} chunks differ, {marked} are marked, {} were copied",
            bytes / CHUNK
        );
        ensure!(bytes <= 2 * differ * CHUNK, "{}", mirror.leg()?);
        mirror.same_disks()?;
        has_all(&workload, mirror.target).with_context(|| format!("round {round}"))?;
    }
    Ok(())
}

/// Covers: S25, S56.
fn a_degraded_source_that_loses_power_copies_little_more_than_what_differs(cluster: &Cluster) -> Result<()> {
    let mut dice = Dice::new()?;
    let mirror = persist::mapped(cluster)?;
    for round in 0..cuts(2)? {
        persist::settled(mirror.source)?;
        cluster.cut(mirror.source, mirror.target);
        let workload = Workload::start(mirror.source, DEVICE, Plan::new(600 + round, BLOCKS).threads(8))?;
        mirror.wait("out-of-sync")?;
        writes(&workload, &mut dice)?;
        mirror.source.kill9()?;
        cluster.restore_links();
        let (differ, marked) = all_marked(&mirror, round)?;
        println!("{differ} chunks differ, {marked} are marked");
        comes_back(mirror.source)?;
        mirror.wait("fully-operational")?;
        // What is marked for no other reason than that its neighbours were in use is compared.
        let bytes = mirror.count("resynced_bytes")?;
        ensure!(
            bytes >= differ * CHUNK && bytes <= 2 * differ * CHUNK,
            "{}",
            mirror.leg()?
        );
        mirror.same_disks()?;
        has_all(&workload, mirror.target).with_context(|| format!("round {round}"))?;
    }
    Ok(())
}

/// Covers: S36, S83, S95.
fn what_differs_after_a_power_cut_of_both_is_marked(cluster: &Cluster) -> Result<()> {
    let mut dice = Dice::new()?;
    let mirror = persist::mapped(cluster)?;
    for round in 0..cuts(2)? {
        persist::settled(mirror.source)?;
        let workload = Workload::start(mirror.source, DEVICE, Plan::new(700 + round, BLOCKS).threads(8))?;
        writes(&workload, &mut dice)?;
        cut_power(cluster)?;
        let (differ, marked) = all_marked(&mirror, round)?;
        ensure!(marked >= differ);
        println!("{differ} chunks differ, {marked} are marked");
        cluster.on_all(boot)?;
        mirror.target.ctl("up --all").ok()?;
        stands(mirror.target, "target", &[])?;
        mirror.source.ctl("up --all").ok()?;
        stands(mirror.source, "source", &["last_owner"])?;
        // What is only marked is compared.
        mirror.wait("fully-operational")?;
        ensure!(
            mirror.count("resynced_bytes")? == differ * CHUNK,
            "{differ} differ: {}",
            mirror.leg()?
        );
        mirror.same_disks()?;
        for node in cluster.nodes() {
            has_all(&workload, node).with_context(|| format!("round {round}"))?;
        }
    }
    Ok(())
}

/// Covers: S78, S80.
fn a_target_that_loses_power_in_a_resync_goes_on_with_it(cluster: &Cluster) -> Result<()> {
    let mut dice = Dice::new()?;
    let (eve, adam) = cluster.pair();
    eve.sh("head -c 64M /dev/urandom > /dev/vdb && sync").ok()?;
    let options = format!("{MAPPED} {QUICK}");
    let mirror = Mirror::create_on(eve, adam, "vdb", &options, &options)?;
    let way = cluster.network().way(0, 1);
    let workload = Workload::start(eve, DEVICE, Plan::new(800, BLOCKS).threads(2))?;
    let mut copied_before = 0;
    mirror.extend_with(QUICK)?;
    for round in 0..cuts(2)? {
        let (sent, more) = (way.traffic().bytes, dice.between(2 * MIB, 16 * MIB));
        way.wait_for(2 * SOON, |traffic| traffic.bytes > sent + more)?;
        adam.kill9()?;
        mirror.wait("out-of-sync,fully-operational")?;
        let bytes = mirror.count("resynced_bytes")?;
        ensure!(bytes > copied_before || round > 0, "round {round}: {bytes}");
        copied_before = bytes;
        boot(adam)?;
        adam.ctl("up --all").ok()?;
        ensure!(
            status(adam, "data")?["inconsistent"] == true || mirror.leg()?["state"] == "fully-operational",
            "round {round}"
        );
    }
    let mut workload = workload;
    workload.stop()?;
    mirror.wait("fully-operational")?;
    stands(adam, "target", &[])?;
    let all = mirror.count("resynced_bytes")?;
    println!("{} MiB were copied in all", all / MIB);
    ensure!(all < 2 * SIZE, "{all}");
    has_all(&workload, adam)?;
    mirror.same_disks()
}

/// Cuts and restores the link as fast as it is noticed, so many times.
fn flap(cluster: &Cluster, mirror: &Mirror<'_>, times: u64) -> Result<()> {
    for _ in 0..times {
        cluster.cut(mirror.source, mirror.target);
        mirror.source.ctl("wait data --for disconnected").ok()?;
        cluster.restore_links();
        mirror.source.ctl("wait data --for connected").ok()?;
    }
    Ok(())
}

fn generation(node: &Node) -> Result<u64> {
    Ok(metadata(node)?.superblock.current)
}

/// Each loss of the link while there are writes is a new generation, and that is a superblock.
///
/// Covers: S90, S91.
fn a_source_that_loses_power_while_generations_change_leads_on(cluster: &Cluster) -> Result<()> {
    let mut dice = Dice::new()?;
    let (eve, adam) = cluster.pair();
    let timing = LinkTiming::new(100, 400);
    let options = format!("{MAPPED} {timing}");
    let mirror = Mirror::create_on(eve, adam, "vdb", &options, &options)?;
    mirror.extend_with(timing)?;
    mirror.wait("fully-operational")?;
    persist::settled(eve)?;
    for round in 0..cuts(3)? {
        let first = generation(eve)?;
        let workload = Workload::start(eve, DEVICE, Plan::new(900 + round, BLOCKS).threads(4))?;
        flap(cluster, &mirror, dice.between(1, 4))?;
        ensure!(generation(eve)? != first, "round {round}: no new generation");
        // The superblock is written about when the loss of the link is noticed.
        cluster.cut(eve, adam);
        writes_until_gone(&workload, &mut dice)?;
        eve.kill9()?;
        cluster.restore_links();
        let (differ, marked) = all_marked(&mirror, round)?;
        println!("{differ} chunks differ, {marked} are marked");
        comes_back(eve)?;
        stands(eve, "source", &["last_owner"])?;
        mirror.wait("fully-operational")?;
        ensure!(
            mirror.leg()?["resync_full"] == false,
            "round {round}: {}",
            mirror.leg()?
        );
        let bytes = mirror.count("resynced_bytes")?;
        ensure!(
            bytes <= bytes_of(&(0..marked).collect()),
            "{bytes} bytes, {marked} marked"
        );
        stands(adam, "target", &[])?;
        mirror.same_disks()?;
        has_all(&workload, adam).with_context(|| format!("round {round}"))?;
    }
    Ok(())
}

/// Waits for a moment around that at which the first write completes without the target.
fn writes_until_gone(workload: &Workload, dice: &mut Dice) -> Result<()> {
    // Those in flight complete when the loss is noticed; a few more, or none, are written after it.
    workload.more(dice.between(1, 12), SOON)
}
