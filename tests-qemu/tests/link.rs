// SPDX-License-Identifier: GPL-2.0
//! What a mirror does when its link is slow, loses packets, breaks, or comes back.

use std::time::Duration;

use anyhow::{ensure, Context as _, Result};
use serde_json::Value;
use tests_qemu::{workload::Plan, Cluster, Node, Workload};

use crate::{
    harness::{case, Case, SOON},
    mirror::{status, Mirror},
};

pub(crate) const CASES: &[Case] = &[
    case!(a_cut_link_heals_without_a_command).smoke(),
    case!(writes_survive_a_link_that_goes_and_comes),
    case!(a_link_with_delay_and_loss_carries_a_mirror),
    case!(a_mirror_runs_over_ipv6),
    case!(a_write_returns_after_a_round_trip_and_is_on_the_target_then),
    case!(after_each_acknowledged_write_both_disks_hold_it),
    case!(a_target_that_hangs_costs_a_timeout_and_no_more),
    case!(a_link_that_carries_one_way_counts_as_broken),
    case!(attempts_to_reconnect_become_rarer),
    case!(mirrors_share_a_port).smoke(),
];

const DEVICE: &str = "/dev/netraid0";

/// Covers: S24.
fn a_cut_link_heals_without_a_command(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::quick(cluster)?;
    let mut workload = Workload::start(mirror.source, DEVICE, Plan::new(24, 4096))?;
    workload.more(50, SOON)?;
    // In the status the reason is soon that of the next attempt.
    let mut events = mirror.source.events()?;
    cluster.cut(mirror.source, mirror.target);
    events.wait_for_reason(&["the connection to adam was lost: nothing was heard for"], SOON)?;
    mirror.wait("out-of-sync")?;
    mirror.source.ctl("status --check").exits(3)?;
    workload.more(200, SOON)?;
    ensure!(mirror.count("dirty_chunks")? > 0, "{}", mirror.status()?);
    cluster.restore_links();
    mirror.wait("fully-operational")?;
    workload.more(50, SOON)?;
    workload.stop()?;
    mirror.source.ctl("status --check").ok()?;
    mirror.same_disks()?;
    let verdict = workload.judge_disk(mirror.target.disk("vdb")?)?;
    ensure!(verdict.good(), "{verdict:?}");
    Ok(())
}

/// Covers: S24, S36.
fn writes_survive_a_link_that_goes_and_comes(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::quick(cluster)?;
    let mut workload = Workload::start(mirror.source, DEVICE, Plan::new(25, 16384).threads(8))?;
    for _ in 0..5 {
        workload.more(40, SOON)?;
        cluster.cut(mirror.source, mirror.target);
        mirror.wait("disconnected")?;
        workload.more(40, SOON)?;
        cluster.restore_links();
        // The next cut comes while the resync may still be running.
        mirror.wait("connected")?;
    }
    mirror.wait("fully-operational")?;
    workload.stop()?;
    ensure!(mirror.count("connects")? == 6, "{}", mirror.status()?);
    mirror.same_disks()?;
    let verdict = workload.judge_disk(mirror.target.disk("vdb")?)?;
    ensure!(verdict.good(), "{verdict:?}");
    Ok(())
}

/// Covers: S3.
fn a_link_with_delay_and_loss_carries_a_mirror(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let mirror = Mirror::create(eve, adam)?;
    mirror.extend()?;
    mirror.wait("fully-operational")?;
    for (from, to) in [(0, 1), (1, 0)] {
        let way = cluster.network().way(from, to);
        way.delay(Duration::from_millis(20));
        way.lose(0.02, 3);
    }
    let before = cluster.network().way(0, 1).traffic().dropped;
    let mut workload = Workload::start(eve, DEVICE, Plan::new(3, 8192).threads(16).count(600))?;
    ensure!(workload.finish(SOON)?.writes == 600);
    eve.ctl("pause data").ok()?;
    mirror.wait("paused")?;
    eve.sh(&format!(
        "head -c 2M /dev/urandom | dd of={DEVICE} bs=64K oflag=direct iflag=fullblock"
    ))
    .ok()?;
    eve.ctl("resume data").ok()?;
    mirror.wait("fully-operational")?;
    let lost = cluster.network().way(0, 1).traffic().dropped - before;
    ensure!(lost > 0, "no packet was lost, so nothing was shown");
    ensure!(mirror.count("connects")? == 1, "{}", mirror.status()?);
    mirror.same_disks()
}

