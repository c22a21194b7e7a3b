// SPDX-License-Identifier: GPL-2.0

//! All machines and what is between them.

use crate::disk::{Disk, Version};
use crate::mistake::Mistake;
use crate::net::{Conn, Message};
use crate::node::{Active, Node, Target, Truth};
use crate::rng::Rng;
use crate::store::{Fuse, PowerCut, Store, ALL};
use crate::volume::Request;
use netraid_core::leg::{Event, State};
use netraid_core::legs::LegNumber;
use netraid_core::local::LocalDisk;
use netraid_core::meta::{MetaFlags, Superblock};
use netraid_core::name::Name;
use netraid_core::state::Role;
use netraid_core::wire::Id;

const MIRROR: Id = [9; 16];

/// Machines.
pub const NODES: usize = 3;

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
    /// What one machine sends to another arrives later.
    pub held: Vec<(usize, usize)>,
    /// Writes that were acknowledged to an application.
    pub acknowledged: u128,
    pub next_version: Version,
    next_conn: u32,
    pub trace: Vec<String>,
    pub tracing: bool,
    /// What went wrong.
    pub broken: Option<String>,
    pub counts: Counts,
    /// How often it was looked whether all holds.
    pub checks: u32,
    pub mistake: Option<Mistake>,
    /// The metadata of each machine is on the disk of the mirror, and fails with it.
    pub internal: bool,
    /// The operators want errors of the disk passed on to the application, whoever is in step.
    pub passes_on: bool,
}

/// How often what happened, to see that the histories are eventful.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub everything: u32,
    pub marked: u32,
    pub merged: u32,
    pub done: u32,
    pub sources: u32,
    pub yields: u32,
    pub switched: u32,
    pub pauses: u32,
    pub acknowledged: u32,
    /// Acknowledged while two targets were in step.
    pub threefold: u32,
    pub given_up: u32,
    pub without_disk: u32,
    pub rebuilt: u32,
}

impl Counts {
    pub fn add(&mut self, other: &Self) {
        self.everything += other.everything;
        self.marked += other.marked;
        self.merged += other.merged;
        self.done += other.done;
        self.sources += other.sources;
        self.yields += other.yields;
        self.switched += other.switched;
        self.pauses += other.pauses;
        self.acknowledged += other.acknowledged;
        self.threefold += other.threefold;
        self.given_up += other.given_up;
        self.without_disk += other.without_disk;
        self.rebuilt += other.rebuilt;
    }
}

