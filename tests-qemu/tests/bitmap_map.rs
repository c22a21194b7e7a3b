// SPDX-License-Identifier: GPL-2.0
//! The bitmap: what is marked in it, where it is, and how it is shown.

use anyhow::{ensure, Result};
use tests_qemu::Cluster;

use crate::{
    harness::{case, Case},
    mirror::{refused, status, Mirror, QUICK},
    persist::{self, chunks, copied, metadata, number, write_chunks, CHUNK, DEVICE},
};

pub(crate) const CASES: &[Case] = &[
    case!(a_chunk_written_with_the_link_cut_is_exactly_its_bit_on_the_disk),
    case!(each_machine_has_a_bitmap_of_its_own_and_shows_where),
    case!(a_device_that_is_no_whole_number_of_chunks_has_one_bit_more),
    case!(without_a_target_the_bitmap_remembers_what_was_written),
    case!(nine_chunks_written_in_a_pause_are_nine_bits_until_it_ends),
    case!(a_bitmap_serves_one_mirror),
    case!(a_stop_in_order_leaves_nothing_marked),
    case!(a_bitmap_at_the_end_of_the_disk_makes_the_mirror_smaller),
];

/// Covers: S25, S55.
fn a_chunk_written_with_the_link_cut_is_exactly_its_bit_on_the_disk(cluster: &Cluster) -> Result<()> {
    let mirror = persist::mapped(cluster)?;
    let (eve, adam) = cluster.pair();
    ensure!(metadata(eve)?.dirty(0).is_empty(), "{:?}", metadata(eve)?);
    cluster.cut(eve, adam);
    mirror.wait("out-of-sync")?;
    for written in [&[517_u64][..], &[517, 0, 1023], &[517, 0, 1023, 518]] {
        write_chunks(eve, written)?;
        let marked = metadata(eve)?;
        ensure!(*marked.dirty(0) == chunks(written), "{:?}", marked.dirty(0));
        ensure!(marked.intent().is_subset(marked.dirty(0)), "{:?}", marked.intent());
        ensure!(mirror.count("dirty_chunks")? == written.len() as u64);
        ensure!(persist::differing(&mirror)? == chunks(written));
    }
    let before = mirror.count("resynced_bytes")?;
    cluster.restore_links();
    copied(&mirror, before, 4 * CHUNK)?;
    // What is clean again need not be so on the disk at once, but a stop in order leaves nothing behind.
    eve.ctl("down data").ok()?;
    ensure!(
        metadata(eve)?.after_crash().is_empty(),
        "{:?}",
        metadata(eve)?.after_crash()
    );
    Ok(())
}

/// Covers: S57, S62, S68.
fn each_machine_has_a_bitmap_of_its_own_and_shows_where(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let made = eve.ctl("create data --disk /dev/vdb").ok()?;
    ensure!(made.contains("/var/lib/netraid/bitmap_data"), "{made}");
    adam.sh("mkdir -p /var/lib/netraid/x").ok()?;
    adam.ctl("join data --disk /dev/vdb --yes --bitmap /var/lib/netraid/x/bitmap_ext3")
        .ok()?;
    let mirror = Mirror {
        source: eve,
        target: adam,
        disk: "vdb",
    };
    mirror.extend()?;
    mirror.wait("fully-operational")?;
    for (node, path) in [
        (eve, "/var/lib/netraid/bitmap_data"),
        (adam, "/var/lib/netraid/x/bitmap_ext3"),
    ] {
        let state = status(node, "data")?;
        ensure!(
            state["meta_path"] == path && state["chunk_size"] == CHUNK && state["chunks"] == 1024,
            "{state}"
        );
        let detail = node.ctl("status data --detail").ok()?;
        ensure!(detail.contains(path) && detail.contains("64"), "{detail}");
        let examined = node.ctl(&format!("bitmap -X {path}")).ok()?;
        ensure!(examined.contains("1024"), "{examined}");
        node.sh(&format!("test $(stat -c %a {path}) = 600")).ok()?;
    }
    Ok(())
}

