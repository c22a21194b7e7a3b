// SPDX-License-Identifier: GPL-2.0
//! What is shown, of good metadata and of damaged.

use std::fs;

use netraid_core::meta::*;
use netraid_core::state::Role;

use super::{superblock, with_peers, Bench, CHUNKS, SIZE};

/// Covers: S61, S63, S73, S222.
#[test]
fn examine_shows_the_bitmap_and_the_mirror() {
    let bench = Bench::new(&with_peers(&[0]));
    bench.mark(1, &(0..4895).collect::<Vec<_>>());
    let ran = bench.run("-X");
    let expected = "\
Metadata in DIR/bitmap_data:
	Format: 1
	Mirror: data
	UUID: 11111111-1111-1111-1111-111111111111
	Node: eeeeeeee-eeee-eeee-eeee-eeeeeeeeeeee
	Priority: none
	Device: /dev/netraid0
	Role: Source
	Flags: last owner
	State: clean
	Generation: 000000000000c0de
	Older Generations: 000000000000000b 000000000000000a
	Events: 42
	Superblocks: both good, 0 is the newer one
	Device Size: 320753664 bytes (305.8M)
	Chunk: 64K
	Async Limit: 256
	Resync Rate: no limit
	Peer 1: adam
		Node: adadadad-adad-adad-adad-adadadadadad
		Address: 10.77.0.2:7900
		Priority: none
		Type: Synchronous
		Base: 000000000000000b
		Flags: everything to be copied
		Dirty: 4895 chunks
	In Use: 0 chunks when last written
Bitmap: 4895 bits (chunks), 4895 dirty (100.0%)
";
    let folder = bench.folder.path().to_str().unwrap();
    assert_eq!(
        (ran.out.replace(folder, "DIR").as_str(), ran.err.as_str()),
        (expected, "")
    );
    assert_eq!(ran.status, 0);
}

/// Covers: S73.
#[test]
fn examine_prints_the_same_as_json() {
    let mut changed = with_peers(&[0]);
    changed.flags = MetaFlags::SPLIT_BRAIN.with(MetaFlags::DATA_CORRUPT, true);
    changed.role = Role::Target;
    changed.resync_rate = 1 << 20;
    changed.async_limit = 2;
    let bench = Bench::new(&changed);
    bench.mark(MAP_INTENT, &[1, 2, 3]);
    bench.mark(1, &[3, 4894]);
    let found = bench.examine();
    assert_eq!(found["version"], 1);
    assert_eq!(found["format"], 1);
    assert_eq!(found["uuid"], "11111111-1111-1111-1111-111111111111");
    assert_eq!(found["role"], "target");
    assert_eq!(found["state"], "dirty");
    assert_eq!(found["flags"]["split_brain"], true);
    assert_eq!(found["flags"]["data_corrupt"], true);
    assert_eq!(found["flags"]["last_owner"], false);
    assert_eq!(found["generation"], "000000000000c0de");
    assert_eq!(found["history"][1], "000000000000000a");
    assert_eq!(found["sequence"], 42);
    assert_eq!(found["superblocks_good"], 2);
    assert_eq!(found["size"], SIZE);
    assert_eq!(found["chunk_size"], 65536);
    assert_eq!(found["async_limit"], 256);
    assert_eq!(found["resync_rate"], 1 << 20);
    assert_eq!(found["bitmap"]["chunks"], CHUNKS);
    assert_eq!(found["bitmap"]["dirty"], 4);
    assert_eq!(found["bitmap"]["in_use"], 3);
    assert_eq!(found["bitmap"]["sectors"], 4);
    assert_eq!(found["peers"][0]["slot"], 1);
    assert_eq!(found["peers"][0]["address"], "10.77.0.2");
    assert_eq!(found["peers"][0]["dirty_chunks"], 2);
    assert_eq!(found["peers"][0]["full"], true);
    let text = bench.run("-X").out;
    assert!(text.contains("\tFlags: data corrupt, split brain\n"), "{text}");
    assert!(
        text.contains("\tAsync Limit: 256 (stored as 2, which means that)\n"),
        "{text}"
    );
    assert!(text.contains("\tState: in use or stopped hard; "), "{text}");
}

