// SPDX-License-Identifier: GPL-2.0
//! The block device of a mirror, and what it is made of.

use anyhow::{ensure, Result};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tests_qemu::{Cluster, Node};

use crate::{
    data,
    harness::{case, Case},
    mirror::{status, Mirror},
    persist::{number, until},
};

pub(crate) const CASES: &[Case] = &[
    case!(the_device_tells_its_abilities_honestly).smoke(),
    case!(a_disk_that_cannot_discard_makes_a_device_that_cannot),
    case!(the_legs_are_the_disk_and_the_target_and_reads_stay_local),
    case!(the_device_is_found_where_disks_are_found),
    case!(the_source_connects_to_the_target),
    case!(a_mirror_without_a_target_counts_as_degraded),
    case!(a_write_outside_of_the_mirror_is_impossible),
    case!(reads_of_any_size_through_a_partition_are_right_and_counted).debug(),
];

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An attribute of the queue of a block device.
fn queue(node: &Node, device: &str, name: &str) -> Result<String> {
    let text = node.sh(&format!("cat /sys/block/{device}/queue/{name}")).ok()?;
    Ok(text.trim().to_owned())
}

/// Covers: S5.
fn the_device_tells_its_abilities_honestly(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(0);
    node.ctl("create data --disk /dev/vdb").ok()?;
    for (name, value) in [
        ("write_cache", "write back"),
        ("fua", "1"),
        ("stable_writes", "1"),
        ("zoned", "none"),
        ("logical_block_size", "512"),
    ] {
        let found = queue(node, "netraid0", name)?;
        ensure!(found == value, "{name} is {found}");
    }
    for name in ["discard_max_bytes", "write_zeroes_max_bytes", "discard_granularity"] {
        let (above, below) = (queue(node, "netraid0", name)?, queue(node, "vdb", name)?);
        let (above, below): (u64, u64) = (above.parse()?, below.parse()?);
        ensure!(
            above > 0 && above <= below,
            "{name} is {above}, that of the disk {below}"
        );
    }
    // One bio is one message, and no message carries more than 1 MiB.
    ensure!(queue(node, "netraid0", "max_hw_sectors_kb")?.parse::<u32>()? <= 1024);
    ensure!(node.sh("blockdev --getsize64 /dev/netraid0").ok()?.trim() == "67108864");
    Ok(())
}

/// Covers: S5.
fn a_disk_that_cannot_discard_makes_a_device_that_cannot(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(0);
    let plain = data::plain_disk(node)?;
    node.ctl(&format!("create data --disk {plain}")).ok()?;
    for name in ["discard_max_bytes", "discard_granularity", "write_zeroes_max_bytes"] {
        let found = queue(node, "netraid0", name)?;
        ensure!(found == "0", "{name} is {found}");
    }
    let refused = node.sh("blkdiscard -o 0 -l 1M /dev/netraid0").run()?;
    ensure!(
        refused.code != 0 && refused.stderr.contains("not supported"),
        "{refused:?}"
    );
    // Zeroes are written then, by the kernel.
    node.sh("blkdiscard -z -o 0 -l 1M /dev/netraid0").ok()?;
    node.ctl("delete data").ok()?;
    node.sh("dmsetup remove plain").ok()?;
    Ok(())
}

/// Covers: S1, S15, S104.
fn the_legs_are_the_disk_and_the_target_and_reads_stay_local(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    eve.sh("head -c 16M /dev/urandom > /dev/vdb; sync").ok()?;
    // So rarely that none falls into the test.
    let rare = "--heartbeat 60000 --timeout 600000";
    let mirror = Mirror::create_on(eve, adam, "vdb", "", rare)?;
    mirror.extend_with(rare)?;
    mirror.wait("fully-operational")?;
    // The target's disk is flushed a last time.
    until("everything to be durable", || Ok(number(eve, "intent_chunks")? == 0))?;
    let before = mirror.status()?;
    let legs = before["legs"].as_array().map(Vec::as_slice).unwrap_or_default();
    ensure!(legs.len() == 2, "{before}");
    ensure!(
        legs[0]["id"] == 0 && legs[0]["kind"] == "local" && legs[0]["disk"] == "/dev/vdb",
        "{before}"
    );
    ensure!(
        legs[1]["id"] == 1 && legs[1]["kind"] == "network" && legs[1]["to"] == "adam",
        "{before}"
    );
    ensure!(legs[1]["address"] == adam.ip() && legs[1]["port"] == 7900, "{before}");

    let read = eve
        .sh("dd if=/dev/netraid0 bs=1M count=16 iflag=direct status=none | sha256sum")
        .ok()?;
    ensure!(read.starts_with(&adam.disk("vdb")?.sha256(16 << 20)?), "{read}");
    let after = mirror.leg()?;
    for name in ["sent_bytes", "received_bytes"] {
        ensure!(
            after[name] == legs[1][name],
            "{name} grew while reading: {} {}",
            legs[1],
            after
        );
    }
    eve.sh("dd if=/dev/zero of=/dev/netraid0 bs=4K count=1 oflag=direct")
        .ok()?;
    let grown = mirror.leg()?;
    for name in ["sent_bytes", "received_bytes"] {
        ensure!(
            grown[name].as_u64() > after[name].as_u64(),
            "{name} does not count: {grown}"
        );
    }
    Ok(())
}

