// SPDX-License-Identifier: GPL-2.0

//! Listening: who connects introduces himself, and is accepted, answered, or refused with a reason.

use super::{
    link::{Link, LinkError, LinkResult},
    Report, Timing,
};
use crate::sys::{
    misc,
    net::{Address, Listener, Socket},
};
use kernel::{prelude::*, sync::Arc};
use netraid_core::{
    name::Text,
    wire::{Header, Hello, Kind, Refuse, RefuseCode, WireError, HELLO_LEN, REFUSE_MAX_LEN},
};

/// How long a greeting may take in all: whoever connects keeps others waiting for that long.
const GREETING_MS: u32 = 2000;

/// The longest greeting, with room for what later versions append.
const GREETING_MAX: usize = 1024;

/// Who listens.
pub(super) trait Host: Send + Sync {
    fn listener(&self) -> &Listener;

    /// How often to look up while nobody comes, milliseconds.
    fn tick_ms(&self) -> u32;

    fn is_stopping(&self) -> bool;

    /// Reports with no lock held.
    fn tell(&self, report: Report);

    /// Called between two who come.
    fn tidy(&self) {}

    /// Somebody introduced himself.
    fn greeted(self: &Arc<Self>, link: &Arc<Link>, hello: &Hello);
}

/// The thread's body.
pub(super) fn run<H: Host>(host: &Arc<H>) {
    loop {
        if host.is_stopping() {
            return;
        }
        host.tidy();
        match host.listener().accept() {
            Ok(socket) => greet(host, socket),
            Err(error) if error == EAGAIN => {}
            Err(_) => {
                if host.is_stopping() {
                    return;
                }
                // Out of memory or file handles; the listener's own wait keeps this from spinning.
                misc::sleep_ms(host.tick_ms());
            }
        }
    }
}

fn greet<H: Host>(host: &Arc<H>, socket: Socket) {
    let timing = Timing {
        heartbeat_ms: 1000,
        timeout_ms: GREETING_MS,
    };
    let Ok(link) = Link::accepted(socket, timing) else {
        return;
    };
    link.set_deadline(GREETING_MS);
    match hello(&link) {
        Ok(hello) => host.greeted(&link, &hello),
        Err(error @ (LinkError::Wire(_) | LinkError::Unexpected(_))) => {
            refuse_noise(&**host, &link, error);
        }
        Err(error) => {
            let from = From(link.peer());
            host.tell(Report::Refused(Text::format(format_args!(
                "a connection from {from} ended without a greeting: {error}"
            ))));
            link.abort();
        }
    }
}

/// An address for a sentence.
pub(super) struct From(pub(super) Option<Address>);

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

fn refuse_noise(host: &impl Host, link: &Link, error: LinkError) {
    let from = From(link.peer());
    let code = match error {
        LinkError::Wire(WireError::OtherVersion(_)) => RefuseCode::OtherVersion,
        _ => RefuseCode::Malformed,
    };
    let reason = Text::format(format_args!("what came from {from} is not accepted: {error}"));
    send_refusal(link, &Refuse::new(code, reason));
    host.tell(Report::Refused(reason));
}

/// Sends a refusal and ends the connection.
pub(super) fn send_refusal(link: &Link, refusal: &Refuse) {
    let mut buffer = [0; REFUSE_MAX_LEN];
    // Whoever does not take it learns from the end of the connection.
    let _ = link.send_bytes(Header::new(Kind::Refuse), refusal.encode(&mut buffer));
    link.close();
}
