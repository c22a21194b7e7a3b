// SPDX-License-Identifier: GPL-2.0

//! Which metadata is refused, which of two superblocks counts, and where everything lies.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says all it means in one place"
)]

use netraid_core::chunk::{default_chunk_size, Geometry, MAX_CHUNKS, MAX_CHUNK_SIZE};
use netraid_core::crc32c::crc32c;
use netraid_core::meta::*;
use netraid_core::name::Name;
use netraid_core::units::{GIB, KIB, MIB};

const TIB: u64 = 1 << 40;

fn superblock(sequence: u64) -> Superblock {
    Superblock {
        sequence,
        name: Name::new("data").unwrap(),
        size: GIB,
        chunk_size: 65536,
        ..Superblock::default()
    }
}

fn encoded(superblock: &Superblock) -> [u8; BLOCK_LEN] {
    let mut block = [0; BLOCK_LEN];
    superblock.encode(&mut block);
    block
}

/// Overwrites bytes of sector 0 and puts its checksum right.
fn with_bytes(offset: usize, bytes: &[u8]) -> [u8; BLOCK_LEN] {
    let mut block = encoded(&superblock(1));
    block[offset..offset + bytes.len()].copy_from_slice(bytes);
    let checksum = crc32c(0, &block[..508]).to_le_bytes();
    block[508..512].copy_from_slice(&checksum);
    block
}

#[test]
fn each_kind_of_wrong_block_has_its_error() {
    let decode = |block| Superblock::decode(&block).unwrap_err();
    assert_eq!(decode([0; BLOCK_LEN]), MetaError::Blank);
    assert_eq!(decode([1; BLOCK_LEN]), MetaError::NotMetadata);
    // A file system that begins with zeroes is not blank.
    let mut ext4 = [0; BLOCK_LEN];
    ext4[1080..1082].copy_from_slice(&[0x53, 0xef]);
    assert_eq!(decode(ext4), MetaError::NotMetadata);
    // One sector is enough to see that there was metadata.
    let mut rest = [0; BLOCK_LEN];
    rest[SECTOR_LEN * 5..SECTOR_LEN * 6].copy_from_slice(&encoded(&superblock(1))[SECTOR_LEN * 5..SECTOR_LEN * 6]);
    assert_eq!(decode(rest), MetaError::Damaged);
    assert_eq!(decode(with_bytes(4, &[2, 0])), MetaError::NewerVersion(2));
    assert_eq!(decode(with_bytes(4, &[0, 0])), MetaError::Damaged);
    // A feature that is not known: the version is, the metadata is not.
    assert_eq!(decode(with_bytes(23, &[0x80])), MetaError::NewerVersion(1));
    assert_eq!(decode(with_bytes(6, &[1, 0])), MetaError::Damaged);
    assert_eq!(decode(with_bytes(24, &[1])), MetaError::Damaged);
}

#[test]
fn impossible_values_are_refused_by_name() {
    let refused = |superblock: Superblock| Superblock::decode(&encoded(&superblock)).unwrap_err();
    let sizes = |size, chunk_size| Superblock {
        size,
        chunk_size,
        ..superblock(1)
    };
    for (size, chunk_size, field) in [
        (GIB + 1, 65536, "the size"),
        (MAX_SIZE + 512, 0, "the size"),
        (u64::MAX - 511, MAX_CHUNK_SIZE, "the size"),
        (GIB, 65535, "the chunk size"),
        (GIB, 2048, "the chunk size"),
        (0, 65536, "the chunk size"),
        (MAX_SIZE, MAX_CHUNK_SIZE / 2, "the chunk size"),
    ] {
        assert_eq!(refused(sizes(size, chunk_size)), MetaError::Inconsistent(field));
    }
    assert!(Superblock::decode(&encoded(&sizes(MAX_SIZE, MAX_CHUNK_SIZE))).is_ok());
    for name in ["", "-x", "a/b"] {
        let named = Superblock {
            name: Name::new(name).unwrap(),
            ..superblock(1)
        };
        assert_eq!(refused(named), MetaError::Inconsistent("the name"));
    }
    for name in ["-x", "a/b"] {
        let named = Superblock {
            source_name: Name::new(name).unwrap(),
            ..superblock(1)
        };
        assert_eq!(refused(named), MetaError::Inconsistent("the name for other machines"));
    }
    let mut peer = superblock(1);
    peer.peers[3].ip_len = 5;
    assert_eq!(refused(peer), MetaError::Inconsistent("the length of a peer's address"));
    let role = Superblock::decode(&with_bytes(84, &[3])).unwrap_err();
    assert_eq!(role, MetaError::Inconsistent("the role"));
    let name_len = Superblock::decode(&with_bytes(28, &[65])).unwrap_err();
    assert_eq!(name_len, MetaError::Inconsistent("the name"));
    let name_len = Superblock::decode(&with_bytes(29, &[65])).unwrap_err();
    assert_eq!(name_len, MetaError::Inconsistent("the name for other machines"));
}

