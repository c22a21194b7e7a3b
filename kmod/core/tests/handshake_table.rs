// SPDX-License-Identifier: GPL-2.0

//! The target's side of the handshake: every combination of what it depends on, against the table
//! in the documentation of the module written down a second time.

#![allow(
    clippy::type_complexity,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says all it means in one place"
)]

use netraid_core::generation::Generations;
use netraid_core::handshake::*;
use netraid_core::name::Name;
use netraid_core::state::Role;
use netraid_core::wire::*;

const MIRROR: Id = [1; 16];
const SOURCE: Id = [2; 16];
const OTHER: Id = [3; 16];
const ADAM: Id = [5; 16];
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
        generation: 5,
        known_generation: 0,
        chunk_size: 65536,
        logical_block_size: 4096,
        max_payload: MAX_PAYLOAD,
        heartbeat_ms: 1000,
        timeout_ms: 5000,
        mirror_name: name("data"),
        node_name: name("eve"),
        history: [4, 3, 0, 0, 0, 0, 0, 0],
        listen_port: 0,
        priorities: netraid_core::priority::Priorities::NONE,
    }
}

fn target() -> TargetFacts {
    TargetFacts {
        role: Role::Target,
        mirror_name: name("data"),
        local_name: name("data"),
        node_name: name("adam"),
        node_uuid: ADAM,
        same_machine: false,
        mirror_uuid: Some(MIRROR),
        disk_size: 1 << 30,
        logical_block_size: 512,
        connected: None,
        device_in_use: false,
        mine: FRESH,
        yielded: false,
    }
}

const FRESH: Generations = at(0, 0, 0);

const ACCEPT: Accept = Accept {
    replaces: false,
    binds: false,
};

