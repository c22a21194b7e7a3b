// SPDX-License-Identifier: GPL-2.0

//! What a machine has on record, and power cuts in the middle of a change.

use crate::disk::CHUNKS;
use netraid_core::bitmap::words_for;
use netraid_core::intent::IntentLog;
use netraid_core::marks::{blocks_for, BlockWords, Marks, Memory};
use netraid_core::meta::Superblock;

/// A map of the simulation.
pub type Map = Marks<Vec<u64>>;

/// An intent log of the simulation.
pub type Intents = IntentLog<Vec<u64>>;

/// Every chunk.
pub const ALL: u64 = (1 << CHUNKS) - 1;

/// The power went off in the middle of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PowerCut;

/// One of the maps on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Intent,
    Dirty,
}

/// A power cut that is due.
#[derive(Clone, Copy, Debug)]
pub struct Fuse {
    /// Writes of metadata that are still done.
    pub left: u32,
    /// What becomes of the one after: 0 nothing of it, 1 all of it, 2 (a map) a torn sector.
    pub outcome: u32,
}

/// The metadata on the disk.
#[derive(Clone, Debug)]
pub struct Store {
    pub sb: Superblock,
    pub intent: u64,
    pub dirty: u64,
    pub fuse: Option<Fuse>,
}

impl Store {
    pub fn new(sb: Superblock) -> Self {
        Self {
            sb,
            intent: 0,
            dirty: 0,
            fuse: None,
        }
    }

    /// Whether the power goes off now; the outcome for what is being written.
    fn burn(&mut self) -> Option<u32> {
        let fuse = self.fuse.as_mut()?;
        if fuse.left > 0 {
            fuse.left -= 1;
            return None;
        }
        let outcome = fuse.outcome;
        self.fuse = None;
        Some(outcome)
    }

    /// Changes the superblock; there are two of them, so that a change is there or not.
    pub fn change(&mut self, change: impl FnOnce(&mut Superblock)) -> Result<(), PowerCut> {
        let mut next = self.sb.clone();
        change(&mut next);
        if next == self.sb {
            return Ok(());
        }
        match self.burn() {
            None => self.sb = next,
            Some(0) => return Err(PowerCut),
            Some(_) => {
                self.sb = next;
                return Err(PowerCut);
            }
        }
        Ok(())
    }

    /// Writes the only block of a map.
    pub fn write_map(&mut self, which: Which, words: &BlockWords) -> Result<(), PowerCut> {
        let burnt = self.burn();
        let map = match which {
            Which::Intent => &mut self.intent,
            Which::Dirty => &mut self.dirty,
        };
        match burnt {
            None => *map = words[0],
            Some(0) => return Err(PowerCut),
            Some(1) => {
                *map = words[0];
                return Err(PowerCut);
            }
            // A sector whose checksum is wrong reads as all ones.
            Some(_) => {
                *map = ALL;
                return Err(PowerCut);
            }
        }
        Ok(())
    }

    /// The maps as they are read when a machine comes into service: what was in use is dirty then.
    pub fn load(&self, no_bitmap: bool) -> (Intents, Map) {
        let bits = CHUNKS as u64;
        let words = |value: u64| {
            let mut words = vec![0; words_for(bits)];
            words[0] = value;
            words
        };
        let map = |value: u64| {
            let blocks = || vec![0; words_for(blocks_for(bits))];
            let memory = Memory {
                maps: [words(value), words(0)],
                blocks: [blocks(), blocks()],
            };
            Marks::new(memory, bits, !no_bitmap).unwrap()
        };
        let (intent, mut dirty) = if no_bitmap {
            (map(0), map(ALL))
        } else {
            (map(self.intent), map(self.dirty))
        };
        if !no_bitmap {
            dirty.merge(0, std::iter::once(self.intent));
        }
        (IntentLog::new(intent, words(0), words(0)).unwrap(), dirty)
    }
}
