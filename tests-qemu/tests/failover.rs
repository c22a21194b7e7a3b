// SPDX-License-Identifier: GPL-2.0
//! The source dies: the target goes on, and the old source comes back as its target.

use anyhow::{ensure, Result};
use tests_qemu::{workload::Plan, Cluster, Workload, MIB};

use crate::{
    harness::{case, Case, SOON},
    mirror::{refused, status},
    persist::{
        self, boot, bytes_of, chunks, comes_back, copied, differing, metadata, reload, stands, turned, until,
        write_chunks, CHUNK, DEVICE,
    },
};

pub(crate) const CASES: &[Case] = &[
    case!(a_source_that_died_comes_back_as_target_and_gets_what_it_misses),
    case!(what_only_the_old_source_had_is_reverted_by_the_marks_of_both).smoke(),
    case!(a_source_that_dies_while_it_copies_back_is_the_only_one_that_can_go_on),
    case!(the_role_stays_where_it_went_until_somebody_asks),
    case!(a_target_written_to_in_a_pause_is_put_right_after_both_rebooted),
];

/// Scenario 1 of the manual, to its end.
///
/// Covers: S12, S86, S87, S88, S89, S90.
fn a_source_that_died_comes_back_as_target_and_gets_what_it_misses(cluster: &Cluster) -> Result<()> {
    let mirror = persist::mapped(cluster)?;
    let (eve, adam) = cluster.pair();
    stands(eve, "source", &["last_owner"])?;
    stands(adam, "target", &[])?;
    let workload = Workload::start(eve, DEVICE, Plan::new(86, 4096))?;
    workload.more(150, SOON)?;
    eve.kill9()?;
    adam.ctl("promote data").ok()?;
    stands(adam, "source", &["last_owner"])?;
    let state = status(adam, "data")?;
    ensure!(state["device"] == DEVICE, "{state}");
    let verdict = workload.judge_device(adam, DEVICE)?;
    ensure!(verdict.good(), "{verdict:?}");
    // Alone, it remembers what it writes.
    write_chunks(adam, &[900, 901, 902])?;
    let known = metadata(adam)?;
    ensure!(
        known.dirty(0).is_superset(&chunks(&[900, 901, 902])),
        "{:?}",
        known.dirty(0)
    );
    ensure!(adam.ctl("status --check").run()?.code == 3);
    let union = &metadata(eve)?.after_crash() | &metadata(adam)?.after_crash();
    let differ = differing(&mirror)?;
    ensure!(differ.is_subset(&union), "{differ:?} are not all in {union:?}");
    let mut events = adam.events()?;
    comes_back(eve)?;
    let begun = events.wait_for("the resync", SOON, |event| {
        event["event"] == "leg-changed" && event["mirror"]["legs"][1]["state"] == "resyncing"
    })?;
    let reason = &begun["reason"];
    ensure!(reason == "the target was restarted, or is new and prepared", "{reason}");
    events.wait_for("the end of the resync", SOON, |event| event["event"] == "resync-done")?;
    let back = turned(&mirror);
    // What is only marked is compared.
    copied(&back, 0, bytes_of(&differ))?;
    stands(eve, "target", &[])?;
    stands(adam, "source", &["last_owner"])?;
    let shown = adam.ctl("status data").ok()?;
    ensure!(shown.starts_with("[-] adam -> eve\n"), "{shown}");
    eve.sh("test ! -e /dev/netraid0").ok()?;
    let verdict = workload.judge_disk(eve.disk("vdb")?)?;
    ensure!(verdict.good(), "{verdict:?}");
    Ok(())
}

/// Covers: S59, S87.
fn what_only_the_old_source_had_is_reverted_by_the_marks_of_both(cluster: &Cluster) -> Result<()> {
    let mirror = persist::mapped(cluster)?;
    let (eve, adam) = cluster.pair();
    cluster.cut(eve, adam);
    mirror.wait("out-of-sync")?;
    let (lost, new) = ([1, 2, 300, 301, 1023], [7, 302, 1000]);
    let before = adam.disk("vdb")?.read(300 * CHUNK, CHUNK)?;
    write_chunks(eve, &lost)?;
    eve.kill9()?;
    cluster.restore_links();
    adam.ctl("promote data").ok()?;
    write_chunks(adam, &new)?;
    ensure!(metadata(eve)?.after_crash() == chunks(&lost), "{:?}", metadata(eve)?);
    ensure!(*metadata(adam)?.dirty(0) == chunks(&new), "{:?}", metadata(adam)?);
    ensure!(differing(&mirror)?.len() == 8);
    comes_back(eve)?;
    copied(&turned(&mirror), 0, 8 * CHUNK)?;
    ensure!(
        eve.disk("vdb")?.read(300 * CHUNK, CHUNK)? == before,
        "what only the old source had is still there"
    );
    stands(eve, "target", &[])
}

