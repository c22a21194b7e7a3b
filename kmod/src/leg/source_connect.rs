// SPDX-License-Identifier: GPL-2.0

//! The connecting thread of a source's leg: attempts, greetings, and then the receiving of messages.

use super::{
    ask::{self, Question},
    greeting::{self, Introduction},
    link::Link,
    link_error::LinkError,
    source::SourceLeg,
    source_receive,
    source_status::NOTHING_TO_COPY,
};
use crate::sys::{
    errno::{ECONNREFUSED, EHOSTUNREACH, EINPROGRESS, ENETUNREACH},
    misc,
};
use kernel::{prelude::*, sync::Arc};
use netraid_core::{
    handshake::{source_decide, Agreement, Copying, Plan, SourceFacts},
    leg::{Event, Greeting, State},
    legs::LegNumber,
    meta::{priorities, MetaFlags, Peer, PeerFlags, Superblock},
    name::Text,
    wire::{features, HelloFlags, Id, RefuseCode, Welcome, WelcomeFlags, NO_ID},
};

/// How long the thread sleeps when nothing wakes it; only a safety net.
const NAP_MS: u64 = 1000;

/// The thread's body.
pub(super) fn run(leg: &Arc<SourceLeg>) {
    loop {
        let (stopping, state, retry_at) = {
            let inner = leg.inner.lock();
            (inner.stopping, inner.machine.state(), inner.retry_at)
        };
        if stopping {
            return;
        }
        match state {
            State::Idle => {
                leg.wake.wait(NAP_MS as u32);
            }
            State::Waiting => {
                let left = retry_at.saturating_sub(misc::now_ms());
                if left == 0 {
                    leg.fire(Event::Timer, None);
                } else {
                    leg.wake.wait(left.min(NAP_MS) as u32);
                }
            }
            State::Connecting => connect(leg),
            State::Handshake => greet(leg),
            _ => serve(leg),
        }
    }
}

fn serve(leg: &Arc<SourceLeg>) {
    if let Some(link) = leg.connected() {
        let reason = source_receive::run(leg, &link);
        leg.fire_on(&link, Event::Lost, Some(reason));
    }
}

fn connect(leg: &SourceLeg) {
    let config = &leg.config;
    if leg.volume.is_disk_gone() {
        return leg.fire(Event::ConnectFailed, Some(Text::truncated(NOTHING_TO_COPY)));
    }
    if let Err(reason) = look_for_double(leg) {
        return leg.fire(Event::ConnectFailed, Some(reason));
    }
    let link = match Link::to(&config.net, &config.address, config.timing) {
        Ok(link) => link,
        Err(error) => return failed(leg, error),
    };
    {
        let mut inner = leg.inner.lock();
        if inner.machine.state() != State::Connecting {
            return;
        }
        inner.attempts = inner.attempts.saturating_add(1);
        // From here on the attempt can be ended by closing the link.
        inner.link = Some(link.clone());
    }
    match link.connect(&config.address) {
        Ok(()) => leg.fire_on(&link, Event::Connected, None),
        Err(error) => failed(leg, error),
    }
}

fn failed(leg: &SourceLeg, error: Error) {
    leg.fire(Event::ConnectFailed, Some(no_connection(leg, error)));
}

fn no_connection(leg: &SourceLeg, error: Error) -> Text {
    let to = leg.config.address;
    let mirror = leg.config.node.wire_name;
    if error == ECONNREFUSED {
        Text::format(format_args!(
            "nobody listens on {to}; let mirror {mirror} be joined there with `netraid-ctl join`"
        ))
    } else if error == EINPROGRESS || error == ETIMEDOUT || error == EAGAIN {
        Text::format(format_args!("no answer from {to}; check the network and its firewalls"))
    } else if error == EHOSTUNREACH || error == ENETUNREACH {
        Text::format(format_args!("there is no way to {to}; check address and routes"))
    } else {
        let errno = -error.to_errno();
        Text::format(format_args!("the connection to {to} could not be made (error {errno})"))
    }
}

