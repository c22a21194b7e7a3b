// SPDX-License-Identifier: GPL-2.0

//! What is written is read back; what was changed since is noticed, wherever it was changed.

#![allow(
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says all it means in one place"
)]

use netraid_core::chunk::{Geometry, MAX_CHUNKS, MAX_CHUNK_SIZE, MIN_CHUNK_SIZE};
use netraid_core::crc32c::crc32c;
use netraid_core::meta::*;
use netraid_core::name::Name;
use netraid_core::priority::Priority;
use netraid_core::state::{Replication, Role};
use netraid_core::wire::Id;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    }
}

/// Sizes and chunk sizes that go together, those that are not yet known included.
fn sizes() -> impl Strategy<Value = (u64, u32)> {
    let shifts = MIN_CHUNK_SIZE.trailing_zeros()..=MAX_CHUNK_SIZE.trailing_zeros();
    let known = (shifts, 1..=MAX_CHUNKS, any::<u64>()).prop_map(|(shift, chunks, cut)| {
        let chunk = 1u64 << shift;
        // The last chunk may be short.
        ((chunks * chunk) - (cut % chunk) / 512 * 512, 1u32 << shift)
    });
    let without_chunks = (0..=MAX_SIZE / 512).prop_map(|sectors| (sectors * 512, 0));
    prop_oneof![4 => known, 1 => without_chunks, 1 => Just((0, 0))]
}

fn peer() -> impl Strategy<Value = Peer> {
    (
        any::<[Id; 3]>(),
        "[a-zA-Z0-9._ \u{e4}-\u{fc}-]{0,30}",
        any::<(u64, u16)>(),
        any::<[u32; 4]>(),
        prop::sample::select(vec![0u8, 4, 16]),
        prop::sample::select(Replication::ALL),
    )
        .prop_map(
            |([uuid, instance, ip], name, (base, port), numbers, ip_len, replication)| {
                let [flags, scope_id, heartbeat_ms, timeout_ms] = numbers;
                Peer {
                    uuid,
                    name: Name::truncated(&name),
                    base,
                    instance,
                    flags: PeerFlags::from_bits(flags),
                    ip,
                    ip_len,
                    port,
                    scope_id,
                    heartbeat_ms,
                    timeout_ms,
                    replication,
                    priority: Priority::from_field(port % 1000),
                }
            },
        )
}

fn superblock() -> impl Strategy<Value = Superblock> {
    (
        any::<[u64; 4]>(),
        any::<[Id; 2]>(),
        "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,63}",
        sizes(),
        prop::sample::select(Role::ALL),
        any::<[u32; 3]>(),
        any::<[u64; HISTORY]>(),
        prop::array::uniform7(prop_oneof![2 => peer(), 1 => Just(Peer::FREE)]),
    )
        .prop_map(
            |(
                [sequence, set, current, resync_rate],
                [mirror_uuid, node_uuid],
                name,
                sizes,
                role,
                numbers,
                history,
                peers,
            )| {
                let [flags, async_limit, device_id] = numbers;
                Superblock {
                    sequence,
                    set,
                    mirror_uuid,
                    node_uuid,
                    name: Name::new(&name).unwrap(),
                    // Every other mirror has another name elsewhere.
                    source_name: if flags & 1 == 0 {
                        Name::EMPTY
                    } else {
                        Name::truncated(&name.chars().rev().filter(|c| c.is_alphanumeric()).collect::<String>())
                    },
                    size: sizes.0,
                    chunk_size: sizes.1,
                    role,
                    flags: MetaFlags::from_bits(flags),
                    current,
                    history,
                    async_limit,
                    resync_rate,
                    device_id,
                    priority: Priority::new(device_id % 1000).ok(),
                    peers,
                }
            },
        )
}

fn encoded(superblock: &Superblock) -> [u8; BLOCK_LEN] {
    let mut block = [0xee; BLOCK_LEN];
    superblock.encode(&mut block);
    block
}