/// Scenario 2 of the manual.
///
/// Covers: S91.
fn a_source_that_dies_while_it_copies_back_is_the_only_one_that_can_go_on(cluster: &Cluster) -> Result<()> {
    let mirror = persist::mapped(cluster)?;
    let (eve, adam) = cluster.pair();
    eve.kill9()?;
    adam.ctl("promote data").ok()?;
    adam.sh(&format!(
        "head -c 12M /dev/urandom | dd of={DEVICE} bs=1M oflag=direct iflag=fullblock status=none"
    ))
    .ok()?;
    // Slowly enough that what was copied first is durable when the rest is not there yet.
    adam.ctl("set data resync-rate 2M").ok()?;
    comes_back(eve)?;
    let back = turned(&mirror);
    until("most of the copy", || Ok(back.count("resynced_bytes")? > 9 * MIB))?;
    adam.kill9()?;
    eve.ctl("wait data --for disconnected").ok()?;
    for command in ["start data", "promote data", "force data --yes --override"] {
        refused(eve, command, &["data", "resync"])?;
    }
    stands(eve, "target", &["inconsistent", "yielded"])?;
    // Not after a reboot either.
    reload(eve)?;
    refused(eve, "start data", &["data", "resync"])?;
    let left = metadata(adam)?.after_crash();
    ensure!((1..192).contains(&left.len()), "{} chunks are left of 192", left.len());
    comes_back(adam)?;
    stands(adam, "source", &["last_owner"])?;
    back.wait("fully-operational")?;
    let bytes = back.count("resynced_bytes")?;
    ensure!(bytes <= bytes_of(&left) && bytes > 0, "{bytes} bytes, {left:?}");
    ensure!(back.leg()?["resync_full"] == false, "{}", back.leg()?);
    stands(eve, "target", &[])?;
    back.same_disks()
}

/// Covers: S101, S103.
fn the_role_stays_where_it_went_until_somebody_asks(cluster: &Cluster) -> Result<()> {
    let mirror = persist::persistent(cluster)?;
    let (eve, adam) = cluster.pair();
    eve.kill9()?;
    adam.ctl("promote data").ok()?;
    comes_back(eve)?;
    let back = turned(&mirror);
    back.wait("fully-operational")?;
    // Both reboot, the former source first.
    cluster.on_all(|node| {
        node.sh("netraid-ctl down --all && rmmod netraid").ok()?;
        node.insmod()
    })?;
    for node in [eve, adam] {
        node.ctl("up --all").ok()?;
    }
    back.wait("fully-operational")?;
    stands(eve, "target", &[])?;
    stands(adam, "source", &["last_owner"])?;
    eve.ctl("switchover data").ok()?;
    mirror.wait("fully-operational")?;
    stands(eve, "source", &["last_owner"])?;
    stands(adam, "target", &[])
}

/// Covers: S60, S230, S275.
fn a_target_written_to_in_a_pause_is_put_right_after_both_rebooted(cluster: &Cluster) -> Result<()> {
    let mirror = persist::mapped(cluster)?;
    let (eve, adam) = cluster.pair();
    eve.ctl("pause data").ok()?;
    write_chunks(adam, &[10, 20, 30, 40])?;
    write_chunks(eve, &[20, 50])?;
    ensure!(metadata(adam)?.after_crash() == chunks(&[10, 20, 30, 40]));
    persist::cut_power(cluster)?;
    cluster.on_all(boot)?;
    adam.ctl("up --all").ok()?;
    eve.ctl("up --all").ok()?;
    eve.ctl("wait data --for connected").ok()?;
    mirror.wait("paused")?;
    ensure!(mirror.count("resynced_bytes")? == 0, "{}", mirror.leg()?);
    eve.ctl("resume data --timeout 60").ok()?;
    copied(&mirror, 0, 5 * CHUNK)
}
