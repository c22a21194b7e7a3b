// SPDX-License-Identifier: GPL-2.0

//! The target: whom it accepts, and what it does with what it gets.

use crate::cluster::{Cluster, Step, WRITES};
use crate::net::Message;
use crate::node::{generations, Active, Own, Target, PORT};
use crate::source::{hello, SIZE};
use crate::volume::Volume;
use netraid_core::generation;
use netraid_core::handshake::{target_decide, ConnectedSource, TargetFacts, Verdict};
use netraid_core::meta::{MetaFlags, PeerFlags, Superblock};
use netraid_core::name::Name;
use netraid_core::ownership::{Answer, Heard, Peer};
use netraid_core::state::Role;
use netraid_core::wire::{Hello, HelloFlags, Kind, RefuseCode, Welcome, WelcomeFlags};
use netraid_core::wire::{MAX_PAYLOAD, NO_ID, VERSION_MINOR};

/// What a machine knows when somebody introduces himself.
pub fn target_facts(sb: &Superblock, role: Role, hello: &Hello) -> TargetFacts {
    TargetFacts {
        role,
        mirror_name: Name::truncated("data"),
        local_name: Name::truncated("data"),
        node_name: Name::truncated("node"),
        node_uuid: sb.node_uuid,
        same_machine: false,
        mirror_uuid: Some(sb.mirror_uuid).filter(|uuid| *uuid != NO_ID),
        disk_size: SIZE,
        logical_block_size: 512,
        connected: None,
        device_in_use: false,
        mine: generations(sb, &hello.node_uuid),
        yielded: sb.flags.contains(MetaFlags::YIELDED),
    }
}

/// How a machine stands, for a source or one who asks.
pub fn welcome(sb: &Superblock, role: Role, has_map: bool, instance: [u8; 16], hello: &Hello) -> Welcome {
    let mine = generations(sb, &hello.node_uuid);
    let flags = [
        (WelcomeFlags::INCONSISTENT, MetaFlags::INCONSISTENT),
        (WelcomeFlags::PREPARED, MetaFlags::PREPARED),
        (WelcomeFlags::YIELDED, MetaFlags::YIELDED),
        (WelcomeFlags::SPLIT_BRAIN, MetaFlags::SPLIT_BRAIN),
        (WelcomeFlags::LAST_OWNER, MetaFlags::LAST_OWNER),
    ];
    let said = flags.into_iter().fold(WelcomeFlags::NONE, |all, (said, known)| {
        all.with(said, sb.flags.contains(known))
    });
    Welcome {
        version_minor: VERSION_MINOR,
        flags: said
            .with(WelcomeFlags::FRESH, mine.current == 0)
            .with(WelcomeFlags::HAS_MAP, has_map),
        features: 0,
        node_uuid: sb.node_uuid,
        instance,
        known_instance: hello.instance,
        session: hello.session,
        size: SIZE,
        generation: mine.current,
        logical_block_size: 512,
        max_payload: MAX_PAYLOAD,
        node_name: Name::truncated("node"),
        base: mine.base,
        history: mine.history,
        role,
        priority: None,
    }
}

/// There is no pause any more, and what was marked here is marked by the source.
fn in_step(sb: &mut Superblock) {
    sb.peers[0].base = 0;
    sb.peers[0].flags.set(PeerFlags::PAUSED, false);
}

impl Cluster {
    /// Somebody connects.
    pub fn greeted(&mut self, node: usize, conn: u32, source: usize, hello: &Hello) -> Step<()> {
        let role = self.nodes[node].role();
        if role == Role::Stopped {
            self.close_target_side(conn);
            return Ok(());
        }
        let mut facts = target_facts(self.sb(node), role, hello);
        let peer = self.sb(node).peers[0].uuid;
        if let Some(target) = self.nodes[node].target() {
            facts.connected = target.conn.map(|_| ConnectedSource {
                node_uuid: peer,
                node_name: Name::truncated("node"),
            });
            facts.device_in_use = target.own.as_ref().is_some_and(|own| own.front && own.open);
        }
        match target_decide(&facts, hello) {
            Err(refusal) => {
                if refusal.code == RefuseCode::SplitBrain {
                    self.store(node)
                        .change(|sb| sb.flags.set(MetaFlags::SPLIT_BRAIN, true))?;
                }
                self.send_source(conn, Message::Refuse(refusal.code));
                self.close_target_side(conn);
                Ok(())
            }
            Ok(Verdict::Tell) => Ok(()),
            Ok(Verdict::Accept(_)) => self.accept(node, conn, source, hello),
        }
    }

