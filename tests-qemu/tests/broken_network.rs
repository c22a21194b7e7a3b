// SPDX-License-Identifier: GPL-2.0
//! Networks that lose, repeat, reorder and hold back packets, flap, or break in the middle of a message: the application
//! goes on, and once the network is whole the mirror comes back by itself with both copies the same.

use std::{
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc,
    },
    time::{Duration, Instant},
};

use anyhow::{ensure, Context as _, Result};
use netraid_core::wire::{Kind, MAGIC};
use tests_qemu::{packet::Packet, workload::Plan, Cluster, Job, Workload};

use crate::{
    dice::Dice,
    harness::{case, Case, SOON},
    mirror::{status, Mirror},
    persist::{self, comes_back, until, write_chunks, DEVICE},
};

pub(crate) const CASES: &[Case] = &[
    case!(a_network_of_any_quality_carries_a_mirror),
    case!(a_link_that_flaps_costs_time_and_no_data),
    case!(a_target_that_died_without_a_word_is_noticed_and_taken_back),
    case!(a_source_that_died_without_a_word_takes_its_target_back),
    case!(a_connection_that_freezes_at_any_message_of_data_is_given_up_and_made_anew),
    case!(a_connection_that_freezes_at_any_message_of_control_is_given_up_and_made_anew),
    case!(a_partition_at_any_step_of_a_connection_heals),
    case!(a_switchover_whose_answer_is_lost_is_made_good_by_a_promotion),
];

/// Where the type of a message is in its header.
pub(crate) const KIND_AT: usize = 4;

/// Both machines treat what they send like this, from now on.
pub(crate) fn disturb(cluster: &Cluster, how: &str) -> Result<()> {
    cluster.on_all(|node| {
        let device = "$(ip -o -4 addr show | awk '/10\\.77\\./ { print $2; exit }')";
        let tc = format!("modprobe sch_netem && tc qdisc replace dev {device} root {how}");
        node.sh(&tc).ok()?;
        Ok(())
    })
}

/// Covers: S3.
fn a_network_of_any_quality_carries_a_mirror(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::quick(cluster)?;
    let (eve, adam) = cluster.pair();
    let disturbed = |how: &str, seed: u64| -> Result<()> {
        disturb(cluster, &format!("netem {how}"))?;
        let mut workload = Workload::start(eve, DEVICE, Plan::new(seed, 4096).threads(16).count(150))?;
        let run = workload.finish(2 * SOON)?;
        ensure!(run.errors.is_empty() && run.writes == 150, "{run:?}");
        // And a resync: with both sides' writes, so that a map is sent, too.
        eve.ctl("pause data").ok()?;
        mirror.wait("paused")?;
        write_chunks(eve, &[600, 700, 701])?;
        write_chunks(adam, &[900])?;
        eve.ctl("resume data").ok()?;
        mirror.wait("fully-operational")?;
        mirror.same_disks()?;
        // What the runs before left between its blocks does not count.
        let verdict = workload.judge_disk(adam.disk("vdb")?)?;
        ensure!(verdict.lost.is_empty(), "{verdict:?}");
        Ok(())
    };
    for (seed, how) in (1..).zip([
        "delay 1ms",
        "delay 200ms",
        "delay 5ms 5ms reorder 30% 50%",
        "duplicate 20%",
        "loss 3% delay 2ms",
        "delay 10ms 10ms loss 2% duplicate 5% reorder 20%",
    ]) {
        let outcome = disturbed(how, seed);
        let shown = eve.sh("tc -s qdisc show | grep -A2 netem").ok()?;
        println!("{how}: {}", shown.trim());
        outcome.with_context(|| how.to_owned())?;
    }
    disturb(cluster, "pfifo")?;
    mirror.wait("fully-operational")
}