#[test]
fn a_mirror_has_its_own_name_elsewhere_unless_another_one_is_given() {
    let data = superblock(1);
    assert_eq!(data.wire_name(), data.name);
    let copy = Superblock {
        source_name: Name::new("data").unwrap(),
        name: Name::new("copy").unwrap(),
        ..data
    };
    assert_eq!(copy.wire_name().as_str(), "data");
    assert_eq!(Superblock::decode(&encoded(&copy)), Ok(copy));
}

#[test]
fn what_later_versions_may_add_is_ignored_or_kept() {
    // Reserved bytes of sector 0.
    assert_eq!(Superblock::decode(&with_bytes(320, &[9; 16])), Ok(superblock(1)));
    let flags = MetaFlags::from_bits(0xffff_0000);
    let kept = Superblock::decode(&with_bytes(88, &flags.bits().to_le_bytes())).unwrap();
    assert_eq!(kept.flags, flags);
}

/// Every pair of results, and what is chosen of it.
#[test]
fn the_newest_whole_superblock_counts() {
    use MetaError::{Blank, Damaged, Inconsistent, NewerVersion, NotMetadata};
    // What tells least first.
    let errors = [Blank, NotMetadata, Damaged, Inconsistent("the role"), NewerVersion(2)];
    for (one, a) in errors.into_iter().enumerate() {
        for (two, b) in errors.into_iter().enumerate() {
            assert_eq!(choose(&Err(a), &Err(b)), Err(errors[one.max(two)]));
        }
        let valid = superblock(1);
        // Written to its end but not understood: it may be what happened last.
        if matches!(a, Inconsistent(_) | NewerVersion(_)) {
            assert_eq!(choose(&Ok(valid.clone()), &Err(a)), Err(a));
            assert_eq!(choose(&Err(a), &Ok(valid)), Err(a));
        } else {
            assert_eq!(choose(&Ok(valid.clone()), &Err(a)), Ok((0, &valid)));
            assert_eq!(choose(&Err(a), &Ok(valid.clone())), Ok((1, &valid)));
        }
    }
    for (a, b, newest) in [
        (1, 2, 1),
        (2, 1, 0),
        (5, 5, 0),
        (u64::MAX, 0, 1),
        (0, u64::MAX, 0),
        (u64::MAX - 1, u64::MAX, 1),
        (0, (1 << 63) - 1, 1),
    ] {
        let both = [superblock(a), superblock(b)];
        let chosen = choose(&Ok(both[0].clone()), &Ok(both[1].clone())).map(|(which, found)| (which, found.sequence));
        assert_eq!(chosen, Ok((newest, both[newest].sequence)));
    }
}

/// The blocks of a layout, in the order of their offsets.
fn blocks(layout: &Layout) -> Vec<u64> {
    let mut blocks = vec![layout.superblock_offset(0), layout.superblock_offset(1)];
    for map in 0..MAPS {
        blocks.extend((0..layout.blocks_per_map()).map(|block| layout.map_block_offset(map, block)));
    }
    blocks.sort_unstable();
    blocks
}

