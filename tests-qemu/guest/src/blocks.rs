// SPDX-License-Identifier: GPL-2.0
//! Blocks that describe themselves.
//!
//! A block names the run that wrote it, its own number and a version that grows by one with
//! each write, and ends with a checksum, so that whoever reads a disk later can tell a block
//! that was written from one that was torn, misplaced, or left over from another run.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh64::xxh64;

/// Bytes in a block.
pub const BLOCK: usize = 4096;

const MAGIC: u64 = u64::from_le_bytes(*b"netraidB");
const HEADER: usize = 32;
const SUM_AT: usize = BLOCK - 8;

/// What a block was found to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// All zero: never written.
    Zero,
    /// Written by the run of this seed, whole, in the right place.
    Version(u64),
    /// Anything else.
    Bad,
}

/// Fills `block` with the content of version `version` of block `number` in run `seed`.
///
/// Versions start at 1. `block` must be [`BLOCK`] bytes long; a shorter one is left as it is.
pub fn fill(block: &mut [u8], seed: u64, number: u64, version: u64) {
    if block.len() < BLOCK {
        return;
    }
    let mut state = seed ^ number.rotate_left(24) ^ version.rotate_left(48);
    for word in block[HEADER..SUM_AT].chunks_exact_mut(8) {
        state = state
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        word.copy_from_slice(&state.to_le_bytes());
    }
    for (at, value) in [MAGIC, seed, number, version].into_iter().enumerate() {
        block[at * 8..at * 8 + 8].copy_from_slice(&value.to_le_bytes());
    }
    let sum = xxh64(&block[..SUM_AT], 0);
    block[SUM_AT..BLOCK].copy_from_slice(&sum.to_le_bytes());
}

/// Says what `block`, read from place `number`, holds for run `seed`.
#[must_use]
pub fn check(block: &[u8], seed: u64, number: u64) -> Content {
    if block.len() != BLOCK {
        return Content::Bad;
    }
    if block.iter().all(|&byte| byte == 0) {
        return Content::Zero;
    }
    let word = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&block[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    let genuine = word(0) == MAGIC
        && word(8) == seed
        && word(16) == number
        && word(24) > 0
        && word(SUM_AT) == xxh64(&block[..SUM_AT], 0);
    if genuine {
        Content::Version(word(24))
    } else {
        Content::Bad
    }
}

/// What `netraid-guest verify` found on a device.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Found {
    /// Number and version of each block that was written.
    pub versions: Vec<(u64, u64)>,
    /// How many blocks are all zero.
    pub zero: u64,
    /// Numbers of the blocks that hold anything else.
    pub bad: Vec<u64>,
}

impl Found {
    /// Adds what block `number` holds.
    pub fn add(&mut self, number: u64, content: Content) {
        match content {
            Content::Zero => self.zero += 1,
            Content::Version(version) => self.versions.push((number, version)),
            Content::Bad => self.bad.push(number),
        }
    }
}

/// Which of its own blocks, counted from 0, a thread of a writer takes one after the other.
pub fn choices(seed: u64, thread: u64, own: u64) -> impl Iterator<Item = u64> {
    let mut random = seed ^ thread.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    std::iter::repeat_with(move || {
        random = random
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        (random >> 33) % own
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filled_block_is_recognized_only_in_its_place_and_run() {
        let mut block = vec![0; BLOCK];
        fill(&mut block, 7, 42, 3);
        assert_eq!(check(&block, 7, 42), Content::Version(3));
        assert_eq!(check(&block, 7, 43), Content::Bad);
        assert_eq!(check(&block, 8, 42), Content::Bad);
    }

    #[test]
    fn a_torn_block_is_bad_and_an_unwritten_one_is_zero() {
        let (mut old, mut new) = (vec![0; BLOCK], vec![0; BLOCK]);
        fill(&mut old, 7, 42, 3);
        fill(&mut new, 7, 42, 4);
        old[..512].copy_from_slice(&new[..512]);
        assert_eq!(check(&old, 7, 42), Content::Bad);
        assert_eq!(check(&vec![0; BLOCK], 7, 42), Content::Zero);
    }
}
