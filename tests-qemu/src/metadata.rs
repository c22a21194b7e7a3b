// SPDX-License-Identifier: GPL-2.0
//! What a mirror keeps on a disk of its own, read and damaged from the host behind the machine's back.

use std::{collections::BTreeSet, fmt};

use anyhow::{anyhow, Context as _, Result};
use netraid_core::{
    crc32c::crc32c,
    meta::{
        choose, decode_map_block, map_of_peer, Layout, MetaError, Place, Superblock, BLOCK_LEN, BLOCK_WORDS,
        MAP_INTENT, MAP_WRITTEN, PEERS, SECTOR_LEN,
    },
};

use crate::disk::Disk;

/// Numbers of chunks.
pub type Chunks = BTreeSet<u64>;

/// The metadata of a mirror as it is on the disk now.
#[derive(Clone)]
pub struct Metadata {
    /// The superblock that counts.
    pub superblock: Superblock,
    /// Its number, 0 or 1.
    pub which: usize,
    layout: Layout,
    maps: Vec<Chunks>,
}

/// The two superblocks of a disk that holds nothing else than metadata.
///
/// # Errors
///
/// When the disk cannot be read.
pub fn superblocks(disk: &Disk) -> Result<[Result<Superblock, MetaError>; 2]> {
    both(&|offset| block(disk, offset))
}

/// Reads a block of 4096 bytes at an offset.
type ReadBlock<'a> = dyn Fn(u64) -> Result<[u8; BLOCK_LEN]> + 'a;

fn both(read: &ReadBlock<'_>) -> Result<[Result<Superblock, MetaError>; 2]> {
    let (first, second) = (read(0)?, read(BLOCK_LEN as u64)?);
    Ok([Superblock::decode(&first), Superblock::decode(&second)])
}

fn block(disk: &Disk, offset: u64) -> Result<[u8; BLOCK_LEN]> {
    let bytes = disk.read(offset, BLOCK_LEN as u64)?;
    bytes.try_into().map_err(|_| anyhow!("a block of another length"))
}

impl fmt::Debug for Metadata {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Superblock {
            sequence,
            role,
            flags,
            current,
            history,
            peers,
            ..
        } = &self.superblock;
        write!(formatter, "superblock {} (number {sequence}): {role:?}, ", self.which)?;
        write!(formatter, "{}; ", flags.words().collect::<Vec<_>>().join(", "))?;
        write!(formatter, "generation {current:x}, before {history:x?}")?;
        for peer in peers.iter().filter(|peer| !peer.is_free()) {
            let flags: Vec<_> = peer.flags.words().collect();
            write!(formatter, "; {} lacks since {:x} {flags:?}", peer.name, peer.base)?;
        }
        for (number, map) in self.maps.iter().enumerate().filter(|(_, map)| !map.is_empty()) {
            write!(formatter, "; map {number}: {}", listed(map))?;
        }
        Ok(())
    }
}

/// A set in words: `3 chunks: 1-2 7`.
#[must_use]
pub fn listed(chunks: &Chunks) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for &chunk in chunks {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == chunk => *last = chunk,
            _ => runs.push((chunk, chunk)),
        }
    }
    let words = runs.iter().map(|(first, last)| match last - first {
        0 => format!(" {first}"),
        _ => format!(" {first}-{last}"),
    });
    format!("{} chunks:{}", chunks.len(), words.collect::<String>())
}

impl Metadata {
    /// Reads it; a damaged sector of a map has all its chunks marked, as for the module.
    ///
    /// # Errors
    ///
    /// When the disk holds no whole superblock.
    pub fn read(disk: &Disk) -> Result<Self> {
        Self::read_with(&|offset| block(disk, offset))
    }

    /// The same from bytes, those of a disk that holds nothing else.
    ///
    /// # Errors
    ///
    /// When they hold no whole superblock, or end too soon.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::read_with(&|offset| {
            let start = usize::try_from(offset)?;
            let block = bytes
                .get(start..start + BLOCK_LEN)
                .context("the bytes end before that")?;
            block.try_into().map_err(|_| anyhow!("a block of another length"))
        })
    }

    fn read_with(read: &ReadBlock<'_>) -> Result<Self> {
        let [first, second] = both(read)?;
        let (which, superblock) = choose(&first, &second).map_err(|error| anyhow!("no metadata: {error:?}"))?;
        let superblock = superblock.clone();
        let geometry = superblock.geometry();
        let layout = Layout::new(Place::Start, geometry).map_err(|error| anyhow!("no layout: {error:?}"))?;
        let chunks = geometry.map_or(0, |geometry| geometry.chunks());
        // Those behind are not in use.
        let mut maps = vec![Chunks::new(); MAP_WRITTEN + 1];
        for (map, marked) in maps.iter_mut().enumerate() {
            let mut words = [0; BLOCK_WORDS];
            for number in 0..layout.blocks_per_map() {
                let bytes = read(layout.map_block_offset(map, number))?;
                decode_map_block(&bytes, superblock.set, u16::try_from(map)?, number, &mut words);
                let first = number * BLOCK_WORDS as u64 * 64;
                for (at, word) in (0_u64..).zip(words) {
                    marked.extend(
                        (0..64)
                            .filter(|bit| word >> bit & 1 == 1)
                            .map(|bit| first + at * 64 + bit),
                    );
                }
            }
            marked.retain(|&chunk| chunk < chunks);
        }
        Ok(Self {
            superblock,
            which,
            layout,
            maps,
        })
    }

    /// Chunks that may have been in flight, or not on stable storage everywhere.
    #[must_use]
    pub fn intent(&self) -> &Chunks {
        &self.maps[MAP_INTENT]
    }

    /// Chunks that the peer in a slot (0 to 6) misses; without any peer, those of slot 0 are for the next one.
    #[must_use]
    pub fn dirty(&self, slot: usize) -> &Chunks {
        &self.maps[map_of_peer(slot)]
    }

    /// Chunks that count as missed by the first peer when this machine comes back after a crash.
    #[must_use]
    pub fn after_crash(&self) -> Chunks {
        self.intent() | self.dirty(0)
    }

    /// Generations of the data: the current one, and those that peers lack since.
    #[must_use]
    pub fn generations(&self) -> (u64, [u64; PEERS]) {
        (
            self.superblock.current,
            self.superblock.peers.each_ref().map(|peer| peer.base),
        )
    }

    /// Where a block of a map is on the disk, in bytes.
    #[must_use]
    pub fn map_offset(&self, map: usize, block: u64) -> u64 {
        self.layout.map_block_offset(map, block)
    }

    /// Bytes of the disk that mean anything.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.layout.len()
    }
}

/// Inverts some bits of the byte at `offset`.
///
/// # Errors
///
/// When the disk cannot be read or written there.
pub fn flip(disk: &Disk, offset: u64, bits: u8) -> Result<()> {
    let byte = disk.read(offset, 1)?[0];
    disk.write(offset, &[byte ^ bits])
}

/// Makes both superblocks look like those of a later version of the format, with good checksums.
///
/// # Errors
///
/// When the disk cannot be read or written.
pub fn make_newer(disk: &Disk, version: u16) -> Result<()> {
    for start in [0, BLOCK_LEN as u64] {
        // The first sector alone tells the version.
        let mut sector = disk.read(start, SECTOR_LEN as u64)?;
        sector[4..6].copy_from_slice(&version.to_le_bytes());
        let sum = crc32c(0, &sector[..SECTOR_LEN - 4]);
        sector[SECTOR_LEN - 4..].copy_from_slice(&sum.to_le_bytes());
        disk.write(start, &sector).context("write a superblock")?;
    }
    Ok(())
}