/// No block twice, all of them side by side, from `start` on.
fn assert_packed(layout: &Layout, start: u64) {
    for (expected, block) in (0..).zip(blocks(layout)) {
        assert_eq!(block, start + expected * 4096);
    }
    assert_eq!(blocks(layout).len() as u64 * 4096, layout.len());
}

#[test]
fn blocks_of_a_file_lie_side_by_side() {
    for (size, chunk_size, per_map) in [
        (512, 4096, 1),
        (313_236 * KIB, 65536, 1),
        (480 * 64 * 65536, 65536, 1),
        (480 * 64 * 65536 + 512, 65536, 2),
        (16 * TIB, 65536, 8739),
        (16 * TIB, default_chunk_size(16 * TIB), 1093),
    ] {
        let layout = Layout::new(Place::Start, Geometry::new(size, chunk_size).ok()).unwrap();
        assert_eq!(layout.blocks_per_map(), per_map, "{size} bytes");
        assert_eq!(layout.superblock_offset(0), 0);
        assert_eq!(layout.superblock_offset(1), 4096);
        assert_eq!(layout.map_block_offset(0, 0), 8192);
        assert_eq!(layout.map_block_offset(3, per_map - 1), 8192 + (4 * per_map - 1) * 4096);
        assert_eq!(layout.len(), 8192 + 16 * per_map * 4096);
        assert_packed(&layout, 0);
    }
}

#[test]
fn blocks_at_the_end_of_a_disk_lie_behind_the_mirror() {
    for disk_size in [MIB + 512, 256 * MIB, 3 * GIB + 4095, 16 * TIB, 2 * TIB + 100 * MIB] {
        let size = Layout::usable_size(disk_size, None);
        let geometry = Geometry::new(size, default_chunk_size(size)).unwrap();
        let layout = Layout::new(Place::End { disk_size }, Some(geometry)).unwrap();
        assert_packed(&layout, disk_size / 4096 * 4096 - layout.len());
        assert_eq!(size % 4096, 0);
        assert!(layout.map_block_offset(0, 0) >= size);
        // Not a block is given away.
        let more = Geometry::new(size + 4096, default_chunk_size(size + 4096)).unwrap();
        assert!(
            Layout::new(Place::End { disk_size }, Some(more)).is_err(),
            "{disk_size} bytes"
        );
        // The superblocks are found without knowing the rest.
        let found = Layout::superblocks_only(Place::End { disk_size }).unwrap();
        assert_eq!(found.superblock_offset(0), layout.superblock_offset(0));
        assert_eq!(found.superblock_offset(1), layout.superblock_offset(1));
    }
}

/// Where the disk is just above the size from which on chunks are larger, the mirror is below it.
#[test]
fn the_chunk_size_is_that_of_the_mirror_not_of_the_disk() {
    let disk_size = 2 * TIB + 4096;
    let size = Layout::usable_size(disk_size, None);
    assert!(size < 2 * TIB);
    assert_eq!(default_chunk_size(size), 65536);
    assert_eq!(size, Layout::usable_size(disk_size, Some(65536)));
}

#[test]
fn disks_that_are_too_small_have_no_room_at_their_end() {
    let least = 8192 + 16 * 4096 + 4096;
    for disk_size in [0, 4096, 8191, 8192, least - 1] {
        assert_eq!(Layout::usable_size(disk_size, None), 0);
        assert_eq!(Layout::usable_size(disk_size, Some(4096)), 0);
    }
    assert_eq!(Layout::usable_size(least, None), 4096);
    assert_eq!(Layout::usable_size(GIB, Some(1000)), 0);
    assert_eq!(Layout::usable_size_without_maps(8191), 0);
    assert_eq!(Layout::usable_size_without_maps(GIB + 5), GIB - 8192);
    assert_eq!(
        Layout::superblocks_only(Place::End { disk_size: 8191 }),
        Err(LayoutError::DiskTooSmall { disk_size: 8191 })
    );
    let geometry = Geometry::new(GIB, 65536).ok();
    let error = Layout::new(Place::End { disk_size: GIB }, geometry).unwrap_err();
    assert!(error.to_string().contains("73728 bytes of metadata"), "{error}");
}

