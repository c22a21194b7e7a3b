// SPDX-License-Identifier: GPL-2.0
//! Who may be the source while a target is being brought up to date, over reboots of anybody.

use anyhow::{ensure, Result};
use tests_qemu::{Cluster, Node, MIB};

use crate::{
    harness::{case, Case, SOON},
    mirror::{refused, status, Mirror, QUICK},
    persist::{boot, bytes_of, comes_back, cut_power, differing, metadata, reload, stands, until, MAPPED, SIZE},
};

pub(crate) const CASES: &[Case] = &[
    case!(a_target_that_was_half_copied_stays_unusable_over_reboots_of_both),
    case!(a_resync_goes_on_where_it_stood_when_the_source_is_back),
    case!(a_resync_goes_on_where_it_stood_when_the_target_is_back),
    case!(a_mirror_stopped_in_a_resync_starts_only_where_its_data_is),
    case!(a_target_is_resyncing_and_then_target),
    case!(a_first_copy_that_never_began_gives_no_source),
];

/// Bytes a second that are copied until the test wants more.
const SLOWLY: &str = "8M";
/// Bytes after which a copy is interrupted.
const SOME: u64 = 36 * MIB;
/// What was copied last counts as copied only when it is durable on the other side: some seconds later.
const LATELY: u64 = 28 * MIB;

/// Fills the source with data that the target does not have, and copies some of it.
fn half_copied(cluster: &Cluster) -> Result<Mirror<'_>> {
    let (eve, adam) = cluster.pair();
    eve.sh("head -c 64M /dev/urandom > /dev/vdb && sync").ok()?;
    let options = format!("{MAPPED} {QUICK}");
    let mirror = Mirror::create_on(eve, adam, "vdb", &options, &options)?;
    eve.ctl(&format!("set data resync-rate {SLOWLY}")).ok()?;
    mirror.extend_with(QUICK)?;
    until("some of the copy", || Ok(mirror.count("resynced_bytes")? > SOME))?;
    Ok(mirror)
}

/// The rest is copied as fast as it can be.
fn at_full_speed(mirror: &Mirror<'_>) -> Result<()> {
    mirror.source.ctl("set data resync-rate 0").ok()?;
    Ok(())
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
    let mirror = half_copied(cluster)?;
    let (eve, adam) = cluster.pair();
    eve.kill9()?;
    adam.ctl("wait data --for disconnected").ok()?;
    cannot_lead(adam)?;
    let said = adam.ctl("promote data --wait 0").exits(2)?.stderr;
    ensure!(
        said.contains("a resync of mirror 'data' is in progress (") && said.contains("%)"),
        "{said}"
    );
    adam.kill9()?;
    comes_back(adam)?;
    cannot_lead(adam)?;
    // The source comes back, asks a target that has nothing newer, and goes on.
    let differ = bytes_of(&differing(&mirror)?);
    boot(eve)?;
    let left = bytes_of(&metadata(eve)?.after_crash());
    ensure!(left < SIZE && left > SIZE / 4, "{left} bytes are left");
    ensure!(differ <= left, "{differ} differ, {left} are marked");
    eve.ctl("up --all").ok()?;
    at_full_speed(&mirror)?;
    stands(eve, "source", &["last_owner"])?;
    goes_on(&mirror, differ, left)?;
    stands(adam, "target", &[])?;
    // From here on the copy is one.
    eve.kill9()?;
    adam.ctl("promote data").ok()?;
    stands(adam, "source", &["last_owner"])
}

/// What differs is copied, and at most what is marked: of that, what was only in use is compared.
fn goes_on(mirror: &Mirror<'_>, differ: u64, left: u64) -> Result<()> {
    mirror.wait("fully-operational")?;
    let bytes = mirror.count("resynced_bytes")?;
    ensure!((differ..=left).contains(&bytes), "{bytes} of {differ} to {left}");
    ensure!(mirror.leg()?["resync_full"] == false, "{}", mirror.leg()?);
    mirror.same_disks()
}

