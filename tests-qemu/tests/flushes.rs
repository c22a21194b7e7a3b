// SPDX-License-Identifier: GPL-2.0
//! Where flushes go: to every target whose disk could lose something, and to no other one.

use std::sync::{
    atomic::{AtomicU64, Ordering},
    Arc,
};

use anyhow::{ensure, Result};
use netraid_core::wire::{Kind, MAGIC};
use tests_qemu::{Cluster, Node};

use crate::{
    broken_network::KIND_AT,
    harness::{case, Case, SOON},
    mirror::{Mirror, QUICK},
    persist::DEVICE,
};

pub(crate) const CASES: &[Case] = &[
    case!(a_flush_is_sent_only_where_something_could_be_lost).smoke(),
    case!(a_disk_whose_cache_is_switched_on_gets_flushes_again).debug(),
];

/// Flushes of an application in a row. Those of the intent log are a few at most in that time.
const FLUSHES: u64 = 20;

/// Tells a machine's kernel that the disk has a write cache, or none.
fn cache(node: &Node, how: &str) -> Result<()> {
    node.sh(&format!("echo 'write {how}' > /sys/block/vdb/queue/write_cache"))
        .ok()?;
    Ok(())
}

/// Counts the messages for a flush that go from the source to the target from now on.
fn flushes(cluster: &Cluster) -> Arc<AtomicU64> {
    let count = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&count);
    cluster.network().way(0, 1).filter(move |packet| {
        if packet.carries(MAGIC, KIND_AT, Kind::Flush.number()) {
            seen.fetch_add(1, Ordering::Relaxed);
        }
        true
    });
    count
}

/// Writes, with a flush after each write; how many were sent.
fn sent(cluster: &Cluster, mirror: &Mirror<'_>) -> Result<u64> {
    let count = flushes(cluster);
    let write = format!("dd if=/dev/urandom of={DEVICE} bs=4k count=1 oflag=direct conv=notrunc,fsync status=none");
    let script = format!("set -e; for it in $(seq {FLUSHES}); do {write}; done");
    mirror.source.sh(&script).timeout(2 * SOON).ok()?;
    Ok(count.load(Ordering::Relaxed))
}

/// Covers: S5.
fn a_flush_is_sent_only_where_something_could_be_lost(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    cache(adam, "through")?;
    let mirror = Mirror::quick(cluster)?;
    let few = sent(cluster, &mirror)?;
    ensure!(few < FLUSHES / 2, "{few} flushes went to a disk that loses nothing");
    mirror.same_disks()?;
    // Without the local disk's answer nothing would end a flush that is not sent.
    ensure!(mirror.count("in_flight")? == 0, "{}", mirror.leg()?);
    eve.ctl("unextend data").ok()?;
    adam.ctl("delete data --force").ok()?;
    cache(adam, "back")?;
    adam.ctl(&format!("join data --disk /dev/vdb --yes {QUICK}")).ok()?;
    mirror.extend_with(QUICK)?;
    mirror.wait("fully-operational")?;
    let all = sent(cluster, &mirror)?;
    ensure!(all >= FLUSHES, "{all} flushes went to a disk with a cache");
    mirror.same_disks()
}

/// Covers: S5, S36.
fn a_disk_whose_cache_is_switched_on_gets_flushes_again(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    cache(adam, "through")?;
    let mirror = Mirror::quick(cluster)?;
    sent(cluster, &mirror)?;
    let (mut here, mut there) = (eve.events()?, adam.events()?);
    cache(adam, "back")?;
    // The write that is not confirmed for that is copied on the next connection, and its application notices nothing.
    let switched = sent(cluster, &mirror)?;
    let sentence = "the disk of the target has a write cache now";
    here.wait_for_reason(&["adam gave the connection up", sentence], SOON)?;
    there.wait_for_reason(&["the connection of eve was lost", sentence], SOON)?;
    mirror.wait("fully-operational")?;
    let after = sent(cluster, &mirror)?;
    ensure!(
        after >= FLUSHES,
        "{after} flushes went to a disk with a cache, and {switched} before"
    );
    ensure!(mirror.count("connects")? == 2, "{}", mirror.leg()?);
    mirror.same_disks()
}
