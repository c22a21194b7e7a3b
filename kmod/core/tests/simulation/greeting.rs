// SPDX-License-Identifier: GPL-2.0

//! Greetings, made of what is kept, as `leg/greeting.rs` and `leg/ask.rs` have them.

use super::bugs::Bugs;
use super::meta::{generations, geometry, Meta};
use super::node::{Active, Node, Op};
use super::world::{name, node_name, World, PORT};
use netraid_core::{
    handshake::{generations_of_target, target_decide, target_features, ConnectedSource, TargetFacts, Verdict},
    meta::MetaFlags,
    name::Text,
    ownership::{Answer, Heard, Peer},
    wire::{features, Hello, HelloFlags, Id, Refuse, Welcome, WelcomeFlags, MAX_PAYLOAD, NO_ID, VERSION_MINOR},
};

const SESSION: u64 = 7;
const BLOCK: u32 = 4096;

/// The greeting of a source, or of one who asks.
pub(crate) fn hello(node: usize, it: &Node, flags: HelloFlags) -> Hello {
    let (sb, peer) = (it.meta.sb(), it.meta.peer());
    let mine = generations(sb, &peer.uuid);
    Hello {
        version_minor: VERSION_MINOR,
        flags: flags
            .with(HelloFlags::PREPARED, it.meta.has(MetaFlags::PREPARED))
            .with(HelloFlags::NEW, it.meta.has(MetaFlags::NEW))
            .with(HelloFlags::OWNER, it.meta.has(MetaFlags::LAST_OWNER)),
        features: features::DURABLE,
        mirror_uuid: sb.mirror_uuid,
        node_uuid: it.uuid,
        instance: it.instance,
        known_instance: peer.instance,
        session: SESSION,
        size: geometry().size(),
        generation: mine.current,
        known_generation: mine.base,
        history: mine.history,
        listen_port: PORT + node as u16,
        priorities: netraid_core::priority::Priorities::NONE,
        chunk_size: geometry().chunk_size(),
        logical_block_size: BLOCK,
        max_payload: MAX_PAYLOAD,
        heartbeat_ms: 1000,
        timeout_ms: 5000,
        mirror_name: name("m"),
        node_name: node_name(node),
    }
}

/// Whether a target has something to tell that it wrote itself.
fn has_own_data(it: &Node) -> bool {
    matches!(&it.active, Active::Target(target) if target.paused.is_some())
}

/// How a machine stands, for a source or one who asks.
pub(crate) fn welcome(node: usize, it: &Node, asks: &Id) -> Welcome {
    welcome_of(node, it, &it.meta, asks, has_own_data(it))
}

/// The same, of metadata that may be other than that of the machine.
pub(crate) fn welcome_of(node: usize, it: &Node, meta: &Meta, asks: &Id, has_map: bool) -> Welcome {
    let mine = meta.generations(asks);
    let flags = [
        (WelcomeFlags::INCONSISTENT, MetaFlags::INCONSISTENT),
        (WelcomeFlags::PREPARED, MetaFlags::PREPARED),
        (WelcomeFlags::YIELDED, MetaFlags::YIELDED),
        (WelcomeFlags::SPLIT_BRAIN, MetaFlags::SPLIT_BRAIN),
        (WelcomeFlags::LAST_OWNER, MetaFlags::LAST_OWNER),
    ];
    let said = flags
        .into_iter()
        .fold(WelcomeFlags::NONE, |all, (said, known)| all.with(said, meta.has(known)));
    Welcome {
        version_minor: VERSION_MINOR,
        flags: said
            .with(WelcomeFlags::FRESH, mine.current == 0)
            .with(WelcomeFlags::HAS_MAP, has_map),
        features: target_features(it.disk.is_cached) & features::DURABLE,
        node_uuid: it.uuid,
        instance: it.instance,
        known_instance: NO_ID,
        session: SESSION,
        size: geometry().size(),
        generation: mine.current,
        base: mine.base,
        history: mine.history,
        role: it.role(),
        priority: None,
        logical_block_size: BLOCK,
        max_payload: MAX_PAYLOAD,
        node_name: node_name(node),
    }
}

