// SPDX-License-Identifier: GPL-2.0
//! What is copied to a target that is new, and what need not be.

use anyhow::{ensure, Result};
use tests_qemu::Cluster;

use crate::{
    harness::{case, Case, SOON},
    mirror::{Mirror, QUICK},
    persist::{self, comes_back, copied, turned, write_chunks, CHUNK, DEVICE, SIZE},
};

pub(crate) const CASES: &[Case] = &[
    case!(a_new_file_system_is_extended_without_a_full_copy),
    case!(a_new_mirror_copies_what_was_ever_written_over_reboots),
    case!(a_new_mirror_that_was_a_target_copies_what_its_source_wrote),
    case!(an_existing_file_system_is_copied_whole),
    case!(a_target_that_leaves_and_joins_again_gets_everything),
];

/// Makes a file system with files; a checksum of them is in /tmp/sums there.
fn filled(node: &tests_qemu::Node, mkfs: &str) -> Result<String> {
    node.sh(&format!(
        "{mkfs} {DEVICE} && mount {DEVICE} /mnt && cp -a /usr/share/zoneinfo/Europe /etc/services /mnt && umount /mnt"
    ))
    .ok()?;
    sums(node)
}

fn sums(node: &tests_qemu::Node) -> Result<String> {
    node.sh(&format!(
        "mount -o ro,noload {DEVICE} /mnt && cd /mnt && find . -type f | sort | xargs md5sum; cd / && umount /mnt"
    ))
    .ok()
}

/// Covers: S66, S178.
fn a_new_file_system_is_extended_without_a_full_copy(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    // What was there before is not wanted.
    for node in [eve, adam] {
        node.sh("head -c 64M /dev/urandom > /dev/vdb; sync").ok()?;
    }
    let mirror = Mirror::create_on(eve, adam, "vdb", format!("--new {QUICK}"), QUICK)?;
    let sums = filled(eve, "mkfs.ext4 -q")?;
    mirror.extend_with(QUICK)?;
    mirror.wait("fully-operational")?;
    let leg = mirror.leg()?;
    let bytes = mirror.count("resynced_bytes")?;
    println!("{} KiB of {} were copied", bytes >> 10, SIZE >> 10);
    ensure!(bytes > 0 && bytes < SIZE / 3 && leg["resync_full"] == false, "{leg}");
    ensure!(
        mirror.count("skipped_bytes")? == SIZE - mirror.count("resync_total")?,
        "{leg}"
    );
    // Unwritten chunks differ, and that is as it should be; the file system is whole.
    eve.ctl("pause data").ok()?;
    adam.sh(&format!("fsck.ext4 -fn {DEVICE}")).ok()?;
    ensure!(self::sums(adam)? == sums, "the files differ");
    eve.ctl("resume data").ok()?;
    mirror.wait("fully-operational")?;
    // What is written later gets there like everything.
    eve.sh(&format!("mount {DEVICE} /mnt && cp /bin/ls /mnt && umount /mnt"))
        .ok()?;
    eve.kill9()?;
    adam.ctl("promote data").ok()?;
    adam.sh(&format!(
        "fsck.ext4 -fn {DEVICE} && mount -o ro {DEVICE} /mnt && cmp /bin/ls /mnt/ls && umount /mnt"
    ))
    .ok()?;
    // And back, without a full copy.
    comes_back(eve)?;
    let back = turned(&mirror);
    back.wait("fully-operational")?;
    ensure!(back.leg()?["resync_full"] == false, "{}", back.leg()?);
    Ok(())
}

/// Covers: S178.
fn a_new_mirror_copies_what_was_ever_written_over_reboots(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let mirror = Mirror::create_on(eve, adam, "vdb", format!("--new {} {QUICK}", persist::MAPPED), QUICK)?;
    write_chunks(eve, &[1, 2, 3])?;
    persist::reload(eve)?;
    write_chunks(eve, &[3, 4])?;
    eve.kill9()?;
    comes_back(eve)?;
    write_chunks(eve, &[1023])?;
    mirror.extend_with(QUICK)?;
    copied(&mirror, 0, 5 * CHUNK)?;
    // Another target later gets what the first one got.
    eve.ctl("unextend data").ok()?;
    adam.ctl("delete data").ok()?;
    adam.disk("vdc")?.wipe()?;
    adam.ctl(&format!("join data --disk /dev/vdc --yes {QUICK}")).ok()?;
    write_chunks(eve, &[9])?;
    mirror.extend_with(QUICK)?;
    mirror.wait("fully-operational")?;
    ensure!(mirror.count("resynced_bytes")? == 6 * CHUNK, "{}", mirror.leg()?);
    let differ = eve.disk("vdb")?.differences(adam.disk("vdc")?, SIZE, CHUNK)?;
    ensure!(differ.is_empty(), "{differ:?}");
    Ok(())
}

/// What another machine wrote here is not in the map of what was written by this one.
///
/// Covers: S90, S178.
fn a_new_mirror_that_was_a_target_copies_what_its_source_wrote(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let mirror = Mirror::create_on(eve, adam, "vdb", format!("--new {QUICK}"), QUICK)?;
    write_chunks(eve, &[1, 2])?;
    mirror.extend_with(QUICK)?;
    copied(&mirror, 0, 2 * CHUNK)?;
    adam.ctl("switchover data").ok()?;
    let back = turned(&mirror);
    back.wait("fully-operational")?;
    write_chunks(adam, &[700, 701])?;
    eve.ctl("switchover data").ok()?;
    mirror.wait("fully-operational")?;
    eve.ctl("unextend data").ok()?;
    adam.ctl("delete data").ok()?;
    adam.ctl(&format!("join data --disk /dev/vdc --yes {QUICK}")).ok()?;
    mirror.extend_with(QUICK)?;
    mirror.wait("fully-operational")?;
    let differ = eve.disk("vdb")?.differences(adam.disk("vdc")?, SIZE, CHUNK)?;
    ensure!(differ.is_empty(), "{differ:?}");
    Ok(())
}

/// Covers: S34, S180.
fn an_existing_file_system_is_copied_whole(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    eve.sh("mkfs.ext4 -q /dev/vdb && mount /dev/vdb /mnt && cp /etc/services /mnt && umount /mnt")
        .ok()?;
    let mirror = Mirror::create_on(eve, adam, "vdb", format!("--existing {QUICK}"), QUICK)?;
    eve.sh(&format!(
        "mount {DEVICE} /mnt && cmp /etc/services /mnt/services && umount /mnt"
    ))
    .ok()?;
    mirror.extend_with(QUICK)?;
    copied(&mirror, 0, SIZE)
}

/// Covers: S66.
fn a_target_that_leaves_and_joins_again_gets_everything(cluster: &Cluster) -> Result<()> {
    let mirror = persist::persistent(cluster)?;
    let mut events = mirror.source.events()?;
    mirror.target.ctl("delete data").ok()?;
    mirror.wait("out-of-sync")?;
    // Its bitmap went with it, so nothing is known of the disk.
    mirror.target.sh("test ! -e /var/lib/netraid/bitmap_data").ok()?;
    mirror
        .target
        .ctl(&format!("join data --disk /dev/vdb --yes {QUICK}"))
        .ok()?;
    events.wait_for("the end of the resync", SOON, |event| event["event"] == "resync-done")?;
    copied(&mirror, SIZE, SIZE)
}
