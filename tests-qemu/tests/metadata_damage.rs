// SPDX-License-Identifier: GPL-2.0
//! Metadata that was damaged while nobody looked: what it said is doubted, never believed.

use anyhow::{ensure, Context as _, Result};
use tests_qemu::{
    metadata::{flip, listed},
    Chunks, Cluster, Node,
};

use crate::{
    dice::Dice,
    harness::{case, Case},
    mirror::{refused, Mirror, QUICK},
    persist::{self, metadata, stands, write_chunks, DEVICE, MAPPED, SIZE},
};

pub(crate) const CASES: &[Case] = &[
    case!(one_damaged_superblock_does_no_harm),
    case!(two_damaged_superblocks_are_refused),
    case!(a_damaged_sector_of_a_map_dirties_its_chunks_alone).smoke(),
    case!(damage_anywhere_is_refused_or_costs_copying_and_nothing_else),
    case!(a_damaged_target_gets_what_it_may_miss),
];

/// A small chunk, so that a map has several sectors.
const SMALL: u64 = 4096;
/// Chunks that a sector of a map describes.
const SECTOR: u64 = 3840;

/// A mirror with small chunks in sync, with its metadata where the host can reach it.
fn with_small_chunks(cluster: &Cluster) -> Result<Mirror<'_>> {
    let (eve, adam) = cluster.pair();
    let options = format!("{MAPPED} {QUICK}");
    let mirror = Mirror::create_on(eve, adam, "vdb", format!("{options} --chunk-size 4K"), &options)?;
    mirror.extend_with(QUICK)?;
    mirror.wait("fully-operational")?;
    Ok(mirror)
}

/// Writes to small chunks that the target misses, and takes the source down in order.
fn missed(cluster: &Cluster, mirror: &Mirror<'_>, numbers: &[u64]) -> Result<Chunks> {
    persist::settled(mirror.source)?;
    cluster.cut(mirror.source, mirror.target);
    mirror.wait("out-of-sync")?;
    let words: Vec<_> = numbers.iter().map(u64::to_string).collect();
    let scatter = format!("netraid-guest scatter {DEVICE} --size {SMALL} {}", words.join(" "));
    mirror.source.sh(&scatter).ok()?;
    mirror.source.ctl("down data").ok()?;
    cluster.restore_links();
    let marked = metadata(mirror.source)?.after_crash();
    ensure!(marked == persist::chunks(numbers), "{}", listed(&marked));
    Ok(marked)
}

/// The machine forgets what it read of its metadata disk, and the module is loaded anew.
fn unload(node: &Node) -> Result<()> {
    node.sh("netraid-ctl down --all; rmmod netraid && blockdev --flushbufs /dev/vdf")
        .ok()?;
    node.insmod()
}

fn copied_small(mirror: &Mirror<'_>, chunks: u64) -> Result<()> {
    mirror.wait("fully-operational")?;
    let bytes = mirror.count("resynced_bytes")?;
    ensure!(
        bytes == chunks * SMALL,
        "{} chunks were copied, not {chunks}: {}",
        bytes / SMALL,
        mirror.leg()?
    );
    mirror.same_disks()
}

fn one_damaged_superblock_does_no_harm(cluster: &Cluster) -> Result<()> {
    let mirror = with_small_chunks(cluster)?;
    let eve = mirror.source;
    for newer in [true, false] {
        let marked = missed(cluster, &mirror, &[1, 2, 3, 5000, 16383])?;
        unload(eve)?;
        let now = metadata(eve)?;
        let which = if newer { now.which } else { 1 - now.which } as u64;
        flip(eve.disk("vdf")?, which * 4096 + 300, 0x10)?;
        eve.ctl("up --all").ok()?;
        stands(eve, "source", &["last_owner"])?;
        mirror.wait("fully-operational")?;
        let bytes = mirror.count("resynced_bytes")?;
        // An older superblock counts as a crash, after which more may be marked, but not everything.
        ensure!(
            bytes >= marked.len() as u64 * SMALL && bytes < SIZE / 8,
            "newer {newer}: {bytes} bytes"
        );
        mirror.same_disks()?;
        // Both are whole again with the next changes.
        write_chunks(eve, &[9])?;
        for _ in 0..2 {
            eve.ctl("pause data").ok()?;
            eve.ctl("resume data").ok()?;
        }
        let [first, second] = tests_qemu::metadata::superblocks(eve.disk("vdf")?)?;
        ensure!(first.is_ok() && second.is_ok(), "{first:?} {second:?}");
        mirror.wait("fully-operational")?;
    }
    Ok(())
}

