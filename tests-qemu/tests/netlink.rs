// SPDX-License-Identifier: GPL-2.0
//! The control interface under the kernel's own YNL client, which knows nothing but the specification.

use anyhow::{ensure, Context as _, Result};
use serde_json::{json, Map, Value};
use tests_qemu::{Cluster, Node};

use crate::{
    harness::{case, Case, SOON},
    mirror::{status, Mirror},
};

pub(crate) const CASES: &[Case] = &[
    case!(the_specification_is_valid_and_is_what_the_kernel_takes).smoke(),
    case!(the_kernels_client_drives_a_mirror_and_sees_what_netraid_ctl_sees).smoke(),
    case!(the_kernels_client_hears_the_same_events),
    case!(a_dump_of_many_mirrors_is_complete_in_small_messages),
    case!(a_disk_with_the_longest_path_is_shown_like_any_other),
    case!(events_of_a_whole_life_come_without_a_gap).smoke(),
];

const CLI: &str = "PYTHONDONTWRITEBYTECODE=1 exec python3 -u /run/netraid/ynl/cli.py";
const SPEC: &str = "--spec /run/netraid/ynl/specs/netraid.yaml --output-json";

/// A request through the YNL client; its answer.
fn ynl(node: &Node, arguments: &str, attributes: &Value) -> Result<Value> {
    let text = node
        .sh(&format!("{CLI} {SPEC} --no-schema {arguments} --json '{attributes}'"))
        .ok()?;
    serde_json::from_str(&text).with_context(|| format!("parse the answer to {arguments}: {text}"))
}

/// Covers: S122.
fn the_specification_is_valid_and_is_what_the_kernel_takes(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(0);
    let valid = node.sh(&format!("{CLI} {SPEC} --validate")).ok()?;
    ensure!(valid.is_empty(), "{valid}");
    let broken = "sed 's/^protocol: genetlink$/protocol: nonsense/' /run/netraid/ynl/specs/netraid.yaml";
    node.sh(&format!(
        "mkdir -p /tmp/ynl/specs && cp /run/netraid/ynl/*.yaml /tmp/ynl && {broken} > /tmp/ynl/specs/x.yaml"
    ))
    .ok()?;
    let schema = "--schema /tmp/ynl/genetlink.yaml --validate";
    node.sh(&format!("{CLI} --spec /tmp/ynl/specs/x.yaml {schema}"))
        .exits(1)?;
    node.write_file("/tmp/policy.py", include_bytes!("netlink/policy.py"), 0o644)?;
    let told: Value = serde_json::from_str(&node.sh("python3 -B /tmp/policy.py").ok()?)?;
    ensure!(told["differences"] == json!([]), "{told:#}");
    ensure!(
        told["operations"] == 15 && told["attributes"].as_u64() > Some(100),
        "{told}"
    );
    Ok(())
}

/// A name of the specification as netraid-ctl writes it in JSON.
fn key(name: &str) -> String {
    name.replace('-', "_")
}

/// Every attribute the YNL client shows has the same value in netraid-ctl's JSON.
fn same(told: &Map<String, Value>, shown: &Value) -> Result<()> {
    // These differ from one moment to the next.
    let moving = [
        "event-seq",
        "heard-ms",
        "sent-bytes",
        "received-bytes",
        "in-flight",
        "intent-chunks",
        "meta-writes",
    ];
    for (name, value) in told.iter().filter(|(name, _)| !moving.contains(&name.as_str())) {
        let other = &shown[key(name)];
        match (name.as_str(), value.as_str(), other.as_str()) {
            ("leg", ..) => {}
            ("address", Some(bytes), Some(address)) => {
                let parsed: std::net::IpAddr = address.parse()?;
                let octets = match parsed {
                    std::net::IpAddr::V4(four) => four.octets().to_vec(),
                    std::net::IpAddr::V6(six) => six.octets().to_vec(),
                };
                let text: String = octets.iter().map(|byte| format!("{byte:02x}")).collect();
                ensure!(bytes == text, "{name}: {bytes} and {address}");
            }
            _ => ensure!(value == other, "{name}: {value} and {other}"),
        }
    }
    Ok(())
}

