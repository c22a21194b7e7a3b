// SPDX-License-Identifier: GPL-2.0
//! Who may be the source while a target is being brought up to date, over reboots of anybody.

use anyhow::{ensure, Result};
use tests_qemu::{Cluster, Node, MIB};

use crate::{
    harness::{case, Case, SOON},
    mirror::{refused, status, Mirror, QUICK},
    persist::{boot, bytes_of, comes_back, copied, cut_power, metadata, reload, stands, until, MAPPED, SIZE},
};

pub(crate) const CASES: &[Case] = &[
    case!(a_target_that_was_half_copied_stays_unusable_over_reboots_of_both).smoke(),
    case!(a_resync_goes_on_where_it_stood_when_the_source_is_back),
    case!(a_resync_goes_on_where_it_stood_when_the_target_is_back),
    case!(a_mirror_stopped_in_a_resync_starts_only_where_its_data_is),
    case!(a_target_is_resyncing_and_then_target),
    case!(a_first_copy_that_never_began_gives_no_source),
];

/// Fills the source with data that the target does not have, and begins to copy it; the copy stops after `bytes`
/// on the wire, with the connection up or down.
fn half_copied<'a>(cluster: &'a Cluster, bytes: u64) -> Result<Mirror<'a>> {
    let (eve, adam) = cluster.pair();
    eve.sh("head -c 32M /dev/urandom > /dev/vdb && sync").ok()?;
    let options = format!("{MAPPED} {QUICK}");
    let mirror = Mirror::create_on(eve, adam, "vdb", &options, &options)?;
    let way = cluster.network().way(0, 1);
    let (mut passed, before) = (0, way.traffic().dropped);
    way.filter(move |packet| {
        passed += packet.payload().map_or(0, <[u8]>::len) as u64;
        passed < bytes
    });
    mirror.extend_with(QUICK)?;
    way.wait_for(SOON, |traffic| traffic.dropped > before)?;
    Ok(mirror)
}

/// No command makes this machine the source.
fn cannot_lead(node: &Node) -> Result<()> {
    for command in ["start data", "promote data --wait 0", "force data --yes --override"] {
        refused(node, command, &["data", "resync"])?;
        node.sh("test ! -e /dev/netraid0").ok()?;
    }
    stands(node, "target", &["inconsistent"])
}

/// Covers: S77, S78, S80, S85.
fn a_target_that_was_half_copied_stays_unusable_over_reboots_of_both(cluster: &Cluster) -> Result<()> {
    let mirror = half_copied(cluster, 16 * MIB)?;
    let (eve, adam) = cluster.pair();
    eve.kill9()?;
    adam.ctl("wait data --for disconnected").ok()?;
    cannot_lead(adam)?;
    let said = adam.ctl("promote data --wait 0").exits(2)?.stderr;
    ensure!(
        said.contains("a resync of mirror 'data' is in progress (") && said.contains("%)"),
        "{said}"
    );
    cluster.restore_links();
    adam.kill9()?;
    comes_back(adam)?;
    cannot_lead(adam)?;
    // The source comes back, asks a target that has nothing newer, and goes on.
    boot(eve)?;
    let left = bytes_of(&metadata(eve)?.after_crash());
    ensure!(left < SIZE && left > SIZE / 4, "{left} bytes are left");
    eve.ctl("up --all").ok()?;
    stands(eve, "source", &["last_owner"])?;
    copied(&mirror, 0, left)?;
    stands(adam, "target", &[])?;
    // From here on the copy is one.
    eve.kill9()?;
    adam.ctl("promote data").ok()?;
    stands(adam, "source", &["last_owner"])
}

/// Covers: S80.
fn a_resync_goes_on_where_it_stood_when_the_source_is_back(cluster: &Cluster) -> Result<()> {
    let mirror = half_copied(cluster, 24 * MIB)?;
    let (eve, adam) = cluster.pair();
    let done = mirror.count("resynced_bytes")?;
    eve.kill9()?;
    cluster.restore_links();
    boot(eve)?;
    let left = bytes_of(&metadata(eve)?.after_crash());
    // Marks go from the disk a little later than they might, but not much.
    println!(
        "{} of {} MiB were copied, {} are copied again",
        done / MIB,
        SIZE / MIB,
        left / MIB
    );
    ensure!(
        left >= SIZE - done - 4 * MIB && left < SIZE - done / 2,
        "{done} done, {left} left"
    );
    eve.ctl("up --all").ok()?;
    copied(&mirror, 0, left)?;
    stands(adam, "target", &[])
}

