// SPDX-License-Identifier: GPL-2.0

//! The connecting thread of a source's leg: attempts, greetings, and then the receiving of messages.

use super::{
    link::{Link, LinkError, LinkResult},
    source::{Peer, SourceLeg},
    source_receive,
};
use crate::sys::errno::{ECONNREFUSED, EHOSTUNREACH, EINPROGRESS, ENETUNREACH};
use crate::sys::misc;
use kernel::{prelude::*, sync::Arc};
use netraid_core::{
    handshake::{source_decide, Plan, SourceFacts},
    leg::{Event, Greeting, State},
    name::Text,
    wire::{
        Header, Hello, HelloFlags, Kind, Refuse, RefuseCode, Welcome, WelcomeFlags, MAX_PAYLOAD, NO_ID, REFUSE_MAX_LEN,
        VERSION_MINOR, WELCOME_LEN,
    },
};

/// How long the thread sleeps when nothing wakes it; only a safety net.
const NAP_MS: u64 = 1000;

/// The longest answer to a greeting, with room for what later versions append.
const ANSWER_MAX: usize = 1024;

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
    let (link, peer, paused) = {
        let inner = leg.inner.lock();
        let Some(link) = inner.link.clone() else { return };
        (link, inner.peer, inner.machine.pause_wanted())
    };
    let session = u64::from_le_bytes(misc::random());
    match exchange(leg, &link, &peer, paused, session) {
        Ok(Ok(welcome)) => decide(leg, &link, &welcome, session),
        Ok(Err(refusal)) => leg.fire_on(&link, Event::Refused, Some(refusal.sentence())),
        Err(error @ (LinkError::Wire(_) | LinkError::Unexpected(_))) => {
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

fn exchange(
    leg: &SourceLeg,
    link: &Link,
    peer: &Peer,
    paused: bool,
    session: u64,
) -> LinkResult<core::result::Result<Welcome, Refuse>> {
    let hello = hello(leg, peer, paused, session);
    link.send_bytes(Header::new(Kind::Hello), &hello.encode())?;
    let header = link.read_header()?;
    let mut buffer = [0; ANSWER_MAX];
    const { assert!(ANSWER_MAX > WELCOME_LEN && ANSWER_MAX > REFUSE_MAX_LEN) };
    let data = link.read_data(&header, &mut buffer)?;
    match header.kind {
        Kind::Welcome => Ok(Ok(Welcome::decode(data)?)),
        Kind::Refuse => Ok(Err(Refuse::decode(data)?)),
        other => Err(LinkError::Unexpected(other)),
    }
}

fn hello(leg: &SourceLeg, peer: &Peer, paused: bool, session: u64) -> Hello {
    let config = &leg.config;
    Hello {
        version_minor: VERSION_MINOR,
        flags: HelloFlags::NONE.with(HelloFlags::PAUSED, paused),
        features: 0,
        mirror_uuid: config.mirror_uuid,
        node_uuid: config.node.uuid,
        instance: config.node.instance,
        known_instance: peer.instance.unwrap_or(NO_ID),
        session,
        size: leg.volume.geometry.size(),
        generation: config.generation,
        known_generation: peer.generation,
        chunk_size: leg.volume.geometry.chunk_size(),
        logical_block_size: leg.volume.lower.logical_block_size(),
        max_payload: MAX_PAYLOAD,
        heartbeat_ms: config.timing.heartbeat_ms,
        timeout_ms: config.timing.timeout_ms,
        mirror_name: config.node.mirror,
        node_name: config.node.name,
    }
}

fn decide(leg: &SourceLeg, link: &Arc<Link>, welcome: &Welcome, session: u64) {
    let dirty_chunks = leg.volume.counters().dirty_chunks;
    let mut inner = leg.inner.lock();
    if !inner.link.as_ref().is_some_and(|now| Arc::ptr_eq(now, link)) {
        return;
    }
    let facts = SourceFacts {
        session,
        features: 0,
        size: leg.volume.geometry.size(),
        logical_block_size: leg.volume.lower.logical_block_size(),
        known_instance: inner.peer.instance,
        known_generation: inner.peer.generation,
        offered_generation: leg.config.generation,
        dirty_chunks,
        paused: inner.machine.pause_wanted(),
        full: false,
    };
    let full = match source_decide(&facts, welcome) {
        Plan::Refuse(code) => {
            let reason = match code {
                RefuseCode::Malformed => Text::format(format_args!(
                    "the answer of {} makes no sense; compare the versions of netraid on both machines",
                    leg.config.address
                )),
                other => Text::format(format_args!("{other}")),
            };
            return leg
                .fire_locked(&mut inner, Event::Refused, Some(reason))
                .report(leg, inner);
        }
        Plan::Full | Plan::StayPaused { full: true, .. } => true,
        Plan::InSync | Plan::Partial { .. } | Plan::StayPaused { full: false, .. } => false,
    };
    inner.cause = Text::truncated(match inner.peer.instance {
        None => "the target is new to this mirror",
        Some(known) if known != welcome.instance => {
            "the target was restarted or stopped, and what it holds is not known"
        }
        Some(_) if full => "what the target holds is not known",
        Some(_) => "the connection was lost while the application wrote",
    });
    inner.connects = inner.connects.saturating_add(1);
    inner.attempts = 0;
    inner.peer = Peer {
        name: welcome.node_name,
        uuid: Some(welcome.node_uuid),
        instance: Some(welcome.instance),
        generation: welcome.generation,
    };
    let target_paused = welcome.flags.contains(WelcomeFlags::HAS_MAP);
    let greeting = Greeting { full, target_paused };
    let reason = if facts.paused {
        Text::truncated("replication is paused by an operator")
    } else {
        Text::EMPTY
    };
    leg.fire_locked(&mut inner, Event::Welcomed(greeting), Some(reason))
        .report(leg, inner);
}