/// Exchanges greetings and enters the decision.
fn greet(leg: &SourceLeg) {
    let (link, paused) = {
        let inner = leg.inner.lock();
        let Some(link) = inner.link.clone() else { return };
        (link, inner.machine.pause_wanted())
    };
    let session = u64::from_le_bytes(misc::random());
    let hello = greeting::hello(
        &leg.volume.store,
        &Introduction {
            node: &leg.config.node,
            place: leg.number(),
            timing: leg.config.timing,
            geometry: leg.volume.geometry,
            logical_block_size: leg.volume.lower().logical_block_size(),
            listen_port: leg.config.listen_port,
            session,
            flags: HelloFlags::NONE.with(HelloFlags::PAUSED, paused),
            features: leg.offered_features(),
        },
    );
    match greeting::exchange(&link, &hello) {
        Ok(Ok(welcome)) => decide(leg, &link, &welcome, session),
        Ok(Err(refusal)) => refused(leg, &link, refusal.code, refusal.sentence()),
        Err(error @ (LinkError::Wire(_) | LinkError::Unexpected(_))) if !error.is_damage() => {
            let to = leg.config.address;
            let reason = Text::format(format_args!("{to} does not answer as a netraid target: {error}"));
            leg.fire_on(&link, Event::Refused, Some(reason));
        }
        Err(error) => {
            let to = leg.config.address;
            let reason = Text::format(format_args!("greeting {to} failed: {error}"));
            leg.fire_on(&link, Event::Lost, Some(reason));
        }
    }
}

/// Sees to it that a target that was never connected is not that of another leg, whose connection this one would take the
/// place of. Asks it, if there is another leg; that changes nothing there.
fn look_for_double(leg: &SourceLeg) -> core::result::Result<(), Text> {
    let store = &leg.volume.store;
    let is_new = store.with(|sb| {
        let mut others = LegNumber::all()
            .zip(&sb.peers)
            .filter(|(place, _)| *place != leg.number());
        let known = leg.noted(sb).is_some_and(|peer| !peer.is_free());
        !known && others.any(|(_, peer)| !peer.is_free())
    });
    if !is_new {
        return Ok(());
    }
    let question = Question {
        node: &leg.config.node,
        store,
        geometry: leg.volume.geometry,
        logical_block_size: leg.volume.lower().logical_block_size(),
        place: leg.number(),
        address: leg.config.address,
        timing: leg.config.timing,
        warm: false,
    };
    match ask::who(&leg.config.net, &question) {
        Ok(Some(uuid)) => other_leg_of(leg, &uuid).map_or(Ok(()), Err),
        // The greeting will be refused, too, and says why.
        Ok(None) => Ok(()),
        Err(error) => Err(no_connection(leg, error)),
    }
}

/// The sentence for a machine that is the target of another leg.
fn other_leg_of(leg: &SourceLeg, uuid: &Id) -> Option<Text> {
    leg.volume.store.with(|sb| {
        let (place, peer) = double_of(leg, sb, uuid)?;
        Some(Text::format(format_args!(
            "{} is {}, the target of leg {} already; each target needs a machine of its own, unextend one of the two",
            leg.config.address,
            peer.name,
            place.id()
        )))
    })
}

/// Where else a machine is noted as a target.
fn double_of<'a>(leg: &SourceLeg, sb: &'a Superblock, uuid: &Id) -> Option<(LegNumber, &'a Peer)> {
    let mut others = LegNumber::all()
        .zip(&sb.peers)
        .filter(|(place, _)| *place != leg.number());
    others.find(|(_, peer)| !peer.is_free() && peer.uuid == *uuid)
}

fn refused(leg: &SourceLeg, link: &Arc<Link>, code: RefuseCode, reason: Text) {
    if code == RefuseCode::SplitBrain && greeting::note_split_brain(&leg.volume.store) {
        leg.report_standing(reason);
    }
    leg.fire_on(link, Event::Refused, Some(reason));
}

