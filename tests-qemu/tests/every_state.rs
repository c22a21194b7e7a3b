// SPDX-License-Identifier: GPL-2.0
//! A mirror is taken out of service in every state that it can be in, held there by a peer that goes no further, with
//! I/O under way: the module does not go before, and is gone soon after, whichever way it was asked.

use std::time::{Duration, Instant};

use anyhow::{ensure, Context as _, Result};
use tests_qemu::{
    patience::{scaled, LinkTiming},
    workload::Plan,
    Cluster, Job, Node, Workload,
};

use crate::harness::{case, Case, SOON};

pub(crate) const CASES: &[Case] = &[
    case!(a_source_goes_in_every_state_of_its_leg),
    case!(a_target_goes_in_every_state).smoke(),
];

/// The longest that anything may take: nobody who uses force waits longer for a peer than it may be silent.
const LONGEST: Duration = Duration::from_secs(20);

/// The peers here are silent for as long as a state is to last, and are given up after this.
const LINK: LinkTiming = LinkTiming::new(200, 2000);

/// Ways out of service, each with nothing left in service after it.
const WAYS: [&str; 4] = [
    "netraid-ctl stop data --force && netraid-ctl delete data",
    "netraid-ctl delete data --force",
    "netraid-ctl down --all --force && netraid-ctl delete data",
    // Whoever asks is killed, and asked again.
    "timeout -s KILL 0.1 netraid-ctl delete data --force; netraid-ctl delete data --force; netraid-ctl list",
];

/// How the leg of a source gets into a state: the part its target plays, whether that is reached without doing
/// anything, and what is to be done where not.
const SOURCE: [(&str, &str, &str); 11] = [
    ("idle", "", ""),
    ("waiting", "", "extend data --to 127.0.0.1:7999"),
    ("connecting", "", "extend data --to 10.77.0.99:7999"),
    ("handshake", "handshake", ""),
    ("merging", "merging", ""),
    ("resyncing", "resyncing", ""),
    ("finishing", "finishing", ""),
    ("synced", "synced", ""),
    ("synced, and nothing is confirmed", "synced-mute", ""),
    ("told of a pause", "pause-sent", "pause data --timeout 1"),
    ("resuming", "resuming", "pause data --timeout 5"),
];

/// How a target gets into a state: the part its source plays.
const TARGET: [(&str, &str); 8] = [
    ("listening", ""),
    ("being greeted", "half-greeting"),
    ("connected", "connected"),
    ("resyncing", "resyncing"),
    ("in the middle of a write", "half-write"),
    ("in step", "in-step"),
    ("paused, with its device open", "paused"),
    ("about to be promoted", PROMOTING),
];

/// Not a part of a peer: the source goes away, and the machine asks in vain whether it may become source itself.
const PROMOTING: &str = "promoting";

/// A disk of 4 MiB, whose path it prints, and a neighbour that answers nothing.
const PREPARE: &str = "ip neigh replace 10.77.0.99 lladdr 52:54:00:00:00:99 dev eth0 nud permanent; modprobe loop && \
                       truncate -s 4M /tmp/small && losetup -f --show /tmp/small";

/// Has a peer play its part until it has come to its place.
struct Peer(Job);

impl Peer {
    fn begins(node: &Node, arguments: &str) -> Result<Self> {
        let mut job = node.sh(&format!("exec netraid-guest stage {arguments}")).spawn()?;
        if arguments.contains("--target") {
            ensure!(job.line(SOON)?.as_deref() == Some("ready"), "{arguments}");
        }
        Ok(Self(job))
    }

    fn is_there(&mut self) -> Result<()> {
        let line = self.0.line(SOON)?;
        ensure!(line.as_deref() == Some("there"), "{line:?} {:?}", self.0.wait(SOON));
        Ok(())
    }
}

/// Takes the mirror out of service in one of the ways, and the module with it.
fn leave(node: &Node, way: &str) -> Result<()> {
    let began = Instant::now();
    let busy = node.sh("rmmod netraid").exits(1)?;
    ensure!(busy.stderr.contains("Module netraid is in use"), "{busy:?}");
    node.sh(way).timeout(2 * LONGEST).ok()?;
    let took = began.elapsed();
    ensure!(took < scaled(LONGEST), "it took {took:.1?}");
    Ok(())
}

