// SPDX-License-Identifier: GPL-2.0

//! Filling a disk that was put in where one was given up: its thread, and how it comes and goes. What that means for
//! whom is told in [`netraid_core::local`].
//!
//! A copy is a read that a target is asked for, as in [`rescue`], with no application that waits for it: what is answered is
//! written to the disk. Requests that were on their way to the disk before stay in the table until that one lets go of
//! them, so a copy of the same place comes after them.

use super::{
    now, rescue,
    state::{Entered, Origin, Request, State},
    Volume,
};
use crate::sys::{
    block::{BioList, LowerDisk},
    misc,
    sync::Guarded,
};
use kernel::{
    prelude::*,
    sync::{atomic::Release, Arc},
};
use netraid_core::{
    local::{Action, Event, LocalDisk},
    meta::MetaFlags,
    pace::Pace,
    rescue::MOST,
    wire::Kind,
};

/// How long the thread sleeps when nothing raises its event; only a safety net.
const NAP_MS: u32 = 1000;

/// How long it waits for room in the table at a time, as a resync does.
const FULL_MS: u32 = 10;

/// Bytes of one copy, as of a resync.
const COPY_BYTES: u64 = 256 << 10;

/// Copies under way, so that the applications' reads find room among those that a target may be asked for.
const AT_ONCE: u32 = MOST as u32 / 2;

/// How a rebuilding stands.
#[derive(Clone, Copy, Default)]
pub(super) struct Rebuild {
    /// Copies that have not ended.
    under_way: u32,
    /// Bytes that were copied.
    pub(super) done: u64,
    /// A copy failed.
    failed: Option<Error>,
    /// A copy has ended since the thread was last raised.
    pub(super) ended: bool,
}

impl Rebuild {
    /// The disk failed a write of an application.
    pub(super) fn fail(&mut self, error: Error) {
        self.failed = Some(error);
        self.ended = true;
    }

    /// A copy has ended.
    pub(super) fn end(&mut self, len: u64, error: Option<Error>) {
        self.under_way = self.under_way.saturating_sub(1);
        self.ended = true;
        match error {
            None => self.done = self.done.saturating_add(len),
            Some(error) => self.failed = Some(error),
        }
    }
}

/// What became of a copy.
enum Next {
    /// It is under way.
    Copied,
    /// There is no room for it now.
    Wait,
    /// Nothing is copied any more.
    Stop,
}

/// The thread's body.
pub(super) fn run(volume: &Guarded<Volume>) {
    loop {
        volume.rebuilding.wait(NAP_MS);
        let (stopping, wanted) = {
            let state = volume.state.lock();
            (state.stopping, state.log.local == LocalDisk::Rebuilding)
        };
        if stopping {
            return;
        }
        if !wanted {
            continue;
        }
        let copied = copy_all(volume) && drain(volume);
        if !(copied && complete(volume)) {
            give_up(volume);
        }
    }
}

/// Copies everything, or as much as can be; false when it was not everything.
fn copy_all(volume: &Guarded<Volume>) -> bool {
    let size = volume.geometry.size();
    let mut pace = Pace::new(now());
    let mut offset = 0;
    while offset < size {
        let len = size.saturating_sub(offset).min(COPY_BYTES);
        if !may_copy(volume, &mut pace, len) {
            return false;
        }
        loop {
            match copy(volume, offset, len) {
                Next::Copied => break,
                Next::Wait => {
                    volume.rebuilding.wait(FULL_MS);
                }
                Next::Stop => return false,
            }
        }
        offset = offset.saturating_add(len);
    }
    true
}

/// Waits as long as the rate asks for; false when copying is to stop.
fn may_copy(volume: &Volume, pace: &mut Pace, len: u64) -> bool {
    while goes_on(&volume.state.lock()) {
        let rate = volume.store.with(|sb| sb.resync_rate);
        match pace.take(now(), len, rate) {
            0 => return true,
            ms => misc::sleep_ms(u32::try_from(ms).unwrap_or(NAP_MS).min(NAP_MS)),
        }
    }
    false
}

/// Whether copying goes on.
fn goes_on(state: &State) -> bool {
    state.log.local == LocalDisk::Rebuilding && state.rebuild.failed.is_none() && !state.stopping
}

