// SPDX-License-Identifier: GPL-2.0
//! What an asynchronous target holds when its source is gone, and what becomes of the rest.

use std::time::Duration;

use anyhow::{ensure, Context as _, Result};
use tests_qemu::{patience::LinkTiming, workload::Plan, Cluster, Node, Truth, Workload};

use crate::{
    async_leg::{confirmed, delay, in_sync, undisturbed, LASTING},
    dice::Dice,
    harness::{case, Case, SOON},
    mapper::Mapped,
    mirror::{Mirror, QUICK},
    persist::{boot, comes_back, differing, metadata, turned, until, DEVICE, MAPPED},
    power_cut, truth,
};

pub(crate) const CASES: &[Case] = &[
    case!(what_a_killed_source_had_queued_is_marked),
    case!(an_asynchronous_target_holds_no_write_without_those_before_it),
    case!(a_later_write_waits_on_the_target_for_a_slow_earlier_one).smoke(),
    case!(an_asynchronous_leg_is_right_after_a_link_that_flaps).debug(),
    case!(an_asynchronous_leg_is_right_after_failover),
];

/// Waits until the target has noticed that its source is gone, and all that came of it is on its disk.
fn alone(target: &Node) -> Result<()> {
    target
        .ctl("wait data --for disconnected --timeout 60")
        .timeout(2 * SOON)
        .ok()?;
    Ok(())
}

/// Covers: S39, S40, S50.
fn what_a_killed_source_had_queued_is_marked(cluster: &Cluster) -> Result<()> {
    let mirror = in_sync(cluster, QUICK, MAPPED)?;
    let (eve, adam) = cluster.pair();
    delay(cluster, Duration::from_millis(300));
    let workload = Workload::start(eve, DEVICE, Plan::new(39, 4096).threads(1))?;
    workload.more(150, SOON)?;
    eve.kill9()?;
    alone(adam)?;
    cluster.restore_links();
    let (differ, marked) = (differing(&mirror)?, metadata(eve)?.after_crash());
    ensure!(!differ.is_empty(), "nothing was queued, so nothing was shown");
    ensure!(differ.is_subset(&marked), "{differ:?} are not all in {marked:?}");
    let held = workload.moment(adam.disk("vdb")?)?;
    ensure!(held < workload.run().writes, "{held} writes are on the target");
    // What only the old source had is given up when it is back.
    adam.ctl("promote data --wait 30").timeout(2 * SOON).ok()?;
    comes_back(eve)?;
    let mirror = turned(&mirror);
    mirror.wait("fully-operational")?;
    ensure!(mirror.leg()?["replication"] == "asynchronous", "{}", mirror.leg()?);
    mirror.same_disks()?;
    ensure!(workload.moment(eve.disk("vdb")?)? == held);
    Ok(())
}

/// A mirror whose target takes its time for the first half of the disk.
fn with_a_slow_half<'a>(cluster: &'a Cluster, timing: LinkTiming, delay_ms: u32) -> Result<(Mirror<'a>, Mapped<'a>)> {
    let (eve, adam) = cluster.pair();
    let table = format!("0 65536 delay /dev/vdb 0 {delay_ms}\n65536 65536 delay /dev/vdb 65536 0");
    let slow = Mapped::make(adam, "slow", &table)?;
    eve.ctl(&format!("create data --disk /dev/vdb --new --async {timing}"))
        .ok()?;
    adam.ctl(&format!("join data --disk /dev/mapper/slow --yes {timing}"))
        .ok()?;
    let mirror = Mirror {
        source: eve,
        target: adam,
        disk: "vdb",
    };
    mirror.extend_with(format!("--type async {timing}"))?;
    mirror.wait("fully-operational")?;
    Ok((mirror, slow))
}

/// Blocks of both halves of the disk.
const STRADDLING: u64 = 8192 - 64;

/// Covers: S38, S39.
fn an_asynchronous_target_holds_no_write_without_those_before_it(cluster: &Cluster) -> Result<()> {
    let mut dice = Dice::new()?;
    let (mirror, _slow) = with_a_slow_half(cluster, QUICK, 15)?;
    let (eve, adam) = cluster.pair();
    let mut missing = 0;
    for round in 0..power_cut::cuts(4)? {
        delay(cluster, Duration::from_millis(dice.between(0, 40)));
        let plan = Plan::new(600 + round, 128).first(STRADDLING).threads(1);
        // What an earlier round wrote there is none of this one's.
        eve.sh(&format!(
            "dd if=/dev/zero of={DEVICE} bs=4096 seek={STRADDLING} count=128 oflag=direct"
        ))
        .ok()?;
        confirmed(&mirror)?;
        let workload = Workload::start(eve, DEVICE, plan)?;
        workload.more(dice.between(1, 150), SOON)?;
        eve.kill9()?;
        alone(adam)?;
        cluster.restore_links();
        let held = workload
            .moment(adam.disk("vdb")?)
            .with_context(|| format!("round {round}"))?;
        missing += workload.run().writes.saturating_sub(held);
        comes_back(eve)?;
        mirror.wait("fully-operational")?;
    }
    println!("{missing} acknowledged writes were missing on the target in all");
    mirror.same_disks()
}