/// Covers: S80.
fn a_resync_goes_on_where_it_stood_when_the_target_is_back(cluster: &Cluster) -> Result<()> {
    let mirror = half_copied(cluster, 24 * MIB)?;
    let (_, adam) = cluster.pair();
    mirror.wait("out-of-sync")?;
    adam.kill9()?;
    cluster.restore_links();
    let done = mirror.count("resynced_bytes")?;
    comes_back(adam)?;
    stands(adam, "target", &["inconsistent"])?;
    mirror.wait("fully-operational")?;
    // What it had confirmed is not all on its disk for sure until it was flushed there.
    let bytes = mirror.count("resynced_bytes")?;
    println!("{} MiB before, {} in all", done / MIB, bytes / MIB);
    ensure!(
        bytes < SIZE + done && mirror.leg()?["resync_total"].as_u64() < Some(SIZE),
        "{}",
        mirror.leg()?
    );
    stands(adam, "target", &[])?;
    mirror.same_disks()
}

/// Covers: S79.
fn a_mirror_stopped_in_a_resync_starts_only_where_its_data_is(cluster: &Cluster) -> Result<()> {
    let mirror = half_copied(cluster, 16 * MIB)?;
    let (eve, adam) = cluster.pair();
    mirror.wait("out-of-sync")?;
    eve.ctl("stop data").ok()?;
    cluster.restore_links();
    cannot_lead(adam)?;
    let left = bytes_of(&metadata(eve)?.after_crash());
    eve.ctl("start data").ok()?;
    stands(eve, "source", &["last_owner"])?;
    mirror.wait("fully-operational")?;
    ensure!(mirror.count("resync_total")? == left, "{left}: {}", mirror.leg()?);
    mirror.same_disks()
}

/// Covers: S75, S76.
fn a_target_is_resyncing_and_then_target(cluster: &Cluster) -> Result<()> {
    let mirror = half_copied(cluster, 16 * MIB)?;
    let (eve, adam) = cluster.pair();
    mirror.wait("out-of-sync")?;
    let mut events = adam.events()?;
    let mut others = eve.events()?;
    cluster.restore_links();
    for wanted in ["resyncing", "fully-operational"] {
        events.wait_for(wanted, SOON, |event| {
            event["event"] != "snapshot" && event["mirror"]["legs"][1]["state"] == wanted
        })?;
    }
    mirror.wait("fully-operational")?;
    others.wait_for("its end", SOON, |event| event["event"] == "resync-done")?;
    for event in others.seen() {
        ensure!(
            event["mirror"].is_null() || event["mirror"]["role"] == "source",
            "{event}"
        );
    }
    for event in events.seen() {
        ensure!(
            event["mirror"].is_null() || event["mirror"]["role"] == "target",
            "{event}"
        );
    }
    let told = events.seen().iter().any(|event| event["event"] == "standing-changed");
    ensure!(told, "the end of the inconsistency was not told");
    ensure!(status(adam, "data")?["inconsistent"] == false);
    Ok(())
}

/// Covers: S78.
fn a_first_copy_that_never_began_gives_no_source(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let mirror = Mirror::create_on(eve, adam, "vdb", QUICK, QUICK)?;
    for node in [adam, eve] {
        reload(node)?;
    }
    refused(adam, "start data", &["data", "holds no"])?;
    refused(adam, "force data --yes --override", &["data", "holds no"])?;
    // A source that never had a target needs none to come back.
    stands(eve, "source", &["last_owner"])?;
    cut_power(cluster)?;
    comes_back(eve)?;
    stands(eve, "source", &["last_owner"])?;
    comes_back(adam)?;
    mirror.extend_with(QUICK)?;
    until("the copy", || Ok(mirror.leg()?["state"] == "fully-operational"))?;
    ensure!(mirror.count("resynced_bytes")? == SIZE);
    mirror.same_disks()
}
