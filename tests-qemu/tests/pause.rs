// SPDX-License-Identifier: GPL-2.0
//! A pause: replication stops, both sides can be used, and afterwards the source's content is everywhere.

use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use nix::sys::signal::Signal;
use tests_qemu::{patience::scaled, workload::Plan, Cluster, Node, Workload};

use crate::{
    harness::{case, Case, SOON},
    mirror::{refused, status, Mirror, QUICK},
};

pub(crate) const CASES: &[Case] = &[
    case!(writes_in_a_pause_stay_on_the_source),
    case!(a_resume_copies_exactly_what_either_side_wrote).smoke().debug(),
    case!(a_resume_is_refused_while_the_targets_device_is_open),
    case!(a_pause_outlives_a_lost_connection),
    case!(a_connection_outlives_a_pause_under_load),
    case!(pausing_and_resuming_twice_is_harmless),
    case!(a_pause_in_the_middle_of_a_resync_gives_the_target_no_device),
    case!(a_paused_target_in_use_is_promoted_under_its_users),
    case!(a_paused_target_in_use_is_stopped_only_by_force),
    case!(a_leg_that_ends_in_a_pause_begins_anew),
    case!(a_pause_needs_a_leg_and_is_asked_for_on_the_source),
];

/// Bytes of a chunk.
const CHUNK: u64 = 64 << 10;

/// Writes these chunks of /dev/netraid0, past the cache.
fn write_chunks(node: &Node, chunks: &[u64]) -> Result<()> {
    for chunk in chunks {
        let write = format!("dd of=/dev/netraid0 bs=64k seek={chunk} iflag=fullblock oflag=direct status=none");
        node.sh(&format!("head -c 64k /dev/urandom | {write}")).ok()?;
    }
    Ok(())
}

/// Covers: S214, S228.
fn writes_in_a_pause_stay_on_the_source(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::in_sync(cluster)?;
    mirror.source.ctl("pause data").ok()?;
    let disk = mirror.target.disk("vdb")?;
    let before = (disk.sha256(disk.size())?, mirror.count("replicated_bytes")?);
    let mut workload = Workload::start(mirror.source, "/dev/netraid0", Plan::new(28, 2048))?;
    workload.more(50, SOON)?;
    // Without the link a write that needs the target would hang.
    cluster.cut(mirror.source, mirror.target);
    workload.more(100, SOON)?;
    workload.stop()?;
    cluster.restore_links();
    ensure!(
        disk.sha256(disk.size())? == before.0,
        "the target's disk changed in a pause"
    );
    ensure!(mirror.count("replicated_bytes")? == before.1);
    let state = mirror.status()?;
    let leg = &state["legs"][1];
    ensure!(
        leg["state"] == "paused" && leg["dirty_chunks"].as_u64() > Some(0),
        "{leg}"
    );
    mirror.source.ctl("resume data --timeout 60").ok()?;
    mirror.wait("fully-operational")?;
    ensure!(workload.judge_disk(disk)?.good());
    mirror.same_disks()
}

/// What ends on the local disk alone says nothing to the target, however much of it there is.
///
/// Covers: S24, S228.
fn a_connection_outlives_a_pause_under_load(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::quick(cluster)?;
    mirror.source.ctl("pause data").ok()?;
    let began = Instant::now();
    let mut workload = Workload::start(mirror.source, "/dev/netraid0", Plan::new(33, 4096).threads(8))?;
    // Several times as long as a connection may be silent.
    while began.elapsed() < scaled(Duration::from_secs(4)) {
        workload.more(50, SOON)?;
    }
    workload.stop()?;
    let leg = mirror.leg()?;
    ensure!(leg["state"] == "paused" && leg["connects"] == 1, "{leg}");
    mirror.source.ctl("resume data").ok()?;
    mirror.wait("fully-operational")?;
    mirror.same_disks()
}

/// Covers: S33, S228, S229, S230.
fn a_resume_copies_exactly_what_either_side_wrote(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::in_sync(cluster)?;
    let (eve, adam) = (mirror.source, mirror.target);
    eve.ctl("pause data").ok()?;
    let state = status(adam, "data")?;
    ensure!(
        state["role"] == "target" && state["device"] == "/dev/netraid0",
        "{state}"
    );
    let before = mirror.count("resynced_bytes")?;
    write_chunks(adam, &[10, 20, 30, 40])?;
    write_chunks(eve, &[20, 50])?;
    let there = &status(adam, "data")?["legs"][1];
    ensure!(there["state"] == "paused" && there["dirty_chunks"] == 4, "{there}");
    ensure!(mirror.count("dirty_chunks")? == 2);
    let differ = eve.disk("vdb")?.differences(adam.disk("vdb")?, 64 << 20, CHUNK)?;
    ensure!(differ == [10, 20, 30, 40, 50], "{differ:?}");
    let kept = eve.disk("vdb")?.read(10 * CHUNK, CHUNK)?;
    eve.ctl("resume data").ok()?;
    mirror.wait("fully-operational")?;
    ensure!(mirror.count("resynced_bytes")? - before == 5 * CHUNK);
    ensure!(
        eve.disk("vdb")?.read(10 * CHUNK, CHUNK)? == kept,
        "the target's write went to the source"
    );
    mirror.same_disks()?;
    adam.sh("test ! -e /dev/netraid0").ok()?;
    write_chunks(eve, &[60])?;
    mirror.same_disks()
}

