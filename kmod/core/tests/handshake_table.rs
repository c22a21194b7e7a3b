// SPDX-License-Identifier: GPL-2.0

//! The decisions of the handshake: every combination of what they depend on, against the tables in
//! the documentation of the module written down a second time.

#![allow(
    clippy::type_complexity,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says all it means in one place"
)]

use netraid_core::handshake::*;
use netraid_core::name::Name;
use netraid_core::state::Role;
use netraid_core::wire::*;

const MIRROR: Id = [1; 16];
const SOURCE: Id = [2; 16];
const OTHER: Id = [3; 16];
const RUN: Id = [4; 16];

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn hello() -> Hello {
    Hello {
        version_minor: 0,
        flags: HelloFlags::NONE,
        features: 0,
        mirror_uuid: MIRROR,
        node_uuid: SOURCE,
        instance: RUN,
        known_instance: NO_ID,
        session: 1,
        size: 1 << 30,
        generation: 1,
        known_generation: 0,
        chunk_size: 65536,
        logical_block_size: 4096,
        max_payload: MAX_PAYLOAD,
        heartbeat_ms: 1000,
        timeout_ms: 5000,
        mirror_name: name("data"),
        node_name: name("eve"),
    }
}

fn target() -> TargetFacts {
    TargetFacts {
        role: Role::Target,
        mirror_name: name("data"),
        node_name: name("adam"),
        mirror_uuid: Some(MIRROR),
        disk_size: 1 << 30,
        logical_block_size: 512,
        connected: None,
        device_in_use: false,
    }
}

fn connected(node_uuid: Id) -> Option<ConnectedSource> {
    Some(ConnectedSource {
        node_uuid,
        node_name: name("seth"),
    })
}

fn refusal(facts: &TargetFacts, hello: &Hello) -> (RefuseCode, String) {
    let refusal = target_decide(facts, hello).unwrap_err();
    (refusal.code, refusal.reason.to_string())
}

/// One question of the target's table, answered with yes.
type Fault = (RefuseCode, fn(&mut TargetFacts, &mut Hello));

/// The questions in the order of the table.
const FAULTS: [Fault; 8] = [
    (RefuseCode::Malformed, |_, hello| hello.timeout_ms = 0),
    (RefuseCode::OtherMirror, |facts, _| facts.mirror_name = name("other")),
    (RefuseCode::NotTarget, |facts, _| facts.role = Role::Source),
    (RefuseCode::OtherUuid, |facts, _| facts.mirror_uuid = Some(OTHER)),
    (RefuseCode::Taken, |facts, _| facts.connected = connected(OTHER)),
    (RefuseCode::TooSmall, |facts, _| facts.disk_size -= 512),
    (RefuseCode::BlockSize, |facts, _| facts.logical_block_size = 8192),
    (RefuseCode::Busy, |facts, _| facts.device_in_use = true),
];

/// Every combination of reasons to refuse: the first one decides, and only none at all is accepted.
#[test]
fn the_first_reason_to_refuse_decides_in_every_combination() {
    for combination in 0u32..1 << FAULTS.len() {
        let (mut facts, mut hello) = (target(), hello());
        let mut expected = None;
        for (index, (code, fault)) in FAULTS.iter().enumerate() {
            if combination >> index & 1 == 1 {
                fault(&mut facts, &mut hello);
                expected = expected.or(Some(*code));
            }
        }
        let decided = target_decide(&facts, &hello);
        assert_eq!(
            decided.err().map(|refusal| refusal.code),
            expected,
            "combination {combination:#b}"
        );
        if let Err(refusal) = decided {
            assert!(
                !refusal.reason.is_empty() && refusal.reason.len() < 255,
                "a whole sentence: {}",
                refusal.reason
            );
        }
    }
}

#[test]
fn a_disk_smaller_by_one_sector_is_refused_with_both_sizes() {
    let facts = TargetFacts {
        disk_size: (1 << 30) - 512,
        ..target()
    };
    let (code, reason) = refusal(&facts, &hello());
    assert_eq!(code, RefuseCode::TooSmall);
    assert!(
        reason.contains("1073741312") && reason.contains("1073741824"),
        "{reason}"
    );
    assert!(target_decide(
        &TargetFacts {
            disk_size: u64::MAX,
            ..target()
        },
        &hello()
    )
    .is_ok());
}

