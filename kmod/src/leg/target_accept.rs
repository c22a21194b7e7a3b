// SPDX-License-Identifier: GPL-2.0

//! The accepting thread of a target: greetings, refusals, and the end of connections that broke.

use super::{
    link::{Link, LinkError, LinkResult},
    target::{Inner, TargetLeg},
    target_apply::Serving,
    Report, Timing,
};
use crate::sys::{misc, net::Socket};
use kernel::{prelude::*, sync::Arc};
use netraid_core::{
    chunk::Geometry,
    handshake::{target_decide, ConnectedSource, TargetFacts},
    name::Text,
    state::Role,
    wire::{
        Header, Hello, Kind, Refuse, RefuseCode, Welcome, WelcomeFlags, WireError, HELLO_LEN, MAX_PAYLOAD,
        REFUSE_MAX_LEN, VERSION_MINOR,
    },
};

/// How long a greeting may take in all: whoever connects keeps others waiting for that long.
const GREETING_MS: u32 = 2000;

/// The longest greeting, with room for what later versions append.
const GREETING_MAX: usize = 1024;

/// The thread's body.
pub(super) fn run(leg: &Arc<TargetLeg>) {
    loop {
        if leg.inner.lock().stopping {
            return;
        }
        reap(leg);
        match leg.listener.accept() {
            Ok(socket) => greet(leg, socket),
            Err(error) if error == EAGAIN => {}
            Err(_) => {
                if leg.inner.lock().stopping {
                    return;
                }
                // Out of memory or file handles; the listener's own wait keeps this from spinning.
                misc::sleep_ms(leg.config.timing.tick_ms());
            }
        }
    }
}

/// Frees what a broken connection left. Its threads have ended or are about to.
fn reap(leg: &TargetLeg) {
    let dead = {
        let mut inner = leg.inner.lock();
        if inner.connected {
            None
        } else {
            inner.take_serving()
        }
    };
    drop(dead);
}

fn greet(leg: &Arc<TargetLeg>, socket: Socket) {
    let timing = Timing {
        heartbeat_ms: 1000,
        timeout_ms: GREETING_MS,
    };
    let Ok(link) = Link::accepted(socket, timing) else {
        return;
    };
    link.set_deadline(GREETING_MS);
    match hello(&link) {
        Ok(hello) => decide(leg, &link, &hello),
        Err(error @ (LinkError::Wire(_) | LinkError::Unexpected(_))) => {
            refuse_noise(leg, &link, error);
        }
        Err(error) => {
            let from = From(link.peer());
            leg.tell(Report::Refused(Text::format(format_args!(
                "a connection from {from} ended without a greeting: {error}"
            ))));
            link.abort();
        }
    }
}

/// An address for a sentence.
struct From(Option<crate::sys::net::Address>);

impl core::fmt::Display for From {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            Some(address) => write!(f, "{address}"),
            None => f.write_str("an unknown address"),
        }
    }
}

fn hello(link: &Link) -> LinkResult<Hello> {
    let header = link.read_header()?;
    if header.kind != Kind::Hello {
        return Err(LinkError::Unexpected(header.kind));
    }
    let mut buffer = [0; GREETING_MAX];
    const { assert!(GREETING_MAX > HELLO_LEN) };
    Ok(Hello::decode(link.read_data(&header, &mut buffer)?)?)
}

fn refuse_noise(leg: &TargetLeg, link: &Link, error: LinkError) {
    let from = From(link.peer());
    let code = match error {
        LinkError::Wire(WireError::OtherVersion(_)) => RefuseCode::OtherVersion,
        _ => RefuseCode::Malformed,
    };
    let reason = Text::format(format_args!("what came from {from} is not accepted: {error}"));
    send_refusal(link, &Refuse::new(code, reason));
    leg.tell(Report::Refused(reason));
}

fn send_refusal(link: &Link, refusal: &Refuse) {
    let mut buffer = [0; REFUSE_MAX_LEN];
    // Whoever does not take it learns from the end of the connection.
    let _ = link.send_bytes(Header::new(Kind::Refuse), refusal.encode(&mut buffer));
    link.close();
}

