// SPDX-License-Identifier: GPL-2.0

//! The leg as the data path sees it: a map, a queue, and a switch.

use super::{
    copy::Copy,
    now,
    state::{Counters, Request},
    Volume,
};
use crate::sys::block::{Bio, BioList, PagedBio};
use kernel::prelude::*;
use netraid_core::{
    bitmap::Bitmap,
    fifo::Fifo,
    inflight::Slot,
    request::{After, Part},
    wire::{Ack, AckStatus, Flags, Header, Kind, HEADER_LEN},
};

/// The map of chunks a leg misses.
pub(crate) type RemoteMap = Bitmap<KVVec<u64>>;

/// Messages without data that wait to be sent, each at most once; they go before the data.
#[derive(Clone, Copy, Default)]
pub(crate) struct Control(u32);

impl Control {
    /// In the order in which they are sent when several wait.
    const ALL: [Kind; 5] = [
        Kind::ResyncStart,
        Kind::ResyncDone,
        Kind::Pause,
        Kind::Resume,
        Kind::Bye,
    ];

    fn bit(kind: Kind) -> u32 {
        1 << kind.number()
    }

    /// Adds a message.
    pub(crate) fn add(&mut self, kind: Kind) {
        self.0 |= Self::bit(kind);
    }

    fn take(&mut self) -> Option<Kind> {
        let kind = Self::ALL.into_iter().find(|kind| self.0 & Self::bit(*kind) != 0)?;
        self.0 &= !Self::bit(kind);
        Some(kind)
    }
}

/// The state of the leg.
pub(super) struct Remote {
    /// Application writes go to the target.
    pub(super) live: bool,
    /// Somebody waits for `outstanding` to become zero.
    pub(super) draining: bool,
    pub(super) dirty: RemoteMap,
    queue: Fifo<Slot, KVVec<Slot>>,
    control: Control,
    pub(super) outstanding: u32,
    next_seq: u64,
    /// When a request was last confirmed, or the first became outstanding; milliseconds since boot.
    progress_ms: u64,
    pub(super) replicated_bytes: u64,
    pub(super) copied_bytes: u64,
}

impl Remote {
    pub(super) fn new(dirty: RemoteMap, capacity: usize) -> Result<Self> {
        Ok(Self {
            live: false,
            draining: false,
            dirty,
            queue: Fifo::new(KVVec::from_elem(Slot::from_number(0), capacity, GFP_KERNEL)?),
            control: Control::default(),
            outstanding: 0,
            next_seq: 1,
            progress_ms: 0,
            replicated_bytes: 0,
            copied_bytes: 0,
        })
    }

    /// Hands a request to the leg. The queue has as many places as there are requests.
    pub(super) fn queue(&mut self, slot: Slot, request: &mut Request, now_ms: u64) {
        if self.queue.push(slot) {
            request.remote = Part::Queued;
            request.seq = self.next_seq;
            if self.outstanding == 0 {
                self.progress_ms = now_ms;
            }
            self.next_seq = self.next_seq.wrapping_add(1);
            self.outstanding = self.outstanding.saturating_add(1);
        }
    }
}

/// The data of a message, lent to the sender.
pub(crate) enum Payload {
    /// None.
    None,
    /// An application's pages.
    Bio(Bio),
    /// Pages read by the resync.
    Copy(PagedBio<Copy>),
}

/// A message to be sent.
pub(crate) struct Outgoing {
    /// The encoded header.
    pub(crate) header: [u8; HEADER_LEN],
    /// What follows it.
    pub(crate) payload: Payload,
    slot: Option<Slot>,
}

/// What a confirmation led to.
pub(crate) enum Confirmed {
    /// Taken.
    Fine,
    /// The target's disk failed.
    TargetError(AckStatus),
    /// Nobody waits for it: the other side breaks the protocol.
    Unexpected,
}

