// SPDX-License-Identifier: GPL-2.0
//! The main job: a disk is copied to another machine, and then every write goes to both.

use anyhow::{ensure, Result};
use tests_qemu::{workload::Plan, Cluster, Workload};

use crate::{
    harness::{case, Case, SOON},
    mirror::{self, Mirror},
};

pub(crate) const CASES: &[Case] = &[
    case!(a_mirror_without_a_target_is_usable_at_once).smoke(),
    case!(a_new_leg_copies_the_disk_while_the_application_writes).smoke(),
];

/// Covers: S18, S22.
fn a_mirror_without_a_target_is_usable_at_once(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(0);
    node.ctl("create data --disk /dev/vdb").ok()?;
    node.sh("blockdev --getsize64 /dev/netraid0").ok()?;
    let workload = Workload::start(node, "/dev/netraid0", Plan::new(1, 1024))?;
    workload.more(200, SOON)?;
    let status = mirror::status(node, "data")?;
    ensure!(status["role"] == "source", "{status}");
    ensure!(status["legs"].as_array().map(Vec::len) == Some(1), "{status}");
    Ok(())
}

/// Covers: S1, S19, S20, S23, S104.
fn a_new_leg_copies_the_disk_while_the_application_writes(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    eve.sh("head -c 8M /dev/urandom > /dev/vdb && sync").ok()?;
    let mirror = Mirror::create(eve, adam)?;
    let mut workload = Workload::start(eve, "/dev/netraid0", Plan::new(1, 4096))?;
    workload.more(50, SOON)?;
    mirror.extend()?;
    mirror.wait("fully-operational")?;
    workload.more(200, SOON)?;
    workload.stop()?;
    mirror.same_disks()?;
    Ok(())
}
