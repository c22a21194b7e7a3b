// SPDX-License-Identifier: GPL-2.0

//! What goes to a target, and what comes back of it.

use super::{
    copy::Copy,
    log::Step,
    now,
    remote::Remote,
    shadow::Shadow,
    state::{Origin, Request, State},
    Volume,
};
use crate::sys::{
    block::{Bio, BioList, PagedBio},
    lend::{Lend, Lent, Loan},
    sync::IrqGuard,
};
use netraid_core::{
    inflight::Slot,
    legs::LegNumber,
    request::{After, Part},
    wire::{Ack, AckStatus, Flags, Header, Kind},
};

/// The data of a message, lent to the sender.
pub(crate) enum Payload {
    /// None.
    None,
    /// An application's pages.
    Bio(Loan<Bio>),
    /// What was in an application's pages.
    Shadow(Loan<PagedBio<Shadow>>),
    /// Pages read by the resync.
    Copy(Loan<PagedBio<Copy>>),
    /// The same, of which only the digest is sent.
    Digest(Loan<PagedBio<Copy>>),
}

/// A message to be sent.
pub(crate) struct Outgoing {
    /// The header, but for the checksum of the payload.
    pub(crate) header: Header,
    /// What follows it.
    pub(crate) payload: Payload,
    /// It ends a resync that gave the target this generation.
    pub(crate) ends_resync: Option<u64>,
    /// Others wait behind it.
    pub(crate) more: bool,
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

/// What became of one.
enum Taken {
    /// It is taken.
    Fine,
    /// The target does not hold what it was asked about; the data waits to be sent.
    Again,
    TargetError,
    Unexpected,
}

impl Volume {
    /// Takes back what was `sent`, as [`Volume::sent`] does, and gives the next message for a connection of a leg, if one
    /// waits. What that carries has to be given back as well.
    pub(crate) fn next_outgoing(&self, leg: LegNumber, connection: u64, sent: Option<Outgoing>) -> Option<Outgoing> {
        let mut state = self.state.lock();
        let Some(sent) = sent else {
            return self.take_out(&mut state, leg, connection);
        };
        let mut ended = BioList::new();
        self.take_back(&mut state, leg, sent, &mut ended);
        let next = self.take_out(&mut state, leg, connection);
        self.release(state, ended);
        next
    }

    /// The request of a leg that has no other and is told nothing else, as [`Volume::next_outgoing`] gives it.
    pub(super) fn take_alone(&self, leg: LegNumber, connection: u64) -> Option<Outgoing> {
        let mut state = self.state.lock();
        if !state.remotes.get(leg)?.is_alone() {
            return None;
        }
        self.take_out(&mut state, leg, connection)
    }

    fn take_out(&self, state: &mut State, leg: LegNumber, connection: u64) -> Option<Outgoing> {
        if state.remotes.get(leg)?.connection != connection {
            return None;
        }
        if let Some(message) = self.next_control(state, leg) {
            return Some(message);
        }
        // Not before the target has it on record that its copy is unusable; that may have to wait for a generation.
        if state.remotes.get(leg)?.waits_to_start() {
            return None;
        }
        loop {
            let queue = &mut state.remotes.get_mut(leg)?.queue;
            let slot = queue.pop()?;
            let more = !queue.is_empty();
            let Some(request) = state.request(slot) else { continue };
            if request.remote.take(leg) == After::Unexpected {
                continue;
            }
            let header = header(slot, leg, request);
            if request.origin.asks() {
                // It lends nothing.
                let _sent = request.remote.give_back(leg);
                return Some(Outgoing {
                    header,
                    payload: Payload::None,
                    ends_resync: None,
                    more,
                    slot: None,
                });
            }
            let payload = payload(request, leg);
            return Some(Outgoing {
                header,
                payload,
                ends_resync: None,
                more,
                slot: Some(slot),
            });
        }
    }

