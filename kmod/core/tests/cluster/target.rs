// SPDX-License-Identifier: GPL-2.0

//! The target: whom it accepts, and what it does with what it gets.

use crate::cluster::{Cluster, Step};
use crate::greet::{target_facts, welcome, Tells};
use crate::mistake::Mistake;
use crate::net::Message;
use crate::node::{ip, put_address, Active, Arrived, Own, Target};
use crate::recent::RecentMap;
use crate::store::Which;
use crate::volume::{bit, Volume};
use netraid_core::epoch::Gate;
use netraid_core::generation;
use netraid_core::handshake::{target_decide, ConnectedSource, Verdict};
use netraid_core::legs::LegNumber;
use netraid_core::marks::BLOCK_WORDS;
use netraid_core::meta::{places, MetaFlags, PeerFlags, Superblock};
use netraid_core::name::Name;
use netraid_core::state::Role;
use netraid_core::wire::{Hello, Kind, RefuseCode};

/// There is no pause any more, and what was marked here is marked by the source.
fn in_step(sb: &mut Superblock) {
    places::in_step(&mut sb.peers);
}

/// Notes whose target this is from now on.
pub fn bind(sb: &mut Superblock, source: usize, hello: &Hello, mistake: Option<Mistake>) {
    let owned = MetaFlags::LAST_OWNER.with(MetaFlags::DATA_CORRUPT, true);
    sb.mirror_uuid = hello.mirror_uuid;
    let holds = sb.current != 0;
    let same = places::note_source(&mut sb.peers, &hello.node_uuid, &ip(source), holds);
    sb.flags = sb.flags.without(owned);
    let peer = &mut sb.peers[0];
    if mistake == Some(Mistake::BelievesNewSource) {
        peer.flags.set(PeerFlags::UNKNOWN, false);
    }
    if !same {
        peer.base = 0;
        if sb.flags.contains(MetaFlags::INCONSISTENT) {
            generation::rotate(&mut sb.current, &mut sb.history, 0);
        }
    }
    peer.uuid = hello.node_uuid;
    peer.instance = hello.instance;
    put_address(peer, source);
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
        if let Some(target) = self.nodes[node].as_target() {
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
                self.note(|| format!("{node}: refuses, {}", refusal.reason));
                self.send_source(conn, Message::Refuse(refusal.code));
                self.close_target_side(conn);
                Ok(())
            }
            Ok(Verdict::Tell) => Ok(()),
            Ok(Verdict::Accept(_)) => self.accept(node, conn, source, hello),
        }
    }

    fn accept(&mut self, node: usize, conn: u32, source: usize, hello: &Hello) -> Step<()> {
        self.end_under_way(node);
        // A source that comes again has given its old connection up.
        if let Some(old) = self.nodes[node].target().and_then(|target| target.conn.take()) {
            self.close_target_side(old);
        }
        if self.sb(node).peers[0].uuid != hello.node_uuid && self.mistake != Some(Mistake::BindsUnflushed) {
            // The log of intents that holds what may not be durable is that of the source before.
            self.nodes[node].disk.flush();
        }
        let mistake = self.mistake;
        self.store(node).change(|sb| bind(sb, source, hello, mistake))?;
        let instance = self.nodes[node].instance;
        let tells = Tells {
            map: self.nodes[node].as_target().is_some_and(|target| target.own.is_some()),
            recent: self.nodes[node].recent_for(&hello.node_uuid).is_some(),
        };
        let welcome = welcome(self.sb(node), Role::Target, tells, instance, hello);
        self.remember(node);
        self.send_source(conn, Message::Welcome(Box::new(welcome)));
        if let Some(target) = self.nodes[node].target() {
            target.conn = Some(conn);
            target.source_past = Some((hello.generation, hello.history));
            (target.gate, target.tells_recent) = (Gate::NEW, tells.recent);
            (target.in_sync, target.warm) = (false, false);
        }
        Ok(())
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
        self.note(|| format!("{node}: the source is gone{}", if goodbye { ", in order" } else { "" }));
        let Some(target) = self.nodes[node].target() else {
            return;
        };
        target.warm = target.in_sync;
        target.in_sync = false;
        if let Some(conn) = target.conn.take() {
            self.close_target_side(conn);
        }
    }

    /// A message of the source.
    pub fn target_hears(&mut self, node: usize, conn: u32, message: Message) -> Step<()> {
        let (seen, source) = self.conn(conn).map_or((0, node), |conn| (conn.seen, conn.source));
        let seen_there = seen | self.nodes[source].as_source().map_or(0, |source| source.volume.seen);
        match message {
            Message::Write {
                id,
                chunk,
                version,
                resync,
                ..
            } => {
                self.check_overwrite(node, seen_there);
                self.nodes[node].truth.mixed |= resync;
                if let Some(target) = self.nodes[node].target() {
                    if let Some(recent) = &mut target.recent {
                        recent.touch(bit(chunk));
                    }
                    target.under_way.push(Arrived {
                        id,
                        chunk,
                        version,
                        resync,
                    });
                }
            }
            Message::Flush(id) => {
                self.nodes[node].disk.flush();
                self.send_source(conn, Message::Ack(id));
            }
            Message::Read { id, chunk } => {
                let version = self.nodes[node].disk.read(chunk);
                self.send_source(conn, Message::ReadReply { id, version });
            }
            Message::ResyncStart(generation) => self.resync_start(node, seen_there, generation)?,
            Message::ResyncDone { generation, seen } => {
                self.check_overwrite(node, seen | seen_there);
                self.resync_done(node, conn, generation, seen)?;
            }
            Message::Settled { number, settled } => {
                let recent = self.nodes[node].target().and_then(|target| target.recent.as_mut());
                recent.into_iter().for_each(|recent| recent.mark(number, settled));
            }
            Message::Pause => self.pause_here(node, conn)?,
            Message::Resume => self.resume_here(node, conn)?,
            Message::Bye => self.target_loses(node, true),
            other => self.fail(format!("{node}: a source says {other:?}")),
        }
        Ok(())
    }

    /// What the source held, and before, unless it was taken over; a target that keeps its own past takes nothing over.
    fn past(&mut self, node: usize) -> Option<(u64, [u64; 8])> {
        let past = self.nodes[node].target()?.source_past.take();
        past.filter(|_| self.mistake != Some(Mistake::KeepsItsPast))
    }

    fn resync_start(&mut self, node: usize, seen: u128, generation: u64) -> Step<()> {
        self.check_overwrite(node, seen);
        self.give_up(node, seen);
        let past = self.past(node);
        let hides = self.mistake == Some(Mistake::HidesResync);
        let noted = self.store(node).change(|sb| {
            sb.flags.set(MetaFlags::INCONSISTENT, !hides);
            generation::take_over(&mut sb.current, &mut sb.history, past, generation);
            in_step(sb);
        });
        if hides || self.nodes[node].has(MetaFlags::INCONSISTENT) {
            let truth = &mut self.nodes[node].truth;
            (truth.seen, truth.paused) = (0, 0);
        }
        noted?;
        if let Some(target) = self.nodes[node].target() {
            (target.in_sync, target.pause, target.warm) = (false, false, false);
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
        self.nodes[node].disk.flush();
        let source = self.conn(conn).map_or(node, |conn| conn.source);
        let uuid = self.nodes[source].uuid;
        let life = self.nodes[source].as_source().map_or(0, |source| source.volume.life);
        let gone = MetaFlags::INCONSISTENT
            .with(MetaFlags::YIELDED, true)
            .with(MetaFlags::SPLIT_BRAIN, true)
            .with(MetaFlags::TOOK_OVER, true)
            // It speaks of the first copy only.
            .with(MetaFlags::PREPARED, true);
        let sb = self.sb(node);
        let peer = &sb.peers[0];
        let settled = peer.base == 0 && !peer.flags.contains(PeerFlags::PAUSED);
        let known = sb.current == generation && settled && sb.flags == sb.flags.without(gone);
        let noted = if known {
            Ok(())
        } else {
            let past = self.past(node);
            self.store(node).change(|sb| {
                sb.flags = sb.flags.without(gone);
                generation::take_over(&mut sb.current, &mut sb.history, past, generation);
                in_step(sb);
            })
        };
        if self.sb(node).current == generation && !self.nodes[node].has(MetaFlags::INCONSISTENT) {
            // What it confirmed before the resync began, and is still under way at the source, is not in what that says.
            let machine = &mut self.nodes[node];
            let there = machine.disk.writes();
            let truth = &mut machine.truth;
            truth.seen |= seen | there;
            (truth.mixed, truth.gave_up, truth.paused, truth.mandate) = (false, false, 0, 0);
            self.counts.done += 1;
        }
        noted?;
        if let Some(target) = self.nodes[node].target() {
            (target.in_sync, target.pause, target.life) = (true, false, life);
            target.recent.iter_mut().for_each(|recent| recent.in_step(uuid));
        }
        self.forget(node)?;
        let to = Kind::ResyncDone;
        self.send_source(conn, Message::Reply { to, fine: true });
        Ok(())
    }

    fn pause_here(&mut self, node: usize, conn: u32) -> Step<()> {
        self.store(node)
            .change(|sb| sb.peers[0].flags.set(PeerFlags::PAUSED, true))?;
        let usable = self.nodes[node].is_usable();
        let machine = &mut self.nodes[node];
        if let (Active::Target(target), Some(store)) = (&mut machine.active, &machine.store) {
            target.pause = true;
            self.counts.pauses += 1;
            if usable {
                // What is written here from now on no other target is sent.
                target.recent.iter_mut().for_each(RecentMap::forget);
                // What an earlier pause left to be told is kept.
                let own = target.own.take().map(|own| own.volume);
                target.own = Some(Own {
                    volume: own.unwrap_or_else(|| Volume::own(store, None)),
                    front: true,
                    open: false,
                });
            }
        }
        let to = Kind::Pause;
        self.send_source(conn, Message::Reply { to, fine: true });
        Ok(())
    }

    fn resume_here(&mut self, node: usize, conn: u32) -> Step<()> {
        let own = self.nodes[node].target().and_then(|target| target.own.as_mut());
        let busy = |own: &Own| own.front && (own.open || !own.volume.requests.is_empty());
        let fine = !own.as_deref().is_some_and(busy);
        let to = Kind::Resume;
        if !fine {
            self.send_source(conn, Message::Reply { to, fine });
            return Ok(());
        }
        let words = own.map_or(0, |own| {
            own.front = false;
            own.volume.own_words()
        });
        let target = self.nodes[node].as_target().filter(|target| target.tells_recent);
        let recent = target.and_then(|target| Some(target.recent.as_ref()?.word(0)));
        let words = words | recent.unwrap_or(0);
        self.store(node)
            .change(|sb| sb.peers[0].flags.set(PeerFlags::PAUSED, false))?;
        if let Some(target) = self.nodes[node].target() {
            target.pause = false;
        }
        self.send_source(conn, Message::Reply { to, fine });
        self.send_source(conn, Message::Map(words));
        Ok(())
    }

    /// What a machine wrote itself, for whoever is the source; none where it wrote nothing.
    pub fn own_marks(&mut self, node: usize) -> Step<Option<Volume>> {
        let mistake = self.mistake;
        let Self { nodes, rng, .. } = self;
        let Some(store) = nodes[node].store.as_mut() else {
            return Ok(None);
        };
        let mut volume = Volume::own(store, mistake);
        if volume.own_words() == 0 || !store.tells() {
            return Ok(None);
        }
        let others = places::taken(&store.now.sb.peers).without(netraid_core::legs::LegSet::of(LegNumber::FIRST));
        if !others.is_empty() && store.has_maps() {
            volume.keep_marks(store, rng)?;
            for leg in others.iter() {
                store.write_map(Which::Dirty(leg), &[0; BLOCK_WORDS])?;
            }
        }
        Ok(Some(volume))
    }

    /// A target comes into service.
    pub fn open_target(&mut self, node: usize) -> Step<()> {
        // One that failed as the source's may do again; without its metadata nothing can be done with it.
        self.nodes[node].bad = false;
        if self.store(node).lost.is_some() {
            self.nodes[node].active = Active::Stopped;
            return Ok(());
        }
        let own = self.own_marks(node)?.map(|volume| Own {
            volume,
            front: false,
            open: false,
        });
        let pause = self.sb(node).peers[0].flags.contains(PeerFlags::PAUSED);
        self.nodes[node].active = Active::Target(Target {
            own,
            pause,
            ..Target::default()
        });
        Ok(())
    }
}