/// Covers: S214, S221.
fn the_kernels_client_drives_a_mirror_and_sees_what_netraid_ctl_sees(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let target = json!({"name": "data", "role": "target", "disk": "/dev/vdb", "node-name": "there",
                        "address": "00000000", "port": 7905});
    let made = ynl(adam, "--do mirror-new", &target)?;
    ensure!(made["name"] == "data" && made["id"] == 0, "{made}");
    let made = ynl(
        eve,
        "--do mirror-new",
        &json!({"name": "data", "disk": "/dev/vdb", "node-name": "here"}),
    )?;
    ensure!(made["uuid"].as_str().map(str::len) == Some(36), "{made}");
    let leg = json!({"address": "0a4d0002", "port": 7905, "replication": "synchronous"});
    let made = ynl(eve, "--do leg-new", &json!({"name": "data", "leg": [leg]}))?;
    ensure!(made["leg"][0]["id"] == 1, "{made}");
    let mirror = Mirror {
        source: eve,
        target: adam,
        disk: "vdb",
    };
    mirror.wait("fully-operational")?;
    for node in [eve, adam] {
        let told = ynl(node, "--do mirror-get", &json!({"name": "data"}))?;
        let all = ynl(node, "--dump mirror-get", &json!({}))?;
        let shown = status(node, "data")?;
        for told in [&told, &all[0]] {
            same(told.as_object().context("a mirror")?, &shown)?;
            ensure!(told["leg"].as_array().map(Vec::len) == Some(1), "{told}");
            same(told["leg"][0].as_object().context("a leg")?, &shown["legs"][1])?;
            ensure!(told["leg"][0]["state"] == "fully-operational", "{told}");
        }
        ensure!(all.as_array().map(Vec::len) == Some(1), "{all}");
    }
    let text = eve.ctl("status data").ok()?;
    ensure!(
        text.starts_with("[-] here -> there\n\tStatus: Fully Operational\n"),
        "{text}"
    );
    let refused = format!("{CLI} {SPEC} --no-schema --do mirror-del --json '{{\"name\": \"other\"}}'");
    let refused = eve.sh(&refused).exits(1)?.stdout;
    ensure!(
        refused.contains("there is no mirror 'other' on this machine"),
        "{refused}"
    );
    Ok(())
}

fn the_kernels_client_hears_the_same_events(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(0);
    // What is listed comes after the subscription, so that nothing is missed from then on.
    let listen = format!("{CLI} {SPEC} --no-schema --list-msgs --subscribe events");
    let mut theirs = node.sh(&listen).spawn()?;
    while theirs.line(SOON)?.context("the client ended")? != "mirror-attach  [ do ]" {}
    let mut ours = node.events()?;
    ours.wait_for("the snapshot", SOON, |event| event["event"] == "snapshot")?;
    node.ctl("create data --disk /dev/vdb").ok()?;
    node.ctl("stop data").ok()?;
    node.ctl("delete data").ok()?;
    for kind in ["mirror-added", "role-changed", "mirror-deleted"] {
        let event = ours.wait_for(kind, SOON, |_| true)?;
        let line = theirs.line(SOON)?.context("the client ended")?;
        let told: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
        let told = &told["msg"];
        ensure!(event["event"] == kind && told["kind"] == kind, "{event} and {told}");
        ensure!(
            told["seq"] == event["seq"] && told["time-ms"] == event["time_ms"],
            "{event} and {told}"
        );
        let mirror = told["mirror"].as_object().context("a mirror")?;
        ensure!(mirror["name"] == "data" && mirror["id"] == 0, "{told}");
        same(mirror, &event["mirror"])?;
    }
    Ok(())
}

/// Covers: S214.
fn a_dump_of_many_mirrors_is_complete_in_small_messages(cluster: &Cluster) -> Result<()> {
    const MIRRORS: usize = 16;
    let node = cluster.node(0);
    // Long paths make long answers.
    let make = format!(
        "set -e; modprobe loop; for n in $(seq 10 {}); do truncate -s 1M /tmp/$n; \
         disk=/tmp/$(printf %0250d $n); ln -s $(losetup -f --show /tmp/$n) $disk; \
         netraid-ctl create m$n --disk $disk > /dev/null; done",
        10 + MIRRORS - 1
    );
    node.sh(&make).timeout(3 * SOON).ok()?;
    let small = format!("{CLI} {SPEC} --no-schema --dbg-small-recv --dump mirror-get");
    let output = node.sh(&small).exits(0)?;
    let all: Value = serde_json::from_str(&output.stdout)?;
    let name = |mirror: &Value| mirror["name"].as_str().map(str::to_owned);
    let names: Vec<_> = all.as_array().into_iter().flatten().filter_map(name).collect();
    let wanted: Vec<_> = (10..10 + MIRRORS).map(|number| format!("m{number}")).collect();
    ensure!(names == wanted, "{names:?}");
    let parts = output
        .stderr
        .lines()
        .filter(|line| line.starts_with("Recv: read"))
        .count();
    ensure!(
        parts > 2,
        "the dump came in {parts} parts, so this shows nothing:\n{}",
        output.stderr
    );
    let ours: Value = serde_json::from_str(&node.ctl("status --json").ok()?)?;
    ensure!(ours["mirrors"].as_array().map(Vec::len) == Some(MIRRORS));
    Ok(())
}

