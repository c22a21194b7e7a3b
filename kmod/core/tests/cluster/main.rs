// SPDX-License-Identifier: GPL-2.0

//! A simulation of clusters: two to four machines, each of which can be the source of one or several others, with disks
//! that lose what they had cached, or fail, a network that loses messages and falls apart, operators who do what they should
//! not, and power cuts in the middle of every write of metadata.
//!
//! What decides is the crate itself: relations, greetings, who may be the source, the legs' machines, places, followers,
//! marks, the log of intents, and what becomes of a disk that fails. What the module does with it is modelled in small:
//! `volume`, `legs`, `journal` and `local` are its data path, `source`, `target`, `roles` and `operate` its threads and
//! operations, as events that are over at once unless the power goes off.
//!
//! After every step, `check` and `covered` compare what machines believe with what an observer knows who sees all disks:
//!
//! - what generations say of two copies holds for the acknowledged writes in them, whoever is promoted then;
//! - what is acknowledged is on the disk, if that counts, and on every target in step; all that are in step are the same;
//! - every chunk in which two copies may differ is marked, whatever loses its power now, or everything would be copied;
//! - an asynchronous target lacks no more than the last writes, as many as the limit, and holds none without those that were
//!   acknowledged before it;
//! - half a copy says so, and is never used; nothing is overwritten that nobody gave up, and nobody gives way by himself to
//!   one that has less.
//!
//! In the end the faults are over, and `heal` sees whether the machines come together again.
//!
//! What was found is told again in `regressions`, what asynchronous targets do in `far`; what each check is worth is seen in
//! `forgotten` and `scripted`.
//!
//! Not in it, as others look at that: disks that are new, writes that are larger than a chunk, flushes of applications, what
//! is compared before it is copied, and targets whose disk fails.
//!
//! A history that fails prints its seed; `NETRAID_SEED=n cargo test -p netraid_core --test cluster` repeats it and tells
//! what happened. `NETRAID_HISTORIES` is how many are tried, `NETRAID_FIRST` the first of them, and `NETRAID_MISTAKE` the
//! name of a rule that is not kept in them, one of `mistake`.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    unreachable_pub,
    reason = "a test fails by panicking, and its modules are nobody else's"
)]

mod apply;
mod ask;
mod check;
mod cluster;
mod counts;
mod covered;
mod dice;
mod disk;
mod far;
mod forgotten;
mod greet;
mod heal;
mod journal;
mod legs;
mod local;
mod mistake;
mod net;
mod node;
mod operate;
mod order;
mod pump;
mod recent;
mod regressions;
mod remote;
mod request;
mod rng;
mod roles;
mod script;
mod scripted;
mod shape;
mod source;
mod store;
mod target;
mod volume;

use cluster::Cluster;
use counts::Counts;
use mistake::Mistake;
use shape::Shape;

/// Histories that are tried where nobody asks for another number.
const HISTORIES: u64 = 2000;

/// Steps of a history.
const STEPS: usize = 400;

fn history(seed: u64, shape: Shape, steps: usize, mistake: Option<Mistake>, tracing: bool) -> Cluster {
    let mut cluster = Cluster::new(seed, shape);
    cluster.tracing = tracing;
    cluster.mistake = mistake;
    cluster.create(0);
    for node in 1..shape.nodes {
        let result = cluster.join(node);
        cluster.settle(node, result);
        let result = cluster.extend(0, node);
        cluster.settle(0, result);
    }
    cluster.wait(if seed % 2 == 0 { 150 } else { 20 });
    for _ in 0..steps {
        if cluster.broken.is_some() {
            return cluster;
        }
        cluster.step();
        cluster.check();
    }
    cluster
}

#[test]
fn thousands_of_histories_keep_every_promise() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let mistake = std::env::var("NETRAID_MISTAKE").ok();
    let mistake = mistake.map(|name| Mistake::named(&name).unwrap());
    if let Some(seed) = number("NETRAID_SEED") {
        let mut cluster = history(seed, Shape::of(seed), STEPS, mistake, true);
        if cluster.broken.is_none() {
            cluster.heal();
        }
        println!("{}", cluster.trace.join("\n"));
        assert_eq!(cluster.broken, None, "seed {seed}");
        return;
    }
    let histories = number("NETRAID_HISTORIES").unwrap_or(HISTORIES);
    let first = number("NETRAID_FIRST").unwrap_or(0);
    let mut total = Counts::default();
    for seed in first..first + histories {
        let mut cluster = history(seed, Shape::of(seed), STEPS, mistake, false);
        if cluster.broken.is_none() {
            cluster.heal();
        }
        if let Some(broken) = cluster.broken {
            panic!("seed {seed}: {broken}; NETRAID_SEED={seed} tells how");
        }
        total.add(&cluster.counts);
    }
    println!("{total:?}");
}
