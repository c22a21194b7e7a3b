// SPDX-License-Identifier: GPL-2.0
//! Metadata on disks that break under a mirror in service: nothing happens unrecorded, what needs no record goes on, and
//! with the disk whole again the mirror comes back.

use anyhow::{ensure, Result};
use tests_qemu::{workload::Plan, Cluster, Workload};

use crate::{
    harness::{case, Case, SOON},
    mirror::{status, Mirror, QUICK},
    persist::{number, until, write_chunks, DEVICE},
    weak::{Does, Fixture},
};

pub(crate) const CASES: &[Case] = &[
    case!(source_metadata_that_fails_writes_fails_those_of_the_application),
    case!(source_metadata_that_hangs_holds_up_what_has_to_be_recorded),
    case!(a_write_that_lost_its_target_ends_when_that_is_on_record),
    case!(target_metadata_that_fails_writes_is_named_and_taken_back),
    case!(target_metadata_that_hangs_keeps_the_target_away),
    case!(metadata_on_a_full_file_system_can_still_be_written),
];

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
    let before = number(eve, "intent_chunks")?;
    let mut cold = eve.sh(&format!("netraid-guest scatter {DEVICE} 200")).spawn()?;
    // It has been asked for, and what is on record already goes on.
    until("the mark of the cold write", || {
        Ok(number(eve, "intent_chunks")? > before)
    })?;
    workload.more(50, SOON)?;
    ensure!(cold_is_untouched(&it)?, "a write overtook its mark");
    it.source_meta.mapped.goes_on()?;
    let (code, lines) = cold.wait(SOON)?;
    ensure!(code == 0, "{lines:?}");
    ensure!(it.mirror.count("connects")? == 1, "{}", it.mirror.leg()?);
    it.heals(&mut workload)
}

/// Covers: S25, S59.
fn a_write_that_lost_its_target_ends_when_that_is_on_record(cluster: &Cluster) -> Result<()> {
    let mut it = Fixture::new(cluster)?;
    let (eve, adam) = (it.mirror.source, it.mirror.target);
    let mut workload = Workload::start(eve, DEVICE, Plan::new(15, 16).threads(1))?;
    workload.more(20, SOON)?;
    it.source_meta.mapped.hangs()?;
    // The way back alone: what waits for its confirmation is on both disks.
    cluster.network().way(1, 0).cut();
    let leg = it.mirror.leg()?;
    // What was reported until now was confirmed; the one under way is not, as long as the leg is there.
    let waits = workload.run().writes;
    ensure!(leg["state"] == "fully-operational", "the leg was lost at once: {leg}");
    it.says("nothing was heard")?;
    // The leg is given up, and attempts to connect fail, one after the other; the write waits all the same.
    let attempts = it.mirror.count("attempts")?;
    until("another attempt to connect", || {
        Ok(it.mirror.count("attempts")? > attempts + 1)
    })?;
    ensure!(
        workload.run().writes == waits,
        "a write ended before it was on record that the target misses it"
    );
    it.source_meta.mapped.goes_on()?;
    workload.more(20, SOON)?;
    cluster.restore_links();
    adam.ctl("wait data --for fully-operational --timeout 60").ok()?;
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
    there.wait_for_reason(&[sentence], SOON)?;
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
    // It answers, and then records nothing: the application waits for it once, until the source gives it up. The next
    // attempts end in the greeting.
    workload.more(50, 2 * SOON)?;
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
