// SPDX-License-Identifier: GPL-2.0

//! All machines and what is between them; what the module does on an event.

use crate::disk::{Disk, Version};
use crate::net::{Conn, Message};
use crate::node::{Active, Node, Own, Target, Truth};
use crate::rng::Rng;
use crate::store::{Fuse, PowerCut, Store};
use crate::volume::Request;
use netraid_core::leg::{Event, State};
use netraid_core::meta::{MetaFlags, Superblock, PEERS};
use netraid_core::name::Name;
use netraid_core::state::Role;
use netraid_core::wire::Id;

pub const MIRROR: Id = [9; 16];

/// Writes of applications that a history may have; each has a bit in a set.
pub const WRITES: u32 = 120;

/// An event that is over when its machine loses its power.
pub type Step<T> = Result<T, PowerCut>;

pub struct Cluster {
    pub rng: Rng,
    pub nodes: Vec<Node>,
    pub conns: Vec<Conn>,
    /// Pairs of machines between which nothing passes.
    pub cut: Vec<(usize, usize)>,
    /// Writes that were acknowledged to an application that had no reason to expect them to be reverted.
    pub acknowledged: u128,
    pub next_version: Version,
    next_conn: u32,
    pub trace: Vec<String>,
    pub tracing: bool,
    /// What went wrong.
    pub broken: Option<String>,
    pub counts: Counts,
    pub kind: Kind,
}

/// What a mirror is made like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Plain,
    /// There are no maps on the disks.
    NoBitmap,
    /// The disks are the same before the first copy.
    Prepared,
}

impl Kind {
    pub fn flags(self) -> MetaFlags {
        match self {
            Self::Plain => MetaFlags::NONE,
            Self::NoBitmap => MetaFlags::NO_BITMAP,
            Self::Prepared => MetaFlags::PREPARED,
        }
    }
}

/// How often what happened, to see that the histories are eventful.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub full: u32,
    /// Full copies of what was related.
    pub needless: u32,
    pub partial: u32,
    pub merged: u32,
    pub done: u32,
    pub sources: u32,
    pub warm: u32,
    pub yields: u32,
    pub forks: u32,
    pub switched: u32,
    pub pauses: u32,
    pub acknowledged: u32,
}

impl Counts {
    pub fn add(&mut self, other: &Self) {
        self.full += other.full;
        self.needless += other.needless;
        self.partial += other.partial;
        self.merged += other.merged;
        self.done += other.done;
        self.sources += other.sources;
        self.warm += other.warm;
        self.yields += other.yields;
        self.forks += other.forks;
        self.switched += other.switched;
        self.pauses += other.pauses;
        self.acknowledged += other.acknowledged;
    }
}

impl Cluster {
    pub fn new(seed: u64, nodes: usize, kind: Kind) -> Self {
        let mut rng = Rng::new(seed);
        let nodes = (0..nodes)
            .map(|index| Node {
                uuid: [u8::try_from(index).unwrap() + 1; 16],
                instance: id(rng.fresh()),
                up: true,
                booting: false,
                waiting: false,
                disk: Disk::new(if kind == Kind::Prepared {
                    1000
                } else {
                    1000 * (u32::try_from(index).unwrap() + 1)
                }),
                store: None,
                active: Active::Stopped,
                truth: Truth::default(),
            })
            .collect();
        Self {
            rng,
            nodes,
            conns: Vec::new(),
            cut: Vec::new(),
            acknowledged: 0,
            next_version: 1,
            next_conn: 1,
            trace: Vec::new(),
            tracing: false,
            broken: None,
            counts: Counts::default(),
            kind,
        }
    }

    pub fn note(&mut self, text: impl FnOnce() -> String) {
        if self.tracing {
            self.trace.push(text());
        }
    }

    pub fn fail(&mut self, text: String) {
        self.note(|| format!("!!! {text}"));
        self.broken.get_or_insert(text);
    }

    pub fn store(&mut self, node: usize) -> &mut Store {
        self.nodes[node].store.as_mut().unwrap()
    }

    pub fn sb(&self, node: usize) -> &Superblock {
        &self.nodes[node].store.as_ref().unwrap().sb
    }

