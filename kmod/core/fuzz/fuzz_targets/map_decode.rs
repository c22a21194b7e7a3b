// SPDX-License-Identifier: GPL-2.0

//! Any block is a map: words as they were written, or all ones.
//!
//! The first byte of the input says which sectors get the checksum that they should have.

#![no_main]

use libfuzzer_sys::fuzz_target;
use netraid_core::crc32c::crc32c;
use netraid_core::meta::{decode_map_block, encode_map_block, BLOCK_LEN, BLOCK_WORDS, SECTOR_LEN, SECTOR_WORDS};

const SET: u64 = 0x5e75_e75e_75e7_5e75;

/// Where the input begins in each sector: at the number of the map for one, at the words for the
/// others, which then have the right header.
fn sector_of(sector: &mut [u8], bytes: &[u8], whole: bool) {
    let start = if whole { 4 } else { 32 };
    let len = bytes.len().min(SECTOR_LEN - start);
    sector[start..start + len].copy_from_slice(&bytes[..len]);
}

fuzz_target!(|data: &[u8]| {
    let [sealed, map, index, rest @ ..] = data else {
        return;
    };
    let (map, index) = (u16::from(*map), u64::from(*index));
    let mut block = [0; BLOCK_LEN];
    encode_map_block(&mut block, SET, map, index, &[0; BLOCK_WORDS]);
    for (position, (sector, bytes)) in block.chunks_exact_mut(SECTOR_LEN).zip(rest.chunks(64)).enumerate() {
        sector_of(sector, bytes, position % 2 == 1);
        if sealed >> position & 1 == 1 {
            let checksum = crc32c(0, &sector[4..]).to_le_bytes();
            sector[..4].copy_from_slice(&checksum);
        }
    }
    let mut words = [0; BLOCK_WORDS];
    let damaged = decode_map_block(&block, SET, map, index, &mut words);
    for (position, (sector, words)) in block
        .chunks_exact(SECTOR_LEN)
        .zip(words.chunks(SECTOR_WORDS))
        .enumerate()
    {
        let raw = sector[32..]
            .chunks_exact(8)
            .map(|word| u64::from_le_bytes(word.try_into().unwrap()));
        if damaged >> position & 1 == 1 {
            assert!(words.iter().all(|&word| word == u64::MAX));
        } else {
            assert!(raw.eq(words.iter().copied()));
            assert_eq!(sector[..4], crc32c(0, &sector[4..]).to_le_bytes());
            assert_eq!(sector[16..24], SET.to_le_bytes());
        }
    }
    let mut again = [0; BLOCK_LEN];
    encode_map_block(&mut again, SET, map, index, &words);
    let mut read = [0; BLOCK_WORDS];
    assert_eq!(decode_map_block(&again, SET, map, index, &mut read), 0);
    assert_eq!(read, words);
});