/// The module unloads, leaves no thread, and comes back.
fn unload(node: &Node, disk: &str) -> Result<()> {
    let unload = format!(
        "rmmod netraid && ! grep -l '^netraid_' /proc/[0-9]*/comm && ! ls /dev/netraid* 2> /dev/null && \
         blkdiscard -o 0 -l 4096 {disk} && insmod /run/netraid/netraid.ko"
    );
    node.sh(&unload).timeout(LONGEST).ok()?;
    Ok(())
}

fn source_goes(node: &Node, disk: &str, state: (&str, &str, &str), way: &str) -> Result<()> {
    let (name, part, action) = state;
    node.ctl(&format!("create data --disk {disk}")).ok()?;
    let mut workload = Workload::start(node, "/dev/netraid0", Plan::new(81, 256).threads(2))?;
    workload.more(2, SOON)?;
    let extend = format!("--yes {LINK}");
    let mut peer = None;
    if !part.is_empty() {
        peer = Some(Peer::begins(node, &format!("--target {part} --port 7999"))?);
        node.ctl(&format!("extend data --to 127.0.0.1:7999 {extend}")).ok()?;
        if action.is_empty() {
            peer.as_mut().context("a peer")?.is_there()?;
        }
    }
    if action.starts_with("extend") {
        node.ctl(&format!("{action} {extend}")).ok()?;
        let wanted = format!("test \"$(netraid-ctl status --json | grep -c '\"connection\": *\"{name}\"')\" != 0");
        node.sh(&format!(
            "timeout 60 sh -c 'until {}; do :; done'",
            wanted.replace('\'', "'\\''")
        ))
        .ok()?;
    } else if !action.is_empty() {
        node.ctl("wait data --for fully-operational").ok()?;
        // The peer need not answer it.
        node.ctl(action).run()?;
        if part == "resuming" {
            node.ctl("resume data --timeout 1").exits(4)?;
        }
        peer.as_mut().context("a peer")?.is_there()?;
    }
    leave(node, way)?;
    let _errors = workload.stop()?;
    unload(node, disk)
}

/// Covers: S122.
fn a_source_goes_in_every_state_of_its_leg(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(0);
    let disk = node.sh(PREPARE).ok()?.trim().to_owned();
    for (number, state) in SOURCE.into_iter().enumerate() {
        // Two ways for each state, so that each way meets every kind of state.
        for way in [WAYS[number % 4], WAYS[(number + 2) % 4]] {
            source_goes(node, &disk, state, way).with_context(|| format!("{} by `{way}`", state.0))?;
        }
    }
    Ok(())
}

fn target_goes(node: &Node, disk: &str, part: &str, way: &str) -> Result<()> {
    node.ctl(&format!("join data --disk {disk} --yes {LINK}")).ok()?;
    let (mut workload, mut peers, mut asking) = (None, Vec::new(), None);
    if part == PROMOTING {
        let mut source = Peer::begins(node, "--source in-step --to 127.0.0.1:7900 --listens 7998")?;
        source.is_there()?;
        let mut mute = Peer::begins(node, "--target handshake --port 7998")?;
        drop(source);
        node.ctl("wait data --for disconnected").ok()?;
        asking = Some(node.ctl("start data").spawn()?);
        mute.is_there()?;
        peers.push(mute);
    } else if !part.is_empty() {
        let mut peer = Peer::begins(node, &format!("--source {part} --to 127.0.0.1:7900"))?;
        peer.is_there()?;
        peers.push(peer);
    }
    if part == "paused" {
        let writes = workload.insert(Workload::start(node, "/dev/netraid0", Plan::new(82, 256))?);
        writes.more(10, SOON)?;
    }
    leave(node, way)?;
    if let Some(mut workload) = workload {
        let _errors = workload.stop()?;
    }
    if let Some(mut asking) = asking {
        // Done or refused, but it ends.
        let (code, said) = asking.wait(3 * LONGEST)?;
        ensure!([0, 2].contains(&code), "{code} {said:?}");
    }
    unload(node, disk)
}

/// Covers: S122.
fn a_target_goes_in_every_state(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(0);
    let disk = node.sh(PREPARE).ok()?.trim().to_owned();
    for (number, (name, part)) in TARGET.into_iter().enumerate() {
        for way in [WAYS[number % 4], WAYS[(number + 2) % 4]] {
            target_goes(node, &disk, part, way).with_context(|| format!("{name} by `{way}`"))?;
        }
    }
    Ok(())
}
