// SPDX-License-Identifier: GPL-2.0
//! The disk of the source dies under a mirror whose target is in step: the application notices nothing, nothing that was
//! acknowledged is lost, the target is not harmed, and the machine with the dead disk does not come back with old data.

use anyhow::{ensure, Context as _, Result};
use netraid_core::wire::Kind;
use serde_json::Value;
use tests_qemu::{workload::Plan, Cluster, Node, Workload};

use crate::{
    broken_network::{silence, Trap},
    harness::{case, Case, SOON},
    mirror::{refused, status, Mirror, QUICK},
    persist::{boot, stands, turned, until, up, write_chunks, DEVICE},
    several::{extend, leg},
    weak::{Does, Fixture, SIZE},
};

pub(crate) const CASES: &[Case] = &[
    case!(a_source_disk_that_fails_writes_costs_the_application_nothing)
        .smoke()
        .debug(),
    case!(a_source_disk_that_is_gone_costs_the_application_nothing),
    case!(an_asynchronous_target_counts_as_a_synchronous_one_without_the_disk),
    case!(without_a_target_in_step_the_application_gets_the_error),
    case!(a_target_that_has_not_noted_the_end_of_its_resync_is_no_copy_to_rely_on),
    case!(without_disk_and_target_everything_fails_and_the_target_takes_over),
    case!(a_machine_with_a_dead_disk_does_not_come_back_as_source),
    case!(a_disk_that_died_with_its_metadata_does_not_come_back_as_source),
    case!(a_target_that_lags_behind_is_not_filled_from_a_dead_disk).three(),
    case!(a_target_in_the_middle_of_its_resync_gets_nothing_more_from_a_dead_disk).three(),
];

const SEPARATE: &str = "--bitmap /dev/mapper/bits";

/// The application has seen no error, and all it was told is on the target.
pub(crate) fn is_served(workload: &mut Workload, target: &Node) -> Result<()> {
    workload.stop()?;
    is_all_there(workload, target)
}

fn is_all_there(workload: &Workload, target: &Node) -> Result<()> {
    let run = workload.run();
    ensure!(run.errors.is_empty(), "the application got errors: {:?}", run.errors);
    let verdict = workload.judge_disk(target.disk("vdb")?)?;
    ensure!(verdict.lost.is_empty(), "{}: {verdict:?}", target.name());
    Ok(())
}

/// The device, read past the cache, is what the target's disk holds.
fn reads_as_the_target(mirror: &Mirror<'_>) -> Result<()> {
    let script = format!("dd if={DEVICE} of=/tmp/read bs=256k iflag=direct && stat -c %s /tmp/read");
    mirror.source.sh(&script).ok()?;
    let read = mirror.source.read_file("/tmp/read")?;
    ensure!(
        read == mirror.target.disk("vdb")?.read(0, SIZE)?,
        "other data was read than is on the target"
    );
    mirror.source.sh("rm /tmp/read").ok()?;
    Ok(())
}

/// How often the kernel log says that a disk was given up.
fn times_given_up(node: &Node) -> Result<usize> {
    Ok(node.sh("dmesg").ok()?.matches("and was given up").count())
}

pub(crate) fn is_given_up(node: &Node) -> Result<Value> {
    let state = status(node, "data")?;
    ensure!(
        state["disk_state"] == "detached" && state["inconsistent"] == true,
        "{state}"
    );
    ensure!(
        state["legs"][0]["state"] == "out-of-sync" && state["operational"] == false,
        "{state}"
    );
    Ok(state)
}

/// A machine without a copy is not made the source, whatever the operator says.
pub(crate) fn is_no_source(node: &Node) -> Result<()> {
    refused(node, "start data", &["holds no copy yet"])?;
    refused(node, "force data --override --yes", &["holds no copy yet"])?;
    ensure!(
        status(node, "data")?["device_present"] == false,
        "{}",
        status(node, "data")?
    );
    Ok(())
}

/// Covers: S175.
fn a_source_disk_that_fails_writes_costs_the_application_nothing(cluster: &Cluster) -> Result<()> {
    dies(cluster, SEPARATE, Does::FailWrites)
}

/// Covers: S175.
fn a_source_disk_that_is_gone_costs_the_application_nothing(cluster: &Cluster) -> Result<()> {
    dies(cluster, SEPARATE, Does::Nothing)
}