#[test]
fn a_third_machine_is_told_who_is_connected() {
    let facts = TargetFacts {
        connected: connected(OTHER),
        ..target()
    };
    let (code, reason) = refusal(&facts, &hello());
    assert_eq!(code, RefuseCode::Taken);
    assert!(reason.contains("seth") && reason.contains("adam"), "{reason}");
}

#[test]
fn the_same_machine_replaces_its_dead_connection() {
    let facts = TargetFacts {
        connected: connected(SOURCE),
        ..target()
    };
    assert_eq!(
        target_decide(&facts, &hello()),
        Ok(Accept {
            replaces: true,
            binds: false
        })
    );
}

#[test]
fn a_disk_without_a_mirror_is_bound_to_the_first_source() {
    let facts = TargetFacts {
        mirror_uuid: None,
        ..target()
    };
    assert_eq!(
        target_decide(&facts, &hello()),
        Ok(Accept {
            replaces: false,
            binds: true
        })
    );
}

#[test]
fn a_machine_that_is_source_or_has_stopped_keeps_its_disk() {
    for role in [Role::Source, Role::Stopped] {
        let (code, reason) = refusal(&TargetFacts { role, ..target() }, &hello());
        assert_eq!(code, RefuseCode::NotTarget);
        assert!(reason.contains("demote"), "{reason}");
    }
}

#[test]
fn a_paused_source_may_connect_while_the_targets_device_is_open() {
    let facts = TargetFacts {
        device_in_use: true,
        ..target()
    };
    let paused = Hello {
        flags: HelloFlags::PAUSED,
        ..hello()
    };
    assert!(target_decide(&facts, &paused).is_ok());
    let (code, reason) = refusal(&facts, &hello());
    assert_eq!(code, RefuseCode::Busy);
    assert!(reason.contains("open"), "{reason}");
}

#[test]
fn a_hello_that_makes_no_sense_is_refused() {
    let faults: [fn(&mut Hello); 16] = [
        |hello| hello.mirror_uuid = NO_ID,
        |hello| hello.node_uuid = NO_ID,
        |hello| hello.instance = NO_ID,
        |hello| hello.mirror_name = Name::EMPTY,
        |hello| hello.mirror_name = name("a/b"),
        |hello| hello.size = 0,
        |hello| hello.size = 513,
        |hello| hello.size = 512,
        |hello| hello.chunk_size = 65535,
        |hello| hello.logical_block_size = 256,
        |hello| hello.logical_block_size = 3 << 10,
        |hello| hello.logical_block_size = 1 << 17,
        |hello| hello.heartbeat_ms = 49,
        |hello| hello.timeout_ms = 600_001,
        |hello| hello.max_payload = 512,
        |hello| hello.max_payload = 65537,
    ];
    for (index, fault) in faults.iter().enumerate() {
        let mut hello = hello();
        fault(&mut hello);
        assert_eq!(refusal(&target(), &hello).0, RefuseCode::Malformed, "fault {index}");
    }
}

fn source() -> SourceFacts {
    SourceFacts {
        session: 1,
        features: features::PAYLOAD_CRC,
        size: 1 << 30,
        logical_block_size: 4096,
        known_instance: Some(RUN),
        known_generation: 8,
        offered_generation: 9,
        dirty_chunks: 0,
        paused: false,
        full: false,
    }
}

fn welcome() -> Welcome {
    Welcome {
        version_minor: 0,
        flags: WelcomeFlags::NONE,
        features: 0,
        node_uuid: OTHER,
        instance: RUN,
        known_instance: RUN,
        session: 1,
        size: 1 << 30,
        generation: 8,
        logical_block_size: 512,
        max_payload: MAX_PAYLOAD,
        node_name: name("adam"),
    }
}

/// What the plan should be, written as the promise it keeps: marks are believed only when they
/// speak of this very run of the target and of data that this source gave it.
fn promised(facts: &SourceFacts, welcome: &Welcome) -> Plan {
    let has = |flag| welcome.flags.contains(flag);
    let believed = facts.known_instance == Some(welcome.instance)
        && (welcome.generation == facts.known_generation || welcome.generation == facts.offered_generation)
        && !has(WelcomeFlags::FRESH)
        && !facts.full;
    let merge_map = has(WelcomeFlags::HAS_MAP);
    match (facts.paused, believed) {
        (true, _) => Plan::StayPaused {
            full: !believed,
            merge_map,
        },
        (false, false) => Plan::Full,
        (false, true) if facts.dirty_chunks > 0 || merge_map || has(WelcomeFlags::INCONSISTENT) => {
            Plan::Partial { merge_map }
        }
        (false, true) => Plan::InSync,
    }
}