fn two_damaged_superblocks_are_refused(cluster: &Cluster) -> Result<()> {
    let mirror = with_small_chunks(cluster)?;
    let (eve, adam) = cluster.pair();
    missed(cluster, &mirror, &[7, 8])?;
    unload(eve)?;
    let disk = eve.disk("vdf")?;
    for which in [0, 1] {
        flip(disk, which * 4096 + 100, 0x01)?;
    }
    let (data, kept) = (eve.disk("vdb")?.sha256(SIZE)?, disk.read(0, disk.size())?);
    for command in ["up --all", "up data", "start data", "force data --yes --override"] {
        refused(eve, command, &["data", "/dev/vdf"])?;
    }
    eve.sh("test ! -e /dev/netraid0").ok()?;
    // Nothing was changed, so that what was wrong can still be put right.
    ensure!(eve.disk("vdb")?.sha256(SIZE)? == data && disk.read(0, disk.size())? == kept);
    for which in [0, 1] {
        flip(disk, which * 4096 + 100, 0x01)?;
    }
    eve.sh("blockdev --flushbufs /dev/vdf").ok()?;
    eve.ctl("up --all").ok()?;
    copied_small(&mirror, 2)?;
    stands(adam, "target", &[])
}

fn a_damaged_sector_of_a_map_dirties_its_chunks_alone(cluster: &Cluster) -> Result<()> {
    let mirror = with_small_chunks(cluster)?;
    let eve = mirror.source;
    // Two of these are in the sector that is damaged, the second one.
    missed(cluster, &mirror, &[1, 2, SECTOR, SECTOR + 9, 16383])?;
    unload(eve)?;
    let dirty = metadata(eve)?.map_offset(1, 0);
    flip(eve.disk("vdf")?, dirty + 512 + 77, 0x80)?;
    let marked = metadata(eve)?.after_crash();
    ensure!(marked.len() as u64 == SECTOR + 3, "{}", marked.len());
    eve.ctl("up --all").ok()?;
    copied_small(&mirror, SECTOR + 3)?;
    // The intent map was in order, and what is in it now is believed again.
    unload(eve)?;
    ensure!(metadata(eve)?.after_crash().is_empty());
    eve.ctl("up --all").ok()?;
    copied_small(&mirror, 0)
}

/// Covers: S74.
fn damage_anywhere_is_refused_or_costs_copying_and_nothing_else(cluster: &Cluster) -> Result<()> {
    let mut dice = Dice::new()?;
    let mirror = with_small_chunks(cluster)?;
    let eve = mirror.source;
    let disk = eve.disk("vdf")?;
    let (mut refusals, mut copies) = (0, 0);
    for round in 0..8 {
        let numbers: Vec<u64> = (0..6).map(|_| dice.between(0, 16384)).collect();
        let marked = missed(cluster, &mirror, &numbers)?;
        unload(eve)?;
        let length = metadata(eve)?.length();
        let before = disk.read(0, length)?;
        // Superblocks are a small part of it, and the more interesting one.
        let end = if round % 2 == 0 { 8192 } else { length };
        for _ in 0..dice.between(1, 4) {
            flip(disk, dice.between(0, end), 1 << dice.between(0, 8))?;
        }
        let output = persist::up(eve)?;
        if output.code == 2 {
            refusals += 1;
            ensure!(output.stderr.contains("data"), "{output:?}");
            unload(eve)?;
            disk.write(0, &before)?;
            eve.sh("blockdev --flushbufs /dev/vdf").ok()?;
            eve.ctl("up --all").ok()?;
        }
        mirror
            .wait("fully-operational")
            .with_context(|| format!("round {round}"))?;
        let bytes = mirror.count("resynced_bytes")?;
        ensure!(bytes >= marked.len() as u64 * SMALL, "round {round}: {bytes} bytes");
        copies += bytes;
        mirror.same_disks().with_context(|| format!("round {round}"))?;
    }
    println!("{refusals} refusals, {} chunks copied", copies / SMALL);
    Ok(())
}

fn a_damaged_target_gets_what_it_may_miss(cluster: &Cluster) -> Result<()> {
    let mirror = with_small_chunks(cluster)?;
    let (eve, adam) = cluster.pair();
    persist::settled(eve)?;
    // What it was given in a pause is in its own maps alone.
    eve.ctl("pause data").ok()?;
    adam.sh(&format!("netraid-guest scatter {DEVICE} --size {SMALL} 3 4 9000"))
        .ok()?;
    unload(adam)?;
    let known = metadata(adam)?;
    let before = known.after_crash();
    ensure!(before == persist::chunks(&[3, 4, 9000]), "{before:?}");
    for map in 0..3 {
        flip(adam.disk("vdf")?, known.map_offset(map, 0) + 512 * 2 + 40, 0x04)?;
    }
    let marked = metadata(adam)?.after_crash();
    ensure!(marked.is_superset(&before) && marked.len() > 3000, "{}", marked.len());
    adam.ctl("up --all").ok()?;
    eve.ctl("wait data --for connected").ok()?;
    let done = mirror.count("resynced_bytes")?;
    eve.ctl("resume data").ok()?;
    mirror.wait("fully-operational")?;
    let bytes = mirror.count("resynced_bytes")? - done;
    // All of them are compared, and those that differ copied.
    ensure!(bytes == before.len() as u64 * SMALL, "{bytes}, {} chunks", before.len());
    mirror.same_disks()
}