#[test]
fn the_largest_disks_overflow_nowhere() {
    let largest = Geometry::new(u64::from(MAX_CHUNK_SIZE) * MAX_CHUNKS, MAX_CHUNK_SIZE).unwrap();
    let layout = Layout::new(Place::Start, Some(largest)).unwrap();
    assert!(layout.len() < 1 << 32);
    for chunk_size in [None, Some(4096), Some(65536), Some(MAX_CHUNK_SIZE)] {
        let size = Layout::usable_size(u64::MAX, chunk_size);
        let chunk_size = chunk_size.unwrap_or_else(|| default_chunk_size(size));
        let geometry = Geometry::new(size, chunk_size).unwrap();
        assert!(Layout::new(Place::End { disk_size: u64::MAX }, Some(geometry)).is_ok());
    }
}

#[test]
fn what_does_not_exist_has_no_place() {
    let layout = Layout::new(Place::Start, Geometry::new(GIB, 65536).ok()).unwrap();
    assert_eq!(layout.map_block_offset(MAPS, 0), u64::MAX);
    assert_eq!(layout.map_block_offset(0, 1), u64::MAX);
    assert_eq!(layout.map_block_offset(0, u64::MAX), u64::MAX);
    let none = Layout::superblocks_only(Place::Start).unwrap();
    assert_eq!((none.len(), none.blocks_per_map()), (8192, 0));
    assert_eq!(none.map_block_offset(0, 0), u64::MAX);
}

#[test]
fn every_slot_has_its_map() {
    let maps: Vec<usize> = (0..PEERS).map(map_of_peer).collect();
    assert_eq!(maps, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(map_of_peer(usize::MAX), 7);
}

/// Covers: S43.
#[test]
fn an_async_limit_counts_above_two_and_up_to_the_most_there_can_be() {
    for (stored, effective) in [
        (0, 256),
        (1, 256),
        (2, 256),
        (3, 3),
        (256, 256),
        (4096, 4096),
        (4097, 4096),
        (u32::MAX, 4096),
    ] {
        assert_eq!(effective_async_limit(stored), effective);
    }
}

#[test]
fn every_error_is_a_sentence() {
    use MetaError::{Blank, Damaged, Inconsistent, NewerVersion, NotMetadata};
    for error in [Blank, NotMetadata, Damaged, NewerVersion(7), Inconsistent("the role")] {
        let text = error.to_string();
        assert!(text.starts_with(char::is_lowercase) && text.contains(';'), "{text}");
    }
}

#[test]
fn a_disk_that_was_given_up_holds_nothing_and_makes_no_source() {
    use netraid_core::ownership::{start_decide, StartFacts, StartMode, StartPlan};
    use netraid_core::state::Role;
    let before = Superblock {
        role: Role::Source,
        current: 7,
        history: [5; HISTORY],
        flags: MetaFlags::LAST_OWNER
            .with(MetaFlags::NEW, true)
            .with(MetaFlags::PREPARED, true)
            .with(MetaFlags::ASYNC, true),
        ..superblock(1)
    };
    let mut kept = before.clone();
    kept.forget_lost_disk();
    assert_eq!(kept, before);
    let mut lost = before;
    lost.flags.set(MetaFlags::DETACHED, true);
    lost.flags.set(MetaFlags::INCONSISTENT, true);
    // In service the generation is that of the targets; what the next start reads is what was forgotten.
    assert_eq!(lost.current, 7);
    lost.forget_lost_disk();
    assert_eq!((lost.current, lost.history), (0, [0; HISTORY]));
    assert_eq!(lost.flags, MetaFlags::INCONSISTENT.with(MetaFlags::ASYNC, true));
    let again = lost.clone();
    lost.forget_lost_disk();
    assert_eq!(lost, again);
    for mode in StartMode::ALL {
        for overridden in [false, true] {
            let facts = StartFacts {
                mirror: lost.name,
                role: lost.role,
                flags: lost.flags,
                has_data: lost.current != 0,
                warm: true,
                overridden,
            };
            let decision = start_decide(&facts, mode, &[]);
            assert_ne!(decision.plan, StartPlan::Source, "{mode:?} {overridden}");
        }
    }
}
