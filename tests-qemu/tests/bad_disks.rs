// SPDX-License-Identifier: GPL-2.0
//! Disks that a mirror cannot have: netraid-ctl says why, the kernel refuses by itself where
//! netraid-ctl is not asked, and what is on the disk stays.

use anyhow::{ensure, Result};
use tests_qemu::{workload::Plan, Cluster, Disk, Node, Workload, MIB};

use crate::{
    bypass,
    harness::{case, Case, SOON},
    mirror::{self, refused, Mirror},
};

pub(crate) const CASES: &[Case] = &[
    case!(what_is_no_disk_is_refused),
    case!(a_mounted_disk_is_refused_and_stays_as_it_is).smoke(),
    case!(a_disk_in_use_as_swap_is_refused_and_stays_as_it_is),
    case!(a_disk_of_another_mirror_is_refused),
    case!(a_disk_held_by_md_or_device_mapper_is_refused),
    case!(a_write_protected_disk_is_refused),
    case!(a_disk_without_capacity_is_refused),
    case!(a_disk_that_was_replaced_by_one_of_the_same_size_is_refused_and_stays_as_it_is),
    case!(a_disk_with_a_used_partition_and_a_partition_of_a_used_disk_are_refused),
    case!(a_target_disk_smaller_by_one_sector_is_refused_with_both_sizes).smoke(),
    case!(a_target_disk_of_the_same_size_or_larger_mirrors_the_size_of_the_source),
];

const ENOENT: i32 = 2;
const EACCES: i32 = 13;
const ENOTBLK: i32 = 15;
const EBUSY: i32 = 16;

/// A path that no mirror can have.
struct Unfit<'a> {
    path: &'a str,
    /// What netraid-ctl says: the reason and the next step.
    told: [&'a str; 2],
    /// The kernel's error number and what is in its sentence.
    errno: i32,
    sentence: &'a str,
}