const fn at(current: u64, base: u64, older: u64) -> Generations {
    Generations {
        current,
        base,
        history: [older, 0, 0, 0, 0, 0, 0, 0],
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
const FAULTS: [Fault; 10] = [
    (RefuseCode::Malformed, |_, hello| hello.timeout_ms = 0),
    (RefuseCode::OtherMirror, |facts, _| facts.mirror_name = name("other")),
    (RefuseCode::OtherUuid, |facts, _| facts.mirror_uuid = Some(OTHER)),
    (RefuseCode::SameMachine, |facts, _| facts.node_uuid = SOURCE),
    (RefuseCode::NotTarget, |facts, _| facts.role = Role::Source),
    (RefuseCode::Taken, |facts, _| facts.connected = connected(OTHER)),
    (RefuseCode::TooSmall, |facts, _| facts.disk_size -= 512),
    (RefuseCode::BlockSize, |facts, _| facts.logical_block_size = 8192),
    (RefuseCode::Newer, |facts, _| facts.mine = at(6, 0, 5)),
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
        Ok(Verdict::Accept(Accept {
            replaces: true,
            ..ACCEPT
        }))
    );
}

#[test]
fn a_source_on_the_same_machine_needs_permission() {
    let facts = TargetFacts {
        node_uuid: SOURCE,
        ..target()
    };
    let (code, reason) = refusal(&facts, &hello());
    assert_eq!(code, RefuseCode::SameMachine);
    assert!(
        reason.contains("--same-machine") && reason.contains("machine-id"),
        "{reason}"
    );
    let permitted = TargetFacts {
        same_machine: true,
        ..facts
    };
    assert_eq!(target_decide(&permitted, &hello()), Ok(Verdict::Accept(ACCEPT)));
    // The permission holds for nothing else.
    let (code, _) = refusal(
        &TargetFacts {
            mirror_uuid: Some(OTHER),
            ..permitted
        },
        &hello(),
    );
    assert_eq!(code, RefuseCode::OtherUuid);
}

#[test]
fn what_the_source_is_told_to_do_there_has_the_name_there() {
    let facts = TargetFacts {
        local_name: name("copy"),
        mine: at(6, 0, 5),
        ..target()
    };
    let (_, reason) = refusal(&facts, &hello());
    assert!(reason.contains("resolve copy --keep eve"), "{reason}");
}

#[test]
fn a_disk_without_a_mirror_is_bound_to_the_first_source() {
    let facts = TargetFacts {
        mirror_uuid: None,
        ..target()
    };
    assert_eq!(
        target_decide(&facts, &hello()),
        Ok(Verdict::Accept(Accept { binds: true, ..ACCEPT }))
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

/// What a disk holds, seen from the source with current generation 5 and history 4, 3, and the source's base for it.
const HOLDINGS: [(&str, Generations, u64); 9] = [
    ("nothing", FRESH, 0),
    ("same", at(5, 0, 0), 0),
    ("older", at(4, 0, 3), 4),
    ("far older", at(3, 0, 2), 4),
    ("newer", at(6, 5, 5), 0),
    ("far newer", at(7, 6, 5), 0),
    ("forked", at(8, 4, 4), 4),
    ("far forked", at(8, 0, 3), 4),
    ("unrelated", at(77, 0, 78), 0),
];

/// Which direction is refused, in every combination of what a disk holds and whether that is given up.
/// Covers: S97.
#[test]
fn what_nobody_gave_up_is_not_overwritten() {
    for (what, mine, known_generation) in HOLDINGS {
        for yielded in [false, true] {
            let facts = TargetFacts {
                mine,
                yielded,
                ..target()
            };
            let hello = Hello {
                known_generation,
                ..hello()
            };
            let expected = match what {
                _ if yielded => None,
                "newer" | "far newer" => Some(RefuseCode::Newer),
                "forked" | "far forked" => Some(RefuseCode::SplitBrain),
                "unrelated" => Some(RefuseCode::Unrelated),
                _ => None,
            };
            let decided = target_decide(&facts, &hello);
            assert_eq!(decided.err().map(|refusal| refusal.code), expected, "{what}, {yielded}");
        }
    }
}

/// Covers: S97.
#[test]
fn two_sources_that_were_both_written_to_are_a_split_brain_and_no_mistake() {
    for (what, mine, known_generation) in HOLDINGS {
        let facts = TargetFacts {
            role: Role::Source,
            mine,
            ..target()
        };
        let hello = Hello {
            known_generation,
            ..hello()
        };
        let expected = if what.ends_with("forked") {
            RefuseCode::SplitBrain
        } else {
            RefuseCode::NotTarget
        };
        let (code, reason) = refusal(&facts, &hello);
        assert_eq!(code, expected, "{what}");
        assert!(reason.contains("adam"), "{reason}");
    }
}

/// Of two machines that were both the last source, as they have the same disk, the target of one keeps the other from
/// being source as well. Covers: S277.
#[test]
fn the_last_source_is_told_of_another_that_is_in_service() {
    let ask = Hello {
        flags: HelloFlags::ASK.with(HelloFlags::OWNER, true),
        known_generation: 6,
        ..hello()
    };
    let served = TargetFacts {
        connected: connected(OTHER),
        ..target()
    };
    // Nothing; the same; what the marks of the source are based on; one of its past.
    for mine in [FRESH, at(5, 0, 4), at(6, 0, 3), at(4, 0, 3)] {
        let facts = TargetFacts { mine, ..served };
        let (code, reason) = refusal(&facts, &ask);
        assert_eq!(code, RefuseCode::Taken);
        assert_eq!(
            reason,
            "seth has mirror data in service, and adam is its target; stop it on seth first"
        );
        let told = Ok(Verdict::Tell);
        // The source that is connected may have restarted.
        let own = TargetFacts {
            connected: connected(SOURCE),
            ..facts
        };
        assert_eq!(target_decide(&own, &ask), told);
        let alone = TargetFacts {
            connected: None,
            ..facts
        };
        assert_eq!(target_decide(&alone, &ask), told);
        // A target that asks whether it may take over.
        let other = Hello {
            flags: HelloFlags::ASK,
            ..ask
        };
        assert_eq!(target_decide(&facts, &other), told);
    }
    // Who lacks something is a target himself, as the answer tells.
    for mine in [at(8, 5, 4), at(8, 7, 5), at(8, 6, 3)] {
        let facts = TargetFacts { mine, ..served };
        assert_eq!(target_decide(&facts, &ask), Ok(Verdict::Tell), "{mine:?}");
    }
}

#[test]
fn who_asks_is_told_whatever_the_role_unless_the_mirror_is_another_one() {
    let ask = Hello {
        flags: HelloFlags::ASK,
        ..hello()
    };
    for &role in Role::ALL {
        let facts = TargetFacts {
            role,
            connected: connected(OTHER),
            mine: at(8, 4, 4),
            device_in_use: true,
            ..target()
        };
        assert_eq!(target_decide(&facts, &ask), Ok(Verdict::Tell));
        let other = TargetFacts {
            mirror_uuid: Some(OTHER),
            ..facts
        };
        assert_eq!(refusal(&other, &ask).0, RefuseCode::OtherUuid);
        let other = TargetFacts {
            mirror_name: name("other"),
            ..facts
        };
        assert_eq!(refusal(&other, &ask).0, RefuseCode::OtherMirror);
    }
}
