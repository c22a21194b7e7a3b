// SPDX-License-Identifier: GPL-2.0
//! Asynchronous legs over networks that are slow, far and lossy, and what is missing at the end of one.

use std::time::Duration;

use anyhow::{ensure, Context as _, Result};
use tests_qemu::{patience::scaled, workload::Plan, Cluster, Workload};

use crate::{
    async_leg::{confirmed, in_sync, undisturbed, LASTING},
    broken_network::disturb,
    harness::{case, Case, SOON},
    persist::{until, DEVICE, MAPPED},
};

pub(crate) const CASES: &[Case] = &[
    case!(a_far_slow_and_lossy_network_holds_nobody_up_below_the_limit),
    case!(what_status_calls_unconfirmed_is_what_the_target_lacks),
];

/// A line to the other end of the continent: a round trip of 100 ms, one packet in a hundred lost.
const WAN: &str = "netem delay 50ms loss 1%";

/// Such a network that carries so many kilobits a second, or so much less as the kernel is slower: what writes faster than
/// it on one kernel does so on the other.
fn at(kbit: u64) -> String {
    let slower = scaled(Duration::from_secs(1)).as_secs();
    format!("{WAN} rate {}kbit", kbit / slower)
}

/// Covers: S38, S43, S45, S49.
fn a_far_slow_and_lossy_network_holds_nobody_up_below_the_limit(cluster: &Cluster) -> Result<()> {
    let mirror = in_sync(cluster, LASTING, "")?;
    disturb(cluster, &at(10_000))?;
    // One after the other, and none of them waits for a round trip: no answer comes back.
    let plan = Plan::new(100, 4096).threads(1);
    let back = cluster.network().way(1, 0);
    back.cut();
    Workload::start(mirror.source, DEVICE, plan.count(250))?.finish(SOON)?;
    let leg = mirror.leg()?;
    ensure!(leg["sync_fallbacks"] == 0, "{leg}");
    ensure!(leg["unconfirmed_bytes"] == 250 * 4096, "{leg}");
    back.restore();
    // More than the network carries: the limit holds the application back, and nothing else happens.
    disturb(cluster, &at(2000))?;
    let plan = Plan {
        seed: 101,
        ..plan.threads(16)
    };
    let mut workload = Workload::start(mirror.source, DEVICE, plan.count(700))?;
    workload.more(600, 4 * SOON)?;
    let leg = mirror.leg()?;
    ensure!(leg["sync_fallbacks"].as_u64() > Some(0), "{leg}");
    // Those below the limit, and the one that each thread waits for.
    ensure!(leg["unconfirmed_bytes"].as_u64() <= Some((256 + 16) * 4096), "{leg}");
    let run = workload.finish(4 * SOON)?;
    ensure!(run.errors.is_empty(), "{run:?}");
    disturb(cluster, "pfifo")?;
    confirmed(&mirror)?;
    undisturbed(&mirror)?;
    mirror.same_disks()
}

/// Covers: S40, S48.
fn what_status_calls_unconfirmed_is_what_the_target_lacks(cluster: &Cluster) -> Result<()> {
    const WRITES: u64 = 230;
    let (eve, adam) = cluster.pair();
    let mirror = in_sync(cluster, LASTING, MAPPED)?;
    let mut workload = Workload::start(eve, DEVICE, Plan::new(40, 4096).threads(1).count(WRITES))?;
    workload.more(30, SOON)?;
    // In the middle of them nothing more gets through; what did is confirmed, for the way back is whole.
    cluster.network().way(0, 1).cut();
    workload.finish(SOON)?;
    // The last one may have been cut off in the middle: the target goes on waiting for the rest of it.
    let held = || workload.moment(adam.disk("vdb")?);
    until("what is unconfirmed to be what is missing", || {
        let (leg, lacks) = (mirror.leg()?, WRITES - held()?);
        Ok(leg["unconfirmed"] == lacks && leg["unconfirmed_bytes"] == lacks * 4096)
    })
    .with_context(|| format!("{:?} of {WRITES} are there, but status says {:?}", held(), mirror.leg()))?;
    let held = held()?;
    let lacks = WRITES - held;
    ensure!(lacks > 0 && held > 0, "it holds {held} of {WRITES}");
    let shown = eve.ctl("status data").ok()?;
    ensure!(shown.contains(&format!("Unconfirmed: {lacks} operations, ")), "{shown}");
    println!("{lacks} of {WRITES} writes are missing, and status says so");
    eve.kill9()?;
    cluster.restore_links();
    ensure!(
        workload.moment(adam.disk("vdb")?)? == held,
        "it holds something else now"
    );
    Ok(())
}