/// Covers: S80.
fn a_resync_goes_on_where_it_stood_when_the_source_is_back(cluster: &Cluster) -> Result<()> {
    let mirror = half_copied(cluster)?;
    let (eve, adam) = cluster.pair();
    let done = mirror.count("resynced_bytes")?;
    eve.kill9()?;
    // What had arrived is still being written there.
    adam.ctl("wait data --for disconnected").ok()?;
    let differ = bytes_of(&differing(&mirror)?);
    boot(eve)?;
    let left = bytes_of(&metadata(eve)?.after_crash());
    println!(
        "{} of {} MiB were copied, {} are looked at again",
        done / MIB,
        SIZE / MIB,
        left / MIB
    );
    ensure!(
        left >= SIZE - done && left < SIZE - done + LATELY,
        "{done} done, {left} left"
    );
    eve.ctl("up --all").ok()?;
    at_full_speed(&mirror)?;
    ensure!(differ <= left, "{differ} differ, {left} are marked");
    goes_on(&mirror, differ, left)?;
    stands(adam, "target", &[])
}

/// Covers: S80.
fn a_resync_goes_on_where_it_stood_when_the_target_is_back(cluster: &Cluster) -> Result<()> {
    let mirror = half_copied(cluster)?;
    let (_, adam) = cluster.pair();
    adam.kill9()?;
    mirror.wait("out-of-sync")?;
    let done = mirror.count("resynced_bytes")?;
    comes_back(adam)?;
    stands(adam, "target", &["inconsistent"])?;
    at_full_speed(&mirror)?;
    mirror.wait("fully-operational")?;
    let bytes = mirror.count("resynced_bytes")?;
    println!("{} MiB before, {} in all", done / MIB, bytes / MIB);
    ensure!(bytes < SIZE + LATELY, "{}", mirror.leg()?);
    stands(adam, "target", &[])?;
    mirror.same_disks()
}

/// Covers: S79.
fn a_mirror_stopped_in_a_resync_starts_only_where_its_data_is(cluster: &Cluster) -> Result<()> {
    let mirror = half_copied(cluster)?;
    let (eve, adam) = cluster.pair();
    eve.ctl("stop data").ok()?;
    cannot_lead(adam)?;
    let left = bytes_of(&metadata(eve)?.after_crash());
    // What was copied was made durable by the stop, all of it.
    ensure!(left <= SIZE - SOME, "{left}");
    eve.ctl("start data").ok()?;
    at_full_speed(&mirror)?;
    stands(eve, "source", &["last_owner"])?;
    mirror.wait("fully-operational")?;
    ensure!(mirror.count("resync_total")? == left, "{left}: {}", mirror.leg()?);
    mirror.same_disks()
}

/// Covers: S75, S76.
fn a_target_is_resyncing_and_then_target(cluster: &Cluster) -> Result<()> {
    let mirror = half_copied(cluster)?;
    let (eve, adam) = cluster.pair();
    let mut events = adam.events()?;
    let mut others = eve.events()?;
    let snapshot = events.wait_for("the snapshot", SOON, |event| event["event"] == "snapshot")?;
    let leg = &snapshot["mirrors"][0]["legs"][1];
    ensure!(leg["state"] == "resyncing", "{snapshot}");
    at_full_speed(&mirror)?;
    others.wait_for("its end", SOON, |event| event["event"] == "resync-done")?;
    let (mut whole, mut usable) = (false, false);
    events.wait_for("the end of it", SOON, |event| {
        whole |= event["mirror"]["legs"][1]["state"] == "fully-operational";
        usable |= event["event"] == "standing-changed" && event["mirror"]["inconsistent"] == false;
        whole && usable
    })?;
    for (events, role) in [(&others, "source"), (&events, "target")] {
        let mut roles = events.seen().iter().map(|event| &event["mirror"]["role"]);
        let other = roles.find(|known| !known.is_null() && *known != role);
        ensure!(other.is_none(), "{other:?} and not {role}");
    }
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