/// Covers: S38.
fn a_later_write_waits_on_the_target_for_a_slow_earlier_one(cluster: &Cluster) -> Result<()> {
    let (mirror, _slow) = with_a_slow_half(cluster, LASTING, 3000)?;
    let (eve, adam) = cluster.pair();
    let write = |letter: &str, block: u64, flags: &str| {
        format!("yes {letter} | dd of={DEVICE} bs=4096 count=1 seek={block} {flags} iflag=fullblock 2>/dev/null")
    };
    let disk = adam.disk("vdb")?;
    let holds = |block: u64| -> Result<bool> { Ok(disk.read(block * 4096, 4096)?.iter().any(|&byte| byte != 0)) };
    // `early` goes to the slow half, `late` to the other one, and begins when `early` was acknowledged.
    for (round, flags) in [(0, "oflag=direct"), (1, "oflag=direct,dsync")] {
        let (early, late) = (100 + round, 8192 + 100 + round);
        eve.sh(&format!(
            "{} && {}",
            write("early", early, flags),
            write("late", late, flags)
        ))
        .ok()?;
        until("the later write", || {
            let later = holds(late)?;
            // In this order: what is there when the other was looked at stays there.
            ensure!(
                !later || holds(early)?,
                "round {round}: the later write is there, the earlier one is not"
            );
            Ok(later)
        })?;
    }
    confirmed(&mirror)?;
    undisturbed(&mirror)?;
    mirror.same_disks()
}

/// The history stops, and the target comes to where the source is.
fn settles(history: &mut Truth, mirror: &Mirror<'_>) -> Result<()> {
    history.stop(mirror.source)?;
    mirror.wait("fully-operational")?;
    confirmed(mirror)?;
    truth::are_settled(history, mirror)
}

/// Covers: S24, S38.
fn an_asynchronous_leg_is_right_after_a_link_that_flaps(cluster: &Cluster) -> Result<()> {
    let mut dice = Dice::new()?;
    let mut history = truth::history(&mut dice);
    let mirror = in_sync(cluster, QUICK, MAPPED)?;
    history.start(mirror.source, DEVICE)?;
    for _ in 0..3 {
        history.more(usize::try_from(dice.between(20, 80))?, SOON)?;
        cluster.cut(mirror.source, mirror.target);
        mirror.wait("disconnected")?;
        history.more(usize::try_from(dice.between(0, 60))?, SOON)?;
        cluster.restore_links();
        mirror.wait("connected")?;
        // Copies and writes, both on their way for a while.
        delay(cluster, Duration::from_millis(20));
    }
    cluster.restore_links();
    settles(&mut history, &mirror)
}

/// Covers: S36, S39, S59.
fn an_asynchronous_leg_is_right_after_failover(cluster: &Cluster) -> Result<()> {
    let mut dice = Dice::new()?;
    let mut history = truth::history(&mut dice);
    let mut mirror = in_sync(cluster, QUICK, MAPPED)?;
    for round in 0..2 {
        history.start(mirror.source, DEVICE)?;
        history.more(usize::try_from(dice.between(60, 200))?, SOON)?;
        // What was acknowledged and is queued would be lost with the source.
        settles(&mut history, &mirror)?;
        mirror.source.kill9()?;
        mirror.target.ctl("promote data --wait 30").timeout(2 * SOON).ok()?;
        truth::is_true(&mut history, mirror.target).with_context(|| format!("round {round}"))?;
        mirror = turned(&mirror);
        history.start(mirror.source, DEVICE)?;
        history.more(10, SOON)?;
        boot(mirror.target)?;
        mirror.target.ctl("up --all").ok()?;
        mirror.wait("connected")?;
        // Copies and writes at the same time.
        history.more(20, SOON)?;
        settles(&mut history, &mirror).with_context(|| format!("round {round}"))?;
    }
    Ok(())
}