    fn accept(&mut self, node: usize, conn: u32, source: usize, hello: &Hello) -> Step<()> {
        // A source that comes again has given its old connection up.
        if let Some(old) = self.nodes[node].target().and_then(|target| target.conn.take()) {
            self.close_target_side(old);
        }
        self.store(node).change(|sb| {
            let owned = MetaFlags::LAST_OWNER.with(MetaFlags::DATA_CORRUPT, true);
            sb.mirror_uuid = hello.mirror_uuid;
            sb.flags = sb.flags.without(owned);
            let peer = &mut sb.peers[0];
            if peer.uuid != hello.node_uuid {
                peer.base = 0;
                if sb.flags.contains(MetaFlags::INCONSISTENT) {
                    generation::rotate(&mut sb.current, &mut sb.history, 0);
                }
            }
            peer.uuid = hello.node_uuid;
            peer.instance = hello.instance;
            peer.port = PORT + u16::try_from(source).unwrap();
        })?;
        let instance = self.nodes[node].instance;
        let has_map = self.nodes[node].target().is_some_and(|target| target.own.is_some());
        let welcome = welcome(self.sb(node), Role::Target, has_map, instance, hello);
        self.send_source(conn, Message::Welcome(Box::new(welcome)));
        if let Some(target) = self.nodes[node].target() {
            target.conn = Some(conn);
            target.source_history = hello.history;
            target.in_sync = false;
            target.warm = false;
        }
        Ok(())
    }

    fn send_source(&mut self, conn: u32, message: Message) {
        if let Some(conn) = self.conn(conn).filter(|conn| !conn.broken) {
            conn.to_source.push_back(message);
        }
    }

    pub fn close_target_side(&mut self, conn: u32) {
        let Self { conns, rng, .. } = self;
        if let Some(conn) = conns.iter_mut().find(|it| it.id == conn) {
            conn.target_side = false;
            // What was said before the end is still heard.
            let said = std::mem::take(&mut conn.to_source);
            conn.cut(rng);
            conn.to_source = said;
        }
    }

    /// The target notices that its connection is over.
    pub fn target_loses(&mut self, node: usize, goodbye: bool) {
        self.note(|| {
            format!(
                "{node}: the source is gone, {}",
                if goodbye { "in order" } else { "lost" }
            )
        });
        let Some(target) = self.nodes[node].target() else {
            return;
        };
        target.warm = target.in_sync && !goodbye;
        target.in_sync = false;
        if let Some(conn) = target.conn.take() {
            self.close_target_side(conn);
        }
    }

    /// A message of the source.
    pub fn target_hears(&mut self, node: usize, conn: u32, message: Message) -> Step<()> {
        let seen_there = self.conn(conn).map_or(0, |conn| conn.seen);
        match message {
            Message::Write {
                id,
                chunk,
                version,
                resync,
            } => {
                self.check_overwrite(node, seen_there);
                let machine = &mut self.nodes[node];
                machine.disk.write(chunk, version);
                machine.truth.mixed |= resync;
                if !resync && version < WRITES {
                    machine.truth.seen |= 1 << version;
                }
                self.send_source(conn, Message::Ack { id });
            }
            Message::Flush { id } => {
                self.nodes[node].disk.flush();
                self.send_source(conn, Message::Ack { id });
            }
            Message::ResyncStart { generation } => self.resync_start(node, seen_there, generation)?,
            Message::ResyncDone { generation, seen } => self.resync_done(node, conn, generation, seen)?,
            Message::Pause => self.pause_here(node, conn)?,
            Message::Resume => self.resume_here(node, conn)?,
            Message::Bye => self.target_loses(node, true),
            other => self.fail(format!("{node}: a source says {other:?}")),
        }
        Ok(())
    }

    fn resync_start(&mut self, node: usize, seen: u128, generation: u64) -> Step<()> {
        self.check_overwrite(node, seen);
        let past = self.nodes[node].target().map_or([0; 8], |target| target.source_history);
        let noted = self.store(node).change(|sb| {
            sb.flags.set(MetaFlags::INCONSISTENT, true);
            generation::rotate(&mut sb.current, &mut sb.history, generation);
            if sb.flags.contains(MetaFlags::YIELDED) {
                // What is given up is not in the past of what takes its place.
                sb.history = past;
            }
            in_step(sb);
        });
        if self.nodes[node].has(MetaFlags::INCONSISTENT) {
            let truth = &mut self.nodes[node].truth;
            (truth.seen, truth.paused) = (0, 0);
        }
        noted?;
        if let Some(target) = self.nodes[node].target() {
            target.in_sync = false;
            target.pause = false;
            target.warm = false;
        }
        self.forget(node)
    }

    /// The source has on record what was written here.
    fn forget(&mut self, node: usize) -> Step<()> {
        let rng = &mut self.rng;
        if let Some((volume, _, store)) = self.nodes[node].volume() {
            volume.forget_marks();
            volume.keep_marks(store, rng)?;
        }
        if let Some(target) = self.nodes[node].target() {
            target.own = None;
        }
        Ok(())
    }

