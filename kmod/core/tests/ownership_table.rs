// SPDX-License-Identifier: GPL-2.0

//! Who may be the source: every combination of what the decision depends on, against the table in the documentation of
//! the module written down a second time, and against the promises that the table is there for.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says all it means in one place"
)]

use netraid_core::generation::{relation, Generations, Relation};
use netraid_core::meta::MetaFlags;
use netraid_core::name::{Name, Text};
use netraid_core::ownership::*;
use netraid_core::state::Role;

const fn at(current: u64, base: u64, older: u64) -> Generations {
    Generations {
        current,
        base,
        history: [older, 0, 0, 0, 0, 0, 0, 0],
    }
}

const FRESH: Generations = at(0, 0, 0);

/// Generations here and on another machine for each relation that a disk with data can have.
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

const NOBODY: Peer = Peer {
    mine: FRESH,
    counts: false,
    heard: Heard::Nothing,
};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn refusing() -> Peer {
    Peer {
        heard: Heard::Refused(Text::new("adam serves mirror other here, not data").unwrap()),
        ..NOBODY
    }
}

/// Every way in which another machine can stand. `roles` are those it can have, `inconsistent` what it can say of its
/// disk.
fn every_answer(roles: &[Role], inconsistent: &[bool]) -> Vec<Peer> {
    let counts = true;
    let mut peers = vec![NOBODY, Peer { counts, ..NOBODY }, refusing()];
    for (expected, mine, generations) in PAIRS {
        assert_eq!(relation(&mine, &generations), expected);
        for &role in roles {
            for &inconsistent in inconsistent {
                for yielded in [false, true] {
                    let answer = Answer {
                        node: name("adam"),
                        role,
                        yielded,
                        inconsistent,
                        generations,
                    };
                    let heard = Heard::Answer(answer);
                    peers.push(Peer { mine, counts, heard });
                }
            }
        }
    }
    peers
}

/// Every way in which this machine can stand.
fn every_standing() -> Vec<StartFacts> {
    let flags = [
        MetaFlags::LAST_OWNER,
        MetaFlags::DATA_CORRUPT,
        MetaFlags::INCONSISTENT,
        MetaFlags::SPLIT_BRAIN,
        MetaFlags::YIELDED,
        MetaFlags::STOPPED,
        MetaFlags::TOOK_OVER,
    ];
    let mut standings = Vec::new();
    for bits in 0u32..1 << 10 {
        let bit = |number: u32| bits >> number & 1 == 1;
        let flags = (0u32..)
            .zip(flags)
            .fold(MetaFlags::NONE, |all, (number, flag)| all.with(flag, bit(number)));
        for &role in Role::ALL {
            standings.push(StartFacts {
                mirror: name("data"),
                role,
                flags,
                has_data: bit(7),
                warm: bit(8),
                overridden: bit(9),
            });
        }
    }
    standings
}

/// What the table says of one machine, in the order of its lines, and with the line's number.
fn objection(facts: &StartFacts, mode: StartMode, peer: &Peer) -> Option<(u32, Decision)> {
    let refuse = |refusal| change(StartPlan::Refuse(refusal), MetaFlags::NONE, MetaFlags::NONE);
    let split = |node| Decision {
        set: MetaFlags::SPLIT_BRAIN,
        ..refuse(StartRefusal::SplitBrain(facts.mirror, node))
    };
    let answer = match peer.heard {
        Heard::Nothing => return None,
        Heard::Refused(text) => return Some((5, refuse(StartRefusal::Refused(facts.mirror, text)))),
        Heard::Answer(answer) => answer,
    };
    let related = relation(&peer.mine, &answer.generations);
    let forked = matches!(related, Relation::Forked | Relation::ForkedFar);
    let newer = matches!(
        related,
        Relation::PeerNewer | Relation::PeerFarAhead | Relation::SelfFresh
    );
    let auto = mode == StartMode::Auto;
    let knows = facts.flags.contains(MetaFlags::SPLIT_BRAIN) || facts.flags.contains(MetaFlags::TOOK_OVER);
    match (related, answer.role) {
        (Relation::Unrelated, _) => Some((4, refuse(StartRefusal::Unrelated(facts.mirror, answer.node)))),
        (_, Role::Source) if auto && knows && forked => Some((1, split(answer.node))),
        (_, Role::Source) if auto => Some((1, giving_way())),
        (_, Role::Source) => Some((1, refuse(StartRefusal::InService(facts.mirror, answer.node)))),
        _ if answer.yielded => None,
        _ if newer && auto => Some((2, change(StartPlan::Target, MetaFlags::NONE, MetaFlags::STOPPED))),
        _ if newer => Some((2, refuse(StartRefusal::Newer(facts.mirror, answer.node)))),
        _ if forked => Some((3, split(answer.node))),
        _ => None,
    }
}

