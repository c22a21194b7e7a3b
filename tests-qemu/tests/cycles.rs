// SPDX-License-Identifier: GPL-2.0
//! Mirrors made and taken away again and again, in order and in the middle of things: nothing of them stays in memory.

use anyhow::{ensure, Result};
use tests_qemu::{Cluster, Node};

use crate::harness::{case, leaks, Case, SOON};

pub(crate) const CASES: &[Case] = &[case!(
    a_hundred_cycles_of_create_extend_stop_delete_leave_no_memory_behind
)];

/// Ways to end a mirror's life, as shell commands on the source; each leaves it deleted there.
const ENDS: [&str; 4] = [
    // In order.
    "netraid-ctl unextend data && netraid-ctl stop data && netraid-ctl delete data",
    // With its leg, without asking anybody.
    "netraid-ctl stop data --force && netraid-ctl delete data --force",
    // In the middle of writes; what the writer says of it does not matter.
    "{ dd if=/dev/zero of=/dev/netraid0 bs=64k count=64 oflag=direct conv=nocreat status=none 2>&1 & } && \
     { netraid-ctl delete data --force; code=$?; wait; test $code = 0; }",
    // Stopped and started in between, so that its metadata is read.
    "netraid-ctl stop data && netraid-ctl start data && netraid-ctl stop data && netraid-ctl delete data",
];

/// A disk of 4 MiB, so that it is copied at once.
const SMALL: &str = "modprobe loop && truncate -s 4M /tmp/small && losetup -f --show /tmp/small";

/// One life of a mirror that ends as `end` says.
fn live(eve: &Node, adam: &Node, disks: &[String; 2], end: &str) -> Result<()> {
    adam.ctl(&format!("join data --disk {} --yes", disks[1])).ok()?;
    let life = format!(
        "netraid-ctl create data --disk {} && netraid-ctl extend data --to {} --yes --wait=60 && \
         dd if=/dev/urandom of=/dev/netraid0 bs=64k count=4 oflag=direct status=none && {end}",
        disks[0],
        adam.ip()
    );
    eve.sh(&life).timeout(3 * SOON).ok()?;
    adam.ctl("delete data --force").ok()?;
    Ok(())
}

/// Covers: S122, S204.
fn a_hundred_cycles_of_create_extend_stop_delete_leave_no_memory_behind(cluster: &Cluster) -> Result<()> {
    // An ordinary kernel does not know which memory is lost; there the cycles only have to work.
    let cycles = if cluster.debug() { 100 } else { 12 };
    let (eve, adam) = cluster.pair();
    let disks = [eve.sh(SMALL).ok()?, adam.sh(SMALL).ok()?].map(|disk| disk.trim().to_owned());
    for cycle in 0..cycles {
        live(eve, adam, &disks, ENDS[cycle % ENDS.len()])?;
    }
    for node in [eve, adam] {
        // One thread belongs to the module itself.
        let left = "grep -h '^netraid_' /proc/[0-9]*/comm | grep -vx netraid_desk; ls -d /dev/netraid[0-9]*; true";
        let left = node.sh(left).run()?.stdout;
        ensure!(left.is_empty(), "left on {}: {left}", node.name());
        if cluster.debug() {
            node.sh(leaks::AGE).ok()?;
            leaks::check(node)?;
        }
    }
    Ok(())
}
