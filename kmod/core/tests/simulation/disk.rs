// SPDX-License-Identifier: GPL-2.0

//! Disks, most with a volatile cache, and what is known of everything that was ever written to them.

use super::rng::Rng;

/// Chunks of a disk. Few, so that a resync is over soon, and two that do something meet at the same one.
pub(crate) const CHUNKS: usize = 8;

/// A bit for each chunk.
pub(crate) type Mask = u64;

/// Every chunk.
pub(crate) const ALL: Mask = (1 << CHUNKS) - 1;

/// What a chunk holds: the number of a write.
pub(crate) type Version = u32;

/// A write that reached the disk's cache, or is on its way to it.
#[derive(Clone, Copy, Debug)]
struct Cached {
    chunk: usize,
    version: Version,
    /// When it was done; 0 while it is under way.
    at: u64,
    id: u64,
}

/// A disk. Chunks written since the last flush may be lost, each for itself, when the power fails.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    stable: [Version; CHUNKS],
    cache: Vec<Cached>,
    visible: [Version; CHUNKS],
    clock: u64,
    /// It has a cache that loses what is in it with the power.
    pub(crate) is_cached: bool,
}

impl Disk {
    pub(crate) fn new(stable: [Version; CHUNKS]) -> Self {
        Self {
            stable,
            cache: Vec::new(),
            visible: stable,
            clock: 0,
            is_cached: true,
        }
    }

    /// What a reader finds.
    pub(crate) fn visible(&self, chunk: usize) -> Version {
        self.visible[chunk]
    }

    /// What a crash certainly leaves, or something newer.
    pub(crate) fn stable(&self, chunk: usize) -> Version {
        self.stable[chunk]
    }

    /// Begins a write; what is returned ends it.
    pub(crate) fn start(&mut self, chunk: usize, version: Version) -> u64 {
        self.clock += 1;
        self.visible[chunk] = version;
        self.cache.push(Cached {
            chunk,
            version,
            at: 0,
            id: self.clock,
        });
        self.clock
    }

    /// A write is done: in the cache, if there is one.
    pub(crate) fn finish(&mut self, id: u64) {
        self.clock += 1;
        let at = self.clock;
        for it in &mut self.cache {
            if it.id == id {
                it.at = at;
            }
        }
        if !self.is_cached {
            self.flush(at);
        }
    }

    /// The cache is switched on or off.
    pub(crate) fn set_cached(&mut self, is_cached: bool) {
        self.is_cached = is_cached;
        if !is_cached {
            self.flush(self.clock);
        }
    }

    /// Begins a flush, of what is done now; what is returned ends it.
    pub(crate) fn now(&self) -> u64 {
        self.clock
    }

    /// A flush is done.
    pub(crate) fn flush(&mut self, until: u64) {
        let stable = &mut self.stable;
        self.cache.retain(|it| {
            let kept = it.at == 0 || it.at > until;
            if !kept {
                stable[it.chunk] = it.version;
            }
            kept
        });
    }

    /// The power fails: of each chunk that was not made durable, any state that it had is left.
    pub(crate) fn crash(&mut self, luck: u64) {
        let mut rng = Rng::new(luck);
        // All is lost, or all is kept, more often than chance would have it.
        let kind = luck % 4;
        for it in &self.cache {
            let keep = match kind {
                0 => false,
                1 => it.at != 0,
                _ => rng.one_in(2),
            };
            if keep {
                self.stable[it.chunk] = it.version;
            }
        }
        self.cache.clear();
        self.visible = self.stable;
    }

    /// Chunks of which a crash could leave something else than what a reader finds now.
    pub(crate) fn volatile(&self) -> Mask {
        let differing = self.cache.iter().filter(|it| self.stable[it.chunk] != it.version);
        differing.fold(0, |mask, it| mask | 1 << it.chunk)
    }

    /// Chunks that hold, or could hold after a crash, a version from `first` on.
    pub(crate) fn from(&self, first: Version) -> Mask {
        let held = self.stable.iter().zip(&self.visible).enumerate();
        let held = held.fold(0, |mask, (chunk, (a, b))| mask | u64::from(*a.max(b) >= first) << chunk);
        let cached = self.cache.iter().filter(|it| it.version >= first);
        cached.fold(held, |mask, it| mask | 1 << it.chunk)
    }

    /// Chunks in which two disks differ, as a reader finds them.
    pub(crate) fn differs(&self, other: &Self) -> Mask {
        let both = self.visible.iter().zip(&other.visible);
        both.enumerate()
            .fold(0, |mask, (chunk, (a, b))| mask | u64::from(a != b) << chunk)
    }
}

/// One write.
#[derive(Clone, Copy, Debug)]
struct Write {
    parent: Version,
    generation: u64,
}

/// Everything that was ever written, and what applications were promised.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    writes: Vec<Write>,
    /// For each chunk, the newest versions that were confirmed and made durable by a confirmed flush.
    promised: [Vec<(Version, usize)>; CHUNKS],
    /// Versions that were there in the beginning.
    pub(crate) first: Version,
}

impl Ledger {
    /// A version that replaces another one; the first ones replace themselves.
    pub(crate) fn version(&mut self, parent: Option<Version>) -> Version {
        let version = self.writes.len() as Version;
        self.writes.push(Write {
            parent: parent.unwrap_or(version),
            generation: 0,
        });
        version
    }

    /// The generation of the source when it confirmed a write.
    pub(crate) fn confirmed(&mut self, version: Version, generation: u64) {
        self.writes[version as usize].generation = generation;
    }

    /// Whether whoever holds `has` knows of `wanted`: it is that, or replaces it.
    pub(crate) fn covers(&self, has: Version, wanted: Version) -> bool {
        let mut at = has;
        // A write is always younger than what it replaces.
        while at > wanted {
            let parent = self.writes[at as usize].parent;
            if parent == at {
                return false;
            }
            at = parent;
        }
        at == wanted
    }

    /// An application on a machine was told that a write is durable.
    pub(crate) fn promise(&mut self, node: usize, chunk: usize, version: Version) {
        let mut heads = std::mem::take(&mut self.promised[chunk]);
        if heads.iter().all(|&(head, _)| !self.covers(head, version)) {
            heads.retain(|&(head, _)| !self.covers(version, head));
            heads.push((version, node));
        }
        self.promised[chunk] = heads;
    }

    /// Promised versions of a chunk, and who promised them.
    pub(crate) fn promised(&self, chunk: usize) -> &[(Version, usize)] {
        &self.promised[chunk]
    }

    /// The generation under which it was confirmed.
    pub(crate) fn generation(&self, version: Version) -> u64 {
        self.writes[version as usize].generation
    }

    /// Gives up promises, as an operator or a documented rule has it; how many.
    pub(crate) fn waive(&mut self, chunk: usize, gone: impl Fn(&Self, Version) -> bool) -> u64 {
        let before = self.promised[chunk].len();
        let mut heads = std::mem::take(&mut self.promised[chunk]);
        heads.retain(|&(head, _)| !gone(self, head));
        let left = heads.len();
        self.promised[chunk] = heads;
        (before - left) as u64
    }
}
