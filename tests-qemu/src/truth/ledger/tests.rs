// SPDX-License-Identifier: GPL-2.0
//! The ledger against an oracle that tries everything that can have happened.

use std::collections::{BTreeSet, HashSet};

use netraid_guest::truth::{Content, Found, Id, Kind, Mix, Plan};
use proptest::{collection::vec, prelude::*};

use super::Ledger;

/// One way in which the history of a sector can have gone so far.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct World {
    held: Content,
    /// Discarded and not written since.
    discarded: bool,
    /// Threads whose operation under way has happened.
    happened: u8,
}

/// All ways in which the history of one sector can have gone.
struct Oracle {
    sector: u64,
    plan: Plan,
    /// The operation each thread has under way.
    under_way: Vec<u32>,
    worlds: HashSet<World>,
}

impl Oracle {
    fn new(sector: u64) -> Self {
        let world = World {
            held: Content::Zero,
            discarded: false,
            happened: 0,
        };
        Self {
            sector,
            plan: Plan::new(0, 0),
            under_way: Vec::new(),
            worlds: HashSet::from([world]),
        }
    }

    fn begin(&mut self, plan: &Plan) {
        self.plan = plan.clone();
        self.under_way = vec![1; usize::from(plan.threads)];
        self.go_on();
    }

    /// Each operation under way happens at any time from now on, or not yet.
    fn go_on(&mut self) {
        let mut new: Vec<World> = self.worlds.iter().copied().collect();
        while let Some(world) = new.pop() {
            for (thread, &number) in (0_u8..).zip(&self.under_way) {
                if world.happened >> thread & 1 == 1 {
                    continue;
                }
                for after in self.happens(world, thread, number) {
                    if self.worlds.insert(after) {
                        new.push(after);
                    }
                }
            }
        }
    }

    fn happens(&self, world: World, thread: u8, number: u32) -> Vec<World> {
        let operation = self.plan.operation(thread, number);
        let world = World {
            happened: world.happened | 1 << thread,
            ..world
        };
        if !operation.sectors.contains(&self.sector) {
            return vec![world];
        }
        let holds = |held, discarded| World {
            held,
            discarded,
            ..world
        };
        match operation.kind {
            Kind::Flush => vec![world],
            Kind::Zeroes => vec![holds(Content::Zero, false)],
            // What it held, or zeroes.
            Kind::Discard => vec![holds(world.held, true), holds(Content::Zero, true)],
            Kind::Write | Kind::Durable => {
                vec![holds(Content::Written(self.plan.id(thread, number)), false)]
            }
        }
    }

    fn acknowledge(&mut self, thread: u8) {
        self.worlds.retain(|world| world.happened >> thread & 1 == 1);
        let worlds = std::mem::take(&mut self.worlds).into_iter();
        let begins = |world: World| World {
            happened: world.happened & !(1 << thread),
            ..world
        };
        self.worlds = worlds.map(begins).collect();
        self.under_way[usize::from(thread)] += 1;
        self.go_on();
    }

    fn end(&mut self) {
        let worlds = std::mem::take(&mut self.worlds).into_iter();
        self.worlds = worlds.map(|world| World { happened: 0, ..world }).collect();
    }

    fn legal(&self) -> BTreeSet<String> {
        self.worlds.iter().map(|world| world.held.to_string()).collect()
    }

    fn undefined(&self) -> bool {
        self.worlds.iter().any(|world| world.discarded)
    }
}

fn compare(ledger: &Ledger, oracles: &[Oracle]) -> Result<(), TestCaseError> {
    for oracle in oracles {
        let legal: BTreeSet<String> = ledger.legal(oracle.sector).iter().map(ToString::to_string).collect();
        prop_assert_eq!(legal, oracle.legal(), "sector {}", oracle.sector);
        prop_assert_eq!(ledger.undefined(oracle.sector), oracle.undefined());
    }
    Ok(())
}

/// What a disk holds when every sector chose one of the ways.
fn disk(oracles: &[Oracle], choice: usize) -> Found {
    let mut found = Found::new(0);
    for oracle in oracles {
        let mut held: Vec<Content> = oracle.worlds.iter().map(|world| world.held).collect();
        held.sort_by_key(ToString::to_string);
        found.push(held[choice % held.len()]);
    }
    found
}

fn mixes() -> impl Strategy<Value = Mix> {
    (1..5_u32, 0..3_u32, 0..2_u32, 0..4_u32, 0..3_u32).prop_map(|(writes, durable, flushes, discards, zeroes)| Mix {
        writes,
        durable,
        flushes,
        discards,
        zeroes,
    })
}