impl Volume {
    /// From now on writes go to the target too; true when it misses nothing. Otherwise the target is told first that
    /// its copy is unusable.
    pub(crate) fn go_live(&self) -> bool {
        let mut state = self.state.lock();
        state.remote.live = true;
        state.remote.draining = false;
        let clean = state.remote.dirty.ones() == 0;
        if !clean {
            state.remote.control.add(Kind::ResyncStart);
        }
        clean
    }

    /// From now on writes are marked only; true when nothing is outstanding. Otherwise `outgoing` is raised when the
    /// last one is confirmed.
    pub(crate) fn cut(&self) -> bool {
        let mut state = self.state.lock();
        state.remote.live = false;
        state.remote.draining = true;
        state.remote.outstanding == 0
    }

    /// Whether a cut is complete.
    pub(crate) fn is_drained(&self) -> bool {
        let state = self.state.lock();
        state.remote.draining && state.remote.outstanding == 0
    }

    /// The connection is gone: marks what was not confirmed and ends what only waited for it.
    pub(crate) fn abandon(&self) {
        let mut ended = BioList::new();
        let mut state = self.state.lock();
        state.remote.live = false;
        state.remote.draining = false;
        state.remote.control = Control::default();
        state.remote.queue.clear();
        for number in 0..state.requests.len() {
            let Ok(number) = u16::try_from(number) else { break };
            state.abandon(Slot::from_number(number), &self.geometry, &mut ended);
        }
        state.copy_ended = true;
        self.release(state, ended);
    }

    /// There is no leg any more, or a new one: nothing is missed by nobody.
    pub(crate) fn forget_remote(&self) {
        let mut state = self.state.lock();
        state.remote.dirty.clear_all();
        state.remote.replicated_bytes = 0;
        state.remote.copied_bytes = 0;
    }

    /// Marks every chunk: nothing is known of what the target holds.
    pub(crate) fn mark_all(&self) {
        self.state.lock().remote.dirty.set_all();
    }

    /// Adds what the target wrote itself; words of its map from `first` on.
    pub(crate) fn merge(&self, first: usize, words: impl Iterator<Item = u64>) {
        self.state.lock().remote.dirty.merge(first, words);
    }

    /// One word of the map, for telling it to the source after a pause.
    pub(crate) fn dirty_words(&self, first: usize, words: &mut [u64]) {
        let state = self.state.lock();
        for (index, word) in (first..).zip(words) {
            *word = state.remote.dirty.word(index);
        }
    }

    /// Has a message without data sent.
    pub(crate) fn send_control(&self, kind: Kind) {
        self.state.lock().remote.control.add(kind);
        self.outgoing.raise();
    }

    /// Numbers for the operator.
    pub(crate) fn counters(&self) -> Counters {
        let state = self.state.lock();
        Counters {
            dirty_chunks: state.remote.dirty.ones(),
            dirty_bytes: self.dirty_bytes(&state.remote.dirty),
            outstanding: state.remote.outstanding,
            replicated_bytes: state.remote.replicated_bytes,
            copied_bytes: state.remote.copied_bytes,
        }
    }

    /// The next message, if one waits; `generation` is what the target holds after a resync. What it carries has to be
    /// given back by [`Volume::sent`].
    pub(crate) fn next_outgoing(&self, generation: u64) -> Option<Outgoing> {
        let mut state = self.state.lock();
        if let Some(kind) = state.remote.control.take() {
            let mut header = Header::new(kind);
            match kind {
                Kind::ResyncStart => header.span = self.dirty_bytes(&state.remote.dirty),
                Kind::ResyncDone => header.offset = generation,
                _ => {}
            }
            return Some(Outgoing {
                header: header.encode(),
                payload: Payload::None,
                slot: None,
            });
        }
        loop {
            let slot = state.remote.queue.pop()?;
            let Some(request) = state.request(slot) else { continue };
            if request.remote.take() == After::Unexpected {
                continue;
            }
            let header = header(slot, request);
            // Only a write has data; the bio of a discard or of zeroes names a range without pages.
            let payload = if request.kind != Some(Kind::Write) {
                Payload::None
            } else if let Some(bio) = request.bio.take() {
                Payload::Bio(bio)
            } else {
                request.copy.take().map_or(Payload::None, Payload::Copy)
            };
            return Some(Outgoing {
                header,
                payload,
                slot: Some(slot),
            });
        }
    }