/// Covers: S229, S230.
fn a_resume_is_refused_while_the_targets_device_is_open(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::in_sync(cluster)?;
    let (eve, adam) = (mirror.source, mirror.target);
    eve.ctl("pause data").ok()?;
    adam.sh("mkfs.ext4 -q -F /dev/netraid0 && mount /dev/netraid0 /mnt && echo there > /mnt/file")
        .ok()?;
    refused(
        eve,
        "resume data",
        &["/dev/netraid0 is in use on adam (1 open)", "unmount it there"],
    )?;
    let state = mirror.status()?;
    ensure!(state["legs"][1]["state"] == "paused", "{state}");
    // Nothing has been taken from those who use it.
    adam.sh("sync && grep -q there /mnt/file && umount /mnt && fsck.ext4 -fn /dev/netraid0")
        .ok()?;
    eve.ctl("resume data").ok()?;
    mirror.wait("fully-operational")?;
    mirror.same_disks()
}

/// Covers: S228, S230.
fn a_pause_outlives_a_lost_connection(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::quick(cluster)?;
    let (eve, adam) = (mirror.source, mirror.target);
    eve.ctl("pause data").ok()?;
    write_chunks(adam, &[1])?;
    cluster.cut(eve, adam);
    for node in [eve, adam] {
        node.ctl("wait data --for disconnected --timeout 60").ok()?;
        let leg = &status(node, "data")?["legs"][1];
        ensure!(leg["state"] == "paused", "{}: {leg}", node.name());
    }
    write_chunks(eve, &[2])?;
    write_chunks(adam, &[3])?;
    cluster.restore_links();
    eve.ctl("wait data --for connected --timeout 60").ok()?;
    mirror.wait("paused")?;
    write_chunks(adam, &[4])?;
    let before = mirror.count("resynced_bytes")?;
    eve.ctl("resume data --timeout 60").ok()?;
    mirror.wait("fully-operational")?;
    ensure!(mirror.count("resynced_bytes")? - before == 4 * CHUNK);
    mirror.same_disks()
}

/// Covers: S228.
fn pausing_and_resuming_twice_is_harmless(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::in_sync(cluster)?;
    let eve = mirror.source;
    for round in 0..3 {
        for (command, answer) in [
            ("pause data", "Leg 1 of mirror data (adam): Paused."),
            ("pause data", "Leg 1 of mirror data (adam) is already paused."),
        ] {
            let said = eve.ctl(command).ok()?;
            ensure!(said.trim() == answer, "round {round}: {said}");
        }
        write_chunks(eve, &[round])?;
        eve.ctl("resume data").ok()?;
        mirror.wait("fully-operational")?;
        let said = eve.ctl("resume data").ok()?;
        ensure!(
            said.contains("already resumed: Fully Operational"),
            "round {round}: {said}"
        );
    }
    ensure!(mirror.count("resyncs")? == 4, "{}", mirror.status()?);
    mirror.same_disks()
}

/// Covers: S202, S228, S229.
fn a_pause_in_the_middle_of_a_resync_gives_the_target_no_device(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    eve.sh("head -c 8M /dev/urandom > /dev/vdb && sync").ok()?;
    let mirror = Mirror::create_on(eve, adam, "vdb", "", "")?;
    cluster.network().way(0, 1).delay(Duration::from_millis(200));
    mirror.extend()?;
    adam.ctl("wait data --for resyncing --timeout 60").ok()?;
    eve.ctl("pause data --timeout 60").ok()?;
    let state = status(adam, "data")?;
    ensure!(state["inconsistent"] == true && state["device"].is_null(), "{state}");
    adam.sh("test ! -e /dev/netraid0").ok()?;
    refused(adam, "promote data", &["a resync of mirror 'data' is in progress"])?;
    let (dirty, copied) = (mirror.count("dirty_chunks")?, mirror.count("resynced_bytes")?);
    ensure!(
        dirty > 0 && dirty * CHUNK + copied == 64 << 20,
        "{dirty} chunks, {copied} bytes"
    );
    cluster.restore_links();
    eve.ctl("resume data --timeout 60").ok()?;
    mirror.wait("fully-operational")?;
    // What had been copied before the pause is not copied again.
    ensure!(mirror.count("resynced_bytes")? == 64 << 20);
    mirror.same_disks()
}