/// What a source knows when it reads a welcome.
pub(crate) fn source_facts(meta: &Meta, target: &Id, paused: bool) -> netraid_core::handshake::SourceFacts {
    use netraid_core::meta::PeerFlags;
    let peer = meta.peer();
    netraid_core::handshake::SourceFacts {
        session: SESSION,
        features: features::DURABLE,
        size: geometry().size(),
        logical_block_size: BLOCK,
        mine: meta.generations(target),
        known_node: peer.uuid,
        known_instance: peer.instance,
        prepared: meta.has(MetaFlags::PREPARED),
        shared: meta.has(MetaFlags::SHARED),
        is_new: meta.has(MetaFlags::NEW),
        paused,
        full: peer.flags.contains(PeerFlags::FULL),
        recent: 0,
        unknown: false,
    }
}

impl World {
    /// What a machine answers to a greeting, by the rules of the crate.
    #[expect(clippy::result_large_err, reason = "as the function of the crate that it calls")]
    pub(crate) fn answer(&self, node: usize, hello: &Hello) -> Result<Verdict, Refuse> {
        let it = &self.nodes[node];
        let (connected, device_in_use) = match &it.active {
            Active::Target(target) => (target.connected, false),
            Active::Source(_) | Active::Stopped => (false, false),
        };
        let source = it.meta.peer();
        target_decide(
            &TargetFacts {
                role: it.role(),
                mirror_name: name("m"),
                local_name: name("m"),
                node_name: node_name(node),
                node_uuid: it.meta.sb().node_uuid,
                same_machine: false,
                mirror_uuid: Some(it.meta.sb().mirror_uuid).filter(|uuid| *uuid != NO_ID),
                disk_size: geometry().size(),
                logical_block_size: BLOCK,
                connected: connected.then_some(ConnectedSource {
                    node_uuid: source.uuid,
                    node_name: node_name(node),
                }),
                device_in_use,
                mine: it.meta.generations(&hello.node_uuid),
                yielded: it.meta.has(MetaFlags::YIELDED),
            },
            hello,
        )
    }

    /// Whether a machine is about to be source.
    fn is_starting(&self, node: usize) -> bool {
        matches!(
            self.nodes[node].op,
            Some(Op::Ask(..) | Op::Decide(..) | Op::Become(_, _, netraid_core::state::Role::Source))
        )
    }

    /// Asks the other machine that is known; `heard` says whether the network lets it through. `None` where none is.
    pub(crate) fn ask(&self, node: usize, heard: bool) -> Option<Peer> {
        let it = &self.nodes[node];
        let peer = it.meta.peer();
        let other = self.at_port(peer.port)?;
        it.meta.sb().geometry()?;
        let mine = it.meta.generations(&peer.uuid);
        if !heard || !self.reaches(node, other) {
            return Some(Peer {
                mine,
                counts: true,
                heard: Heard::Nothing,
            });
        }
        if self.is_starting(other) && !self.config.bugs.has(Bugs::ANSWERS_WHILE_STARTING) {
            return Some(Peer {
                mine,
                counts: true,
                heard: Heard::Refused(Text::truncated("busy")),
            });
        }
        let heard = match self.answer(other, &hello(node, it, HelloFlags::ASK)) {
            Ok(_) => {
                let told = welcome(other, &self.nodes[other], &it.uuid);
                Heard::Answer(Answer {
                    node: told.node_name,
                    role: told.role,
                    yielded: told.flags.contains(WelcomeFlags::YIELDED),
                    inconsistent: told.flags.contains(WelcomeFlags::INCONSISTENT),
                    generations: generations_of_target(&told),
                })
            }
            Err(refusal) => Heard::Refused(refusal.sentence()),
        };
        Some(Peer {
            mine,
            counts: true,
            heard,
        })
    }
}
