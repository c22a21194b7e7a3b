// SPDX-License-Identifier: GPL-2.0

//! Who a target accepts as its source, and the end of connections that broke.

use super::{
    accept::{Host, Lobby},
    greeting::{self, DiskFacts, Facts},
    link::Link,
    target::{Inner, TargetLeg},
    target_apply::Serving,
    Report, Timing,
};
use crate::{meta::maps::PEER, sys::net::Address};
use kernel::{prelude::*, sync::Arc};
use netraid_core::{
    bitmap::Bitmap,
    chunk::Geometry,
    generation,
    handshake::ConnectedSource,
    meta::{places, priorities, MetaFlags, Peer, PeerFlags, Superblock},
    name::Text,
    recent::Recent,
    state::{Replication, Role},
    wire::{features, Header, Hello, HelloFlags, Kind, Refuse, RefuseCode, WelcomeFlags},
};

impl Host for TargetLeg {
    fn lobby(&self) -> &Lobby {
        &self.lobby
    }

    fn tick_ms(&self) -> u32 {
        self.config.timing.tick_ms()
    }

    fn is_stopping(&self) -> bool {
        self.inner.lock().stopping
    }

    /// Frees what a broken connection left. Its threads have ended or are about to.
    fn tidy(&self) {
        let dead = {
            let mut inner = self.inner.lock();
            if inner.connected {
                None
            } else {
                inner.take_serving()
            }
        };
        drop(dead);
    }

    fn greeted(self: &Arc<Self>, link: &Arc<Link>, hello: &Hello) {
        decide(self, link, hello);
    }
}

fn facts<'a>(leg: &'a TargetLeg, hello: &Hello) -> Facts<'a> {
    let source = leg.source();
    let recent = leg.with_recent(|it| it.is_news_for(&hello.node_uuid));
    let inner = leg.inner.lock();
    let connected = source.filter(|_| inner.connected);
    Facts {
        role: Role::Target,
        node: &leg.config.node,
        store: &leg.store,
        disk: DiskFacts::of(&leg.lower, leg.config.room),
        connected: connected.map(|(node_name, node_uuid)| ConnectedSource { node_uuid, node_name }),
        device_in_use: inner.paused.as_ref().and_then(|it| it.opens()).is_some_and(|n| n > 0),
        has_own_data: inner.paused.is_some(),
        tells_recent: recent,
    }
}