/// Covers: S3.
fn a_mirror_runs_over_ipv6(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let mirror = Mirror::create(eve, adam)?;
    eve.ctl(&format!("extend data --to [{}]:7900 --yes", adam.ip6())).ok()?;
    mirror.wait("fully-operational")?;
    let mut workload = Workload::start(eve, DEVICE, Plan::new(6, 4096).count(100))?;
    workload.finish(SOON)?;
    let status = mirror.status()?;
    ensure!(status["legs"][1]["address"] == "fd77::2", "{status}");
    let peers = adam.sh("ss -tnH state established sport = :7900").ok()?;
    ensure!(peers.contains("[fd77::1]:"), "{peers}");
    mirror.same_disks()
}

/// Covers: S35.
fn a_write_returns_after_a_round_trip_and_is_on_the_target_then(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let mirror = Mirror::in_sync(cluster)?;
    for (from, to) in [(0, 1), (1, 0)] {
        cluster.network().way(from, to).delay(Duration::from_millis(200));
    }
    let script =
        format!("yes simultaneous | head -c 4096 | dd of={DEVICE} bs=4096 seek=5 oflag=direct iflag=fullblock");
    let told = eve.sh(&script).run()?;
    let written = adam.disk("vdb")?.read(5 * 4096, 4096)?;
    ensure!(
        written.starts_with(b"simultaneous\n"),
        "the target has not got the data"
    );
    ensure!(eve.disk("vdb")?.read(5 * 4096, 4096)? == written);
    // dd says `4096 bytes (4.1 kB, 4.0 KiB) copied, 0.41 s, 10 kB/s`.
    let seconds = told
        .stderr
        .split("copied, ")
        .nth(1)
        .and_then(|text| text.split(' ').next());
    let seconds: f64 = seconds
        .and_then(|text| text.parse().ok())
        .with_context(|| told.text())?;
    ensure!(
        seconds >= 0.4,
        "the write took {seconds} s, less than the way there and back"
    );
    ensure!(mirror.count("replicated_bytes")? == 4096, "{}", mirror.status()?);
    Ok(())
}

/// Covers: S1, S28, S36.
fn after_each_acknowledged_write_both_disks_hold_it(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::in_sync(cluster)?;
    let (one, other) = (mirror.source.disk("vdb")?, mirror.target.disk("vdb")?);
    // Offsets and lengths in sectors, from one sector to many chunks.
    for (offset, length) in [(0, 1), (1, 7), (127, 2), (128, 128), (1001, 999), (131_071, 1)] {
        mirror
            .source
            .sh(&format!(
                "tr '\\0' '\\{:o}' < /dev/zero | dd of={DEVICE} bs=512 count={length} seek={offset} oflag=direct iflag=fullblock",
                offset % 100 + 28
            ))
            .ok()?;
        let (at, bytes) = (offset * 512, length * 512);
        let want = vec![u8::try_from(offset % 100 + 28)?; usize::try_from(bytes)?];
        ensure!(
            one.read(at, bytes)? == want,
            "the source has not got {length} sectors at {offset}"
        );
        ensure!(
            other.read(at, bytes)? == want,
            "the target has not got {length} sectors at {offset}"
        );
    }
    // A write beyond them would have changed what is around them.
    mirror.same_disks()
}

/// Covers: S24.
fn a_target_that_hangs_costs_a_timeout_and_no_more(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::quick(cluster)?;
    let mut workload = Workload::start(mirror.source, DEVICE, Plan::new(26, 4096))?;
    workload.more(50, SOON)?;
    mirror.target.freeze()?;
    mirror.wait("out-of-sync")?;
    workload.more(100, SOON)?;
    mirror.target.thaw()?;
    mirror.wait("fully-operational")?;
    workload.more(50, SOON)?;
    workload.stop()?;
    mirror.same_disks()
}

/// Covers: S24.
fn a_link_that_carries_one_way_counts_as_broken(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::quick(cluster)?;
    let mut workload = Workload::start(mirror.source, DEVICE, Plan::new(27, 4096))?;
    for (from, to) in [(0, 1), (1, 0)] {
        workload.more(50, SOON)?;
        cluster.network().way(from, to).cut();
        mirror.wait("out-of-sync")?;
        workload.more(50, SOON)?;
        cluster.network().way(from, to).restore();
        mirror.wait("fully-operational")?;
    }
    workload.stop()?;
    mirror.same_disks()
}