proptest! {
    #[test]
    fn a_sector_may_hold_exactly_what_some_order_of_events_leaves_there(
        seed in any::<u64>(),
        threads in 1..5_u8,
        sectors in 1..7_u64,
        mix in mixes(),
        steps in vec((0..12_u8, any::<prop::sample::Index>()), 1..40),
    ) {
        let plan = Plan { threads, longest: 3, mix, ..Plan::new(seed, sectors) };
        let mut ledger = Ledger::new(sectors);
        let mut oracles: Vec<_> = (0..sectors).map(Oracle::new).collect();
        ledger.begin(plan.clone()).unwrap();
        oracles.iter_mut().for_each(|oracle| oracle.begin(&plan));
        for (step, choice) in steps {
            compare(&ledger, &oracles)?;
            if step > 0 {
                let thread = choice.index(usize::from(threads));
                let number = oracles[0].under_way[thread];
                let thread = u8::try_from(thread).unwrap();
                ledger.acknowledge(thread, number).unwrap();
                oracles.iter_mut().for_each(|oracle| oracle.acknowledge(thread));
                continue;
            }
            // The machine dies, and what was in doubt turns out one way or the other.
            ledger.end();
            oracles.iter_mut().for_each(Oracle::end);
            compare(&ledger, &oracles)?;
            let found = disk(&oracles, choice.index(1000));
            prop_assert!(ledger.judge(&found).good());
            ledger.settle(&found);
            for ((_, held), oracle) in found.sectors().zip(&mut oracles) {
                if !oracle.undefined() {
                    oracle.worlds.retain(|world| world.held == held);
                }
            }
            let plan = Plan { run: ledger.runs(), ..plan.clone() };
            ledger.begin(plan.clone()).unwrap();
            oracles.iter_mut().for_each(|oracle| oracle.begin(&plan));
        }
        compare(&ledger, &oracles)?;
    }
}

/// One thread that only writes, over one sector.
fn writes() -> (Plan, Ledger) {
    let mix = Mix {
        writes: 1,
        durable: 0,
        flushes: 0,
        discards: 0,
        zeroes: 0,
    };
    let plan = Plan {
        threads: 1,
        mix,
        ..Plan::new(1, 1)
    };
    let mut ledger = Ledger::new(1);
    ledger.begin(plan.clone()).unwrap();
    (plan, ledger)
}

fn one(content: Content) -> Found {
    let mut found = Found::new(0);
    found.push(content);
    found
}

#[test]
fn what_is_older_than_acknowledged_is_lost_and_what_nobody_wrote_is_impossible() {
    let (plan, mut ledger) = writes();
    for number in 1..=3 {
        ledger.acknowledge(0, number).unwrap();
    }
    let id = |number| Content::Written(plan.id(0, number));
    assert!(ledger.judge(&one(id(3))).good());
    assert!(ledger.judge(&one(id(4))).good(), "it is under way");
    for old in [id(1), id(2), Content::Zero] {
        let verdict = ledger.judge(&one(old));
        assert_eq!((verdict.lost.len(), verdict.impossible.len()), (1, 0), "{old}");
    }
    let other_run = Content::Written(Id::new(1, 0, 1));
    for never in [id(5), other_run, Content::Misplaced(9), Content::Bad] {
        let verdict = ledger.judge(&one(never));
        assert_eq!((verdict.lost.len(), verdict.impossible.len()), (0, 1), "{never}");
    }
}

#[test]
fn reports_that_are_missing_or_come_twice_are_noticed() {
    let (plan, mut ledger) = writes();
    ledger.acknowledge(0, 1).unwrap();
    assert!(ledger.acknowledge(0, 1).is_err());
    assert!(ledger.acknowledge(0, 3).is_err());
    assert!(ledger.acknowledge(1, 1).is_err());
    assert!(ledger.begin(Plan { run: 1, ..plan }).is_err());
    ledger.end();
    assert!(ledger.acknowledge(0, 2).is_err());
}

#[test]
fn disks_may_differ_only_where_something_was_discarded() {
    let (plan, mut ledger) = writes();
    ledger.acknowledge(0, 1).unwrap();
    ledger.end();
    let (old, new) = (
        one(Content::Written(plan.id(0, 1))),
        one(Content::Written(plan.id(0, 2))),
    );
    assert_eq!(ledger.differing(&old, &new), [0]);
    assert!(ledger.differing(&new, &new).is_empty());
    ledger.settle(&new);
    assert_eq!(
        ledger.judge(&old).lost.len(),
        1,
        "it was settled that the new one is there"
    );
    let discards = Mix {
        writes: 0,
        discards: 1,
        ..plan.mix
    };
    ledger
        .begin(Plan {
            run: 1,
            mix: discards,
            ..plan
        })
        .unwrap();
    ledger.acknowledge(0, 1).unwrap();
    assert!(ledger.differing(&new, &one(Content::Zero)).is_empty());
    assert!(ledger.judge(&one(Content::Zero)).good() && ledger.judge(&new).good());
    assert!(!ledger.judge(&old).good());
}
