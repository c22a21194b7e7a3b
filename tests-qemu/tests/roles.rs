// SPDX-License-Identifier: GPL-2.0
//! Who is source and who is target, and how that changes.

use std::time::Duration;

use anyhow::{ensure, Result};
use tests_qemu::{workload::Plan, Cluster, Workload};

use crate::{
    harness::{case, Case, SOON},
    mirror::{refused, status, Mirror, QUICK},
    persist::{comes_back, number, until},
};

pub(crate) const CASES: &[Case] = &[
    case!(a_promoted_target_has_every_acknowledged_write).smoke(),
    case!(a_target_rebooted_while_the_source_writes_gets_what_it_misses_by_itself),
    case!(a_target_holds_its_disk_and_has_no_device),
    case!(reads_never_go_over_the_network),
    case!(after_a_switchover_the_direction_is_the_other_one).smoke(),
    case!(demote_is_refused_while_the_device_is_open),
    case!(promote_is_refused_while_the_source_is_connected),
    case!(promote_is_refused_in_the_middle_of_a_resync),
    case!(promote_is_refused_where_no_data_ever_came),
    case!(promote_is_refused_where_a_pause_came_before_the_first_data),
    case!(a_stopped_source_is_promoted_with_its_content),
];

/// Covers: S9.
fn a_promoted_target_has_every_acknowledged_write(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::quick(cluster)?;
    let workload = Workload::start(mirror.source, "/dev/netraid0", Plan::new(9, 4096))?;
    workload.more(200, SOON)?;
    mirror.source.kill9()?;
    // Asked at once, while the connection of the dead source still stands: promote waits for its end.
    mirror.target.ctl("promote data").ok()?;
    let verdict = workload.judge_device(mirror.target, "/dev/netraid0")?;
    ensure!(verdict.good(), "{verdict:?}");
    let state = status(mirror.target, "data")?;
    ensure!(
        state["role"] == "source" && state["device"] == "/dev/netraid0",
        "{state}"
    );
    let mut more = Workload::start(mirror.target, "/dev/netraid0", Plan::new(10, 512).first(8192).count(50))?;
    more.finish(SOON)?;
    ensure!(more.judge_disk(mirror.target.disk("vdb")?)?.good());
    Ok(())
}

/// Covers: S12.
fn a_target_rebooted_while_the_source_writes_gets_what_it_misses_by_itself(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::quick(cluster)?;
    until("the copy to be durable", || {
        Ok(number(mirror.source, "intent_chunks")? == 0)
    })?;
    let mut workload = Workload::start(mirror.source, "/dev/netraid0", Plan::new(12, 4096))?;
    let mut events = mirror.source.events()?;
    workload.more(20, SOON)?;
    mirror.target.kill9()?;
    let mut reach = |wanted: &str| {
        let legs_state = |event: &serde_json::Value| event["mirror"]["legs"][1]["state"].clone();
        events.wait_for(wanted, Duration::from_secs(90), |event| {
            event["event"] == "leg-changed" && legs_state(event) == wanted
        })
    };
    reach("out-of-sync")?;
    workload.more(20, SOON)?;
    comes_back(mirror.target)?;
    reach("resyncing")?;
    let whole = reach("fully-operational")?;
    let leg = &whole["mirror"]["legs"][1];
    ensure!(leg["resync_full"] == false && leg["resyncs"] == 2, "{leg}");
    workload.more(20, SOON)?;
    workload.stop()?;
    mirror.same_disks()
}

/// Covers: S29, S30.
fn a_target_holds_its_disk_and_has_no_device(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::in_sync(cluster)?;
    mirror.target.sh("test ! -e /dev/netraid0").ok()?;
    let state = status(mirror.target, "data")?;
    ensure!(state["device"].is_null() && state["device_present"] == false, "{state}");
    for node in [mirror.source, mirror.target] {
        let before = node.disk("vdb")?.sha256(1 << 20)?;
        let mount = "import ctypes; libc = ctypes.CDLL(None, use_errno=True); \
                     print(libc.mount(b'/dev/vdb', b'/mnt', b'ext4', 0, None), ctypes.get_errno())";
        let mount = node.command(&["python3", "-c", mount]).ok()?;
        ensure!(mount.trim() == "-1 16", "{}: mount: {mount}", node.name());
        let mkfs = node.sh("mkfs.ext4 -q -F /dev/vdb").run()?;
        ensure!(mkfs.code == 1 && mkfs.stderr.contains("in use"), "{mkfs:?}");
        let claim = "import os; os.open('/dev/vdb', os.O_RDWR | os.O_EXCL)";
        let claim = node.command(&["python3", "-c", claim]).exits(1)?;
        ensure!(claim.stderr.contains("[Errno 16]"), "{claim:?}");
        ensure!(
            node.disk("vdb")?.sha256(1 << 20)? == before,
            "{} was written to",
            node.name()
        );
    }
    Ok(())
}