/// Covers: S9, S229.
fn a_paused_target_in_use_is_promoted_under_its_users(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::quick(cluster)?;
    let (eve, adam) = (mirror.source, mirror.target);
    eve.ctl("pause data").ok()?;
    adam.sh("mkfs.ext4 -q -F /dev/netraid0 && mount /dev/netraid0 /mnt && echo before > /mnt/file")
        .ok()?;
    refused(
        adam,
        "promote data",
        &["eve is the source of mirror 'data' and connected"],
    )?;
    cluster.cut(eve, adam);
    adam.ctl("promote data").ok()?;
    let state = status(adam, "data")?;
    ensure!(state["role"] == "source" && state["open_count"] == 1, "{state}");
    adam.sh("grep -q before /mnt/file && echo after > /mnt/file && sync && umount /mnt")
        .ok()?;
    adam.sh("fsck.ext4 -fn /dev/netraid0 && mount /dev/netraid0 /mnt && grep -q after /mnt/file")
        .ok()?;
    // Both are sources now; neither takes the other's writes.
    cluster.restore_links();
    eve.ctl("wait data --for connected --timeout 3").exits(4)?;
    let state = mirror.status()?;
    ensure!(
        state["role"] == "source" && state["legs"][1]["state"] == "paused",
        "{state}"
    );
    Ok(())
}

/// Covers: S229.
fn a_paused_target_in_use_is_stopped_only_by_force(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::quick(cluster)?;
    let (eve, adam) = (mirror.source, mirror.target);
    eve.ctl("pause data").ok()?;
    let mut holder = adam
        .sh("exec 3<>/dev/netraid0 && echo open && exec cat /dev/zero > /dev/null")
        .spawn()?;
    ensure!(holder.line(SOON)?.as_deref() == Some("open"));
    for command in ["stop data", "delete data"] {
        refused(adam, command, &["/dev/netraid0 is in use (1 open)", "--force"])?;
    }
    ensure!(status(adam, "data")?["device"] == "/dev/netraid0");
    adam.ctl("delete data --force").ok()?;
    adam.sh("test ! -e /dev/netraid0").ok()?;
    holder.signal(Signal::SIGKILL)?;
    holder.wait(SOON)?;
    eve.ctl("wait data --for disconnected").ok()?;
    let leg = &mirror.status()?["legs"][1];
    ensure!(leg["state"] == "paused", "{leg}");
    write_chunks(eve, &[7])
}

/// Covers: S203, S228, S229.
fn a_leg_that_ends_in_a_pause_begins_anew(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::quick(cluster)?;
    let (eve, adam) = (mirror.source, mirror.target);
    eve.ctl("pause data").ok()?;
    eve.ctl("unextend data").ok()?;
    adam.ctl("wait data --for disconnected").ok()?;
    write_chunks(adam, &[3])?;
    write_chunks(eve, &[5])?;
    let mut holder = adam
        .sh("exec 3</dev/netraid0 && echo open && exec cat /dev/zero > /dev/null")
        .spawn()?;
    ensure!(holder.line(SOON)?.as_deref() == Some("open"));
    let mut events = eve.events()?;
    mirror.extend_with(QUICK)?;
    let refusal = events.wait_for("a refusal", SOON, |event| event["event"] == "refused")?;
    let reason = refusal["reason"].as_str().unwrap_or_default();
    ensure!(
        reason.contains("the block device of mirror data is open on adam"),
        "{refusal}"
    );
    holder.signal(Signal::SIGKILL)?;
    holder.wait(SOON)?;
    mirror.wait("fully-operational")?;
    let leg = &mirror.status()?["legs"][1];
    ensure!(leg["resync_full"] == true, "{leg}");
    adam.sh("test ! -e /dev/netraid0").ok()?;
    mirror.same_disks()
}

/// Covers: S228, S232.
fn a_pause_needs_a_leg_and_is_asked_for_on_the_source(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let mirror = Mirror::create(eve, adam)?;
    for command in ["pause", "resume"] {
        refused(
            eve,
            &format!("{command} data"),
            &["mirror data has no target", "extend data"],
        )?;
    }
    mirror.extend()?;
    mirror.wait("fully-operational")?;
    refused(
        eve,
        "pause data --leg 2",
        &["mirror data has no such leg, it has leg 1 (adam)"],
    )?;
    refused(adam, "pause data", &["this machine is not the source of mirror 'data'"])?;
    let mut holder = eve
        .sh("exec 3<>/dev/netraid0 && echo open && exec cat /dev/zero > /dev/null")
        .spawn()?;
    ensure!(holder.line(SOON)?.as_deref() == Some("open"));
    // Who uses the source's device is in nobody's way.
    eve.ctl("pause data").ok()?;
    eve.ctl("resume data").ok()?;
    mirror.wait("fully-operational")?;
    holder.signal(Signal::SIGKILL)?;
    holder.wait(SOON)?;
    mirror.same_disks()
}