    fn resync_done(&mut self, node: usize, conn: u32, generation: u64, seen: u128) -> Step<()> {
        self.check_overwrite(node, seen);
        self.nodes[node].disk.flush();
        let noted = self.store(node).change(|sb| {
            let gone = MetaFlags::INCONSISTENT
                .with(MetaFlags::YIELDED, true)
                .with(MetaFlags::SPLIT_BRAIN, true)
                .with(MetaFlags::TOOK_OVER, true)
                // It speaks of the first copy only.
                .with(MetaFlags::PREPARED, true);
            sb.flags = sb.flags.without(gone);
            generation::rotate(&mut sb.current, &mut sb.history, generation);
            in_step(sb);
        });
        if !self.nodes[node].has(MetaFlags::INCONSISTENT) {
            let truth = &mut self.nodes[node].truth;
            truth.seen |= seen;
            self.counts.done += 1;
            truth.mixed = false;
            truth.gave_up = false;
            truth.mandate = false;
            truth.paused = 0;
        }
        noted?;
        if let Some(target) = self.nodes[node].target() {
            target.in_sync = true;
            target.pause = false;
        }
        self.forget(node)?;
        self.send_source(
            conn,
            Message::Reply {
                to: Kind::ResyncDone,
                fine: true,
            },
        );
        Ok(())
    }

    fn pause_here(&mut self, node: usize, conn: u32) -> Step<()> {
        self.store(node)
            .change(|sb| sb.peers[0].flags.set(PeerFlags::PAUSED, true))?;
        let sb = self.sb(node);
        let usable = sb.current != 0 && !sb.flags.contains(MetaFlags::INCONSISTENT);
        let machine = &mut self.nodes[node];
        let store = machine.store.as_ref();
        if let Active::Target(target) = &mut machine.active {
            target.pause = true;
            self.counts.pauses += 1;
            if usable {
                let own = target.own.take().or_else(|| {
                    Some(Own {
                        volume: Volume::new(store?),
                        front: false,
                        open: false,
                    })
                });
                target.own = own.map(|own| Own { front: true, ..own });
            }
        }
        self.send_source(
            conn,
            Message::Reply {
                to: Kind::Pause,
                fine: true,
            },
        );
        Ok(())
    }

    fn resume_here(&mut self, node: usize, conn: u32) -> Step<()> {
        let own = self.nodes[node].target().and_then(|target| target.own.as_mut());
        let busy = own
            .as_ref()
            .is_some_and(|own| own.front && (own.open || !own.volume.requests.is_empty()));
        let fine = !busy;
        if fine {
            if let Some(own) = own {
                own.front = false;
            }
            self.store(node)
                .change(|sb| sb.peers[0].flags.set(PeerFlags::PAUSED, false))?;
            if let Some(target) = self.nodes[node].target() {
                target.pause = false;
            }
        }
        self.send_source(conn, Message::Reply { to: Kind::Resume, fine });
        if fine {
            let own = self.nodes[node].target().and_then(|target| target.own.as_ref());
            let words = own.map_or(0, |own| own.volume.own_words());
            self.send_source(conn, Message::Map(words));
        }
        Ok(())
    }

    /// What another machine answers that is asked how it stands.
    pub fn ask(&mut self, node: usize) -> Option<Peer> {
        let sb = self.sb(node);
        let peer = sb.peers[0];
        let mine = generations(sb, &peer.uuid);
        let to = crate::node::at_port(peer.port)?;
        let door = to < self.nodes.len() && self.reachable(node, to);
        if !door || (self.nodes[to].role() == Role::Stopped && !self.nodes[to].waiting) {
            return Some(Peer {
                mine,
                counts: true,
                heard: Heard::Nothing,
            });
        }
        let ask = hello(self, node, HelloFlags::ASK);
        let role = self.nodes[to].role();
        let heard = match target_decide(&target_facts(self.sb(to), role, &ask), &ask) {
            Ok(Verdict::Tell) => {
                let answer = welcome(self.sb(to), role, false, self.nodes[to].instance, &ask);
                Heard::Answer(Answer {
                    node: answer.node_name,
                    role: answer.role,
                    yielded: answer.flags.contains(WelcomeFlags::YIELDED),
                    inconsistent: answer.flags.contains(WelcomeFlags::INCONSISTENT),
                    generations: answer.generations(),
                })
            }
            Ok(Verdict::Accept(_)) => Heard::Nothing,
            Err(refusal) => Heard::Refused(refusal.reason),
        };
        Some(Peer {
            mine,
            counts: true,
            heard,
        })
    }

    /// A target comes into service.
    pub fn open_target(&mut self, node: usize) {
        let own = self.own_marks(node);
        let pause = self.sb(node).peers[0].flags.contains(PeerFlags::PAUSED);
        self.nodes[node].active = Active::Target(Target {
            own,
            pause,
            ..Target::default()
        });
    }
}
