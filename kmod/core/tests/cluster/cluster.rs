// SPDX-License-Identifier: GPL-2.0

//! All machines and what is between them.

use crate::counts::Counts;
use crate::disk::{Disk, Version};
use crate::mistake::Mistake;
use crate::net::{Conn, Message};
use crate::node::{Active, Node, Truth};
use crate::order::Log;
use crate::rng::Rng;
use crate::shape::{Kind, Shape};
use crate::store::{Fuse, PowerCut, Store, ALL};
use netraid_core::legs::LegNumber;
use netraid_core::meta::{MetaFlags, Superblock};
use netraid_core::name::Name;
use netraid_core::state::Role;
use netraid_core::wire::Id;

const MIRROR: Id = [9; 16];

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
    /// Nobody flushes by himself.
    pub unflushed: bool,
    /// What one machine sends to another arrives later.
    pub held: Vec<(usize, usize)>,
    /// Writes that were acknowledged to an application.
    pub acknowledged: u128,
    /// For each machine, writes that were acknowledged before it had them as an asynchronous target.
    pub lagging: Vec<u128>,
    /// When each write began and was acknowledged.
    pub log: Log,
    /// How many sources there have been.
    pub lives: u32,
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
    pub shape: Shape,
}

impl Cluster {
    /// Machines whose disks are not the mirror's yet.
    pub fn new(seed: u64, shape: Shape) -> Self {
        let mut rng = Rng::new(seed);
        let nodes = (0..shape.nodes)
            .map(|index| Node {
                uuid: [u8::try_from(index).unwrap() + 1; 16],
                instance: id(rng.fresh()),
                up: true,
                booting: false,
                waiting: false,
                disk: Disk::new(match shape.kind {
                    Kind::Prepared => 200,
                    Kind::Plain | Kind::NoBitmap => 200 * (u32::try_from(index).unwrap() + 1),
                }),
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
            unflushed: false,
            held: Vec::new(),
            acknowledged: 0,
            lagging: vec![0; shape.nodes],
            log: Log::default(),
            lives: 1,
            next_version: 1,
            next_conn: 1,
            trace: Vec::new(),
            tracing: false,
            broken: None,
            counts: Counts::default(),
            checks: 0,
            mistake: None,
            shape,
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

    /// Every machine.
    pub fn all(&self) -> std::ops::Range<usize> {
        0..self.nodes.len()
    }

    /// Gives a disk to the mirror, with metadata that is all new.
    pub fn format(&mut self, node: usize, role: Role, flags: MetaFlags) {
        let is_source = role == Role::Source;
        let kind = self.shape.kind;
        let sb = Superblock {
            mirror_uuid: if is_source { MIRROR } else { [0; 16] },
            node_uuid: self.nodes[node].uuid,
            name: Name::truncated("data"),
            role,
            flags: flags.with(MetaFlags::LAST_OWNER, is_source),
            current: if is_source { self.rng.fresh() } else { 0 },
            ..Superblock::default()
        };
        let mut store = Store::new(sb);
        if is_source && kind != Kind::Prepared {
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
            Active::Target(target) => {
                for write in &target.under_way {
                    if self.rng.one_in(2) {
                        machine.disk.write(write.chunk, write.version);
                    }
                }
                match &target.own {
                    Some(own) => own.volume.crash(&mut machine.disk, &mut self.rng),
                    None => machine.disk.crash(&mut self.rng),
                }
            }
            Active::Stopped => machine.disk.crash(&mut self.rng),
        }
        // What was under way may be there, or not.
        if machine.is_usable() {
            machine.truth.seen |= machine.disk.writes();
        }
        if let Some(store) = &mut machine.store {
            // What is left on a disk that was given up is no loss.
            machine.truth.gave_up |= store.lost.is_some();
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
}

/// A random identity.
fn id(number: u64) -> Id {
    let mut id = [7; 16];
    id[..8].copy_from_slice(&number.to_le_bytes());
    id
}
