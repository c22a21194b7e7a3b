// SPDX-License-Identifier: GPL-2.0
//! What the intent log costs, and what is copied after which interruption, with a bitmap and without.

use anyhow::{ensure, Context as _, Result};
use tests_qemu::{workload::Plan, Cluster, Node, Workload};

use crate::{
    harness::{case, Case, SOON},
    mapper::Mapped,
    mirror::{status, Mirror, QUICK},
    persist::{
        self, bytes_of, chunks, comes_back, copied, metadata, number, turned, until, write_chunks, CHUNK, DEVICE, SIZE,
    },
};

pub(crate) const CASES: &[Case] = &[
    case!(a_chunk_written_five_hundred_times_costs_no_metadata_write),
    case!(many_writes_at_once_share_a_metadata_write),
    case!(a_chunk_in_flight_is_marked_before_it_is_written),
    case!(marks_of_the_intent_log_go_when_nothing_is_written),
    case!(with_a_bitmap_only_what_changed_is_copied_after_any_interruption),
    case!(without_a_bitmap_every_interruption_is_followed_by_a_full_copy),
];

fn meta_writes(node: &Node) -> Result<u64> {
    number(node, "meta_writes")
}

fn a_chunk_written_five_hundred_times_costs_no_metadata_write(cluster: &Cluster) -> Result<()> {
    let mirror = persist::mapped(cluster)?;
    let nodes = [mirror.source, mirror.target];
    let rewritten = |seed, what: &str| -> Result<()> {
        let workload = Workload::start(mirror.source, DEVICE, Plan::new(seed, 16).first(160).threads(2))?;
        workload.more(20, SOON)?;
        let before = nodes.map(meta_writes);
        workload.more(500, 2 * SOON)?;
        let after = nodes.map(meta_writes);
        for ((before, after), node) in before.into_iter().zip(after).zip(nodes) {
            let (before, after) = (before?, after?);
            // A machine that stands still for more than a second may find the mark gone.
            ensure!(after - before <= 3, "{what}, {}: {before} became {after}", node.name());
        }
        Ok(())
    };
    rewritten(1, "in sync")?;
    // The same where the target is gone and marks are of another kind.
    cluster.cut(mirror.source, mirror.target);
    mirror.wait("out-of-sync")?;
    rewritten(2, "degraded")?;
    ensure!(mirror.count("dirty_chunks")? == 1);
    Ok(())
}

fn many_writes_at_once_share_a_metadata_write(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    // Writes come faster than this metadata is written, however busy the host is.
    let sectors = eve.disk("vdf")?.size() / 512;
    let slow = format!("0 {sectors} delay /dev/vdf 0 0 /dev/vdf 0 30");
    Mapped::make(eve, "slow", &slow)?;
    let mirror = Mirror::create_on(eve, adam, "vdb", format!("--bitmap /dev/mapper/slow {QUICK}"), QUICK)?;
    mirror.extend_with(QUICK)?;
    mirror.wait("fully-operational")?;
    until("the copy to be durable", || Ok(number(eve, "intent_chunks")? == 0))?;
    let before = meta_writes(mirror.source)?;
    // Each of the 1024 chunks once, in any order.
    let fio = format!(
        "fio --name=cold --filename={DEVICE} --rw=randwrite --bs=64k --iodepth=64 --ioengine=libaio --direct=1 \
         --size=64m --output-format=terse --minimal > /tmp/fio"
    );
    mirror.source.sh(&fio).timeout(4 * SOON).ok()?;
    let spent = meta_writes(mirror.source)? - before;
    println!("{spent} metadata writes for 1024 chunks");
    ensure!((1..=256).contains(&spent), "{spent} metadata writes for 1024 chunks");
    mirror.wait("fully-operational")?;
    mirror.same_disks()
}

