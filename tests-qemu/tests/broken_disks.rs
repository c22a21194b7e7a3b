// SPDX-License-Identifier: GPL-2.0
//! Disks that break under a mirror in service: the data of either machine, or its metadata. What the application is
//! told is true, nothing that was acknowledged is lost, nothing waits without an end, and with the disk whole again both
//! copies become the same.

use std::time::{Duration, Instant};

use anyhow::{ensure, Context as _, Result};
use serde_json::Value;
use tests_qemu::{workload::Plan, Cluster, Events, Node, Workload, MIB};

use crate::{
    harness::{case, Case, SOON},
    mapper::Mapped,
    mirror::{status, Mirror, QUICK},
    persist::{stands, until, write_chunks, DEVICE},
};

pub(crate) const CASES: &[Case] = &[
    case!(a_target_disk_that_fails_writes_costs_the_mirror_and_not_the_application).smoke(),
    case!(a_target_disk_that_hangs_is_given_up_and_taken_back),
    case!(a_target_disk_that_loses_writes_is_made_good_by_a_full_copy),
    case!(a_target_disk_that_died_is_replaced_by_another),
    case!(a_source_disk_that_fails_writes_tells_the_application_and_heals),
    case!(a_source_disk_that_fails_reads_stops_the_copying_and_nothing_else),
    case!(a_source_disk_that_hangs_holds_up_its_own_mirror_alone),
    case!(a_source_disk_that_died_is_survived_by_the_target),
    case!(source_metadata_that_fails_writes_fails_those_of_the_application),
    case!(source_metadata_that_hangs_holds_up_what_has_to_be_recorded),
    case!(target_metadata_that_fails_writes_is_named_and_taken_back),
    case!(target_metadata_that_hangs_keeps_the_target_away),
    case!(metadata_on_a_full_file_system_can_still_be_written),
];

/// Bytes of the mirror.
const SIZE: u64 = 16 * MIB;
/// The number the kernel gives an error of a disk.
const EIO: &str = " 5";

/// What a disk behind the device mapper does.
#[derive(Clone, Copy)]
enum Does {
    /// What it is asked to.
    All,
    FailWrites,
    LoseWrites,
    FailReads,
    Nothing,
}

impl Does {
    fn table(self, disk: &str, size: u64) -> String {
        let sectors = size / 512;
        let flaky = |how| format!("0 {sectors} flakey /dev/{disk} 0 0 1 1 {how}");
        match self {
            Self::All => format!("0 {sectors} linear /dev/{disk} 0"),
            Self::FailWrites => flaky("error_writes"),
            Self::LoseWrites => flaky("drop_writes"),
            Self::FailReads => flaky("error_reads"),
            Self::Nothing => format!("0 {sectors} error"),
        }
    }
}

/// A disk that can break.
struct Weak<'a> {
    mapped: Mapped<'a>,
    disk: &'static str,
    size: u64,
}

impl<'a> Weak<'a> {
    fn make(node: &'a Node, name: &'static str, disk: &'static str, size: u64) -> Result<Self> {
        let mapped = Mapped::make(node, name, &Does::All.table(disk, size))?;
        Ok(Self { mapped, disk, size })
    }

    #[track_caller]
    fn does(&self, what: Does) -> Result<()> {
        self.mapped.becomes(&what.table(self.disk, self.size))
    }
}

/// A mirror all of whose disks can break.
struct Fixture<'a> {
    mirror: Mirror<'a>,
    source: Weak<'a>,
    source_meta: Weak<'a>,
    target: Weak<'a>,
    target_meta: Weak<'a>,
    events: Events,
}