/// Covers: S29.
fn reads_never_go_over_the_network(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::in_sync(cluster)?;
    let before = (mirror.count("sent_bytes")?, mirror.count("received_bytes")?);
    mirror
        .source
        .sh("dd if=/dev/netraid0 of=/dev/null bs=1M iflag=direct count=32 status=none")
        .ok()?;
    let after = (mirror.count("sent_bytes")?, mirror.count("received_bytes")?);
    // Heartbeats go on; 32 MiB, or the requests for them, would be far more.
    let grown = (after.0 - before.0, after.1 - before.1);
    ensure!(
        grown.0 < 16 << 10 && grown.1 < 16 << 10,
        "{grown:?} bytes sent and received"
    );
    Ok(())
}

/// Covers: S31, S217.
fn after_a_switchover_the_direction_is_the_other_one(cluster: &Cluster) -> Result<()> {
    let _mirror = Mirror::in_sync(cluster)?;
    let (eve, adam) = cluster.pair();
    let roles = |wanted: [&str; 2], direction: &str| -> Result<()> {
        for (node, role) in [eve, adam].into_iter().zip(wanted) {
            let state = status(node, "data")?;
            ensure!(state["role"] == role, "{}: {state}", node.name());
            let text = node.ctl("status data").ok()?;
            ensure!(
                text.starts_with(&format!("[-] {direction}\n")),
                "{}: {text}",
                node.name()
            );
            let all = node.ctl("status").ok()?;
            ensure!(all.starts_with(&format!("Mirror data ({role}")), "{all}");
        }
        Ok(())
    };
    roles(["source", "target"], "eve -> adam")?;
    eve.sh("head -c 4M /dev/urandom | dd of=/dev/netraid0 bs=1M seek=32 conv=fsync status=none")
        .ok()?;
    eve.ctl("demote data").ok()?;
    eve.sh("test ! -e /dev/netraid0").ok()?;
    adam.ctl("promote data").ok()?;
    let back = Mirror {
        source: adam,
        target: eve,
        disk: "vdb",
    };
    back.same_disks()?;
    back.wait("fully-operational")?;
    roles(["target", "source"], "adam -> eve")?;
    let leg = &status(adam, "data")?["legs"][1];
    ensure!(leg["from"] == "adam" && leg["to"] == "eve", "{leg}");
    let mut workload = Workload::start(adam, "/dev/netraid0", Plan::new(31, 2048).count(100))?;
    workload.finish(SOON)?;
    ensure!(workload.judge_disk(eve.disk("vdb")?)?.good());
    back.same_disks()
}

/// Covers: S31.
fn demote_is_refused_while_the_device_is_open(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::in_sync(cluster)?;
    let eve = mirror.source;
    let mut holder = eve
        .sh("exec 3<>/dev/netraid0 && echo open && exec cat /dev/zero > /dev/null")
        .spawn()?;
    ensure!(holder.line(SOON)?.as_deref() == Some("open"));
    refused(eve, "demote data", &["/dev/netraid0 is in use (1 open)", "unmount"])?;
    refused(eve, "stop data", &["/dev/netraid0 is in use (1 open)", "--force"])?;
    mirror.wait("fully-operational")?;
    eve.sh("head -c 64k /dev/urandom | dd of=/dev/netraid0 bs=64k oflag=direct status=none")
        .ok()?;
    holder.signal(nix::sys::signal::Signal::SIGKILL)?;
    holder.wait(SOON)?;
    eve.ctl("demote data").ok()?;
    let again = eve.ctl("demote data").ok()?;
    ensure!(again.contains("already a target here"), "{again}");
    mirror.same_disks()
}

