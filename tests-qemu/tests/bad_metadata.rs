// SPDX-License-Identifier: GPL-2.0
//! A bitmap or a disk that is not what it was: refused with a sentence, and nothing is changed.

use anyhow::{ensure, Context as _, Result};
use tests_qemu::{metadata::make_newer, Cluster, Node};

use crate::{
    harness::{case, Case},
    mirror::{refused, status, Mirror, QUICK},
    persist::{self, copied, reload, stands, write_chunks, CHUNK, DEVICE, SIZE},
};

pub(crate) const CASES: &[Case] = &[
    case!(a_bitmap_that_is_missing_truncated_or_of_another_mirror_is_refused),
    case!(a_bitmap_of_a_newer_version_is_refused_and_stays),
    case!(a_bitmap_that_cannot_be_written_is_refused),
    case!(a_bitmap_has_to_have_room),
    case!(a_bitmap_on_what_it_describes_is_refused),
    case!(two_mirrors_that_were_given_one_bitmap_do_not_share_it),
    case!(a_disk_that_became_smaller_or_another_one_is_refused),
    case!(a_clock_that_goes_back_changes_no_decision),
    case!(a_blank_or_foreign_bitmap_is_not_taken_for_one),
];

const FILE: &str = "/var/lib/netraid/bitmap_data";

/// Every way to bring the mirror up is refused with all these parts; its disk stays as it is.
fn stays_down(node: &Node, parts: &[&str]) -> Result<()> {
    let before = node.disk("vdb")?.sha256(SIZE)?;
    for command in ["up --all", "up data", "start data", "force data --yes --override"] {
        refused(node, command, parts)?;
        node.sh("test ! -e /dev/netraid0").ok()?;
    }
    ensure!(node.disk("vdb")?.sha256(SIZE)? == before, "the disk was written to");
    Ok(())
}

/// Down and unloaded, as before a boot.
fn unload(node: &Node) -> Result<()> {
    node.sh("netraid-ctl down --all; rmmod netraid && blockdev --flushbufs /dev/vdf")
        .ok()?;
    node.insmod()
}

/// Covers: S74.
fn a_bitmap_that_is_missing_truncated_or_of_another_mirror_is_refused(cluster: &Cluster) -> Result<()> {
    let mirror = persist::persistent(cluster)?;
    let (eve, adam) = cluster.pair();
    eve.ctl("create more --disk /dev/vdc").ok()?;
    for node in [eve, adam] {
        unload(node)?;
        node.sh(&format!("cp {FILE} /tmp/kept")).ok()?;
        for (damage, parts) in [
            (format!("rm {FILE}"), &["data", FILE][..]),
            (format!("truncate -s 4096 {FILE}"), &["data", FILE]),
            (format!("truncate -s 12288 {FILE}"), &["data", FILE]),
            (format!(": > {FILE}"), &["data", FILE]),
            (format!("head -c 1M /dev/urandom > {FILE}"), &["data", FILE]),
        ] {
            node.sh(&damage).ok()?;
            let after = node.sh(&format!("sha256sum {FILE}; true")).ok()?;
            stays_down(node, parts).with_context(|| format!("{}: {damage}", node.name()))?;
            ensure!(node.sh(&format!("sha256sum {FILE}; true")).ok()? == after);
            node.sh(&format!("cp /tmp/kept {FILE}")).ok()?;
        }
    }
    eve.sh(&format!("cp /var/lib/netraid/bitmap_more {FILE}")).ok()?;
    stays_down(eve, &["data", "more", FILE])?;
    eve.sh(&format!("cp /tmp/kept {FILE}")).ok()?;
    // Nothing is lost once the right one is there.
    adam.ctl("up --all").ok()?;
    eve.ctl("up --all").ok()?;
    copied(&mirror, 0, 0)?;
    stands(eve, "source", &["last_owner"])
}