/// Covers: S24.
fn attempts_to_reconnect_become_rarer(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::quick(cluster)?;
    let mut events = mirror.source.events()?;
    events.wait_for("the snapshot", SOON, |event| event["event"] == "snapshot")?;
    // Its kernel answers each attempt at once that nobody listens.
    mirror.target.ctl("stop data").ok()?;
    let leg = |event: &Value| event["mirror"]["legs"][1].clone();
    events.wait_for("five attempts that failed", SOON, |event| {
        let leg = leg(event);
        leg["connection"] == "waiting" && leg["attempts"] == 5
    })?;
    let waits: Vec<_> = events
        .seen()
        .iter()
        .map(leg)
        .filter(|leg| leg["connection"] == "waiting")
        .collect();
    // One for the loss, one for each attempt.
    ensure!(waits.len() == 6, "{waits:?}");
    for (number, leg) in waits.iter().enumerate() {
        let longest = 125 << number;
        let retry = leg["retry_ms"].as_u64().with_context(|| leg.to_string())?;
        ensure!(leg["attempts"] == number && retry <= longest, "wait {number}: {leg}");
    }
    // 3.2 s, changed by a quarter at most, less what the answer was late.
    ensure!(waits[5]["retry_ms"].as_u64() > Some(1250), "{}", waits[5]);
    let said = waits[5]["reason"].as_str().unwrap_or_default();
    ensure!(said.contains("nobody listens on 10.77.0.2"), "{said}");
    // The snapshot, the loss, and two for each attempt: no storm.
    ensure!(events.seen().len() <= 12, "{:?}", events.seen());
    Ok(())
}

/// Covers: S3, S81.
fn mirrors_share_a_port(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let made = [
        ("one", "vdb", eve, adam),
        ("two", "vdc", eve, adam),
        ("back", "vdd", adam, eve),
    ];
    let wait = |node: &Node, name| {
        let wait = format!("wait {name} --for fully-operational --timeout 60");
        node.ctl(&wait).timeout(3 * SOON).ok()
    };
    for (name, disk, source, target) in made {
        source.ctl(&format!("create {name} --disk /dev/{disk}")).ok()?;
        target.ctl(&format!("join {name} --disk /dev/{disk} --yes")).ok()?;
        source.ctl(&format!("extend {name} --to {} --yes", target.ip())).ok()?;
        wait(source, name)?;
    }
    for node in [eve, adam] {
        let listening = node.sh("ss -tlnH sport = :7900").ok()?;
        ensure!(listening.lines().count() == 1, "{listening}");
    }
    let undisturbed = || -> Result<()> {
        for (name, _, source, _) in &made[1..] {
            let state = status(source, name)?;
            let leg = &state["legs"][1];
            ensure!(leg["state"] == "fully-operational" && leg["connects"] == 1, "{state}");
        }
        Ok(())
    };
    let mut workload = Workload::start(eve, "/dev/netraid1", Plan::new(118, 4096))?;
    // Others listen where the old source of `one` did: that it is out of service is known all the same.
    eve.ctl("stop one").ok()?;
    adam.ctl("promote one").ok()?;
    workload.more(20, SOON)?;
    eve.ctl("up one").ok()?;
    ensure!(status(eve, "one")?["role"] == "target", "{}", status(eve, "one")?);
    wait(adam, "one")?;
    eve.ctl("switchover one").ok()?;
    wait(eve, "one")?;
    workload.more(20, SOON)?;
    undisturbed()?;
    // A mirror that the other machine does not have.
    let small = |node: &Node| {
        node.sh("modprobe loop && truncate -s 4M /tmp/small && losetup -f --show /tmp/small")
            .ok()
    };
    eve.ctl(&format!("create more --disk {}", small(eve)?.trim())).ok()?;
    let mut events = eve.events()?;
    eve.ctl(&format!("extend more --to {} --yes", adam.ip())).ok()?;
    let sentence = "no mirror more listens on adam; join it there with `netraid-ctl join`";
    events.wait_for(sentence, SOON, |event| {
        event["event"] == "refused" && event["reason"].as_str().is_some_and(|text| text.contains(sentence))
    })?;
    adam.ctl(&format!("join more --disk {} --yes", small(adam)?.trim()))
        .ok()?;
    wait(eve, "more")?;
    // The first at a port may go before the others.
    for node in [eve, adam] {
        node.ctl("delete one --force").ok()?;
    }
    workload.more(20, SOON)?;
    workload.stop()?;
    undisturbed()?;
    let verdict = workload.judge_disk(adam.disk("vdc")?)?;
    ensure!(verdict.good(), "{verdict:?}");
    Ok(())
}