proptest! {
    // Each of these tries thousands of changes.
    #![proptest_config(ProptestConfig { cases: 24, ..config() })]

    #[test]
    fn any_changed_byte_of_a_superblock_is_noticed(superblock in superblock(), change in 1u8..) {
        let block = encoded(&superblock);
        for at in 0..BLOCK_LEN {
            let mut changed = block;
            changed[at] ^= change;
            prop_assert_eq!(Superblock::decode(&changed), Err(MetaError::Damaged), "byte {}", at);
        }
    }

    #[test]
    fn any_changed_byte_of_a_map_block_marks_its_sector_alone(
        words in prop::array::uniform32(any::<u64>()),
        (set, map, block) in (any::<u64>(), any::<u16>(), 0..1u64 << 50),
        change in 1u8..,
    ) {
        let words: [u64; BLOCK_WORDS] = std::array::from_fn(|index| words[index % 32].rotate_left(index as u32 / 32));
        let mut bytes = [0; BLOCK_LEN];
        encode_map_block(&mut bytes, set, map, block, &words);
        let mut read = [0; BLOCK_WORDS];
        prop_assert_eq!(decode_map_block(&bytes, set, map, block, &mut read), 0);
        prop_assert_eq!(read, words);
        for at in 0..BLOCK_LEN {
            let mut changed = bytes;
            changed[at] ^= change;
            let sector = at / SECTOR_LEN;
            let mut expected = words;
            expected[sector * SECTOR_WORDS..(sector + 1) * SECTOR_WORDS].fill(u64::MAX);
            let damaged = decode_map_block(&changed, set, map, block, &mut read);
            prop_assert_eq!(damaged, 1 << sector, "byte {}", at);
            prop_assert_eq!(read, expected);
        }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_superblock_is_read_as_it_was_written(superblock in superblock()) {
        let block = encoded(&superblock);
        let read = Superblock::decode(&block);
        prop_assert_eq!(read.as_ref(), Ok(&superblock));
        prop_assert_eq!(superblock.geometry().is_some(), superblock.chunk_size != 0);
    }

    #[test]
    fn sectors_of_two_superblocks_are_not_one(
        (one, two) in (superblock(), superblock()),
        same_sequence: bool,
        from_two in 1u8..255,
    ) {
        let mut two = two;
        if same_sequence {
            two.sequence = one.sequence;
        }
        let blocks = [encoded(&one), encoded(&two)];
        let mut mixed = [0; BLOCK_LEN];
        for sector in 0..8 {
            let bytes = sector * SECTOR_LEN..(sector + 1) * SECTOR_LEN;
            mixed[bytes.clone()].copy_from_slice(&blocks[usize::from(from_two >> sector & 1)][bytes]);
        }
        prop_assume!(mixed != blocks[0] && mixed != blocks[1]);
        prop_assert_eq!(Superblock::decode(&mixed), Err(MetaError::Damaged));
    }

    #[test]
    fn any_block_is_a_superblock_or_an_error(bytes in prop::collection::vec(any::<u8>(), BLOCK_LEN)) {
        let mut block: [u8; BLOCK_LEN] = bytes.try_into().unwrap();
        prop_assert_eq!(Superblock::decode(&block), Err(MetaError::NotMetadata));
        put_right(&mut block);
        if let Ok(superblock) = Superblock::decode(&block) {
            prop_assert_eq!(Superblock::decode(&encoded(&superblock)), Ok(superblock));
        }
    }

    #[test]
    fn a_map_block_of_another_place_or_set_is_all_ones(
        (set, map, block) in (any::<u64>(), any::<u16>(), 0..1u64 << 50),
    ) {
        let mut bytes = [0; BLOCK_LEN];
        encode_map_block(&mut bytes, set, map, block, &[0; BLOCK_WORDS]);
        for (set, map, block) in [(set ^ 1, map, block), (set, map ^ 1, block), (set, map, block ^ 1)] {
            let mut read = [0; BLOCK_WORDS];
            prop_assert_eq!(decode_map_block(&bytes, set, map, block, &mut read), 0xff);
            prop_assert_eq!(read, [u64::MAX; BLOCK_WORDS]);
        }
    }
}

/// Gives every sector the header and the checksum that it should have, and sector 0 no features.
fn put_right(block: &mut [u8; BLOCK_LEN]) {
    let sequence = [7; 8];
    for position in (0..8u16).rev() {
        let sealed = block[SECTOR_LEN..].chunks(SECTOR_LEN).map(|sector| &sector[508..]);
        let rest = sealed.fold(0, crc32c).to_le_bytes();
        let start = usize::from(position) * SECTOR_LEN;
        let sector = &mut block[start..start + SECTOR_LEN];
        sector[..4].copy_from_slice(&MAGIC);
        sector[4..6].copy_from_slice(&VERSION.to_le_bytes());
        sector[6..8].copy_from_slice(&position.to_le_bytes());
        sector[8..16].copy_from_slice(&sequence);
        if position == 0 {
            sector[16..24].fill(0);
            sector[24..28].copy_from_slice(&rest);
        }
        let checksum = crc32c(u32::from(position), &sector[..508]).to_le_bytes();
        sector[508..].copy_from_slice(&checksum);
    }
}

#[test]
fn zeroes_are_no_map() {
    let mut words = [0; BLOCK_WORDS];
    assert_eq!(decode_map_block(&[0; BLOCK_LEN], 0, 0, 0, &mut words), 0xff);
    assert_eq!(words, [u64::MAX; BLOCK_WORDS]);
}

#[test]
fn geometry_is_known_where_both_sizes_are() {
    let mut superblock = Superblock {
        size: 1 << 30,
        ..Superblock::default()
    };
    assert_eq!(superblock.geometry(), None);
    superblock.chunk_size = 1 << 16;
    assert_eq!(superblock.geometry(), Geometry::new(1 << 30, 1 << 16).ok());
}
