// SPDX-License-Identifier: GPL-2.0

//! The source's end of a leg: connecting, greeting, copying.

use crate::cluster::{Cluster, Step};
use crate::disk::CHUNKS;
use crate::net::Message;
use crate::node::{at_port, generations, PORT};
use crate::volume::Step as Parting;
use netraid_core::generation::{relation, Relation};
use netraid_core::handshake::{source_decide, Copying, Plan, SourceFacts};
use netraid_core::leg::{Action, Event, Greeting, State};
use netraid_core::meta::{MetaFlags, PeerFlags, Superblock};
use netraid_core::name::Name;
use netraid_core::wire::{Hello, HelloFlags, Kind, RefuseCode, Welcome, MAX_PAYLOAD, VERSION_MINOR};

pub const CHUNK_SIZE: u32 = 65_536;
pub const SIZE: u64 = CHUNKS as u64 * CHUNK_SIZE as u64;

/// What a source, or one who asks, says of itself.
pub fn hello(cluster: &Cluster, node: usize, flags: HelloFlags) -> Hello {
    let machine = &cluster.nodes[node];
    let sb = cluster.sb(node);
    let mine = generations(sb, &sb.peers[0].uuid);
    Hello {
        version_minor: VERSION_MINOR,
        flags: flags
            .with(HelloFlags::PREPARED, sb.flags.contains(MetaFlags::PREPARED))
            .with(HelloFlags::NEW, sb.flags.contains(MetaFlags::NEW)),
        features: 0,
        mirror_uuid: sb.mirror_uuid,
        node_uuid: machine.uuid,
        instance: machine.instance,
        known_instance: sb.peers[0].instance,
        session: 1,
        size: SIZE,
        generation: mine.current,
        known_generation: mine.base,
        history: mine.history,
        listen_port: PORT + u16::try_from(node).unwrap(),
        priorities: netraid_core::priority::Priorities::NONE,
        chunk_size: CHUNK_SIZE,
        logical_block_size: 512,
        max_payload: MAX_PAYLOAD,
        heartbeat_ms: 1000,
        timeout_ms: 5000,
        mirror_name: Name::truncated("data"),
        node_name: Name::truncated("node"),
    }
}

/// What a source knows when a target accepts it.
pub fn source_facts(sb: &Superblock, welcome: &Welcome, paused: bool) -> SourceFacts {
    let peer = &sb.peers[0];
    SourceFacts {
        session: 1,
        features: 0,
        size: SIZE,
        logical_block_size: 512,
        mine: generations(sb, &welcome.node_uuid),
        known_node: peer.uuid,
        known_instance: peer.instance,
        prepared: sb.flags.contains(MetaFlags::PREPARED),
        shared: sb.flags.contains(MetaFlags::SHARED),
        is_new: sb.flags.contains(MetaFlags::NEW),
        paused,
        full: peer.flags.contains(PeerFlags::FULL),
        recent: 0,
        unknown: false,
    }
}

