// SPDX-License-Identifier: GPL-2.0

//! Blocks of a map.

use super::{BLOCK_LEN, BLOCK_WORDS, SECTOR_LEN, SECTOR_WORDS};
use crate::crc32c::crc32c;
use crate::wire::codec::{Reader, Writer};

/// Bytes of the checksum, which a sector begins with.
const CHECKSUM_LEN: usize = 4;

/// Sectors in a block.
const SECTORS: u64 = 8;

/// Writes block `block` of map `map`: its words, marked as belonging to `set`.
pub fn encode_map_block(out: &mut [u8; BLOCK_LEN], set: u64, map: u16, block: u64, words: &[u64; BLOCK_WORDS]) {
    let sectors = out.chunks_exact_mut(SECTOR_LEN).zip(words.chunks_exact(SECTOR_WORDS));
    for (index, (sector, words)) in (block.saturating_mul(SECTORS)..).zip(sectors) {
        let Some((checksum, body)) = sector.split_at_mut_checked(CHECKSUM_LEN) else {
            continue;
        };
        let mut writer = Writer::new(body);
        writer.u16(map).u16(0).u64(index).u64(set).u64(0);
        for &word in words {
            writer.u64(word);
        }
        Writer::new(checksum).u32(crc32c(0, body));
    }
}

/// Reads block `block` of map `map` of the metadata with this `set`.
///
/// Words of a sector that is damaged, or not this one, are all ones. The result has a bit for each
/// such sector, the least significant for the first one; 0 where the block is as it was written.
pub fn decode_map_block(bytes: &[u8; BLOCK_LEN], set: u64, map: u16, block: u64, words: &mut [u64; BLOCK_WORDS]) -> u8 {
    let mut damaged = 0u8;
    let mut bit = 1u8;
    let sectors = bytes.chunks_exact(SECTOR_LEN).zip(words.chunks_exact_mut(SECTOR_WORDS));
    for (index, (sector, words)) in (block.saturating_mul(SECTORS)..).zip(sectors) {
        if read_sector(sector, set, map, index, words).is_none() {
            words.fill(u64::MAX);
            damaged |= bit;
        }
        bit = bit.wrapping_shl(1);
    }
    damaged
}

/// Reads a sector, `None` where it is not the one that was asked for.
fn read_sector(sector: &[u8], set: u64, map: u16, index: u64, words: &mut [u64]) -> Option<()> {
    let (checksum, body) = sector.split_at_checked(CHECKSUM_LEN)?;
    let mut reader = Reader::new(body);
    let (own_map, _reserved, own_index, own_set) = (reader.u16()?, reader.u16()?, reader.u64()?, reader.u64()?);
    let _reserved = reader.u64()?;
    let right = checksum == crc32c(0, body).to_le_bytes();
    if !right || own_map != map || own_index != index || own_set != set {
        return None;
    }
    for word in words {
        *word = reader.u64()?;
    }
    Some(())
}