/// Covers: S61, S63.
fn a_device_that_is_no_whole_number_of_chunks_has_one_bit_more(cluster: &Cluster) -> Result<()> {
    let eve = cluster.node(0);
    eve.sh("echo 2048,626472 | sfdisk -q /dev/vde && test $(blockdev --getsize64 /dev/vde1) = $((313236 * 1024))")
        .ok()?;
    eve.ctl("create data --disk /dev/vde1 --chunk-size 64K --bitmap /dev/vdf")
        .ok()?;
    ensure!(number(eve, "chunks")? == 4895);
    eve.ctl("stop data").ok()?;
    eve.ctl("bitmap -d /dev/vdf").ok()?;
    let examined = eve.ctl("bitmap -X /dev/vdf").ok()?;
    ensure!(
        examined.contains("4895 bits (chunks), 4895 dirty (100.0%)"),
        "{examined}"
    );
    eve.ctl("start data").ok()?;
    let shown = eve.ctl("status data").ok()?;
    ensure!(
        shown.contains("Bitmap: 4895 bits (chunks), 4895 dirty (100.0%)"),
        "{shown}"
    );
    Ok(())
}

/// Covers: S22, S64.
fn without_a_target_the_bitmap_remembers_what_was_written(cluster: &Cluster) -> Result<()> {
    let eve = cluster.node(0);
    eve.ctl("create data --disk /dev/vdb --bitmap /dev/vdf").ok()?;
    eve.ctl("stop data").ok()?;
    eve.ctl("bitmap -c /dev/vdf --yes").ok()?;
    eve.ctl("start data").ok()?;
    let written = [1, 2, 3, 500, 800, 801, 1023];
    write_chunks(eve, &written)?;
    ensure!(number(eve, "dirty_chunks")? == 7, "{}", status(eve, "data")?);
    ensure!(*metadata(eve)?.dirty(0) == chunks(&written));
    eve.ctl("stop data").ok()?;
    let examined = eve.ctl("bitmap -X /dev/vdf").ok()?;
    ensure!(examined.contains("1024 bits (chunks), 7 dirty (0.7%)"), "{examined}");
    // And once more, without anything that clears it.
    eve.ctl("start data").ok()?;
    write_chunks(eve, &[1, 4])?;
    eve.kill9()?;
    ensure!(*metadata(eve)?.dirty(0) == chunks(&[1, 2, 3, 4, 500, 800, 801, 1023]));
    Ok(())
}

/// Covers: S65.
fn nine_chunks_written_in_a_pause_are_nine_bits_until_it_ends(cluster: &Cluster) -> Result<()> {
    let mirror = persist::mapped(cluster)?;
    let before = mirror.count("resynced_bytes")?;
    mirror.source.ctl("pause data").ok()?;
    let written = [7, 8, 9, 100, 101, 512, 700, 1000, 1023];
    write_chunks(mirror.source, &written)?;
    ensure!(mirror.count("dirty_chunks")? == 9);
    let shown = mirror.source.ctl("status data").ok()?;
    ensure!(shown.contains("1024 bits (chunks), 9 dirty (0.9%)"), "{shown}");
    ensure!(*metadata(mirror.source)?.dirty(0) == chunks(&written));
    mirror.source.ctl("resume data").ok()?;
    copied(&mirror, before, 9 * CHUNK)
}

/// Covers: S67, S278.
fn a_bitmap_serves_one_mirror(cluster: &Cluster) -> Result<()> {
    let eve = cluster.node(0);
    for bitmap in ["/dev/vdf", "/var/lib/netraid/own"] {
        eve.ctl(&format!("create data --disk /dev/vdb --bitmap {bitmap}"))
            .ok()?;
        let before = eve.sh(&format!("sha256sum < {bitmap}")).ok()?;
        eve.sh(&format!("ln -sf {bitmap} /tmp/same")).ok()?;
        for same in [bitmap, "/tmp/same"] {
            for command in ["create", "join"] {
                let yes = if command == "join" { "--yes --listen :7999" } else { "" };
                refused(
                    eve,
                    &format!("{command} more --disk /dev/vdc {yes} --bitmap {same}"),
                    &["more", "data"],
                )?;
            }
        }
        // Out of service, it still belongs to the first one.
        eve.ctl("stop data").ok()?;
        let offline = eve
            .ctl(&format!("create more --disk /dev/vdc --bitmap {bitmap}"))
            .exits(2)?;
        ensure!(offline.stderr.contains(bitmap), "{offline:?}");
        eve.ctl("start data").ok()?;
        let list = eve.ctl("list").ok()?;
        ensure!(list.contains("data") && !list.contains("more"), "{list}");
        eve.ctl("stop data").ok()?;
        ensure!(before.len() > 64, "{before}");
        eve.ctl("delete data").ok()?;
    }
    Ok(())
}