impl<'a> Fixture<'a> {
    /// In sync.
    fn new(cluster: &'a Cluster) -> Result<Self> {
        let (eve, adam) = cluster.pair();
        let weak = |node| -> Result<_> {
            Ok((
                Weak::make(node, "part", "vdb", SIZE)?,
                Weak::make(node, "bits", "vdf", 4 * MIB)?,
            ))
        };
        let ((source, source_meta), (target, target_meta)) = (weak(eve)?, weak(adam)?);
        let options = format!("--disk /dev/mapper/part --bitmap /dev/mapper/bits {QUICK}");
        eve.ctl(&format!("create data {options}")).ok()?;
        adam.ctl(&format!("join data --yes {options}")).ok()?;
        let mirror = Mirror {
            source: eve,
            target: adam,
            disk: "vdb",
        };
        mirror.extend_with(QUICK)?;
        mirror.wait("fully-operational")?;
        let events = eve.events()?;
        Ok(Self {
            mirror,
            source,
            source_meta,
            target,
            target_meta,
            events,
        })
    }

    /// Writes to one block after the other of the first quarter, at random.
    fn workload(&self, seed: u64) -> Result<Workload> {
        let workload = Workload::start(self.mirror.source, DEVICE, Plan::new(seed, SIZE / 4096 / 4))?;
        workload.more(20, SOON)?;
        Ok(workload)
    }

    /// Waits until the source's leg has this reason.
    #[track_caller]
    fn says(&mut self, sentence: &str) -> Result<Value> {
        self.events.wait_for(sentence, 2 * SOON, |event| {
            event["reason"].as_str().is_some_and(|reason| reason.contains(sentence))
        })
    }

    /// In sync again without a command, with every acknowledged write on the target.
    fn heals(&self, workload: &mut Workload) -> Result<()> {
        self.mirror.wait("fully-operational")?;
        workload.more(20, SOON)?;
        let run = workload.stop()?;
        ensure!(run.errors.is_empty(), "the application got errors: {:?}", run.errors);
        self.is_the_same()?;
        let verdict = workload.judge_disk(self.mirror.target.disk("vdb")?)?;
        ensure!(verdict.good(), "{verdict:?}");
        Ok(())
    }

    fn is_the_same(&self) -> Result<()> {
        let leg = self.mirror.leg()?;
        ensure!(leg["state"] == "fully-operational" && leg["dirty_chunks"] == 0, "{leg}");
        self.mirror.same_disks()
    }
}

/// Covers: S24.
fn a_target_disk_that_fails_writes_costs_the_mirror_and_not_the_application(cluster: &Cluster) -> Result<()> {
    let mut it = Fixture::new(cluster)?;
    let mut workload = it.workload(1)?;
    it.target.does(Does::FailWrites)?;
    it.says("the disk of adam failed a write (IoError); look at its kernel log, or replace it")?;
    workload.more(50, SOON)?;
    stands(it.mirror.source, "source", &["last_owner"])?;
    it.target.does(Does::All)?;
    it.heals(&mut workload)
}

/// Covers: S24.
fn a_target_disk_that_hangs_is_given_up_and_taken_back(cluster: &Cluster) -> Result<()> {
    let mut it = Fixture::new(cluster)?;
    let mut workload = it.workload(2)?;
    // A short time, longer than the link may be silent, costs nothing but that time.
    it.target.mapped.hangs()?;
    wait_a_little(Duration::from_secs(2))?;
    it.target.mapped.goes_on()?;
    workload.more(20, SOON)?;
    ensure!(it.mirror.count("connects")? == 1, "{}", it.mirror.leg()?);
    it.target.mapped.hangs()?;
    it.says("the target has confirmed nothing for")?;
    workload.more(50, SOON)?;
    // Nothing waits for it on the target either.
    it.mirror.target.ctl("status").ok()?;
    it.target.mapped.goes_on()?;
    it.heals(&mut workload)
}