fn a_bitmap_of_a_newer_version_is_refused_and_stays(cluster: &Cluster) -> Result<()> {
    let mirror = persist::mapped(cluster)?;
    let (eve, adam) = cluster.pair();
    for (node, role) in [(eve, "source"), (adam, "target")] {
        unload(node)?;
        let disk = node.disk("vdf")?;
        let kept = disk.read(0, disk.size())?;
        make_newer(disk, 2)?;
        let newer = disk.read(0, disk.size())?;
        stays_down(node, &["data", "/dev/vdf", "version"])?;
        // Not even what would make it anew takes it.
        refused(node, "create other --disk /dev/vdc --bitmap /dev/vdf", &["/dev/vdf"])?;
        ensure!(disk.read(0, disk.size())? == newer, "it was written to");
        disk.write(0, &kept)?;
        node.sh("blockdev --flushbufs /dev/vdf").ok()?;
        node.ctl("up --all").ok()?;
        ensure!(status(node, "data")?["role"] == role);
    }
    mirror.wait("fully-operational")?;
    mirror.same_disks()
}

fn a_bitmap_that_cannot_be_written_is_refused(cluster: &Cluster) -> Result<()> {
    let mirror = persist::mapped(cluster)?;
    let (eve, adam) = cluster.pair();
    unload(eve)?;
    eve.sh("blockdev --setro /dev/vdf").ok()?;
    stays_down(eve, &["data", "/dev/vdf"])?;
    eve.sh("blockdev --setrw /dev/vdf").ok()?;
    eve.ctl("up --all").ok()?;
    mirror.wait("fully-operational")?;
    // On a file system that is read-only, neither a new one nor an old one.
    adam.sh(
        "mkfs.ext4 -q /dev/vdc && mount /dev/vdc /mnt && cp /dev/vdf /mnt/old && truncate -s 1M /mnt/new && \
         mount -o remount,ro /mnt",
    )
    .ok()?;
    for file in ["/mnt/new", "/mnt/none", "/mnt/old"] {
        refused(
            adam,
            &format!("join more --disk /dev/vdd --yes --listen :7999 --bitmap {file}"),
            &["more", file],
        )?;
    }
    let list = adam.ctl("list").ok()?;
    ensure!(!list.contains("more"), "{list}");
    mirror.wait("fully-operational")
}

fn a_bitmap_has_to_have_room(cluster: &Cluster) -> Result<()> {
    let eve = cluster.node(0);
    for (size, number) in [("1M", 1), ("4k", 2)] {
        let fill = format!("dd if=/dev/zero of=/state/full{number} bs={size} oflag=direct");
        let output = eve.sh(&fill).exits(1)?;
        ensure!(output.stderr.contains("No space left"), "{output:?}");
    }
    refused(eve, "create data --disk /dev/vdb", &["data", "No space left on device"])?;
    eve.ctl("create data --disk /dev/vdb --bitmap none").exits(2)?;
    eve.sh("test ! -e /dev/netraid0 && test ! -s /var/lib/netraid/bitmap_data")
        .ok()?;
    // A path that leads nowhere, and one that is no file.
    eve.sh("rm /state/full*").ok()?;
    for path in ["/nowhere/bitmap", "/var/lib/netraid", "/dev/null"] {
        refused(
            eve,
            &format!("create data --disk /dev/vdb --bitmap {path}"),
            &["data", path],
        )?;
    }
    // A device that is too small for the maps.
    eve.sh("modprobe loop && truncate -s 64K /tmp/small && losetup /dev/loop0 /tmp/small")
        .ok()?;
    refused(
        eve,
        "create data --disk /dev/vdb --bitmap /dev/loop0",
        &["data", "/dev/loop0"],
    )?;
    let list = eve.ctl("list").ok()?;
    ensure!(!list.contains("data"), "{list}");
    eve.ctl("create data --disk /dev/vdb").ok()?;
    write_chunks(eve, &[1])
}