#[test]
fn dirty_is_what_is_in_use_or_missing_on_any_peer() {
    let bench = Bench::new(&with_peers(&[0, 4]));
    bench.mark(MAP_INTENT, &[0, 100]);
    bench.mark(1, &[100, 101]);
    bench.mark(5, &[101, 102, 4894]);
    // Nobody is in these slots.
    bench.mark(2, &[7, 8, 9]);
    bench.mark(MAP_WRITTEN, &[10]);
    assert_eq!(bench.dirty(), 5);
}

#[test]
fn one_damaged_superblock_is_told_and_mended_by_the_next_change() {
    let bench = Bench::new(&superblock());
    bench.change(|bytes| bytes[777] ^= 1);
    let ran = bench.run("-X");
    assert!(ran.out.contains("\tSuperblocks: 1 is good, 0 is not\n"), "{}", ran.out);
    assert!(ran.out.contains("\tEvents: 41\n"));
    assert_eq!(bench.run("-a 10").status, 0);
    assert_eq!(bench.examine()["superblocks_good"], 2);
}

/// Covers: S74.
#[test]
fn no_changed_byte_makes_a_chunk_clean() {
    let bench = Bench::new(&with_peers(&[0]));
    bench.mark(1, &[0, 3839, 3840, 4894]);
    let whole = bench.bytes();
    // Every byte of the superblocks' first sectors, and some of every sector of the maps that count.
    let places = (0..512).chain((512..8192 + 2 * 4096).step_by(61));
    for at in places {
        bench.change(|bytes| bytes[at] ^= 0x10);
        let found = bench.examine();
        let damaged = found["bitmap"]["damaged_sectors"].as_u64().unwrap();
        let sector = (at.max(8192) - 8192) % 4096 / 512;
        let counts = at >= 8192 && sector < 2;
        assert_eq!(damaged, u64::from(counts), "byte {at}");
        let dirty = [4, 3842, 1057][if counts { sector + 1 } else { 0 }];
        assert_eq!(found["bitmap"]["dirty"], dirty, "byte {at}");
        assert_eq!(found["superblocks_good"], if at < 8192 { 1 } else { 2 }, "byte {at}");
        fs::write(bench.path(), &whole).unwrap();
    }
    bench.change(|bytes| {
        bytes[700] ^= 1;
        bytes[5000] ^= 1;
    });
    let error = bench.error("-X");
    assert!(error.contains("both copies of the metadata are damaged"), "{error}");
}

#[test]
fn a_mirror_without_maps_has_nothing_to_clean_or_dirty() {
    let mut without = superblock();
    without.flags = MetaFlags::NO_BITMAP;
    let bench = Bench::new(&without);
    bench.change(|bytes| bytes.truncate(8192));
    assert!(bench
        .run("-X")
        .out
        .ends_with("Bitmap: none, every resync copies everything\n"));
    assert!(bench.error("-d").contains("made without a bitmap"));
    assert_eq!(bench.run("-a 7").status, 0);
    let target = Superblock {
        size: 0,
        chunk_size: 0,
        mirror_uuid: [0; 16],
        current: 0,
        role: Role::Target,
        ..superblock()
    };
    let bench = Bench::new(&target);
    let out = bench.run("-X").out;
    assert!(
        out.contains("\tUUID: not known\n") && out.contains("\tDevice Size: not known\n"),
        "{out}"
    );
    assert!(
        out.ends_with("Bitmap: none yet, the size of the mirror is not known here\n"),
        "{out}"
    );
    assert!(bench.error("-c --yes").contains("never connected to its source"));
}