fn change(plan: StartPlan, set: MetaFlags, clear: MetaFlags) -> Decision {
    Decision { plan, set, clear }
}

fn giving_way() -> Decision {
    let clear = all_of(&[
        MetaFlags::STOPPED,
        MetaFlags::DATA_CORRUPT,
        MetaFlags::LAST_OWNER,
        MetaFlags::TOOK_OVER,
    ]);
    change(StartPlan::Target, MetaFlags::YIELDED, clear)
}

fn all_of(flags: &[MetaFlags]) -> MetaFlags {
    flags.iter().fold(MetaFlags::NONE, |all, &flag| all.with(flag, true))
}

/// The whole table.
fn expected(facts: &StartFacts, mode: StartMode, peers: &[Peer]) -> Decision {
    let has = |flag| facts.flags.contains(flag);
    let refuse = |refusal| change(StartPlan::Refuse(refusal), MetaFlags::NONE, MetaFlags::NONE);
    let target = change(StartPlan::Target, MetaFlags::NONE, MetaFlags::STOPPED);
    let over = all_of(&[MetaFlags::STOPPED, MetaFlags::DATA_CORRUPT, MetaFlags::YIELDED]);
    let answered = peers.iter().any(|peer| matches!(peer.heard, Heard::Answer(_)));
    let silent = peers.iter().any(|peer| peer.counts && peer.heard == Heard::Nothing);
    let source = change(StartPlan::Source, MetaFlags::LAST_OWNER, over);
    let taking_over = |really| Decision {
        set: source.set.with(MetaFlags::TOOK_OVER, really),
        ..source
    };
    let usable = facts.has_data && !has(MetaFlags::INCONSISTENT);
    let auto = mode == StartMode::Auto;
    let was_source = facts.role == Role::Source || has(MetaFlags::LAST_OWNER);
    if mode == StartMode::Yield {
        let decision = giving_way();
        return Decision {
            clear: decision.clear.with(MetaFlags::SPLIT_BRAIN, true),
            ..decision
        };
    } else if auto && has(MetaFlags::STOPPED) && !facts.overridden {
        return refuse(StartRefusal::Stopped(facts.mirror));
    } else if auto && (!was_source || has(MetaFlags::YIELDED) || !usable) {
        return target;
    } else if !usable {
        return refuse(StartRefusal::Inconsistent(facts.mirror));
    }
    if matches!(mode, StartMode::Force | StartMode::Keep) {
        let keep = mode == StartMode::Keep;
        let entitled = has(MetaFlags::LAST_OWNER) || facts.overridden || (keep && has(MetaFlags::SPLIT_BRAIN));
        return match peers.iter().find_map(in_service) {
            Some(node) if !keep => refuse(StartRefusal::InService(facts.mirror, node)),
            _ if !entitled => refuse(StartRefusal::NeverOwner(facts.mirror)),
            _ => Decision {
                clear: over.with(MetaFlags::SPLIT_BRAIN, keep),
                ..taking_over((silent || !answered) && !peers.is_empty())
            },
        };
    }
    let objections = peers.iter().filter_map(|peer| objection(facts, mode, peer));
    if let Some((_, decision)) = objections.min_by_key(|(line, _)| *line) {
        return decision;
    }
    if (answered && !silent) || peers.is_empty() {
        source
    } else if facts.warm {
        taking_over(facts.role != Role::Source)
    } else if has(MetaFlags::SPLIT_BRAIN) {
        refuse(StartRefusal::SplitBrain(facts.mirror, name("the other one")))
    } else if has(MetaFlags::LAST_OWNER) {
        Decision {
            set: MetaFlags::DATA_CORRUPT,
            ..refuse(StartRefusal::DataCorrupt(facts.mirror))
        }
    } else {
        refuse(StartRefusal::Alone(facts.mirror))
    }
}