/// What this side knows.
fn facts(leg: &SourceLeg, welcome: &Welcome, session: u64, paused: bool) -> SourceFacts {
    leg.volume.store.with(|sb| {
        let peer = leg.noted(sb);
        SourceFacts {
            session,
            features: leg.offered_features(),
            size: leg.volume.geometry.size(),
            logical_block_size: leg.volume.lower().logical_block_size(),
            mine: greeting::generations(sb, &welcome.node_uuid),
            known_node: peer.map_or(NO_ID, |peer| peer.uuid),
            known_instance: peer.map_or(NO_ID, |peer| peer.instance),
            prepared: sb.flags.contains(MetaFlags::PREPARED),
            shared: sb.flags.contains(MetaFlags::SHARED),
            is_new: sb.flags.contains(MetaFlags::NEW),
            paused,
            full: peer.is_some_and(|peer| peer.flags.contains(PeerFlags::FULL)),
            recent: peer
                .filter(|peer| peer.flags.contains(PeerFlags::RECENT))
                .map_or(0, |peer| peer.base),
            unknown: peer.is_some_and(|peer| peer.flags.contains(PeerFlags::UNKNOWN)),
        }
    })
}

fn decide(leg: &SourceLeg, link: &Arc<Link>, welcome: &Welcome, session: u64) {
    let paused = leg.inner.lock().machine.pause_wanted();
    // Read before the flag it counts: what is asked for in between is made by the next connection.
    let full_copy = leg.full_copies();
    let mut facts = facts(leg, welcome, session, paused);
    let mut plan = source_decide(&facts, welcome);
    if matches!(plan, Plan::Agree(agreement) if agreement.begins) {
        if let Err(error) = leg.volume.begin_generation(leg.number(), |_| {}) {
            return leg.fire_on(link, Event::Lost, Some(not_recorded(error)));
        }
        // What the target lacks is judged by the generation that is begun.
        facts = self::facts(leg, welcome, session, paused);
        plan = source_decide(&facts, welcome);
    }
    let agreement = match plan {
        Plan::Agree(agreement) => agreement,
        Plan::Refuse(RefuseCode::Malformed) => {
            let reason = Text::format(format_args!(
                "the answer of {} makes no sense; compare the versions of netraid on both machines",
                leg.config.address
            ));
            return refused(leg, link, RefuseCode::Malformed, reason);
        }
        Plan::Refuse(code) => return refused(leg, link, code, Text::format(format_args!("{code}"))),
    };
    if let Some(reason) = other_leg_of(leg, &welcome.node_uuid) {
        return leg.fire_on(link, Event::Refused, Some(reason));
    }
    link.agree(welcome.features);
    if let Err(error) = prepare(leg, welcome, agreement) {
        // Another leg may have greeted the same machine at the same moment.
        if let Some(reason) = other_leg_of(leg, &welcome.node_uuid) {
            return leg.fire_on(link, Event::Refused, Some(reason));
        }
        return leg.fire_on(link, Event::Lost, Some(not_recorded(error)));
    }
    let mut inner = leg.inner.lock();
    if !inner.link.as_ref().is_some_and(|now| Arc::ptr_eq(now, link)) {
        return;
    }
    let full = agreement.copying == Copying::Everything;
    inner.cause = cause(&facts, welcome, agreement, core::mem::take(&mut inner.fell));
    inner.cause_stands = agreement.merge_map && !paused;
    inner.connects = inner.connects.saturating_add(1);
    inner.attempts = 0;
    inner.full_copy = full_copy;
    inner.peer = welcome.node_name;
    let greeting = Greeting {
        full,
        target_paused: agreement.merge_map,
    };
    let reason = if paused {
        Text::truncated("replication is paused by an operator")
    } else {
        Text::EMPTY
    };
    leg.fire_locked(&mut inner, Event::Welcomed(greeting), Some(reason))
        .report(leg, inner);
}

