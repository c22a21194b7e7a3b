// SPDX-License-Identifier: GPL-2.0
//! An application that waits for each of its writes before it makes the next: it sends them itself, and what the target
//! confirms is taken in without a thread.

use std::thread;

use anyhow::{anyhow, ensure, Context as _, Result};
use tests_qemu::{Cluster, Node};

use crate::{
    harness::{case, Case, SOON},
    mirror::Mirror,
    persist::{until, DEVICE},
    weak::{Does, Fixture},
};

pub(crate) const CASES: &[Case] = &[
    case!(writes_one_at_a_time_wake_no_thread_of_the_source).smoke(),
    case!(a_target_that_fails_one_write_at_a_time_costs_the_application_nothing).debug(),
];

/// One after the other, from the beginning of the device on.
fn write(node: &Node, count: u64) -> Result<()> {
    let script = format!("dd if=/dev/urandom of={DEVICE} bs=4k count={count} oflag=direct conv=notrunc status=none");
    node.sh(&script).timeout(2 * SOON).ok()?;
    Ok(())
}

/// How often the threads that send and receive for the leg of a source have gone to sleep.
fn sleeps(node: &Node) -> Result<u64> {
    let script = "for it in /proc/[0-9]*; do case $(cat $it/comm 2>/dev/null) in netraid_send|netraid_leg) \
                  grep ^voluntary $it/status;; esac; done";
    let told = node.sh(script).ok()?;
    let counts: Vec<u64> = told
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1)?.parse().ok())
        .collect();
    ensure!(counts.len() == 2, "not one thread each: {told}");
    counts.into_iter().reduce(|sum, count| sum + count).context("no thread")
}

/// Covers: S35.
fn writes_one_at_a_time_wake_no_thread_of_the_source(cluster: &Cluster) -> Result<()> {
    const WRITES: u64 = 1000;
    let mirror = Mirror::in_sync(cluster)?;
    let before = sleeps(mirror.source)?;
    write(mirror.source, WRITES)?;
    let slept = sleeps(mirror.source)? - before;
    // Each would sleep once for each write, if it was woken for it. They look at the clock, too.
    ensure!(slept < WRITES / 4, "they were woken {slept} times for {WRITES} writes");
    ensure!(mirror.count("replicated_bytes")? >= WRITES * 4096, "{}", mirror.leg()?);
    mirror.same_disks()
}

/// What is sent and taken in without the threads fails as it does with them.
/// Covers: S24, S35.
fn a_target_that_fails_one_write_at_a_time_costs_the_application_nothing(cluster: &Cluster) -> Result<()> {
    let mut it = Fixture::new(cluster)?;
    let (eve, adam) = cluster.pair();
    write(eve, 100)?;
    it.target.does(Does::FailWrites)?;
    write(eve, 30)?;
    it.says("the disk of adam failed a write (IoError); look at its kernel log, or replace it")?;
    it.target.does(Does::All)?;
    it.mirror.wait("fully-operational")?;
    it.is_the_same()?;
    write(eve, 100)?;
    // The connection ends in the middle of them, and what was not confirmed is marked.
    let sent = it.mirror.count("replicated_bytes")?;
    thread::scope(|scope| {
        let writes = scope.spawn(|| write(eve, 2000));
        until("some of them to be there", || {
            Ok(it.mirror.count("replicated_bytes")? > sent + 50 * 4096)
        })?;
        cluster.cut(eve, adam);
        writes.join().map_err(|_| anyhow!("the writes panicked"))?
    })?;
    it.says("was lost")?;
    cluster.restore_links();
    it.mirror.wait("fully-operational")?;
    it.is_the_same()
}
