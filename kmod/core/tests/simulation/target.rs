// SPDX-License-Identifier: GPL-2.0

//! The target's end of a leg, as `leg/target*.rs` have it.

use super::bugs::Bugs;
use super::greeting;
use super::meta::{Meta, Step as Done};
use super::node::{Active, ConnId, Message, Node, Op, Paused, Pending};
use super::volume::Volume;
use super::world::World;
use netraid_core::{
    generation::{rotate, take_over},
    handshake::Verdict,
    meta::{MetaFlags, PeerFlags, Superblock},
    wire::{features, Hello, Id, Kind, RefuseCode},
};

/// As `target_accept::bind`, but for the sizes.
pub(crate) fn bind(meta: &mut Meta, mirror: Id, node: Id, instance: Id, port: u16) -> Done {
    meta.bind()?;
    let stays = meta.bugs.has(Bugs::NEW_STAYS);
    let owned = MetaFlags::LAST_OWNER.with(MetaFlags::DATA_CORRUPT, true);
    meta.change(|sb| {
        sb.mirror_uuid = mirror;
        sb.flags = sb.flags.without(owned);
        if !stays {
            sb.flags.set(MetaFlags::NEW, false);
        }
        if sb.peers[0].uuid != node {
            sb.peers[0].base = 0;
            if sb.flags.contains(MetaFlags::INCONSISTENT) {
                rotate(&mut sb.current, &mut sb.history, 0);
            }
        }
        let peer = &mut sb.peers[0];
        peer.uuid = node;
        peer.instance = instance;
        peer.ip_len = 4;
        peer.port = port;
    })
}

/// There is no pause any more, and what was marked here is marked by the source.
fn in_step(sb: &mut Superblock) {
    sb.peers[0].base = 0;
    sb.peers[0].flags.set(PeerFlags::PAUSED, false);
}

/// As `Mirror::own_marks`: what a machine that becomes a target wrote itself.
pub(crate) fn own_marks(meta: &Meta) -> Option<Paused> {
    meta.sb().geometry()?;
    let wrote = meta.has(MetaFlags::LAST_OWNER)
        || meta.has(MetaFlags::YIELDED)
        || meta.peer().base != 0
        || meta.peer().flags.contains(PeerFlags::PAUSED);
    if !meta.has_maps() && !wrote {
        return None;
    }
    let volume = Volume::new(meta);
    (volume.dirty() | volume.intent() != 0).then_some(Paused { front: false, volume })
}

impl Node {
    /// The source has on record what was written here.
    fn forget_own(&mut self, fresh: u64) -> Done {
        let Some(mut own) = self.target().and_then(|target| target.paused.take()) else {
            return Ok(());
        };
        own.volume.forget_marks();
        own.volume.keep(&mut self.meta, &mut self.disk, fresh)
    }

    /// Everything that the disk is at work on for the source comes to its end.
    pub(crate) fn finish_pending(&mut self) {
        let Active::Target(target) = &mut self.active else {
            return;
        };
        for it in target.pending.drain(..) {
            if it.flush {
                self.disk.flush(it.local);
            } else {
                self.disk.finish(it.local);
            }
        }
    }
}

impl World {
    /// Somebody introduces himself at a target or at the door of a source.
    fn greeted(&mut self, node: usize, conn: ConnId, hello: &Hello) -> Done {
        if !self.nodes[node].listens() {
            self.close_target(conn);
            return Ok(());
        }
        let promoting = self.nodes[node].target().is_some_and(|it| it.promoting);
        if promoting && !self.config.bugs.has(Bugs::START_ACCEPTS) {
            self.send_to_source(conn, Message::Refuse(RefuseCode::Busy));
            self.close_target(conn);
            return Ok(());
        }
        match self.answer(node, hello) {
            Ok(Verdict::Accept(_)) if matches!(self.nodes[node].active, Active::Target(_)) => {}
            Ok(_) => {
                self.close_target(conn);
                return Ok(());
            }
            Err(refusal) => {
                self.send_to_source(conn, Message::Refuse(refusal.code));
                self.close_target(conn);
                // Out of service, it is noted only in memory.
                let lasting = !matches!(self.nodes[node].active, Active::Stopped);
                if refusal.code == RefuseCode::SplitBrain && lasting {
                    let meta = &mut self.nodes[node].meta;
                    return meta.change(|sb| sb.flags.set(MetaFlags::SPLIT_BRAIN, true));
                }
                return Ok(());
            }
        }
        if let Some(old) = self.nodes[node].target().and_then(|target| target.conn.take()) {
            self.close_target(old);
        }
        let it = &mut self.nodes[node];
        it.finish_pending();
        bind(
            &mut it.meta,
            hello.mirror_uuid,
            hello.node_uuid,
            hello.instance,
            hello.listen_port,
        )?;
        let welcome = greeting::welcome(node, it, &hello.node_uuid);
        let gives_way = it.meta.has(MetaFlags::YIELDED);
        let said_durable = welcome.features & hello.features & features::DURABLE != 0;
        if let Some(target) = it.target() {
            target.conn = Some(conn);
            target.said_durable = said_durable;
            target.connected = true;
            target.in_sync = false;
            target.warm = false;
            target.gives_way = gives_way;
            target.source_past = Some((hello.generation, hello.history));
        }
        self.send_to_source(conn, Message::Welcome(Box::new(welcome)));
        Ok(())
    }

    /// Whether a message that arrives would be read; a pause waits until nothing is being written.
    pub(crate) fn target_reads(&mut self, node: usize, conn: ConnId, pause: bool) -> bool {
        self.nodes[node]
            .target()
            .is_some_and(|it| it.conn == Some(conn) && (it.pending.is_empty() || !pause))
    }

