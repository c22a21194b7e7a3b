// SPDX-License-Identifier: GPL-2.0
//! Who may change mirrors, and from which network namespace.

use anyhow::{ensure, Context as _, Result};
use serde_json::Value;
use tests_qemu::{Cluster, Node};

use crate::{
    harness::{case, Case, SOON},
    mirror::{refused, status, Mirror},
};

pub(crate) const CASES: &[Case] = &[
    case!(an_ordinary_user_may_look_but_change_nothing),
    case!(one_of_the_two_capabilities_is_not_enough),
    case!(a_mirror_lives_in_the_network_namespace_it_was_made_in),
];

/// Commands that change something, on a mirror `data` that is extended.
const CHANGES: [&str; 10] = [
    "create more --disk /dev/vdc",
    "join more --disk /dev/vdc --yes",
    "extend data --to 10.77.0.2 --yes",
    "unextend data",
    "pause data",
    "resume data",
    "demote data",
    "promote data",
    "stop data",
    "delete data",
];

/// None of the commands does anything when a prefix takes capabilities from it or a user without them calls it.
fn changes_nothing(mirror: &Mirror<'_>, call: impl Fn(&str) -> Result<tests_qemu::Output>) -> Result<()> {
    let before = mirror.status()?;
    // Those say that there is nothing to do, which anybody may know.
    let idle = ["resume data", "promote data"];
    for command in CHANGES.iter().filter(|command| !idle.contains(command)) {
        let output = call(command)?;
        let root = output
            .stderr
            .contains("only root may do this (CAP_NET_ADMIN and CAP_SYS_ADMIN are needed)");
        ensure!(output.code == 2 && root, "{command}: {output:?}");
    }
    for command in idle {
        let output = call(command)?;
        ensure!(
            output.code == 0 && output.stdout.contains("already"),
            "{command}: {output:?}"
        );
    }
    let shown = call("status data --json")?;
    ensure!(shown.code == 0, "{shown:?}");
    let mut shown: Value = serde_json::from_str(&shown.stdout)?;
    let shown = shown["mirrors"][0].take();
    for key in ["name", "uuid", "role", "disk", "device", "event_seq"] {
        ensure!(shown[key] == before[key] && !shown[key].is_null(), "{key}: {shown}");
    }
    ensure!(shown["legs"][1]["state"] == "fully-operational", "{shown}");
    let target = status(mirror.target, "data")?;
    ensure!(target["role"] == "target", "{target}");
    Ok(())
}

fn an_ordinary_user_may_look_but_change_nothing(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::in_sync(cluster)?;
    let eve = mirror.source;
    changes_nothing(&mirror, |command| eve.ctl(command).user(1000).run())?;
    let waited = eve
        .ctl("wait data --for fully-operational --timeout 5")
        .user(1000)
        .ok()?;
    ensure!(waited.trim() == "Mirror data is fully-operational.", "{waited}");
    let mut events = eve.ctl("events data --json").user(1000).spawn()?;
    let first: Value = serde_json::from_str(&events.line(SOON)?.context("a snapshot")?)?;
    ensure!(
        first["event"] == "snapshot" && first["mirrors"][0]["name"] == "data",
        "{first}"
    );
    Ok(())
}

fn one_of_the_two_capabilities_is_not_enough(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::in_sync(cluster)?;
    let eve = mirror.source;
    for only in ["net_admin", "sys_admin"] {
        let prefix = format!("exec setpriv --bounding-set=-all,+{only} netraid-ctl");
        changes_nothing(&mirror, |command| eve.sh(&format!("{prefix} {command}")).run())?;
    }
    let sentence = eve
        .sh("setpriv --bounding-set=-all,+net_admin netraid-ctl stop data")
        .exits(2)?
        .stderr;
    ensure!(
        sentence.contains("changing a mirror needs CAP_NET_ADMIN and CAP_SYS_ADMIN"),
        "{sentence}"
    );
    eve.sh("setpriv --bounding-set=-all,+net_admin,+sys_admin netraid-ctl stop data")
        .ok()?;
    Ok(())
}

/// Makes the network namespace `far` with an interface that reaches the other machine's.
fn far(node: &Node, address: &str) -> Result<()> {
    node.sh(&format!(
        "ip netns add far && ip link add link eth1 name far0 mtu 1500 type vlan id 5 && ip link set far0 netns far && \
         ip -n far addr add {address}/24 dev far0 && ip -n far link set far0 up && ip -n far link set lo up"
    ))
    .ok()?;
    Ok(())
}

/// Covers: S122.
fn a_mirror_lives_in_the_network_namespace_it_was_made_in(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    far(eve, "10.99.0.1")?;
    far(adam, "10.99.0.2")?;
    let inside = |node: &Node, arguments: &str| -> Result<String> {
        node.sh(&format!("ip netns exec far netraid-ctl {arguments}")).ok()
    };
    inside(adam, "join data --disk /dev/vdb --yes --listen 10.99.0.2:7900")?;
    let refusal = "cannot join mirror more";
    refused(
        adam,
        "join more --disk /dev/vdc --yes --listen 10.99.0.2:7900",
        &[refusal, "10.99.0.2"],
    )?;
    eve.ctl("create data --disk /dev/vdb").ok()?;
    // From outside there is no way to an address of the inside.
    eve.ctl("extend data --to 10.99.0.2 --yes").ok()?;
    eve.ctl("wait data --for fully-operational --timeout 1").exits(4)?;
    eve.ctl("unextend data").ok()?;
    inside(eve, "extend data --to 10.99.0.2 --yes")?;
    let mirror = Mirror {
        source: eve,
        target: adam,
        disk: "vdb",
    };
    mirror.wait("fully-operational")?;
    // The mirror holds the namespace it needs, whatever becomes of its name; any namespace may look at it.
    let seen = inside(adam, "status data --json")?;
    ensure!(
        serde_json::from_str::<Value>(&seen)?["mirrors"][0]["role"] == "target",
        "{seen}"
    );
    for node in [eve, adam] {
        node.sh("ip netns del far").ok()?;
    }
    eve.sh("head -c 1M /dev/urandom | dd of=/dev/netraid0 bs=64k iflag=fullblock oflag=direct status=none")
        .ok()?;
    mirror.wait("fully-operational")?;
    mirror.same_disks()?;
    for node in [eve, adam] {
        node.ctl("delete data").ok()?;
    }
    Ok(())
}
