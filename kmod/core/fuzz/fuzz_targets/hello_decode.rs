// SPDX-License-Identifier: GPL-2.0

//! Any payload of the handshake is understood or refused, what is understood is encoded to the same
//! bytes, and the decisions about it are made without a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use netraid_core::generation::Generations;
use netraid_core::handshake::{source_decide, target_decide, SourceFacts, TargetFacts};
use netraid_core::name::Name;
use netraid_core::state::Role;
use netraid_core::wire::{map_words, Ack, Hello, Refuse, Reply, Welcome};

fn generations() -> Generations {
    Generations {
        current: 1,
        base: 2,
        history: [2, 3, 4, 5, 6, 7, 8, 9],
    }
}

fn target() -> TargetFacts {
    TargetFacts {
        role: Role::Target,
        mirror_name: Name::truncated("data"),
        local_name: Name::truncated("data"),
        node_name: Name::truncated("adam"),
        node_uuid: [8; 16],
        same_machine: false,
        mirror_uuid: None,
        disk_size: 1 << 30,
        logical_block_size: 512,
        connected: None,
        device_in_use: false,
        mine: generations(),
        yielded: false,
    }
}

fn source(welcome: &Welcome) -> SourceFacts {
    SourceFacts {
        session: welcome.session,
        features: u64::MAX,
        size: 1 << 30,
        logical_block_size: 4096,
        mine: generations(),
        known_node: welcome.node_uuid,
        known_instance: welcome.instance,
        prepared: false,
        shared: false,
        is_new: false,
        paused: false,
        full: false,
        recent: 0,
        unknown: false,
    }
}

fuzz_target!(|data: &[u8]| {
    if let Ok(hello) = Hello::decode(data) {
        assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
        let mut facts = target();
        if let Err(refusal) = target_decide(&facts, &hello) {
            assert!(!refusal.reason.is_empty());
        }
        facts.mirror_name = hello.mirror_name;
        let _ = target_decide(&facts, &hello);
        facts.role = Role::Source;
        facts.mirror_uuid = Some(hello.mirror_uuid);
        let _ = target_decide(&facts, &hello);
    }
    if let Ok(welcome) = Welcome::decode(data) {
        assert_eq!(Welcome::decode(&welcome.encode()), Ok(welcome));
        let _ = source_decide(&source(&welcome), &welcome);
    }
    let mut buffer = [0; netraid_core::wire::REPLY_MAX_LEN];
    if let Ok(refuse) = Refuse::decode(data) {
        assert_eq!(Refuse::decode(refuse.encode(&mut buffer)), Ok(refuse));
        assert!(!refuse.sentence().is_empty());
    }
    if let Ok(reply) = Reply::decode(data) {
        assert_eq!(Reply::decode(reply.encode(&mut buffer)), Ok(reply));
    }
    assert_eq!(Ack::decode_all(data).count(), data.len() / 16);
    assert_eq!(map_words(data).count(), data.len() / 8);
});
