// SPDX-License-Identifier: GPL-2.0
//! Every kind of write reaches both disks, whatever its size, place, order and neighbours.

use std::thread;

use anyhow::{anyhow, ensure, Context as _, Result};
use nix::sys::signal::Signal;
use tests_qemu::{Cluster, Node, MIB};

use crate::{
    harness::{case, Case, SOON},
    mirror::Mirror,
};

pub(crate) const CASES: &[Case] = &[
    case!(overlapping_writes_land_in_one_order_on_both_disks).smoke(),
    case!(overlapping_writes_agree_after_the_link_was_cut),
    case!(writes_of_any_size_and_place_reach_both_disks),
    case!(discards_and_zeroes_reach_both_disks),
    case!(a_target_that_cannot_discard_writes_zeroes),
    case!(what_was_discarded_while_the_link_was_cut_is_made_up_for),
    case!(writes_discards_and_zeroes_of_one_place_keep_their_order).debug(),
    case!(flushes_reach_the_disk_of_the_target),
];

const DEVICE: &str = "/dev/netraid0";

/// A fio job on the device; `options` as on its command line.
fn fio(options: &str) -> String {
    format!(
        "fio --name=job --filename={DEVICE} --direct=1 --ioengine=libaio --thread --refill_buffers \
         --output-format=terse {options}"
    )
}

/// Many writers that meet in a few blocks: which of them wins in a block is decided by nothing
/// but their order.
const CROWD: &str = "--rw=randwrite --norandommap --bsrange=512-32k --blockalign=512 --iodepth=16 \
                     --numjobs=3 --size=512k --randseed=36";

/// Covers: S36.
fn overlapping_writes_land_in_one_order_on_both_disks(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::in_sync(cluster)?;
    mirror.source.sh(&fio(&format!("{CROWD} --io_size=4M"))).ok()?;
    let bytes = mirror.count("replicated_bytes")?;
    ensure!(bytes >= 12 * MIB, "{bytes} bytes were replicated");
    mirror.same_disks()
}

/// Covers: S24, S36.
fn overlapping_writes_agree_after_the_link_was_cut(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::quick(cluster)?;
    let mut crowd = mirror
        .source
        .sh(&fio(&format!("{CROWD} --time_based --runtime=300")))
        .spawn()?;
    let way = cluster.network().way(0, 1);
    for _ in 0..3 {
        let sent = way.traffic().bytes;
        way.wait_for(SOON, |traffic| traffic.bytes > sent + MIB)?;
        cluster.cut(mirror.source, mirror.target);
        mirror.wait("disconnected")?;
        cluster.restore_links();
        mirror.wait("connected")?;
    }
    mirror.wait("fully-operational")?;
    crowd.signal(Signal::SIGKILL)?;
    let (code, lines) = crowd.wait(SOON)?;
    ensure!(code == 137, "fio ended by itself: {}", lines.join("\n"));
    mirror.same_disks()
}

/// Covers: S1, S28.
fn writes_of_any_size_and_place_reach_both_disks(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::in_sync(cluster)?;
    for job in [
        "--rw=write --bs=4M --size=12M --iodepth=2",
        "--rw=randwrite --bsrange=512-1M --blockalign=512 --size=48M --io_size=16M --iodepth=8 --randseed=1",
        // Buffers that begin in the middle of a page and go on into the next.
        "--rw=randwrite --bs=1536 --blockalign=512 --iomem_align=512 --size=32M --io_size=600k --iodepth=8 --randseed=2",
    ] {
        mirror.source.sh(&fio(job)).ok().with_context(|| job.to_owned())?;
        mirror.same_disks().with_context(|| job.to_owned())?;
    }
    // Through the page cache, to the very end of the device.
    let script =
        format!("head -c 3M /dev/urandom | dd of={DEVICE} bs=1000000 oflag=seek_bytes seek=63963136 conv=fsync");
    mirror.source.sh(&script).ok()?;
    ensure!(mirror.count("connects")? == 1, "{}", mirror.leg()?);
    mirror.same_disks()
}

/// Fills the first mebibytes of the device.
fn fill(node: &Node, mebibytes: u64) -> Result<()> {
    node.sh(&format!(
        "head -c {mebibytes}M /dev/urandom | dd of={DEVICE} bs=1M oflag=direct iflag=fullblock"
    ))
    .ok()?;
    Ok(())
}

/// A device over /dev/vdb that can neither discard nor write zeroes by itself; to be removed with
/// `dmsetup remove plain`.
pub(crate) fn plain_disk(node: &Node) -> Result<String> {
    node.sh("dmsetup create plain --table \"0 $(blockdev --getsz /dev/vdb) crypt cipher_null-ecb - 0 /dev/vdb 0\"")
        .ok()?;
    let name = node.sh("dmsetup info -c --noheadings -o blkdevname plain").ok()?;
    let name = name.trim();
    let limits = node
        .sh(&format!(
            "cd /sys/block/{name}/queue && cat discard_max_bytes write_zeroes_max_bytes"
        ))
        .ok()?;
    ensure!(limits == "0\n0\n", "the device has the abilities {limits}");
    Ok(format!("/dev/{name}"))
}