/// Covers: S16.
fn the_device_is_found_where_disks_are_found(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(0);
    node.ctl("create data --disk /dev/vdb").ok()?;
    node.sh("mkfs.ext4 -q /dev/netraid0 && mkdir -p /mnt && mount /dev/netraid0 /mnt && echo here > /mnt/file")
        .ok()?;
    let list: Value = serde_json::from_str(&node.sh("lsblk --json --bytes /dev/netraid0").ok()?)?;
    let disk = &list["blockdevices"][0];
    ensure!(
        disk["name"] == "netraid0" && disk["size"] == 64 << 20 && disk["type"] == "disk",
        "{list}"
    );
    ensure!(disk["mountpoints"][0] == "/mnt", "{list}");
    let row = node.sh("awk '$4 == \"netraid0\" { print $3 }' /proc/partitions").ok()?;
    ensure!(row == "65536\n", "{row}");
    ensure!(node
        .sh("grep /mnt /proc/mounts")
        .ok()?
        .starts_with("/dev/netraid0 /mnt ext4 rw"));
    // While it is mounted it is not taken away.
    let refused = node.ctl("stop data").exits(2)?;
    ensure!(
        refused
            .stderr
            .contains("/dev/netraid0 is in use (1 open); unmount it first"),
        "{refused:?}"
    );
    node.sh("umount /mnt").ok()?;
    node.ctl("stop data").ok()?;
    node.sh("test ! -e /dev/netraid0 && ! grep netraid0 /proc/partitions")
        .ok()?;
    Ok(())
}

/// The disk gets the application's own bios, which come back as they were: to the partition that was read, also where a read
/// is larger than any one of the disk. Covers: S1.
fn reads_of_any_size_through_a_partition_are_right_and_counted(cluster: &Cluster) -> Result<()> {
    const PART: &str = "/dev/netraid0p1";
    const FIRST: u64 = 1 << 20;
    const LENGTH: u64 = 32 << 20;
    let node = cluster.node(0);
    node.ctl("create data --disk /dev/vdb").ok()?;
    node.sh(&format!(
        "printf '1M,32M\\n' | sfdisk -q --no-tell-kernel /dev/netraid0 && blockdev --rereadpt /dev/netraid0 && \
         head -c 32M /dev/urandom | dd of={PART} bs=1M iflag=fullblock oflag=direct status=none"
    ))
    .ok()?;
    let disk = node.disk("vdb")?.read(FIRST, LENGTH)?;
    let holds = hex(&Sha256::digest(&disk));
    for how in [
        "bs=4k iflag=direct",
        "bs=512 count=4k iflag=direct",
        "bs=8M iflag=direct",
        "bs=64k",
    ] {
        let told = node.sh(&format!("dd if={PART} {how} status=none | sha256sum")).ok()?;
        let read = if how.contains("count") { 4096 * 512 } else { disk.len() };
        ensure!(told.starts_with(&hex(&Sha256::digest(&disk[..read]))), "{how}: {told}");
    }
    // Several at a time, some of them larger than what the disk takes at once.
    node.sh(&format!(
        "fio --name=reads --filename={PART} --direct=1 --ioengine=libaio --rw=randread --bsrange=512-4M --iodepth=32 \
         --runtime=5 --time_based --norandommap"
    ))
    .ok()?;
    ensure!(node.sh(&format!("sha256sum {PART}")).ok()?.starts_with(&holds));
    for device in ["netraid0/netraid0p1", "netraid0", "vdb"] {
        let stat = node.sh(&format!("cat /sys/block/{device}/stat")).ok()?;
        let numbers: Vec<u64> = stat.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let (reads, sectors, under_way) = (numbers[0], numbers[2], numbers[8]);
        // Three times all of it, and what fio read.
        ensure!(
            reads > 32 << 1 && sectors > 3 * LENGTH / 512 && under_way == 0,
            "{device}: {stat}"
        );
    }
    Ok(())
}

