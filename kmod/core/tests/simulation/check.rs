// SPDX-License-Identifier: GPL-2.0

//! What has to hold after every event.

use super::disk::{Mask, Version, ALL, CHUNKS};
use super::greeting;
use super::legs::forget_target;
use super::meta::Meta;
use super::node::{Active, ConnId, Node};
use super::target;
use super::world::{node_name, World, MIRROR, PORT};
use netraid_core::{
    handshake::{source_decide, Copying, Plan},
    leg::State,
    meta::{MetaFlags, PeerFlags},
    ownership::StartMode,
    wire::{WelcomeFlags, NO_ID},
};

/// What a machine that comes back would tell a source of its own writes.
fn own_words(meta: &Meta) -> Mask {
    let wrote = meta.has(MetaFlags::LAST_OWNER)
        || meta.has(MetaFlags::YIELDED)
        || meta.peer().base != 0
        || meta.peer().flags.contains(PeerFlags::PAUSED);
    if meta.has_maps() || wrote {
        meta.marks_after_crash()
    } else {
        0
    }
}

/// The chunks of a mask, for a report.
fn chunks(mask: Mask) -> Vec<usize> {
    (0..CHUNKS).filter(|chunk| mask >> chunk & 1 != 0).collect()
}

impl World {
    /// Everything.
    pub(crate) fn check(&mut self) {
        for node in 0..self.nodes.len() {
            let it = &self.nodes[node];
            if matches!(it.active, Active::Source(_)) && !it.meta.is_usable() {
                self.fail(format!("{} is in service without a usable copy", node_name(node)));
            }
            self.check_synced(node);
            for other in 0..self.nodes.len() {
                if node != other {
                    self.check_marks(node, other);
                }
            }
        }
    }

