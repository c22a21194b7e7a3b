// SPDX-License-Identifier: GPL-2.0

//! Reads: from the local disk, with nothing in between. What it fails the target may have, see [`rescue`].

use super::{rescue, Volume};
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
    volume: Busy<Volume>,
}

/// Sends a read to the local disk; may sleep.
pub(super) fn submit(volume: &Guarded<Volume>, bio: Bio) {
    let Some(busy) = volume.enter() else {
        return bio.end(Err(ENODEV));
    };
    let Some(lower) = volume.readable() else {
        return rescue::remote(&busy, bio);
    };
    match volume.reads.clone_of(&bio, lower) {
        Ok(child) => {
            let accounting = bio.start_accounting();
            child.submit(Read {
                bio,
                accounting,
                volume: busy,
            });
        }
        Err(error) => bio.end(Err(error)),
    }
}

impl Done for Read {
    fn done(self, result: IoResult) {
        let Self {
            mut bio,
            accounting,
            volume,
        } = self;
        match result {
            Ok(()) => {
                bio.finish_accounting(accounting, Ok(()));
                bio.end(Ok(()));
            }
            Err(error) => rescue::failed(&volume, bio, accounting, error),
        }
    }
}
