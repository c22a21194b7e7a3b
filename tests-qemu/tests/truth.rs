// SPDX-License-Identifier: GPL-2.0
//! Operations of every kind and size, overlapping and at once, under faults: each sector holds what it may.

use anyhow::{ensure, Context as _, Result};
use tests_qemu::truth::{Mix, Plan};
use tests_qemu::{Cluster, Node, Truth, MIB};

use crate::{
    dice::Dice,
    harness::{case, Case, SOON},
    mirror::Mirror,
    persist::{self, comes_back, differing, metadata, turned, DEVICE},
};

pub(crate) const CASES: &[Case] = &[
    case!(every_acknowledged_operation_is_on_the_promoted_target).smoke(),
    case!(every_sector_is_the_same_after_a_link_that_flaps),
    case!(what_was_discarded_flushed_and_zeroed_is_right_after_a_resync),
];

/// Sectors the operations go to.
const SECTORS: u64 = 24 * MIB / 512;

pub(crate) fn history(dice: &mut Dice) -> Truth {
    let plan = Plan {
        longest: 1024,
        ..Plan::new(dice.between(1, 1 << 40), SECTORS)
    };
    Truth::new(plan)
}

/// The disk of a machine holds what it may.
pub(crate) fn is_true(truth: &mut Truth, node: &Node) -> Result<()> {
    let found = truth.read_disk(node.disk("vdb")?)?;
    let verdict = truth.judge(&found)?;
    ensure!(verdict.good(), "{}: {verdict}", node.name());
    Ok(())
}

fn settles(truth: &mut Truth, mirror: &Mirror<'_>) -> Result<()> {
    truth.stop(mirror.source)?;
    mirror.wait("fully-operational")?;
    are_settled(truth, mirror)
}

/// Both disks hold what they may, and the same.
pub(crate) fn are_settled(truth: &mut Truth, mirror: &Mirror<'_>) -> Result<()> {
    let (source, target) = (mirror.source.disk("vdb")?, mirror.target.disk("vdb")?);
    let settled = truth.settle(source, target)?;
    ensure!(settled.good(), "{settled}");
    println!(
        "{:?} acknowledged, {} sectors checked",
        truth.counts(),
        settled.checked()
    );
    Ok(())
}

/// Covers: S9, S36, S59, S87.
fn every_acknowledged_operation_is_on_the_promoted_target(cluster: &Cluster) -> Result<()> {
    let mut dice = Dice::new()?;
    let mut truth = history(&mut dice);
    let mut mirror = persist::mapped(cluster)?;
    for round in 0..2 {
        truth.start(mirror.source, DEVICE)?;
        truth.more(usize::try_from(dice.between(60, 200))?, SOON)?;
        mirror.source.kill9()?;
        truth.died()?;
        let (differ, marked) = (differing(&mirror)?, metadata(mirror.source)?.after_crash());
        ensure!(
            differ.is_subset(&marked),
            "round {round}: {differ:?} are not all in {marked:?}"
        );
        mirror.target.ctl("promote data --wait 30").timeout(2 * SOON).ok()?;
        is_true(&mut truth, mirror.target).with_context(|| format!("round {round}"))?;
        mirror = turned(&mirror);
        // While the old source comes back there are new operations; those that only it had are reverted.
        truth.start(mirror.source, DEVICE)?;
        truth.more(10, SOON)?;
        comes_back(mirror.target)?;
        mirror.wait("fully-operational")?;
        settles(&mut truth, &mirror).with_context(|| format!("round {round}"))?;
    }
    // Reading through the device is no different.
    let found = truth.read_device(mirror.source, DEVICE)?;
    let verdict = truth.judge(&found)?;
    ensure!(verdict.good() && verdict.checked() == SECTORS, "{verdict}");
    Ok(())
}

/// Covers: S24, S25, S36.
fn every_sector_is_the_same_after_a_link_that_flaps(cluster: &Cluster) -> Result<()> {
    let mut dice = Dice::new()?;
    let mut truth = history(&mut dice);
    let mirror = persist::mapped(cluster)?;
    truth.start(mirror.source, DEVICE)?;
    for _ in 0..3 {
        truth.more(usize::try_from(dice.between(20, 60))?, SOON)?;
        cluster.cut(mirror.source, mirror.target);
        mirror.wait("disconnected")?;
        // Sometimes it is back at once, sometimes after more was written.
        truth.more(usize::try_from(dice.between(0, 60))?, SOON)?;
        cluster.restore_links();
        mirror.wait("connected")?;
    }
    settles(&mut truth, &mirror)
}

/// Covers: S5, S24, S36.
fn what_was_discarded_flushed_and_zeroed_is_right_after_a_resync(cluster: &Cluster) -> Result<()> {
    let mut dice = Dice::new()?;
    let mix = Mix {
        writes: 30,
        durable: 10,
        flushes: 20,
        discards: 20,
        zeroes: 20,
    };
    let plan = Plan {
        mix,
        longest: 512,
        ..Plan::new(dice.between(1, 1 << 40), SECTORS)
    };
    let mut truth = Truth::new(plan);
    let mirror = persist::mapped(cluster)?;
    truth.start(mirror.source, DEVICE)?;
    truth.more(60, SOON)?;
    mirror.target.kill9()?;
    mirror.wait("out-of-sync")?;
    truth.more(60, SOON)?;
    comes_back(mirror.target)?;
    mirror
        .source
        .ctl("wait data --for connected --timeout 60")
        .timeout(2 * SOON)
        .ok()?;
    truth.more(60, SOON)?;
    settles(&mut truth, &mirror)?;
    let counts = truth.counts();
    ensure!(
        counts.discards > 0 && counts.flushes > 0 && counts.zeroes > 0,
        "{counts:?}"
    );
    Ok(())
}
