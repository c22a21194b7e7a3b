// SPDX-License-Identifier: GPL-2.0
//! What starts a resync, and how much it copies.

use anyhow::{ensure, Context as _, Result};
use serde_json::Value;
use tests_qemu::{Cluster, Events, Node};

use crate::{
    harness::{case, Case, SOON},
    mirror::{Mirror, QUICK},
};

/// Bytes that one bit of the maps stands for where nothing else is asked for.
const CHUNK: u64 = 65536;
const DEVICE: &str = "/dev/netraid0";

pub(crate) const CASES: &[Case] = &[
    case!(only_the_chunks_written_while_the_link_was_cut_are_copied).smoke(),
    case!(a_new_leg_copies_everything),
    case!(after_a_pause_only_what_either_side_wrote_is_copied),
    case!(a_break_copies_nothing_where_nothing_was_written),
    case!(a_target_that_was_loaded_anew_gets_everything),
    case!(events_tell_what_caused_each_resync),
    case!(a_small_chunk_is_copied_alone),
    case!(a_chunk_larger_than_a_message_is_copied_whole),
    case!(the_last_chunk_of_an_odd_disk_is_copied_to_its_end),
    case!(a_resync_that_is_cut_off_goes_on_where_it_was),
];

/// Writes other data to one sector in the middle of each of these chunks.
fn write_chunks(node: &Node, device: &str, size: u64, chunks: &[u64]) -> Result<()> {
    let sectors: Vec<_> = chunks
        .iter()
        .map(|chunk| (chunk * size + size / 2) / 512)
        .map(|it| it.to_string())
        .collect();
    node.sh(&format!(
        "set -e; for sector in {}; do head -c 512 /dev/urandom > /tmp/sector; \
         dd if=/tmp/sector of={device} bs=512 seek=$sector oflag=direct conv=notrunc; done",
        sectors.join(" ")
    ))
    .ok()?;
    Ok(())
}

fn number(leg: &Value, name: &str) -> Result<u64> {
    leg[name].as_u64().with_context(|| format!("{name} of {leg}"))
}

/// Waits until both copies are the same and checks what the last resync copied.
fn copied_exactly(mirror: &Mirror<'_>, before: &Value, bytes: u64) -> Result<()> {
    mirror.wait("fully-operational")?;
    let after = mirror.leg()?;
    let copied = number(&after, "resynced_bytes")? - number(before, "resynced_bytes")?;
    ensure!(copied == bytes, "copied {copied} bytes instead of {bytes}: {after}");
    ensure!(number(&after, "resyncs")? == number(before, "resyncs")? + 1, "{after}");
    ensure!(after["resync_full"] == false, "{after}");
    ensure!(
        after["resync_total"] == bytes && after["resync_done"] == bytes,
        "{after}"
    );
    ensure!(after["dirty_chunks"] == 0, "{after}");
    mirror.same_disks()
}

/// Covers: S24, S25, S34.
fn only_the_chunks_written_while_the_link_was_cut_are_copied(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::quick(cluster)?;
    let before = mirror.leg()?;
    cluster.cut(mirror.source, mirror.target);
    mirror.wait("out-of-sync")?;
    let chunks = [0, 3, 4, 77, 99, 512, 513, 700, 1000, 1023];
    write_chunks(mirror.source, DEVICE, CHUNK, &chunks)?;
    ensure!(mirror.count("dirty_chunks")? == 10, "{}", mirror.leg()?);
    let differ = mirror
        .source
        .disk("vdb")?
        .differences(mirror.target.disk("vdb")?, 64 << 20, CHUNK)?;
    ensure!(differ == chunks, "{differ:?}");
    cluster.restore_links();
    copied_exactly(&mirror, &before, 10 * CHUNK)
}

