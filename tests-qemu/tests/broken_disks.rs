// SPDX-License-Identifier: GPL-2.0
//! Disks that break under a mirror in service: those with the data of either machine. What the application is
//! told is true, nothing that was acknowledged is lost, nothing waits without an end, and with the disk whole again both
//! copies become the same.

use std::time::Duration;

use anyhow::{ensure, Context as _, Result};
use tests_qemu::Cluster;

use crate::{
    harness::{case, Case, SOON},
    mirror::QUICK,
    persist::{stands, until},
    weak::{wait_a_little, Does, Fixture, SIZE},
};

pub(crate) const CASES: &[Case] = &[
    case!(a_target_disk_that_fails_writes_costs_the_mirror_and_not_the_application).smoke(),
    case!(a_target_disk_that_hangs_is_given_up_and_taken_back),
    case!(a_target_disk_that_loses_writes_is_made_good_by_a_full_copy),
    case!(a_target_disk_that_died_is_replaced_by_another),
    case!(a_source_disk_that_fails_writes_tells_the_application_and_heals),
    case!(a_source_disk_that_fails_reads_stops_the_copying_and_nothing_else),
    case!(a_source_disk_that_hangs_holds_up_its_own_mirror_alone),
];

/// The number the kernel gives an error of a disk.
const EIO: &str = " 5";

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

/// Covers: S36, S175.
fn a_source_disk_that_fails_writes_tells_the_application_and_heals(cluster: &Cluster) -> Result<()> {
    let it = Fixture::made(cluster, "--bitmap /dev/mapper/bits --on-io-error pass-on", "")?;
    ensure!(
        it.mirror.status()?["on_io_error"] == "pass-on",
        "{}",
        it.mirror.status()?
    );
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
    // The target may have what the source has not; that is marked, and copied on the next occasion.
    ensure!(it.mirror.count("dirty_chunks")? > 0);
    it.source.does(Does::All)?;
    let source = it.mirror.source;
    source.ctl("pause data").ok()?;
    source.ctl("resume data").ok()?;
    it.mirror.wait("fully-operational")?;
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
