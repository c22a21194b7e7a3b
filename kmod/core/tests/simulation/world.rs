// SPDX-License-Identifier: GPL-2.0

//! The machines, the network between them, and time as a sequence of events.

use super::bugs::Bugs;
use super::disk::{Disk, Ledger, ALL, CHUNKS};
use super::meta::Meta;
use super::node::{Active, Conn, ConnId, Message, Node};
use super::volume::{Ended, Volume, Work};
use netraid_core::{
    meta::{MetaFlags, Superblock},
    name::Name,
    state::Role,
    wire::{Id, NO_ID},
};
use std::collections::VecDeque;

/// What all machines of a history have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) nodes: usize,
    /// What was never written needs no copy.
    pub(crate) new: bool,
    /// The first copies are equal.
    pub(crate) prepared: bool,
    pub(crate) no_bitmap: bool,
    /// A bit for each machine whose disk has no cache.
    pub(crate) cacheless: u8,
    pub(crate) bugs: Bugs,
}

impl Config {
    /// Two machines, and nothing special.
    pub(crate) const PAIR: Self = Self {
        nodes: 2,
        new: false,
        prepared: false,
        no_bitmap: false,
        cacheless: 0,
        bugs: Bugs::NONE,
    };
}

/// How often something of interest happened, to see that it does.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) histories: u64,
    pub(crate) events: u64,
    pub(crate) crashes: u64,
    /// A source and its target came in step.
    pub(crate) together: u64,
    /// Starts as source after asking, after the source died, and because an operator said so.
    pub(crate) asked: u64,
    pub(crate) warm: u64,
    pub(crate) forced: u64,
    /// Greetings that were refused because of a split brain, or of newer data.
    pub(crate) split: u64,
    pub(crate) newer: u64,
    /// Writes that were promised.
    pub(crate) promised: u64,
    /// Promised ones that an operator or a documented rule gave up.
    pub(crate) given_up: u64,
    /// Flushes that had nothing to wait for at a target.
    pub(crate) moot: u64,
    /// Connections given up by a target that could not keep its word any more.
    pub(crate) broken_words: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.histories, other.histories),
            (&mut self.events, other.events),
            (&mut self.crashes, other.crashes),
            (&mut self.together, other.together),
            (&mut self.asked, other.asked),
            (&mut self.warm, other.warm),
            (&mut self.forced, other.forced),
            (&mut self.split, other.split),
            (&mut self.newer, other.newer),
            (&mut self.promised, other.promised),
            (&mut self.given_up, other.given_up),
            (&mut self.moot, other.moot),
            (&mut self.broken_words, other.broken_words),
        ];
        for (sum, value) in pairs {
            *sum += value;
        }
    }
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) nodes: Vec<Node>,
    pub(crate) conns: Vec<Conn>,
    pub(crate) ledger: Ledger,
    /// Pairs of machines that can't reach each other.
    cut: Vec<(usize, usize)>,
    numbers: u64,
    pub(crate) counts: Counts,
    /// What is wrong.
    pub(crate) failure: Option<String>,
}

/// The identity of the mirror.
pub(crate) const MIRROR: Id = [9; 16];

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn node_name(node: usize) -> Name {
    name(["adam", "berta", "carl", "dora"][node])
}

/// The port at which a machine listens.
pub(crate) const PORT: u16 = 100;

impl World {
    /// A source, machine 0, and targets that no source has found yet.
    pub(crate) fn new(config: Config) -> Self {
        let mut world = Self {
            config,
            nodes: Vec::new(),
            conns: Vec::new(),
            ledger: Ledger::default(),
            cut: Vec::new(),
            numbers: 100,
            counts: Counts::default(),
            failure: None,
        };
        let mut content = [0; CHUNKS];
        for node in 0..config.nodes {
            if node == 0 || !config.prepared {
                for chunk in &mut content {
                    *chunk = world.ledger.version(None);
                }
            }
            let mut disk = Disk::new(content);
            disk.is_cached = config.cacheless & 1 << node == 0;
            let made = world.node(node, disk);
            world.nodes.push(made);
            world.open_first(node);
        }
        world.ledger.first = (CHUNKS * if config.prepared { 1 } else { config.nodes }) as u32;
        world
    }

    fn node(&mut self, node: usize, disk: Disk) -> Node {
        let config = self.config;
        let source = node == 0;
        let mut sb = Superblock {
            name: name("m"),
            node_uuid: [node as u8 + 1; 16],
            mirror_uuid: if source { MIRROR } else { NO_ID },
            role: if source { Role::Source } else { Role::Target },
            current: if source { self.number() } else { 0 },
            flags: MetaFlags::NONE
                .with(MetaFlags::LAST_OWNER, source)
                .with(MetaFlags::NO_BITMAP, config.no_bitmap)
                .with(MetaFlags::NEW, source && config.new)
                .with(MetaFlags::PREPARED, config.prepared),
            ..Superblock::default()
        };
        if source {
            let geometry = super::meta::geometry();
            (sb.size, sb.chunk_size) = (geometry.size(), geometry.chunk_size());
        }
        let dirty = if source && !config.new && !config.prepared {
            ALL
        } else {
            0
        };
        Node {
            uuid: sb.node_uuid,
            up: true,
            meta: Meta::new(sb, dirty, config.bugs),
            disk,
            active: Active::Stopped,
            op: None,
            instance: self.id(),
            retries: 0,
            door: false,
            guessed: false,
            refused: None,
            luck: 0,
        }
    }