/// Neither `create` nor `join` takes any of the paths, with netraid-ctl and without it, and the
/// mirrors of the machine stay as they are.
fn are_refused(node: &Node, paths: &[Unfit<'_>]) -> Result<()> {
    let before = names(node)?;
    let mut requests = Vec::new();
    for Unfit { path, told, .. } in paths {
        for (command, options) in [("create", ""), ("join", "--listen :7999 --yes")] {
            let output = node.ctl(&format!("{command} unfit --disk {path} {options}")).exits(2)?;
            let parts = [&format!("cannot {command} mirror unfit"), *path, told[0], told[1]];
            ensure!(
                parts.iter().all(|part| output.stderr.contains(*part)) && output.stdout.is_empty(),
                "expected {parts:?}: {output:?}"
            );
        }
        requests.push(("mirror-new", bypass::source("unfit", path)));
        requests.push(("mirror-new", bypass::target("unfit", path, 7999)));
    }
    let answers = bypass::ask(node, &requests)?;
    for (pair, unfit) in answers.chunks(2).zip(paths) {
        for answer in pair {
            answer.is_refusal(unfit.errno, &[unfit.path, unfit.sentence])?;
        }
    }
    ensure!(names(node)? == before, "a refused mirror is there");
    Ok(())
}

/// As [`are_refused`], and the content of the disk stays.
fn are_refused_untouched(node: &Node, disk: &Disk, paths: &[Unfit<'_>]) -> Result<()> {
    node.sh("sync").ok()?;
    let before = disk.read(0, disk.size())?;
    ensure!(before.iter().any(|&byte| byte != 0), "an empty disk shows nothing");
    are_refused(node, paths)?;
    node.sh("sync").ok()?;
    ensure!(disk.read(0, disk.size())? == before, "{} was written to", disk.dev());
    Ok(())
}

fn names(node: &Node) -> Result<Vec<String>> {
    let status: serde_json::Value = serde_json::from_str(&node.ctl("status --json").ok()?)?;
    let mirrors = status["mirrors"].as_array().cloned().unwrap_or_default();
    Ok(mirrors.iter().map(|mirror| mirror["name"].to_string()).collect())
}

/// Covers: S123.
fn what_is_no_disk_is_refused(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(0);
    node.sh("head -c 1M /dev/zero > /tmp/file && ln -s /nowhere /tmp/link")
        .ok()?;
    let list = "`netraid-ctl disks` lists the disks that can be used";
    let unfit = |path, reason, errno, sentence| Unfit {
        path,
        told: [reason, list],
        errno,
        sentence,
    };
    are_refused(
        node,
        &[
            unfit("/dev/vdx", "it does not exist", ENOENT, "there is no /dev/vdx"),
            unfit("/tmp/link", "it does not exist", ENOENT, "there is no /tmp/link"),
            unfit(
                "/dev/zero",
                "it is a character device",
                ENOTBLK,
                "is not a disk or partition; give the path of one",
            ),
            unfit(
                "/tmp",
                "it is a directory",
                ENOTBLK,
                "is not a disk or partition; give the path of one",
            ),
            unfit(
                "/tmp/file",
                "it is a regular file",
                ENOTBLK,
                "is not a disk or partition; give the path of one",
            ),
        ],
    )
}

/// Covers: S123.
fn a_mounted_disk_is_refused_and_stays_as_it_is(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(0);
    let mount = "mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 /dev/vdb \
                 && mkdir -p /mnt/one && mount /dev/vdb /mnt/one && cp /etc/services /mnt/one";
    node.sh(mount).ok()?;
    are_refused_untouched(
        node,
        node.disk("vdb")?,
        &[Unfit {
            path: "/dev/vdb",
            told: ["it is mounted on /mnt/one", "unmount it first"],
            errno: EBUSY,
            sentence: "is in use: mounted, swap, or part of another device; release it first",
        }],
    )?;
    node.sh("cmp /etc/services /mnt/one/services && umount /mnt/one && fsck.ext4 -fn /dev/vdb")
        .ok()?;
    // The reason gone, the same command is obeyed.
    node.ctl("create data --disk /dev/vdb").ok()?;
    Ok(())
}

/// Covers: S123.
fn a_disk_in_use_as_swap_is_refused_and_stays_as_it_is(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(0);
    node.sh("mkswap -q /dev/vdb && swapon /dev/vdb").ok()?;
    are_refused_untouched(
        node,
        node.disk("vdb")?,
        &[Unfit {
            path: "/dev/vdb",
            told: ["it is used as swap", "`swapoff` it first"],
            errno: EBUSY,
            sentence: "is in use: mounted, swap, or part of another device; release it first",
        }],
    )
}

/// Covers: S123, S125.
fn a_disk_of_another_mirror_is_refused(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let mirror = Mirror::in_sync(cluster)?;
    Workload::start(eve, "/dev/netraid0", Plan::new(1, 256).count(64))?.finish(SOON)?;
    // A second path to the same disk is the same disk.
    for node in [eve, adam] {
        node.sh("ln -s /dev/vdb /tmp/same").ok()?;
        let unfit = |path| Unfit {
            path,
            told: ["it is used by mirror data", "`netraid-ctl stop data` releases it"],
            errno: EBUSY,
            sentence: "is already used by mirror 'data'; choose another disk",
        };
        are_refused_untouched(node, node.disk("vdb")?, &[unfit("/dev/vdb"), unfit("/tmp/same")])?;
    }
    ensure!(mirror.count("connects")? == 1, "the mirror was disturbed");
    mirror.same_disks()
}

/// Covers: S123.
fn a_disk_held_by_md_or_device_mapper_is_refused(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(0);
    let hold = "echo yes | mdadm --create /dev/md7 --level=1 --raid-devices=2 --metadata=1.2 --assume-clean \
                /dev/vdb missing && modprobe dm-mod && head -c 1M /dev/urandom > /dev/vdc \
                && dmsetup create held --table \"0 $(blockdev --getsz /dev/vdc) linear /dev/vdc 0\"";
    node.sh(hold).ok()?;
    let unfit = |path, holder| Unfit {
        path,
        told: [holder, "take it out of there first"],
        errno: EBUSY,
        sentence: "is in use: mounted, swap, or part of another device; release it first",
    };
    are_refused_untouched(node, node.disk("vdb")?, &[unfit("/dev/vdb", "it is held by RAID md7")])?;
    let mapper = "it is held by device mapper dm-0 (held)";
    are_refused_untouched(node, node.disk("vdc")?, &[unfit("/dev/vdc", mapper)])
}

/// Covers: S123.
fn a_write_protected_disk_is_refused(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(0);
    node.sh("head -c 1M /dev/urandom > /dev/vdb && sync && blockdev --setro /dev/vdb")
        .ok()?;
    are_refused_untouched(
        node,
        node.disk("vdb")?,
        &[Unfit {
            path: "/dev/vdb",
            told: ["it is read-only", "`blockdev --setrw` may change that"],
            errno: EACCES,
            sentence: "is write-protected; make it writable with `blockdev --setrw`",
        }],
    )?;
    node.sh("blockdev --setrw /dev/vdb").ok()?;
    node.ctl("create data --disk /dev/vdb").ok()?;
    Ok(())
}

/// Covers: S123.
fn a_disk_without_capacity_is_refused(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(0);
    node.sh("modprobe loop && test -b /dev/loop0 && test $(blockdev --getsize64 /dev/loop0) = 0")
        .ok()?;
    for command in ["create data", "join data --yes"] {
        let output = node.ctl(&format!("{command} --disk /dev/loop0")).exits(2)?;
        ensure!(
            output
                .stderr
                .contains("the disk /dev/loop0 cannot be used: it has no capacity"),
            "{output:?}"
        );
    }
    for answer in bypass::ask(node, &[("mirror-new", bypass::source("data", "/dev/loop0"))])? {
        ensure!(answer.errno != 0, "{answer:?}");
        answer.is_refusal(answer.errno, &["/dev/loop0"])?;
    }
    ensure!(names(node)?.is_empty());
    Ok(())
}

/// Covers: S123, S124.
fn a_disk_with_a_used_partition_and_a_partition_of_a_used_disk_are_refused(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(0);
    for disk in ["vdb", "vdc"] {
        node.sh(&format!("printf ',32M\\n,,\\n' | sfdisk -q --label gpt /dev/{disk}"))
            .ok()?;
    }
    let in_use = "is in use: mounted, swap, or part of another device; release it first";
    node.sh("mkswap -q /dev/vdb2 && swapon /dev/vdb2").ok()?;
    are_refused_untouched(
        node,
        node.disk("vdb")?,
        &[Unfit {
            path: "/dev/vdb",
            told: ["its partition vdb2 is in use: it is used as swap", "`swapoff` it first"],
            errno: EBUSY,
            sentence: in_use,
        }],
    )?;
    // The other partition is nobody's.
    node.ctl("create part --disk /dev/vdb1").ok()?;
    node.ctl("create whole --disk /dev/vdc").ok()?;
    are_refused_untouched(
        node,
        node.disk("vdc")?,
        &[Unfit {
            path: "/dev/vdc1",
            told: [
                "the whole disk vdc is in use: it is used by mirror whole",
                "`netraid-ctl stop whole`",
            ],
            errno: EBUSY,
            sentence: "/dev/vdc1",
        }],
    )
}

/// Covers: S117.
fn a_target_disk_smaller_by_one_sector_is_refused_with_both_sizes(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let mut events = eve.events()?;
    let mut seen_there = adam.events()?;
    eve.ctl("create data --disk /dev/vdb").ok()?;
    adam.sh("head -c 1M /dev/urandom > /dev/vdd && sync").ok()?;
    let before = adam.disk("vdd")?.read(0, adam.disk("vdd")?.size())?;
    adam.ctl("join data --disk /dev/vdd --yes").ok()?;
    eve.ctl(&format!("extend data --to {} --yes", adam.ip())).ok()?;
    let sentence = "the disk on adam has 67108352 bytes, mirror data has 67108864; give adam a disk of at least \
                    that size";
    for events in [&mut events, &mut seen_there] {
        let event = events.wait_for("a refusal", SOON, |event| event["event"] == "refused")?;
        let reason = event["reason"].as_str().unwrap_or_default();
        ensure!(reason.contains(sentence), "{event}");
    }
    let status = mirror::status(eve, "data")?;
    let leg = &status["legs"][1];
    ensure!(leg["state"] == "out-of-sync" && leg["reason"] == sentence, "{status}");
    ensure!(leg["connects"] == 0 && leg["resyncs"] == 0, "{status}");
    // The source is in service all the same.
    Workload::start(eve, "/dev/netraid0", Plan::new(1, 256).count(64))?.finish(SOON)?;
    let after = adam.disk("vdd")?.read(0, adam.disk("vdd")?.size())?;
    ensure!(before == after, "the refused disk was written to");
    Ok(())
}

/// Covers: S117.
fn a_target_disk_of_the_same_size_or_larger_mirrors_the_size_of_the_source(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let tail = vec![0xa5; 1 << 20];
    for (source, target) in [("vdb", "vdc"), ("vdb", "vde")] {
        let (from, to) = (eve.disk(source)?, adam.disk(target)?);
        adam.sh(&format!("blockdev --flushbufs /dev/{target}")).ok()?;
        if to.size() > from.size() {
            to.write(from.size(), &tail)?;
        }
        eve.ctl(&format!("create data --disk /dev/{source}")).ok()?;
        adam.ctl(&format!("join data --disk /dev/{target} --yes")).ok()?;
        eve.ctl(&format!("extend data --to {} --yes --wait=60", adam.ip()))
            .ok()?;
        Workload::start(eve, "/dev/netraid0", Plan::new(2, 1024).count(100))?.finish(SOON)?;
        let size = eve.sh("blockdev --getsize64 /dev/netraid0").ok()?;
        ensure!(size.trim() == from.size().to_string(), "{size}");
        let status = mirror::status(adam, "data")?;
        ensure!(status["size"] == from.size(), "{status}");
        let differ = from.differences(to, from.size(), 65536)?;
        ensure!(differ.is_empty(), "these chunks differ: {differ:?}");
        for node in [eve, adam] {
            node.ctl("delete data").ok()?;
        }
    }
    // What lies behind the end of the mirror is none of its business.
    let vde = adam.disk("vde")?;
    ensure!(vde.read(eve.disk("vdb")?.size(), tail.len() as u64)? == tail);
    Ok(())
}

/// Makes /dev/mapper/disk of `disk`, with a number of its own.
fn put_in(node: &Node, disk: &str, number: &str) -> Result<()> {
    let table = format!("0 {} linear /dev/{disk} 0", node.disk(disk)?.size() / 512);
    // There is no udev to make the device node.
    node.sh(&format!(
        "dmsetup create disk --uuid {number} --table '{table}' && dmsetup mknodes disk"
    ))
    .ok()?;
    Ok(())
}

/// What is remembered of one disk is not believed of another.
///
/// Covers: S333.
fn a_disk_that_was_replaced_by_one_of_the_same_size_is_refused_and_stays_as_it_is(cluster: &Cluster) -> Result<()> {
    let eve = cluster.node(0);
    put_in(eve, "vdb", "one")?;
    eve.ctl("create data --disk /dev/mapper/disk").ok()?;
    eve.sh("echo mine > /dev/netraid0 && sync").ok()?;
    for (out, back) in [("down data", "up data"), ("stop data", "start data")] {
        eve.ctl(out).ok()?;
        eve.sh("dmsetup remove --retry disk").ok()?;
        put_in(eve, "vdc", "two")?;
        let content = eve.disk("vdc")?.sha256(64 * MIB)?;
        refused(
            eve,
            back,
            &[
                "is not the disk it was",
                "uuid:one",
                "uuid:two",
                "netraid-ctl delete data",
            ],
        )?;
        eve.sh("test ! -e /dev/netraid0").ok()?;
        ensure!(eve.disk("vdc")?.sha256(64 * MIB)? == content);
        // The old one is still believed.
        eve.sh("dmsetup remove --retry disk").ok()?;
        put_in(eve, "vdb", "one")?;
        eve.ctl(back).ok()?;
        eve.sh("test \"$(head -c4 /dev/netraid0)\" = mine").ok()?;
    }
    eve.ctl("delete data").ok()?;
    eve.sh("dmsetup remove --retry disk").ok()?;
    Ok(())
}
