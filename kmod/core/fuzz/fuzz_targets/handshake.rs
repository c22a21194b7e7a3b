// SPDX-License-Identifier: GPL-2.0

//! Whatever two machines hold and say, the decisions of both about it are such that no data is lost by them: a target
//! with newer data is not written to, a source does not accept a target on which its mirror has no room.
//!
//! The first bytes say what this side holds, the rest is the payload of a Hello or a Welcome.

#![no_main]

use libfuzzer_sys::fuzz_target;
use netraid_core::chunk::Geometry;
use netraid_core::generation::{relation, Generations, Relation};
use netraid_core::handshake::{
    generations_of_source, generations_of_target, source_decide, target_decide, ConnectedSource, Copying, Plan,
    SourceFacts, TargetFacts, Verdict,
};
use netraid_core::name::Name;
use netraid_core::state::Role;
use netraid_core::wire::{Hello, HelloFlags, Welcome, WelcomeFlags, NO_ID};

fn generations(from: &[u8; 4]) -> Generations {
    // Few numbers, so that they are often the same as those in the payload.
    let [current, base, one, two] = from.map(|byte| u64::from(byte % 10));
    Generations {
        current,
        base,
        history: [one, two, 0, 0, 0, 0, 0, 0],
    }
}

fn as_target(mine: Generations, switches: u8, hello: &Hello) {
    let has = |bit: u8| switches & bit != 0;
    let facts = TargetFacts {
        role: [Role::Target, Role::Target, Role::Source, Role::Stopped][usize::from(switches & 3)],
        mirror_name: hello.mirror_name,
        local_name: hello.mirror_name,
        node_name: Name::truncated("adam"),
        node_uuid: [8; 16],
        same_machine: false,
        mirror_uuid: has(4).then_some(hello.mirror_uuid),
        disk_size: 64 << 20,
        logical_block_size: 512,
        connected: has(8).then_some(ConnectedSource {
            node_uuid: if has(16) { hello.node_uuid } else { [9; 16] },
            node_name: Name::truncated("abel"),
        }),
        device_in_use: has(32),
        mine,
        yielded: has(64),
    };
    match target_decide(&facts, hello) {
        Ok(Verdict::Tell) => assert!(hello.flags.contains(HelloFlags::ASK)),
        Ok(Verdict::Accept(_)) => {
            assert_eq!(facts.role, Role::Target);
            assert!(Geometry::new(hello.size, hello.chunk_size).is_ok());
            assert!(hello.size <= facts.disk_size);
            assert!(hello.mirror_uuid != NO_ID && hello.node_uuid != NO_ID && hello.instance != NO_ID);
            assert!(facts.connected.is_none_or(|other| other.node_uuid == hello.node_uuid));
            let theirs = generations_of_source(hello);
            assert!(facts.yielded || !relation(&theirs, &mine).peer_is_newer());
            assert!(!facts.device_in_use || hello.flags.contains(HelloFlags::PAUSED));
        }
        Err(refusal) => assert!(!refusal.reason.is_empty()),
    }
}

fn as_source(mine: Generations, switches: u8, welcome: &Welcome) {
    let has = |bit: u8| switches & bit != 0;
    let facts = SourceFacts {
        session: welcome.session,
        features: 0,
        size: 64 << 20,
        logical_block_size: 4096,
        mine,
        known_node: if has(1) { welcome.node_uuid } else { NO_ID },
        known_instance: if has(2) { welcome.instance } else { [9; 16] },
        prepared: has(4),
        shared: has(7),
        is_new: has(8),
        paused: has(16),
        full: has(32),
        recent: if has(64) { mine.base } else { 0 },
        unknown: has(128),
    };
    if let Plan::Agree(agreement) = source_decide(&facts, welcome) {
        assert!(welcome.size >= facts.size && welcome.logical_block_size <= facts.logical_block_size);
        let related = relation(&mine, &generations_of_target(welcome));
        let yielded = welcome.flags.contains(WelcomeFlags::YIELDED);
        assert!(yielded || !(related.peer_is_newer() || related.is_fork()));
        let known = agreement.copying != Copying::Marked || related == Relation::PeerFresh;
        assert!(!facts.unknown || known);
        assert!(!facts.full || agreement.copying == Copying::Everything);
        let tells = agreement.copying == Copying::Marked && welcome.flags.contains(WelcomeFlags::RECENT);
        assert!(agreement.merge_map || !welcome.flags.contains(WelcomeFlags::HAS_MAP));
        assert!(tells || agreement.merge_map == welcome.flags.contains(WelcomeFlags::HAS_MAP));
        // Marks that are only one half are believed only together with the other one.
        let half = facts.recent != 0 && agreement.copying == Copying::Marked && related != Relation::PeerFresh;
        assert!(!half || (tells && agreement.merge_map));
    }
}

fuzz_target!(|data: &[u8]| {
    let Some(([switches, mine @ ..], payload)) = data.split_first_chunk::<5>() else {
        return;
    };
    let mine = generations(mine);
    if let Ok(hello) = Hello::decode(payload) {
        as_target(mine, *switches, &hello);
    }
    if let Ok(welcome) = Welcome::decode(payload) {
        as_source(mine, *switches, &welcome);
    }
});
