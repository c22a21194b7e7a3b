// SPDX-License-Identifier: GPL-2.0

//! The thread that writes the metadata: marks that requests wait for, new generations, and, when there is time, what is
//! clear again. One block is written at a time, and carries everything that was marked until then.

use super::{
    log::{Step, Which},
    now,
    state::State,
    write, Volume,
};
use crate::{
    meta::maps::{Map, PEER},
    sys::{block::BioList, misc, sync::Guarded},
};
use kernel::{prelude::*, sync::MutexGuard};
use netraid_core::{
    generation,
    marks::{BlockWords, BLOCK_WORDS},
    meta::{map_of_peer, Superblock, MAP_INTENT, MAP_WRITTEN},
};

/// How long the thread sleeps when nothing raises its event; only a safety net.
const NAP_MS: u32 = 1000;

/// How long somebody waits for marks to be on the disk; a disk that takes longer is as good as lost.
const KEEP_MS: u64 = 60_000;

/// What is to be written next.
enum Task {
    Generation,
    Block(Which, u64),
}

/// The thread's body.
pub(super) fn run(volume: &Guarded<Volume>) {
    let Ok(mut words) = KBox::new([0_u64; BLOCK_WORDS], GFP_KERNEL) else {
        // As with metadata that can't be written: what depends on it fails.
        volume.state.lock().log.failed = true;
        return idle(volume);
    };
    loop {
        volume.journal.wait(NAP_MS);
        while let Some(task) = next(volume, &mut words) {
            perform(volume, task, &words);
            release(volume);
        }
        release(volume);
        if volume.state.lock().stopping {
            return;
        }
    }
}

fn idle(volume: &Guarded<Volume>) {
    while !volume.state.lock().stopping {
        volume.journal.wait(NAP_MS);
        release(volume);
    }
}

/// Takes out what to write, with the content of a block.
fn next(volume: &Volume, words: &mut BlockWords) -> Option<Task> {
    let mut state = volume.state.lock();
    if state.log.failed {
        return None;
    }
    if state.log.step == Step::Parting {
        return Some(Task::Generation);
    }
    let urgent = Which::ALL
        .into_iter()
        .find_map(|which| Some((which, map(&mut state, which)?.next_urgent()?)));
    let (which, block) = match urgent {
        Some(found) => found,
        None => next_lazy(&mut state)?,
    };
    begin(&mut state, which, block, words);
    Some(Task::Block(which, block))
}

fn next_lazy(state: &mut State) -> Option<(Which, u64)> {
    let (mut which, mut from) = state.log.lazily?;
    loop {
        if let Some(block) = map(state, which).and_then(|map| map.next_lazy(from)) {
            state.log.lazily = Some((which, block.saturating_add(1)));
            return Some((which, block));
        }
        let Some(next) = which.next() else {
            state.log.lazily = None;
            return None;
        };
        (which, from) = (next, 0);
    }
}

fn map(state: &mut State, which: Which) -> Option<&mut Map> {
    match which {
        Which::Written => state.log.written.as_mut(),
        Which::Intent => Some(state.log.intent.marks_mut()),
        Which::Dirty => Some(&mut state.remote.dirty),
    }
}

fn begin(state: &mut State, which: Which, block: u64, words: &mut BlockWords) {
    if which == Which::Dirty {
        // A chunk that was copied is in the log of intents instead; not before that is on the disk may it leave here.
        let intent = state.log.intent.marks();
        let hold = |index: usize| intent.map().word(index) & !intent.kept_word(index);
        state.remote.dirty.begin(block, hold, words);
    } else if let Some(map) = map(state, which) {
        map.begin(block, |_| 0, words);
    }
}

fn perform(volume: &Volume, task: Task, words: &BlockWords) {
    let result = match task {
        Task::Generation => volume.part(),
        Task::Block(which, block) => {
            let number = match which {
                Which::Intent => MAP_INTENT,
                Which::Written => MAP_WRITTEN,
                Which::Dirty => map_of_peer(PEER),
            };
            let result = volume.store.write_map_block(number, block, words);
            let mut state = volume.state.lock();
            if let Some(map) = map(&mut state, which) {
                map.end(block, words, result.is_ok());
            }
            result
        }
    };
    if let Err(error) = result {
        let errno = -error.to_errno();
        pr_err!("metadata can't be written (error {errno}); what depends on it fails from now on\n");
        volume.state.lock().log.failed = true;
    }
    volume.kept.raise();
}

