// SPDX-License-Identifier: GPL-2.0

//! What outlives a crash besides the data: the superblock and the maps, as of the last complete write.

use super::bugs::Bugs;
use super::disk::{Mask, ALL, CHUNKS};
use netraid_core::{
    bitmap::words_for,
    chunk::Geometry,
    generation::Generations,
    intent::IntentLog,
    marks::{blocks_for, Marks, Memory},
    meta::{MetaFlags, Peer, Superblock},
    wire::{Id, NO_ID},
};

/// The power went away in the middle of something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crash;

pub(crate) type Step<T = ()> = Result<T, Crash>;

pub(crate) type Map = Marks<Vec<u64>>;

const CHUNK_SIZE: u32 = 4096;

pub(crate) fn geometry() -> Geometry {
    Geometry::new(CHUNKS as u64 * u64::from(CHUNK_SIZE), CHUNK_SIZE).unwrap()
}

/// One of the maps that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Written,
    Intent,
    Dirty,
}

impl Which {
    pub(crate) const ALL: [Self; 3] = [Self::Written, Self::Intent, Self::Dirty];

    pub(crate) fn next(self) -> Option<Self> {
        match self {
            Self::Written => Some(Self::Intent),
            Self::Intent => Some(Self::Dirty),
            Self::Dirty => None,
        }
    }
}

/// Metadata on a disk.
#[derive(Clone, Debug)]
pub(crate) struct Meta {
    sb: Superblock,
    maps: [Mask; 3],
    /// Power is left for so many writes; `None` for all.
    pub(crate) fuse: Option<u8>,
    /// It went away.
    pub(crate) burnt: bool,
    pub(crate) bugs: Bugs,
}

impl Meta {
    pub(crate) fn new(sb: Superblock, dirty: Mask, bugs: Bugs) -> Self {
        let mut meta = Self {
            sb,
            maps: [0; 3],
            fuse: None,
            burnt: false,
            bugs,
        };
        meta.maps[Which::Dirty as usize] = dirty;
        meta
    }

    pub(crate) fn sb(&self) -> &Superblock {
        &self.sb
    }

    pub(crate) fn has(&self, flag: MetaFlags) -> bool {
        self.sb.flags.contains(flag)
    }

    pub(crate) fn peer(&self) -> &Peer {
        &self.sb.peers[0]
    }

    /// Whether the disk holds a copy that is complete.
    pub(crate) fn is_usable(&self) -> bool {
        self.sb.current != 0 && !self.has(MetaFlags::INCONSISTENT)
    }

    /// What is kept of a map; every chunk where none is.
    pub(crate) fn map(&self, which: Which) -> Mask {
        self.maps[which as usize]
    }

    pub(crate) fn has_maps(&self) -> bool {
        !self.has(MetaFlags::NO_BITMAP)
    }

    /// What a start after a crash takes for marked.
    pub(crate) fn marks_after_crash(&self) -> Mask {
        if self.has_maps() {
            self.map(Which::Dirty) | self.map(Which::Intent)
        } else {
            ALL
        }
    }

    fn burn(&mut self) -> Step {
        match &mut self.fuse {
            None => Ok(()),
            Some(0) => {
                self.burnt = true;
                Err(Crash)
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    /// As `Store::change`: durable when it returns, not written where nothing changes.
    pub(crate) fn change(&mut self, edit: impl FnOnce(&mut Superblock)) -> Step {
        let mut next = self.sb.clone();
        edit(&mut next);
        if next != self.sb {
            self.burn()?;
            self.sb = next;
        }
        Ok(())
    }

    pub(crate) fn write_map(&mut self, which: Which, bits: Mask) -> Step {
        self.burn()?;
        self.maps[which as usize] = bits;
        Ok(())
    }

    /// As `Store::bind`: the maps begin empty.
    pub(crate) fn bind(&mut self) -> Step {
        if self.sb.geometry() == Some(geometry()) {
            return Ok(());
        }
        self.maps = [0; 3];
        self.change(|sb| {
            sb.size = geometry().size();
            sb.chunk_size = CHUNK_SIZE;
        })?;
        self.change(|sb| sb.current = 0)
    }

    /// This machine's generations, as they relate to another one.
    pub(crate) fn generations(&self, other: &Id) -> Generations {
        generations(&self.sb, other)
    }
}

/// As `leg::greeting::generations`.
pub(crate) fn generations(sb: &Superblock, other: &Id) -> Generations {
    let noted = sb.peers.first().filter(|peer| peer.uuid == *other && *other != NO_ID);
    Generations {
        current: sb.current,
        base: noted.map_or(0, |peer| peer.base),
        history: sb.history,
    }
}

/// The maps of a volume, as `Maps::load` has them.
#[derive(Debug)]
pub(crate) struct Maps {
    pub(crate) intent: IntentLog<Vec<u64>>,
    pub(crate) dirty: Map,
    pub(crate) written: Option<Map>,
}

impl Maps {
    pub(crate) fn load(meta: &Meta) -> Self {
        let kept = meta.has_maps();
        let words = || vec![0; words_for(CHUNKS as u64)];
        let blocks = || vec![0; words_for(blocks_for(CHUNKS as u64))];
        let map = |which| {
            let first = if kept { vec![meta.map(which)] } else { words() };
            let memory = Memory {
                maps: [first, words()],
                blocks: [blocks(), blocks()],
            };
            Marks::new(memory, CHUNKS as u64, kept).unwrap()
        };
        let intent = map(Which::Intent);
        let in_use = intent.map().word(0);
        let mut dirty = map(Which::Dirty);
        dirty.merge(0, [in_use].into_iter());
        let mut written = meta.has(MetaFlags::NEW).then(|| map(Which::Written));
        if let Some(written) = &mut written {
            written.merge(0, [in_use].into_iter());
        }
        if !kept {
            dirty.set_all();
        }
        Self {
            intent: IntentLog::new(intent, words(), words()).unwrap(),
            dirty,
            written,
        }
    }
}