fn decide(leg: &Arc<TargetLeg>, link: &Arc<Link>, hello: &Hello) {
    if leg.inner.lock().promoting && !hello.flags.contains(HelloFlags::ASK) {
        let reason = Text::format(format_args!(
            "{} is just deciding whether to become the source of mirror {}; it is tried again",
            leg.config.node.name, leg.config.node.mirror
        ));
        return greeting::refuse(link, &Refuse::new(RefuseCode::Busy, reason));
    }
    match greeting::answer(&facts(leg, hello), link, hello) {
        greeting::Answer::Told => return,
        greeting::Answer::Refused(reason) => return leg.report(Report::Refused(reason)),
        greeting::Answer::SplitBrain(reason) => return leg.report(Report::Standing(reason)),
        greeting::Answer::Accept => {}
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
    if let Err(reason) = keep(leg, hello).and_then(|()| bind(leg, link, hello, geometry)) {
        greeting::refuse(link, &Refuse::new(RefuseCode::Metadata, reason));
        return leg.report(Report::Refused(reason));
    }
    let welcome = greeting::welcome(&facts(leg, hello), hello);
    if leg.inner.lock().stopping || link.send_bytes(Header::new(Kind::Welcome), &welcome.encode()).is_err() {
        return link.abort();
    }
    link.agree(welcome.features);
    link.set_deadline(0);
    remember(leg, geometry);
    let tells_recent = welcome.flags.contains(WelcomeFlags::RECENT);
    serve(leg, link, hello, geometry, tells_recent);
}

/// Goes on remembering what is written here, or begins to.
fn remember(leg: &TargetLeg, geometry: Geometry) {
    let mut recent = leg.recent.lock();
    if recent.as_ref().is_none_or(|it| it.chunks() != geometry.chunks()) {
        let map = || {
            let words = KVVec::from_elem(0_u64, geometry.words(), GFP_KERNEL).ok()?;
            Bitmap::new(words, geometry.chunks())
        };
        // Without memory for it all is compared, should the source be lost.
        *recent = map().zip(map()).map(|(now, before)| Recent::new(now, before));
    }
    if let Some(recent) = &mut *recent {
        recent.connect();
    }
}

/// Makes durable what another source had sent here: what this machine could lose of that only the other one had marked.
fn keep(leg: &TargetLeg, hello: &Hello) -> core::result::Result<(), Text> {
    let another = |peer: &Peer| !peer.is_free() && peer.uuid != hello.node_uuid;
    if !leg.store.with(|sb| sb.peers.get(PEER).is_some_and(another)) {
        return Ok(());
    }
    leg.lower.flush().map_err(|error| {
        let errno = -error.to_errno();
        Text::format(format_args!(
            "what is in the cache of the disk of mirror {} on {} can't be made durable (error {errno}); look at its kernel \
             log",
            leg.config.node.mirror, leg.config.node.name
        ))
    })
}

/// Notes whose target this is from now on. A machine that has a source is not the last one itself.
fn bind(leg: &TargetLeg, link: &Link, hello: &Hello, geometry: Geometry) -> core::result::Result<(), Text> {
    let store = &leg.store;
    if store.with(Superblock::geometry) != Some(geometry) {
        if leg.inner.lock().paused.is_some() {
            // What was written here in the pause is marked in chunks of the size that is on record.
            return Err(Text::format(format_args!(
                "what was written to mirror {} on {} in a pause can't be told to a mirror of another size; delete the \
                 mirror there and join again",
                leg.config.node.mirror, leg.config.node.name
            )));
        }
        // A mirror of another size is a new copy; what was known of the old one is void.
        store.bind(geometry).map_err(|refusal| refusal.reason)?;
        store
            .change(|sb| sb.current = 0)
            .map_err(|error| unwritable(leg, error))?;
    }
    let listens = link.peer().filter(|_| hello.listen_port != 0);
    // If the roles are swapped, this machine offers what its source did.
    let no_checksums = hello.features & features::PAYLOAD_CHECKSUM == 0;
    let asynchronous = hello.features & features::BARRIER != 0;
    let replication = if asynchronous {
        Replication::Asynchronous
    } else {
        Replication::Synchronous
    };
    let noted = |sb: &Superblock| {
        let peer = sb.peers.get(PEER);
        sb.mirror_uuid == hello.mirror_uuid
            && !sb.flags.contains(MetaFlags::LAST_OWNER)
            && !sb.flags.contains(MetaFlags::DATA_CORRUPT)
            && !sb.flags.contains(MetaFlags::NEW)
            && (sb.flags.contains(MetaFlags::ASYNC) || !asynchronous)
            && priorities::is_known(sb, &hello.priorities)
            && peer.is_some_and(|peer| {
                peer.uuid == hello.node_uuid
                    && peer.instance == hello.instance
                    && peer.flags.contains(PeerFlags::NO_CHECKSUMS) == no_checksums
                    && peer.replication == replication
                    && listens.is_none_or(|it| it.ip() == peer.ip.get(..usize::from(peer.ip_len)).unwrap_or(&[]))
            })
    };
    if store.with(noted) {
        return Ok(());
    }
    // What a source writes here is not noted in the map of what was ever written, which is no longer whole then.
    let owned = MetaFlags::LAST_OWNER
        .with(MetaFlags::DATA_CORRUPT, true)
        .with(MetaFlags::NEW, true);
    let changed = store.change(|sb| {
        sb.mirror_uuid = hello.mirror_uuid;
        let from = listens.as_ref().map_or(&[][..], Address::ip);
        let holds = sb.current != 0;
        let same = places::note_source(&mut sb.peers, &hello.node_uuid, from, holds);
        let permits = asynchronous || places::has_asynchronous(&sb.peers);
        sb.flags = sb.flags.without(owned).with(MetaFlags::ASYNC, permits);
        priorities::hear(sb, &hello.node_uuid, &hello.priorities);
        if let Some(peer) = sb.peers.get_mut(PEER) {
            if !same {
                // What was noted of another machine does not hold for this one; nor does the generation that it was
                // bringing here.
                peer.base = 0;
                if sb.flags.contains(MetaFlags::INCONSISTENT) {
                    generation::rotate(&mut sb.current, &mut sb.history, 0);
                }
            }
            peer.uuid = hello.node_uuid;
            peer.name = hello.node_name;
            peer.instance = hello.instance;
            peer.flags.set(PeerFlags::NO_CHECKSUMS, no_checksums);
            peer.replication = replication;
            if let Some(address) = listens {
                address.with_port(hello.listen_port).to_peer(peer);
                peer.heartbeat_ms = hello.heartbeat_ms;
                peer.timeout_ms = hello.timeout_ms;
            }
        }
    });
    changed.map_err(|error| unwritable(leg, error))
}

fn unwritable(leg: &TargetLeg, error: Error) -> Text {
    let errno = -error.to_errno();
    Text::format(format_args!(
        "the metadata of mirror {} on {} can't be written (error {errno}); look at its kernel log",
        leg.config.node.mirror, leg.config.node.name
    ))
}

fn serve(leg: &Arc<TargetLeg>, link: &Arc<Link>, hello: &Hello, geometry: Geometry, tells_recent: bool) {
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
            return leg.report(Report::Refused(reason));
        }
    };
    let begin = serving.conn.clone();
    let mut late = Some(serving);
    leg.change(|inner| {
        if inner.stopping || inner.promoting {
            return;
        }
        inner.connected = true;
        inner.in_sync = false;
        inner.warm = false;
        inner.tells_recent = tells_recent;
        inner.source_past = Some((hello.generation, hello.history));
        inner.connects = inner.connects.saturating_add(1);
        inner.serving = late.take();
    });
    begin.begin();
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