/// Covers: S24, S36.
fn a_link_that_flaps_costs_time_and_no_data(cluster: &Cluster) -> Result<()> {
    let mut dice = Dice::new()?;
    let mirror = Mirror::quick(cluster)?;
    let mut workload = Workload::start(mirror.source, DEVICE, Plan::new(31, 4096).threads(8))?;
    workload.more(30, SOON)?;
    for _ in 0..15 {
        // Some of them are long enough for the connection to be given up.
        cluster.cut(mirror.source, mirror.target);
        pass(dice.between(10, 1600))?;
        cluster.restore_links();
        pass(dice.between(10, 400))?;
    }
    mirror.wait("fully-operational")?;
    workload.more(30, SOON)?;
    let run = workload.stop()?;
    ensure!(run.errors.is_empty(), "{:?}", run.errors);
    ensure!(mirror.count("connects")? > 1, "no connection was given up");
    mirror.same_disks()?;
    let verdict = workload.judge_disk(mirror.target.disk("vdb")?)?;
    ensure!(verdict.good(), "{verdict:?}");
    Ok(())
}

/// Nobody tells a machine that the other one of its connections is gone.
fn without_resets(cluster: &Cluster) {
    for (from, to) in [(0, 1), (1, 0)] {
        cluster.network().way(from, to).filter(|packet| !is_reset(packet));
    }
}

/// Whether TCP ends a connection with this packet because it knows none.
fn is_reset(packet: Packet<'_>) -> bool {
    let ours = packet.ports().is_some_and(|(from, to)| from == 7900 || to == 7900);
    // Behind Ethernet and an IPv4 header without options; the machines use no others here.
    ours && packet.bytes().get(14 + 20 + 13).is_some_and(|flags| flags & 0x04 != 0)
}

/// Covers: S24.
fn a_target_that_died_without_a_word_is_noticed_and_taken_back(cluster: &Cluster) -> Result<()> {
    let mirror = persist::persistent(cluster)?;
    let mut workload = Workload::start(mirror.source, DEVICE, Plan::new(32, 4096))?;
    workload.more(30, SOON)?;
    without_resets(cluster);
    mirror.target.kill9()?;
    // It has given the dead one up, and does not wait for it.
    mirror.wait("out-of-sync")?;
    workload.more(50, SOON)?;
    comes_back(mirror.target)?;
    mirror.wait("fully-operational")?;
    workload.more(30, SOON)?;
    let run = workload.stop()?;
    ensure!(run.errors.is_empty(), "{:?}", run.errors);
    mirror.same_disks()
}

/// Covers: S24.
fn a_source_that_died_without_a_word_takes_its_target_back(cluster: &Cluster) -> Result<()> {
    let mirror = persist::persistent(cluster)?;
    let (eve, adam) = cluster.pair();
    write_chunks(eve, &[1, 2, 3])?;
    without_resets(cluster);
    // The target does not notice: what it is sent meanwhile keeps it content.
    eve.kill9()?;
    comes_back(eve)?;
    mirror.wait("fully-operational")?;
    let there = &status(adam, "data")?["legs"][1];
    ensure!(there["connects"].as_u64() > Some(1), "{there}");
    mirror.same_disks()
}

/// Lets time pass in which the network is as it is.
fn pass(ms: u64) -> Result<()> {
    let end = Instant::now() + Duration::from_millis(ms);
    while Instant::now() < end {
        nix::poll::poll(&mut [], 5_u8)?;
    }
    Ok(())
}

/// What is to stop: with the first message of a kind nothing gets through any more.
pub(crate) struct Trap {
    kind: Kind,
    sprung: Arc<AtomicBool>,
}

impl Trap {
    /// Sets it, in the place of whatever filters there were. With `both`, nothing comes the other way either.
    pub(crate) fn set(cluster: &Cluster, kind: Kind, both: bool) -> Self {
        let sprung = Arc::new(AtomicBool::new(false));
        for (from, to) in [(0, 1), (1, 0)] {
            let (any, mut here) = (Arc::clone(&sprung), false);
            cluster.network().way(from, to).filter(move |packet| {
                if packet.carries(MAGIC, KIND_AT, kind.number()) {
                    here = true;
                    any.store(true, Ordering::Relaxed);
                }
                !(here || both && any.load(Ordering::Relaxed))
            });
        }
        Self { kind, sprung }
    }