fn dies(cluster: &Cluster, create: &str, how: Does) -> Result<()> {
    let mut it = Fixture::made(cluster, create, "")?;
    let (eve, adam) = (it.mirror.source, it.mirror.target);
    let before = it.mirror.status()?;
    ensure!(
        before["disk_state"] == "attached" && before["on_io_error"] == "detach",
        "{before}"
    );
    // Machines are handed from test to test.
    let logged = times_given_up(eve)?;
    let mut workload = it.workload(1)?;
    it.source.does(how)?;
    it.says("the disk of this machine failed a write (error 5) and was given up; reads and writes go to adam")?;
    workload.more(300, SOON)?;
    let state = is_given_up(eve)?;
    ensure!(state["generation"] != before["generation"], "{state}");
    until("the target to have noted that it leads", || {
        Ok(status(adam, "data")?["generation"] == state["generation"])
    })?;
    ensure!(times_given_up(eve)? == logged + 1, "the kernel log says it not once");
    let told = eve.ctl("status data").ok()?;
    ensure!(
        told.contains("Disk: /dev/mapper/part(F) failed and was given up"),
        "{told}"
    );
    // While others write, and with flushes.
    eve.sh(&format!(
        "dd if={DEVICE} of=/dev/null bs=64k iflag=direct && sync {DEVICE}"
    ))
    .ok()?;
    ensure!(it.mirror.count("connects")? == 1, "{}", it.mirror.leg()?);
    // What would take the only copy away, or overwrite it.
    for wrong in ["pause data", "unextend data", "fullresync data --yes"] {
        refused(eve, wrong, &["the disk of mirror 'data' was given up on this machine"])?;
    }
    is_served(&mut workload, adam)?;
    reads_as_the_target(&it.mirror)?;
    comes_back_as_target(&it)
}

/// The way back: the target becomes the source, and fills the disk anew; then they change places again.
fn comes_back_as_target(it: &Fixture<'_>) -> Result<()> {
    let (eve, adam) = (it.mirror.source, it.mirror.target);
    let back = turned(&it.mirror);
    adam.ctl("switchover data").ok()?;
    stands(adam, "source", &["last_owner"])?;
    until("the old source to be a target", || {
        Ok(status(eve, "data")?["role"] == "target")
    })?;
    stands(eve, "target", &["inconsistent"])?;
    let mut workload = Workload::start(adam, DEVICE, Plan::new(77, SIZE / 4096 / 4))?;
    workload.more(20, SOON)?;
    it.source.does(Does::All)?;
    back.wait("fully-operational")?;
    ensure!(back.leg()?["resync_full"] == true, "{}", back.leg()?);
    workload.more(20, SOON)?;
    workload.stop()?;
    // The leg back may be an asynchronous one.
    until("the target to have confirmed everything", || {
        Ok(back.count("in_flight")? == 0)
    })?;
    is_all_there(&workload, eve)?;
    back.same_disks()?;
    stands(eve, "target", &[])?;
    eve.ctl("switchover data").ok()?;
    it.mirror.wait("fully-operational")?;
    let state = it.mirror.status()?;
    ensure!(state["disk_state"] == "attached", "{state}");
    let mut more = it.workload(78)?;
    it.heals(&mut more)
}

/// Covers: S175, S43.
fn an_asynchronous_target_counts_as_a_synchronous_one_without_the_disk(cluster: &Cluster) -> Result<()> {
    let mut it = Fixture::made(cluster, "--bitmap /dev/mapper/bits --async=500", "--type async")?;
    let (eve, adam) = (it.mirror.source, it.mirror.target);
    let mut workload = it.workload(11)?;
    it.source.does(Does::FailWrites)?;
    it.says("was given up; reads and writes go to adam")?;
    workload.more(100, SOON)?;
    // What is acknowledged now is on the target, without a moment for it to catch up.
    adam.freeze()?;
    let told = workload.run().writes;
    let verdict = workload.judge_disk(adam.disk("vdb")?)?;
    adam.thaw()?;
    ensure!(verdict.lost.is_empty(), "{verdict:?} of {told}");
    is_given_up(eve)?;
    workload.more(20, SOON)?;
    is_served(&mut workload, adam)?;
    reads_as_the_target(&it.mirror)?;
    comes_back_as_target(&it)
}

/// A write fails, and the disk of the source stays in use.
fn gets_the_error(mirror: &Mirror<'_>) -> Result<()> {
    let write = format!("dd if=/dev/urandom of={DEVICE} bs=4k count=1 oflag=direct");
    mirror.source.sh(&write).exits(1)?;
    let state = mirror.status()?;
    ensure!(
        state["disk_state"] == "attached" && state["inconsistent"] == false,
        "{state}"
    );
    Ok(())
}