    pub fn reachable(&self, a: usize, b: usize) -> bool {
        self.nodes[a].up && self.nodes[b].up && !self.cut.contains(&(a.min(b), a.max(b)))
    }

    pub fn conn(&mut self, id: u32) -> Option<&mut Conn> {
        self.conns.iter_mut().find(|conn| conn.id == id)
    }

    pub fn open_conn(&mut self, source: usize, target: usize) -> u32 {
        let id = self.next_conn;
        self.next_conn += 1;
        self.conns.push(Conn::new(id, source, target));
        id
    }

    /// Sends to the target over a connection that the source has.
    pub fn send_target(&mut self, id: Option<u32>, messages: Vec<Message>) {
        let Self { conns, nodes, .. } = self;
        if let Some(conn) = conns.iter_mut().find(|conn| Some(conn.id) == id && !conn.broken) {
            conn.to_target.extend(messages);
            conn.seen = nodes[conn.source].truth.seen;
        }
    }

    /// Gives a disk to the mirror, with metadata that is all new.
    pub fn format(&mut self, node: usize, role: Role, flags: MetaFlags) {
        let flags = flags.with(MetaFlags::NO_BITMAP, self.kind == Kind::NoBitmap);
        let current = if role == Role::Source { self.rng.fresh() } else { 0 };
        let flags = flags.with(MetaFlags::LAST_OWNER, role == Role::Source);
        let sb = Superblock {
            mirror_uuid: if role == Role::Source { MIRROR } else { [0; 16] },
            node_uuid: self.nodes[node].uuid,
            name: Name::truncated("data"),
            role,
            flags,
            current,
            peers: [Default::default(); PEERS],
            ..Superblock::default()
        };
        let node = &mut self.nodes[node];
        node.store = Some(Store::new(sb));
        node.truth = Truth::default();
    }

    /// Handles what a step of a machine led to; a power cut in it is one.
    pub fn settle<T>(&mut self, node: usize, result: Step<T>) -> Option<T> {
        if let Some(store) = &mut self.nodes[node].store {
            store.fuse = None;
        }
        match result {
            Ok(value) => Some(value),
            Err(PowerCut) => {
                self.crash(node);
                None
            }
        }
    }

    /// The power goes off.
    pub fn crash(&mut self, node: usize) {
        self.note(|| format!("{node}: power cut"));
        let machine = &mut self.nodes[node];
        if let Some(store) = &mut machine.store {
            store.fuse = None;
        }
        match &machine.active {
            Active::Source(source) => source.volume.crash(&mut machine.disk, &mut self.rng),
            Active::Target(Target { own: Some(own), .. }) => own.volume.crash(&mut machine.disk, &mut self.rng),
            _ => machine.disk.crash(&mut self.rng),
        }
        machine.active = Active::Stopped;
        machine.up = false;
        machine.waiting = false;
        for conn in &mut self.conns {
            if conn.source == node {
                conn.source_side = false;
                conn.cut(&mut self.rng);
            }
            if conn.target == node {
                conn.target_side = false;
                conn.cut(&mut self.rng);
            }
        }
        self.conns.retain(|conn| !conn.is_over());
    }

    pub fn boot(&mut self, node: usize) {
        self.note(|| format!("{node}: boots"));
        let instance = id(self.rng.fresh());
        let machine = &mut self.nodes[node];
        machine.up = true;
        machine.booting = machine.store.is_some();
        machine.instance = instance;
    }

    /// A power cut in the `after`th write of metadata from now on, if one comes in this step.
    pub fn light_fuse(&mut self, node: usize) {
        let fuse = Fuse {
            left: u32::try_from(self.rng.below(4)).unwrap(),
            outcome: u32::try_from(self.rng.below(3)).unwrap(),
        };
        if let Some(store) = &mut self.nodes[node].store {
            store.fuse = Some(fuse);
        }
    }