fn not_recorded(error: Error) -> Text {
    let errno = -error.to_errno();
    Text::format(format_args!(
        "what the target misses can't be put on record (error {errno}); look at the disk of the metadata"
    ))
}

/// Why a resync is necessary; `fell`: the connection before was given up since the target could not keep up.
fn cause(facts: &SourceFacts, welcome: &Welcome, agreement: Agreement, fell: bool) -> Text {
    Text::truncated(match agreement.copying {
        _ if facts.full => "an operator asked for a full copy",
        Copying::Everything if agreement.compare => "the target was that of another source; it is compared",
        Copying::Everything if facts.known_node == NO_ID => "the target is new to this mirror",
        Copying::Everything => "what the target holds is not known",
        Copying::Written => "the target is new to this mirror, which has not been written to everywhere",
        Copying::Marked if facts.known_instance != welcome.instance => {
            "the target was restarted, or is new and prepared"
        }
        Copying::Marked if agreement.merge_map => "the target was paused, or in use as source, meanwhile",
        Copying::Marked if fell => "the target could not keep up with the application",
        Copying::Marked => "the connection was lost while the application wrote",
    })
}

/// Puts on record what the target misses, and whose marks these are, before anything is sent to it.
fn prepare(leg: &SourceLeg, welcome: &Welcome, agreement: Agreement) -> Result {
    let volume = &leg.volume;
    match agreement.copying {
        Copying::Everything => volume.mark_all(leg.number(), agreement.compare),
        Copying::Written => volume.mark_written(leg.number()),
        Copying::Marked => {}
    }
    if agreement.distrust {
        volume.distrust(leg.number());
    }
    volume.keep_marks()?;
    // Half of what it misses is marked, and it tells the other half.
    let is_half = agreement.copying == Copying::Marked && welcome.flags.contains(WelcomeFlags::RECENT);
    let half = PeerFlags::UNKNOWN.with(PeerFlags::RECENT, !is_half);
    let learns = |sb: &Superblock| priorities::learns(sb, leg.number(), welcome.priority);
    let noted = |sb: &Superblock| {
        let known = |peer: &Peer| {
            let same = peer.uuid == welcome.node_uuid && peer.instance == welcome.instance;
            same && peer.flags == peer.flags.without(half)
        };
        leg.noted(sb).is_some_and(known) && learns(sb).is_none()
    };
    if !volume.store.with(noted) {
        let is_ours = volume.store.change(|sb| {
            if double_of(leg, sb, &welcome.node_uuid).is_some() {
                return false;
            }
            let learned = learns(sb);
            if let Some(peer) = leg.note(sb) {
                peer.priority = learned.or(peer.priority);
                if peer.uuid != welcome.node_uuid && !(is_half && peer.flags.contains(PeerFlags::RECENT)) {
                    // What was noted of another machine does not hold for this one.
                    peer.base = 0;
                }
                peer.flags = peer.flags.without(half);
                peer.uuid = welcome.node_uuid;
                peer.name = welcome.node_name;
                peer.instance = welcome.instance;
            }
            // What the target's operator permitted holds when the roles are swapped, too.
            let same_machine = welcome.node_uuid == leg.config.node.uuid;
            sb.flags = sb.flags.with(MetaFlags::SAME_MACHINE, same_machine);
            true
        })?;
        if !is_ours {
            return Err(EEXIST);
        }
    }
    volume.set_theirs(leg.number(), welcome.generation, agreement.covered);
    volume.set_compares(leg.number(), welcome.features & features::COMPARE != 0);
    volume.set_remembers(leg.number(), welcome.features & features::RECENT != 0);
    volume.set_answers_reads(leg.number(), welcome.features & features::READ != 0);
    volume.set_durable(leg.number(), welcome.features & features::DURABLE != 0);
    Ok(())
}
