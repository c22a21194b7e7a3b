// SPDX-License-Identifier: GPL-2.0

//! A simulation of clusters: two to four machines with disks that lose what they had cached, a network that loses
//! messages and falls apart, operators who do what they should not, and power cuts at every step, in the middle of
//! every write of metadata.
//!
//! What decides is the crate itself: relations, greetings, who may be the source, the leg's machine, marks and the log
//! of intents. What the module does with it is modelled in small: `volume` and `journal` are its data path, `source`,
//! `target` and `roles` its threads and operations, as events that are over at once unless the power goes off.
//!
//! After every step, `check` compares what machines believe with what an observer knows who sees all disks: no
//! acknowledged write is missing where nobody has that on record, whatever a resync would not copy is the same on both
//! disks even if the power went off now, half a copy says so and is never source, and nothing is overwritten that
//! nobody gave up. In the end the faults are over, and `heal` sees whether the machines come together again.
//!
//! A history that fails prints its seed; `NETRAID_SEED=n cargo test -p netraid_core --test cluster` repeats it and tells
//! what happened. `NETRAID_HISTORIES` is how many are tried, `NETRAID_FIRST` the first of them. What was found is told
//! again in `regressions`.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test fails by panicking, and its modules are nobody else's"
)]

mod check;
mod cluster;
mod dice;
mod disk;
mod heal;
mod journal;
mod net;
mod node;
mod regressions;
mod rng;
mod roles;
mod source;
mod store;
mod target;
mod volume;

use cluster::{Cluster, Counts, Kind};

/// Histories that are tried where nobody asks for another number; half a minute, as the package is optimized for tests.
const HISTORIES: u64 = 10_000;

/// Steps of a history.
const STEPS: usize = 400;

/// What came of a history.
struct Outcome {
    broken: Option<String>,
    trace: Vec<String>,
    counts: Counts,
}

fn history(seed: u64, tracing: bool) -> Outcome {
    let nodes = 2 + (seed % 3) as usize;
    let kind = match seed / 3 % 6 {
        0 => Kind::NoBitmap,
        1 => Kind::Prepared,
        _ => Kind::Plain,
    };
    let mut cluster = Cluster::new(seed, nodes, kind);
    cluster.tracing = tracing;
    cluster.create(0);
    for node in 1..nodes {
        cluster.join(node);
    }
    let extended = cluster.extend(0, 1);
    cluster.settle(0, extended);
    for _ in 0..STEPS {
        cluster.step();
        cluster.check();
        if cluster.broken.is_some() {
            break;
        }
    }
    if cluster.broken.is_none() {
        cluster.heal();
    }
    Outcome {
        broken: cluster.broken,
        trace: cluster.trace,
        counts: cluster.counts,
    }
}

#[test]
fn thousands_of_histories_keep_every_promise() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    if let Some(seed) = number("NETRAID_SEED") {
        let outcome = history(seed, true);
        println!("{}", outcome.trace.join("\n"));
        assert_eq!(outcome.broken, None, "seed {seed}");
        return;
    }
    let histories = number("NETRAID_HISTORIES").unwrap_or(HISTORIES);
    let mut total = Counts::default();
    let first = number("NETRAID_FIRST").unwrap_or(0);
    for seed in first..first + histories {
        let outcome = history(seed, false);
        if let Some(broken) = outcome.broken {
            panic!("seed {seed}: {broken}; NETRAID_SEED={seed} tells how");
        }
        total.add(&outcome.counts);
    }
    println!("{total:?}");
}
