// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask demo`: the main job of netraid, whole, on Debian's own kernel.
//!
//! Two virtual machines mirror a disk. A real tree is copied onto it, then the source is killed in the middle of
//! writes that are each reported when they were acknowledged. The target is promoted, and everything that was copied
//! or acknowledged must be there. Nothing is made up: what the figures say was measured or counted.

mod figures;
mod run;
mod story;

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use tests_qemu::Artifacts;

use figures::{Figures, Report};
use story::Story;

/// How the demonstration is to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// What to run it with.
    pub artifacts: Artifacts,
    /// Where to write the figures as JSON.
    pub json: Option<PathBuf>,
    /// How often, each time with the kill at another moment.
    pub rounds: u32,
    /// Chooses the moments of the kills; by the clock when absent.
    pub seed: Option<u64>,
}

/// Runs the demonstration. The last line on standard output is `demo: ok` with the figures.
///
/// # Errors
///
/// When anything is not as it must be: a machine does not come up, a command fails, a file or an acknowledged write
/// is lost, a kernel complains.
pub fn run(options: &Options) -> Result<()> {
    let seed = options.seed.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::from(now.subsec_nanos()) ^ now.as_secs()
    });
    let mut rounds = Vec::new();
    for round in 0..options.rounds {
        if options.rounds > 1 {
            println!("Round {} of {}", round + 1, options.rounds);
        }
        let figures = run::round(&Story::new(), &options.artifacts, seed.wrapping_add(u64::from(round)))?;
        if options.rounds > 1 {
            println!("round {}: ok {figures}", round + 1);
        }
        rounds.push(figures);
    }
    let total = Figures::total(&rounds).context("a demonstration has at least one round")?;
    let line = format!("demo: ok {total}");
    if let Some(file) = &options.json {
        let report = Report {
            kernel: options.artifacts.kver.clone(),
            total,
            rounds,
        };
        report.write(file)?;
    }
    println!("{line}");
    Ok(())
}
