// SPDX-License-Identifier: GPL-2.0
//! Several targets and a change of the source: the others follow, and nobody is overwritten by one who has less.

use anyhow::{ensure, Context as _, Result};
use serde_json::Value;
use tests_qemu::{workload::Plan, Cluster, Workload};

use crate::{
    harness::{case, Case, SOON},
    mirror::{status, QUICK},
    persist::{boot, until, DEVICE},
    several::{all_same, extend, extended, has_all, in_step, leg, same, some_writes, wait, QUARTER},
};

pub(crate) const CASES: &[Case] = &[
    case!(after_a_promotion_the_other_target_gets_what_it_lacks).three(),
    case!(a_target_that_was_left_behind_overwrites_nobody).three(),
    case!(a_switchover_with_two_targets_loses_nothing).three(),
];

/// Covers: S82, S109, S110.
fn after_a_promotion_the_other_target_gets_what_it_lacks(cluster: &Cluster) -> Result<()> {
    extended(cluster, "")?;
    let [eve, adam, abel] = cluster.nodes() else {
        unreachable!("three machines")
    };
    let first = Workload::start(eve, DEVICE, Plan::new(709, QUARTER).threads(8))?;
    first.more(150, SOON)?;
    eve.kill9()?;
    adam.ctl("promote data").ok()?;
    for node in [adam, abel] {
        has_all(&first, node)?;
    }
    let mut second = Workload::start(adam, DEVICE, Plan::new(710, QUARTER).first(QUARTER).threads(8))?;
    extend(adam, abel, &QUICK.to_string())?;
    second.more(20, SOON)?;
    second.stop()?;
    wait(adam, abel, "fully-operational")?;
    let copied = leg(adam, abel)?["resynced_bytes"].as_u64().context("resynced_bytes")?;
    ensure!(copied < adam.disk("vdb")?.size() / 2, "{}", leg(adam, abel)?);
    same(adam, abel)?;
    // The old source comes back as one more target.
    boot(eve)?;
    eve.ctl("up --all").ok()?;
    in_step(adam, 2)?;
    all_same(cluster)?;
    for (workload, node) in [(&first, eve), (&second, eve), (&first, abel), (&second, abel)] {
        has_all(workload, node)?;
    }
    // And so does the next one.
    let third = some_writes(adam, 711)?;
    adam.kill9()?;
    abel.ctl("promote data").ok()?;
    for workload in [&first, &second, &third] {
        has_all(workload, abel)?;
    }
    // It knows the first one still, which was its source before.
    wait(abel, eve, "fully-operational")?;
    boot(adam)?;
    adam.ctl("up --all").ok()?;
    in_step(abel, 2)?;
    all_same(cluster)?;
    for workload in [&second, &third] {
        has_all(workload, adam)?;
    }
    Ok(())
}

/// Covers: S83, S110.
fn a_target_that_was_left_behind_overwrites_nobody(cluster: &Cluster) -> Result<()> {
    extended(cluster, "")?;
    let [eve, adam, abel] = cluster.nodes() else {
        unreachable!("three machines")
    };
    cluster.cut(eve, adam);
    let workload = some_writes(eve, 712)?;
    has_all(&workload, abel)?;
    eve.kill9()?;
    cluster.restore_links();
    // The operator takes the wrong one.
    adam.ctl("promote data").ok()?;
    extend(adam, abel, &QUICK.to_string())?;
    let refusal = |words: &str| {
        until(&format!("abel to refuse: {words}"), || {
            let state = status(adam, "data")?;
            let legs = state["legs"].as_array().context("legs")?;
            let told = |leg: &Value| leg["reason"].as_str().unwrap_or_default().contains(words);
            Ok(legs.iter().any(told))
        })
        .with_context(|| format!("{:?}", status(adam, "data")))
    };
    refusal("abel holds newer data of mirror data than adam")?;
    has_all(&workload, abel)?;
    adam.sh(&format!(
        "dd if=/dev/urandom of={DEVICE} bs=64k count=4 oflag=direct status=none"
    ))
    .ok()?;
    refusal("split brain: abel and adam were both written to")?;
    has_all(&workload, abel)?;
    // The right one is promoted, and the wrong one gives way.
    adam.ctl("down data").ok()?;
    abel.ctl("promote data").ok()?;
    has_all(&workload, abel)
}

/// Covers: S81, S106.
fn a_switchover_with_two_targets_loses_nothing(cluster: &Cluster) -> Result<()> {
    extended(cluster, "")?;
    let [eve, adam, abel] = cluster.nodes() else {
        unreachable!("three machines")
    };
    let first = some_writes(eve, 713)?;
    abel.ctl("switchover data").timeout(2 * SOON).ok()?;
    wait(abel, eve, "fully-operational")?;
    let second = some_writes(abel, 714)?;
    extend(abel, adam, &QUICK.to_string())?;
    in_step(abel, 2)?;
    all_same(cluster)?;
    for workload in [&first, &second] {
        has_all(workload, adam)?;
    }
    // Back again: eve still knows both of them.
    eve.ctl("switchover data").timeout(2 * SOON).ok()?;
    in_step(eve, 2)?;
    let third = some_writes(eve, 715)?;
    all_same(cluster)?;
    has_all(&third, adam)
}