    /// A message of the source arrives.
    pub(crate) fn target_receives(&mut self, node: usize, conn: ConnId, message: Message) -> Done {
        if let Message::Hello(hello) = &message {
            return self.greeted(node, conn, hello);
        }
        let fresh = self.number();
        if let Message::Write(_, chunk, version, resync) = message {
            self.check_applied(node, conn, chunk, version, resync);
        }
        let it = &mut self.nodes[node];
        let Active::Target(target) = &mut it.active else {
            return Ok(());
        };
        match message {
            Message::Write(seq, chunk, version, _) => {
                let local = it.disk.start(chunk, version);
                target.pending.push(Pending {
                    conn,
                    seq,
                    local,
                    flush: false,
                });
            }
            Message::Flush(seq) => target.pending.push(Pending {
                conn,
                seq,
                local: it.disk.now(),
                flush: true,
            }),
            Message::ResyncStart(generation) => {
                let past = target.source_past.take();
                it.meta.change(|sb| {
                    sb.flags.set(MetaFlags::INCONSISTENT, true);
                    if generation != 0 {
                        take_over(&mut sb.current, &mut sb.history, past, generation);
                    }
                    in_step(sb);
                })?;
                target.in_sync = false;
                target.warm = false;
                it.forget_own(fresh)?;
            }
            Message::ResyncDone(generation) => {
                self.resync_done(node, generation, fresh)?;
                self.send_to_source(conn, Message::Done(Kind::ResyncDone, true));
            }
            Message::Pause => {
                self.pause_target(node)?;
                self.send_to_source(conn, Message::Done(Kind::Pause, true));
            }
            Message::Resume => self.resume_target(node, conn)?,
            Message::Done(Kind::Takeover, fine) => target.granted = Some(fine),
            _ => self.target_loses(node),
        }
        Ok(())
    }

    fn resync_done(&mut self, node: usize, generation: u64, fresh: u64) -> Done {
        let it = &mut self.nodes[node];
        let now = it.disk.now();
        it.disk.flush(now);
        let gone = MetaFlags::INCONSISTENT
            .with(MetaFlags::YIELDED, true)
            .with(MetaFlags::SPLIT_BRAIN, true)
            .with(MetaFlags::TOOK_OVER, true)
            .with(MetaFlags::PREPARED, true);
        let past = it.target().and_then(|target| target.source_past.take());
        it.meta.change(|sb| {
            sb.flags = sb.flags.without(gone);
            take_over(&mut sb.current, &mut sb.history, past, generation);
            in_step(sb);
        })?;
        if let Some(target) = it.target() {
            target.in_sync = true;
        }
        it.forget_own(fresh)
    }

    fn pause_target(&mut self, node: usize) -> Done {
        let it = &mut self.nodes[node];
        let usable = it.meta.is_usable();
        it.meta.change(|sb| sb.peers[0].flags.set(PeerFlags::PAUSED, true))?;
        let Active::Target(target) = &mut it.active else {
            return Ok(());
        };
        if usable && target.paused.as_ref().is_none_or(|paused| !paused.front) {
            let kept = target.paused.take();
            let volume = kept.map_or_else(|| Volume::new(&it.meta), |kept| kept.volume);
            target.paused = Some(Paused { front: true, volume });
        }
        Ok(())
    }

    fn resume_target(&mut self, node: usize, conn: ConnId) -> Done {
        let it = &mut self.nodes[node];
        if let Active::Target(target) = &mut it.active {
            if let Some(paused) = &mut target.paused {
                // Waits for what is under way.
                paused.front = false;
                paused.volume.finish_all(&mut it.meta, &mut it.disk)?;
            }
        }
        it.meta.change(|sb| sb.peers[0].flags.set(PeerFlags::PAUSED, false))?;
        let words = it.volume().map_or(0, |volume| volume.dirty() | volume.intent());
        self.send_to_source(conn, Message::Done(Kind::Resume, true));
        self.send_to_source(conn, Message::Map(words));
        Ok(())
    }

    /// The receiving thread of a target ends.
    pub(crate) fn target_loses(&mut self, node: usize) {
        let Some(target) = self.nodes[node].target() else {
            return;
        };
        target.warm = target.in_sync;
        target.connected = false;
        target.in_sync = false;
        if let Some(conn) = target.conn.take() {
            self.close_target(conn);
        }
    }

    /// The disk of a target is done with something.
    pub(crate) fn target_done(&mut self, node: usize, which: usize) {
        let it = &mut self.nodes[node];
        let Active::Target(target) = &mut it.active else { return };
        if target.pending.is_empty() {
            return;
        }
        let done = target.pending.remove(which % target.pending.len());
        if done.flush {
            it.disk.flush(done.local);
        } else {
            it.disk.finish(done.local);
        }
        // One of an earlier connection is told nobody.
        let current = target.conn == Some(done.conn) && target.connected;
        if current && target.said_durable && it.disk.is_cached && !self.config.bugs.has(Bugs::BROKEN_WORD) {
            self.counts.broken_words += 1;
            return self.target_loses(node);
        }
        self.send_to_source(done.conn, Message::Ack(done.seq));
    }

    /// A target asks its source to change places.
    pub(crate) fn take_over(&mut self, node: usize) {
        let Some(target) = self.nodes[node].target() else {
            return;
        };
        let Some(conn) = target.conn.filter(|_| target.connected && target.in_sync) else {
            return;
        };
        target.granted = None;
        self.send_to_source(conn, Message::Takeover);
        self.nodes[node].op = Some(Op::TakeOver);
    }
}
