// SPDX-License-Identifier: GPL-2.0
//! Several resyncs at once: those of one mirror share what is read, and only so many mirrors have a turn at a time.

use anyhow::{ensure, Context as _, Result};
use tests_qemu::{Cluster, Node};

use crate::{
    harness::{case, Case, SOON},
    mapper::Mapped,
    mirror::{status, QUICK},
    persist::{boot, until, DEVICE},
    several::{all_same, extend, extended, has_all, in_step, leg, some_writes, wait},
};

pub(crate) const CASES: &[Case] = &[
    case!(targets_that_lack_the_same_share_what_is_read).three(),
    case!(what_slow_targets_hold_up_is_read_once).three(),
    case!(a_target_that_lacks_more_gets_the_rest_alone).three(),
    case!(comparisons_are_shared_and_answered_by_each_target).three(),
    case!(mirrors_take_turns_in_being_resynchronized),
    case!(a_number_of_turns_that_makes_no_sense_is_refused),
];

const MIB: u64 = 1 << 20;

/// Bytes that were read from a disk since the machine started.
fn bytes_read(node: &Node, disk: &str) -> Result<u64> {
    let told = node.sh(&format!("cat /sys/block/{disk}/stat")).ok()?;
    let sectors: u64 = told.split_whitespace().nth(2).context("a third number")?.parse()?;
    Ok(sectors * 512)
}

fn fill(node: &Node, first: u64, count: u64) -> Result<()> {
    node.sh(&format!(
        "head -c {count}M /dev/urandom | dd of={DEVICE} bs=1M seek={first} iflag=fullblock oflag=direct status=none"
    ))
    .ok()?;
    Ok(())
}

fn resumed(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(0);
    node.ctl("resume data").ok()?;
    in_step(node, 2)
}

/// Has both targets lack the same 32 MiB; in their resync little more than that is read.
fn resync_reads_once(cluster: &Cluster) -> Result<()> {
    let [eve, adam, abel] = cluster.nodes() else {
        unreachable!("three machines")
    };
    eve.ctl("pause data").ok()?;
    fill(eve, 8, 32)?;
    let (before, rounds) = (bytes_read(eve, "vdb")?, leg(eve, adam)?["resyncs"].clone());
    resumed(cluster)?;
    let read = bytes_read(eve, "vdb")? - before;
    ensure!(
        (32 * MIB..44 * MIB).contains(&read),
        "{read} bytes were read for two targets that lacked the same 32 MiB"
    );
    for target in [adam, abel] {
        let leg = leg(eve, target)?;
        ensure!(leg["resyncs"] != rounds && leg["resync_total"] == 32 * MIB, "{leg}");
    }
    Ok(())
}

/// Covers: S106, S56.
fn targets_that_lack_the_same_share_what_is_read(cluster: &Cluster) -> Result<()> {
    extended(cluster, "")?;
    let [eve, adam, abel] = cluster.nodes() else {
        unreachable!("three machines")
    };
    // Slow enough that the moment between the beginnings does not count.
    eve.ctl("set data resync-rate 8M").ok()?;
    resync_reads_once(cluster)?;
    for target in [adam, abel] {
        let leg = leg(eve, target)?;
        // What came without asking counts against the rate, but for what the rate allows to save.
        let took = leg["resync_elapsed_ms"].as_u64().context("resync_elapsed_ms")?;
        ensure!(took >= 3000, "32 MiB took {took} ms at 8 MiB/s");
    }
    all_same(cluster)
}

/// All that may be under way to a target is, all the time: each has room when the other one has none. Covers: S106, S56.
fn what_slow_targets_hold_up_is_read_once(cluster: &Cluster) -> Result<()> {
    let [eve, targets @ ..] = cluster.nodes() else {
        unreachable!("three machines")
    };
    eve.ctl(&format!("create data --disk /dev/vdb {QUICK}")).ok()?;
    let mut slow = Vec::new();
    for target in targets {
        slow.push(Mapped::make(target, "slow", "0 131072 delay /dev/vdb 0 100")?);
        target
            .ctl(&format!("join data --disk /dev/mapper/slow --yes {QUICK}"))
            .ok()?;
        extend(eve, target, &QUICK.to_string())?;
    }
    in_step(eve, 2)?;
    resync_reads_once(cluster)?;
    all_same(cluster)
}

