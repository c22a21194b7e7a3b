// SPDX-License-Identifier: GPL-2.0

//! A cluster, simulated: machines with disks that lose their caches, a network that loses messages, and operators.
//!
//! Every decision is made by the functions of the crate; what the module does around them is modelled step by step. A
//! history is chosen by a seed, and after every event it is seen whether the two copies could come apart unnoticed.
//! `NETRAID_SEED=n` tells one history again, `NETRAID_HISTORIES=n` chooses how many are told, `NETRAID_FIRST=n` the first
//! seed; `NETRAID_BUGS=n` puts mistakes back, and `NETRAID_TRACE=1` shows each step of what failed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and its numbers are small"
)]

mod simulation {
    pub(crate) mod bugs;
    pub(crate) mod check;
    pub(crate) mod converge;
    pub(crate) mod disk;
    pub(crate) mod events;
    mod found;
    pub(crate) mod greeting;
    pub(crate) mod history;
    pub(crate) mod journal;
    pub(crate) mod legs;
    pub(crate) mod meta;
    pub(crate) mod node;
    pub(crate) mod plans;
    pub(crate) mod remote;
    pub(crate) mod report;
    pub(crate) mod resync;
    pub(crate) mod rng;
    pub(crate) mod roles;
    mod rows;
    mod script;
    pub(crate) mod shrink;
    pub(crate) mod source;
    pub(crate) mod target;
    pub(crate) mod volume;
    pub(crate) mod world;
}

use simulation::bugs::Bugs;
use simulation::history::random;
use simulation::shrink::{kind_of, shrink};
use simulation::world::{Counts, World};
use std::collections::BTreeMap;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn random_histories_keep_what_was_promised() {
    let bugs = Bugs(number("NETRAID_BUGS").unwrap_or(0) as u32);
    let seeds = match number("NETRAID_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let first = number("NETRAID_FIRST").unwrap_or(0);
            first..first + number("NETRAID_HISTORIES").unwrap_or(10_000)
        }
    };
    let mut failed: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut counts = Counts::default();
    for seed in seeds {
        let outcome = random(seed, bugs);
        counts.add(&outcome.counts);
        if let Some(failure) = &outcome.failure {
            failed.entry(kind_of(failure)).or_default().push(seed);
        }
    }
    println!("{counts:?}");
    let mut report = String::new();
    for (kind, seeds) in &failed {
        report += &format!("{kind}: {} histories\n{}\n\n", seeds.len(), tell(seeds, bugs));
    }
    assert!(report.is_empty(), "\n{report}");
}

/// The shortest of some failures.
fn tell(seeds: &[u64], bugs: Bugs) -> String {
    let shrunk = seeds.iter().take(20).map(|seed| {
        let outcome = random(*seed, bugs);
        (shrink(&outcome), *seed, outcome)
    });
    let Some((events, seed, outcome)) = shrunk.min_by_key(|(events, ..)| events.len()) else {
        return String::new();
    };
    if number("NETRAID_TRACE").is_some() {
        let mut world = World::new(outcome.config);
        for event in &events {
            world.happen(*event);
            println!("{event:?}\n{}", world.trace());
        }
    }
    let failure = outcome.failure.unwrap_or_default();
    format!("NETRAID_SEED={seed}: {failure}\n{:?}\n{events:?}", outcome.config)
}