fn a_target_disk_that_loses_writes_is_made_good_by_a_full_copy(cluster: &Cluster) -> Result<()> {
    let it = Fixture::new(cluster)?;
    let mut workload = it.workload(3)?;
    it.target.does(Does::LoseWrites)?;
    workload.more(50, SOON)?;
    workload.stop()?;
    it.target.does(Does::All)?;
    // Nobody can know; this is what a full copy is for.
    let verdict = workload.judge_disk(it.mirror.target.disk("vdb")?)?;
    ensure!(!verdict.good(), "the disk lost nothing");
    ensure!(it.mirror.leg()?["state"] == "fully-operational");
    it.mirror.source.ctl("fullresync data --yes").ok()?;
    let whole = || Ok(it.mirror.count("resynced_bytes")? == 2 * SIZE);
    until("a full copy", whole)?;
    it.mirror.wait("fully-operational")?;
    it.is_the_same()
}

/// Covers: S24, S35.
fn a_target_disk_that_died_is_replaced_by_another(cluster: &Cluster) -> Result<()> {
    let mut it = Fixture::new(cluster)?;
    let adam = it.mirror.target;
    let mut workload = it.workload(4)?;
    it.target.does(Does::Nothing)?;
    it.says("the disk of adam failed a write (IoError); look at its kernel log, or replace it")?;
    adam.ctl("delete data --force").ok()?;
    adam.ctl(&format!("join data --disk /dev/vdc --yes {QUICK}")).ok()?;
    it.mirror.wait("fully-operational")?;
    workload.more(20, SOON)?;
    ensure!(workload.stop()?.errors.is_empty(), "the application got an error");
    let differ = it
        .mirror
        .source
        .disk("vdb")?
        .differences(adam.disk("vdc")?, SIZE, 65536)?;
    ensure!(differ.is_empty(), "{differ:?}");
    Ok(())
}

/// Covers: S36.
fn a_source_disk_that_fails_writes_tells_the_application_and_heals(cluster: &Cluster) -> Result<()> {
    let it = Fixture::new(cluster)?;
    let mut workload = it.workload(5)?;
    it.source.does(Does::FailWrites)?;
    workload
        .more(2000, SOON)
        .err()
        .context("a disk that takes no write does not stop the writer")?;
    let run = workload.stop()?;
    ensure!(
        !run.errors.is_empty() && run.errors.iter().all(|error| error.ends_with(EIO)),
        "{:?}",
        run.errors
    );
    // The target may have what the source has not.
    it.source.does(Does::All)?;
    until("the disks to be the same", || {
        let leg = it.mirror.leg()?;
        Ok(leg["state"] == "fully-operational" && leg["dirty_chunks"] == 0)
    })?;
    it.is_the_same()?;
    let mut more = it.workload(6)?;
    it.heals(&mut more)
}

fn a_source_disk_that_fails_reads_stops_the_copying_and_nothing_else(cluster: &Cluster) -> Result<()> {
    let mut it = Fixture::new(cluster)?;
    let mut workload = it.workload(7)?;
    cluster.cut(it.mirror.source, it.mirror.target);
    it.mirror.wait("out-of-sync")?;
    workload.more(50, SOON)?;
    it.source.does(Does::FailReads)?;
    cluster.restore_links();
    it.says("the local disk failed a read or a write; look at the kernel log")?;
    workload.more(50, SOON)?;
    it.source.does(Does::All)?;
    it.heals(&mut workload)
}

fn a_source_disk_that_hangs_holds_up_its_own_mirror_alone(cluster: &Cluster) -> Result<()> {
    let it = Fixture::new(cluster)?;
    let eve = it.mirror.source;
    let mut workload = it.workload(8)?;
    it.source.mapped.hangs()?;
    // The other side hears from this one all the same.
    wait_a_little(Duration::from_secs(3))?;
    let leg = it.mirror.leg()?;
    ensure!(leg["state"] == "fully-operational" && leg["connects"] == 1, "{leg}");
    it.source.mapped.goes_on()?;
    workload.more(20, SOON)?;
    // The same, and the mirror is to go out of service meanwhile.
    it.source.mapped.hangs()?;
    let mut stop = eve.ctl("stop data --force").spawn()?;
    wait_a_little(Duration::from_secs(1))?;
    eve.ctl("status").ok()?;
    eve.ctl("create other --disk /dev/vdc --new").ok()?;
    eve.sh("echo here | dd of=/dev/netraid1 bs=512 conv=sync oflag=direct")
        .ok()?;
    eve.ctl("delete other --force").ok()?;
    it.source.mapped.goes_on()?;
    let (code, lines) = stop.wait(SOON)?;
    ensure!(code == 0, "stop: {lines:?}");
    workload.stop()?;
    eve.sh("netraid-ctl delete data && rmmod netraid").ok()?;
    let verdict = workload.judge_disk(it.mirror.target.disk("vdb")?)?;
    ensure!(verdict.good(), "{verdict:?}");
    Ok(())
}

