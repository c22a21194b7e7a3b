// SPDX-License-Identifier: GPL-2.0
//! Sectors that describe themselves: which history, which place, which operation, and a checksum.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh64::xxh64;

/// Bytes in a sector.
pub const SECTOR: usize = 512;

const MAGIC: u64 = u64::from_le_bytes(*b"netraidS");
const HEADER: usize = 32;
const SUM_AT: usize = SECTOR - 8;

/// Names an operation within a history: the run (below 2^24), the thread, and the how many-th operation of that thread
/// it is, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Id(u64);

impl Id {
    /// Puts it together; of the run the low 24 bits count.
    #[must_use]
    pub fn new(run: u32, thread: u8, number: u32) -> Self {
        Self(u64::from(run & 0xff_ffff) << 40 | u64::from(thread) << 32 | u64::from(number))
    }

    /// The run.
    #[must_use]
    pub fn run(self) -> u32 {
        u32::try_from(self.0 >> 40).unwrap_or(u32::MAX)
    }

    /// The thread.
    #[must_use]
    pub fn thread(self) -> u8 {
        self.0.to_le_bytes()[4]
    }

    /// The number of the operation.
    #[must_use]
    pub fn number(self) -> u32 {
        let [a, b, c, d, ..] = self.0.to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{}.{}", self.run(), self.thread(), self.number())
    }
}

/// What a sector was found to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Content {
    /// All zero.
    Zero,
    /// Written by this operation, whole, in the right place.
    Written(Id),
    /// Whole, but it belongs into another sector.
    Misplaced(u64),
    /// Anything else: torn, or of another history.
    Bad,
}

impl std::fmt::Display for Content {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Zero => formatter.write_str("zeroes"),
            Self::Written(id) => write!(formatter, "operation {id}"),
            Self::Misplaced(sector) => write!(formatter, "what belongs into sector {sector}"),
            Self::Bad => formatter.write_str("something torn or foreign"),
        }
    }
}

/// Fills `bytes` with what operation `id` of history `seed` writes to sector `number`.
///
/// `bytes` must be [`SECTOR`] bytes long; a shorter one is left as it is.
pub fn fill(bytes: &mut [u8], seed: u64, number: u64, id: Id) {
    if bytes.len() < SECTOR {
        return;
    }
    let mut state = seed ^ number.rotate_left(24) ^ id.0.rotate_left(48);
    for word in bytes[HEADER..SUM_AT].chunks_exact_mut(8) {
        state = state
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        word.copy_from_slice(&state.to_le_bytes());
    }
    for (at, value) in [MAGIC, seed, number, id.0].into_iter().enumerate() {
        bytes[at * 8..at * 8 + 8].copy_from_slice(&value.to_le_bytes());
    }
    let sum = xxh64(&bytes[..SUM_AT], 0);
    bytes[SUM_AT..SECTOR].copy_from_slice(&sum.to_le_bytes());
}

/// Says what `bytes`, read from sector `number`, hold for history `seed`.
#[must_use]
pub fn read(bytes: &[u8], seed: u64, number: u64) -> Content {
    if bytes.len() != SECTOR {
        return Content::Bad;
    }
    let word = |at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[at..at + 8]);
        u64::from_le_bytes(word)
    };
    if word(0) == 0 && bytes.iter().all(|&byte| byte == 0) {
        return Content::Zero;
    }
    if word(0) != MAGIC || word(8) != seed || word(SUM_AT) != xxh64(&bytes[..SUM_AT], 0) {
        return Content::Bad;
    }
    match word(16) {
        place if place == number => Content::Written(Id(word(24))),
        place => Content::Misplaced(place),
    }
}

#[cfg(test)]
mod tests {
    use super::{fill, read, Content, Id, SECTOR};

    #[test]
    fn a_name_keeps_its_parts() {
        let id = Id::new(0xab_cdef, 0x42, 0xdead_beef);
        assert_eq!((id.run(), id.thread(), id.number()), (0xab_cdef, 0x42, 0xdead_beef));
        assert_eq!(Id::new(3, 1, 7).to_string(), "3.1.7");
    }

    #[test]
    fn what_was_written_is_recognized_in_its_place_alone() {
        let mut bytes = [0; SECTOR];
        let id = Id::new(1, 2, 3);
        assert_eq!(read(&bytes, 9, 5), Content::Zero);
        fill(&mut bytes, 9, 5, id);
        assert_eq!(read(&bytes, 9, 5), Content::Written(id));
        assert_eq!(read(&bytes, 9, 6), Content::Misplaced(5));
        assert_eq!(read(&bytes, 8, 5), Content::Bad);
    }

    #[test]
    fn every_torn_sector_is_noticed() {
        let (mut old, mut new) = ([0; SECTOR], [0; SECTOR]);
        fill(&mut old, 9, 5, Id::new(1, 2, 3));
        fill(&mut new, 9, 5, Id::new(1, 2, 4));
        for at in (8..SECTOR).step_by(8) {
            let mut torn = old;
            torn[..at].copy_from_slice(&new[..at]);
            let found = read(&torn, 9, 5);
            // The first words of both are the same.
            let same = torn == old || torn == new;
            assert_eq!(found == Content::Bad, !same, "torn at {at}: {found}");
        }
    }
}