    pub(crate) fn await_sprung(&self) -> Result<()> {
        let what = format!("a message of the kind {}", self.kind);
        until(&what, || Ok(self.sprung.load(Ordering::Relaxed)))
    }
}

/// What makes a message of some kind be sent.
#[derive(Clone, Copy)]
enum By {
    /// A command on the source.
    Source(&'static str),
    /// A command on the target.
    Target(&'static str),
    /// The link is lost and comes back, with some writes in between.
    Loss,
    /// A pause, in which both write; then a command on the source.
    Pause(&'static str),
}

/// The mirror is disturbed by the loss of this message and all after it; then the network is whole again.
fn lose_at(cluster: &Cluster, mirror: &Mirror<'_>, kind: Kind, by: By, both: bool) -> Result<()> {
    let (eve, adam) = cluster.pair();
    prepare(cluster, mirror, by)?;
    let trap = Trap::set(cluster, kind, both);
    let mut job: Option<Job> = match by {
        By::Source(script) | By::Pause(script) => Some(eve.sh(script).spawn()?),
        By::Target(script) => Some(adam.sh(script).spawn()?),
        By::Loss => None,
    };
    trap.await_sprung()?;
    if status(eve, "data")?["role"] == "source" {
        given_up(mirror)?;
        // The application does not wait for what can't come.
        write_chunks(eve, &[30])?;
    } else {
        adam.ctl("wait data --for disconnected").ok()?;
    }
    cluster.restore_links();
    if let Some(job) = &mut job {
        // What it says is not the point, but that it comes to an end.
        job.wait(2 * SOON)
            .with_context(|| format!("the end of the command for {kind}"))?;
    }
    for node in [eve, adam] {
        if status(node, "data")?["role"] == "stopped" {
            node.ctl("up data").ok()?;
        }
    }
    // A pause that was asked for begins with the next connection.
    let mut paused = false;
    until("the leg to come back", || {
        let leg = mirror.leg()?;
        paused = leg["state"] == "paused";
        Ok(leg["state"] == "fully-operational" || (paused && leg["connection"] == "connected"))
    })?;
    if paused {
        eve.ctl("resume data").ok()?;
    }
    mirror.wait("fully-operational")?;
    write_chunks(eve, &[31])?;
    mirror.same_disks()
}

/// What comes before the message that is to be lost.
fn prepare(cluster: &Cluster, mirror: &Mirror<'_>, by: By) -> Result<()> {
    let (eve, adam) = cluster.pair();
    match by {
        By::Loss => {
            silence(mirror, cluster)?;
            write_chunks(eve, &[10, 11, 500])
        }
        By::Pause(_) => {
            eve.ctl("pause data").ok()?;
            mirror.wait("paused")?;
            write_chunks(eve, &[20, 501])?;
            write_chunks(adam, &[21, 502])
        }
        By::Source(_) | By::Target(_) => Ok(()),
    }
}

/// Lets nothing through until [`Trap::set`], and waits until both know.
pub(crate) fn silence(mirror: &Mirror<'_>, cluster: &Cluster) -> Result<()> {
    for (from, to) in [(0, 1), (1, 0)] {
        cluster.network().way(from, to).filter(|_| false);
    }
    mirror.wait("disconnected")?;
    mirror.target.ctl("wait data --for disconnected").ok()?;
    Ok(())
}

/// Waits until the source tries to make another connection than the one that is frozen.
fn given_up(mirror: &Mirror<'_>) -> Result<()> {
    let attempts = || mirror.leg().map(|leg| leg["attempts"].as_u64());
    let before = attempts()?;
    until("another attempt to connect", || Ok(attempts()? > before))
}

fn lose_each(cluster: &Cluster, rows: &[(Kind, By)], both: bool) -> Result<()> {
    let mirror = Mirror::quick(cluster)?;
    // Somebody listens on the target even when the mirror is out of service there.
    mirror.target.ctl("join other --disk /dev/vdc --yes").ok()?;
    for &(kind, by) in rows {
        let began = Instant::now();
        lose_at(cluster, &mirror, kind, by, both).with_context(|| format!("all lost from {kind} on"))?;
        println!("{kind}: {:.1?}", began.elapsed());
    }
    Ok(())
}

const SCATTER: &str = "netraid-guest scatter /dev/netraid0 40 41";

/// Covers: S24.
fn a_connection_that_freezes_at_any_message_of_data_is_given_up_and_made_anew(cluster: &Cluster) -> Result<()> {
    let rows = [
        (Kind::Write, By::Source(SCATTER)),
        (Kind::Ack, By::Source(SCATTER)),
        (
            Kind::Flush,
            By::Source("dd if=/dev/zero of=/dev/netraid0 bs=4k seek=99 count=1 oflag=direct conv=fsync"),
        ),
        (Kind::Discard, By::Source("blkdiscard -o 1M -l 1M /dev/netraid0")),
        (Kind::Zeroes, By::Source("blkdiscard -z -o 2M -l 1M /dev/netraid0")),
        (Kind::Ping, By::Source("true")),
    ];
    lose_each(cluster, &rows, false)
}

/// Covers: S24.
fn a_connection_that_freezes_at_any_message_of_control_is_given_up_and_made_anew(cluster: &Cluster) -> Result<()> {
    let rows = [
        (Kind::Hello, By::Loss),
        (Kind::Welcome, By::Loss),
        (Kind::ResyncStart, By::Loss),
        (Kind::ResyncDone, By::Loss),
        (Kind::Reply, By::Loss),
        (Kind::Pause, By::Source("netraid-ctl pause data")),
        (Kind::Reply, By::Source("netraid-ctl pause data")),
        (Kind::Resume, By::Pause("netraid-ctl resume data")),
        (Kind::Reply, By::Pause("netraid-ctl resume data")),
        (Kind::Map, By::Pause("netraid-ctl resume data")),
        (Kind::Takeover, By::Target("netraid-ctl switchover data")),
        (Kind::Bye, By::Source("netraid-ctl down data")),
        (Kind::Bye, By::Target("netraid-ctl down data")),
        (Kind::Refuse, By::Target("netraid-ctl down data")),
    ];
    lose_each(cluster, &rows, false)
}

/// Covers: S24.
fn a_partition_at_any_step_of_a_connection_heals(cluster: &Cluster) -> Result<()> {
    let rows = [
        Kind::Hello,
        Kind::Welcome,
        Kind::ResyncStart,
        Kind::Write,
        Kind::Ack,
        Kind::ResyncDone,
        Kind::Reply,
    ]
    .map(|kind| (kind, By::Loss));
    lose_each(cluster, &rows, true)
}

/// The source has given way, and the target does not know.
///
/// Covers: S81.
fn a_switchover_whose_answer_is_lost_is_made_good_by_a_promotion(cluster: &Cluster) -> Result<()> {
    let mirror = persist::persistent(cluster)?;
    let (eve, adam) = cluster.pair();
    write_chunks(eve, &[1, 2])?;
    let trap = Trap::set(cluster, Kind::Reply, true);
    let told = adam.ctl("switchover data").timeout(2 * SOON).exits(2)?;
    ensure!(told.stderr.contains("data"), "{told:?}");
    ensure!(trap.sprung.load(Ordering::Relaxed), "no answer was sent");
    cluster.restore_links();
    eve.sh("test ! -e /dev/netraid0").ok()?;
    // Neither goes on by itself; either can be told to.
    adam.ctl("promote data").timeout(2 * SOON).ok()?;
    let turned = persist::turned(&mirror);
    turned.wait("fully-operational")?;
    write_chunks(adam, &[3])?;
    turned.same_disks()
}
