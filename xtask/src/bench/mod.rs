// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask bench`: netraid beside what else mirrors a disk over TCP.
//!
//! Everything runs in one virtual machine of two processors, both ends of each mirror on RAM disks with loopback between
//! them: what is compared is what the software costs, not disks or networks. All take turns in each of several rounds, and
//! medians are shown, because the host is never quite quiet. What could not be set up is said to be so.

pub mod case;
mod chart;
pub mod echo;
mod fio;
mod measure;
pub mod peer;
mod result;
mod stats;
mod table;
mod usage;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{bail, ensure, Result};
use tests_qemu::{Artifacts, Cluster, ClusterSpec, Node};

use crate::progress::{seconds, Progress};
use case::Case;
use measure::Plan;
use peer::Peer;
use result::{Outcome, Report, VERSION};

/// Memory of the machine in MiB: three disks of 256, and room.
const MEMORY: u64 = 3072;

/// What is to be measured, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// What to run it with.
    pub artifacts: Artifacts,
    /// The module that measures the floor.
    pub echo: PathBuf,
    /// Parts of the names of what is measured; everything when empty.
    pub names: Vec<String>,
    /// Few loads, one short round.
    pub quick: bool,
    /// How often everybody has a turn.
    pub rounds: Option<u32>,
    /// Seconds for which each load runs.
    pub seconds: Option<u32>,
    /// Where to write the figures as JSON.
    pub json: Option<PathBuf>,
    /// Where to draw them.
    pub svg: PathBuf,
}

/// Measures, shows the tables, and writes the files.
///
/// # Errors
///
/// When the names mean nobody, the machine does not come up or complains, nobody could be measured, or a file cannot be
/// written.
pub fn run(options: &Options, progress: &Progress) -> Result<()> {
    let began = Instant::now();
    let peers = peer::chosen(&options.names);
    ensure!(
        options.names.is_empty() || peers.len() > 1,
        "nobody is called {}; there are: {}",
        options.names.join(" or "),
        names(&peer::all())
    );
    let plan = Plan {
        cases: case::cases(options.quick),
        milliseconds: options.seconds.unwrap_or(if options.quick { 1 } else { 4 }) * 1000,
        rounds: options.rounds.unwrap_or(if options.quick { 1 } else { 3 }),
    };
    let report = measured(options, &peers, &plan, progress)?;
    if let Some(file) = &options.json {
        report.write(file)?;
    }
    println!("\n{}", table::show(&report, &plan.cases));
    chart::draw(&report, &plan.cases, &options.svg)?;
    println!("The picture is {}.", options.svg.display());
    let missing = report.peers.iter().filter(|peer| !peer.is_measured()).count();
    println!(
        "bench: {} measured, {missing} not, took {}",
        report.peers.len() - missing,
        seconds(began.elapsed())
    );
    ensure!(missing < report.peers.len(), "nobody could be measured");
    Ok(())
}

fn names(peers: &[Peer]) -> String {
    peers.iter().map(|peer| peer.name).collect::<Vec<_>>().join(", ")
}

/// Boots the machine, and looks at what its kernel said in the end.
fn measured(options: &Options, peers: &[Peer], plan: &Plan, progress: &Progress) -> Result<Report> {
    let spec = ClusterSpec::new(1).memory(MEMORY).measured().disks(&[]);
    let cluster = progress.step("Boot the machine", |_| Cluster::start(&options.artifacts, &spec))?;
    let outcome = rounds(options, cluster.node(0), peers, plan, progress);
    let complaints = cluster.complaints();
    match outcome {
        Ok(report) if complaints.is_empty() => Ok(report),
        Ok(_) => bail!(
            "the kernel complained, and the figures are worth nothing: {}",
            complaints.join("\n")
        ),
        Err(error) => {
            let tails = cluster.tails();
            let dir = cluster.keep();
            bail!(
                "{error:#}\n{}\n{tails}logs are in {}",
                complaints.join("\n"),
                dir.display()
            )
        }
    }
}

fn rounds(options: &Options, node: &Node, peers: &[Peer], plan: &Plan, progress: &Progress) -> Result<Report> {
    progress.step("Fill the disks", |_| {
        node.insmod()?;
        measure::make_disks(node)?;
        echo::install(node, &options.echo)
    })?;
    let floor = progress.step("Measure the floor", |step| {
        echo::measure(node, plan.milliseconds, |what| step.say(what))
    })?;
    let mut outcomes: Vec<Outcome> = peers.iter().map(Outcome::new).collect();
    for round in 1..=plan.rounds {
        for (peer, outcome) in peers.iter().zip(&mut outcomes) {
            let failed = outcome.failures.len();
            let what = format!("Round {round} of {}: {}", plan.rounds, peer.name);
            progress.step(&what, |step| {
                measure::turn(node, peer, plan, outcome, &|what| step.say(what))
            })?;
            if outcome.failures.len() > failed {
                progress.line("       It could not be measured; the reason is below.");
            }
        }
    }
    let emulated = node.sh("grep -q hypervisor /proc/cpuinfo && grep -q 'QEMU Virtual CPU' /proc/cpuinfo");
    Ok(Report {
        version: VERSION,
        kernel: options.artifacts.kver.clone(),
        emulated: emulated.run()?.code == 0,
        quick: options.quick,
        milliseconds: plan.milliseconds,
        rounds: plan.rounds,
        cases: plan.cases.iter().map(|case: &Case| case.name.to_owned()).collect(),
        floor,
        peers: outcomes,
    })
}
