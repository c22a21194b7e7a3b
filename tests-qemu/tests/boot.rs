// SPDX-License-Identifier: GPL-2.0
//! What happens to mirrors when a machine starts and stops: `up --all` and `down --all`, and what they remember.

use anyhow::{ensure, Result};
use serde_json::Value;
use tests_qemu::{Cluster, Node};

use crate::{
    harness::{case, Case, SOON},
    mirror::{refused, status, QUICK},
    persist::{self, boot, comes_back, copied, reload, stands, up, write_chunks, CHUNK, DEVICE},
};

pub(crate) const CASES: &[Case] = &[
    case!(all_mirrors_come_back_as_they_were),
    case!(a_mirror_that_an_operator_stopped_stays_so_until_it_is_named),
    case!(one_mirror_that_cannot_come_up_does_not_keep_the_others),
    case!(a_pause_outlives_reboots_of_both),
    case!(a_deleted_mirror_does_not_come_back),
    case!(down_is_refused_while_a_device_is_open_and_copies_nothing_afterwards),
    case!(a_machine_without_mirrors_comes_up),
    case!(settings_outlive_a_reboot),
];

fn roles(node: &Node) -> Result<Vec<(String, String)>> {
    let status: Value = serde_json::from_str(&node.ctl("status --json").ok()?)?;
    let all = status["mirrors"].as_array().cloned().unwrap_or_default();
    let word = |mirror: &Value, key: &str| mirror[key].as_str().unwrap_or_default().to_owned();
    Ok(all
        .iter()
        .map(|mirror| (word(mirror, "name"), word(mirror, "role")))
        .collect())
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter()
        .map(|(name, role)| ((*name).to_owned(), (*role).to_owned()))
        .collect()
}

/// Two mirrors in opposite directions, and one that was never extended.
fn all_mirrors_come_back_as_they_were(cluster: &Cluster) -> Result<()> {
    let mirror = persist::persistent(cluster)?;
    let (eve, adam) = cluster.pair();
    adam.ctl(&format!("create other --disk /dev/vdc --id 5 {QUICK}")).ok()?;
    eve.ctl(&format!("join other --disk /dev/vdc --yes --listen :7910 {QUICK}"))
        .ok()?;
    adam.ctl(&format!("extend other --to {}:7910 --yes --wait=60 {QUICK}", eve.ip()))
        .ok()?;
    eve.ctl("create alone --disk /dev/vdd --id 7").ok()?;
    let before = [roles(eve)?, roles(adam)?];
    ensure!(
        before[0] == pairs(&[("alone", "source"), ("data", "source"), ("other", "target")]) || before[0].len() == 3
    );
    persist::until("the copy to be durable", || {
        Ok(persist::number(eve, "intent_chunks")? == 0)
    })?;
    // A shutdown in order of one, a power cut of the other.
    adam.ctl("down --all").ok()?;
    adam.power_off()?;
    write_chunks(eve, &[11])?;
    eve.kill9()?;
    cluster.on_all(boot)?;
    ensure!(roles(eve)?.is_empty() && roles(adam)?.is_empty());
    let mut jobs = [adam.ctl("up --all").spawn()?, eve.ctl("up --all").spawn()?];
    for job in &mut jobs {
        job.wait(SOON)?;
    }
    // Who asked before the other one was there asks once more, as the unit does.
    for node in [eve, adam] {
        if up(node)?.code != 0 {
            node.ctl("up --all").ok()?;
        }
    }
    ensure!(
        [roles(eve)?, roles(adam)?] == before,
        "{:?} {:?}",
        roles(eve)?,
        roles(adam)?
    );
    copied(&mirror, 0, CHUNK)?;
    adam.ctl("wait other --for fully-operational").ok()?;
    adam.sh("test -b /dev/netraid5").ok()?;
    eve.sh(&format!("test -b /dev/netraid7 && test -b {DEVICE}")).ok()?;
    let again = up(eve)?;
    ensure!(
        again.code == 0 && again.stdout.matches("up already").count() == 3,
        "{again:?}"
    );
    Ok(())
}