/// Covers: S36, S175.
fn without_a_target_in_step_the_application_gets_the_error(cluster: &Cluster) -> Result<()> {
    let it = Fixture::new(cluster)?;
    let eve = it.mirror.source;
    eve.ctl("pause data").ok()?;
    it.mirror.wait("paused")?;
    it.source.does(Does::FailWrites)?;
    gets_the_error(&it.mirror)?;
    it.source.does(Does::All)?;
    eve.ctl("resume data").ok()?;
    let mut workload = it.workload(12)?;
    it.heals(&mut workload)
}

/// The disk fails between the end of a resync and the target's having it on record: a target that loses its power then has
/// half a copy, as far as anybody can tell, so the disk is not given up for it.
///
/// Covers: S175.
fn a_target_that_has_not_noted_the_end_of_its_resync_is_no_copy_to_rely_on(cluster: &Cluster) -> Result<()> {
    let it = Fixture::new(cluster)?;
    let (eve, adam) = (it.mirror.source, it.mirror.target);
    silence(&it.mirror, cluster)?;
    write_chunks(eve, &[5])?;
    // A resync reads.
    it.source.does(Does::FailWrites)?;
    let trap = Trap::set(cluster, Kind::ResyncDone, false);
    trap.await_sprung()?;
    gets_the_error(&it.mirror)?;
    ensure!(status(adam, "data")?["inconsistent"] == true, "the target knows it all");
    it.source.does(Does::All)?;
    cluster.restore_links();
    let mut workload = it.workload(14)?;
    it.heals(&mut workload)
}

/// Covers: S175.
fn without_disk_and_target_everything_fails_and_the_target_takes_over(cluster: &Cluster) -> Result<()> {
    let mut it = Fixture::new(cluster)?;
    let (eve, adam) = (it.mirror.source, it.mirror.target);
    let mut workload = it.workload(13)?;
    it.source.does(Does::FailWrites)?;
    it.says("and was given up")?;
    workload.more(50, SOON)?;
    cluster.cut(eve, adam);
    it.says("no target is in step any more: reads and writes fail")?;
    workload
        .more(2000, SOON)
        .err()
        .context("writes went on without any copy")?;
    let run = workload.stop()?;
    ensure!(run.errors.iter().all(|error| error.ends_with(" 5")), "{:?}", run.errors);
    ensure!(it.mirror.status()?["disk_state"] == "lost", "{}", it.mirror.status()?);
    eve.sh(&format!("dd if={DEVICE} of=/dev/null bs=4k count=1 iflag=direct"))
        .exits(1)?;
    let told = eve.ctl("status data").ok()?;
    ensure!(told.contains("no target is in step, reads and writes fail"), "{told}");
    // It is not made worse by the target's being there again.
    cluster.restore_links();
    it.says("can't be copied from it")?;
    stands(adam, "target", &[])?;
    eve.ctl("stop data --force").ok()?;
    is_no_source(eve)?;
    adam.ctl("force data --override --yes").ok()?;
    stands(adam, "source", &["last_owner"])?;
    let verdict = workload.judge_disk(adam.disk("vdb")?)?;
    ensure!(verdict.lost.is_empty(), "{verdict:?}");
    Ok(())
}

/// Covers: S175.
fn a_machine_with_a_dead_disk_does_not_come_back_as_source(cluster: &Cluster) -> Result<()> {
    restarts(cluster, SEPARATE, false)
}

/// The metadata goes with the disk, and with it whatever would have been noted there.
/// Covers: S175.
fn a_disk_that_died_with_its_metadata_does_not_come_back_as_source(cluster: &Cluster) -> Result<()> {
    restarts(cluster, "--bitmap internal --new", true)
}

