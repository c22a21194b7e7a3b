// SPDX-License-Identifier: GPL-2.0

//! A map on a disk that loses power in the middle of a write: of a block, each sector holds the old or the new content.

use netraid_core::bitmap::words_for;
use netraid_core::marks::{blocks_for, BlockWords, Marks, Memory, BLOCK_WORDS};
use netraid_core::meta::{decode_map_block, encode_map_block, BLOCK_LEN, SECTOR_LEN, SECTOR_WORDS};

/// Identity of the format.
const SET: u64 = 0x5e7;

/// Sectors in a block.
const SECTORS: usize = BLOCK_WORDS / SECTOR_WORDS;

/// A map with the disk it is written to.
pub(crate) struct Kept {
    pub(crate) marks: Marks<Vec<u64>>,
    pub(crate) disk: MapDisk,
}

/// What is on the disk, and what is on its way there.
pub(crate) struct MapDisk {
    number: u16,
    bits: u64,
    words: Vec<u64>,
    write: Option<(u64, Box<BlockWords>)>,
}

impl MapDisk {
    /// A disk for a map of `bits` bits, all of them clear.
    pub(crate) fn new(number: u16, bits: u64) -> Self {
        let blocks = usize::try_from(blocks_for(bits)).unwrap();
        Self {
            number,
            bits,
            words: vec![0; blocks * BLOCK_WORDS],
            write: None,
        }
    }

    /// What a machine that starts makes of it.
    pub(crate) fn load(&self) -> Marks<Vec<u64>> {
        let words = words_for(self.bits);
        let blocks = words_for(blocks_for(self.bits));
        let memory = Memory {
            maps: [self.words[..words].to_vec(), vec![u64::MAX; words]],
            blocks: [vec![u64::MAX; blocks], vec![u64::MAX; blocks]],
        };
        Marks::new(memory, self.bits, true).unwrap()
    }

    pub(crate) fn words(&self) -> usize {
        words_for(self.bits)
    }

    /// Bits of a word that are there whatever becomes of the write under way.
    pub(crate) fn sure(&self, index: usize) -> u64 {
        let old = self.words[index];
        match &self.write {
            Some((block, new)) if index / BLOCK_WORDS == to_index(*block) => old & new[index % BLOCK_WORDS],
            _ => old,
        }
    }

    /// A word as it will be when the write under way has ended well.
    pub(crate) fn coming(&self, index: usize) -> u64 {
        match &self.write {
            Some((block, new)) if index / BLOCK_WORDS == to_index(*block) => new[index % BLOCK_WORDS],
            _ => self.words[index],
        }
    }

    /// The block that is being written.
    pub(crate) fn writing(&self) -> Option<u64> {
        self.write.as_ref().map(|(block, _)| *block)
    }

    pub(crate) fn begin(&mut self, block: u64, words: &BlockWords) {
        assert!(self.write.is_none(), "one at a time");
        self.write = Some((block, Box::new(*words)));
    }

    /// Ends the write; the sectors with a bit in `arrived` hold the new content. Gives back what was written.
    pub(crate) fn end(&mut self, arrived: u8) -> Option<(u64, Box<BlockWords>)> {
        let (block, new) = self.write.take()?;
        let first = to_index(block) * BLOCK_WORDS;
        let old: &mut BlockWords = self.words[first..].first_chunk_mut().unwrap();
        *old = tear(self.number, block, old, &new, arrived);
        Some((block, new))
    }
}

impl Kept {
    pub(crate) fn new(number: u16, bits: u64) -> Self {
        let disk = MapDisk::new(number, bits);
        Self {
            marks: disk.load(),
            disk,
        }
    }

    /// Begins to write a block.
    pub(crate) fn begin(&mut self, block: u64, hold: impl Fn(usize) -> u64) {
        let mut words = [u64::MAX; BLOCK_WORDS];
        self.marks.begin(block, hold, &mut words);
        self.disk.begin(block, &words);
    }

    /// Ends the write under way, well or with some of its sectors on the disk.
    pub(crate) fn end(&mut self, succeeded: bool, arrived: u8) {
        let arrived = if succeeded { u8::MAX } else { arrived };
        if let Some((block, words)) = self.disk.end(arrived) {
            self.marks.end(block, &words, succeeded);
        }
    }

    /// The machine loses power and starts again.
    pub(crate) fn crash(&mut self, arrived: u8) {
        self.disk.end(arrived);
        self.marks = self.disk.load();
    }

    /// Blocks that are to be written when there is time.
    pub(crate) fn lazy(&self) -> Vec<u64> {
        let mut from = 0;
        core::iter::from_fn(|| {
            let block = self.marks.next_lazy(from)?;
            from = block + 1;
            Some(block)
        })
        .collect()
    }

    /// A word of the map in memory.
    pub(crate) fn wanted(&self, index: usize) -> u64 {
        self.marks.map().word(index)
    }
}

pub(crate) fn to_index(block: u64) -> usize {
    usize::try_from(block).unwrap()
}

/// A block of which some sectors are old and some are new, as it is read again.
fn tear(number: u16, block: u64, old: &BlockWords, new: &BlockWords, arrived: u8) -> BlockWords {
    if arrived == u8::MAX {
        return *new;
    }
    let (mut bytes, mut newer) = ([0; BLOCK_LEN], [0; BLOCK_LEN]);
    encode_map_block(&mut bytes, SET, number, block, old);
    encode_map_block(&mut newer, SET, number, block, new);
    for sector in (0..SECTORS).filter(|sector| arrived >> sector & 1 == 1) {
        let range = sector * SECTOR_LEN..(sector + 1) * SECTOR_LEN;
        bytes[range.clone()].copy_from_slice(&newer[range]);
    }
    let mut words = [0; BLOCK_WORDS];
    assert_eq!(decode_map_block(&bytes, SET, number, block, &mut words), 0);
    words
}