    /// Bytes of the marked chunks; the last chunk of a disk may be short.
    fn dirty_bytes(&self, dirty: &RemoteMap) -> u64 {
        let geometry = &self.geometry;
        let chunk_size = u64::from(geometry.chunk_size());
        let last = geometry.chunks().saturating_sub(1);
        let short = if dirty.get(last) {
            chunk_size.saturating_sub(geometry.bytes_of(last).1)
        } else {
            0
        };
        dirty.ones().saturating_mul(chunk_size).saturating_sub(short)
    }

    /// Takes back what [`Volume::next_outgoing`] lent, whether it was sent or not.
    pub(crate) fn sent(&self, outgoing: Outgoing) {
        let Some(slot) = outgoing.slot else { return };
        let mut ended = BioList::new();
        let mut state = self.state.lock();
        let Some(request) = state.request(slot) else { return };
        match outgoing.payload {
            Payload::Bio(bio) => request.bio = Some(bio),
            Payload::Copy(copy) => request.copy = Some(copy),
            Payload::None => {}
        }
        let abandoned = request.remote == Part::Abandoned;
        if request.remote.give_back() == After::Stored {
            self.stored(&mut state, slot, abandoned, &mut ended);
        }
        self.release(state, ended);
    }

    /// Takes in a confirmation of the target.
    pub(crate) fn confirm(&self, ack: Ack) -> Confirmed {
        let Ok(number) = u16::try_from(ack.handle) else {
            return Confirmed::Unexpected;
        };
        let slot = Slot::from_number(number);
        let mut ended = BioList::new();
        let mut state = self.state.lock();
        let Some(request) = state.request(slot).filter(|request| request.seq == ack.seq) else {
            return Confirmed::Unexpected;
        };
        if !matches!(request.remote, Part::Sent | Part::Sending) {
            return Confirmed::Unexpected;
        }
        if ack.status != AckStatus::Ok {
            // The request stays outstanding; it is marked when the connection ends, which comes next.
            return Confirmed::TargetError(ack.status);
        }
        let after = request.remote.confirm();
        state.remote.progress_ms = now();
        if after == After::Stored {
            self.stored(&mut state, slot, false, &mut ended);
        }
        self.release(state, ended);
        Confirmed::Fine
    }

    /// The leg is done with a request; unless `abandoned`, its data is on the target.
    fn stored(&self, state: &mut super::state::State, slot: Slot, abandoned: bool, ended: &mut BioList) {
        let Some(request) = state.requests.get_mut(slot.index()) else {
            return;
        };
        if !abandoned {
            if request.is_copy {
                state.remote.copied_bytes = state.remote.copied_bytes.saturating_add(request.len);
                // Where a write of the local disk failed meanwhile, a chunk copied in pieces may differ.
                if !state.copy_failed {
                    state.remote.dirty.clear_range(request.clears.clone());
                }
            } else {
                state.remote.replicated_bytes = state.remote.replicated_bytes.saturating_add(request.len);
            }
        }
        state.remote_done(slot, ended);
    }

    /// For how long requests have been outstanding without one of them being confirmed, milliseconds.
    pub(crate) fn stalled_ms(&self) -> u64 {
        let state = self.state.lock();
        if state.remote.outstanding == 0 {
            return 0;
        }
        now().saturating_sub(state.remote.progress_ms)
    }
}

fn header(slot: Slot, request: &Request) -> [u8; HEADER_LEN] {
    let mut header = Header::new(request.kind.unwrap_or(Kind::Flush));
    header.flags = request.flags.with(Flags::RESYNC, request.is_copy);
    header.handle = u32::from(slot.number());
    header.seq = request.seq;
    if header.kind.has_range() {
        header.offset = request.offset;
        header.span = request.len;
    }
    if header.kind == Kind::Write {
        header.len = u32::try_from(request.len).unwrap_or(0);
    }
    header.encode()
}