    /// The next message without data.
    fn next_control(&self, state: &mut State, leg: LegNumber) -> Option<Outgoing> {
        let State {
            remotes,
            log,
            generation,
            entered,
            ..
        } = state;
        // While a generation is being recorded it is not known what the target is to be told.
        if log.is_parting() || log.recording {
            return None;
        }
        let remote = remotes.get_mut(leg)?;
        let kind = remote.next_control()?;
        let mut header = Header::new(kind);
        if matches!(kind, Kind::ResyncStart | Kind::ResyncDone) {
            remote.theirs = *generation;
            header.offset = *generation;
        }
        match kind {
            Kind::ResyncStart => header.span = self.dirty_bytes(remote.dirty.map()),
            Kind::Settled => (header.span, header.offset) = remote.send_mark(*entered),
            Kind::ResyncDone => {
                log.followers.sent(leg);
                // From here on the target may be in step: what it misses then is a new generation.
                log.set_step(leg, Step::Together);
                remote.in_step = true;
            }
            _ => {}
        }
        Some(Outgoing {
            header,
            payload: Payload::None,
            ends_resync: (kind == Kind::ResyncDone).then_some(*generation),
            more: false,
            slot: None,
        })
    }

    /// Takes back what [`Volume::next_outgoing`] lent, whether it was sent or not.
    pub(crate) fn sent(&self, leg: LegNumber, outgoing: Outgoing) {
        let mut ended = BioList::new();
        let mut state = self.state.lock();
        self.take_back(&mut state, leg, outgoing, &mut ended);
        self.release(state, ended);
    }

    fn take_back(&self, state: &mut State, leg: LegNumber, outgoing: Outgoing, ended: &mut BioList) {
        let Some(slot) = outgoing.slot else { return };
        let Some(request) = state.request(slot) else { return };
        match outgoing.payload {
            Payload::Bio(loan) => come_back(&mut request.bio, loan),
            Payload::Shadow(loan) => come_back(&mut request.shadow, loan),
            Payload::Copy(loan) | Payload::Digest(loan) => come_back(&mut request.read, loan),
            Payload::None => {}
        }
        let abandoned = request.remote.of(leg) == Part::Abandoned;
        match request.remote.give_back(leg) {
            After::Stored => self.stored(state, slot, leg, abandoned, ended),
            After::Again => state.send_again(slot, leg),
            _ => {}
        }
    }

    /// Takes in confirmations of a leg's target, up to the first that says something else. Any context.
    pub(crate) fn confirm(&self, leg: LegNumber, acks: impl Iterator<Item = Ack>) -> Confirmed {
        self.confirm_locked(self.state.lock(), leg, acks)
    }

    /// The same where the leg has one request under way; `None` where it has more, whose confirmations are better taken in
    /// together. Any context.
    pub(crate) fn confirm_alone(&self, leg: LegNumber, acks: impl Iterator<Item = Ack>) -> Option<Confirmed> {
        let state = self.state.lock();
        let alone = state.remotes.get(leg).is_some_and(|remote| remote.is_solo());
        alone.then(|| self.confirm_locked(state, leg, acks))
    }

    fn confirm_locked(
        &self,
        mut state: IrqGuard<'_, State>,
        leg: LegNumber,
        mut acks: impl Iterator<Item = Ack>,
    ) -> Confirmed {
        let mut ended = BioList::new();
        let mut again = false;
        let other = acks.find_map(|ack| match self.take_ack(&mut state, leg, ack, &mut ended) {
            Taken::Fine => None,
            Taken::Again => {
                again = true;
                None
            }
            // The request stays outstanding; it is marked when the connection ends, which comes next.
            Taken::TargetError => Some(Confirmed::TargetError(ack.status)),
            Taken::Unexpected => Some(Confirmed::Unexpected),
        });
        state.progress(leg);
        self.release(state, ended);
        if again {
            self.raise_outgoing(leg);
        }
        other.unwrap_or(Confirmed::Fine)
    }

    fn take_ack(&self, state: &mut State, leg: LegNumber, ack: Ack, ended: &mut BioList) -> Taken {
        let Ok(number) = u16::try_from(ack.handle) else {
            return Taken::Unexpected;
        };
        let slot = Slot::from_number(number);
        let asked = |request: &&mut Request| request.seq(leg) == ack.seq && !request.origin.asks();
        let Some(request) = state.request(slot).filter(asked) else {
            return Taken::Unexpected;
        };
        if !matches!(request.remote.of(leg), Part::Sent | Part::Sending) {
            return Taken::Unexpected;
        }
        if ack.status == AckStatus::Differs && request.kind_for(leg) == Some(Kind::Compare) {
            if request.remote.differ(leg) == After::Again {
                state.send_again(slot, leg);
            }
            return Taken::Again;
        }
        if ack.status != AckStatus::Ok {
            return Taken::TargetError;
        }
        if request.remote.confirm(leg) == After::Stored {
            self.stored(state, slot, leg, false, ended);
        }
        Taken::Fine
    }