fn facts(leg: &TargetLeg) -> TargetFacts {
    let inner = leg.inner.lock();
    let connected = inner.knows.source_uuid.filter(|_| inner.connected);
    TargetFacts {
        role: Role::Target,
        mirror_name: leg.config.node.mirror,
        node_name: leg.config.node.name,
        mirror_uuid: inner.knows.mirror_uuid,
        disk_size: leg.lower.size(),
        logical_block_size: leg.lower.logical_block_size(),
        connected: connected.map(|node_uuid| ConnectedSource {
            node_uuid,
            node_name: inner.knows.source,
        }),
        device_in_use: inner.paused.as_ref().and_then(|it| it.opens()).is_some_and(|n| n > 0),
    }
}

fn decide(leg: &Arc<TargetLeg>, link: &Arc<Link>, hello: &Hello) {
    if let Err(refusal) = target_decide(&facts(leg), hello) {
        let from = From(link.peer());
        send_refusal(link, &refusal);
        let reason = Text::format(format_args!("{from} was refused: {}", refusal.reason));
        return leg.tell(Report::Refused(reason));
    }
    // A source that comes again has given its old connection up. All its writes have to be over before the next.
    let old = {
        let mut inner = leg.inner.lock();
        inner.connected = false;
        inner.take_serving()
    };
    drop(old);
    let Ok(geometry) = Geometry::new(hello.size, hello.chunk_size) else {
        return;
    };
    // A mirror of another size is a new copy; what was known of the old one is void.
    let (welcome, stopping) = {
        let mut inner = leg.inner.lock();
        if inner.knows.geometry.is_some_and(|known| known != geometry) {
            inner.knows.begun = false;
            inner.knows.generation = 0;
        }
        (welcome(leg, &inner, hello), inner.stopping)
    };
    if stopping || link.send_bytes(Header::new(Kind::Welcome), &welcome.encode()).is_err() {
        return link.abort();
    }
    link.set_deadline(0);
    serve(leg, link, hello, geometry);
}

fn serve(leg: &Arc<TargetLeg>, link: &Arc<Link>, hello: &Hello, geometry: Geometry) {
    let own = leg.config.timing;
    link.set_timing(Timing {
        heartbeat_ms: own.heartbeat_ms.min(hello.heartbeat_ms),
        timeout_ms: own.timeout_ms.max(hello.heartbeat_ms.saturating_mul(3)),
    });
    let serving = match Serving::start(leg, link.clone(), geometry) {
        Ok(serving) => serving,
        Err(error) => {
            link.abort();
            let errno = -error.to_errno();
            let reason = Text::format(format_args!(
                "the connection of {} could not be served (error {errno}); free some memory",
                hello.node_name
            ));
            return leg.tell(Report::Refused(reason));
        }
    };
    let begin = serving.conn.clone();
    let mut late = Some(serving);
    leg.change(|inner| {
        if inner.stopping {
            return;
        }
        inner.knows.mirror_uuid = Some(hello.mirror_uuid);
        inner.knows.geometry = Some(geometry);
        inner.knows.source = hello.node_name;
        inner.knows.source_uuid = Some(hello.node_uuid);
        inner.connected = true;
        inner.in_sync = false;
        inner.connects = inner.connects.saturating_add(1);
        inner.serving = late.take();
    });
    begin.begin();
}

fn welcome(leg: &TargetLeg, inner: &Inner, hello: &Hello) -> Welcome {
    let flags = WelcomeFlags::NONE
        .with(WelcomeFlags::INCONSISTENT, inner.knows.inconsistent)
        .with(WelcomeFlags::FRESH, !inner.knows.begun)
        .with(WelcomeFlags::HAS_MAP, inner.paused.is_some())
        .with(WelcomeFlags::DISCARD_OK, leg.lower.can_discard());
    Welcome {
        version_minor: VERSION_MINOR,
        flags,
        features: 0,
        node_uuid: leg.config.node.uuid,
        instance: leg.config.node.instance,
        known_instance: hello.instance,
        session: hello.session,
        size: leg.lower.size(),
        generation: inner.knows.generation,
        logical_block_size: leg.lower.logical_block_size(),
        max_payload: MAX_PAYLOAD,
        node_name: leg.config.node.name,
    }
}

impl Inner {
    /// Takes the connection out, with its traffic counted.
    pub(super) fn take_serving(&mut self) -> Option<Serving> {
        let serving = self.serving.take()?;
        let (sent, received) = serving.conn.link.traffic();
        self.past_traffic.0 = self.past_traffic.0.saturating_add(sent);
        self.past_traffic.1 = self.past_traffic.1.saturating_add(received);
        Some(serving)
    }
}
