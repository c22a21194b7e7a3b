// SPDX-License-Identifier: GPL-2.0

//! Who listens at a [reception](super::reception): each mirror has a lobby, in which those who want to speak with it wait,
//! and a thread that accepts, answers, or refuses them with a reason.

use super::{link::Link, Node, Observer, Report};
use crate::{
    meta::Store,
    sys::{net::Address, sync::Event},
};
use kernel::{
    prelude::*,
    sync::{new_mutex, Arc, Mutex},
};
use netraid_core::{
    handshake::Listening,
    name::Text,
    state::Role,
    wire::{Header, Hello, Kind, Refuse, RefuseCode, NO_ID, REFUSE_MAX_LEN},
};

/// How many may wait for a mirror that is busy.
const WAITING_MAX: usize = 16;

/// Somebody who introduced himself.
pub(super) struct Caller {
    pub(super) link: Arc<Link>,
    pub(super) hello: Hello,
}

/// Somebody who is not let in, and why.
pub(super) struct Refused {
    pub(super) link: Arc<Link>,
    pub(super) code: RefuseCode,
    pub(super) reason: Text,
}

/// Where those wait who want to speak with a mirror.
#[pin_data]
pub(super) struct Lobby {
    /// The mirror.
    pub(super) node: Node,
    role: Role,
    store: Arc<Store>,
    observer: Observer,
    leg: u32,
    #[pin]
    waiting: Mutex<KVec<Caller>>,
    /// Raised when somebody enters, and when the mirror stops.
    #[pin]
    came: Event,
}

impl Lobby {
    /// An empty lobby; what happens in it is told to `observer` as of `leg`.
    pub(super) fn new(node: Node, role: Role, store: Arc<Store>, observer: Observer, leg: u32) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                node,
                role,
                store,
                observer,
                leg,
                waiting <- new_mutex!(KVec::new(), "netraid_lobby"),
                came <- Event::new(),
            }),
            GFP_KERNEL,
        )
    }

    /// Who is here; takes the lock of the superblock.
    pub(super) fn listening(&self) -> Listening {
        let mirror_uuid = self.store.with(|sb| sb.mirror_uuid);
        Listening {
            number: self.node.mirror_id,
            name: self.node.mirror,
            wire_name: self.node.wire_name,
            node_uuid: self.node.uuid,
            instance: self.node.instance,
            mirror_uuid: (mirror_uuid != NO_ID).then_some(mirror_uuid),
            role: self.role,
        }
    }

    /// Reports with no lock held.
    pub(super) fn tell(&self, report: Report) {
        (self.observer)(self.node.mirror_id, self.leg, report);
    }

    /// Lets somebody in, unless it is full.
    pub(super) fn enter(&self, caller: Caller) -> core::result::Result<(), Refused> {
        let link = caller.link.clone();
        let entered = {
            let mut waiting = self.waiting.lock();
            waiting.len() < WAITING_MAX && waiting.push(caller, GFP_KERNEL).is_ok()
        };
        if entered {
            self.came.raise();
            return Ok(());
        }
        Err(Refused {
            link,
            code: RefuseCode::Busy,
            reason: Text::format(format_args!(
                "mirror {} on {} is busy with others who connected; it is tried again",
                self.node.mirror, self.node.name
            )),
        })
    }

    /// Whoever has waited longest.
    fn next(&self) -> Option<Caller> {
        let mut waiting = self.waiting.lock();
        if waiting.is_empty() {
            return None;
        }
        waiting.remove(0).ok()
    }

    /// Wakes the mirror's thread.
    pub(super) fn wake(&self) {
        self.came.raise();
    }
}

/// Who listens.
pub(super) trait Host: Send + Sync {
    fn lobby(&self) -> &Lobby;

    /// How often to look up while nobody comes, milliseconds.
    fn tick_ms(&self) -> u32;

    fn is_stopping(&self) -> bool;

    /// Called between two who come.
    fn tidy(&self) {}

    /// Somebody introduced himself.
    fn greeted(self: &Arc<Self>, link: &Arc<Link>, hello: &Hello);
}

/// The body of the mirror's thread; it ends when the mirror stops and its lobby is woken.
pub(super) fn run<H: Host>(host: &Arc<H>) {
    while !host.is_stopping() {
        host.tidy();
        match host.lobby().next() {
            Some(caller) => host.greeted(&caller.link, &caller.hello),
            None => {
                host.lobby().came.wait(host.tick_ms());
            }
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

/// Sends a refusal and ends the connection.
pub(super) fn send_refusal(link: &Link, refusal: &Refuse) {
    let mut buffer = [0; REFUSE_MAX_LEN];
    // Whoever does not take it learns from the end of the connection.
    let _ = link.send_bytes(Header::new(Kind::Refuse), refusal.encode(&mut buffer));
    link.close();
}