/// Covers: S36.
fn a_source_disk_that_died_is_survived_by_the_target(cluster: &Cluster) -> Result<()> {
    let it = Fixture::new(cluster)?;
    let (eve, adam) = (it.mirror.source, it.mirror.target);
    let mut workload = it.workload(9)?;
    it.source.does(Does::Nothing)?;
    workload
        .more(2000, SOON)
        .err()
        .context("a disk that is dead does not stop the writer")?;
    workload.stop()?;
    eve.ctl("stop data --force").ok()?;
    adam.ctl("promote data").ok()?;
    let found = workload.judge_device(adam, DEVICE)?;
    ensure!(found.good(), "{found:?}");
    // Another disk takes its place.
    eve.ctl("delete data").ok()?;
    eve.ctl(&format!("join data --disk /dev/vdc --yes {QUICK}")).ok()?;
    adam.ctl("wait data --for fully-operational --timeout 60").ok()?;
    let differ = eve.disk("vdc")?.differences(adam.disk("vdb")?, SIZE, 65536)?;
    ensure!(differ.is_empty(), "{differ:?}");
    Ok(())
}

fn source_metadata_that_fails_writes_fails_those_of_the_application(cluster: &Cluster) -> Result<()> {
    let it = Fixture::new(cluster)?;
    let eve = it.mirror.source;
    write_chunks(eve, &[1, 2])?;
    it.source_meta.does(Does::FailWrites)?;
    let refused = eve.sh(&format!("netraid-guest scatter {DEVICE} 200")).run()?;
    ensure!(
        refused.code != 0 && refused.stderr.contains("Input/output error"),
        "{refused:?}"
    );
    // What could not be recorded was not done, anywhere.
    it.mirror.same_disks()?;
    eve.sh(&format!("dd if={DEVICE} of=/dev/null bs=64k count=4 iflag=direct"))
        .ok()?;
    it.source_meta.does(Does::All)?;
    // Out of service and back, and it is forgotten.
    eve.ctl("down data").ok()?;
    eve.ctl("up data").ok()?;
    it.mirror.wait("fully-operational")?;
    let mut workload = it.workload(10)?;
    it.heals(&mut workload)
}

fn source_metadata_that_hangs_holds_up_what_has_to_be_recorded(cluster: &Cluster) -> Result<()> {
    let it = Fixture::new(cluster)?;
    let eve = it.mirror.source;
    let mut workload = Workload::start(eve, DEVICE, Plan::new(11, 16).threads(1))?;
    workload.more(20, SOON)?;
    it.source_meta.mapped.hangs()?;
    let mut cold = eve.sh(&format!("netraid-guest scatter {DEVICE} 200")).spawn()?;
    // What is on record already goes on.
    workload.more(50, SOON)?;
    ensure!(cold_is_untouched(&it)?, "a write overtook its mark");
    it.source_meta.mapped.goes_on()?;
    let (code, lines) = cold.wait(SOON)?;
    ensure!(code == 0, "{lines:?}");
    ensure!(it.mirror.count("connects")? == 1, "{}", it.mirror.leg()?);
    it.heals(&mut workload)
}