    /// Were one machine the source, and the other its target, whatever they differ in would be copied.
    fn check_marks(&mut self, source: usize, target: usize) {
        let (s, t) = (&self.nodes[source], &self.nodes[target]);
        if !s.meta.is_usable() {
            return;
        }
        let differing = s.disk.differs(&t.disk);
        let (lost, gone) = (s.disk.volatile(), t.disk.volatile());
        let counts = self.counts(s);
        if (differing | lost | gone) & counts == 0 {
            return;
        }
        for (source_crashes, target_crashes) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut differing = differing;
            if source_crashes {
                differing |= lost;
            }
            if target_crashes {
                differing |= gone;
            }
            let differing = differing & counts;
            if differing == 0 {
                continue;
            }
            let Some(copied) = self.would_copy(source, target, source_crashes, target_crashes) else {
                continue;
            };
            if differing & !copied != 0 {
                let word = |crashes| if crashes { " after a crash" } else { "" };
                self.fail(format!(
                    "{} as source{} would not copy chunks {:?} to {}{}",
                    node_name(source),
                    word(source_crashes),
                    chunks(differing & !copied),
                    node_name(target),
                    word(target_crashes),
                ));
                return;
            }
        }
    }

    /// The chunks of a source that matter: in a mirror that was new, what was never written is of no interest.
    pub(crate) fn counts(&self, source: &Node) -> Mask {
        if self.config.new {
            source.disk.from(self.ledger.first)
        } else {
            ALL
        }
    }

    /// What would be copied; `None` where nothing would.
    fn would_copy(&self, source: usize, target: usize, source_crashes: bool, target_crashes: bool) -> Option<Mask> {
        let (s, t) = (&self.nodes[source], &self.nodes[target]);
        let (marked, intent) = match &s.active {
            Active::Source(it) if !source_crashes => (it.volume.missing(), it.volume.intent()),
            _ => {
                let intent = if s.meta.has_maps() {
                    s.meta.map(super::meta::Which::Intent)
                } else {
                    0
                };
                (s.meta.marks_after_crash(), intent)
            }
        };
        let (own, restarted) = match &t.active {
            // It would become a target in good order, which changes things.
            Active::Source(_) if !target_crashes => return None,
            Active::Target(it) if !target_crashes => {
                let words = |it: &super::node::Paused| it.volume.dirty() | it.volume.intent();
                (it.paused.as_ref().map(words), false)
            }
            _ => (Some(own_words(&t.meta)).filter(|words| *words != 0), true),
        };
        let mut meta = t.meta.clone();
        meta.fuse = None;
        let port = PORT + source as u16;
        target::bind(&mut meta, MIRROR, s.uuid, s.instance, port).ok()?;
        let mut welcome = greeting::welcome_of(target, t, &meta, &s.uuid, own.is_some());
        // An operator may give its data up at any time.
        welcome.flags = welcome.flags.with(WelcomeFlags::YIELDED, true);
        if restarted {
            welcome.instance = [0xff; 16];
        }
        let mut mine = s.meta.clone();
        mine.fuse = None;
        if mine.peer().uuid != t.uuid && mine.peer().uuid != NO_ID {
            // It would have to be extended to that machine first.
            forget_target(&mut mine, u64::MAX).ok()?;
        }
        let facts = greeting::source_facts(&mine, &t.uuid, false);
        let Plan::Agree(agreement) = source_decide(&facts, &welcome) else {
            return None;
        };
        let mut copied = marked;
        match agreement.copying {
            Copying::Everything => copied = ALL,
            Copying::Written => copied |= self.written(s, source_crashes),
            Copying::Marked => {}
        }
        if agreement.distrust {
            copied |= intent;
        }
        if agreement.merge_map {
            copied |= own.unwrap_or(0);
        }
        Some(copied)
    }

    fn written(&self, source: &Node, crashes: bool) -> Mask {
        use super::meta::Which;
        match &source.active {
            Active::Source(it) if !crashes => it.volume.maps.written.as_ref().map_or(0, |map| map.map().word(0)),
            _ if !source.meta.has_maps() => ALL,
            _ => source.meta.map(Which::Written) | source.meta.map(Which::Intent),
        }
    }

    /// Where both sides say that they are in step, they are.
    fn check_synced(&mut self, node: usize) {
        let s = &self.nodes[node];
        let Active::Source(source) = &s.active else { return };
        let Some(leg) = &source.leg else { return };
        let Some(conn) = leg.conn.filter(|_| leg.machine.state() == State::Synced) else {
            return;
        };
        let Some(t) = self.conns.iter().find(|it| it.id == conn).map(|it| it.target) else {
            return;
        };
        let t = &self.nodes[t];
        let Active::Target(target) = &t.active else { return };
        if target.conn != Some(conn) || !target.in_sync {
            return;
        }
        let pending = source.volume.requests.iter().fold(0, |mask, it| mask | it.mask());
        let counts = self.counts(s);
        let differing = s.disk.differs(&t.disk) & !pending & counts;
        let (a, b) = (s.meta.sb(), t.meta.sb());
        let what = if differing != 0 {
            format!("chunks {:?} differ", chunks(differing))
        } else if a.current != b.current || a.peers[0].base != 0 {
            format!("generations {}/{} and {}", a.current, a.peers[0].base, b.current)
        } else if !t.meta.is_usable() {
            "the target is inconsistent".to_owned()
        } else {
            return;
        };
        self.fail(format!("{} says that it is in step: {what}", node_name(node)));
    }

    /// An application is told that its write is done.
    pub(crate) fn check_confirmed(&mut self, node: usize, chunk: usize, version: Version) {
        let (s, uuid) = (self.nodes[node].meta.sb().current, self.nodes[node].uuid);
        self.ledger.confirmed(version, s);
        for other in 0..self.nodes.len() {
            let t = &self.nodes[other];
            let Active::Target(target) = &t.active else { continue };
            let together = t.meta.is_usable() && t.meta.sb().current == s && t.meta.peer().uuid == uuid;
            let ready = (target.in_sync || target.warm) && together;
            if ready && !self.ledger.covers(t.disk.visible(chunk), version) {
                self.fail(format!(
                    "a write of chunk {chunk} on {} is confirmed, and {}, which could take over, lacks it",
                    node_name(node),
                    node_name(other)
                ));
            }
        }
    }

    /// A target is about to write what its source sent.
    pub(crate) fn check_applied(&mut self, node: usize, conn: ConnId, chunk: usize, version: Version, resync: bool) {
        let t = &self.nodes[node];
        let Active::Target(target) = &t.active else { return };
        if resync && !t.meta.has(MetaFlags::INCONSISTENT) {
            self.fail(format!("{} is resynchronized and does not say so", node_name(node)));
            return;
        }
        let (has, gives_way) = (t.disk.visible(chunk), target.gives_way);
        debug_assert_eq!(target.conn, Some(conn));
        let lost =
            |ledger: &super::disk::Ledger, promised| ledger.covers(has, promised) && !ledger.covers(version, promised);
        if gives_way {
            self.counts.given_up += self.ledger.waive(chunk, lost);
        } else if self
            .ledger
            .promised(chunk)
            .iter()
            .any(|&(it, _)| lost(&self.ledger, it))
        {
            self.fail(format!(
                "chunk {chunk} of {} is overwritten with less than was promised",
                node_name(node)
            ));
        }
    }

    /// A machine comes into service.
    pub(crate) fn check_started(&mut self, node: usize, mode: StartMode) {
        let it = &self.nodes[node];
        let peer = self.at_port(it.meta.peer().port);
        let rival = |other: usize| {
            let rival = &self.nodes[other];
            let of = self.at_port(rival.meta.peer().port);
            matches!(rival.active, Active::Source(_)) && !rival.guessed && of == Some(node)
        };
        if let Some(other) = peer.filter(|&other| !it.guessed && rival(other)) {
            self.fail(format!(
                "{} and {} are both in service, and both have asked",
                node_name(node),
                node_name(other)
            ));
            return;
        }
        let it = &self.nodes[node];
        let lost = (0..CHUNKS).find(|&chunk| {
            let has = it.disk.visible(chunk);
            // What others promised, whom this one does not know or was told to forget, is nothing to it.
            let mut promised = self.ledger.promised(chunk).iter();
            promised.any(|&(it, by)| (by == node || Some(by) == peer) && !self.ledger.covers(has, it))
        });
        if let Some(chunk) = lost {
            self.fail(format!(
                "{} comes into service ({mode:?}) without what was promised of chunk {chunk}",
                node_name(node)
            ));
        }
    }

    // What operators and documented rules give up.

    /// What a machine does not hold is given up.
    pub(crate) fn give_up_others(&mut self, node: usize) {
        self.give_up(node, |_, _| true);
    }

    /// What the source went on with after it had recorded that this machine is out of step, which that cannot know.
    pub(crate) fn give_up_unseen(&mut self, node: usize) {
        let current = self.nodes[node].meta.sb().current;
        self.give_up(node, |ledger, version| ledger.generation(version) != current);
    }

    fn give_up(&mut self, node: usize, also: impl Fn(&super::disk::Ledger, Version) -> bool) {
        for chunk in 0..CHUNKS {
            let has = self.nodes[node].disk.visible(chunk);
            self.counts.given_up += self.ledger.waive(chunk, |ledger, promised| {
                !ledger.covers(has, promised) && also(ledger, promised)
            });
        }
    }

    /// What a machine alone holds is given up, because it gives way.
    pub(crate) fn gives_way(&mut self, node: usize) {
        for chunk in 0..CHUNKS {
            let others = self.nodes.iter().enumerate().filter(|(at, _)| *at != node);
            let held: Vec<Version> = others.map(|(_, it)| it.disk.stable(chunk)).collect();
            let has = self.nodes[node].disk.visible(chunk);
            self.counts.given_up += self.ledger.waive(chunk, |ledger, promised| {
                ledger.covers(has, promised) && !held.iter().all(|&other| ledger.covers(other, promised))
            });
        }
    }
}
