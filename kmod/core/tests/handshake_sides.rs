// SPDX-License-Identifier: GPL-2.0

//! Both sides of a handshake decide for themselves; here they are held against each other, over every pair of
//! generations of a small world.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says all it means in one place"
)]

use netraid_core::generation::{relation, Generations, Relation};
use netraid_core::handshake::*;
use netraid_core::name::Name;
use netraid_core::state::Role;
use netraid_core::wire::*;

/// Generations of two sides, each with one older one; numbers up to 3, so that every coincidence occurs.
fn every_pair() -> impl Iterator<Item = (Generations, Generations)> {
    let digit = |number: u64, place: u32| number >> (2 * place) & 3;
    let side = move |number: u64, first: u32| Generations {
        current: digit(number, first),
        base: digit(number, first + 1),
        history: [digit(number, first + 2), 0, 0, 0, 0, 0, 0, 0],
    };
    (0..1 << 12).map(move |number| (side(number, 0), side(number, 3)))
}

fn hello(source: Generations, flags: HelloFlags) -> Hello {
    Hello {
        version_minor: VERSION_MINOR,
        flags,
        features: 0,
        mirror_uuid: [1; 16],
        node_uuid: [2; 16],
        instance: [4; 16],
        known_instance: NO_ID,
        session: 1,
        size: 1 << 30,
        generation: source.current,
        known_generation: source.base,
        chunk_size: 65536,
        logical_block_size: 512,
        max_payload: MAX_PAYLOAD,
        heartbeat_ms: 1000,
        timeout_ms: 5000,
        mirror_name: Name::new("data").unwrap(),
        node_name: Name::new("eve").unwrap(),
        history: source.history,
        listen_port: 0,
        priorities: netraid_core::priority::Priorities::NONE,
    }
}

fn target_facts(mine: Generations, role: Role, yielded: bool) -> TargetFacts {
    TargetFacts {
        role,
        mirror_name: Name::new("data").unwrap(),
        local_name: Name::new("data").unwrap(),
        node_name: Name::new("adam").unwrap(),
        node_uuid: [8; 16],
        same_machine: false,
        mirror_uuid: Some([1; 16]),
        disk_size: 1 << 30,
        logical_block_size: 512,
        connected: None,
        device_in_use: false,
        mine,
        yielded,
    }
}

fn welcome(target: Generations, flags: WelcomeFlags) -> Welcome {
    Welcome {
        version_minor: VERSION_MINOR,
        flags,
        features: 0,
        node_uuid: [3; 16],
        instance: [5; 16],
        known_instance: NO_ID,
        session: 1,
        size: 1 << 30,
        generation: target.current,
        logical_block_size: 512,
        max_payload: MAX_PAYLOAD,
        node_name: Name::new("adam").unwrap(),
        base: target.base,
        history: target.history,
        role: Role::Target,
        priority: None,
    }
}

fn source_facts(mine: Generations, bits: u32) -> SourceFacts {
    SourceFacts {
        session: 1,
        features: 0,
        size: 1 << 30,
        logical_block_size: 512,
        mine,
        known_node: [3; 16],
        known_instance: [5; 16],
        prepared: bits & 1 != 0,
        shared: bits & 256 != 0,
        is_new: bits & 2 != 0,
        paused: bits & 4 != 0,
        full: bits & 8 != 0,
        recent: 0,
        unknown: false,
    }
}

/// What a target accepts, its source does not refuse; and what the target was not to lose, the source leaves alone even
/// if the target had accepted. Covers: S97.
#[test]
fn both_sides_agree_on_the_direction() {
    for (source, target) in every_pair() {
        for bits in 0u32..1 << 9 {
            let yielded = bits & 16 != 0;
            let flags = WelcomeFlags::NONE
                .with(WelcomeFlags::YIELDED, yielded)
                .with(WelcomeFlags::HAS_MAP, bits & 32 != 0)
                .with(WelcomeFlags::INCONSISTENT, bits & 64 != 0)
                .with(WelcomeFlags::PREPARED, bits & 128 != 0);
            let accepted = target_decide(
                &target_facts(target, Role::Target, yielded),
                &hello(source, HelloFlags::NONE),
            );
            let plan = source_decide(&source_facts(source, bits), &welcome(target, flags));
            let related = relation(&source, &target);
            let context = || format!("{source:?} {target:?} {related:?} {flags:?}");
            if accepted.is_ok() {
                assert!(matches!(plan, Plan::Agree(_)), "{}", context());
            }
            if !related.peer_is_covered() && !yielded {
                assert!(matches!(plan, Plan::Refuse(_)), "{}", context());
            }
            if let (Err(refusal), Plan::Refuse(code)) = (accepted, plan) {
                assert_eq!(refusal.code, code, "{}", context());
            }
        }
    }
}