/// Covers: S106, S56.
fn a_target_that_lacks_more_gets_the_rest_alone(cluster: &Cluster) -> Result<()> {
    extended(cluster, "")?;
    let [eve, adam, abel] = cluster.nodes() else {
        unreachable!("three machines")
    };
    let id = leg(eve, abel)?["id"].clone();
    eve.ctl(&format!("pause data --leg {id}")).ok()?;
    fill(eve, 0, 8)?;
    eve.ctl("pause data").ok()?;
    fill(eve, 4, 20)?;
    let mut workload = some_writes(eve, 730)?;
    resumed(cluster)?;
    for (target, least) in [(adam, 20), (abel, 24)] {
        let leg = leg(eve, target)?;
        let copied = leg["resync_total"].as_u64().context("resync_total")?;
        ensure!(copied >= least * MIB, "{leg}");
        has_all(&workload, target)?;
    }
    all_same(cluster)?;
    // Both are resynchronized, and one of them is lost in the middle.
    eve.ctl("pause data").ok()?;
    fill(eve, 30, 30)?;
    eve.ctl("set data resync-rate 4M").ok()?;
    eve.ctl("resume data").ok()?;
    for target in [adam, abel] {
        wait(eve, target, "resyncing")?;
    }
    cluster.cut(eve, adam);
    wait(eve, adam, "out-of-sync")?;
    workload = some_writes(eve, 731)?;
    eve.ctl("set data resync-rate 0").ok()?;
    wait(eve, abel, "fully-operational")?;
    has_all(&workload, abel)?;
    cluster.restore_links();
    in_step(eve, 2)?;
    has_all(&workload, adam)?;
    all_same(cluster)
}

/// Covers: S106, S56, S98.
fn comparisons_are_shared_and_answered_by_each_target(cluster: &Cluster) -> Result<()> {
    extended(cluster, "")?;
    let [eve, adam, abel] = cluster.nodes() else {
        unreachable!("three machines")
    };
    fill(eve, 0, 24)?;
    // What was being written is compared after a power cut: it is the same on one target, and a part of it not on the
    // other one.
    eve.kill9()?;
    abel.kill9()?;
    let garbage = vec![0x5a; 4 * usize::try_from(MIB)?];
    abel.disk("vdb")?.write(20 * MIB, &garbage)?;
    boot(abel)?;
    boot(eve)?;
    abel.ctl("up --all").ok()?;
    eve.ctl("up --all").ok()?;
    in_step(eve, 2)?;
    let (one, other) = (leg(eve, adam)?, leg(eve, abel)?);
    ensure!(
        one["skipped_bytes"].as_u64() > other["skipped_bytes"].as_u64(),
        "{one} {other}"
    );
    all_same(cluster)
}

fn load(node: &Node, most: u32) -> String {
    format!(
        "rmmod netraid; insmod /run/netraid/netraid.ko max_resyncs={most} && echo {}",
        node.name()
    )
}

/// Covers: S105, S56.
fn mirrors_take_turns_in_being_resynchronized(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    eve.sh(&load(eve, 1)).ok()?;
    for (name, disk) in [("one", "vdb"), ("two", "vdc")] {
        adam.ctl(&format!("join {name} --disk /dev/{disk} --yes {QUICK}"))
            .ok()?;
        eve.ctl(&format!("create {name} --disk /dev/{disk} {QUICK}")).ok()?;
        eve.ctl(&format!("set {name} resync-rate 1M")).ok()?;
        eve.ctl(&format!("extend {name} --to {} --yes {QUICK}", adam.ip()))
            .ok()?;
        until(&format!("{name} to be copied"), || {
            Ok(status(eve, name)?["legs"][1]["state"] == "resyncing")
        })?;
    }
    let waits = "the resync waits for its turn";
    until("the second to wait", || {
        let reason = status(eve, "two")?["legs"][1]["reason"].clone();
        Ok(reason.as_str().is_some_and(|reason| reason.contains(waits)))
    })?;
    let told = eve.ctl("status two --detail").ok()?;
    ensure!(told.contains(waits), "{told}");
    let (first, second) = (
        status(eve, "one")?["legs"][1].clone(),
        status(eve, "two")?["legs"][1].clone(),
    );
    ensure!(second["resynced_bytes"] == 0, "{second}");
    ensure!(
        first["reason"].as_str().is_none_or(|reason| !reason.contains(waits)),
        "{first}"
    );
    // Whoever waits can be taken away, and comes back at the end of the line.
    eve.ctl("pause two").ok()?;
    eve.ctl("resume two").ok()?;
    eve.ctl("set two resync-rate 0").ok()?;
    eve.ctl("set one resync-rate 0").ok()?;
    for name in ["one", "two"] {
        eve.ctl(&format!(
            "wait {name} --for fully-operational --timeout {}",
            SOON.as_secs()
        ))
        .ok()?;
        let leg = status(eve, name)?["legs"][1].clone();
        ensure!(leg["reason"] == "" || leg["reason"].is_null(), "{leg}");
    }
    for disk in ["vdb", "vdc"] {
        let (here, there) = (eve.disk(disk)?, adam.disk(disk)?);
        ensure!(
            here.differences(there, here.size(), 65536)?.is_empty(),
            "{disk} differs"
        );
    }
    Ok(())
}

/// Covers: S105.
fn a_number_of_turns_that_makes_no_sense_is_refused(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(0);
    for most in [0, 65] {
        let outcome = node.sh(&load(node, most)).run()?;
        ensure!(outcome.code != 0 && outcome.stderr.contains("Invalid"), "{outcome:?}");
        let told = node.sh("dmesg | tail -n 20").ok()?;
        let sentence = format!("max_resyncs={most} makes no sense; give a number from 1 to 64");
        ensure!(told.contains(&sentence), "{told}");
    }
    node.sh("insmod /run/netraid/netraid.ko max_resyncs=64").ok()?;
    Ok(())
}
