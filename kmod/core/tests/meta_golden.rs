// SPDX-License-Identifier: GPL-2.0

//! Metadata as committed bytes: a change of the format cannot go unnoticed.
//!
//! `tests/vectors/meta-1.txt` has a line for each sector of a superblock and of a map block. After
//! a deliberate change of the format (and of its version), `NETRAID_BLESS=1 cargo test` writes the
//! file anew.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says all it means in one place"
)]

use netraid_core::meta::*;
use netraid_core::name::Name;
use netraid_core::priority::Priority;
use netraid_core::state::{Replication, Role};
use netraid_core::wire::Id;
use std::fmt::Write;
use std::path::Path;

const SET: u64 = 0x5e75_e75e_75e7_5e75;

fn id(first: u8) -> Id {
    std::array::from_fn(|index| first + u8::try_from(index).unwrap())
}

/// Address 10.77.0.2 in the first four bytes.
fn adam() -> Peer {
    let mut ip = [0; 16];
    ip[..4].copy_from_slice(&[10, 77, 0, 2]);
    Peer {
        uuid: id(0x50),
        name: Name::new("adam").unwrap(),
        base: 0x0b0b_0b0b_0b0b_0b0b,
        instance: id(0x70),
        flags: PeerFlags::PAUSED.with(PeerFlags::FULL, true),
        ip,
        ip_len: 4,
        port: 7900,
        scope_id: 3,
        heartbeat_ms: 1000,
        timeout_ms: 5000,
        replication: Replication::Asynchronous,
        priority: Priority::new(1).ok(),
    }
}

fn superblock() -> Superblock {
    let mut superblock = Superblock {
        sequence: 0x0102_0304_0506_0708,
        set: SET,
        mirror_uuid: id(0x10),
        node_uuid: id(0x30),
        name: Name::new("data").unwrap(),
        size: 313_236 * 1024,
        chunk_size: 65536,
        role: Role::Target,
        flags: MetaFlags::LAST_OWNER.with(MetaFlags::STOPPED, true),
        current: 0xc0c0_c0c0_c0c0_c0c0,
        history: [8, 7, 6, 5, 4, 3, 2, 1],
        async_limit: 1000,
        resync_rate: 1 << 20,
        device_id: 5,
        priority: Priority::new(500).ok(),
        ..Superblock::default()
    };
    superblock.peers[0] = adam();
    superblock.peers[6] = Peer {
        uuid: id(0x90),
        name: Name::new("eve").unwrap(),
        ip: id(0xb0),
        ip_len: 16,
        port: 65535,
        ..Peer::FREE
    };
    superblock
}

fn words() -> [u64; BLOCK_WORDS] {
    std::array::from_fn(|index| match index {
        0 => 1,
        59 => 1 << 63,
        60 => 0x0123_4567_89ab_cdef,
        479 => u64::MAX,
        _ => 0,
    })
}

fn superblock_bytes() -> [u8; BLOCK_LEN] {
    let mut block = [0xff; BLOCK_LEN];
    superblock().encode(&mut block);
    block
}

fn map_bytes() -> [u8; BLOCK_LEN] {
    let mut block = [0xff; BLOCK_LEN];
    encode_map_block(&mut block, SET, 3, 2, &words());
    block
}

fn written() -> String {
    let mut text = String::from("# SPDX-License-Identifier: GPL-2.0\n# Metadata of version 1, see meta_golden.rs.\n");
    for (name, block) in [("superblock", superblock_bytes()), ("map", map_bytes())] {
        for (position, sector) in block.chunks(SECTOR_LEN).enumerate() {
            write!(text, "{name} {position} ").unwrap();
            for byte in sector {
                write!(text, "{byte:02x}").unwrap();
            }
            text.push('\n');
        }
    }
    text
}

/// Covers: S74.
#[test]
fn metadata_has_the_committed_bytes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/meta-1.txt");
    let text = written();
    if std::env::var_os("NETRAID_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    for (committed, now) in committed.lines().zip(text.lines()) {
        assert_eq!(committed, now);
    }
    assert_eq!(committed, text);
}

#[test]
fn the_committed_bytes_decode_to_what_they_were_made_of() {
    assert_eq!(Superblock::decode(&superblock_bytes()), Ok(superblock()));
    let mut read = [0; BLOCK_WORDS];
    assert_eq!(decode_map_block(&map_bytes(), SET, 3, 2, &mut read), 0);
    assert_eq!(read, words());
}

/// The bytes of a field of a sector.
fn field(block: &[u8; BLOCK_LEN], sector: usize, offset: usize, len: usize) -> &[u8] {
    &block[sector * SECTOR_LEN + offset..][..len]
}

