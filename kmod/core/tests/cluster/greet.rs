// SPDX-License-Identifier: GPL-2.0

//! What machines say of themselves, made of what is on record.

use crate::disk::CHUNKS;
use crate::node::{generations, port, Node};
use netraid_core::handshake::{SourceFacts, TargetFacts};
use netraid_core::legs::LegNumber;
use netraid_core::meta::{MetaFlags, PeerFlags, Superblock};
use netraid_core::name::Name;
use netraid_core::state::Role;
use netraid_core::wire::{Hello, HelloFlags, Id, Welcome, WelcomeFlags, MAX_PAYLOAD, NO_ID, VERSION_MINOR};

const CHUNK_SIZE: u32 = 65_536;
const SIZE: u64 = CHUNKS as u64 * CHUNK_SIZE as u64;

/// What a source, or one who asks, says of itself to the machine that is noted in a place.
pub fn hello(number: usize, node: &Node, sb: &Superblock, place: LegNumber, flags: HelloFlags) -> Hello {
    let peer = &sb.peers[place.index()];
    let mine = generations(sb, &peer.uuid);
    Hello {
        priorities: netraid_core::priority::Priorities::NONE,
        version_minor: VERSION_MINOR,
        flags: flags
            .with(HelloFlags::PREPARED, sb.flags.contains(MetaFlags::PREPARED))
            .with(HelloFlags::OWNER, sb.flags.contains(MetaFlags::LAST_OWNER)),
        features: 0,
        mirror_uuid: sb.mirror_uuid,
        node_uuid: node.uuid,
        instance: node.instance,
        known_instance: peer.instance,
        session: 1,
        size: SIZE,
        generation: mine.current,
        known_generation: mine.base,
        history: mine.history,
        listen_port: port(number),
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
pub fn source_facts(sb: &Superblock, place: LegNumber, welcome: &Welcome, paused: bool) -> SourceFacts {
    let peer = &sb.peers[place.index()];
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
        is_new: false,
        paused,
        full: peer.flags.contains(PeerFlags::FULL),
        recent: if peer.flags.contains(PeerFlags::RECENT) {
            peer.base
        } else {
            0
        },
        unknown: peer.flags.contains(PeerFlags::UNKNOWN),
    }
}

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

/// What a target can tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tells {
    /// What it wrote itself.
    pub map: bool,
    /// What it was sent of late.
    pub recent: bool,
}

/// How a machine stands, for a source or one who asks.
pub fn welcome(sb: &Superblock, role: Role, tells: Tells, instance: Id, hello: &Hello) -> Welcome {
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
        priority: None,
        version_minor: VERSION_MINOR,
        flags: said
            .with(WelcomeFlags::FRESH, mine.current == 0)
            .with(WelcomeFlags::HAS_MAP, tells.map)
            .with(WelcomeFlags::RECENT, tells.recent),
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
    }
}
