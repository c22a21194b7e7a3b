// SPDX-License-Identifier: GPL-2.0
//! A disk that is put in where that of the source was given up: it is filled from the target while the application goes
//! on, and counts only when all is there.

use anyhow::{ensure, Context as _, Result};
use tests_qemu::{Cluster, Workload};

use crate::{
    harness::{case, Case, SOON},
    lost_disks::{is_given_up, is_no_source, is_served},
    mirror::refused,
    persist::{boot, number, stands, turned, until, up, DEVICE},
    weak::{Does, Fixture, SIZE},
};

pub(crate) const CASES: &[Case] = &[
    case!(a_dead_disk_is_replaced_by_another_while_the_application_writes)
        .smoke()
        .debug(),
    case!(a_disk_that_fails_again_while_it_is_filled_is_not_used),
    case!(a_machine_that_loses_power_while_its_disk_is_filled_has_no_copy),
    case!(a_target_that_is_lost_while_it_fills_the_disk_leaves_no_copy),
];

/// The disk of the source is given up under a workload.
fn given_up<'a>(cluster: &'a Cluster, seed: u64) -> Result<(Fixture<'a>, Workload)> {
    let mut it = Fixture::new(cluster)?;
    let workload = it.workload(seed)?;
    it.source.does(Does::FailWrites)?;
    it.says("was given up; reads and writes go to adam")?;
    workload.more(100, SOON)?;
    Ok((it, workload))
}

/// The same, and it is being filled again, slowly.
fn half_filled<'a>(cluster: &'a Cluster, seed: u64) -> Result<(Fixture<'a>, Workload)> {
    let (it, workload) = given_up(cluster, seed)?;
    let eve = it.mirror.source;
    // What follows has to be done before it is full.
    let rate = if cluster.debug() { "256K" } else { "1M" };
    eve.ctl(&format!("set data resync-rate {rate}")).ok()?;
    it.source.does(Does::All)?;
    eve.ctl("attach data --yes").ok()?;
    refused(eve, "attach data --yes", &["is being filled"])?;
    until("a part of the disk to be filled", || {
        Ok(number(eve, "rebuilt_bytes")? >= SIZE / 16)
    })?;
    let state = it.mirror.status()?;
    ensure!(
        state["disk_state"] == "rebuilding" && state["inconsistent"] == true,
        "{state}"
    );
    let told = eve.ctl("status data").ok()?;
    ensure!(
        told.contains("Disk: /dev/mapper/part is being filled from a target"),
        "{told}"
    );
    Ok((it, workload))
}

/// Covers: S175.
fn a_dead_disk_is_replaced_by_another_while_the_application_writes(cluster: &Cluster) -> Result<()> {
    let (mut it, mut workload) = given_up(cluster, 21)?;
    let (eve, adam) = (it.mirror.source, it.mirror.target);
    refused(eve, "attach data --disk /dev/vdf --yes", &["cannot"])?;
    it.source.does(Does::Nothing)?;
    eve.ctl("attach data --disk /dev/vdc --yes").ok()?;
    workload.more(50, SOON)?;
    it.says("holds all data again, and is in use")?;
    let state = it.mirror.status()?;
    ensure!(
        state["disk_state"] == "attached" && state["disk"] == "/dev/vdc",
        "{state}"
    );
    ensure!(
        state["inconsistent"] == false && state["rebuilt_bytes"] == SIZE,
        "{state}"
    );
    ensure!(
        state["operational"] == true && it.mirror.count("connects")? == 1,
        "{state}"
    );
    workload.more(50, SOON)?;
    // It is as good as the target: alone, and after a restart.
    cluster.cut(eve, adam);
    it.mirror.wait("out-of-sync")?;
    workload.more(50, SOON)?;
    cluster.restore_links();
    it.mirror.wait("fully-operational")?;
    let leg = it.mirror.leg()?;
    ensure!(leg["resync_full"] == false, "{leg}");
    is_served(&mut workload, adam)?;
    let differ = eve.disk("vdc")?.differences(adam.disk("vdb")?, SIZE, 65536)?;
    ensure!(differ.is_empty(), "{differ:?}");
    let verdict = workload.judge_disk(eve.disk("vdc")?)?;
    ensure!(verdict.lost.is_empty(), "{verdict:?}");
    eve.kill9()?;
    boot(eve)?;
    // The old disk, too, is there again, with what it had.
    it.source.comes_back(eve, Does::All)?;
    it.source_meta.comes_back(eve, Does::All)?;
    eve.ctl("up --all").ok()?;
    it.mirror.wait("fully-operational")?;
    stands(eve, "source", &["last_owner"])?;
    let state = it.mirror.status()?;
    ensure!(state["disk"] == "/dev/vdc", "{state}");
    let verdict = workload.judge_device(eve, DEVICE)?;
    ensure!(verdict.lost.is_empty(), "{verdict:?}");
    Ok(())
}

/// Covers: S175.
fn a_disk_that_fails_again_while_it_is_filled_is_not_used(cluster: &Cluster) -> Result<()> {
    let (mut it, mut workload) = half_filled(cluster, 22)?;
    let eve = it.mirror.source;
    it.source.does(Does::FailWrites)?;
    it.says("could not be filled (error 5), and is not used")?;
    workload.more(50, SOON)?;
    is_given_up(eve)?;
    it.source.does(Does::All)?;
    eve.ctl("set data resync-rate 0").ok()?;
    eve.ctl("attach data --yes").ok()?;
    it.says("holds all data again")?;
    workload.more(20, SOON)?;
    it.heals(&mut workload)
}

/// Covers: S175.
fn a_machine_that_loses_power_while_its_disk_is_filled_has_no_copy(cluster: &Cluster) -> Result<()> {
    let (mut it, workload) = half_filled(cluster, 23)?;
    let (eve, adam) = (it.mirror.source, it.mirror.target);
    eve.kill9()?;
    boot(eve)?;
    it.source.comes_back(eve, Does::All)?;
    it.source_meta.comes_back(eve, Does::All)?;
    up(eve)?;
    stands(eve, "target", &["inconsistent"])?;
    adam.ctl("promote data").ok()?;
    let back = turned(&it.mirror);
    back.wait("fully-operational")?;
    ensure!(back.leg()?["resync_full"] == true, "{}", back.leg()?);
    back.same_disks()?;
    let verdict = workload.judge_disk(eve.disk("vdb")?)?;
    ensure!(verdict.lost.is_empty(), "{verdict:?}");
    Ok(())
}

/// Covers: S175.
fn a_target_that_is_lost_while_it_fills_the_disk_leaves_no_copy(cluster: &Cluster) -> Result<()> {
    let (mut it, mut workload) = half_filled(cluster, 24)?;
    let (eve, adam) = (it.mirror.source, it.mirror.target);
    cluster.cut(eve, adam);
    it.says("no target is in step any more: reads and writes fail")?;
    workload
        .more(2000, SOON)
        .err()
        .context("writes went on without any copy")?;
    workload.stop()?;
    ensure!(it.mirror.status()?["disk_state"] == "lost", "{}", it.mirror.status()?);
    refused(eve, "attach data --yes", &["no target of mirror 'data' is in step"])?;
    cluster.restore_links();
    eve.ctl("stop data --force").ok()?;
    is_no_source(eve)?;
    let verdict = workload.judge_disk(adam.disk("vdb")?)?;
    ensure!(verdict.lost.is_empty(), "{verdict:?}");
    Ok(())
}
