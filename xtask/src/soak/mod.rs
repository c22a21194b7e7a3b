// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask soak`: a mirror under load for as long as is wanted, while one fault after the other befalls it.
//!
//! Which faults these are is drawn from a seed. Each of them ends with the mirror fully operational again; then no sector
//! of either disk may hold anything but what the operations acknowledged so far allow, and both must hold the same. See
//! [`tests_qemu::truth`] for what is allowed, `fault` for what can happen, `acts` for what must follow.

mod acts;
mod dice;
mod fault;
mod interrupt;
mod pair;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{anyhow, Context as _, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tests_qemu::{patience, Artifacts, Cluster, ClusterSpec, DiskSpec, Pictures, MIB};

use dice::Dice;
use fault::Fault;
use interrupt::Interrupt;
use pair::Pair;
use report::{Report, Told};

/// How it is to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// What to run it with.
    pub artifacts: Artifacts,
    /// How long, in minutes; the fault that is under way then still comes to its end.
    pub minutes: u32,
    /// Chooses the faults; by the clock when absent.
    pub seed: Option<u64>,
    /// Only faults whose name contains one of these; all when empty.
    pub only: Vec<String>,
    /// Where to write the report as JSON.
    pub json: Option<PathBuf>,
    /// Where to leave the logs of a run that fails.
    pub logs: PathBuf,
}

/// Runs it. The last line on standard output is `soak: ok` or `soak: FAILED` with the figures, and the exit code says
/// the same.
///
/// # Errors
///
/// When the machines do not come up or a file cannot be written; a mirror that does not hold out is told in the report.
pub fn run(options: &Options) -> Result<ExitCode> {
    let seed = options.seed.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::from(now.subsec_nanos()) ^ now.as_secs()
    });
    let faults = fault::chosen(&options.only)?;
    println!(
        "soak: seed {seed}, {} minutes, Ctrl-C ends it in order",
        options.minutes
    );
    let interrupt = Interrupt::catch()?;
    if options.artifacts.debug {
        patience::set(patience::DEBUG);
    }
    let spec = ClusterSpec::new(2)
        .apart()
        .pictures(&Arc::new(Pictures::new()?))
        .disks(&[DiskSpec::new(pair::DISK), DiskSpec::new(4 * MIB)]);
    let cluster = Cluster::start(&options.artifacts, &spec)?;
    for node in cluster.nodes() {
        node.begin("soak");
    }
    let began = Instant::now();
    let mut report = Report::new(&options.artifacts.kver, seed);
    let until = began + Duration::from_secs(u64::from(options.minutes) * 60);
    let outcome = Pair::new(&cluster, seed).and_then(|mut pair| {
        let outcome = go_on(&mut pair, &faults, &mut report, &interrupt, until);
        let outcome = outcome.and_then(|()| pair.finish());
        report.take(pair.figures());
        outcome
    });
    report.seconds = began.elapsed().as_secs_f64();
    report.interrupted = interrupt.came();
    if report.kernel_complaints.is_empty() {
        report.kernel_complaints = cluster.complaints();
    }
    if let Err(error) = outcome {
        report.failure = Some(format!("{error:#}"));
    }
    if report.ok() {
        drop(cluster);
    } else {
        keep(cluster, options, &mut report);
    }
    if let Some(file) = &options.json {
        report.write(file)?;
    }
    println!("{report}");
    Ok(if report.ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// One fault after the other, until the time is over or somebody wants the end.
fn go_on(
    pair: &mut Pair<'_>,
    faults: &[Fault],
    report: &mut Report,
    interrupt: &Interrupt,
    until: Instant,
) -> Result<()> {
    let began = Instant::now();
    pair.load(20)?;
    for number in 1.. {
        if interrupt.came() || Instant::now() >= until {
            break;
        }
        // Each fault has numbers of its own: what one of them used does not change the next ones.
        let mut dice = Dice::new(report.seed, number);
        let fault = fault::draw(faults, &mut dice)?;
        let (at, start) = (began.elapsed(), Instant::now());
        let bar = spinner(&format!("#{number} {}", fault.name()));
        let outcome = acts::befall(pair, fault, &mut dice).and_then(|what| Ok((what, pair.quiet()?)));
        bar.finish_and_clear();
        let (what, failed) = match outcome {
            Ok((what, checked)) => (format!("{what}; {checked}"), None),
            Err(error) => (
                format!("FAILED: {error:#}"),
                Some(anyhow!("fault {number}, {}: {error:#}", fault.name())),
            ),
        };
        let told = Told {
            number,
            seconds: at.as_secs_f64(),
            took: start.elapsed().as_secs_f64(),
            fault: fault.name(),
            what,
        };
        println!("{told}");
        report.faults.push(told);
        if let Some(error) = failed {
            return Err(error);
        }
    }
    Ok(())
}

fn spinner(what: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    // The template is a constant; if it were wrong the default style is as good.
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// Leaves the logs where they are found, and the disks where they are.
fn keep(cluster: Cluster, options: &Options, report: &mut Report) {
    let logs = options.logs.join(report.seed.to_string());
    match cluster.save_logs(&logs).context("the logs cannot be copied") {
        Ok(()) => report.logs = Some(logs),
        Err(error) => eprintln!("{error:#}"),
    }
    report.disks = Some(cluster.keep());
}