fn restarts(cluster: &Cluster, create: &str, unrecorded: bool) -> Result<()> {
    let mut it = Fixture::made(cluster, create, "")?;
    let (eve, adam) = (it.mirror.source, it.mirror.target);
    let workload = it.workload(14)?;
    it.source.does(Does::Nothing)?;
    it.says("and was given up")?;
    workload.more(200, SOON)?;
    eve.kill9()?;
    let told = workload.run();
    ensure!(told.errors.is_empty(), "{:?}", told.errors);
    adam.ctl("wait data --for out-of-sync --timeout 60").ok()?;
    // The disk is back, with what it had; the one who has the data can't be asked.
    cluster.cut(eve, adam);
    boot(eve)?;
    it.source.comes_back(eve, Does::All)?;
    it.source_meta.comes_back(eve, Does::All)?;
    up(eve)?;
    let state = status(eve, "data")?;
    ensure!(state["role"] != "source" && state["device_present"] == false, "{state}");
    if unrecorded {
        ensure!(state["data_corrupt"] == true, "{state}");
    } else {
        ensure!(state["role"] == "target" && state["inconsistent"] == true, "{state}");
    }
    cluster.restore_links();
    // Nor when it can. The kernel looks for a neighbour that was silent once a second, which is as long as it is asked.
    until("the one who has the data to be heard", || Ok(up(eve)?.code == 0))?;
    let state = status(eve, "data")?;
    ensure!(state["role"] == "target", "{state}");
    eve.ctl("promote data").exits(2)?;
    adam.ctl("promote data").ok()?;
    let back = turned(&it.mirror);
    back.wait("fully-operational")?;
    // Metadata at the end of a disk is its own.
    let size = back.status()?["size"].as_u64().context("size")?;
    let differ = eve.disk("vdb")?.differences(adam.disk("vdb")?, size, 65536)?;
    ensure!(differ.is_empty(), "{differ:?}");
    for node in [eve, adam] {
        let verdict = workload.judge_disk(node.disk("vdb")?)?;
        ensure!(verdict.lost.is_empty(), "{}: {verdict:?}", node.name());
    }
    Ok(())
}

/// In step, with another target, the disk of which is none that can break.
fn with_a_third(cluster: &Cluster) -> Result<(Fixture<'_>, &Node)> {
    let [_, _, carol] = cluster.nodes() else {
        unreachable!("three machines")
    };
    let it = Fixture::new(cluster)?;
    carol.ctl(&format!("join data --disk /dev/vdb --yes {QUICK}")).ok()?;
    extend(it.mirror.source, carol, &QUICK.to_string())?;
    it.mirror
        .source
        .ctl("wait data --for fully-operational --timeout 60")
        .ok()?;
    Ok((it, carol))
}

/// Covers: S175, S79.
fn a_target_that_lags_behind_is_not_filled_from_a_dead_disk(cluster: &Cluster) -> Result<()> {
    let (mut it, carol) = with_a_third(cluster)?;
    let (eve, adam) = (it.mirror.source, it.mirror.target);
    cluster.cut(eve, carol);
    until("the third to be left behind", || {
        Ok(leg(eve, carol)?["state"] == "out-of-sync")
    })?;
    let mut workload = it.workload(15)?;
    let before = carol.disk("vdb")?.read(0, SIZE)?;
    it.source.does(Does::FailWrites)?;
    it.says("and was given up; reads and writes go to adam")?;
    workload.more(50, SOON)?;
    cluster.restore_links();
    it.says("what this target misses can't be copied from it")?;
    workload.more(50, SOON)?;
    ensure!(leg(eve, carol)?["state"] == "out-of-sync", "{}", leg(eve, carol)?);
    ensure!(
        carol.disk("vdb")?.read(0, SIZE)? == before,
        "something was written to the third disk"
    );
    stands(carol, "target", &[])?;
    is_served(&mut workload, adam)
}

/// What it misses could be put on no record any more. Covers: S175, S79.
fn a_target_in_the_middle_of_its_resync_gets_nothing_more_from_a_dead_disk(cluster: &Cluster) -> Result<()> {
    let (mut it, carol) = with_a_third(cluster)?;
    let (eve, adam) = (it.mirror.source, it.mirror.target);
    let id = leg(eve, carol)?["id"].clone();
    eve.ctl(&format!("pause data --leg {id}")).ok()?;
    eve.sh(&format!(
        "head -c 12M /dev/urandom | dd of={DEVICE} bs=1M iflag=fullblock oflag=direct"
    ))
    .ok()?;
    eve.ctl("set data resync-rate 256K").ok()?;
    eve.ctl(&format!("resume data --leg {id}")).ok()?;
    until("the resync to go on", || {
        let leg = leg(eve, carol)?;
        Ok(leg["state"] == "resyncing" && leg["resync_done"].as_u64() > Some(0))
    })?;
    let mut workload = it.workload(16)?;
    workload.more(20, SOON)?;
    it.source.does(Does::FailWrites)?;
    it.says("and was given up; reads and writes go to adam")?;
    until("the third to be cut off", || {
        Ok(leg(eve, carol)?["state"] == "out-of-sync")
    })?;
    let before = carol.disk("vdb")?.read(0, SIZE)?;
    workload.more(100, SOON)?;
    ensure!(
        carol.disk("vdb")?.read(0, SIZE)? == before,
        "something was written to the third disk"
    );
    stands(carol, "target", &["inconsistent"])?;
    is_served(&mut workload, adam)
}
