// SPDX-License-Identifier: GPL-2.0

//! The local disks of a volume: the one in use, and those in whose place it was put. What is on its way to one of them needs
//! it until it ends, so none is let go before the volume is; that is also why reads and writes need no lock to get at it.

use crate::sys::block::LowerDisk;
use kernel::sync::{
    atomic::{Acquire, Atomic, Release},
    Arc, SetOnce,
};

/// How often a disk can be put in while the mirror is in service; one that fails is rare, and each is kept.
pub(super) const MOST: usize = 15;

/// The disks, by number.
pub(super) struct Disks {
    first: Arc<LowerDisk>,
    later: [SetOnce<Arc<LowerDisk>>; MOST],
    current: Atomic<u32>,
}

impl Disks {
    pub(super) fn new(first: Arc<LowerDisk>) -> Self {
        Self {
            first,
            later: [const { SetOnce::new() }; MOST],
            current: Atomic::new(0),
        }
    }

    /// The number of the one in use; any context. It changes under the lock of the volume.
    pub(super) fn number(&self) -> u32 {
        self.current.load(Acquire)
    }

    /// One that is or was in use; any context.
    pub(super) fn get(&self, number: u32) -> &Arc<LowerDisk> {
        let later = (number as usize).checked_sub(1).and_then(|place| self.later.get(place));
        later.and_then(SetOnce::as_ref).unwrap_or(&self.first)
    }

    /// Whether another one can be put in.
    pub(super) fn has_room(&self) -> bool {
        (self.number() as usize) < MOST
    }

    /// Puts a disk in; there has to be [room](Self::has_room). Under the lock of the volume.
    pub(super) fn put_in(&self, disk: Arc<LowerDisk>) {
        let number = self.number();
        if let Some(place) = self.later.get(number as usize) {
            let _was_free = place.populate(disk);
            self.current.store(number.saturating_add(1), Release);
        }
    }
}
