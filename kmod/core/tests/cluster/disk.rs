// SPDX-License-Identifier: GPL-2.0

//! A disk with a cache that a power cut empties in part.

use crate::cluster::WRITES;
use crate::rng::Rng;

/// Chunks of a disk.
pub const CHUNKS: usize = 6;

/// What a chunk holds: the number of the write that put it there.
pub type Version = u32;

#[derive(Clone, Debug)]
struct Chunk {
    durable: Version,
    /// Written since, the newest last; any of these may be what is left after a power cut.
    cached: Vec<Version>,
}

/// A disk.
#[derive(Clone, Debug)]
pub struct Disk {
    chunks: Vec<Chunk>,
}

impl Disk {
    /// A disk whose chunks hold `first`, `first + 1` and so on.
    pub fn new(first: Version) -> Self {
        let chunk = |durable| Chunk {
            durable,
            cached: Vec::new(),
        };
        Self {
            chunks: (first..).take(CHUNKS).map(chunk).collect(),
        }
    }

    pub fn read(&self, chunk: usize) -> Version {
        let chunk = &self.chunks[chunk];
        *chunk.cached.last().unwrap_or(&chunk.durable)
    }

    /// The writes of applications that are on it; each has a bit.
    pub fn writes(&self) -> u128 {
        let there = (0..CHUNKS).map(|chunk| self.read(chunk));
        let writes = there.filter(|version| *version < WRITES);
        writes.fold(0, |all, version| all | 1 << version)
    }

    pub fn write(&mut self, chunk: usize, version: Version) {
        self.chunks[chunk].cached.push(version);
    }

    pub fn flush(&mut self) {
        for chunk in &mut self.chunks {
            chunk.durable = chunk.cached.pop().unwrap_or(chunk.durable);
            chunk.cached.clear();
        }
    }

    /// What a chunk may hold after a power cut.
    pub fn possible(&self, chunk: usize) -> impl Iterator<Item = Version> + '_ {
        let chunk = &self.chunks[chunk];
        std::iter::once(chunk.durable).chain(chunk.cached.iter().copied())
    }

    /// A power cut.
    pub fn crash(&mut self, rng: &mut Rng) {
        for number in 0..CHUNKS {
            let left: Vec<_> = self.possible(number).collect();
            let chunk = &mut self.chunks[number];
            chunk.durable = left[rng.below(left.len())];
            chunk.cached.clear();
        }
    }
}