    /// A leg is done with a request; unless `abandoned`, its data is on the target.
    fn stored(&self, state: &mut State, slot: Slot, leg: LegNumber, abandoned: bool, ended: &mut BioList) {
        if abandoned {
            return state.missed(slot, leg, ended);
        }
        let State {
            requests, remotes, log, ..
        } = state;
        let (Some(request), Some(remote)) = (requests.get_mut(slot.index()), remotes.get_mut(leg)) else {
            return;
        };
        request.stored.put(leg, true);
        match request.origin {
            Origin::Application => remote.replicated_bytes = remote.replicated_bytes.saturating_add(request.len),
            Origin::Copy => {
                remote.count_copy(leg, request);
                // Where a write of the local disk failed meanwhile, a chunk copied in pieces may differ.
                if !remote.copy_failed {
                    // The target may have it in its cache alone as yet.
                    log.touch(request.clears.clone());
                    remote.dirty.clear(request.clears.clone());
                    remote.doubtful.clear_range(request.clears.clone());
                }
            }
            // Reads are answered, not confirmed.
            Origin::Round | Origin::Rescue | Origin::Rebuild => {}
        }
        state.remote_done(slot, leg, ended);
    }
}

impl State {
    /// A target has confirmed something.
    fn progress(&mut self, leg: LegNumber) {
        if let Some(remote) = self.remotes.get_mut(leg) {
            remote.progress_ms = now();
        }
    }
}

impl Remote {
    fn count_copy(&mut self, leg: LegNumber, request: &Request) {
        let kind = request.kind_for(leg);
        let Self {
            equal_bytes,
            copied_bytes,
            zeroed_bytes,
            ..
        } = self;
        let count = if kind == Some(Kind::Compare) {
            equal_bytes
        } else {
            copied_bytes
        };
        *count = count.saturating_add(request.len);
        if kind == Some(Kind::Zeroes) {
            *zeroed_bytes = zeroed_bytes.saturating_add(request.len);
        }
    }
}

/// What was lent is back.
fn come_back<T: Lend>(lender: &mut Option<Lent<T>>, loan: Loan<T>) {
    if let Some(lender) = lender {
        lender.take_back(loan);
    }
}

/// The data of a request. Only a write has any; the bio of a discard or of zeroes names a range without pages. Where there
/// is a copy of it, the bio is never lent: it may end at any time.
fn payload(request: &mut Request, leg: LegNumber) -> Payload {
    if let Some(shadow) = request.shadow.as_mut() {
        return Payload::Shadow(shadow.lend());
    }
    match request.kind_for(leg) {
        Some(Kind::Write) => match request.bio.as_mut() {
            Some(bio) => Payload::Bio(bio.lend()),
            None => lend_read(request).map_or(Payload::None, Payload::Copy),
        },
        Some(Kind::Compare) => lend_read(request).map_or(Payload::None, Payload::Digest),
        _ => Payload::None,
    }
}

fn lend_read(request: &mut Request) -> Option<Loan<PagedBio<Copy>>> {
    request.read.as_mut().map(Lent::lend)
}

fn header(slot: Slot, leg: LegNumber, request: &Request) -> Header {
    let mut header = Header::new(request.kind_for(leg).unwrap_or(Kind::Flush));
    header.flags = request
        .flags
        .with(Flags::RESYNC, request.origin == Origin::Copy)
        .with(Flags::BARRIER, request.barriers.contains(leg));
    header.handle = u32::from(slot.number());
    header.seq = request.seq(leg);
    if header.kind.has_range() {
        header.offset = request.offset;
        header.span = request.len;
    }
    if header.kind == Kind::Write {
        header.len = u32::try_from(request.len).unwrap_or(0);
    }
    header
}