fn in_service(peer: &Peer) -> Option<Name> {
    match peer.heard {
        Heard::Answer(answer) if answer.role == Role::Source => Some(answer.node),
        _ => None,
    }
}

/// What must never happen, whatever the table says.
fn check_promises(facts: &StartFacts, mode: StartMode, peers: &[Peer], decision: &Decision) {
    let context = || format!("{facts:?} {mode:?} {peers:?} {decision:?}");
    let has = |flag| facts.flags.contains(flag);
    let asks = matches!(mode, StartMode::Auto | StartMode::Source);
    if decision.plan == StartPlan::Source {
        assert!(facts.has_data && !has(MetaFlags::INCONSISTENT), "{}", context());
        assert!(decision.set.contains(MetaFlags::LAST_OWNER), "{}", context());
        assert!(decision.clear.contains(MetaFlags::DATA_CORRUPT), "{}", context());
        assert_ne!(mode, StartMode::Yield, "{}", context());
        assert!(mode == StartMode::Keep || peers.iter().all(|peer| in_service(peer).is_none()));
        let answers = || peers.iter().filter(|peer| matches!(peer.heard, Heard::Answer(_)));
        for peer in answers().filter(|_| asks) {
            let Heard::Answer(answer) = peer.heard else { continue };
            let lacks_nothing = relation(&peer.mine, &answer.generations).peer_is_covered();
            assert!(lacks_nothing || answer.yielded, "{}", context());
        }
        let missing = peers.iter().any(|peer| peer.counts && peer.heard == Heard::Nothing);
        let guessed = (answers().count() == 0 || missing) && !peers.is_empty() && !facts.warm;
        assert!(!asks || !guessed, "not everybody who matters answered: {}", context());
        if !asks && !facts.overridden {
            let fork = mode == StartMode::Keep && has(MetaFlags::SPLIT_BRAIN);
            assert!(has(MetaFlags::LAST_OWNER) || fork, "{}", context());
        }
    }
    let corrupt = matches!(decision.plan, StartPlan::Refuse(StartRefusal::DataCorrupt(_)));
    assert_eq!(decision.set.contains(MetaFlags::DATA_CORRUPT), corrupt, "{}", context());
    if corrupt {
        assert!(has(MetaFlags::LAST_OWNER) && asks && !peers.is_empty(), "{}", context());
        assert!(peers.iter().any(|peer| peer.heard == Heard::Nothing), "{}", context());
    }
    let split = matches!(decision.plan, StartPlan::Refuse(StartRefusal::SplitBrain(..)));
    let known = decision.set.contains(MetaFlags::SPLIT_BRAIN) || has(MetaFlags::SPLIT_BRAIN);
    assert!(!split || known, "{}", context());
    assert!(split || !decision.set.contains(MetaFlags::SPLIT_BRAIN), "{}", context());
    // Own data is given up only where an operator says so, or for a source in service.
    if decision.set.contains(MetaFlags::YIELDED) {
        let somebody = peers.iter().any(|peer| in_service(peer).is_some());
        assert!(
            mode == StartMode::Yield || (mode == StartMode::Auto && somebody),
            "{}",
            context()
        );
    }
    if matches!(decision.plan, StartPlan::Refuse(_)) {
        assert_eq!(decision.clear, MetaFlags::NONE, "{}", context());
    }
}