/// Covers: S20, S33, S34.
fn a_new_leg_copies_everything(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    // Both disks hold something, and not the same.
    for node in [eve, adam] {
        node.sh("head -c 4M /dev/urandom > /dev/vdb; sync").ok()?;
    }
    let differ = eve.disk("vdb")?.differences(adam.disk("vdb")?, 64 << 20, CHUNK)?;
    ensure!(differ.len() == 64, "{differ:?}");
    let mirror = Mirror::create(eve, adam)?;
    mirror.extend()?;
    mirror.wait("fully-operational")?;
    let leg = mirror.leg()?;
    let size = 64_u64 << 20;
    ensure!(leg["resync_full"] == true && leg["resyncs"] == 1, "{leg}");
    for name in ["resynced_bytes", "resync_total", "resync_done"] {
        ensure!(leg[name] == size, "{name} of {leg}");
    }
    mirror.same_disks()
}

/// Covers: S33, S34.
fn after_a_pause_only_what_either_side_wrote_is_copied(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::in_sync(cluster)?;
    let before = mirror.leg()?;
    mirror.source.ctl("pause data").ok()?;
    mirror.wait("paused")?;
    write_chunks(mirror.source, DEVICE, CHUNK, &[1, 2, 300])?;
    ensure!(mirror.count("dirty_chunks")? == 3, "{}", mirror.leg()?);
    write_chunks(mirror.target, DEVICE, CHUNK, &[2, 400])?;
    mirror.source.ctl("resume data").ok()?;
    // One chunk was written on both.
    copied_exactly(&mirror, &before, 4 * CHUNK)
}

/// Covers: S34.
fn a_break_copies_nothing_where_nothing_was_written(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::quick(cluster)?;
    let before = mirror.leg()?;
    cluster.cut(mirror.source, mirror.target);
    mirror.wait("out-of-sync")?;
    cluster.restore_links();
    mirror.wait("fully-operational")?;
    let after = mirror.leg()?;
    ensure!(after["connects"] == 2, "{after}");
    for name in ["resynced_bytes", "resyncs"] {
        ensure!(after[name] == before[name], "{name}: {before} {after}");
    }
    mirror.same_disks()
}

/// Covers: S34.
fn a_target_that_was_loaded_anew_gets_everything(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::quick(cluster)?;
    mirror.target.ctl("delete data").ok()?;
    mirror.target.sh("rmmod netraid").ok()?;
    // What happened to the disk meanwhile, nobody knows.
    mirror.target.sh("head -c 1M /dev/urandom > /dev/vdb; sync").ok()?;
    mirror.target.insmod()?;
    mirror.target.ctl("join data --disk /dev/vdb --yes").ok()?;
    mirror.wait("fully-operational")?;
    let leg = mirror.leg()?;
    ensure!(leg["resync_full"] == true && leg["resyncs"] == 2, "{leg}");
    ensure!(leg["resynced_bytes"] == 2 * (64_u64 << 20), "{leg}");
    mirror.same_disks()
}

/// Waits for a resync; returns its leg as it was at its start, and its reason.
fn resync_told(events: &mut Events) -> Result<(Value, String)> {
    let event = events.wait_for("a resync", SOON, |event| {
        event["event"] == "leg-changed" && event["mirror"]["legs"][1]["state"] == "resyncing"
    })?;
    events.wait_for("its end", SOON, |event| event["event"] == "resync-done")?;
    let reason = event["reason"].as_str().unwrap_or_default().to_owned();
    Ok((event["mirror"]["legs"][1].clone(), reason))
}

/// Covers: S33.
fn events_tell_what_caused_each_resync(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let mirror = Mirror::create_on(eve, adam, "vdb", "", QUICK)?;
    let mut events = eve.events()?;
    events.wait_for("the snapshot", SOON, |event| event["event"] == "snapshot")?;
    mirror.extend_with(QUICK)?;
    let (leg, reason) = resync_told(&mut events)?;
    ensure!(leg["resync_full"] == true && leg["resyncs"] == 1, "{leg}");
    ensure!(reason == "the target is new to this mirror", "{reason}");

    eve.ctl("pause data").ok()?;
    mirror.wait("paused")?;
    write_chunks(eve, DEVICE, CHUNK, &[7])?;
    eve.ctl("resume data").ok()?;
    let (leg, reason) = resync_told(&mut events)?;
    ensure!(leg["resync_full"] == false && leg["resync_total"] == CHUNK, "{leg}");
    ensure!(reason == "replication was paused", "{reason}");

    mirror.wait("fully-operational")?;
    cluster.cut(eve, adam);
    mirror.wait("out-of-sync")?;
    write_chunks(eve, DEVICE, CHUNK, &[8, 9])?;
    cluster.restore_links();
    let (leg, reason) = resync_told(&mut events)?;
    ensure!(leg["resync_full"] == false && leg["resync_total"] == 2 * CHUNK, "{leg}");
    ensure!(
        reason == "the connection was lost while the application wrote",
        "{reason}"
    );
    Ok(())
}