/// Covers: S55, S56.
fn a_chunk_in_flight_is_marked_before_it_is_written(cluster: &Cluster) -> Result<()> {
    let mirror = persist::mapped(cluster)?;
    let eve = mirror.source;
    // Heartbeats pass, a write does not reach the target.
    let way = cluster.network().way(0, 1);
    let before = way.traffic().dropped;
    way.filter(|packet| packet.payload().is_none_or(|data| data.len() < 512));
    let _writes = eve.sh(&format!("netraid-guest scatter {DEVICE} 700")).spawn()?;
    way.wait_for(SOON, |traffic| traffic.dropped > before)?;
    eve.kill9()?;
    let (marked, differ) = (metadata(eve)?.after_crash(), persist::differing(&mirror)?);
    ensure!(marked == chunks(&[700]), "{marked:?}");
    ensure!(differ.is_subset(&marked), "{differ:?}");
    cluster.restore_links();
    comes_back(eve)?;
    copied(&mirror, 0, bytes_of(&differ))
}

fn marks_of_the_intent_log_go_when_nothing_is_written(cluster: &Cluster) -> Result<()> {
    let mirror = persist::mapped(cluster)?;
    let eve = mirror.source;
    write_chunks(eve, &(0..200).collect::<Vec<_>>())?;
    until("the marks to go", || Ok(number(eve, "intent_chunks")? == 0))?;
    persist::settled(eve)?;
    // Nothing was in flight then, so a crash costs nothing.
    eve.kill9()?;
    comes_back(eve)?;
    copied(&mirror, 0, 0)
}

/// The mirror loses its link, is paused, and fails over and back; after each the bytes copied have to be `bytes` of
/// what either side wrote, which is nothing the first time.
fn interrupted<'a>(cluster: &'a Cluster, options: &str, bytes: impl Fn(u64) -> u64) -> Result<Mirror<'a>> {
    let mirror = persist::in_sync(cluster, options)?;
    let (eve, adam) = cluster.pair();
    ensure!(mirror.count("resynced_bytes")? == SIZE, "{}", mirror.leg()?);
    for written in [0, 3] {
        let numbers: Vec<u64> = (0..written).map(|n| 5 + 100 * n).collect();
        let before = mirror.count("resynced_bytes")?;
        cluster.cut(eve, adam);
        mirror.wait("out-of-sync")?;
        if written > 0 {
            write_chunks(eve, &numbers)?;
        }
        cluster.restore_links();
        copied(&mirror, before, bytes(written * CHUNK)).with_context(|| format!("link lost, {written} written"))?;

        let before = mirror.count("resynced_bytes")?;
        eve.ctl("pause data").ok()?;
        if written > 0 {
            write_chunks(eve, &numbers)?;
            write_chunks(adam, &[5, 6])?;
        }
        eve.ctl("resume data").ok()?;
        let both = if written > 0 { written + 1 } else { 0 };
        copied(&mirror, before, bytes(both * CHUNK)).with_context(|| format!("paused, {written} written"))?;
    }
    Ok(mirror)
}

/// Covers: S25, S34.
fn with_a_bitmap_only_what_changed_is_copied_after_any_interruption(cluster: &Cluster) -> Result<()> {
    let mirror = interrupted(cluster, persist::MAPPED, |bytes| bytes)?;
    let (eve, adam) = cluster.pair();
    persist::settled(eve)?;
    eve.kill9()?;
    adam.ctl("promote data").ok()?;
    write_chunks(adam, &[1, 2, 3])?;
    let union = &metadata(eve)?.after_crash() | &chunks(&[1, 2, 3]);
    comes_back(eve)?;
    let back = turned(&mirror);
    copied(&back, 0, bytes_of(&union))?;
    // And to the first source again, in order.
    write_chunks(adam, &[9])?;
    eve.ctl("switchover data").ok()?;
    copied(&mirror, 0, 0)
}

/// Covers: S26, S34, S58.
fn without_a_bitmap_every_interruption_is_followed_by_a_full_copy(cluster: &Cluster) -> Result<()> {
    let mirror = interrupted(cluster, "--bitmap none", |_| SIZE)?;
    let (eve, adam) = cluster.pair();
    let state = status(eve, "data")?;
    ensure!(state["no_bitmap"] == true, "{state}");
    eve.kill9()?;
    adam.ctl("promote data").ok()?;
    comes_back(eve)?;
    let back = turned(&mirror);
    copied(&back, 0, SIZE)?;
    // Also when nobody crashed.
    persist::reload(adam)?;
    copied(&back, 0, SIZE)?;
    persist::reload(eve)?;
    copied(&back, SIZE, SIZE)
}
