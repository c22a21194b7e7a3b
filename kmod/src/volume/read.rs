// SPDX-License-Identifier: GPL-2.0

//! Reads: from the local disk, with nothing in between.

use super::Volume;
use crate::sys::{
    block::{Bio, Done, IoResult},
    sync::{Busy, Guarded},
};
use kernel::prelude::*;

/// A read under way.
pub(super) struct Read {
    bio: Bio,
    accounting: usize,
    // Last, so that the volume is let go after the bio has ended.
    _volume: Busy<Volume>,
}

/// Sends a read to the local disk; may sleep.
pub(super) fn submit(volume: &Guarded<Volume>, bio: Bio) {
    let Some(busy) = volume.enter() else {
        return bio.end(Err(ENODEV));
    };
    match volume.reads.clone_of(&bio, &volume.lower) {
        Ok(child) => {
            let accounting = bio.start_accounting();
            child.submit(Read {
                bio,
                accounting,
                _volume: busy,
            });
        }
        Err(error) => bio.end(Err(error)),
    }
}

impl Done for Read {
    fn done(mut self, result: IoResult) {
        self.bio.finish_accounting(self.accounting, result);
        self.bio.end(result);
    }
}
