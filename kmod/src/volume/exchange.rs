// SPDX-License-Identifier: GPL-2.0

//! What goes to the target, and what comes back of it.

use super::{
    copy::Copy,
    log::Step,
    now,
    state::{Origin, Request, State},
    Volume,
};
use crate::sys::block::{Bio, BioList, PagedBio};
use netraid_core::{
    inflight::Slot,
    request::{After, Part},
    wire::{Ack, AckStatus, Flags, Header, Kind},
};

/// The data of a message, lent to the sender.
pub(crate) enum Payload {
    /// None.
    None,
    /// An application's pages.
    Bio(Bio),
    /// Pages read by the resync.
    Copy(PagedBio<Copy>),
    /// The same, of which only the digest is sent.
    Digest(PagedBio<Copy>),
}

/// A message to be sent.
pub(crate) struct Outgoing {
    /// The header, but for the checksum of the payload.
    pub(crate) header: Header,
    /// What follows it.
    pub(crate) payload: Payload,
    /// It ends a resync that gave the target this generation.
    pub(crate) ends_resync: Option<u64>,
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
    /// The next message for a connection, if one waits. What it carries has to be given back by [`Volume::sent`].
    pub(crate) fn next_outgoing(&self, connection: u64) -> Option<Outgoing> {
        let mut state = self.state.lock();
        if state.remote.connection != connection {
            return None;
        }
        let generation = state.remote.generation;
        // While a generation is being recorded it is not known what the target is to be told.
        let settled = state.log.step != Step::Parting;
        if let Some(kind) = settled.then(|| state.remote.control.take()).flatten() {
            if matches!(kind, Kind::ResyncStart | Kind::ResyncDone) {
                state.remote.theirs = generation;
            }
            if kind == Kind::ResyncDone {
                // From here on the target may be in step: what it misses then is a new generation.
                state.log.step = Step::Together;
                state.remote.in_step = true;
            }
            let mut header = Header::new(kind);
            match kind {
                Kind::ResyncStart => {
                    header.span = self.dirty_bytes(state.remote.dirty.map());
                    header.offset = generation;
                }
                Kind::ResyncDone => header.offset = generation,
                _ => {}
            }
            return Some(Outgoing {
                header,
                payload: Payload::None,
                ends_resync: (kind == Kind::ResyncDone).then_some(generation),
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
            if request.origin == Origin::Rescue {
                // It lends nothing.
                let _sent = request.remote.give_back();
                return Some(Outgoing {
                    header,
                    payload: Payload::None,
                    ends_resync: None,
                    slot: None,
                });
            }
            let payload = payload(request);
            return Some(Outgoing {
                header,
                payload,
                ends_resync: None,
                slot: Some(slot),
            });
        }
    }

    /// Takes back what [`Volume::next_outgoing`] lent, whether it was sent or not.
    pub(crate) fn sent(&self, outgoing: Outgoing) {
        let Some(slot) = outgoing.slot else { return };
        let mut ended = BioList::new();
        let mut state = self.state.lock();
        let Some(request) = state.request(slot) else { return };
        match outgoing.payload {
            Payload::Bio(bio) => request.bio = Some(bio),
            Payload::Copy(copy) | Payload::Digest(copy) => request.copy = Some(copy),
            Payload::None => {}
        }
        let abandoned = request.remote == Part::Abandoned;
        match request.remote.give_back() {
            After::Stored => self.stored(&mut state, slot, abandoned, &mut ended),
            After::Again => state.send_again(slot),
            _ => {}
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
        let asked = |request: &&mut Request| request.seq == ack.seq && request.origin != Origin::Rescue;
        let Some(request) = state.request(slot).filter(asked) else {
            return Confirmed::Unexpected;
        };
        if !matches!(request.remote, Part::Sent | Part::Sending) {
            return Confirmed::Unexpected;
        }
        if ack.status == AckStatus::Differs && request.kind == Some(Kind::Compare) {
            if request.remote.differ() == After::Again {
                state.send_again(slot);
            }
            state.remote.progress_ms = now();
            drop(state);
            self.outgoing.raise();
            return Confirmed::Fine;
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
    fn stored(&self, state: &mut State, slot: Slot, abandoned: bool, ended: &mut BioList) {
        let Some(request) = state.requests.get_mut(slot.index()) else {
            return;
        };
        if abandoned {
            return state.missed(slot, ended);
        }
        match request.origin {
            Origin::Application => {
                state.remote.replicated_bytes = state.remote.replicated_bytes.saturating_add(request.len);
            }
            Origin::Copy => {
                let remote = &mut state.remote;
                if request.kind == Some(Kind::Compare) {
                    remote.equal_bytes = remote.equal_bytes.saturating_add(request.len);
                } else {
                    remote.copied_bytes = remote.copied_bytes.saturating_add(request.len);
                }
                if request.kind == Some(Kind::Zeroes) {
                    remote.zeroed_bytes = remote.zeroed_bytes.saturating_add(request.len);
                }
                // Where a write of the local disk failed meanwhile, a chunk copied in pieces may differ.
                if !state.copy_failed {
                    // The target may have it in its cache alone as yet.
                    state.log.touch(request.clears.clone());
                    state.remote.dirty.clear(request.clears.clone());
                    state.remote.doubtful.clear_range(request.clears.clone());
                }
            }
            Origin::Round => state.log.round_ended(true),
            // Reads are answered, not confirmed.
            Origin::Rescue => {}
        }
        state.remote_done(slot, ended);
    }
}

/// The data of a request. Only a write has any; the bio of a discard or of zeroes names a range without pages.
fn payload(request: &mut Request) -> Payload {
    match request.kind {
        Some(Kind::Write) => match request.bio.take() {
            Some(bio) => Payload::Bio(bio),
            None => request.copy.take().map_or(Payload::None, Payload::Copy),
        },
        Some(Kind::Compare) => request.copy.take().map_or(Payload::None, Payload::Digest),
        _ => Payload::None,
    }
}

fn header(slot: Slot, request: &Request) -> Header {
    let mut header = Header::new(request.kind.unwrap_or(Kind::Flush));
    header.flags = request.flags.with(Flags::RESYNC, request.origin == Origin::Copy);
    header.handle = u32::from(slot.number());
    header.seq = request.seq;
    if header.kind.has_range() {
        header.offset = request.offset;
        header.span = request.len;
    }
    if header.kind == Kind::Write {
        header.len = u32::try_from(request.len).unwrap_or(0);
    }
    header
}
