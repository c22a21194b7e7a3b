// SPDX-License-Identifier: GPL-2.0
//! Each pair of machines has its own leg, prepared before it is needed: whoever becomes the source goes on with the targets
//! that are left, without a command.

use anyhow::{ensure, Context as _, Result};
use tests_qemu::{workload::Plan, Cluster, Node, Workload};

use crate::{
    harness::{case, Case, SOON},
    mirror::{refused, status, QUICK},
    persist::{boot, until, CHUNK, DEVICE},
    several::{all_same, extend, extended, has_all, in_step, leg, same, some_writes, wait, QUARTER},
};

pub(crate) const CASES: &[Case] = &[
    case!(a_new_source_goes_on_with_the_targets_that_were_prepared).three(),
    case!(a_new_source_compares_only_what_was_written_of_late).three(),
    case!(what_a_target_forgot_is_compared_as_a_whole).three(),
    case!(what_a_target_prepares_is_refused_where_it_makes_no_sense),
];

fn all_same_of(nodes: &[&Node]) -> Result<()> {
    nodes.windows(2).try_for_each(|pair| same(pair[0], pair[1]))
}

fn type_of(source: &Node, target: &Node) -> Result<String> {
    let leg = leg(source, target)?;
    let kind = leg["replication"].as_str().with_context(|| format!("{leg}"))?;
    Ok(kind.to_owned())
}

/// eve and abel are far from each other, all others are near.
///
/// Covers: S54, S109, S110.
fn a_new_source_goes_on_with_the_targets_that_were_prepared(cluster: &Cluster) -> Result<()> {
    let [eve, adam, abel] = cluster.nodes() else {
        unreachable!("three machines")
    };
    eve.ctl(&format!("create data --disk /dev/vdb --async {QUICK}")).ok()?;
    for (target, kind) in [(adam, "sync"), (abel, "async")] {
        target.ctl(&format!("join data --disk /dev/vdb --yes {QUICK}")).ok()?;
        extend(eve, target, &format!("--type {kind} {QUICK}"))?;
    }
    in_step(eve, 2)?;
    for (target, other) in [(adam, abel), (abel, adam)] {
        let told = target
            .ctl(&format!("extend data --to {} --yes --type sync {QUICK}", other.ip()))
            .ok()?;
        ensure!(
            told.contains("has leg 2, to") && told.contains("when this machine becomes the source"),
            "{told}"
        );
    }
    // Nothing comes of it before. Each of the workloads has a quarter of the disk of its own.
    let first = some_writes(eve, 730)?;
    in_step(eve, 2)?;
    ensure!(status(adam, "data")?["legs"].as_array().map(Vec::len) == Some(2));
    let more = Workload::start(eve, DEVICE, Plan::new(731, QUARTER).threads(8))?;
    more.more(100, SOON)?;
    eve.kill9()?;
    adam.ctl("promote data").ok()?;
    wait(adam, abel, "fully-operational")?;
    ensure!(type_of(adam, abel)? == "synchronous", "{}", leg(adam, abel)?);
    ensure!(type_of(adam, eve)? == "synchronous", "{}", leg(adam, eve)?);
    let copied = leg(adam, abel)?["resynced_bytes"].as_u64().context("resynced_bytes")?;
    ensure!(copied < adam.disk("vdb")?.size() / 2, "{}", leg(adam, abel)?);
    let second = some_writes(adam, 735)?;
    // Two are left, and the second of them dies, too.
    adam.kill9()?;
    abel.ctl("promote data").ok()?;
    for workload in [&first, &more, &second] {
        has_all(workload, abel)?;
    }
    let third = some_writes(abel, 733)?;
    for node in [adam, eve] {
        boot(node)?;
        node.ctl("up --all").ok()?;
    }
    in_step(abel, 2)?;
    ensure!(type_of(abel, adam)? == "synchronous", "{}", leg(abel, adam)?);
    ensure!(type_of(abel, eve)? == "asynchronous", "{}", leg(abel, eve)?);
    all_same(cluster)?;
    for workload in [&second, &third] {
        has_all(workload, eve)?;
        has_all(workload, adam)?;
    }
    Ok(())
}

/// Each of the targets knows the other one for later.
fn prepared(cluster: &Cluster, create: &str) -> Result<()> {
    extended(cluster, create)?;
    let [_, adam, abel] = cluster.nodes() else {
        unreachable!("three machines")
    };
    for (target, other) in [(adam, abel), (abel, adam)] {
        target
            .ctl(&format!("extend data --to {} --yes {QUICK}", other.ip()))
            .ok()?;
    }
    Ok(())
}

/// Bytes that the last resync of a leg looked at.
fn looked_at(source: &Node, target: &Node) -> Result<u64> {
    let leg = leg(source, target)?;
    ensure!(leg["resyncs"].as_u64() <= Some(1), "{leg}");
    Ok(leg["resync_total"].as_u64().unwrap_or(0))
}

