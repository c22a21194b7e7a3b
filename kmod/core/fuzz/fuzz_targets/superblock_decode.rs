// SPDX-License-Identifier: GPL-2.0

//! Any block is a superblock or an error, and what is understood keeps its promises.
//!
//! Headers and checksums are put right first: a fuzzer does not find them by chance, and what lies
//! behind them is to be tested. The input fills each sector from its 16th byte on.

#![no_main]

use libfuzzer_sys::fuzz_target;
use netraid_core::crc32c::crc32c;
use netraid_core::meta::{choose, Layout, Place, Superblock, BLOCK_LEN, MAGIC, SECTOR_LEN, VERSION};
use netraid_core::name::check_mirror_name;

/// The fields of a superblock from `data`, sector by sector.
fn block_of(data: &[u8]) -> [u8; BLOCK_LEN] {
    let mut block = [0; BLOCK_LEN];
    // The named fields are all in the first 240 bytes behind the header.
    for (sector, bytes) in block.chunks_exact_mut(SECTOR_LEN).zip(data.chunks(240)) {
        sector[16..16 + bytes.len()].copy_from_slice(bytes);
    }
    block
}

/// Headers, sequence numbers and checksums as they should be.
fn put_right(block: &mut [u8; BLOCK_LEN]) {
    let mut rest = 0;
    for position in [1, 2, 3, 4, 5, 6, 7, 0u16] {
        let start = usize::from(position) * SECTOR_LEN;
        let sector = &mut block[start..start + SECTOR_LEN];
        sector[..4].copy_from_slice(&MAGIC);
        sector[4..6].copy_from_slice(&VERSION.to_le_bytes());
        sector[6..8].copy_from_slice(&position.to_le_bytes());
        sector[8..16].copy_from_slice(&7u64.to_le_bytes());
        if position == 0 {
            sector[24..28].copy_from_slice(&u32::to_le_bytes(rest));
        }
        let checksum = crc32c(u32::from(position), &sector[..508]).to_le_bytes();
        sector[508..].copy_from_slice(&checksum);
        rest = crc32c(rest, &checksum);
    }
}

fn check(superblock: &Superblock) {
    let mut again = [0; BLOCK_LEN];
    superblock.encode(&mut again);
    assert_eq!(Superblock::decode(&again).as_ref(), Ok(superblock));
    assert!(check_mirror_name(superblock.name.as_str()).is_ok());
    assert_eq!(superblock.geometry().is_some(), superblock.chunk_size != 0);
    let layout = Layout::new(Place::Start, superblock.geometry()).unwrap();
    let _ = layout.len().checked_add(superblock.size).unwrap();
}

fuzz_target!(|data: &[u8]| {
    let mut block = block_of(data);
    let raw = Superblock::decode(&block);
    assert!(raw.is_err());
    put_right(&mut block);
    let result = Superblock::decode(&block);
    match &result {
        Ok(superblock) => check(superblock),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    assert_eq!(choose(&raw, &result).is_ok(), result.is_ok());
});