/// Covers: S19, S21.
fn the_source_connects_to_the_target(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let ports = |node: &Node, filter: &str| node.sh(&format!("ss -tnH {filter}")).ok();
    let mirror = Mirror::create(eve, adam)?;
    ensure!(ports(adam, "-l sport = :7900")?.lines().count() == 1);
    // Who asks for the source is answered there, too.
    ensure!(ports(eve, "-l sport = :7900")?.lines().count() == 1);
    mirror.extend()?;
    mirror.wait("fully-operational")?;
    let (on_source, on_target) = (ports(eve, "dport = :7900")?, ports(adam, "sport = :7900")?);
    ensure!(
        on_source.lines().count() == 1 && on_target.lines().count() == 1,
        "{on_source}{on_target}"
    );
    ensure!(on_target.contains(&format!("{}]:", eve.ip())), "{on_target}");
    ensure!(
        ports(eve, "sport = :7900")?.is_empty(),
        "the source uses the port of the target"
    );

    // After the roles have changed the other one connects.
    eve.ctl("demote data").ok()?;
    adam.ctl("promote data").ok()?;
    adam.ctl("wait data --for fully-operational").ok()?;
    ensure!(ports(adam, "dport = :7900")?.contains(&eve.ip()));
    Ok(())
}

/// Covers: S22.
fn a_mirror_without_a_target_counts_as_degraded(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(0);
    node.ctl("create data --disk /dev/vdb").ok()?;
    let told = node.ctl("status data --check").exits(3)?;
    ensure!(told.text().contains("no target"), "{told:?}");
    node.sh("echo local | dd of=/dev/netraid0 bs=512 conv=sync oflag=direct")
        .ok()?;
    ensure!(node.disk("vdb")?.read(0, 6)? == b"local\n");
    // Also in the middle of the disk.
    node.sh("echo more | dd of=/dev/netraid0 bs=512 seek=77777 conv=sync oflag=direct")
        .ok()?;
    ensure!(node.disk("vdb")?.read(77777 * 512, 5)? == b"more\n");
    let now = status(node, "data")?;
    ensure!(now["operational"] == false && now["device"] == "/dev/netraid0", "{now}");
    Ok(())
}

/// Covers: S28, S117.
fn a_write_outside_of_the_mirror_is_impossible(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    // The target gives a larger disk, of which the mirror uses only the beginning.
    let (size, all) = (64 << 20, 320 << 20);
    adam.disk("vde")?
        .write(size, &vec![b'x'; usize::try_from(all - size)?])?;
    eve.ctl("create data --disk /dev/vdb").ok()?;
    adam.ctl("join data --disk /dev/vde --yes").ok()?;
    eve.ctl(&format!("extend data --to {} --yes --wait=60", adam.ip()))
        .ok()?;
    // A byte more than fits, through the page cache and past it.
    let full = eve
        .sh("head -c 4097 /dev/urandom | dd of=/dev/netraid0 bs=4097 oflag=seek_bytes seek=67104768")
        .exits(1)?;
    ensure!(full.stderr.contains("No space left on device"), "{full:?}");
    eve.sh("dd if=/dev/zero of=/dev/netraid0 bs=4K seek=16384 count=1 oflag=direct")
        .exits(1)?;
    eve.sh("blkdiscard /dev/netraid0 && sync").ok()?;
    ensure!(eve.disk("vdb")?.differences(adam.disk("vde")?, size, 65536)?.is_empty());
    let rest = adam.disk("vde")?.read(size, all - size)?;
    ensure!(
        rest.iter().all(|&byte| byte == b'x'),
        "the rest of the target's disk was touched"
    );
    Ok(())
}