fn a_mirror_that_an_operator_stopped_stays_so_until_it_is_named(cluster: &Cluster) -> Result<()> {
    let mirror = persist::persistent(cluster)?;
    let (eve, adam) = cluster.pair();
    for (node, role) in [(eve, "source"), (adam, "target")] {
        node.ctl("stop data").ok()?;
        reload_quietly(node)?;
        let state = status(node, "data")?;
        ensure!(state["role"] == "stopped" && state["stopped"] == true, "{state}");
        let output = up(node)?;
        ensure!(
            output.code == 0 && output.stdout.contains("stopped by an operator"),
            "{output:?}"
        );
        node.ctl("up data").ok()?;
        ensure!(status(node, "data")?["role"] == role);
        // From now on it is brought up again.
        reload(node)?;
        ensure!(status(node, "data")?["role"] == role);
        mirror.wait("fully-operational")?;
    }
    // Stopped and down are two things.
    eve.ctl("down data").ok()?;
    let state = status(eve, "data")?;
    ensure!(state["role"] == "stopped" && state["stopped"] == false, "{state}");
    eve.ctl("up --all").ok()?;
    copied(&mirror, 0, 0)
}

/// Unloads and loads the module, and brings up what wants to.
fn reload_quietly(node: &Node) -> Result<()> {
    node.sh("netraid-ctl down --all; rmmod netraid").ok()?;
    node.insmod()?;
    up(node)?;
    Ok(())
}

fn one_mirror_that_cannot_come_up_does_not_keep_the_others(cluster: &Cluster) -> Result<()> {
    let eve = cluster.node(0);
    for (name, disk) in [("first", "vdb"), ("second", "vdc"), ("third", "vdd")] {
        eve.ctl(&format!("create {name} --disk /dev/{disk}")).ok()?;
    }
    eve.sh("netraid-ctl down --all && rmmod netraid && mv /var/lib/netraid/bitmap_second /tmp")
        .ok()?;
    eve.insmod()?;
    let output = eve.ctl("up --all").exits(2)?;
    ensure!(
        output.stderr.contains("second") && !output.stderr.contains("first") && !output.stderr.contains("third"),
        "{output:?}"
    );
    ensure!(
        output.stdout.contains("first") && output.stdout.contains("third"),
        "{output:?}"
    );
    eve.sh(
        "mv /tmp/bitmap_second /var/lib/netraid/ && netraid-ctl up --all && netraid-ctl down --all && rmmod netraid",
    )
    .ok()?;
    // A configuration that nobody can read, and one of a disk that is not there.
    eve.sh(
        "cp /etc/netraid/mirrors/first.toml /tmp && echo nonsense > /etc/netraid/mirrors/first.toml && \
            sed -i s,/dev/vdd,/dev/gone, /etc/netraid/mirrors/third.toml",
    )
    .ok()?;
    eve.insmod()?;
    let output = eve.ctl("up --all").exits(2)?;
    ensure!(
        output.stderr.contains("first.toml") && output.stderr.contains("/dev/gone") && output.stdout.contains("second"),
        "{output:?}"
    );
    eve.sh("cp /tmp/first.toml /etc/netraid/mirrors/first.toml && sed -i s,/dev/gone,/dev/vdd, /etc/netraid/mirrors/third.toml")
        .ok()?;
    eve.ctl("up --all").ok()?;
    ensure!(roles(eve)?.iter().filter(|(_, role)| role == "source").count() == 3);
    Ok(())
}

/// Covers: S65, S275.
fn a_pause_outlives_reboots_of_both(cluster: &Cluster) -> Result<()> {
    let mirror = persist::persistent(cluster)?;
    let (eve, adam) = cluster.pair();
    eve.ctl("pause data").ok()?;
    write_chunks(eve, &[1, 2])?;
    for node in [adam, eve, adam] {
        reload(node)?;
        eve.ctl("wait data --for connected").ok()?;
        mirror.wait("paused")?;
    }
    ensure!(mirror.count("dirty_chunks")? == 2 && mirror.count("resynced_bytes")? == 0);
    eve.ctl("resume data").ok()?;
    copied(&mirror, 0, 2 * CHUNK)
}

