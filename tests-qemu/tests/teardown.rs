// SPDX-License-Identifier: GPL-2.0
//! A mirror is taken out of service in the middle of its work: that ends soon, and nothing else is disturbed.

use std::time::Duration;

use anyhow::{ensure, Result};
use tests_qemu::{workload::Plan, Cluster, Node, Workload};

use crate::{
    harness::{case, Case, SOON},
    mirror::{status, Mirror},
};

pub(crate) const CASES: &[Case] = &[
    case!(a_source_goes_in_the_middle_of_a_resync),
    case!(a_source_goes_in_the_middle_of_writes).smoke(),
    case!(a_source_goes_while_its_target_hangs),
    case!(a_target_goes_in_the_middle_of_a_resync),
    case!(a_target_goes_in_the_middle_of_writes),
    case!(a_leg_goes_in_the_middle_of_a_resync),
];

const DEVICE: &str = "/dev/netraid0";

/// A mirror whose first resync takes so long that the test ends before it.
fn in_slow_resync(cluster: &Cluster) -> Result<Mirror<'_>> {
    let (eve, adam) = cluster.pair();
    let mirror = Mirror::create(eve, adam)?;
    mirror.extend()?;
    let way = cluster.network().way(1, 0);
    mirror.wait("connected")?;
    way.delay(Duration::from_millis(400));
    mirror.wait("resyncing")?;
    Ok(mirror)
}

/// Stops, forgets, unloads.
fn take_away(node: &Node) -> Result<()> {
    node.ctl("stop data --force").ok()?;
    ensure!(status(node, "data")?["role"] == "stopped");
    node.ctl("delete data").ok()?;
    node.sh("rmmod netraid").ok()?;
    // The disk is free again: this claims it.
    node.sh("blkdiscard -o 0 -l 4096 /dev/vdb").ok()?;
    Ok(())
}

/// Covers: S122.
fn a_source_goes_in_the_middle_of_a_resync(cluster: &Cluster) -> Result<()> {
    let mirror = in_slow_resync(cluster)?;
    let mut workload = Workload::start(mirror.source, DEVICE, Plan::new(71, 1024))?;
    workload.more(1, SOON)?;
    take_away(mirror.source)?;
    workload.stop()?;
    mirror.target.ctl("wait data --for disconnected").ok()?;
    let left = status(mirror.target, "data")?;
    ensure!(left["inconsistent"] == true, "{left}");
    take_away(mirror.target)
}

/// Covers: S35, S36, S122.
fn a_source_goes_in_the_middle_of_writes(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::in_sync(cluster)?;
    let mut workload = Workload::start(mirror.source, DEVICE, Plan::new(72, 1024).threads(8))?;
    workload.more(50, SOON)?;
    let refused = mirror.source.ctl("stop data").exits(2)?;
    ensure!(refused.stderr.contains("in use"), "{refused:?}");
    mirror.source.ctl("stop data --force").ok()?;
    let run = workload.stop()?;
    ensure!(run.errors.len() <= 8, "{:?}", run.errors);
    take_away(mirror.source)?;
    // Who stops a source in order leaves a usable copy with everything that was acknowledged.
    mirror.target.ctl("promote data").ok()?;
    let verdict = workload.judge_device(mirror.target, DEVICE)?;
    ensure!(verdict.good(), "{verdict:?}");
    take_away(mirror.target)
}

/// Covers: S122.
fn a_source_goes_while_its_target_hangs(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::in_sync(cluster)?;
    let mut workload = Workload::start(mirror.source, DEVICE, Plan::new(73, 1024))?;
    workload.more(20, SOON)?;
    mirror.target.freeze()?;
    // Writes wait for the target now, and nobody has noticed yet.
    let taken = take_away(mirror.source);
    mirror.target.thaw()?;
    taken?;
    workload.stop()?;
    Ok(())
}

/// Covers: S24, S122.
fn a_target_goes_in_the_middle_of_a_resync(cluster: &Cluster) -> Result<()> {
    let mirror = in_slow_resync(cluster)?;
    let mut workload = Workload::start(mirror.source, DEVICE, Plan::new(74, 1024))?;
    workload.more(1, SOON)?;
    take_away(mirror.target)?;
    mirror.wait("out-of-sync")?;
    workload.more(50, SOON)?;
    workload.stop()?;
    take_away(mirror.source)
}

/// Covers: S24, S122.
fn a_target_goes_in_the_middle_of_writes(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::in_sync(cluster)?;
    let mut workload = Workload::start(mirror.source, DEVICE, Plan::new(75, 1024).threads(8))?;
    workload.more(50, SOON)?;
    take_away(mirror.target)?;
    mirror.wait("out-of-sync")?;
    workload.more(50, SOON)?;
    ensure!(workload.stop()?.errors.is_empty(), "the application got an error");
    take_away(mirror.source)
}

/// Covers: S20, S34.
fn a_leg_goes_in_the_middle_of_a_resync(cluster: &Cluster) -> Result<()> {
    let mirror = in_slow_resync(cluster)?;
    let mut workload = Workload::start(mirror.source, DEVICE, Plan::new(76, 1024))?;
    workload.more(1, SOON)?;
    mirror.source.ctl("unextend data").ok()?;
    workload.more(50, SOON)?;
    cluster.restore_links();
    // A new leg to the same target begins anew.
    mirror.extend()?;
    mirror.wait("fully-operational")?;
    workload.stop()?;
    let leg = mirror.leg()?;
    ensure!(leg["resyncs"] == 1 && leg["resync_full"] == true, "{leg}");
    mirror.same_disks()
}
