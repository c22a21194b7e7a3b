// SPDX-License-Identifier: GPL-2.0
//! Servers that share a disk, of which one at a time has the mirror of it in service, with a target at another site.

use anyhow::{ensure, Context as _, Result};
use tests_qemu::{Cluster, Node};

use crate::{
    harness::{case, Case},
    mirror::{status, QUICK},
    persist::{write_chunks, CHUNK},
    several::{extend, in_step},
};

pub(crate) const CASES: &[Case] = &[
    case!(a_mirror_moves_between_servers_that_share_its_disk)
        .three()
        .shared(),
    case!(a_server_that_lost_its_power_leaves_its_marks_to_the_other_one)
        .three()
        .shared(),
    case!(only_one_server_at_a_time_has_the_shared_disk_in_service)
        .three()
        .shared(),
    case!(the_bitmaps_of_two_shared_mirrors_are_on_disks_of_their_own).shared(),
];

/// A mirror of the shared disk on the first machine, with the second, far away, as its target; the third knows it, too.
fn two_sites(cluster: &Cluster) -> Result<[&Node; 3]> {
    let [here, far, there] = cluster.nodes() else {
        unreachable!("three machines")
    };
    far.ctl(&format!("join data --disk /dev/vdb --yes {QUICK}")).ok()?;
    here.ctl(&format!(
        "create data --disk /dev/vdg --bitmap /dev/vdh --shared-disk {QUICK}"
    ))
    .ok()?;
    extend(here, far, &QUICK.to_string())?;
    in_step(here, 1)?;
    let config = here.sh("cat /etc/netraid/mirrors/data.toml").ok()?;
    there
        .sh(&format!(
            "mkdir -p /etc/netraid/mirrors && cat > /etc/netraid/mirrors/data.toml <<'END'\n{config}\nEND"
        ))
        .ok()?;
    Ok([here, far, there])
}

/// Takes the mirror over from a machine that no longer has it; what was copied for that.
fn takes_over(node: &Node) -> Result<u64> {
    node.ctl("up data").ok()?;
    in_step(node, 1)?;
    let state = status(node, "data")?;
    ensure!(state["role"] == "source", "{state}");
    copied(node, "resynced_bytes")
}

/// A number of the leg to the far site.
fn copied(node: &Node, what: &str) -> Result<u64> {
    let state = status(node, "data")?;
    state["legs"][1][what]
        .as_u64()
        .with_context(|| format!("{what} in {state}"))
}

fn same(node: &Node, far: &Node) -> Result<()> {
    let (disk, copy) = (node.disk("vdg")?, far.disk("vdb")?);
    ensure!(disk.differences(copy, disk.size(), CHUNK)?.is_empty());
    Ok(())
}

/// Covers: S277, S282.
fn a_mirror_moves_between_servers_that_share_its_disk(cluster: &Cluster) -> Result<()> {
    let [here, far, there] = two_sites(cluster)?;
    write_chunks(here, &[3, 4, 5])?;
    here.ctl("down data").ok()?;
    ensure!(takes_over(there)? == 0, "{}", status(there, "data")?);
    write_chunks(there, &[7])?;
    same(there, far)?;
    // What the target lacks is known to whoever has the disk.
    there.ctl("pause data").ok()?;
    write_chunks(there, &[100, 101])?;
    there.ctl("down data").ok()?;
    here.ctl("up data").ok()?;
    let state = status(here, "data")?;
    ensure!(
        state["legs"][1]["state"] == "paused" && state["role"] == "source",
        "{state}"
    );
    write_chunks(here, &[102])?;
    here.ctl("resume data").ok()?;
    in_step(here, 1)?;
    let state = status(here, "data")?;
    ensure!(copied(here, "resync_total")? == 3 * CHUNK, "{state}");
    same(here, far)
}

/// Covers: S277, S282.
fn a_server_that_lost_its_power_leaves_its_marks_to_the_other_one(cluster: &Cluster) -> Result<()> {
    let [here, far, there] = two_sites(cluster)?;
    here.ctl("pause data").ok()?;
    write_chunks(here, &[10, 11])?;
    here.kill9()?;
    // The target does not know yet that it has lost its source.
    there.ctl("up data").ok()?;
    there.ctl("resume data").ok()?;
    in_step(there, 1)?;
    let copied = copied(there, "resync_total")?;
    ensure!((2 * CHUNK..8 * CHUNK).contains(&copied), "{copied}");
    same(there, far)
}

/// Covers: S277, S278.
fn only_one_server_at_a_time_has_the_shared_disk_in_service(cluster: &Cluster) -> Result<()> {
    let [here, far, there] = two_sites(cluster)?;
    let before = status(here, "data")?;
    let outcome = there.ctl("up data").exits(2)?;
    for part in ["data", "eve has mirror data in service", "stop it on eve first"] {
        ensure!(outcome.stderr.contains(part), "{outcome:?}");
    }
    write_chunks(here, &[20])?;
    let after = status(here, "data")?;
    ensure!(
        before["generation"] == after["generation"] && after["legs"][1]["state"] == "fully-operational",
        "{after}"
    );
    same(here, far)?;
    // What is written meanwhile is known to the other one, though it has looked at the bitmap before.
    ensure!(status(there, "data")?["meta_writes"] == 0, "{}", status(there, "data")?);
    here.ctl("pause data").ok()?;
    write_chunks(here, &[30, 31])?;
    here.ctl("down data").ok()?;
    there.ctl("up data").ok()?;
    there.ctl("resume data").ok()?;
    in_step(there, 1)?;
    ensure!(
        copied(there, "resync_total")? == 2 * CHUNK,
        "{}",
        status(there, "data")?
    );
    same(there, far)
}

/// Covers: S279, S281, S282.
fn the_bitmaps_of_two_shared_mirrors_are_on_disks_of_their_own(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(0);
    let refused = |line: &str, part: &str| -> Result<()> {
        let outcome = node.ctl(line).exits(2)?;
        ensure!(outcome.stderr.contains(part), "{outcome:?}");
        Ok(())
    };
    refused("create data --disk /dev/vdg --shared-disk", "has to move with that")?;
    node.sh("printf ',16M\n,16M\n' | sfdisk -q --label gpt /dev/vdh && udevadm settle")
        .ok()?;
    node.ctl("create data --disk /dev/vdg --bitmap /dev/vdh1 --shared-disk")
        .ok()?;
    for shared in ["--shared-disk", ""] {
        let line = format!("create more --disk /dev/vdb --bitmap /dev/vdh2 {shared}");
        refused(&line, "the bitmap of mirror data is on /dev/vdh, too")?;
    }
    node.ctl("create more --disk /dev/vdb --bitmap /dev/vdf --shared-disk")
        .ok()?;
    // A restart leaves them to the cluster manager.
    node.ctl("down --all").ok()?;
    let told = node.ctl("up --all").ok()?;
    ensure!(told.matches("is on a shared disk and left to").count() == 2, "{told}");
    ensure!(status(node, "data")?["role"] == "stopped", "{}", status(node, "data")?);
    node.ctl("up data").ok()?;
    write_chunks(node, &[1])
}
