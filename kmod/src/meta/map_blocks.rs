// SPDX-License-Identifier: GPL-2.0

//! The maps in the metadata, block by block.

use super::place::MetaIo;
use crate::sys::file::{Block, Durable};
use kernel::prelude::*;
use netraid_core::{
    marks::{BlockWords, BLOCK_WORDS},
    meta::{decode_map_block, encode_map_block, map_of_peer, Layout, MAP_WRITTEN, SECTOR_WORDS},
};

/// Sectors of a block.
const SECTORS: u64 = 8;

/// Where the maps are, with memory for one block.
pub(super) struct MapBlocks {
    layout: Layout,
    set: u64,
    block: Block,
    words: KBox<BlockWords>,
}

impl MapBlocks {
    /// Maps in these places, which belong to the superblock with this set.
    pub(super) fn new(layout: Layout, set: u64) -> Result<Self> {
        Ok(Self {
            layout,
            set,
            block: Block::new()?,
            words: KBox::new([0; BLOCK_WORDS], GFP_KERNEL)?,
        })
    }

    pub(super) fn blocks(&self) -> u64 {
        self.layout.blocks_per_map()
    }

    /// Writes every map in use, empty; with `tracking_dirty`, that of the first peer full. Durable when this returns.
    /// How many blocks that were.
    pub(super) fn fill(&mut self, io: &MetaIo, tracking_dirty: bool) -> Result<u64> {
        let mut written = 0_u64;
        for map in 0..=MAP_WRITTEN {
            let full = tracking_dirty && map == map_of_peer(0);
            self.words.fill(if full { u64::MAX } else { 0 });
            for block in 0..self.blocks() {
                encode_map_block(&mut self.block, self.set, map as u16, block, &self.words);
                io.write(self.layout.map_block_offset(map, block), &self.block, Durable::AtSync)?;
                written = written.saturating_add(1);
            }
        }
        if written > 0 {
            io.sync()?;
        }
        Ok(written)
    }

    /// Writes a block; durable when this returns.
    pub(super) fn write(&mut self, io: &MetaIo, map: usize, block: u64, words: &BlockWords) -> Result {
        let offset = self.layout.map_block_offset(map, block);
        if offset == u64::MAX {
            return Err(EINVAL);
        }
        encode_map_block(&mut self.block, self.set, map as u16, block, words);
        io.write(offset, &self.block, Durable::Now)
    }

    /// Reads a map from its beginning on, as far as there are words. Those of a sector that can't be read are all
    /// ones; the number of such sectors.
    pub(super) fn read(&mut self, io: &MetaIo, map: usize, words: &mut [u64]) -> Result<u64> {
        let mut damaged = 0_u64;
        for (block, to) in (0_u64..).zip(words.chunks_mut(BLOCK_WORDS)) {
            let sectors = to.len().div_ceil(SECTOR_WORDS);
            let offset = self.layout.map_block_offset(map, block);
            let bad = if offset != u64::MAX && io.read(offset, &mut self.block).is_ok() {
                decode_map_block(&self.block, self.set, map as u16, block, &mut self.words)
            } else {
                self.words.fill(u64::MAX);
                u8::MAX
            };
            to.iter_mut().zip(self.words.iter()).for_each(|(to, from)| *to = *from);
            let counted = bad & u8::MAX.checked_shr(8_u32.saturating_sub(sectors as u32)).unwrap_or(0);
            damaged = damaged.saturating_add(u64::from(counted.count_ones()));
        }
        Ok(damaged)
    }

    /// Whether a block is one of a map, whosever it is, or was when the machine stopped.
    pub(super) fn is_map(&mut self, block: &Block) -> bool {
        let number = |at: usize| {
            let bytes = block.get(at..at.saturating_add(8))?;
            Some(u64::from_le_bytes(bytes.try_into().ok()?))
        };
        // As described in `netraid_core::meta`: checksum and map, index, set.
        let (Some(map), Some(sector), Some(set)) = (number(0), number(8), number(16)) else {
            return false;
        };
        decode_map_block(block, set, (map >> 32) as u16, sector / SECTORS, &mut self.words) != u8::MAX
    }
}
