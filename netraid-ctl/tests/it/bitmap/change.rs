// SPDX-License-Identifier: GPL-2.0
//! What is changed, and that nothing else is.

use std::fs;

use netraid_core::meta::*;
use netraid_ctl::gen;

use super::{superblock, with_peers, Bench, CHUNKS};

/// Covers: S64.
#[test]
fn without_a_peer_the_first_map_counts() {
    let bench = Bench::new(&superblock());
    bench.mark(1, &[1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(bench.dirty(), 7);
    let ran = bench.run("-d");
    assert_eq!(
        ran.out,
        "Everything will be copied.\nBitmap: 4895 bits (chunks), 4895 dirty (100.0%)\n"
    );
    assert_eq!(bench.words(2).0, [0; BLOCK_WORDS]);
}

/// Covers: S72.
#[test]
fn dirty_marks_every_chunk_for_every_peer() {
    let bench = Bench::new(&with_peers(&[1, 6]));
    let ran = bench.run("-d");
    assert_eq!((ran.status, ran.err.as_str()), (0, ""));
    let found = bench.examine();
    assert_eq!(found["bitmap"]["percent"], 100.0);
    assert_eq!(found["peers"][0]["dirty_chunks"], CHUNKS);
    assert_eq!(found["peers"][1]["dirty_chunks"], CHUNKS);
    // Chunks that do not exist are not marked.
    let (words, damaged) = bench.words(2);
    assert_eq!((words[76], words[77], damaged), ((1 << (4895 % 64)) - 1, 0, 0));
    assert_eq!(bench.words(1).0, [0; BLOCK_WORDS]);
    assert_eq!(bench.words(MAP_INTENT).0, [0; BLOCK_WORDS]);
}

/// Covers: S71.
#[test]
fn clean_marks_nothing_and_mends_what_is_damaged() {
    let bench = Bench::new(&with_peers(&[0]));
    bench.mark(MAP_INTENT, &[5]);
    bench.mark(1, &[6]);
    bench.change(|bytes| bytes[8192 + 4096 + 100] ^= 1);
    let before = bench.examine();
    assert_eq!(before["bitmap"]["damaged_sectors"], 1);
    assert_eq!(before["bitmap"]["dirty"], 3840);
    let ran = bench.run("-c --yes");
    assert_eq!(
        ran.out,
        "Nothing is marked any more.\nBitmap: 4895 bits (chunks), 0 dirty (0.0%)\n"
    );
    assert!(ran.err.contains("extreme caution"), "{}", ran.err);
    let after = bench.examine();
    assert_eq!(after["bitmap"]["damaged_sectors"], 0);
    assert_eq!(after["peers"][0]["full"], false);
    assert_eq!(after["sequence"], 43);
}

/// Covers: S71.
#[test]
fn clean_asks_and_does_nothing_unless_the_answer_is_yes() {
    let bench = Bench::new(&with_peers(&[0]));
    let before = bench.bytes();
    for answer in [None, Some("n\n"), Some("\n")] {
        let ran = bench.answer("-c", answer);
        assert_eq!((ran.status, ran.out.as_str()), (1, ""));
        assert_eq!(bench.bytes(), before);
    }
    let ran = bench.answer("-c", Some("yes\n"));
    assert_eq!(ran.status, 0);
    assert!(
        ran.err.contains("exact replica of the disk of mirror data"),
        "{}",
        ran.err
    );
}

/// Covers: S70, S43, S52.
#[test]
fn the_asynchronous_limit_is_stored() {
    let bench = Bench::new(&superblock());
    for (arguments, stored, effective) in [("-a", 256, 256), ("-a 1000", 1000, 1000), ("-a 2", 2, 256)] {
        let ran = bench.run(arguments);
        assert_eq!((ran.status, ran.err.as_str()), (0, ""));
        let told = format!("may have {effective} operations outstanding");
        assert!(ran.out.contains(&told), "{}", ran.out);
        assert_eq!(ran.out.contains("a value up to 2"), stored == 2);
        assert_eq!(bench.examine()["async_limit"], effective);
        let newest = bench
            .superblocks()
            .map(Result::unwrap)
            .into_iter()
            .max_by_key(|found| found.sequence);
        let newest = newest.unwrap();
        assert_eq!(newest.async_limit, stored);
        // From now on its targets may be asynchronous.
        assert!(newest.flags.contains(MetaFlags::ASYNC));
        assert_eq!(bench.examine()["flags"]["async_permitted"], true);
    }
    let ran = bench.run("-a 4097");
    assert_eq!(ran.status, 1);
    assert!(ran.err.contains("-a takes one from 0 to 4096"), "{}", ran.err);
}

#[test]
fn a_change_goes_to_the_older_superblock_and_touches_nothing_else() {
    let bench = Bench::new(&superblock());
    bench.mark(9, &[77]);
    let before = bench.bytes();
    assert_eq!(bench.run("-a 10").status, 0);
    let after = bench.bytes();
    assert_eq!(after[..4096], before[..4096]);
    assert_eq!(after[8192..], before[8192..]);
    let [old, new] = bench.superblocks().map(Result::unwrap);
    let expected = Superblock {
        sequence: 43,
        async_limit: 10,
        flags: old.flags.with(MetaFlags::ASYNC, true),
        ..old
    };
    assert_eq!(new, expected);
    assert_eq!(bench.run("-a 11").status, 0);
    assert_eq!(bench.bytes()[4096..], after[4096..]);
    assert_eq!(bench.superblocks()[0].as_ref().unwrap().sequence, 44);
}

#[test]
fn metadata_at_the_end_of_a_disk_is_found_there() {
    let disk_size = 4 << 20;
    let size = Layout::usable_size(disk_size, Some(65536));
    let inside = Superblock { size, ..superblock() };
    let layout = Layout::new(Place::End { disk_size }, inside.geometry()).unwrap();
    let bench = Bench::new(&inside);
    let start = bench.bytes();
    let at = |offset| usize::try_from(offset).unwrap();
    let mut disk = vec![0x77; at(disk_size)];
    disk[at(layout.superblock_offset(0))..].copy_from_slice(&start[..8192]);
    let (from, len) = (at(layout.map_block_offset(0, 0)), 16 * 4096);
    disk[from..from + len].copy_from_slice(&start[8192..]);
    fs::write(bench.path(), &disk).unwrap();
    assert!(bench.error("-X").contains("the metadata is at its end; say --internal"));
    let ran = bench.run("-d --internal");
    assert_eq!((ran.status, ran.err.as_str()), (0, ""));
    assert!(
        ran.out.contains("Bitmap: 63 bits (chunks), 63 dirty (100.0%)"),
        "{}",
        ran.out
    );
    assert_eq!(bench.bytes()[..at(size)], disk[..at(size)]);
    // It is the disk that tells who uses it.
    bench.load("/elsewhere", gen::Role::Source);
    {
        let mut world = bench.kernel.0.borrow_mut();
        world.mirrors[0].meta_path = None;
        world.mirrors[0].meta_internal = true;
        world.mirrors[0].disk = Some(bench.path().to_str().unwrap().to_owned());
    }
    assert!(bench
        .error("-d --internal")
        .contains("mirror data is in service with it"));
}