/// The tables in the documentation of [`netraid_core::meta`] are what someone else's tool goes by.
#[test]
fn the_fields_of_a_superblock_are_where_the_tables_say() {
    let (block, mirror, peer) = (superblock_bytes(), superblock(), adam());
    for position in 0..8u16 {
        let sector = usize::from(position);
        assert_eq!(field(&block, sector, 0, 4), b"NRMD");
        assert_eq!(field(&block, sector, 4, 2), [1, 0]);
        assert_eq!(field(&block, sector, 6, 2), position.to_le_bytes());
        assert_eq!(field(&block, sector, 8, 8), mirror.sequence.to_le_bytes());
    }
    assert_eq!(field(&block, 0, 16, 8), [0; 8]);
    assert_eq!(field(&block, 0, 28, 1), [4]);
    assert_eq!(field(&block, 0, 32, 8), SET.to_le_bytes());
    assert_eq!(field(&block, 0, 40, 16), mirror.mirror_uuid);
    assert_eq!(field(&block, 0, 56, 16), mirror.node_uuid);
    assert_eq!(field(&block, 0, 72, 8), mirror.size.to_le_bytes());
    assert_eq!(field(&block, 0, 80, 4), mirror.chunk_size.to_le_bytes());
    assert_eq!(field(&block, 0, 84, 4), [1, 0, 0, 0]);
    assert_eq!(field(&block, 0, 88, 4), mirror.flags.bits().to_le_bytes());
    assert_eq!(field(&block, 0, 92, 4), mirror.async_limit.to_le_bytes());
    assert_eq!(field(&block, 0, 96, 8), mirror.resync_rate.to_le_bytes());
    assert_eq!(field(&block, 0, 104, 8), mirror.current.to_le_bytes());
    assert_eq!(field(&block, 0, 112, 8), [8, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(field(&block, 0, 168, 8), [1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(field(&block, 0, 176, 4), [5, 0, 0, 0]);
    assert_eq!(field(&block, 0, 180, 2), 500u16.to_le_bytes());
    assert_eq!(field(&block, 0, 182, 10), [0; 10]);
    assert_eq!(field(&block, 0, 192, 5), b"data\0");
    assert_eq!(field(&block, 0, 256, 252), [0; 252]);
    let copy = Superblock {
        source_name: Name::new("eve-data").unwrap(),
        ..superblock()
    };
    let mut named = [0; BLOCK_LEN];
    copy.encode(&mut named);
    assert_eq!(field(&named, 0, 28, 2), [4, 8]);
    assert_eq!(field(&named, 0, 256, 9), b"eve-data\0");
    assert_eq!(field(&named, 0, 320, 188), [0; 188]);
    assert_eq!(field(&block, 1, 32, 16), peer.uuid);
    assert_eq!(field(&block, 1, 48, 16), peer.instance);
    assert_eq!(field(&block, 1, 64, 8), peer.base.to_le_bytes());
    assert_eq!(field(&block, 1, 72, 4), [3, 0, 0, 0]);
    assert_eq!(field(&block, 1, 76, 4), [1, 0, 0, 0]);
    assert_eq!(field(&block, 1, 80, 4), peer.scope_id.to_le_bytes());
    assert_eq!(field(&block, 1, 84, 4), peer.heartbeat_ms.to_le_bytes());
    assert_eq!(field(&block, 1, 88, 4), peer.timeout_ms.to_le_bytes());
    assert_eq!(field(&block, 1, 92, 2), peer.port.to_le_bytes());
    assert_eq!(field(&block, 1, 94, 2), [4, 4]);
    assert_eq!(field(&block, 1, 96, 16), peer.ip);
    assert_eq!(field(&block, 1, 112, 5), b"adam\0");
    assert_eq!(field(&block, 1, 176, 2), [1, 0]);
    assert_eq!(field(&block, 1, 178, 330), [0; 330]);
}

#[test]
fn the_fields_of_a_map_are_where_the_table_says() {
    let block = map_bytes();
    for sector in 0..8u8 {
        let at = usize::from(sector);
        assert_eq!(field(&block, at, 4, 2), [3, 0]);
        assert_eq!(field(&block, at, 8, 8), [16 + sector, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(field(&block, at, 16, 8), SET.to_le_bytes());
        assert_eq!(field(&block, at, 24, 8), [0; 8]);
    }
    assert_eq!(field(&block, 0, 32, 8), 1u64.to_le_bytes());
    assert_eq!(field(&block, 1, 32, 8), 0x0123_4567_89ab_cdef_u64.to_le_bytes());
    assert_eq!(field(&block, 7, 504, 8), [0xff; 8]);
}

#[test]
fn the_bits_of_the_flags_are_fixed() {
    let bits: Vec<u32> = MetaFlags::ALL.iter().map(|(flag, _)| flag.bits()).collect();
    assert_eq!(bits, (0..16).map(|bit| 1 << bit).collect::<Vec<u32>>());
    assert_eq!(MetaFlags::from_bits(1 << 31).words().count(), 0);
    let words: Vec<_> = superblock().flags.words().collect();
    assert_eq!(words, ["last owner", "stopped by an operator"]);
    assert_eq!(PeerFlags::PAUSED.bits(), 1);
    assert_eq!(PeerFlags::FULL.bits(), 2);
}