/// Lets go on whoever waited for what is on the disk now.
fn release(volume: &Guarded<Volume>) {
    let waiting = volume.state.lock().log.waiting();
    for _ in 0..waiting {
        let Some(busy) = volume.enter() else { return };
        let mut state = volume.state.lock();
        let Some(slot) = state.log.next_waiting() else { break };
        if state.log.failed {
            let mut ended = BioList::new();
            let child = state.request(slot).and_then(|request| {
                request.error = Some(EIO);
                request.child.take()
            });
            state.finish_if_done(slot, &mut ended);
            volume.release(state, ended);
            drop(child);
            continue;
        }
        write::begin(volume, state, slot, busy);
    }
    let mut ended = BioList::new();
    let mut state = volume.state.lock();
    let recorded = !state.log.failed;
    while let Some(slot) = state.log.next_parked() {
        state.unpark(slot, recorded, &mut ended);
    }
    volume.release(state, ended);
}

impl Volume {
    /// Records that the leg misses what is written from now on; may sleep.
    fn part(&self) -> Result {
        let generation = self.generation.lock();
        // The leg may have been taken away meanwhile, with a generation of its own.
        if self.state.lock().log.step != Step::Parting {
            return Ok(());
        }
        self.record_generation(&generation, |sb| {
            if let Some(peer) = sb.peers.get_mut(PEER) {
                peer.base = sb.current;
            }
        })
    }

    /// Records that nobody else holds what is here from now on, with what else is to be noted of that; may sleep.
    ///
    /// # Errors
    ///
    /// Those of [`Store::change`].
    pub(crate) fn begin_generation(&self, note: impl FnOnce(&mut Superblock)) -> Result {
        let generation = self.generation.lock();
        self.record_generation(&generation, note)?;
        self.journal.raise();
        Ok(())
    }

    fn record_generation(&self, _held: &MutexGuard<'_, ()>, note: impl FnOnce(&mut Superblock)) -> Result {
        let fresh = u64::from_le_bytes(misc::random()) | 1;
        self.store.change(|sb| {
            note(sb);
            generation::rotate(&mut sb.current, &mut sb.history, fresh);
        })?;
        let mut state = self.state.lock();
        state.remote.generation = fresh;
        state.log.step = Step::Apart;
        drop(state);
        // What had to wait for the generation can be sent.
        self.outgoing.raise();
        Ok(())
    }

    /// Waits until every mark is on the disk; may sleep.
    ///
    /// # Errors
    ///
    /// `EIO` when the metadata can't be written, `ETIMEDOUT` when it takes a minute.
    pub(crate) fn keep_marks(&self) -> Result {
        let until = now().saturating_add(KEEP_MS);
        loop {
            {
                let mut state = self.state.lock();
                if state.log.failed {
                    return Err(EIO);
                }
                let settled = Which::ALL
                    .into_iter()
                    .all(|which| map(&mut state, which).is_none_or(|map| map.is_settled() && !map.is_writing()));
                if settled && state.log.lazily.is_none() {
                    return Ok(());
                }
            }
            if now() > until {
                return Err(ETIMEDOUT);
            }
            self.journal.raise();
            self.kept.wait(100);
        }
    }

    /// What the first write that the leg misses has to record.
    pub(crate) fn set_step(&self, step: Step) {
        self.state.lock().log.step = step;
        self.journal.raise();
    }

    /// The leg may have lost what it had confirmed and not made durable: that is to be copied, too.
    pub(crate) fn distrust(&self) {
        let mut state = self.state.lock();
        let State { log, remote, .. } = &mut *state;
        let intent = log.intent.marks().map();
        remote.doubt(0, |index| intent.word(index), intent.words());
    }

    /// What was ever written has to be copied, and nothing else.
    pub(crate) fn mark_written(&self) {
        let mut state = self.state.lock();
        let State { log, remote, .. } = &mut *state;
        if let Some(written) = log.written.as_ref().map(|written| written.map()) {
            remote
                .dirty
                .merge(0, (0..written.words()).map(|index| written.word(index)));
        }
    }

    /// The other side has taken over what this one had marked.
    pub(crate) fn forget_marks(&self) {
        let mut state = self.state.lock();
        let bits = self.geometry.chunks();
        state.remote.dirty.clear(0..bits);
        state.log.intent.forget();
        state.log.lazily = Some((Which::Written, 0));
        drop(state);
        self.journal.raise();
    }
}