/// Waits until some rounds of the intent log are over, with which the targets are told what is settled: whatever was
/// written before. The writes that show it go to one chunk of the last quarter.
fn settled(source: &Node) -> Result<()> {
    let place = 3 * QUARTER;
    for _ in 0..4 {
        source
            .sh(&format!(
                "dd if=/dev/zero of={DEVICE} bs=4k seek={place} count=1 oflag=direct status=none"
            ))
            .ok()?;
        until("nothing to be in use", || {
            Ok(status(source, "data")?["intent_chunks"] == 0)
        })?;
    }
    Ok(())
}

/// Covers: S82, S109, S110.
fn a_new_source_compares_only_what_was_written_of_late(cluster: &Cluster) -> Result<()> {
    prepared(cluster, "")?;
    let [eve, adam, abel] = cluster.nodes() else {
        unreachable!("three machines")
    };
    let size = adam.disk("vdb")?.size();
    // Nothing is under way: at most the last chunk is looked at.
    let first = some_writes(eve, 740)?;
    settled(eve)?;
    eve.kill9()?;
    adam.ctl("promote data").ok()?;
    wait(adam, abel, "fully-operational")?;
    let bytes = looked_at(adam, abel)?;
    ensure!(bytes <= CHUNK, "{bytes} bytes were looked at for nothing");
    all_same_of(&[adam, abel])?;
    has_all(&first, abel)?;
    boot(eve)?;
    eve.ctl("up --all").ok()?;
    in_step(adam, 2)?;
    // In the middle of writes: what was written in the last seconds, and not the rest.
    some_writes(adam, 741)?;
    settled(adam)?;
    let plan = Plan::new(742, QUARTER / 8).first(QUARTER * 2).threads(8);
    let last = Workload::start(adam, DEVICE, plan)?;
    last.more(200, SOON)?;
    adam.kill9()?;
    abel.ctl("promote data").ok()?;
    wait(abel, eve, "fully-operational")?;
    let bytes = looked_at(abel, eve)?;
    ensure!(bytes > 0 && bytes <= size / 16, "{bytes} bytes of {size}");
    all_same_of(&[abel, eve])?;
    has_all(&last, eve)?;
    boot(adam)?;
    adam.ctl("up --all").ok()?;
    in_step(abel, 2)?;
    all_same(cluster)
}

/// Covers: S109, S110.
fn what_a_target_forgot_is_compared_as_a_whole(cluster: &Cluster) -> Result<()> {
    prepared(cluster, "")?;
    let [eve, adam, abel] = cluster.nodes() else {
        unreachable!("three machines")
    };
    let size = adam.disk("vdb")?.size();
    some_writes(eve, 743)?;
    // Both lose the source; one of them is restarted, and what it had in its cache is gone.
    eve.kill9()?;
    abel.kill9()?;
    boot(abel)?;
    abel.disk("vdb")?.write(1 << 20, &[0x5a; 4096])?;
    abel.ctl("up --all").ok()?;
    adam.ctl("promote data").ok()?;
    wait(adam, abel, "fully-operational")?;
    let bytes = looked_at(adam, abel)?;
    ensure!(bytes == size, "{bytes} bytes of {size}");
    all_same_of(&[adam, abel])?;
    // The other way round: the one that is promoted has forgotten.
    boot(eve)?;
    eve.ctl("up --all").ok()?;
    in_step(adam, 2)?;
    adam.kill9()?;
    abel.ctl("down data").ok()?;
    abel.ctl("up data").ok()?;
    abel.disk("vdb")?.write(2 << 20, &[0x5a; 4096])?;
    abel.ctl("force data --override --yes").ok()?;
    wait(abel, eve, "fully-operational")?;
    let bytes = looked_at(abel, eve)?;
    ensure!(bytes == size, "{bytes} bytes of {size}");
    all_same_of(&[abel, eve])
}

/// Covers: S54, S107.
fn what_a_target_prepares_is_refused_where_it_makes_no_sense(cluster: &Cluster) -> Result<()> {
    extended(cluster, "")?;
    let (eve, adam) = cluster.pair();
    refused(
        adam,
        &format!("extend data --to {} --yes", eve.ip()),
        &["10.77.0.1:7900 is the source of mirror 'data'"],
    )?;
    for number in 2..=7 {
        adam.ctl(&format!("extend data --to 10.77.0.9{number} --yes")).ok()?;
    }
    // The same again is no other one.
    adam.ctl("extend data --to 10.77.0.94 --yes --type async").ok()?;
    refused(
        adam,
        "extend data --to 10.77.0.98 --yes",
        &["mirror 'data' knows 7 other machines"],
    )?;
    refused(adam, "unextend data --leg 1", &["is not the source of mirror 'data'"])?;
    adam.ctl("unextend data --leg 4").ok()?;
    refused(adam, "unextend data --leg 4", &["nothing is noted of a leg 4"])?;
    let told = adam.ctl("extend data --to 10.77.0.98 --yes").ok()?;
    ensure!(told.contains("has leg 4, to 10.77.0.98:7900"), "{told}");
    // The source has noticed nothing of it.
    some_writes(eve, 734)?;
    ensure!(leg(eve, adam)?["connects"] == 1, "{}", leg(eve, adam)?);
    all_same(cluster)
}
