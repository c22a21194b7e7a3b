// SPDX-License-Identifier: GPL-2.0
//! As many mirrors as a large server has disks.

use std::env;

use anyhow::{ensure, Context as _, Result};
use tests_qemu::{Cluster, Node};

use crate::harness::{case, Case, SOON};

pub(crate) const CASES: &[Case] = &[case!(many_mirrors_work_between_two_machines).memory(1024)];

/// Environment variable: how many mirrors; so many where nothing is said, and a hundred fit.
const MIRRORS: &str = "NETRAID_MIRRORS";
const USUAL: u64 = 20;

/// What a machine has left, and what the module uses: bytes of memory, threads.
#[derive(Clone, Copy)]
struct Use {
    free: u64,
    threads: u64,
}

fn used(node: &Node) -> Result<Use> {
    let told = node
        .sh(
            "sync; echo 3 > /proc/sys/vm/drop_caches; awk '/MemAvailable/ { print $2 }' /proc/meminfo; \
             cat /proc/[0-9]*/comm 2> /dev/null | grep -c '^netraid_'; true",
        )
        .ok()?;
    let mut numbers = told.split_whitespace().map(str::parse::<u64>);
    let mut next = || -> Result<u64> { Ok(numbers.next().context("a number")??) };
    Ok(Use {
        free: next()? * 1024,
        threads: next()?,
    })
}

/// Covers: S105.
fn many_mirrors_work_between_two_machines(cluster: &Cluster) -> Result<()> {
    let mirrors: u64 = env::var(MIRRORS).ok().map_or(Ok(USUAL), |text| text.parse())?;
    let (eve, adam) = cluster.pair();
    let long = 10 * SOON;
    let each = |script: &str| format!("set -e; n=0; while [ $n -lt {mirrors} ]; do {script}; n=$((n + 1)); done");
    cluster.on_all(|node| {
        let disks = "truncate -s 1M /tmp/$n; ln -s $(losetup -f --show /tmp/$n) /tmp/disk$n";
        node.sh(&format!("modprobe loop; {}", each(disks))).timeout(long).ok()?;
        Ok(())
    })?;
    let before = [used(eve)?, used(adam)?];
    adam.sh(&each("netraid-ctl join m$n --disk /tmp/disk$n --yes 2> /dev/null"))
        .timeout(long)
        .ok()?;
    let create = "netraid-ctl create m$n --disk /tmp/disk$n --id $n";
    let extend = format!("{create}; netraid-ctl extend m$n --to {} --yes 2> /dev/null", adam.ip());
    eve.sh(&each(&extend)).timeout(long).ok()?;
    eve.sh(&each("netraid-ctl wait m$n --for fully-operational"))
        .timeout(long)
        .ok()?;
    eve.sh("netraid-ctl status --check > /dev/null").ok()?;
    let idle = [used(eve)?, used(adam)?];
    // All of them at the same time.
    let write = "head -c 1M /dev/urandom | dd of=/dev/netraid$n bs=64k iflag=fullblock oflag=direct status=none & \
                 pids=\"$pids $!\"";
    eve.sh(&format!("{}; for pid in $pids; do wait $pid; done", each(write)))
        .timeout(long)
        .ok()?;
    eve.sh("netraid-ctl status --check > /dev/null").ok()?;
    let sums = |node: &Node| node.sh(&each("dd if=/tmp/disk$n bs=1M status=none | sha256sum")).ok();
    let (there, here) = (sums(eve)?, sums(adam)?);
    ensure!(there == here, "some copies differ:\n{there}\n{here}");
    // A link that breaks breaks for all, and all come back.
    cluster.cut(eve, adam);
    eve.sh(&each("netraid-ctl wait m$n --for out-of-sync"))
        .timeout(long)
        .ok()?;
    eve.sh(&each(
        "dd if=/dev/zero of=/dev/netraid$n bs=64k count=1 seek=3 oflag=direct status=none",
    ))
    .timeout(long)
    .ok()?;
    cluster.restore_links();
    eve.sh(&each("netraid-ctl wait m$n --for fully-operational"))
        .timeout(long)
        .ok()?;
    ensure!(sums(eve)? == sums(adam)?, "some copies differ after the break");
    for (node, (before, idle)) in [eve, adam].into_iter().zip(before.into_iter().zip(idle)) {
        let memory = before.free.saturating_sub(idle.free) / mirrors;
        let threads = (idle.threads - before.threads) / mirrors;
        println!("{}: {memory} bytes and {threads} threads for each mirror", node.name());
        node.sh("netraid-ctl down --all").timeout(long).ok()?;
        let left = used(node)?.threads;
        ensure!(left <= before.threads, "{left} threads are left on {}", node.name());
    }
    Ok(())
}