/// A mirror with chunks of another size, its link cut.
fn cut_with_chunks<'a>(cluster: &'a Cluster, disk: &'static str, chunk: &str) -> Result<(Mirror<'a>, Value)> {
    let (eve, adam) = cluster.pair();
    let mirror = Mirror::create_on(eve, adam, disk, format!("--chunk-size {chunk}"), QUICK)?;
    mirror.extend_with(QUICK)?;
    mirror.wait("fully-operational")?;
    let before = mirror.leg()?;
    cluster.cut(eve, adam);
    mirror.wait("out-of-sync")?;
    Ok((mirror, before))
}

/// Covers: S25.
fn a_small_chunk_is_copied_alone(cluster: &Cluster) -> Result<()> {
    let (mirror, before) = cut_with_chunks(cluster, "vdb", "4K")?;
    write_chunks(mirror.source, DEVICE, 4096, &[0, 1, 63, 64, 16383])?;
    cluster.restore_links();
    copied_exactly(&mirror, &before, 5 * 4096)
}

/// Covers: S25.
fn a_chunk_larger_than_a_message_is_copied_whole(cluster: &Cluster) -> Result<()> {
    let (mirror, before) = cut_with_chunks(cluster, "vdb", "2M")?;
    // All of one chunk, so that a piece left out shows, and a sector of two others.
    mirror
        .source
        .sh(&format!(
            "head -c 2M /dev/urandom | dd of={DEVICE} bs=2M seek=3 iflag=fullblock oflag=direct"
        ))
        .ok()?;
    write_chunks(mirror.source, DEVICE, 2 << 20, &[4, 31])?;
    ensure!(mirror.count("dirty_chunks")? == 3, "{}", mirror.leg()?);
    cluster.restore_links();
    copied_exactly(&mirror, &before, 3 * (2 << 20))
}

/// Covers: S25.
fn the_last_chunk_of_an_odd_disk_is_copied_to_its_end(cluster: &Cluster) -> Result<()> {
    let (mirror, before) = cut_with_chunks(cluster, "vdd", "1M")?;
    ensure!(before["resynced_bytes"] == (64_u64 << 20) - 512, "{before}");
    let last = (64 << 20) / 512 - 2;
    mirror
        .source
        .sh(&format!(
            "head -c 512 /dev/urandom | dd of={DEVICE} bs=512 seek={last} iflag=fullblock oflag=direct"
        ))
        .ok()?;
    cluster.restore_links();
    copied_exactly(&mirror, &before, (1 << 20) - 512)
}

/// Covers: S24.
fn a_resync_that_is_cut_off_goes_on_where_it_was(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    eve.sh("head -c 64M /dev/urandom > /dev/vdb; sync").ok()?;
    let mirror = Mirror::create_on(eve, adam, "vdb", "", QUICK)?;
    let way = cluster.network().way(0, 1);
    let before = way.traffic().bytes;
    mirror.extend_with(QUICK)?;
    way.wait_for(SOON, |traffic| traffic.bytes > before + (8 << 20))?;
    cluster.cut(eve, adam);
    mirror.wait("out-of-sync")?;
    let leg = mirror.leg()?;
    let copied = number(&leg, "resynced_bytes")?;
    ensure!(copied > 0 && copied < 64 << 20, "{leg}");
    // A target that is half done is no copy.
    let refused = adam.ctl("promote data --wait 0").exits(2)?;
    ensure!(refused.stderr.contains("unusable until it is complete"), "{refused:?}");
    cluster.restore_links();
    mirror.wait("fully-operational")?;
    ensure!(mirror.leg()?["resynced_bytes"] == 64 << 20, "{}", mirror.leg()?);
    mirror.same_disks()
}