/// Covers: S214.
fn a_disk_with_the_longest_path_is_shown_like_any_other(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(0);
    // 4095 bytes, more than fits the smallest answer of the kernel.
    let folder = format!("/tmp/{}", [&"x".repeat(250)[..]; 16].join("/"));
    let path = format!("{folder}/{}", "d".repeat(4095 - folder.len() - 1));
    node.sh(&format!(
        "cd /tmp && for n in $(seq 16); do mkdir {0} && cd {0}; done",
        "x".repeat(250)
    ))
    .ok()?;
    node.command(&["ln", "-s", "/dev/vdb", &path]).ok()?;
    let mut events = node.events()?;
    events.wait_for("the snapshot", SOON, |event| event["event"] == "snapshot")?;
    node.command(&["netraid-ctl", "create", "data", "--disk", &path]).ok()?;
    let added = events.wait_for("mirror-added", SOON, |event| event["event"] == "mirror-added")?;
    ensure!(added["mirror"]["disk"] == path.as_str(), "{added}");
    for arguments in ["status --json", "status data --json"] {
        let all: Value = serde_json::from_str(&node.ctl(arguments).ok()?)?;
        ensure!(all["mirrors"][0]["disk"] == path.as_str(), "{arguments}: {all}");
    }
    let dumped = ynl(node, "--dump mirror-get", &json!({}))?;
    ensure!(dumped[0]["disk"] == path.as_str(), "{dumped}");
    Ok(())
}

/// Covers: S202, S214.
fn events_of_a_whole_life_come_without_a_gap(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let mut events = eve.events()?;
    events.wait_for("the snapshot", SOON, |event| event["event"] == "snapshot")?;
    let mirror = Mirror::create(eve, adam)?;
    mirror.extend()?;
    mirror.wait("fully-operational")?;
    eve.ctl("pause data").ok()?;
    eve.sh("head -c 64k /dev/zero | dd of=/dev/netraid0 bs=64k oflag=direct status=none")
        .ok()?;
    eve.ctl("resume data").ok()?;
    mirror.wait("fully-operational")?;
    eve.ctl("unextend data").ok()?;
    eve.ctl("stop data").ok()?;
    eve.ctl("promote data").ok()?;
    eve.ctl("delete data").ok()?;
    events.wait_for("the end", SOON, |event| event["event"] == "mirror-deleted")?;
    let seen = &events.seen()[1..];
    let first = seen[0]["seq"].as_u64().context("a number")?;
    let numbers: Vec<_> = seen.iter().filter_map(|event| event["seq"].as_u64()).collect();
    let wanted: Vec<_> = (first..first + seen.len() as u64).collect();
    ensure!(numbers == wanted, "{numbers:?}");
    let mut milestones = [
        ("mirror-added", ""),
        ("leg-changed", "resyncing"),
        ("leg-changed", "fully-operational"),
        ("resync-done", "fully-operational"),
        ("leg-changed", "paused"),
        ("leg-changed", "resyncing"),
        ("leg-changed", "fully-operational"),
        ("resync-done", "fully-operational"),
        ("leg-deleted", ""),
        ("role-changed", "stopped"),
        ("role-changed", "source"),
        ("mirror-deleted", ""),
    ]
    .into_iter()
    .peekable();
    for event in seen {
        ensure!(event["mirror"]["name"] == "data", "{event}");
        ensure!(event["event"] != "lost" && event["event"] != "unknown", "{event}");
        milestones.next_if(|&(kind, wanted)| {
            let mirror = &event["mirror"];
            let fits = mirror["legs"][1]["state"] == wanted || mirror["role"] == wanted || wanted.is_empty();
            event["event"] == kind && fits
        });
    }
    ensure!(
        milestones.peek().is_none(),
        "not seen: {:?} in {seen:#?}",
        milestones.next()
    );
    Ok(())
}