/// Begins a copy, if there is room.
fn copy(volume: &Volume, offset: u64, len: u64) -> Next {
    let mut state = volume.state.lock();
    if !goes_on(&state) {
        return Next::Stop;
    }
    if state.rebuild.under_way >= AT_ONCE {
        return Next::Wait;
    }
    let request = Request {
        origin: Origin::Rebuild,
        kind: Some(Kind::Read),
        offset,
        len,
        // Until the data is on the disk.
        error: Some(EIO),
        disk: volume.disks.number(),
        ..Request::default()
    };
    // The table may be full of the application's requests; they come first.
    let Some(entered) = state.enter(request) else {
        return Next::Wait;
    };
    state.rebuild.under_way = state.rebuild.under_way.saturating_add(1);
    if let Entered::Started(slot) = entered {
        rescue::begin(volume, state, slot);
    }
    Next::Copied
}

/// Waits until no copy is under way, or the volume goes away; each ends with its leg at the latest, or with the disk. Whether
/// all were good.
fn drain(volume: &Volume) -> bool {
    loop {
        {
            let state = volume.state.lock();
            if state.stopping {
                return false;
            }
            if state.rebuild.under_way == 0 {
                return state.rebuild.failed.is_none();
            }
        }
        volume.rebuilding.wait(NAP_MS);
    }
}

/// All is there: the disk counts again, if that can be recorded. May sleep.
fn complete(volume: &Volume) -> bool {
    // What ends after this has its mark in the log of intents until the next round.
    if let Err(error) = volume.lower().flush() {
        volume.state.lock().rebuild.failed = Some(error);
        return false;
    }
    // What is missed somewhere else from now on is recorded after this.
    let _generation = volume.generation.lock();
    if !volume.store.must_be_kept() {
        return false;
    }
    {
        let mut state = volume.state.lock();
        // An application's write may have failed since.
        let failed = state.stopping || state.rebuild.failed.is_some();
        if failed || state.log.local.on_event(Event::Rebuilt) != Action::TakeBack {
            volume.store.may_be_lost();
            return false;
        }
        volume.gone.store(false, Release);
        state.changes = state.changes.wrapping_add(1);
        state.news.rebuilt = true;
        state.wake_legs();
        volume.release(state, BioList::new());
    }
    let over = MetaFlags::DETACHED.with(MetaFlags::INCONSISTENT, true);
    if let Err(error) = volume.store.change(|sb| sb.flags = sb.flags.without(over)) {
        let errno = -error.to_errno();
        pr_err!("that a disk was rebuilt can't be recorded (error {errno}); what depends on the metadata fails from now on\n");
        volume.state.lock().log.failed = true;
    }
    volume.journal.raise();
    true
}

/// What was copied counts for nothing.
fn give_up(volume: &Volume) {
    // The copies that are still under way belong to this one.
    let _whatever = drain(volume);
    let mut state = volume.state.lock();
    let error = state.rebuild.failed.unwrap_or(EIO);
    if state.log.local.on_event(Event::Failed { covered: false }) == Action::StopRebuild {
        state.news.not_rebuilt = Some(error);
        state.wake_legs();
    }
    volume.release(state, BioList::new());
}

impl Volume {
    /// Puts a disk in where one was given up, `None` for the same one, and begins to rebuild it. May sleep.
    ///
    /// # Errors
    ///
    /// `EBUSY` where the disk in use was not given up, no target is in step, or another one is being rebuilt; `E2BIG` after
    /// [`MOST`](super::disks::MOST).
    pub(crate) fn put_in(&self, disk: Option<Arc<LowerDisk>>) -> Result {
        let disk = disk.unwrap_or_else(|| self.lower().clone());
        // Let go before the disk, where that is not taken.
        let mut state = self.state.lock();
        if state.rebuild.under_way > 0 {
            return Err(EBUSY);
        }
        if !self.disks.has_room() {
            return Err(E2BIG);
        }
        if state.log.local.on_event(Event::PutIn) != Action::Rebuild {
            return Err(EBUSY);
        }
        // Whatever was made for the old one is not for this one, be it the same.
        self.disks.put_in(disk);
        state.rebuild = Rebuild::default();
        state.changes = state.changes.wrapping_add(1);
        drop(state);
        self.rebuilding.raise();
        Ok(())
    }
}