impl Cluster {
    /// Takes an event in, and does what the leg's machine says.
    pub fn fire(&mut self, node: usize, event: Event) -> Step<()> {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let Some(leg) = self.nodes[node].source().and_then(|source| source.legs.first_mut()) else {
                return Ok(());
            };
            let actions = leg.machine.on_event(event);
            let state = leg.machine.state();
            self.note(|| format!("{node}: {event:?} -> {state:?}"));
            for action in actions.iter() {
                if let Some(follows) = self.execute(node, action)? {
                    next = Some(follows);
                }
            }
        }
        self.pump(node)
    }

    fn execute(&mut self, node: usize, action: Action) -> Step<Option<Event>> {
        let seen = self.nodes[node].truth.seen;
        let rng = &mut self.rng;
        let machine = &mut self.nodes[node];
        let Some(store) = machine.store.as_mut() else {
            return Ok(None);
        };
        let crate::node::Active::Source(source) = &mut machine.active else {
            return Ok(None);
        };
        let volume = &mut source.volume;
        let Some(leg) = source.legs.first_mut() else {
            return Ok(None);
        };
        let conn = leg.conn;
        let generation = volume.announced.0;
        let mut messages = Vec::new();
        let mut follows = None;
        match action {
            Action::Close => {
                leg.conn = None;
                if let Some(conn) = conn.and_then(|id| self.conns.iter_mut().find(|conn| conn.id == id)) {
                    conn.source_side = false;
                    conn.cut(rng);
                }
            }
            Action::GoLive => {
                // It may have changed since the greeting, by what was written in a pause, or be about to change.
                if volume.step == Parting::Parting {
                    volume.part(store, rng)?;
                }
                let current = store.sb.current;
                if volume.announced.0 != current {
                    volume.announced = (current, true);
                }
                let clean = volume.go_live();
                if !clean {
                    messages.push(Message::ResyncStart { generation: current });
                }
                follows = Some(if clean { Event::LiveClean } else { Event::LiveDirty });
            }
            Action::Cut => {
                volume.leave();
                volume.draining = true;
                follows = (volume.outstanding() == 0).then_some(Event::Drained);
            }
            Action::Abandon => volume.abandon(),
            Action::StartResync => leg.copying = true,
            Action::StopResync => leg.copying = false,
            Action::SendResyncDone => {
                // From here on the target may be in step; on record before it is told.
                store.change(|sb| {
                    if sb.current == generation {
                        sb.peers[0].base = 0;
                    }
                })?;
                volume.step = Parting::Together;
                messages.push(Message::ResyncDone { generation, seen });
            }
            Action::SendPause => messages.push(Message::Pause),
            Action::SendResume => messages.push(Message::Resume),
            Action::ArmBackoff
            | Action::ArmSlow
            | Action::ArmBehind
            | Action::ResetBackoff
            | Action::MarkAll
            | Action::Notify
            | Action::NotifyDone => {}
        }
        self.send_target(conn, messages);
        Ok(follows)
    }

    /// The delay is over, or the first attempt begins.
    pub fn connect(&mut self, node: usize) -> Step<()> {
        let Some(leg) = self.nodes[node].source().and_then(|source| source.legs.first_mut()) else {
            return Ok(());
        };
        let (to, state) = (leg.to, leg.machine.state());
        if state == State::Waiting {
            self.fire(node, Event::Timer)?;
        }
        let door = to < self.nodes.len()
            && self.reachable(node, to)
            && self.nodes[to].role() != netraid_core::state::Role::Stopped;
        let Some(leg) = self.nodes[node].source().and_then(|source| source.legs.first_mut()) else {
            return Ok(());
        };
        if leg.machine.state() != State::Connecting {
            return Ok(());
        }
        if !door {
            return self.fire(node, Event::ConnectFailed);
        }
        let paused = leg.machine.pause_wanted();
        let id = self.open_conn(node, to);
        if let Some(leg) = self.nodes[node].source().and_then(|source| source.legs.first_mut()) {
            leg.conn = Some(id);
        }
        self.fire(node, Event::Connected)?;
        let hello = hello(self, node, HelloFlags::NONE.with(HelloFlags::PAUSED, paused));
        self.send_target(Some(id), vec![Message::Hello(Box::new(hello))]);
        Ok(())
    }

    /// A message of the target.
    pub fn source_hears(&mut self, node: usize, message: Message) -> Step<()> {
        let event = match message {
            Message::Welcome(welcome) => return self.welcomed(node, &welcome),
            Message::Refuse(code) => return self.refused(node, code),
            Message::Ack { id } => {
                let known = self.nodes[node]
                    .source()
                    .is_some_and(|source| source.volume.confirmed(id));
                if !known {
                    self.fail(format!("{node}: a confirmation of nothing"));
                }
                return self.pump(node);
            }
            Message::Reply {
                to: Kind::ResyncDone, ..
            } => {
                self.store(node).change(|sb| {
                    let over = MetaFlags::SPLIT_BRAIN
                        .with(MetaFlags::PREPARED, true)
                        .with(MetaFlags::TOOK_OVER, true);
                    sb.flags = sb.flags.without(over);
                    sb.peers[0].flags.set(PeerFlags::FULL, false);
                })?;
                self.nodes[node].truth.mandate = false;
                if let Some(source) = self.nodes[node].source() {
                    source.volume.announced.1 = false;
                }
                Event::DoneAcked
            }
            Message::Reply { to: Kind::Pause, .. } => Event::PauseAcked,
            Message::Reply {
                to: Kind::Resume,
                fine: true,
            } => Event::ResumeAcked,
            Message::Reply { to: Kind::Resume, .. } => Event::ResumeRefused,
            Message::Map(word) => {
                let rng = &mut self.rng;
                if let Some((volume, _, store)) = self.nodes[node].volume() {
                    volume.dirty.merge(0, std::iter::once(word));
                    volume.keep_marks(store, rng)?;
                }
                Event::MapDone
            }
            Message::Bye => Event::Lost,
            other => {
                self.fail(format!("{node}: a target says {other:?}"));
                Event::Lost
            }
        };
        self.fire(node, event)
    }

    fn refused(&mut self, node: usize, code: RefuseCode) -> Step<()> {
        self.note(|| format!("{node}: refused, {code:?}"));
        if code == RefuseCode::SplitBrain {
            self.counts.forks += 1;
            self.store(node)
                .change(|sb| sb.flags.set(MetaFlags::SPLIT_BRAIN, true))?;
        }
        self.fire(node, Event::Refused)
    }

    fn welcomed(&mut self, node: usize, welcome: &Welcome) -> Step<()> {
        let paused = self.nodes[node]
            .source()
            .and_then(|source| source.legs.first())
            .is_some_and(|leg| leg.machine.pause_wanted());
        let facts = source_facts(self.sb(node), welcome, paused);
        let agreement = match source_decide(&facts, welcome) {
            Plan::Agree(agreement) => agreement,
            Plan::Refuse(code) => return self.refused(node, code),
        };
        let related = relation(&facts.mine, &welcome.generations());
        self.note(|| format!("{node}: {related:?}, {agreement:?}"));
        let full = agreement.copying == Copying::Everything;
        self.counts.full += u32::from(full);
        self.counts.needless += u32::from(full && related != Relation::PeerFresh && !facts.full);
        self.counts.partial += u32::from(!full);
        self.counts.merged += u32::from(agreement.merge_map);
        let rng = &mut self.rng;
        let Some((volume, _, store)) = self.nodes[node].volume() else {
            return Ok(());
        };
        if full {
            volume.dirty.set_all();
        }
        if agreement.distrust {
            volume.distrust();
        }
        volume.keep_marks(store, rng)?;
        store.change(|sb| {
            let peer = &mut sb.peers[0];
            if peer.uuid != welcome.node_uuid {
                peer.base = 0;
            }
            peer.uuid = welcome.node_uuid;
            peer.instance = welcome.instance;
        })?;
        volume.announced = (facts.mine.current, welcome.generation != facts.mine.current);
        self.fire(
            node,
            Event::Welcomed(Greeting {
                full,
                target_paused: agreement.merge_map,
            }),
        )
    }

    /// The resync does one thing, if it has one to do.
    pub fn copy(&mut self, node: usize) -> Step<()> {
        let rng = &mut self.rng;
        let machine = &mut self.nodes[node];
        let crate::node::Active::Source(source) = &mut machine.active else {
            return Ok(());
        };
        let Some(leg) = source.legs.first().filter(|leg| leg.copying) else {
            return Ok(());
        };
        let conn = leg.conn;
        match source.volume.next_copy(&machine.disk, rng) {
            Some(message) => {
                self.send_target(conn, vec![message]);
                Ok(())
            }
            None if source.volume.is_clean() => self.fire(node, Event::Clean),
            None => Ok(()),
        }
    }

    /// Gives a source the leg that its metadata describes.
    pub fn add_leg(&mut self, node: usize) -> Step<()> {
        let peer = self.sb(node).peers[0];
        let Some(to) = at_port(peer.port) else { return Ok(()) };
        let mut machine = netraid_core::leg::Machine::new();
        if peer.flags.contains(PeerFlags::PAUSED) {
            machine.on_event(Event::Pause);
        }
        if let Some(source) = self.nodes[node].source() {
            source.legs.push(crate::node::Leg {
                machine,
                conn: None,
                copying: false,
                to,
            });
        }
        self.fire(node, Event::Start)
    }

    /// Takes the leg away, with a goodbye.
    pub fn drop_leg(&mut self, node: usize) -> Step<()> {
        let conn = self.nodes[node].source().and_then(|source| source.legs.first()?.conn);
        self.send_target(conn, vec![Message::Bye]);
        let said = conn.and_then(|id| self.conn(id)).map(|conn| conn.to_target.clone());
        self.fire(node, Event::Stop)?;
        // What is said before a connection is closed in order still arrives.
        if let (Some(conn), Some(said)) = (conn.and_then(|id| self.conn(id)), said) {
            conn.to_target = said;
        }
        if let Some(source) = self.nodes[node].source() {
            source.legs.clear();
        }
        Ok(())
    }
}
