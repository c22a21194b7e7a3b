// SPDX-License-Identifier: GPL-2.0

//! What a cluster is made like.

use netraid_core::meta::MetaFlags;

/// What a mirror is made like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Plain,
    /// There are no maps on the disks.
    NoBitmap,
    /// The disks are the same before the first copy.
    Prepared,
}

impl Kind {
    pub fn flags(self) -> MetaFlags {
        match self {
            Self::Plain => MetaFlags::NONE,
            Self::NoBitmap => MetaFlags::NO_BITMAP,
            Self::Prepared => MetaFlags::PREPARED,
        }
    }
}

/// What a cluster is made like.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Machines.
    pub nodes: usize,
    pub kind: Kind,
    /// Targets that operators give a source.
    pub targets: usize,
    /// The metadata of each machine is on the disk of the mirror, and fails with it.
    pub internal: bool,
    /// Machines far away; each has a bit. Legs to them from the others are asynchronous, and the other way round.
    pub far: u8,
    /// A target far away that can't keep up is given up, and gets what it missed later.
    pub gives_way: bool,
    /// The operators want errors of the disk passed on to the application, whoever is in step.
    pub passes_on: bool,
}

impl Shape {
    /// A source with this many targets.
    pub const fn plain(targets: usize) -> Self {
        Self {
            nodes: targets + 1,
            kind: Kind::Plain,
            targets,
            internal: false,
            far: 0,
            gives_way: false,
            passes_on: false,
        }
    }

    /// Whether a leg between two machines is asynchronous.
    pub const fn is_asynchronous(&self, a: usize, b: usize) -> bool {
        self.far >> a & 1 != self.far >> b & 1
    }

    /// Of the history with this number.
    pub fn of(seed: u64) -> Self {
        let nodes = match seed % 8 {
            0..=3 => 3,
            4 | 5 => 2,
            _ => 4,
        };
        Self {
            nodes,
            kind: match seed / 8 % 6 {
                0 => Kind::NoBitmap,
                1 => Kind::Prepared,
                _ => Kind::Plain,
            },
            targets: if seed / 16 % 4 == 1 { 1 } else { nodes - 1 },
            internal: seed % 5 == 3,
            far: match seed / 4 % 5 {
                0 => 0b0010,
                1 => 0b1100,
                _ => 0,
            },
            gives_way: seed % 3 == 1,
            passes_on: seed % 7 == 5,
        }
    }
}
