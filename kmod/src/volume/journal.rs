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
    meta::maps::Map,
    sys::{block::BioList, misc, sync::Guarded},
};
use kernel::{prelude::*, sync::MutexGuard};
use netraid_core::{
    generation,
    legs::{LegNumber, LegSet, MAX_LEGS},
    local,
    marks::{BlockWords, BLOCK_WORDS},
    meta::{map_of_peer, MetaFlags, PeerFlags, Superblock, MAP_INTENT, MAP_WRITTEN},
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
    if state.log.is_parting() {
        return Some(Task::Generation);
    }
    let urgent = Which::all().find_map(|which| Some((which, map(&mut state, which)?.next_urgent()?)));
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
        Which::Dirty(leg) => Some(&mut state.remotes.get_mut(leg)?.dirty),
    }
}

fn begin(state: &mut State, which: Which, block: u64, words: &mut BlockWords) {
    if let Which::Dirty(leg) = which {
        let State { log, remotes, .. } = state;
        // A chunk that was copied is in the log of intents instead; not before that is on the disk may it leave here.
        let intent = log.intent.marks();
        let hold = |index: usize| intent.map().word(index) & !intent.kept_word(index);
        if let Some(remote) = remotes.get_mut(leg) {
            remote.dirty.begin(block, hold, words);
        }
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
                Which::Dirty(leg) => map_of_peer(leg.index()),
            };
            let result = volume.store.write_map_block(number, block, words);
            let mut state = volume.state.lock();
            if let Some(map) = map(&mut state, which) {
                map.end(block, words, result.is_ok());
            }
            result
        }
    };
    if let Err(error) = result.or_else(|error| {
        if volume.metadata_failed(error) {
            Ok(())
        } else {
            Err(error)
        }
    }) {
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
    /// Records which legs miss what is written from now on; may sleep.
    fn part(&self) -> Result {
        let generation = self.generation.lock();
        let (parting, is_parting) = {
            let state = self.state.lock();
            (state.log.parting(), state.log.is_parting())
        };
        // The leg may have been taken away meanwhile, with a generation of its own.
        if !is_parting {
            return Ok(());
        }
        self.record_generation(&generation, parting, |_| {})
    }

    /// Records that nobody else holds what is here from now on, with what else is to be noted of that; may sleep. The leg
    /// that did is gone, or what it holds.
    ///
    /// # Errors
    ///
    /// Those of [`Store::change`].
    pub(crate) fn begin_generation(&self, leg: LegNumber, note: impl FnOnce(&mut Superblock)) -> Result {
        let generation = self.generation.lock();
        let mut parted = self.state.lock().log.parting();
        parted.put(leg, true);
        self.record_generation(&generation, parted, note)?;
        self.journal.raise();
        Ok(())
    }

    fn record_generation(
        &self,
        _held: &MutexGuard<'_, ()>,
        parted: LegSet,
        note: impl FnOnce(&mut Superblock),
    ) -> Result {
        let fresh = u64::from_le_bytes(misc::random()) | 1;
        let (holds, in_step, gone) = {
            let mut state = self.state.lock();
            state.log.recording = true;
            (state.bases(), state.followers(parted), state.log.local.is_gone())
        };
        let recorded = self.store.change(|sb| {
            for (leg, (peer, held)) in LegNumber::all().zip(sb.peers.iter_mut().zip(holds)) {
                if let Some(held) = held {
                    peer.base = held;
                    // It is about to be told, and may hold the new one if this machine stops meanwhile.
                    peer.flags.set(PeerFlags::FOLLOWING, in_step.contains(leg));
                }
            }
            note(sb);
            if gone {
                // It is not made good again while the mirror is in service.
                sb.flags = sb
                    .flags
                    .with(MetaFlags::DETACHED, true)
                    .with(MetaFlags::INCONSISTENT, true);
            }
            sb.flags.set(MetaFlags::SHARED, false);
            generation::rotate(&mut sb.current, &mut sb.history, fresh);
        });
        let mut state = self.state.lock();
        state.log.recording = false;
        if recorded.is_ok() {
            state.generation = fresh;
            if gone {
                let _nothing = state.log.local.on_event(local::Event::Recorded);
            }
            for leg in parted.iter() {
                state.log.set_step(leg, Step::Apart);
            }
            state.log.set_others(Step::Apart);
            state.have_followed(parted);
        }
        drop(state);
        // What had to wait for the generation can be sent.
        for leg in LegNumber::all() {
            self.raise_outgoing(leg);
        }
        recorded
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
                let settled = Which::all()
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

    /// What the first write that a leg misses has to record.
    pub(crate) fn set_step(&self, leg: LegNumber, step: Step) {
        self.state.lock().log.set_step(leg, step);
        self.journal.raise();
    }

    /// What the first change here has to record, as machines that are not known here hold the same.
    pub(crate) fn set_shared(&self, shared: bool) {
        self.state
            .lock()
            .log
            .set_others(if shared { Step::Together } else { Step::Apart });
    }

    /// A leg may have lost what it had confirmed and not made durable: that is to be copied, too.
    pub(crate) fn distrust(&self, leg: LegNumber) {
        let mut state = self.state.lock();
        let State { log, remotes, .. } = &mut *state;
        let intent = log.intent.marks().map();
        if let Some(remote) = remotes.get_mut(leg) {
            remote.doubt(0, |index| intent.word(index), intent.words());
        }
    }

    /// What was ever written has to be copied to a leg whose target holds nothing, and nothing else.
    pub(crate) fn mark_written(&self, leg: LegNumber) {
        let mut state = self.state.lock();
        let State { log, remotes, .. } = &mut *state;
        if let (Some(written), Some(remote)) = (&log.written, remotes.get_mut(leg)) {
            let written = written.map();
            for index in 0..written.words() {
                let never = remote.dirty.map().word(index) & !written.word(index);
                remote.dirty.clear_in_word(index, never);
            }
            remote.doubtful.clear_all();
            remote
                .dirty
                .merge(0, (0..written.words()).map(|index| written.word(index)));
        }
    }

    /// The other side has taken over what this one had marked.
    pub(crate) fn forget_marks(&self) {
        let mut state = self.state.lock();
        let bits = self.geometry.chunks();
        for (_, remote) in state.remotes.iter_mut() {
            remote.dirty.clear(0..bits);
        }
        state.log.intent.forget();
        state.log.lazily = Some((Which::Written, 0));
        drop(state);
        self.journal.raise();
    }
}

impl State {
    /// What is the base of each leg when a generation begins: what its target holds until it is told otherwise. None for
    /// those that are away and were apart before: their base is on record.
    fn bases(&mut self) -> [Option<u64>; MAX_LEGS] {
        let Self {
            remotes,
            log,
            generation,
            ..
        } = self;
        let mut bases = [None; MAX_LEGS];
        for (leg, remote) in remotes.iter_mut() {
            let as_good_as_in_step = log.step(leg) != Step::Apart;
            if as_good_as_in_step && remote.theirs == 0 {
                // It has not been connected since this machine came into service, and holds what it held then.
                remote.theirs = *generation;
            }
            if let Some(base) = bases.get_mut(leg.index()) {
                *base = (remote.live || as_good_as_in_step).then_some(remote.theirs);
            }
        }
        bases
    }

    /// The legs in step that have to note a new generation; `parted` have not.
    fn followers(&self, parted: LegSet) -> LegSet {
        self.in_step().without(parted)
    }

    /// Has them do so.
    fn have_followed(&mut self, parted: LegSet) {
        let followers = self.followers(parted);
        for leg in followers.iter() {
            if let Some(remote) = self.remotes.get_mut(leg) {
                remote.follow();
            }
        }
        self.log.followers.begin(followers, now());
    }
}
