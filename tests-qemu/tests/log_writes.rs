// SPDX-License-Identifier: GPL-2.0
//! Whenever the machine of a source stops, what may differ from the target is marked: see [`tests_qemu::order`] for what
//! is looked at, and what that proves.
//!
//! The metadata is on a slow disk (dm-delay), so that a write that does not wait for its mark is there first.

use anyhow::{ensure, Context as _, Result};
use tests_qemu::{
    disk::SECTOR,
    log_writes::{Log, Replay},
    order::{Parts, Proof, Seen},
    Cluster, Node, MIB,
};

use crate::{
    dice::Dice,
    harness::{case, Case, SOON},
    mapper::Mapped,
    mirror::{Mirror, QUICK},
    persist::until,
};

pub(crate) const CASES: &[Case] = &[case!(whenever_the_source_stops_what_may_differ_is_marked)];

/// Where data and metadata are on the logged disk.
const PARTS: Parts = Parts {
    data: 8 * MIB,
    meta: MIB,
    chunk: 16 << 10,
};
/// How often the link is cut.
const CUTS: usize = 3;
/// Which of these times in the middle of the copying, counted from 0.
const IN_A_RESYNC: usize = 1;
/// Some writes that are durable when they end, and more that are made so by a flush now and then, in bursts and with
/// pauses in which marks are cleared. They share chunks and never sectors: of each four chunks the second kind writes what
/// lies between 8 and 56 KiB, the first kind the rest. For the log has a durable write when it ends and any other with the
/// next flush, and so would have two to the same sector in the wrong order.
const WORKLOAD: &str =
    "exec fio --thread --filename=/dev/netraid0 --direct=1 --ioengine=libaio --rw=randwrite --norandommap \
    --time_based --runtime=600 --allrandrepeat=0 --randseed=SEED --size=8128k --blockalign=64k --refill_buffers \
    --output=/tmp/fio \
    --name=durable --offset=56k --sync=dsync --bsrange=512-16k --iodepth=2 --thinktime=200ms --thinktime_blocks=6 \
    --name=plain --offset=8k --bsrange=512-48k --iodepth=4 --fsync=5 --thinktime=350ms --thinktime_blocks=10";

/// The logged disk of a machine, and the parts of it.
fn logged(node: &Node) -> Result<[Mapped<'_>; 3]> {
    let (data, meta) = (PARTS.data / SECTOR, PARTS.meta / SECTOR);
    let size = node.disk("vdb")?.size() / SECTOR;
    Ok([
        Mapped::make(node, "logged", &format!("0 {size} log-writes /dev/vdb /dev/vde"))?,
        Mapped::make(node, "data", &format!("0 {data} linear /dev/mapper/logged 0"))?,
        Mapped::make(
            node,
            "meta",
            &format!("0 {meta} delay /dev/mapper/logged {data} 0 /dev/mapper/logged {data} 15"),
        )?,
    ])
}

/// What the target holds while the link is cut, read when nothing more can arrive there.
fn frozen(target: &Node) -> Result<Vec<u8>> {
    target.ctl("wait data --for disconnected --timeout 30").ok()?;
    target.disk("vdb")?.read(0, PARTS.data)
}

/// Covers: S55, S59.
fn whenever_the_source_stops_what_may_differ_is_marked(cluster: &Cluster) -> Result<()> {
    let mut dice = Dice::new()?;
    let (eve, adam) = cluster.pair();
    let [logged, data, meta] = logged(eve)?;
    let mark = |words: &str| logged.message(&format!("mark {words}"));
    let options = format!("--chunk-size 16K --bitmap /dev/mapper/meta {QUICK}");
    eve.ctl(&format!("create data --disk /dev/mapper/data {options}"))
        .ok()?;
    mark("created")?;
    adam.ctl(&format!("join data --disk /dev/vdb --yes {QUICK}")).ok()?;
    let mirror = Mirror {
        source: eve,
        target: adam,
        disk: "vdb",
    };
    mirror.extend_with(QUICK)?;
    mirror.wait("fully-operational")?;
    let seed = dice.between(1, 1 << 30).to_string();
    let mut workload = eve.sh(&WORKLOAD.replace("SEED", &seed)).spawn()?;
    let mut held = Vec::new();
    eve.ctl("set data resync-rate 1M").ok()?;
    for cut in 0..CUTS {
        let (written, copied) = (mirror.count("replicated_bytes")?, mirror.count("resynced_bytes")?);
        if cut == IN_A_RESYNC {
            until("copies", || Ok(mirror.count("resynced_bytes")? > copied))?;
        } else {
            mirror.wait("fully-operational")?;
            let enough = written + 3 * MIB / 2;
            until("writes with the target", || {
                Ok(mirror.count("replicated_bytes")? > enough)
            })?;
        }
        cluster.cut(eve, adam);
        mirror.wait("out-of-sync")?;
        let content = frozen(adam)?;
        mark("cut")?;
        until("writes without the target", || Ok(mirror.count("dirty_chunks")? > 80))?;
        // Nothing came after all.
        ensure!(frozen(adam)? == content, "the target changed while it was cut off");
        held.push(content);
        mark("restored")?;
        cluster.restore_links();
    }
    workload.signal(nix::sys::signal::Signal::SIGKILL)?;
    workload.wait(SOON).context("wait for the end of the writes")?;
    mirror.wait("fully-operational")?;
    eve.ctl("down data").ok()?;
    for device in [meta, data, logged] {
        device.remove()?;
    }
    let log = Log::read(eve.disk("vde")?)?;
    let all = eve.disk("vdb")?.read(0, PARTS.data + PARTS.meta)?;
    ensure!(
        all.starts_with(&adam.disk("vdb")?.read(0, PARTS.data)?),
        "the disks differ"
    );
    // The log has everything, or what it shows would mean nothing.
    let mut end = Replay::new(vec![0; all.len()]);
    for entry in log.entries() {
        end.apply(entry)?;
    }
    ensure!(end.bytes() == all, "the log is not what happened");
    let (seen, _) = Proof::new(&log, PARTS, held, || dice.between(0, 2) == 0)?.run()?;
    println!("{seen:?}");
    enough(&seen)
}

/// Whether what was to be shown occurred at all.
fn enough(seen: &Seen) -> Result<()> {
    let counts = [
        seen.partial,
        seen.torn,
        seen.live,
        seen.alone,
        seen.differing,
        seen.cleared,
    ];
    ensure!(counts.iter().all(|&count| count >= 30), "too little happened: {seen:?}");
    // In the middle of a resync the two are known to differ already.
    ensure!(
        seen.generations >= CUTS as u64 - 1,
        "no new generation with each cut: {seen:?}"
    );
    Ok(())
}