/// All 3 * 3 * 4 * 2^6 combinations of what the plan depends on. Covers: S24, S25.
#[test]
fn the_plan_keeps_its_promise_in_every_combination() {
    let mut seen = [0u32; 4];
    for known_instance in [None, Some(RUN), Some(OTHER)] {
        for dirty_chunks in [0, 1, u64::MAX] {
            for generation in [0, 7, 8, 9] {
                for bits in 0u32..64 {
                    let bit = |number: u32| bits >> number & 1 == 1;
                    let facts = SourceFacts {
                        known_instance,
                        dirty_chunks,
                        paused: bit(0),
                        full: bit(1),
                        ..source()
                    };
                    let flags = WelcomeFlags::NONE
                        .with(WelcomeFlags::INCONSISTENT, bit(2))
                        .with(WelcomeFlags::FRESH, bit(3))
                        .with(WelcomeFlags::HAS_MAP, bit(4))
                        .with(WelcomeFlags::DISCARD_OK, bit(5));
                    let welcome = Welcome {
                        flags,
                        generation,
                        ..welcome()
                    };
                    let plan = source_decide(&facts, &welcome);
                    assert_eq!(plan, promised(&facts, &welcome), "{facts:?} {welcome:?}");
                    seen[match plan {
                        Plan::InSync => 0,
                        Plan::Partial { .. } => 1,
                        Plan::Full => 2,
                        Plan::StayPaused { .. } => 3,
                        Plan::Refuse(code) => panic!("refused with {code:?}"),
                    }] += 1;
                }
            }
        }
    }
    assert!(seen.iter().all(|&times| times > 0), "every plan occurs: {seen:?}");
}

#[test]
fn an_interrupted_resync_of_the_same_instance_goes_on_with_the_marks() {
    let welcome = Welcome {
        flags: WelcomeFlags::INCONSISTENT,
        ..welcome()
    };
    let facts = SourceFacts {
        dirty_chunks: 5,
        ..source()
    };
    assert_eq!(source_decide(&facts, &welcome), Plan::Partial { merge_map: false });
    let nothing_left = SourceFacts {
        dirty_chunks: 0,
        ..facts
    };
    assert_eq!(
        source_decide(&nothing_left, &welcome),
        Plan::Partial { merge_map: false }
    );
}

#[test]
fn a_restarted_target_is_copied_in_full() {
    let welcome = Welcome {
        instance: OTHER,
        ..welcome()
    };
    assert_eq!(source_decide(&source(), &welcome), Plan::Full);
}

#[test]
fn a_welcome_that_breaks_an_agreement_is_refused() {
    let cases: [(RefuseCode, fn(&mut Welcome)); 8] = [
        (RefuseCode::Malformed, |welcome| welcome.session = 2),
        (RefuseCode::Malformed, |welcome| welcome.features = features::LZ4),
        (RefuseCode::Malformed, |welcome| welcome.instance = NO_ID),
        (RefuseCode::Malformed, |welcome| welcome.node_uuid = NO_ID),
        (RefuseCode::Malformed, |welcome| welcome.logical_block_size = 0),
        (RefuseCode::Malformed, |welcome| welcome.max_payload = 2048),
        (RefuseCode::TooSmall, |welcome| welcome.size -= 512),
        (RefuseCode::BlockSize, |welcome| welcome.logical_block_size = 8192),
    ];
    for (code, fault) in cases {
        let mut welcome = welcome();
        fault(&mut welcome);
        assert_eq!(source_decide(&source(), &welcome), Plan::Refuse(code));
        let paused = SourceFacts {
            paused: true,
            ..source()
        };
        assert_eq!(source_decide(&paused, &welcome), Plan::Refuse(code), "paused or not");
    }
}

#[test]
fn the_smaller_of_both_limits_holds() {
    assert_eq!(payload_limit(4096), 4096);
    assert_eq!(payload_limit(u32::MAX), MAX_PAYLOAD);
}
