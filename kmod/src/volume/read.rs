// SPDX-License-Identifier: GPL-2.0

//! Reads: the local disk gets the application's bio itself, with nothing in between. What it fails the target may have, see
//! [`rescue`].

use super::{rescue, Volume};
use crate::sys::{
    block::{Bio, Done, IoResult, Returned},
    sync::{Busy, Guarded},
};
use kernel::prelude::*;

/// A read under way.
pub(super) struct Read {
    accounting: usize,
    // Last, so that the volume is let go after the bio has ended.
    volume: Busy<Volume>,
}

/// A read under way of which the local disk got a clone.
pub(super) struct Cloned {
    bio: Bio,
    read: Read,
}

/// Sends a read to the local disk; may sleep.
pub(super) fn submit(volume: &Guarded<Volume>, bio: Bio) {
    let Some(busy) = volume.enter() else {
        return bio.end(Err(ENODEV));
    };
    let Some(lower) = volume.readable() else {
        return rescue::remote(&busy, bio);
    };
    let read = Read {
        accounting: bio.start_accounting(),
        volume: busy,
    };
    let Err((mut bio, read)) = volume.reads.submit(bio, lower, read) else {
        return;
    };
    match volume.cloned_reads.clone_of(&bio, lower) {
        Ok(child) => child.submit(Cloned { bio, read }),
        Err(error) => {
            bio.finish_accounting(read.accounting, Err(error));
            bio.end(Err(error));
        }
    }
}

impl Returned for Read {
    fn returned(self, mut bio: Bio, result: IoResult) {
        match result {
            Ok(()) => {
                bio.finish_accounting(self.accounting, Ok(()));
                bio.end(Ok(()));
            }
            Err(error) => rescue::failed(&self.volume, bio, self.accounting, error),
        }
    }
}

impl Done for Cloned {
    fn done(self, result: IoResult) {
        self.read.returned(self.bio, result);
    }
}