fn a_deleted_mirror_does_not_come_back(cluster: &Cluster) -> Result<()> {
    let _mirror = persist::persistent(cluster)?;
    for node in cluster.nodes() {
        node.ctl("delete data").ok()?;
        node.sh("test ! -e /var/lib/netraid/bitmap_data && test -z \"$(ls -A /etc/netraid/mirrors)\"")
            .ok()?;
        reload_quietly(node)?;
        refused(node, "up data", &["data"])?;
    }
    let eve = cluster.node(0);
    // One that is not loaded can be deleted, too, and its bitmap with it.
    eve.ctl("create data --disk /dev/vdb").ok()?;
    eve.sh("netraid-ctl down --all && rmmod netraid").ok()?;
    eve.insmod()?;
    eve.ctl("delete data").ok()?;
    eve.sh("test ! -e /var/lib/netraid/bitmap_data").ok()?;
    let output = up(eve)?;
    ensure!(output.code == 0, "{output:?}");
    // A bitmap that somebody else made stays, and can be used again.
    eve.ctl("create data --disk /dev/vdb --bitmap /dev/vdf").ok()?;
    eve.ctl("delete data").ok()?;
    eve.sh("test -b /dev/vdf").ok()?;
    Ok(())
}

/// Covers: S296.
fn down_is_refused_while_a_device_is_open_and_copies_nothing_afterwards(cluster: &Cluster) -> Result<()> {
    let mirror = persist::persistent(cluster)?;
    let (eve, adam) = cluster.pair();
    eve.sh(&format!("mkfs.ext4 -q -E nodiscard {DEVICE} && mount {DEVICE} /mnt"))
        .ok()?;
    refused(eve, "down --all", &["/dev/netraid0 is in use"])?;
    mirror.wait("fully-operational")?;
    eve.sh("echo word > /mnt/file && umount /mnt").ok()?;
    eve.sh("netraid-ctl down --all && netraid-ctl down --all").ok()?;
    eve.ctl("up --all").ok()?;
    // Nothing was in flight, so nothing is copied.
    mirror.wait("fully-operational")?;
    ensure!(mirror.count("resynced_bytes")? == 0, "{}", mirror.leg()?);
    // The target leaves in order; what is written meanwhile is all it misses.
    adam.ctl("down --all").ok()?;
    mirror.wait("out-of-sync")?;
    write_chunks(eve, &[40])?;
    adam.ctl("up --all").ok()?;
    copied(&mirror, 0, CHUNK)?;
    stands(adam, "target", &[])
}

fn a_machine_without_mirrors_comes_up(cluster: &Cluster) -> Result<()> {
    let eve = cluster.node(0);
    for command in ["up --all", "down --all"] {
        let output = eve.ctl(command).exits(0)?;
        ensure!(output.stderr.is_empty(), "{output:?}");
    }
    refused(eve, "up data", &["data"])?;
    refused(eve, "down data", &["there is no mirror data"])?;
    eve.ctl("up").exits(1)?;
    eve.ctl("up --all data").exits(1)?;
    eve.sh("rmmod netraid").ok()?;
    let output = eve.ctl("up --all").exits(2)?;
    ensure!(output.stderr.contains("netraid module not loaded"), "{output:?}");
    eve.ctl("down --all").ok()?;
    Ok(())
}

/// Covers: S42.
fn settings_outlive_a_reboot(cluster: &Cluster) -> Result<()> {
    let mirror = persist::persistent(cluster)?;
    let (eve, adam) = cluster.pair();
    eve.ctl("set data resync-rate 8M").ok()?;
    eve.ctl("set data async-limit 1000").ok()?;
    let before = status(eve, "data")?;
    eve.kill9()?;
    comes_back(eve)?;
    let after = status(eve, "data")?;
    for key in [
        "resync_rate",
        "async_limit",
        "uuid",
        "node_uuid",
        "chunk_size",
        "id",
        "size",
        "disk",
    ] {
        ensure!(
            before[key] == after[key] && !after[key].is_null(),
            "{key}: {before} {after}"
        );
    }
    ensure!(
        after["resync_rate"] == 8 << 20 && after["async_limit"] == 1000,
        "{after}"
    );
    for key in ["heartbeat_ms", "timeout_ms", "address", "port", "peer_uuid"] {
        ensure!(
            before["legs"][1][key] == after["legs"][1][key],
            "{key}: {before} {after}"
        );
    }
    mirror.wait("fully-operational")?;
    // Eight MiB a second: the whole of it takes eight seconds.
    eve.ctl("set data resync-rate 16M").ok()?;
    let began = std::time::Instant::now();
    eve.ctl("fullresync data --yes").ok()?;
    persist::until("the copy", || Ok(mirror.leg()?["resync_full"] == true))?;
    mirror.wait("fully-operational")?;
    let took = began.elapsed().as_secs_f64();
    ensure!(took > 2.5, "64 MiB at 16 MiB a second took {took} s");
    stands(adam, "target", &[])
}