impl Cluster {
    /// Machines whose disks are not the mirror's yet.
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let nodes = (0..NODES)
            .map(|index| Node {
                uuid: [u8::try_from(index).unwrap() + 1; 16],
                instance: id(rng.fresh()),
                up: true,
                booting: false,
                waiting: false,
                disk: Disk::new(200 * (u32::try_from(index).unwrap() + 1)),
                bad: false,
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
            held: Vec::new(),
            acknowledged: 0,
            next_version: 1,
            next_conn: 1,
            trace: Vec::new(),
            tracing: false,
            broken: None,
            counts: Counts::default(),
            checks: 0,
            mistake: None,
            internal: false,
            passes_on: false,
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
        &self.nodes[node].store.as_ref().unwrap().now.sb
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

    /// Sends to the target over a connection that the source had when it took the message out.
    pub fn send_target(&mut self, id: Option<u32>, message: Message) {
        let Self { conns, nodes, .. } = self;
        let open = |conn: &&mut Conn| Some(conn.id) == id && !conn.broken && conn.source_side;
        if let Some(conn) = conns.iter_mut().find(open) {
            if let Message::Write {
                version, resync: false, ..
            } = message
            {
                conn.seen |= 1 << version;
            }
            conn.seen |= nodes[conn.source].as_source().map_or(0, |source| source.volume.seen);
            conn.to_target.push_back(message);
        }
    }

    pub fn send_source(&mut self, conn: u32, message: Message) {
        if let Some(conn) = self.conn(conn).filter(|conn| !conn.broken) {
            conn.to_source.push_back(message);
        }
    }

    /// Gives a disk to the mirror, with metadata that is all new.
    pub fn format(&mut self, node: usize, role: Role) {
        let is_source = role == Role::Source;
        let sb = Superblock {
            mirror_uuid: if is_source { MIRROR } else { [0; 16] },
            node_uuid: self.nodes[node].uuid,
            name: Name::truncated("data"),
            role,
            flags: MetaFlags::NONE.with(MetaFlags::LAST_OWNER, is_source),
            current: if is_source { self.rng.fresh() } else { 0 },
            ..Superblock::default()
        };
        let mut store = Store::new(sb);
        if is_source {
            store.now.dirty[LegNumber::FIRST.index()] = ALL;
        }
        let node = &mut self.nodes[node];
        node.store = Some(store);
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
        match &machine.active {
            Active::Source(source) => source.volume.crash(&mut machine.disk, &mut self.rng),
            Active::Target(Target { own: Some(own), .. }) => own.volume.crash(&mut machine.disk, &mut self.rng),
            _ => machine.disk.crash(&mut self.rng),
        }
        if let Some(store) = &mut machine.store {
            store.reload();
        }
        machine.active = Active::Stopped;
        (machine.up, machine.waiting) = (false, false);
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

    /// A power cut in one of the next writes of metadata, if one comes in this step.
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
        let Some((volume, _, store)) = self.nodes[node].volume() else {
            return Ok(());
        };
        let ended = volume.finish();
        volume.admit();
        let stranded = volume.stranded;
        if self.internal && volume.local.is_gone() && store.lost.is_none() {
            store.lost = Some(Box::new(store.now.clone()));
        }
        if stranded {
            self.fail(format!("{node}: no copy that counts has what is over"));
        }
        for request in ended {
            self.ended(node, &request);
        }
        let Some(source) = self.nodes[node].as_source() else {
            return Ok(());
        };
        let drained = |(leg, it): &&(LegNumber, crate::node::Leg)| {
            let cut = source.volume.leg(*leg).is_some_and(|remote| remote.draining);
            it.machine.state() == State::Pausing && cut && source.volume.is_drained(*leg)
        };
        match source.legs.iter().find(drained).map(|(leg, _)| *leg) {
            Some(leg) => self.fire(node, leg, Event::Drained),
            None => Ok(()),
        }
    }

    /// An application is told what became of its write.
    fn ended(&mut self, node: usize, request: &Request) {
        let (version, chunk) = (request.version, request.chunk);
        if request.failed {
            return self.note(|| format!("{node}: write {version} of chunk {chunk} failed"));
        }
        self.note(|| format!("{node}: write {version} of chunk {chunk} is acknowledged"));
        let bit = 1 << version;
        let Some(source) = self.nodes[node].source() else {
            self.nodes[node].truth.paused |= bit;
            return;
        };
        source.volume.seen |= bit;
        self.counts.threefold += u32::from(source.volume.in_step().len() == 2);
        self.counts.without_disk += u32::from(source.volume.local.is_gone());
        self.counts.acknowledged += 1;
        self.acknowledged |= bit;
        self.check_acknowledged(node, request);
    }

    /// An application writes, on a source or on a target in a pause.
    pub fn write(&mut self, node: usize, chunk: usize) -> Step<()> {
        if self.next_version >= WRITES {
            return Ok(());
        }
        let version = self.next_version;
        let volume = match &mut self.nodes[node].active {
            Active::Source(source) => &mut source.volume,
            Active::Target(target) => match target.own.as_mut().filter(|own| own.front) {
                Some(own) => {
                    own.open = true;
                    &mut own.volume
                }
                None => return Ok(()),
            },
            Active::Stopped => return Ok(()),
        };
        volume.add(crate::volume::Origin::Application, chunk, version);
        self.next_version += 1;
        self.note(|| format!("{node}: write {version} of chunk {chunk}"));
        self.pump(node)
    }

    /// The journal of a machine writes one block.
    pub fn journal(&mut self, node: usize) -> Step<bool> {
        let rng = &mut self.rng;
        let Some((volume, _, store)) = self.nodes[node].volume() else {
            return Ok(false);
        };
        let before = store.now.sb.current;
        let done = volume.journal(store, rng)?;
        let after = store.now.sb.current;
        if before != after {
            let bases = store.now.sb.peers.map(|peer| peer.base);
            self.note(|| format!("{node}: generation {before:x} is over, {after:x} begins, bases {bases:x?}"));
        }
        self.pump(node)?;
        Ok(done)
    }

    pub fn local_done(&mut self, node: usize, id: u32) -> Step<()> {
        let machine = &mut self.nodes[node];
        let bad = machine.bad;
        let source = matches!(machine.active, Active::Source(_));
        if let Some((volume, disk, _)) = machine.volume() {
            let before = volume.local;
            let written = volume.local_done(id, disk, bad && source);
            let after = volume.local;
            if let Some(version) = written.filter(|_| source) {
                volume.seen |= 1 << version;
                machine.truth.seen |= 1 << version;
            }
            if before == LocalDisk::Attached && after != before {
                self.counts.given_up += 1;
                self.note(|| format!("{node}: the disk is given up"));
            }
        }
        self.pump(node)
    }

    pub fn round(&mut self, node: usize) -> Step<()> {
        if let Some((volume, disk, _)) = self.nodes[node].volume() {
            volume.round(disk);
        }
        self.pump(node)
    }

    /// The thread that fills a disk works.
    pub fn rebuild(&mut self, node: usize) -> Step<bool> {
        let machine = &mut self.nodes[node];
        let bad = machine.bad;
        let Some((volume, disk, store)) = machine.volume() else {
            return Ok(false);
        };
        let before = volume.local;
        let done = volume.rebuild(disk, bad, store);
        let (after, seen) = (volume.local, volume.seen);
        if before == LocalDisk::Rebuilding && after == LocalDisk::Attached {
            machine.truth.seen = seen;
            machine.truth.mixed = false;
            self.counts.rebuilt += 1;
            self.note(|| format!("{node}: the disk has everything"));
        }
        let done = done?;
        self.pump(node)?;
        Ok(done)
    }
}

/// A random identity.
fn id(number: u64) -> Id {
    let mut id = [7; 16];
    id[..8].copy_from_slice(&number.to_le_bytes());
    id
}