/// Covers: S9, S31.
fn promote_is_refused_while_the_source_is_connected(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::in_sync(cluster)?;
    let sentence = [
        "eve is the source of mirror 'data' and connected (heard ",
        "stop it there first",
    ];
    refused(mirror.target, "promote data", &sentence)?;
    ensure!(status(mirror.target, "data")?["role"] == "target");
    mirror.wait("fully-operational")?;
    let same = mirror.source.ctl("promote data").ok()?;
    ensure!(same.contains("already the source of mirror data"), "{same}");
    // As soon as the source has left, nothing is in the way, and nothing has to be waited for.
    mirror.source.ctl("stop data").ok()?;
    mirror.target.ctl("promote data --wait 0").ok()?;
    Ok(())
}

/// Covers: S9, S77, S202.
fn promote_is_refused_in_the_middle_of_a_resync(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let mirror = Mirror::create_on(eve, adam, "vdb", "", QUICK)?;
    let way = cluster.network().way(0, 1);
    way.delay(Duration::from_millis(300));
    mirror.extend_with(QUICK)?;
    adam.ctl("wait data --for resyncing --timeout 60").ok()?;
    let percent = |said: &str| -> Option<u32> {
        let (_, rest) = said.split_once("a resync of mirror 'data' is in progress (")?;
        rest.split_once("%)")?.0.parse().ok()
    };
    let connected = adam.ctl("promote data").exits(2)?.stderr;
    ensure!(percent(&connected).is_some_and(|percent| percent < 100), "{connected}");
    cluster.cut(eve, adam);
    adam.ctl("wait data --for disconnected --timeout 60").ok()?;
    let alone = adam.ctl("promote data").exits(2)?.stderr;
    ensure!(percent(&alone).is_some_and(|percent| percent < 100), "{alone}");
    let state = status(adam, "data")?;
    ensure!(state["role"] == "target" && state["inconsistent"] == true, "{state}");
    adam.ctl("stop data").ok()?;
    refused(adam, "promote data", &["its copy is unusable until it is complete"])?;
    adam.sh("test ! -e /dev/netraid0").ok()?;
    Ok(())
}

/// Covers: S9.
fn promote_is_refused_where_no_data_ever_came(cluster: &Cluster) -> Result<()> {
    let (_, adam) = cluster.pair();
    adam.ctl("join data --disk /dev/vdb --yes").ok()?;
    refused(
        adam,
        "promote data",
        &["holds no copy yet", "let a source fill it first"],
    )?;
    ensure!(status(adam, "data")?["role"] == "target");
    adam.ctl("stop data").ok()?;
    refused(adam, "promote data", &["holds no copy yet"])?;
    Ok(())
}

/// Covers: S9.
fn promote_is_refused_where_a_pause_came_before_the_first_data(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    eve.ctl("create data --disk /dev/vdb").ok()?;
    eve.ctl(&format!("extend data --to {} --yes", adam.ip())).ok()?;
    eve.ctl("pause data").ok()?;
    adam.ctl("join data --disk /dev/vdb --yes").ok()?;
    eve.ctl("wait data --for connected --timeout 60").ok()?;
    eve.ctl("stop data").ok()?;
    adam.ctl("wait data --for disconnected --timeout 60").ok()?;
    // The target knows the source and the size of the mirror, but its disk is as it was.
    refused(adam, "promote data", &["holds no copy yet"])?;
    adam.sh("test ! -e /dev/netraid0").ok()?;
    Ok(())
}

/// Covers: S31, S213.
fn a_stopped_source_is_promoted_with_its_content(cluster: &Cluster) -> Result<()> {
    let eve = cluster.node(0);
    eve.ctl("create data --disk /dev/vdb").ok()?;
    let mut workload = Workload::start(eve, "/dev/netraid0", Plan::new(32, 2048).count(100))?;
    workload.finish(SOON)?;
    eve.ctl("stop data").ok()?;
    eve.sh("test ! -e /dev/netraid0 && mkfs.ext4 -n -q /dev/vdb").ok()?;
    let state = status(eve, "data")?;
    ensure!(state["role"] == "stopped" && state["device"].is_null(), "{state}");
    let again = eve.ctl("stop data").ok()?;
    ensure!(again.contains("already stopped"), "{again}");
    for answer in [
        "is the source of mirror data now: /dev/netraid0",
        "already the source of mirror data",
    ] {
        let promoted = eve.ctl("promote data").ok()?;
        ensure!(promoted.contains(answer), "{promoted}");
    }
    ensure!(workload.judge_device(eve, "/dev/netraid0")?.good());
    Ok(())
}
