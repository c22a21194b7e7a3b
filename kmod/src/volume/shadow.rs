// SPDX-License-Identifier: GPL-2.0

//! The data of writes that end before an asynchronous leg has confirmed them. Which ones may is decided by
//! [`netraid_core::lag`].
//!
//! The application's pages are its own again when its write has ended, and the network may read them long after they
//! were handed to it. So the data is copied when the write arrives, in its own context, before it is entered into the
//! table. A write of which there is no copy, for want of memory or since the limit was reached, waits for its own
//! confirmation.

use super::Volume;
use crate::sys::block::{Bio, IoResult, Op, PagedBio, PagedDone};
use kernel::sync::atomic::Relaxed;
use netraid_core::legs::LegNumber;

/// What a copy carries to its completion: nothing, it is only ever sent.
pub(crate) enum Shadow {}

impl PagedDone for Shadow {
    fn done(self, _bio: PagedBio<Self>, _result: IoResult) {
        match self {}
    }
}

/// A copy of the data of a write that may end early. May sleep, but not for memory that has to be written first.
pub(super) fn of(volume: &Volume, bio: &Bio) -> Option<PagedBio<Shadow>> {
    if !volume.asynchronous.load(Relaxed) || bio.op() != Op::Write || bio.len() == 0 {
        return None;
    }
    {
        let state = volume.state.lock();
        if state
            .remotes
            .those(|remote| remote.live && remote.lag.has_room())
            .is_empty()
        {
            return None;
        }
    }
    PagedBio::copy_of(&volume.shadows, &volume.pool, volume.lower(), bio)
}

impl Volume {
    /// From now on a leg is asynchronous, with so many operations outstanding at most, or synchronous.
    pub(crate) fn set_asynchronous(&self, leg: LegNumber, limit: Option<u32>) {
        let mut state = self.state.lock();
        if let Some(remote) = state.remotes.get_mut(leg) {
            remote.lag.set_limit(limit);
        }
        let any = !state.remotes.those(|remote| remote.lag.is_asynchronous()).is_empty();
        self.asynchronous.store(any, Relaxed);
    }
}