/// Covers: S264.
fn a_bitmap_at_the_end_of_the_disk_makes_the_mirror_smaller(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let internal = format!("--bitmap internal {QUICK}");
    // It takes what it needs from a disk whose content is not wanted.
    let refusal = eve.ctl("create data --disk /dev/vdb --bitmap internal").exits(1)?;
    ensure!(refusal.stderr.contains("--new"), "{refusal:?}");
    let mirror = Mirror::create_on(eve, adam, "vdb", format!("--new {internal}"), &internal)?;
    // Superblocks and sixteen maps of one block each.
    let size = persist::SIZE - 18 * 4096;
    let seen = eve.sh(&format!("blockdev --getsize64 {DEVICE}")).ok()?;
    ensure!(seen.trim() == size.to_string(), "{seen}");
    write_chunks(eve, &[0, 77])?;
    mirror.extend_with(QUICK)?;
    mirror.wait("fully-operational")?;
    let same = || -> Result<()> {
        let differ = eve.disk("vdb")?.differences(adam.disk("vdb")?, size, CHUNK)?;
        ensure!(differ.is_empty(), "{differ:?}");
        Ok(())
    };
    cluster.cut(eve, adam);
    mirror.wait("out-of-sync")?;
    let before = mirror.count("resynced_bytes")?;
    // The last sector is the mirror's, what lies behind it is not.
    eve.sh(&format!(
        "head -c 512 /dev/urandom | dd of={DEVICE} bs=512 seek={} oflag=direct iflag=fullblock status=none",
        size / 512 - 1
    ))
    .ok()?;
    cluster.restore_links();
    mirror.wait("fully-operational")?;
    // The last chunk ends with the mirror.
    let last = size - (size - 1) / CHUNK * CHUNK;
    ensure!(mirror.count("resynced_bytes")? - before == last, "{}", mirror.leg()?);
    same()?;
    for node in [eve, adam] {
        persist::reload(node)?;
    }
    mirror.wait("fully-operational")?;
    ensure!(mirror.count("resynced_bytes")? == 0, "{}", mirror.leg()?);
    same()
}

/// Wherever the metadata is.
fn a_stop_in_order_leaves_nothing_marked(cluster: &Cluster) -> Result<()> {
    for (options, path) in [(persist::MAPPED, "/dev/vdf"), ("", "/var/lib/netraid/bitmap_data")] {
        let mirror = persist::in_sync(cluster, options)?;
        let (eve, adam) = cluster.pair();
        for (round, node) in (0..).zip([eve, adam, eve, eve]) {
            // What a resync has copied just now as well as what was written just now.
            let before = mirror.count("resynced_bytes")?;
            cluster.cut(eve, adam);
            mirror.wait("out-of-sync")?;
            write_chunks(eve, &[round, 500])?;
            cluster.restore_links();
            copied(&mirror, before, 2 * CHUNK)?;
            write_chunks(eve, &[700])?;
            let before = mirror.count("resynced_bytes")?;
            node.ctl("down data").ok()?;
            let examined = node.ctl(&format!("bitmap -X {path}")).ok()?;
            let clean = examined.contains("1024 bits (chunks), 0 dirty (0.0%)");
            ensure!(clean, "{}: {examined}", node.name());
            node.ctl("up data").ok()?;
            mirror.wait("fully-operational")?;
            let bytes = mirror.count("resynced_bytes")?;
            // A target that was away may have lost what it had not yet on its disk, as far as the source knows.
            let known = if node.name() == eve.name() {
                0..=0
            } else {
                before..=before + 3 * CHUNK
            };
            ensure!(
                known.contains(&bytes),
                "{}: {bytes}, not {known:?}: {}",
                node.name(),
                mirror.leg()?
            );
        }
        for node in [eve, adam] {
            node.ctl("delete data").ok()?;
            node.sh("blkdiscard --zeroout --force /dev/vdf").ok()?;
        }
    }
    Ok(())
}
