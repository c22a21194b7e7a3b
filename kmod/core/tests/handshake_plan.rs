// SPDX-License-Identifier: GPL-2.0

//! The source's side of the handshake: every combination of what the plan depends on, against the
//! table in the documentation of the module written down a second time.

#![allow(
    clippy::type_complexity,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says all it means in one place"
)]

use netraid_core::generation::{relation, Generations, Relation};
use netraid_core::handshake::*;
use netraid_core::name::Name;
use netraid_core::state::Role;
use netraid_core::wire::*;

const TARGET: Id = [2; 16];
const OTHER: Id = [3; 16];
const RUN: Id = [4; 16];

const fn at(current: u64, base: u64, older: u64) -> Generations {
    Generations {
        current,
        base,
        history: [older, 0, 0, 0, 0, 0, 0, 0],
    }
}

const FRESH: Generations = at(0, 0, 0);

fn source() -> SourceFacts {
    SourceFacts {
        session: 1,
        features: features::PAYLOAD_CHECKSUM,
        size: 1 << 30,
        logical_block_size: 4096,
        mine: at(5, 0, 4),
        known_node: TARGET,
        known_instance: RUN,
        shared: false,
        prepared: false,
        is_new: false,
        paused: false,
        full: false,
        recent: 0,
        unknown: false,
    }
}

fn welcome() -> Welcome {
    Welcome {
        version_minor: VERSION_MINOR,
        flags: WelcomeFlags::NONE,
        features: 0,
        node_uuid: TARGET,
        instance: RUN,
        known_instance: RUN,
        session: 1,
        size: 1 << 30,
        generation: 5,
        logical_block_size: 512,
        max_payload: MAX_PAYLOAD,
        node_name: Name::new("adam").unwrap(),
        base: 0,
        history: [4, 0, 0, 0, 0, 0, 0, 0],
        role: Role::Target,
        priority: None,
    }
}

/// Generations of source and target for each relation.
const PAIRS: [(Relation, Generations, Generations); 10] = [
    (Relation::PeerFresh, at(5, 0, 4), FRESH),
    (Relation::SelfFresh, FRESH, at(5, 0, 4)),
    (Relation::Same, at(5, 0, 4), at(5, 0, 4)),
    (Relation::PeerOlder, at(5, 4, 4), at(4, 0, 3)),
    (Relation::PeerFar, at(5, 4, 3), at(3, 0, 2)),
    (Relation::PeerNewer, at(4, 0, 3), at(5, 4, 4)),
    (Relation::PeerFarAhead, at(4, 0, 3), at(6, 5, 4)),
    (Relation::Forked, at(5, 4, 4), at(6, 4, 4)),
    (Relation::ForkedFar, at(5, 4, 4), at(6, 0, 4)),
    (Relation::Unrelated, at(5, 0, 4), at(77, 0, 78)),
];

/// What the plan should be, written as the promise it keeps.
fn promised(facts: &SourceFacts, welcome: &Welcome, relation: Relation) -> Plan {
    use Relation::*;
    let has = |flag| welcome.flags.contains(flag);
    // Nothing is overwritten that nobody gave up.
    if !has(WelcomeFlags::YIELDED) {
        match relation {
            Unrelated => return Plan::Refuse(RefuseCode::Unrelated),
            SelfFresh | PeerNewer | PeerFarAhead => return Plan::Refuse(RefuseCode::Newer),
            Forked | ForkedFar => return Plan::Refuse(RefuseCode::SplitBrain),
            PeerFresh | Same | PeerOlder | PeerFar => {}
        }
    }
    // Marks are believed only where they speak of what this very machine misses.
    let tells = has(WelcomeFlags::HAS_MAP) && !has(WelcomeFlags::INCONSISTENT);
    let covered = matches!(relation, Same | PeerOlder) || (matches!(relation, PeerNewer | Forked) && tells);
    let fresh = relation == PeerFresh;
    // Those of a target that lost the same source only together with what both were sent of late.
    let same_source = facts.recent != 0;
    let both = same_source
        && has(WelcomeFlags::RECENT)
        && !has(WelcomeFlags::INCONSISTENT)
        && welcome.generation == facts.recent;
    let older = matches!(relation, Same | PeerOlder | PeerFar);
    let covered = !facts.unknown && if same_source { both && older } else { covered };
    let copying = if facts.full {
        Copying::Everything
    } else if fresh && facts.prepared && has(WelcomeFlags::PREPARED) {
        Copying::Marked
    } else if fresh && facts.is_new {
        Copying::Written
    } else if covered && facts.known_node != OTHER {
        Copying::Marked
    } else {
        Copying::Everything
    };
    Plan::Agree(Agreement {
        copying,
        merge_map: has(WelcomeFlags::HAS_MAP) || (both && copying == Copying::Marked),
        distrust: copying != Copying::Everything && facts.known_instance != RUN,
        // What another source brought there need not be copied once more; an operator who wants a copy gets one.
        compare: copying == Copying::Everything
            && !facts.full
            && facts.known_node != OTHER
            && matches!(relation, Same | PeerOlder | PeerFar),
        // A half-made copy, or none, is told that it is one, whatever is marked.
        covered: copying == Copying::Marked && relation != PeerFresh && !has(WelcomeFlags::INCONSISTENT),
        // Only what the target holds is known, not where that is held, too.
        begins: facts.shared
            || !matches!(relation, PeerFresh | Same | PeerOlder | PeerFar)
            || (facts.mine.base == 0 && facts.known_node != NO_ID && (facts.known_node == OTHER || relation != Same)),
    })
}

