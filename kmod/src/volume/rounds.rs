// SPDX-License-Identifier: GPL-2.0

//! The rounds of the intent log: what is idle is made durable everywhere, and then no longer marked.

use super::{
    log::{RoundFlush, Which},
    now,
    state::{Entered, Origin, Request, State},
    Volume,
};
use crate::sys::block::BioList;
use kernel::prelude::*;
use netraid_core::{legs::LegNumber, meta::PeerFlags, wire::Kind};

/// How often a round begins: a chunk that is written to at least that often costs one write of metadata, ever. A crash
/// makes the chunks of the last two rounds dirty.
pub(super) const ROUND_MS: u32 = 1000;

/// How long the legs' parts may take; longer than a leg takes to be given up.
const FLUSH_MS: u64 = 120_000;

/// What was touched just now is proposed by the second round; a leg between two states takes another one or two.
const ROUNDS_TO_SETTLE: u32 = 5;

/// The thread's body.
pub(super) fn run(volume: &Volume) {
    loop {
        volume.rounds.wait(ROUND_MS);
        if volume.state.lock().stopping {
            return;
        }
        round(volume);
        tell_settled(volume);
    }
}

/// Has targets told what need not be looked at, should this source be lost.
fn tell_settled(volume: &Volume) {
    let following = volume.store.with(|sb| {
        let all = LegNumber::all().zip(&sb.peers);
        all.filter(|(_, peer)| peer.flags.contains(PeerFlags::FOLLOWING))
            .map(|(leg, _)| leg)
            .collect()
    });
    let told = volume.state.lock().tell_settled(following);
    volume.raise_all_outgoing(told);
}

/// Does one round; may sleep for as long as the disks take.
pub(super) fn round(volume: &Volume) {
    let _one_at_a_time = volume.round.lock();
    let Some(changes) = propose(volume) else {
        return write_lazily(volume);
    };
    if flush_disk(volume) && flush_legs(volume) {
        let mut state = volume.state.lock();
        if state.all_changes() == changes {
            let State { log, remotes, .. } = &mut *state;
            let written = &log.written;
            log.intent.end_round(|index| {
                // Copies also touch what was never written.
                let known = written
                    .as_ref()
                    .map_or(u64::MAX, |map| !map.map().word(index) | map.kept_word(index));
                remotes.iter().fold(known, |known, (_, remote)| {
                    let missed = remote.dirty.map().word(index);
                    // A mark that is gone here may still be on the disk, but not for long.
                    let marked = missed & remote.dirty.kept_word(index);
                    known & (marked | if remote.live { !missed } else { 0 })
                })
            });
        }
    }
    write_lazily(volume);
}

/// Makes the local disk durable, as long as it counts.
fn flush_disk(volume: &Volume) -> bool {
    let (disk, counts) = {
        let state = volume.state.lock();
        (volume.disks.number(), state.log.local.is_written())
    };
    if !counts {
        return true;
    }
    let Err(error) = volume.disks.get(disk).flush() else {
        return true;
    };
    let mut state = volume.state.lock();
    let gone = volume.disk_failed(&mut state, disk, error);
    volume.release(state, BioList::new());
    gone
}

/// The chunks to be cleared; the number of changes of the legs until now, `None` where there are none.
fn propose(volume: &Volume) -> Option<u64> {
    let mut state = volume.state.lock();
    if state.log.intent_chunks() == 0 {
        return None;
    }
    state.log.intent.begin_round();
    let State {
        log,
        requests,
        inflight,
        ..
    } = &mut *state;
    for slot in inflight.iter() {
        if let Some(request) = requests.get(slot.index()) {
            log.intent.exclude(volume.geometry.range(request.offset, request.len));
        }
    }
    let proposes = log.intent.has_proposals();
    proposes.then(|| state.all_changes())
}

/// Makes the live legs durable; false when one was lost meanwhile.
fn flush_legs(volume: &Volume) -> bool {
    let live = {
        let mut state = volume.state.lock();
        let live = state.remotes.live();
        if live.is_empty() {
            return true;
        }
        let request = Request {
            origin: Origin::Round,
            kind: Some(Kind::Flush),
            ..Request::default()
        };
        let Some(Entered::Started(slot)) = state.enter(request) else {
            return false;
        };
        state.log.begin_round();
        let State { remotes, requests, .. } = &mut *state;
        if let Some(request) = requests.get_mut(slot.index()) {
            for (leg, remote) in remotes.iter_mut().filter(|(_, remote)| remote.live) {
                remote.queue(leg, slot, request, now());
            }
        }
        live
    };
    volume.raise_all_outgoing(live);
    let until = now().saturating_add(FLUSH_MS);
    loop {
        let flush = volume.state.lock().log.flush;
        match flush {
            RoundFlush::Done => return true,
            RoundFlush::Lost | RoundFlush::Idle => return false,
            RoundFlush::Running if now() > until => return false,
            RoundFlush::Running => {
                volume.flushed.wait(100);
            }
        }
    }
}

/// Has what is clear, or covered by other marks, written. A pass that is under way may be past it, and begins anew.
fn write_lazily(volume: &Volume) {
    volume.state.lock().log.lazily = Some((Which::Written, 0));
    volume.journal.raise();
}

impl Volume {
    /// Clears the intent log before the mirror goes out of service, as far as disk and leg allow; may sleep.
    pub(crate) fn settle(&self) -> Result {
        for _ in 0..ROUNDS_TO_SETTLE {
            round(self);
            let state = self.state.lock();
            if state.log.intent_chunks() == 0 {
                break;
            }
        }
        self.keep_marks()
    }
}