/// Covers: S278.
fn a_bitmap_on_what_it_describes_is_refused(cluster: &Cluster) -> Result<()> {
    let eve = cluster.node(0);
    eve.sh("printf ',32M\\n,8M\\n' | sfdisk -q --label gpt /dev/vdc").ok()?;
    for (disk, bitmap) in [
        ("/dev/vdb", "/dev/vdb"),
        ("/dev/vdc1", "/dev/vdc"),
        ("/dev/vdc", "/dev/vdc2"),
    ] {
        refused(
            eve,
            &format!("create data --disk {disk} --bitmap {bitmap}"),
            &["data", bitmap],
        )?;
    }
    // A file on the file system of the disk: while it is mounted the disk is in use.
    eve.sh("mkfs.ext4 -q /dev/vdb && mount /dev/vdb /mnt").ok()?;
    refused(eve, "create data --disk /dev/vdb --bitmap /mnt/bitmap", &["/mnt"])?;
    eve.sh("test ! -e /mnt/bitmap && umount /mnt").ok()?;
    // The bitmap of one mirror on another one would wait for it when memory is short.
    eve.ctl("create data --disk /dev/vdb").ok()?;
    eve.sh(&format!("mount {DEVICE} /mnt")).ok()?;
    refused(
        eve,
        "create more --disk /dev/vdd --bitmap /mnt/bitmap",
        &["/mnt/bitmap", "netraid0"],
    )?;
    refused(
        eve,
        &format!("create more --disk /dev/vdd --bitmap {DEVICE}"),
        &["netraid0"],
    )?;
    eve.sh("test ! -e /mnt/bitmap && umount /mnt").ok()?;
    // The other way round, every use of the metadata's device is refused.
    eve.ctl("create more --disk /dev/vdd --bitmap /dev/vdf").ok()?;
    refused(eve, "create third --disk /dev/vdf", &["/dev/vdf"])?;
    let mkfs = eve.sh("mkfs.ext4 -q -F /dev/vdf").run()?;
    ensure!(mkfs.code != 0 && mkfs.stderr.contains("in use"), "{mkfs:?}");
    Ok(())
}

/// Covers: S67, S278.
fn two_mirrors_that_were_given_one_bitmap_do_not_share_it(cluster: &Cluster) -> Result<()> {
    let eve = cluster.node(0);
    eve.ctl("create data --disk /dev/vdb").ok()?;
    eve.ctl("create more --disk /dev/vdc").ok()?;
    let before = status(eve, "data")?;
    unload(eve)?;
    // Somebody edits the configuration.
    eve.sh("sed -i 's/bitmap_more/bitmap_data/' /etc/netraid/mirrors/more.toml && grep -q bitmap_data /etc/netraid/mirrors/more.toml")
        .ok()?;
    let output = eve.ctl("up --all").exits(2)?;
    ensure!(
        output.stderr.contains("more") && output.stderr.contains("bitmap_data"),
        "{output:?}"
    );
    stands(eve, "source", &["last_owner"])?;
    let after = status(eve, "data")?;
    ensure!(
        before["uuid"] == after["uuid"] && before["generation"] == after["generation"],
        "{before} {after}"
    );
    let state: serde_json::Value = serde_json::from_str(&eve.ctl("list --json").ok()?)?;
    ensure!(state["mirrors"].as_array().map_or(0, Vec::len) == 2, "{state}");
    Ok(())
}

