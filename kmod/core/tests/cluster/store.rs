// SPDX-License-Identifier: GPL-2.0

//! What a machine has on record, with a map for each leg, and power cuts in the middle of a change.

use crate::disk::CHUNKS;
use netraid_core::bitmap::words_for;
use netraid_core::intent::IntentLog;
use netraid_core::legs::{LegNumber, MAX_LEGS};
use netraid_core::marks::{blocks_for, BlockWords, Marks, Memory};
use netraid_core::meta::{places, MetaFlags, PeerFlags, Superblock};

/// A map of the simulation.
pub type Map = Marks<Vec<u64>>;

/// An intent log of the simulation.
pub type Intents = IntentLog<Vec<u64>>;

/// Every chunk.
pub const ALL: u64 = (1 << CHUNKS) - 1;

/// The power went off in the middle of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PowerCut;

/// One of the maps on the disk, in the order in which they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Intent,
    Dirty(LegNumber),
}

impl Which {
    pub fn all() -> impl Iterator<Item = Self> {
        std::iter::once(Self::Intent).chain(LegNumber::all().map(Self::Dirty))
    }
}

/// A power cut that is due.
#[derive(Clone, Copy, Debug)]
pub struct Fuse {
    /// Writes of metadata that are still done.
    pub left: u32,
    /// What becomes of the one after: 0 nothing of it, 1 all of it, 2 (a map) a torn sector.
    pub outcome: u32,
}

/// The content of the metadata.
#[derive(Clone, Debug)]
pub struct Content {
    pub sb: Superblock,
    pub intent: u64,
    pub dirty: [u64; MAX_LEGS],
}

/// The metadata.
#[derive(Clone, Debug)]
pub struct Store {
    pub now: Content,
    pub fuse: Option<Fuse>,
    /// What is left on a disk that was given up with the metadata on it; what is kept since is kept in memory alone.
    pub lost: Option<Box<Content>>,
}

impl Store {
    pub fn new(sb: Superblock) -> Self {
        let now = Content {
            sb,
            intent: 0,
            dirty: [0; MAX_LEGS],
        };
        Self {
            now,
            fuse: None,
            lost: None,
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
        let mut next = self.now.sb.clone();
        change(&mut next);
        if next == self.now.sb {
            return Ok(());
        }
        let burnt = self.burn();
        if burnt != Some(0) {
            self.now.sb = next;
        }
        burnt.map_or(Ok(()), |_| Err(PowerCut))
    }

    /// Writes the only block of a map.
    pub fn write_map(&mut self, which: Which, words: &BlockWords) -> Result<(), PowerCut> {
        let burnt = self.burn();
        let map = match which {
            Which::Intent => &mut self.now.intent,
            Which::Dirty(leg) => &mut self.now.dirty[leg.index()],
        };
        match burnt {
            None => {
                *map = words[0];
                return Ok(());
            }
            Some(0) => {}
            Some(1) => *map = words[0],
            // A sector whose checksum is wrong reads as all ones.
            Some(_) => *map = ALL,
        }
        Err(PowerCut)
    }

    /// The machine lost its power, or ended the mirror: what is on the disk is what is left.
    pub fn reload(&mut self) {
        self.fuse = None;
        if let Some(content) = self.lost.take() {
            self.now = *content;
        }
        self.now.sb.forget_lost_disk();
    }

    /// What is left after a power cut now.
    pub fn after_cut(&self) -> Self {
        let mut left = self.clone();
        left.reload();
        left
    }

    /// Whether there are maps on the disk.
    pub fn has_maps(&self) -> bool {
        !self.now.sb.flags.contains(MetaFlags::NO_BITMAP)
    }

    /// The log of intents as it is read when a machine comes into service.
    pub fn intents(&self) -> Intents {
        let kept = if self.has_maps() { self.now.intent } else { 0 };
        IntentLog::new(map(kept, self.has_maps()), words(0), words(0)).unwrap()
    }

    /// What a leg misses, with what was in use.
    pub fn missed(&self, leg: LegNumber) -> Map {
        if !self.has_maps() {
            return self.unknown();
        }
        let mut map = map(self.now.dirty[leg.index()], true);
        map.merge(0, std::iter::once(self.now.intent));
        map
    }

    /// The map of a leg of which nothing is known.
    pub fn unknown(&self) -> Map {
        let mut map = map(0, self.has_maps());
        map.set_all();
        map
    }

    /// The map of a leg that misses at most these chunks.
    pub fn at_most(&self, word: u64) -> Map {
        let mut map = map(0, self.has_maps());
        map.merge(0, std::iter::once(word));
        map
    }

    /// Whether a machine has something to tell as a target. Without maps only one does that may have written something.
    pub fn tells(&self) -> bool {
        let sb = &self.now.sb;
        let alone = sb.peers[0].base != 0 || sb.peers[0].flags.contains(PeerFlags::PAUSED);
        let wrote = sb.flags.contains(MetaFlags::LAST_OWNER) || sb.flags.contains(MetaFlags::YIELDED) || alone;
        self.has_maps() || wrote
    }

    /// What a target would tell of itself: what it marked for whomever.
    pub fn own_words(&self) -> u64 {
        if !self.has_maps() {
            return if self.tells() { ALL } else { 0 };
        }
        let others = places::taken(&self.now.sb.peers);
        let marked = others
            .iter()
            .fold(self.now.dirty[0], |all, leg| all | self.now.dirty[leg.index()]);
        marked | self.now.intent
    }
}

fn words(value: u64) -> Vec<u64> {
    let mut words = vec![0; words_for(CHUNKS as u64)];
    words[0] = value;
    words
}

fn map(value: u64, kept: bool) -> Map {
    let bits = CHUNKS as u64;
    let blocks = || vec![0; words_for(blocks_for(bits))];
    let memory = Memory {
        maps: [words(value), words(0)],
        blocks: [blocks(), blocks()],
    };
    Marks::new(memory, bits, kept).unwrap()
}
