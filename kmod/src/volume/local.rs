// SPDX-License-Identifier: GPL-2.0

//! The local disk when it fails. Whether it is given up, and what that means for whom, is decided by
//! [`netraid_core::local`].

use super::{state::State, Volume};
use crate::sys::{block::BioList, errno::EOPNOTSUPP};
use kernel::{
    prelude::*,
    sync::atomic::{Acquire, Release},
};
use netraid_core::{
    legs::{LegNumber, LegSet},
    local::{Action, Event, LocalDisk},
    name::Text,
    state::DiskState,
};

/// What an operator has still to be told of the local disk.
#[derive(Clone, Copy, Default)]
pub(super) struct News {
    /// It was given up for this.
    gave_up: Option<Error>,
    /// No target is in step any more.
    alone: bool,
    /// The one put in has all data.
    pub(super) rebuilt: bool,
    /// It failed, or a target did, before it had.
    pub(super) not_rebuilt: Option<Error>,
}

/// Whether an error speaks of the request rather than of the disk.
fn is_of_request(error: Error) -> bool {
    error == EAGAIN || error == EINVAL || error == EOPNOTSUPP
}

impl State {
    /// The legs that were told that they miss nothing, whether or not they have noted it.
    pub(super) fn in_step(&self) -> LegSet {
        self.remotes.those(|remote| remote.live && remote.in_step)
    }

    /// The legs that hold whatever was acknowledged, and would be promoted with it.
    pub(super) fn complete(&self) -> LegSet {
        self.remotes.those(|remote| remote.complete)
    }

    /// A leg is not live any more: without the disk, somebody else has to be in step.
    pub(super) fn look_for_copy(&mut self) {
        if self.complete().is_empty() && self.log.local.on_event(Event::Alone) == Action::FailAll {
            self.news.alone = true;
            self.wake_legs();
        }
    }

    /// Has the thread that copies to each leg look up.
    pub(super) fn wake_legs(&mut self) {
        for (_, remote) in self.remotes.iter_mut() {
            remote.copy_ended = true;
        }
    }
}

impl Volume {
    /// The local disk failed something that changes it; any context. Whether the error is nobody's business, since the disk
    /// is given up.
    /// `disk`: which of those that were in use.
    pub(super) fn disk_failed(&self, state: &mut State, disk: u32, error: Error) -> bool {
        if disk != self.disks.number() {
            // The one in its place has it from a target, or will.
            return true;
        }
        if state.log.local == LocalDisk::Rebuilding {
            // Its thread finds out, and has it end.
            state.rebuild.fail(error);
            return true;
        }
        if state.log.local.is_gone() {
            return true;
        }
        if is_of_request(error) {
            return false;
        }
        let covered = state.detaches && state.has_readable_leg();
        if state.log.local.on_event(Event::Failed { covered }) != Action::GiveUp {
            return false;
        }
        self.gone.store(true, Release);
        self.store.may_be_lost();
        state.news.gave_up = Some(error);
        let in_step = state.in_step();
        for (_, remote) in state.remotes.iter_mut().filter(|(leg, _)| !in_step.contains(*leg)) {
            // A resync out of this disk ends here. What its target would get from now on may be on no record, which may have
            // been on this disk, and could not be made up for by copying.
            remote.copy_failed = true;
            remote.cut_off();
        }
        state.wake_legs();
        true
    }

    /// Metadata could not be written. True when the disk it is on was given up for that: what is kept from now on is kept in
    /// memory.
    pub(super) fn metadata_failed(&self, error: Error) -> bool {
        if !self.store.is_on_disk() {
            return false;
        }
        let mut state = self.state.lock();
        let disk = self.disks.number();
        let gone = self.disk_failed(&mut state, disk, error);
        self.release(state, BioList::new());
        gone
    }

    /// Whether the local disk was given up. Any context.
    pub(crate) fn is_disk_gone(&self) -> bool {
        self.gone.load(Acquire)
    }

    /// How the local disk stands, and bytes that were copied to the one put in last.
    pub(crate) fn disk_state(&self) -> (DiskState, u64) {
        let state = self.state.lock();
        (state.log.local.shown(), state.rebuild.done)
    }

    /// Whether a leg gets nothing any more since the local disk was given up before its resync had ended.
    pub(crate) fn is_cut_off(&self, leg: LegNumber) -> bool {
        let state = self.state.lock();
        state.log.local.is_gone() && state.remotes.get(leg).is_some_and(|remote| !remote.live)
    }

    /// Whether a leg is the only one that is known to hold what was acknowledged.
    pub(crate) fn is_last_copy(&self, leg: LegNumber) -> bool {
        let state = self.state.lock();
        state.log.local.is_gone() && state.complete() == LegSet::of(leg)
    }

    /// What becomes of the disk at its next failure.
    pub(crate) fn set_detaches(&self, detaches: bool) {
        self.state.lock().detaches = detaches;
    }

    /// What an operator has still to be told of the local disk; each of it is handed out once.
    pub(crate) fn take_news(&self) -> [Option<Text>; 4] {
        let (news, complete) = {
            let mut state = self.state.lock();
            (core::mem::take(&mut state.news), state.complete())
        };
        let gave_up = news.gave_up.map(|error| {
            let errno = -error.to_errno();
            let name = complete.iter().next().map(|leg| self.names(leg).1);
            match name {
                Some(peer) => Text::format(format_args!(
                    "the disk of this machine failed a write (error {errno}) and was given up; reads and writes go to {peer}: replace the disk and put the new one in with `netraid-ctl attach`"
                )),
                None => Text::format(format_args!(
                    "the disk of this machine failed a write (error {errno}) and was given up"
                )),
            }
        });
        let alone = news.alone.then(|| {
            Text::truncated(
                "the disk of this machine was given up, and no target is in step any more: reads and writes fail; stop the mirror here and make the target that was in step last the source",
            )
        });
        let rebuilt = news
            .rebuilt
            .then(|| Text::truncated("the disk that was put in on this machine holds all data again, and is in use"));
        let not_rebuilt = news.not_rebuilt.map(|error| {
            let errno = -error.to_errno();
            Text::format(format_args!(
                "the disk that was put in on this machine could not be filled (error {errno}), and is not used; look at it and at the targets, then try `netraid-ctl attach` again"
            ))
        });
        [gave_up, alone, rebuilt, not_rebuilt]
    }
}
