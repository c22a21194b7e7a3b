// SPDX-License-Identifier: GPL-2.0

//! The connecting thread of a source's leg: attempts, greetings, and then the receiving of messages.

use super::{
    greeting::{self, Introduction},
    link::{Link, LinkError},
    source::SourceLeg,
    source_receive,
};
use crate::{
    meta::maps::PEER,
    sys::{
        errno::{ECONNREFUSED, EHOSTUNREACH, EINPROGRESS, ENETUNREACH},
        misc,
    },
};
use kernel::{prelude::*, sync::Arc};
use netraid_core::{
    handshake::{source_decide, Agreement, Copying, Plan, SourceFacts},
    leg::{Event, Greeting, State},
    meta::{MetaFlags, PeerFlags, Superblock},
    name::Text,
    wire::{features, HelloFlags, RefuseCode, Welcome, NO_ID},
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
    let to = leg.config.address;
    let mirror = leg.config.node.mirror;
    let reason = if error == ECONNREFUSED {
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
    };
    leg.fire(Event::ConnectFailed, Some(reason));
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
            timing: leg.config.timing,
            geometry: leg.volume.geometry,
            logical_block_size: leg.volume.lower.logical_block_size(),
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

fn refused(leg: &SourceLeg, link: &Arc<Link>, code: RefuseCode, reason: Text) {
    if code == RefuseCode::SplitBrain && greeting::note_split_brain(&leg.volume.store) {
        leg.report_standing(reason);
    }
    leg.fire_on(link, Event::Refused, Some(reason));
}

fn decide(leg: &SourceLeg, link: &Arc<Link>, welcome: &Welcome, session: u64) {
    let paused = leg.inner.lock().machine.pause_wanted();
    let store = &leg.volume.store;
    // Read before the flag it counts: what is asked for in between is made by the next connection.
    let full_copy = leg.full_copies();
    let facts = store.with(|sb| {
        let peer = sb.peers.get(PEER);
        SourceFacts {
            session,
            features: leg.offered_features(),
            size: leg.volume.geometry.size(),
            logical_block_size: leg.volume.lower.logical_block_size(),
            mine: greeting::generations(sb, &welcome.node_uuid),
            known_node: peer.map_or(NO_ID, |peer| peer.uuid),
            known_instance: peer.map_or(NO_ID, |peer| peer.instance),
            prepared: sb.flags.contains(MetaFlags::PREPARED),
            is_new: sb.flags.contains(MetaFlags::NEW),
            paused,
            full: peer.is_some_and(|peer| peer.flags.contains(PeerFlags::FULL)),
        }
    });
    let agreement = match source_decide(&facts, welcome) {
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
    link.agree(welcome.features);
    if let Err(error) = prepare(leg, welcome, agreement) {
        let errno = -error.to_errno();
        let reason = Text::format(format_args!(
            "what the target misses can't be put on record (error {errno}); look at the disk of the metadata"
        ));
        return leg.fire_on(link, Event::Lost, Some(reason));
    }
    let mut inner = leg.inner.lock();
    if !inner.link.as_ref().is_some_and(|now| Arc::ptr_eq(now, link)) {
        return;
    }
    let full = agreement.copying == Copying::Everything;
    inner.cause = cause(&facts, welcome, agreement.copying);
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

fn cause(facts: &SourceFacts, welcome: &Welcome, copying: Copying) -> Text {
    Text::truncated(match copying {
        _ if facts.full => "an operator asked for a full copy",
        Copying::Everything if facts.known_node == NO_ID => "the target is new to this mirror",
        Copying::Everything => "what the target holds is not known",
        Copying::Written => "the target is new to this mirror, which has not been written to everywhere",
        Copying::Marked if facts.known_instance != welcome.instance => {
            "the target was restarted, or is new and prepared"
        }
        Copying::Marked => "the connection was lost while the application wrote",
    })
}

/// Puts on record what the target misses, and whose marks these are, before anything is sent to it.
fn prepare(leg: &SourceLeg, welcome: &Welcome, agreement: Agreement) -> Result {
    let volume = &leg.volume;
    match agreement.copying {
        Copying::Everything => volume.mark_all(),
        Copying::Written => volume.mark_written(),
        Copying::Marked => {}
    }
    if agreement.distrust {
        volume.distrust();
    }
    volume.keep_marks()?;
    let noted = |sb: &Superblock| {
        sb.peers
            .get(PEER)
            .is_some_and(|peer| peer.uuid == welcome.node_uuid && peer.instance == welcome.instance)
    };
    if !volume.store.with(noted) {
        volume.store.change(|sb| {
            if let Some(peer) = sb.peers.get_mut(PEER) {
                if peer.uuid != welcome.node_uuid {
                    // What was noted of another machine does not hold for this one.
                    peer.base = 0;
                }
                peer.uuid = welcome.node_uuid;
                peer.name = welcome.node_name;
                peer.instance = welcome.instance;
            }
        })?;
    }
    volume.set_theirs(welcome.generation);
    volume.set_compares(welcome.features & features::COMPARE != 0);
    volume.set_answers_reads(welcome.features & features::READ != 0);
    Ok(())
}