/// This part of both disks is zero, and the sectors before and after it are not.
fn zero_on_both(mirror: &Mirror<'_>, offset: u64, length: u64) -> Result<()> {
    for node in [mirror.source, mirror.target] {
        let bytes = node.disk("vdb")?.read(offset - 512, length + 1024)?;
        let (before, rest) = bytes.split_at(512);
        let (inside, after) = rest.split_at(usize::try_from(length)?);
        let name = node.name();
        ensure!(
            inside.iter().all(|&byte| byte == 0),
            "{length} bytes at {offset} are not zero on {name}"
        );
        for around in [before, after] {
            ensure!(
                around.iter().any(|&byte| byte != 0),
                "too much was zeroed around {offset} on {name}"
            );
        }
    }
    Ok(())
}

/// Covers: S1, S28.
fn discards_and_zeroes_reach_both_disks(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::in_sync(cluster)?;
    fill(mirror.source, 8)?;
    let sent = mirror.count("sent_bytes")?;
    for (command, offset, length) in [
        ("blkdiscard", MIB, MIB),
        ("blkdiscard -z", 3 * MIB, MIB),
        ("blkdiscard -z", 5 * MIB + 512, 1536),
        ("fallocate -p", 6 * MIB, MIB),
        ("fallocate -z", 7 * MIB + 4096, 65536),
    ] {
        mirror
            .source
            .sh(&format!("{command} -o {offset} -l {length} {DEVICE}"))
            .ok()?;
        zero_on_both(&mirror, offset, length).context(command)?;
    }
    // No zeroes went over the wire, and nothing was taken back.
    let leg = mirror.leg()?;
    let sent = leg["sent_bytes"].as_u64().unwrap_or(0) - sent;
    ensure!(sent < 100_000, "{sent} bytes were sent");
    ensure!(leg["resyncs"] == 1 && leg["state"] == "fully-operational", "{leg}");
    mirror.same_disks()
}

/// Covers: S1.
fn a_target_that_cannot_discard_writes_zeroes(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let plain = plain_disk(adam)?;
    eve.ctl("create data --disk /dev/vdb").ok()?;
    adam.ctl(&format!("join data --disk {plain} --yes")).ok()?;
    eve.ctl(&format!("extend data --to {} --yes --wait=60", adam.ip()))
        .ok()?;
    fill(eve, 8)?;
    eve.sh(&format!(
        "blkdiscard -o 1M -l 5M {DEVICE} && blkdiscard -z -o 7M -l 64K {DEVICE}"
    ))
    .ok()?;
    let mirror = Mirror {
        source: eve,
        target: adam,
        disk: "vdb",
    };
    zero_on_both(&mirror, MIB, 5 * MIB)?;
    zero_on_both(&mirror, 7 * MIB, 65536)?;
    mirror.same_disks()?;
    adam.ctl("delete data").ok()?;
    adam.sh("dmsetup remove plain").ok()?;
    Ok(())
}

/// Covers: S24, S25.
fn what_was_discarded_while_the_link_was_cut_is_made_up_for(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::quick(cluster)?;
    fill(mirror.source, 8)?;
    let before = mirror.count("resynced_bytes")?;
    cluster.cut(mirror.source, mirror.target);
    mirror.wait("out-of-sync")?;
    mirror
        .source
        .sh(&format!(
            "blkdiscard -o 1M -l 2M {DEVICE} && blkdiscard -z -o 5M -l 64K {DEVICE}"
        ))
        .ok()?;
    ensure!(mirror.count("dirty_chunks")? == 33, "{}", mirror.leg()?);
    cluster.restore_links();
    mirror.wait("fully-operational")?;
    ensure!(
        mirror.count("resynced_bytes")? - before == 33 * 65536,
        "{}",
        mirror.leg()?
    );
    zero_on_both(&mirror, MIB, 2 * MIB)?;
    mirror.same_disks()
}

/// Covers: S36.
fn writes_discards_and_zeroes_of_one_place_keep_their_order(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::in_sync(cluster)?;
    let common = "--norandommap --bsrange=4k-64k --blockalign=4k --iodepth=8 --size=512k --io_size=3M";
    let jobs = [
        fio(&format!("--rw=randwrite --randseed=1 {common}")),
        fio(&format!("--rw=randtrim --randseed=2 {common}")),
        format!("for n in $(seq 25); do blkdiscard -z -o $((n % 8 * 65536)) -l 64K {DEVICE}; done"),
    ];
    let node = mirror.source;
    thread::scope(|scope| {
        let running = jobs.map(|job| scope.spawn(move || node.sh(&job).ok()));
        running.into_iter().try_for_each(|job| {
            let outcome = job.join().unwrap_or_else(|_| Err(anyhow!("a job panicked")));
            outcome.map(drop)
        })
    })?;
    mirror.same_disks()
}

/// How many flushes the disk has done.
fn flushes(node: &Node) -> Result<u64> {
    let stat = node.sh("awk '{ print $16 }' /sys/block/vdb/stat").ok()?;
    stat.trim().parse().with_context(|| format!("parse {stat}"))
}

/// Covers: S5.
fn flushes_reach_the_disk_of_the_target(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::in_sync(cluster)?;
    // A flush behind what was written, and a write that has to be durable by itself.
    for how in ["oflag=direct conv=fsync", "oflag=direct,dsync"] {
        let before = (flushes(mirror.source)?, flushes(mirror.target)?);
        mirror
            .source
            .sh(&format!("dd if=/dev/zero of={DEVICE} bs=4K count=1 {how}"))
            .ok()?;
        let after = (flushes(mirror.source)?, flushes(mirror.target)?);
        ensure!(
            after.0 > before.0,
            "{how}: the source did not flush: {before:?} {after:?}"
        );
        ensure!(
            after.1 > before.1,
            "{how}: the target did not flush: {before:?} {after:?}"
        );
    }
    Ok(())
}