/// Covers: S59.
fn target_metadata_that_fails_writes_is_named_and_taken_back(cluster: &Cluster) -> Result<()> {
    let it = Fixture::new(cluster)?;
    let (eve, adam) = (it.mirror.source, it.mirror.target);
    let mut workload = it.workload(12)?;
    it.target_meta.does(Does::FailWrites)?;
    // As long as nothing has to be recorded nobody notices.
    workload.more(50, SOON)?;
    ensure!(it.mirror.leg()?["state"] == "fully-operational");
    let mut there = adam.events()?;
    cluster.cut(eve, adam);
    it.mirror.wait("out-of-sync")?;
    workload.more(50, SOON)?;
    cluster.restore_links();
    let sentence = "the metadata here can't be written (error 5); look at the disk it is on";
    there.wait_for(sentence, SOON, |event| {
        event["reason"].as_str().is_some_and(|reason| reason.contains(sentence))
    })?;
    workload.more(50, SOON)?;
    it.target_meta.does(Does::All)?;
    it.heals(&mut workload)
}

fn target_metadata_that_hangs_keeps_the_target_away(cluster: &Cluster) -> Result<()> {
    let it = Fixture::new(cluster)?;
    let (eve, adam) = (it.mirror.source, it.mirror.target);
    let mut workload = it.workload(13)?;
    it.target_meta.mapped.hangs()?;
    workload.more(50, SOON)?;
    cluster.cut(eve, adam);
    it.mirror.wait("out-of-sync")?;
    let before = it.mirror.count("connects")?;
    workload.more(50, SOON)?;
    cluster.restore_links();
    until("another attempt", || {
        let leg = it.mirror.leg()?;
        Ok(leg["connects"].as_u64() > Some(before) || leg["attempts"].as_u64() > Some(1))
    })?;
    // The application does not wait for it longer than for a target that is silent.
    workload.more(50, SOON)?;
    adam.ctl("status").ok()?;
    it.target_meta.mapped.goes_on()?;
    it.heals(&mut workload)
}

fn metadata_on_a_full_file_system_can_still_be_written(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    for node in [eve, adam] {
        node.sh("mkfs.ext4 -q /dev/vdc && mount /dev/vdc /mnt").ok()?;
    }
    let options = format!("--disk /dev/vdb --bitmap /mnt/bits {QUICK}");
    eve.ctl(&format!("create data {options}")).ok()?;
    adam.ctl(&format!("join data --yes {options}")).ok()?;
    let mirror = Mirror {
        source: eve,
        target: adam,
        disk: "vdb",
    };
    mirror.extend_with(QUICK)?;
    for node in [eve, adam] {
        let full = node
            .sh("dd if=/dev/zero of=/mnt/full bs=1M oflag=direct; dd if=/dev/zero of=/mnt/rest bs=4k oflag=direct")
            .exits(1)?;
        ensure!(full.stderr.contains("No space left on device"), "{full:?}");
    }
    mirror.wait("fully-operational")?;
    let mut workload = Workload::start(eve, DEVICE, Plan::new(14, 4096))?;
    workload.more(50, SOON)?;
    cluster.cut(eve, adam);
    mirror.wait("out-of-sync")?;
    workload.more(50, SOON)?;
    cluster.restore_links();
    mirror.wait("fully-operational")?;
    ensure!(workload.stop()?.errors.is_empty(), "the application got an error");
    for node in [eve, adam] {
        node.ctl("down data").ok()?;
        node.ctl("up data").ok()?;
    }
    mirror.wait("fully-operational")?;
    ensure!(status(eve, "data")?["role"] == "source");
    mirror.same_disks()
}

/// Whether chunk 200, to which nobody had written before, is as it was on both disks.
fn cold_is_untouched(it: &Fixture<'_>) -> Result<bool> {
    let mut untouched = true;
    for node in [it.mirror.source, it.mirror.target] {
        let chunk = node.disk("vdb")?.read(200 * 65536, 65536)?;
        untouched &= chunk.iter().all(|&byte| byte == 0);
    }
    Ok(untouched)
}

/// Nothing is waited for but time: what is shown is that nothing happens in it.
fn wait_a_little(time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        nix::poll::poll(&mut [], 50_u8)?;
    }
    Ok(())
}