    /// After anything happened on a machine: starts what may start, ends what is done.
    pub fn pump(&mut self, node: usize) -> Step<()> {
        let mut out = Vec::new();
        let Some((volume, _, _)) = self.nodes[node].volume() else {
            return Ok(());
        };
        let ended = volume.finish();
        volume.admit(&mut out);
        let drained = volume.draining && volume.outstanding() == 0;
        for request in ended {
            self.acknowledge(node, &request);
        }
        let Some(source) = self.nodes[node].source() else {
            return Ok(());
        };
        let conn = source.legs.first().and_then(|leg| leg.conn);
        let waits = source
            .legs
            .first()
            .is_some_and(|leg| leg.machine.state() == State::Pausing);
        self.send_target(conn, out);
        if drained && waits {
            self.fire(node, Event::Drained)?;
        }
        Ok(())
    }

    /// An application is told that its write is done.
    fn acknowledge(&mut self, node: usize, request: &Request) {
        let bit = 1 << request.version;
        self.note(|| {
            format!(
                "{node}: write {} of chunk {} is acknowledged",
                request.version, request.chunk
            )
        });
        if matches!(self.nodes[node].active, Active::Source(_)) {
            self.acknowledged |= bit;
            self.counts.acknowledged += 1;
            self.nodes[node].truth.seen |= bit;
            self.check_acknowledged(node, request);
        } else {
            self.nodes[node].truth.paused |= bit;
        }
    }

    /// An application writes, on a source or on a target in a pause.
    pub fn write(&mut self, node: usize, chunk: usize) -> Step<()> {
        if self.next_version >= WRITES {
            return Ok(());
        }
        let version = self.next_version;
        let usable = match &mut self.nodes[node].active {
            Active::Source(source) => Some(&mut source.volume),
            Active::Target(Target { own: Some(own), .. }) if own.front => {
                own.open = true;
                Some(&mut own.volume)
            }
            _ => None,
        };
        let Some(volume) = usable else { return Ok(()) };
        volume.submit(chunk, version);
        self.next_version += 1;
        if matches!(self.nodes[node].active, Active::Source(_)) {
            // It may be on both disks long before it is acknowledged.
            self.nodes[node].truth.seen |= 1 << version;
        }
        self.note(|| format!("{node}: write {version} of chunk {chunk}"));
        self.pump(node)
    }

    /// The journal of a machine writes one block.
    pub fn journal(&mut self, node: usize) -> Step<bool> {
        let rng = &mut self.rng;
        let Some((volume, _, store)) = self.nodes[node].volume() else {
            return Ok(false);
        };
        let before = (volume.step, store.sb.current);
        let done = volume.journal(store, rng)?;
        let after = (volume.step, store.sb.current);
        if before != after {
            let base = store.sb.peers[0].base;
            self.note(|| format!("{node}: generation {:x} is over, base {base:x}", before.1));
        }
        self.pump(node)?;
        Ok(done)
    }

    pub fn local_done(&mut self, node: usize, id: u32) -> Step<()> {
        if let Some((volume, disk, _)) = self.nodes[node].volume() {
            volume.local_done(id, disk);
        }
        self.pump(node)
    }

    pub fn round(&mut self, node: usize) -> Step<()> {
        let mut out = Vec::new();
        if let Some((volume, disk, _)) = self.nodes[node].volume() {
            volume.round(disk, &mut out);
        }
        let conn = self.nodes[node].source().and_then(|source| source.legs.first()?.conn);
        self.send_target(conn, out);
        self.pump(node)
    }

    /// What is there to be told by a target that comes into service.
    pub fn own_marks(&self, node: usize) -> Option<Own> {
        let store = self.nodes[node].store.as_ref()?;
        let sb = &store.sb;
        let no_bitmap = sb.flags.contains(MetaFlags::NO_BITMAP);
        let wrote = sb.flags.contains(MetaFlags::LAST_OWNER)
            || sb.flags.contains(MetaFlags::YIELDED)
            || sb.peers[0].base != 0
            || sb.peers[0].flags.contains(netraid_core::meta::PeerFlags::PAUSED);
        if no_bitmap && !wrote {
            return None;
        }
        let volume = crate::volume::Volume::new(store);
        (volume.own_words() != 0).then_some(Own {
            volume,
            front: false,
            open: false,
        })
    }
}

/// A random identity.
pub fn id(number: u64) -> Id {
    let mut id = [7; 16];
    id[..8].copy_from_slice(&number.to_le_bytes());
    id
}
