// SPDX-License-Identifier: GPL-2.0
//! Takes down what a test left behind, through the same doors that users have.

use anyhow::{Context as _, Result};
use serde_json::Value;
use tests_qemu::{Cluster, Node};

use super::leaks;

/// Everything but netraid that can hold a disk. Whether there is any is seen without starting a program: this is done
/// after every test. Succeeds if the module is loaded.
const RELEASE: &str = r"
    cd /
    awk '$2 ~ /^\/(mnt|media)/ { print $2 }' /proc/mounts | sort -r | xargs -r -n1 umount -l
    { read -r head && read -r swap; } < /proc/swaps && swapoff -a
    for md in /dev/md[0-9]*; do [ -b $md ] && mdadm --stop $md; done
    [ -d /sys/module/dm_mod ] && dmsetup remove_all
    for loop in /sys/block/loop*/loop; do [ -d $loop ] && losetup -D; break; done
    rm -rf /tmp/* /mnt/*
    test -d /sys/module/netraid
";

/// What a mirror was on.
const RELEASE_DISKS: &str =
    "[ -d /sys/module/dm_mod ] && dmsetup remove_all; umount /var/lib/netraid /etc/netraid /state";

/// Module loaded anew, disks empty, nothing kept from before, links whole.
pub(crate) fn make_ready(cluster: &Cluster) -> Result<()> {
    cluster.restore_links();
    for disk in cluster.nodes().iter().flat_map(Node::disks) {
        disk.wipe()?;
    }
    cluster.on_all(|node| {
        // The machine must forget what it has read of its disks and their partitions.
        let names: Vec<_> = node.disks().iter().map(|disk| disk.dev()).collect();
        let names = names.join(" ");
        let load = "[ -e /run/netraid/netraid.ko ] && insmod /run/netraid/netraid.ko; true";
        let state = "netraid-guest state";
        node.sh(&format!("blockdev --flushbufs --rereadpt {names} && {state} && {load}"))
            .ok()?;
        Ok(())
    })
}

/// Deletes every mirror, unloads the module, and lets go of the disk with its state; none of that may fail. Where `since`
/// names tests, memory that one of them lost is looked for, too, if the kernel can do that.
pub(crate) fn take_down(cluster: &Cluster, since: &[&str]) -> Result<()> {
    cluster.on_all(|node| {
        if !node.is_on() {
            return Ok(());
        }
        // A lazily unmounted file system lets go of its device when its last user is gone.
        let loaded = node.sh(RELEASE).run()?.code == 0;
        if loaded {
            for name in mirrors(node)? {
                node.command(&["netraid-ctl", "delete", &name, "--force"]).ok()?;
            }
            if cluster.debug() && !since.is_empty() {
                // While the module is there, because the addresses of its functions have names only then.
                leaks::check(node).with_context(|| format!("by one of {}", since.join(", ")))?;
            }
            node.sh("rmmod netraid").ok()?;
        }
        node.sh(RELEASE_DISKS).ok()?;
        Ok(())
    })
}

fn mirrors(node: &Node) -> Result<Vec<String>> {
    let status: Value = serde_json::from_str(&node.ctl("status --json").ok()?)
        .with_context(|| format!("parse the status of {}", node.name()))?;
    let mirrors = status["mirrors"].as_array().cloned().unwrap_or_default();
    Ok(mirrors
        .iter()
        .filter_map(|mirror| mirror["name"].as_str().map(str::to_owned))
        .collect())
}
