// SPDX-License-Identifier: GPL-2.0

//! What the machines of the world say to each other, of which only the generations and flags differ.

use super::world::Machine;
use netraid_core::generation::Generations;
use netraid_core::handshake::{SourceFacts, TargetFacts};
use netraid_core::name::Name;
use netraid_core::state::Role;
use netraid_core::wire::*;

const SIZE: u64 = 1 << 20;
const MIRROR: Id = [1; 16];
const TARGET: Id = [2; 16];
const RUN: Id = [3; 16];

pub(crate) fn hello(source: &Generations) -> Hello {
    Hello {
        version_minor: VERSION_MINOR,
        flags: HelloFlags::NONE,
        features: 0,
        mirror_uuid: MIRROR,
        node_uuid: [4; 16],
        instance: RUN,
        known_instance: RUN,
        session: 1,
        size: SIZE,
        generation: source.current,
        known_generation: source.base,
        chunk_size: 65536,
        logical_block_size: 512,
        max_payload: MAX_PAYLOAD,
        heartbeat_ms: 1000,
        timeout_ms: 5000,
        mirror_name: Name::truncated("data"),
        node_name: Name::truncated("source"),
        history: source.history,
        listen_port: 0,
        priorities: netraid_core::priority::Priorities::NONE,
    }
}

pub(crate) fn target_facts(target: &Machine, source: usize) -> TargetFacts {
    TargetFacts {
        role: Role::Target,
        mirror_name: Name::truncated("data"),
        local_name: Name::truncated("data"),
        node_name: Name::truncated("target"),
        node_uuid: [0x7a; 16],
        same_machine: false,
        mirror_uuid: Some(MIRROR),
        disk_size: SIZE,
        logical_block_size: 512,
        connected: None,
        device_in_use: false,
        mine: target.generations(source),
        yielded: target.yielded,
    }
}

pub(crate) fn welcome(target: &Machine, source: usize) -> Welcome {
    let mine = target.generations(source);
    Welcome {
        version_minor: VERSION_MINOR,
        flags: WelcomeFlags::NONE
            .with(WelcomeFlags::INCONSISTENT, target.inconsistent.is_some())
            .with(WelcomeFlags::HAS_MAP, target.marks[source] != 0)
            .with(WelcomeFlags::YIELDED, target.yielded),
        features: 0,
        node_uuid: TARGET,
        instance: RUN,
        known_instance: RUN,
        session: 1,
        size: SIZE,
        generation: mine.current,
        logical_block_size: 512,
        max_payload: MAX_PAYLOAD,
        node_name: Name::truncated("target"),
        base: mine.base,
        history: mine.history,
        role: Role::Target,
        priority: None,
    }
}

pub(crate) fn source_facts(source: &Machine, target: usize) -> SourceFacts {
    SourceFacts {
        session: 1,
        features: 0,
        size: SIZE,
        logical_block_size: 512,
        mine: source.generations(target),
        known_node: TARGET,
        known_instance: RUN,
        prepared: false,
        shared: source.shared,
        is_new: false,
        paused: false,
        full: false,
        recent: 0,
        unknown: false,
    }
}