fn check_all(standings: &[StartFacts], peers: &[Peer]) {
    for &facts in standings {
        for mode in StartMode::ALL {
            let decision = start_decide(&facts, mode, peers);
            let expected = expected(&facts, mode, peers);
            assert_eq!(decision, expected, "{facts:?} {mode:?} {peers:?}");
            check_promises(&facts, mode, peers, &decision);
        }
    }
}

/// Covers: S83, S91, S92, S94, S95, S96.
#[test]
fn the_table_holds_without_and_with_one_other_machine() {
    let standings = every_standing();
    check_all(&standings, &[]);
    for peer in every_answer(Role::ALL, &[false, true]) {
        check_all(&standings, &[peer]);
    }
}

/// Covers: S83, S97.
#[test]
fn the_table_holds_with_two_other_machines() {
    let peers = every_answer(&[Role::Source, Role::Target], &[false]);
    // What keeps a machine from asking at all was looked at above.
    let mut standings = every_standing();
    standings.retain(|facts| facts.has_data && !facts.flags.contains(MetaFlags::STOPPED));
    for first in &peers {
        for second in &peers {
            check_all(&standings, &[*first, *second]);
        }
    }
}

/// Two machines differ only in the order in which they were asked: that decides nothing but whose name is told.
#[test]
fn the_order_of_the_machines_does_not_matter() {
    let peers = every_answer(&[Role::Source, Role::Target], &[false]);
    let facts = StartFacts {
        mirror: name("data"),
        role: Role::Source,
        flags: MetaFlags::LAST_OWNER,
        has_data: true,
        warm: false,
        overridden: false,
    };
    for mode in StartMode::ALL {
        for first in &peers {
            for second in &peers {
                let one = start_decide(&facts, mode, &[*first, *second]);
                let other = start_decide(&facts, mode, &[*second, *first]);
                assert_eq!(one, other, "{mode:?} {first:?} {second:?}");
            }
        }
    }
}

/// Where a name is long the end of a sentence may be cut; with names that people use the next step is still there.
#[test]
fn every_refusal_names_the_mirror_and_a_next_step_and_fits() {
    use StartRefusal::*;
    let (mirror, node) = (name("customer-records"), name("backup-host-0042"));
    let reason = Text::new("adam serves mirror other here, not data; check the name and the port").unwrap();
    let cases = [
        (Stopped(mirror), "`netraid-ctl start customer-records`"),
        (Inconsistent(mirror), "start it where its source was"),
        (InService(mirror, node), "`netraid-ctl switchover customer-records`"),
        (Newer(mirror, node), "start it there"),
        (
            SplitBrain(mirror, node),
            "`netraid-ctl resolve customer-records --keep NODE`",
        ),
        (
            Unrelated(mirror, node),
            "delete the mirror where its data is not wanted",
        ),
        (DataCorrupt(mirror), "`netraid-ctl force customer-records`"),
        (Alone(mirror), "`netraid-ctl force customer-records --override`"),
        (Refused(mirror, reason), "check the name and the port"),
        (NeverOwner(mirror), "add --override"),
    ];
    for (refusal, next_step) in cases {
        let whole = refusal.to_string();
        let sentence = Text::format(format_args!("{refusal}"));
        assert_eq!(sentence.as_str(), whole, "a whole sentence");
        assert!(
            whole.contains("'customer-records'") && whole.contains(next_step),
            "{whole}"
        );
        assert!(whole.starts_with(char::is_lowercase), "{whole}");
        let names_node = matches!(
            refusal,
            InService(..) | Newer(..) | SplitBrain(..) | StartRefusal::Unrelated(..)
        );
        assert_eq!(whole.contains("backup-host-0042"), names_node, "{whole}");
    }
}
