// SPDX-License-Identifier: GPL-2.0

//! What a source hears: confirmations, answers, the map of a paused target.

use super::{
    link::Link,
    link_error::{LinkError, LinkResult},
    source::SourceLeg,
};
use crate::{
    sys::sync::IrqLock,
    volume::{arrived, Confirmed},
};
use kernel::{prelude::*, sync::Arc};
use netraid_core::{
    leg::{Event, State},
    meta::{MetaFlags, Peer, PeerFlags},
    name::Text,
    rescue::Answer,
    wire::{map_words, Ack, AckStatus, Flags, Header, Kind, Reply, ReplyStatus},
    wire::{ACKS_MAX, ACK_LEN, REPLY_MAX_LEN},
};
use pin_init::stack_pin_init;

/// Why the connection is given up.
enum Lost {
    Link(LinkError),
    TargetDisk(AckStatus),
    OutOfTurn,
    Bye,
    Refused(Kind, Text),
    /// The target says why it gives the connection up.
    GivenUp(Text),
    NoMemory,
}

impl From<LinkError> for Lost {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

/// Takes in messages until the connection ends; returns the reason as a sentence.
pub(super) fn run(leg: &SourceLeg, link: &Arc<Link>) -> Text {
    // What a confirmation said that was taken in meanwhile, if it was not fine.
    stack_pin_init!(let said = crate::new_irq_lock!(None, c"netraid_said"));
    let take = |payload: &[u8]| {
        let confirmed = leg.volume.confirm_alone(leg.number(), Ack::decode_all(payload))?;
        Some(match result_of(confirmed) {
            Ok(()) => true,
            Err(lost) => {
                *said.lock() = Some(lost);
                false
            }
        })
    };
    let attended = link.attend(&take, |attention| loop {
        if let Err(lost) = attention
            .wait()
            .map_err(Lost::from)
            .and_then(|()| receive(leg, link, &said))
        {
            break lost;
        }
    });
    let lost = attended.unwrap_or_else(|error| LinkError::Io(error).into());
    let peer = leg.inner.lock().peer;
    match lost {
        Lost::Link(error) => Text::format(format_args!("the connection to {peer} was lost: {error}")),
        Lost::GivenUp(reason) => Text::format(format_args!("{peer} gave the connection up: {reason}")),
        Lost::TargetDisk(status) => Text::format(format_args!(
            "the disk of {peer} failed a write ({status:?}); look at its kernel log, or replace it"
        )),
        Lost::OutOfTurn => Text::format(format_args!(
            "{peer} confirmed something that was not sent; compare the versions of netraid on both machines"
        )),
        Lost::Bye => Text::format(format_args!("{peer} took the mirror out of service")),
        Lost::Refused(kind, reason) => {
            Text::format(format_args!("{peer} could not do what was asked ({kind:?}): {reason}"))
        }
        Lost::NoMemory => Text::truncated("there is no memory for the map of the target"),
    }
}

fn receive(leg: &SourceLeg, link: &Arc<Link>, said: &IrqLock<Option<Lost>>) -> core::result::Result<(), Lost> {
    if let Some(lost) = said.lock().take() {
        return Err(lost);
    }
    let header = link.read_header()?;
    match header.kind {
        Kind::Ack => acks(leg, link, &header),
        Kind::Ping | Kind::Pong => Ok(()),
        Kind::Reply => reply(leg, link, &header),
        Kind::Map => map(leg, link, &header),
        Kind::ReadReply => answer(leg, link, &header),
        Kind::Takeover => {
            (leg.config.handover)(leg.config.node.mirror_id, leg.number());
            Ok(())
        }
        Kind::Bye => Err(Lost::Bye),
        other => Err(LinkError::Unexpected(other).into()),
    }
}

fn acks(leg: &SourceLeg, link: &Link, header: &Header) -> core::result::Result<(), Lost> {
    let mut buffer = [0; ACKS_MAX * ACK_LEN];
    let acks = Ack::decode_all(link.read_data(header, &mut buffer)?);
    result_of(leg.volume.confirm(leg.number(), acks))
}

fn result_of(confirmed: Confirmed) -> core::result::Result<(), Lost> {
    match confirmed {
        Confirmed::Fine => Ok(()),
        Confirmed::TargetError(status) => Err(Lost::TargetDisk(status)),
        Confirmed::Unexpected => Err(Lost::OutOfTurn),
    }
}

/// Data that the local disk could not give.
fn answer(leg: &SourceLeg, link: &Link, header: &Header) -> core::result::Result<(), Lost> {
    let volume = &leg.volume;
    match volume.answer(leg.number(), header) {
        Answer::Unexpected => return Err(Lost::OutOfTurn),
        Answer::Failed => arrived(volume, leg.number(), header, None),
        Answer::Data => {
            let pages = volume.answer_pages(header).map_err(LinkError::Io)?;
            link.read_pages(header, &pages)?;
            arrived(volume, leg.number(), header, Some(pages));
        }
    }
    Ok(())
}

fn reply(leg: &SourceLeg, link: &Arc<Link>, header: &Header) -> core::result::Result<(), Lost> {
    let mut buffer = [0; REPLY_MAX_LEN];
    let reply = read_reply(link, header, &mut buffer)?;
    let asked = u8::try_from(header.handle).ok().and_then(Kind::from_number);
    let fine = reply.status == ReplyStatus::Ok;
    let event = match asked {
        Some(Kind::ResyncDone) if fine => {
            // Where it was in step, it still is: it has noted another generation.
            if leg.volume.followed(leg.number()) && is_synced(leg) {
                return Ok(());
            }
            if is_asked(leg) {
                complete(leg)?;
            }
            Event::DoneAcked
        }
        Some(Kind::Pause) if fine => Event::PauseAcked,
        Some(Kind::Resume) if fine => {
            let mut inner = leg.inner.lock();
            if !core::mem::take(&mut inner.cause_stands) {
                inner.cause = Text::truncated("replication was paused");
            }
            Event::ResumeAcked
        }
        Some(Kind::Resume) => {
            let peer = leg.inner.lock().peer;
            let reason = Text::format(format_args!("{peer} does not resume: {}", reply.reason));
            leg.fire_on(link, Event::ResumeRefused, Some(reason));
            return Ok(());
        }
        // Requests are acknowledged, not replied to, unless they arrived damaged.
        Some(kind) if kind.is_request() => return Err(Lost::GivenUp(reply.reason)),
        Some(kind) => return Err(Lost::Refused(kind, reply.reason)),
        None => return Err(LinkError::Unexpected(Kind::Reply).into()),
    };
    leg.fire_on(link, event, None);
    Ok(())
}

/// Whether the target is in step, and has said so.
fn is_synced(leg: &SourceLeg) -> bool {
    leg.inner.lock().machine.state() == State::Synced
}

/// Whether the target was told that the resync is complete, and has not answered yet; an answer to what was not said
/// changes nothing on record before it ends the connection.
fn is_asked(leg: &SourceLeg) -> bool {
    let state = leg.inner.lock().machine.state();
    // It may have been told before the pause was asked for.
    matches!(state, State::Finishing | State::Pausing | State::PauseSent)
}

/// The target holds what this disk holds: what made the resync necessary is over.
fn complete(leg: &SourceLeg) -> core::result::Result<(), Lost> {
    let gone = MetaFlags::SPLIT_BRAIN
        .with(MetaFlags::PREPARED, true)
        .with(MetaFlags::TOOK_OVER, true);
    let taken_in = leg.inner.lock().full_copy;
    let changed = leg.volume.store.change(|sb| {
        sb.flags = sb.flags.without(gone);
        // One that was asked for since is still to be made.
        if leg.full_copies() == taken_in {
            if let Some(peer) = leg.note(sb) {
                peer.flags.set(PeerFlags::FULL, false);
            }
        }
    });
    changed.map_err(|error| LinkError::Record(error).into())
}

/// Together with what the target told the marks are all it misses.
fn whole(leg: &SourceLeg) -> Result {
    let store = &leg.volume.store;
    let half = |peer: &Peer| peer.flags.contains(PeerFlags::RECENT);
    if !store.with(|sb| leg.noted(sb).is_some_and(half)) {
        return Ok(());
    }
    store.change(|sb| {
        if let Some(peer) = leg.note(sb) {
            peer.flags.set(PeerFlags::RECENT, false);
        }
    })
}

fn read_reply(link: &Link, header: &Header, buffer: &mut [u8]) -> LinkResult<Reply> {
    Ok(Reply::decode(link.read_data(header, buffer)?)?)
}

fn map(leg: &SourceLeg, link: &Arc<Link>, header: &Header) -> core::result::Result<(), Lost> {
    // At any other time nobody would see to it that what it marks is copied.
    if leg.inner.lock().machine.state() != State::Merging {
        return Err(LinkError::Unexpected(Kind::Map).into());
    }
    let words = leg.volume.geometry.words();
    header.check_map_bounds(words as u64).map_err(LinkError::from)?;
    let mut data = KVVec::from_elem(0_u8, header.len as usize, GFP_KERNEL).map_err(|_| Lost::NoMemory)?;
    link.read_exact(header, &mut data)?;
    let first = usize::try_from(header.offset).unwrap_or(usize::MAX);
    // In pieces that find room on the stack.
    let mut words = map_words(&data);
    let mut at = first;
    loop {
        let mut piece = [0; 64];
        let count = piece
            .iter_mut()
            .zip(words.by_ref())
            .map(|(place, word)| *place = word)
            .count();
        if count == 0 {
            break;
        }
        leg.volume.merge(leg.number(), at, piece.get(..count).unwrap_or(&[]));
        at = at.saturating_add(count);
    }
    if header.flags.contains(Flags::LAST) {
        // The target forgets its map once copying begins.
        leg.volume.keep_marks().map_err(LinkError::Record)?;
        whole(leg).map_err(LinkError::Record)?;
        leg.fire_on(link, Event::MapDone, None);
    }
    Ok(())
}