/// All 10 * 3 * 3 * 3 * 2^12 combinations of what the plan depends on. Covers: S24, S25, S110, S178, S270.
#[test]
fn the_plan_keeps_its_promise_in_every_combination() {
    let mut seen = [0u32; 4];
    for (expected, mine, theirs) in PAIRS {
        assert_eq!(relation(&mine, &theirs), expected);
        for known_node in [NO_ID, TARGET, OTHER] {
            for known_instance in [NO_ID, RUN, OTHER] {
                for (bits, recent) in (0u32..1 << 12).flat_map(|bits| [0, theirs.current, 99].map(|it| (bits, it))) {
                    let bit = |number: u32| bits >> number & 1 == 1;
                    let facts = SourceFacts {
                        mine,
                        known_node,
                        known_instance,
                        paused: bit(0),
                        full: bit(1),
                        prepared: bit(2),
                        shared: bit(9),
                        recent,
                        unknown: bit(11),
                        is_new: bit(3),
                        ..source()
                    };
                    let flags = WelcomeFlags::NONE
                        .with(WelcomeFlags::INCONSISTENT, bit(4))
                        .with(WelcomeFlags::YIELDED, bit(5))
                        .with(WelcomeFlags::HAS_MAP, bit(6))
                        .with(WelcomeFlags::PREPARED, bit(7))
                        .with(WelcomeFlags::DISCARD_OK, bit(8))
                        .with(WelcomeFlags::RECENT, bit(10));
                    let welcome = Welcome {
                        flags,
                        generation: theirs.current,
                        base: theirs.base,
                        history: theirs.history,
                        ..welcome()
                    };
                    let plan = source_decide(&facts, &welcome);
                    assert_eq!(plan, promised(&facts, &welcome, expected), "{facts:?} {welcome:?}");
                    seen[match plan {
                        Plan::Agree(agreement) => agreement.copying as usize,
                        Plan::Refuse(_) => 3,
                    }] += 1;
                }
            }
        }
    }
    assert!(seen.iter().all(|&times| times > 0), "every plan occurs: {seen:?}");
}

const MARKED: Agreement = Agreement {
    copying: Copying::Marked,
    merge_map: false,
    distrust: false,
    compare: false,
    covered: true,
    begins: false,
};

#[test]
fn a_target_that_says_fresh_is_fresh_whatever_generation_it_names() {
    let flags = WelcomeFlags::FRESH;
    let expected = Agreement {
        copying: Copying::Everything,
        covered: false,
        // What it held before may be elsewhere.
        begins: true,
        ..MARKED
    };
    assert_eq!(
        source_decide(&source(), &Welcome { flags, ..welcome() }),
        Plan::Agree(expected)
    );
}

/// Covers: S80, S91.
#[test]
fn an_interrupted_resync_goes_on_with_the_marks() {
    let welcome = Welcome {
        flags: WelcomeFlags::INCONSISTENT,
        ..welcome()
    };
    let expected = Agreement {
        covered: false,
        ..MARKED
    };
    assert_eq!(source_decide(&source(), &welcome), Plan::Agree(expected));
}

/// Covers: S56.
#[test]
fn a_restarted_target_gets_what_it_may_have_lost() {
    let welcome = Welcome {
        instance: OTHER,
        ..welcome()
    };
    let expected = Agreement {
        distrust: true,
        ..MARKED
    };
    assert_eq!(source_decide(&source(), &welcome), Plan::Agree(expected));
}

/// Covers: S59, S100.
#[test]
fn after_a_fork_the_marks_of_both_sides_are_copied() {
    let facts = SourceFacts {
        mine: at(6, 4, 4),
        ..source()
    };
    let theirs = Welcome {
        flags: WelcomeFlags::YIELDED.with(WelcomeFlags::HAS_MAP, true),
        generation: 7,
        base: 4,
        ..welcome()
    };
    let expected = Agreement {
        merge_map: true,
        begins: true,
        ..MARKED
    };
    assert_eq!(source_decide(&facts, &theirs), Plan::Agree(expected));
    let without_map = Welcome {
        flags: WelcomeFlags::YIELDED,
        ..theirs
    };
    let expected = Agreement {
        copying: Copying::Everything,
        covered: false,
        begins: true,
        ..MARKED
    };
    assert_eq!(source_decide(&facts, &without_map), Plan::Agree(expected));
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