    fn open_first(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        it.active = if it.meta.sb().role == Role::Source {
            Active::Source(Box::new(super::node::Source {
                volume: Volume::new(&it.meta),
                leg: None,
                door: true,
                front: true,
                asked: false,
            }))
        } else {
            Active::Target(Box::default())
        };
    }

    /// A number that was not there before: a generation.
    pub(crate) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// The same as an identity.
    pub(crate) fn id(&mut self) -> Id {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.number().to_le_bytes());
        id
    }

    pub(crate) fn fail(&mut self, what: String) {
        if self.failure.is_none() {
            self.failure = Some(what);
        }
    }

    // The network.

    pub(crate) fn is_cut(&self, a: usize, b: usize) -> bool {
        self.cut.contains(&(a.min(b), a.max(b)))
    }

    pub(crate) fn set_cut(&mut self, a: usize, b: usize, cut: bool) {
        let pair = (a.min(b), a.max(b));
        self.cut.retain(|it| *it != pair);
        if cut {
            self.cut.push(pair);
        }
    }

    /// The machine behind an address.
    pub(crate) fn at_port(&self, port: u16) -> Option<usize> {
        let node = usize::from(port.checked_sub(PORT)?);
        (node < self.nodes.len()).then_some(node)
    }

    /// Whether one machine can speak with another one now.
    pub(crate) fn reaches(&self, from: usize, to: usize) -> bool {
        from != to && !self.is_cut(from, to) && self.nodes[to].up && self.nodes[to].listens()
    }

    pub(crate) fn conn(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.conns.iter_mut().find(|it| it.id == id)
    }

    pub(crate) fn connect(&mut self, source: usize, target: usize) -> ConnId {
        let id = self.number();
        self.conns.push(Conn {
            id,
            source,
            target,
            to_target: VecDeque::new(),
            to_source: VecDeque::new(),
            source_open: true,
            target_open: true,
        });
        id
    }

    /// Sends to the target; false where this side's end is closed.
    pub(crate) fn send_to_target(&mut self, id: ConnId, message: Message) -> bool {
        match self.conn(id).filter(|it| it.source_open) {
            Some(conn) => {
                conn.to_target.push_back(message);
                true
            }
            None => false,
        }
    }

    pub(crate) fn send_to_source(&mut self, id: ConnId, message: Message) {
        if let Some(conn) = self.conn(id).filter(|it| it.target_open) {
            conn.to_source.push_back(message);
        }
    }

    pub(crate) fn close_source(&mut self, id: ConnId) {
        if let Some(conn) = self.conn(id) {
            conn.source_open = false;
        }
        self.forget_closed();
    }

    pub(crate) fn close_target(&mut self, id: ConnId) {
        if let Some(conn) = self.conn(id) {
            conn.target_open = false;
        }
        self.forget_closed();
    }

    fn forget_closed(&mut self) {
        self.conns.retain(|it| it.source_open || it.target_open);
    }

    // Machines.

    /// The power of a machine fails.
    pub(crate) fn crash(&mut self, node: usize, luck: u64) {
        self.counts.crashes += 1;
        for conn in &mut self.conns {
            conn.source_open &= conn.source != node;
            conn.target_open &= conn.target != node;
        }
        self.forget_closed();
        let it = &mut self.nodes[node];
        it.up = false;
        it.active = Active::Stopped;
        it.door = false;
        it.op = None;
        it.meta.fuse = None;
        it.meta.burnt = false;
        it.disk.crash(luck);
    }

    pub(crate) fn boot(&mut self, node: usize) {
        self.nodes[node].up = true;
        self.nodes[node].meta.fuse = None;
    }

    /// An application does something.
    pub(crate) fn submit(&mut self, node: usize, chunk: Option<usize>) {
        let it = &mut self.nodes[node];
        if !it.is_open() {
            return;
        }
        let work = match chunk {
            Some(chunk) => {
                if it.volume().is_some_and(|volume| volume.is_locked(chunk)) {
                    return;
                }
                Work::Write(chunk, self.ledger.version(Some(it.disk.visible(chunk))))
            }
            None => Work::Flush,
        };
        if let Some((volume, _, disk)) = it.parts() {
            volume.submit(work, disk);
        }
    }

    /// What was told to applications since the last event.
    pub(crate) fn take_ended(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        let is_source = matches!(it.active, Active::Source(_));
        if let Some(volume) = it.volume() {
            self.counts.moot += std::mem::take(&mut volume.moot);
        }
        let Some(volume) = it.volume().filter(|it| !it.ended.is_empty()) else {
            return;
        };
        let ended: Vec<Ended> = std::mem::take(&mut volume.ended);
        if !is_source {
            // What is written in a pause is given up by its end.
            volume.confirmed.clear();
            return;
        }
        let confirmed = volume.confirmed.clone();
        for it in ended {
            match it.work {
                Work::Write(chunk, version) => self.check_confirmed(node, chunk, version),
                Work::Flush => {
                    self.counts.promised += it.confirmed as u64;
                    for &(chunk, version) in confirmed.iter().take(it.confirmed) {
                        self.ledger.promise(node, chunk, version);
                    }
                }
            }
        }
    }
}