/// A flush may be left out only where both say so: the source that it has told nobody yet, the target that it loses nothing.
#[test]
fn flushes_are_left_out_on_synchronous_legs_to_disks_without_a_cache_alone() {
    for (asynchronous, cached) in [(false, false), (false, true), (true, false), (true, true)] {
        for checksums in [false, true] {
            let offered = source_features(checksums, asynchronous);
            let agreed = agreed_features(offered, target_features(cached));
            let has = |feature| agreed & feature != 0;
            assert_eq!(has(features::DURABLE), !asynchronous && !cached);
            assert_eq!(has(features::BARRIER), asynchronous);
            assert_eq!(has(features::PAYLOAD_CHECKSUM), checksums);
            assert!(has(features::READ) && has(features::COMPARE) && has(features::RECENT));
            assert_eq!(agreed & !features::SUPPORTED, 0);
        }
    }
}

/// Every offer of a source against every version of a target, older ones that know no feature among them: both end up
/// with the same, and with what both have.
#[test]
fn both_sides_agree_on_the_features_that_both_have() {
    let same = Generations {
        current: 3,
        base: 0,
        history: [0; 8],
    };
    let known = features::SUPPORTED | features::LZ4 | 1 << 63;
    let subsets = || {
        let bits = (0..64).map(|bit| 1 << bit).filter(move |bit| known & bit != 0);
        bits.fold(vec![0u64], |all, bit| {
            all.iter().flat_map(|&some| [some, some | bit]).collect()
        })
    };
    for offered in subsets() {
        let hello = Hello {
            features: offered,
            ..hello(same, HelloFlags::NONE)
        };
        let hello = Hello::decode(&hello.encode()).unwrap();
        assert!(target_decide(&target_facts(same, Role::Target, false), &hello).is_ok());
        for own in subsets() {
            let answer = Welcome {
                features: agreed_features(hello.features, own),
                ..welcome(same, WelcomeFlags::NONE)
            };
            let answer = Welcome::decode(&answer.encode()).unwrap();
            let facts = SourceFacts {
                features: offered,
                ..source_facts(same, 0)
            };
            // One whose leg is asynchronous goes on with no target that can't keep the order.
            let orders = offered & !own & features::BARRIER == 0;
            match source_decide(&facts, &answer) {
                Plan::Agree(_) => assert!(orders),
                Plan::Refuse(code) => assert_eq!((code, orders), (RefuseCode::NoBarrier, false)),
            }
            for bit in (0..64).map(|bit| 1 << bit) {
                let both = offered & bit != 0 && own & bit != 0;
                assert_eq!(answer.features & bit != 0, both, "{offered:#x} {own:#x}");
            }
            // A target that promises what was not offered is refused.
            let eager = Welcome {
                features: own,
                ..answer
            };
            let fits = own & !offered == 0 && orders;
            assert_eq!(matches!(source_decide(&facts, &eager), Plan::Agree(_)), fits);
        }
    }
}

/// Less than everything is copied only to a disk of which it is known what it holds.
#[test]
fn marks_are_trusted_only_where_the_generations_say_that_they_cover() {
    for (source, target) in every_pair() {
        for bits in 0u32..1 << 4 {
            let facts = source_facts(source, bits);
            let theirs = welcome(target, WelcomeFlags::YIELDED);
            let Plan::Agree(agreement) = source_decide(&facts, &theirs) else {
                panic!("{source:?} {target:?}: it has given way")
            };
            let related = relation(&source, &target);
            let shared = source.current == target.current || source.base == target.current;
            let trusted = match agreement.copying {
                Copying::Everything => true,
                Copying::Written => target.current == 0 && facts.is_new,
                Copying::Marked => target.current != 0 && shared,
            };
            assert!(trusted && (!facts.full || agreement.copying == Copying::Everything));
            assert!(related != Relation::Unrelated || agreement.copying == Copying::Everything);
        }
    }
}

/// A machine that is not a target gives nothing away, whatever it holds, and whoever asks is told.
#[test]
fn only_a_target_is_ever_overwritten() {
    for (source, target) in every_pair() {
        for &role in Role::ALL {
            for yielded in [false, true] {
                let facts = target_facts(target, role, yielded);
                let decided = target_decide(&facts, &hello(source, HelloFlags::NONE));
                if role != Role::Target {
                    let fork = relation(&target, &source).is_fork();
                    let code = if fork {
                        RefuseCode::SplitBrain
                    } else {
                        RefuseCode::NotTarget
                    };
                    assert_eq!(decided.unwrap_err().code, code, "{facts:?}");
                }
                let asked = target_decide(&facts, &hello(source, HelloFlags::ASK));
                assert_eq!(asked, Ok(Verdict::Tell));
            }
        }
    }
}