/// Covers: S333.
fn a_disk_that_became_smaller_or_another_one_is_refused(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    for node in [eve, adam] {
        node.sh("ln -s /dev/vdb /state/disk && ln -s /dev/vdc /state/whole")
            .ok()?;
    }
    let outside = format!("--bitmap /dev/vdf {QUICK}");
    eve.ctl(&format!("create data --disk /state/disk {outside}")).ok()?;
    adam.ctl(&format!("join data --disk /state/disk --yes {outside}"))
        .ok()?;
    let mirror = Mirror {
        source: eve,
        target: adam,
        disk: "vdb",
    };
    mirror.extend_with(QUICK)?;
    mirror.wait("fully-operational")?;
    eve.ctl("create inside --disk /state/whole --new --bitmap internal")
        .ok()?;
    for node in [eve, adam] {
        unload(node)?;
    }
    for node in [adam, eve] {
        // A disk one sector smaller.
        node.sh("ln -sfn /dev/vdd /state/disk").ok()?;
        refused(
            node,
            "up data",
            &["data", "is not the disk it was", "serial:vdb", "serial:vdd"],
        )?;
        // Where disks have no numbers the module still looks at the size.
        node.sh("sed -i '/^disk-id/d' /etc/netraid/mirrors/*.toml").ok()?;
        refused(node, "up data", &["data", "67108352", "67108864"])?;
        node.sh("ln -sfn /dev/vdb /state/disk").ok()?;
        node.ctl("up data").ok()?;
    }
    // With the metadata inside, another disk has none.
    eve.sh("ln -sfn /dev/vdd /state/whole").ok()?;
    let before = eve.disk("vdd")?.sha256(1 << 20)?;
    refused(eve, "up inside", &["inside"])?;
    ensure!(eve.disk("vdd")?.sha256(1 << 20)? == before);
    eve.sh("rm /state/whole").ok()?;
    refused(eve, "up inside", &["inside", "/state/whole"])?;
    mirror.wait("fully-operational")?;
    mirror.same_disks()
}

fn a_clock_that_goes_back_changes_no_decision(cluster: &Cluster) -> Result<()> {
    let mirror = persist::persistent(cluster)?;
    let (eve, adam) = cluster.pair();
    eve.sh("date -s '2001-01-01 00:00:00'").ok()?;
    cluster.cut(eve, adam);
    mirror.wait("out-of-sync")?;
    write_chunks(eve, &[1, 2])?;
    cluster.restore_links();
    copied(&mirror, SIZE, 2 * CHUNK)?;
    reload(eve)?;
    copied(&mirror, 0, 0)?;
    // The machine whose clock is behind has the newer data, and leads.
    cluster.cut(eve, adam);
    mirror.wait("out-of-sync")?;
    write_chunks(eve, &[3])?;
    eve.ctl("down data").ok()?;
    adam.ctl("wait data --for disconnected").ok()?;
    cluster.restore_links();
    eve.ctl("up data").ok()?;
    copied(&mirror, 0, CHUNK)?;
    stands(eve, "source", &["last_owner"])?;
    stands(adam, "target", &[])
}

fn a_blank_or_foreign_bitmap_is_not_taken_for_one(cluster: &Cluster) -> Result<()> {
    let eve = cluster.node(0);
    // Somebody's data, which a new bitmap would overwrite.
    eve.sh("mkfs.ext4 -q -F /dev/vdf && printf 'a letter' > /tmp/letter && truncate -s 1M /tmp/letter")
        .ok()?;
    let kept = eve.disk("vdf")?.sha256(1 << 20)?;
    let letter = eve.sh("sha256sum < /tmp/letter").ok()?;
    for path in ["/dev/vdf", "/tmp/letter"] {
        refused(
            eve,
            &format!("create data --disk /dev/vdb --bitmap {path}"),
            &["data", path],
        )?;
        for action in ["-X", "-c --yes", "-d", "-a"] {
            let output = eve.ctl(&format!("bitmap {action} {path}")).exits(2)?;
            ensure!(output.stderr.contains(path), "{output:?}");
        }
    }
    ensure!(eve.disk("vdf")?.sha256(1 << 20)? == kept);
    ensure!(eve.sh("sha256sum < /tmp/letter").ok()? == letter);
    for action in ["-X", "-c --yes", "-d"] {
        eve.ctl(&format!("bitmap {action} /tmp/none")).exits(2)?;
    }
    Ok(())
}
