// SPDX-License-Identifier: GPL-2.0
//! What the verified writer reported, and the verdict over a disk that came out of it.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader},
    os::unix::net::UnixStream,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{bail, Result};
use netraid_guest::blocks::Found;

use crate::patience::scaled;
use crate::truth::{Report, Reports};

/// What one run of the writer has reported so far.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// The acknowledged version of each block.
    pub acknowledged: HashMap<u64, u64>,
    /// How many writes were acknowledged.
    pub writes: u64,
    /// Writes that the device refused.
    pub errors: Vec<String>,
    /// The run came to its end by itself.
    pub ended: bool,
    /// When the last write was acknowledged.
    pub last: Option<Instant>,
    /// The longest time between two acknowledgements.
    pub longest_gap: Duration,
}

impl Run {
    fn take(&mut self, line: &str) -> Option<()> {
        let mut words = line.split(' ');
        let kind = words.next()?;
        words.next()?;
        match kind {
            "S" => *self = Self::default(),
            "A" => {
                let (block, version) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
                self.acknowledged.insert(block, version);
                self.writes += 1;
                let now = Instant::now();
                if let Some(last) = self.last.replace(now) {
                    self.longest_gap = self.longest_gap.max(now - last);
                }
            }
            "E" => self.errors.push(line.to_owned()),
            "D" => self.ended = true,
            _ => return None,
        }
        Some(())
    }

    /// Judges a disk that was written by this run with `threads` writes in flight.
    ///
    /// Each block must hold the version that was last acknowledged, or, for at most one block a
    /// thread, the one that was being written when the machine died.
    #[must_use]
    pub fn judge(&self, found: &Found, threads: u64) -> Verdict {
        let versions: HashMap<u64, u64> = found.versions.iter().copied().collect();
        let mut verdict = Verdict {
            bad: found.bad.clone(),
            ..Verdict::default()
        };
        let mut ahead = Vec::new();
        for (&block, &acknowledged) in &self.acknowledged {
            let held = versions.get(&block).copied().unwrap_or(0);
            if held < acknowledged {
                verdict.lost.push(block);
            } else if held == acknowledged + 1 {
                ahead.push(block);
            } else if held > acknowledged {
                verdict.bad.push(block);
            }
        }
        for (&block, &held) in &versions {
            if !self.acknowledged.contains_key(&block) {
                if held == 1 { &mut ahead } else { &mut verdict.bad }.push(block);
            }
        }
        verdict.in_flight = ahead.len() as u64;
        if verdict.in_flight > threads {
            verdict.bad.extend(ahead);
        }
        verdict
    }
}

/// How a disk stands to what was acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Blocks that hold less than was acknowledged.
    pub lost: Vec<u64>,
    /// Blocks that hold something nobody can have left there.
    pub bad: Vec<u64>,
    /// Blocks that hold a write that was in flight.
    pub in_flight: u64,
}

impl Verdict {
    /// Nothing lost, nothing wrong.
    #[must_use]
    pub fn good(&self) -> bool {
        self.lost.is_empty() && self.bad.is_empty()
    }
}

/// The reports of all runs on one machine; they outlive the machine.
#[derive(Clone, Debug, Default)]
pub struct Acks {
    runs: Arc<(Mutex<HashMap<u64, Run>>, Condvar)>,
    reports: Reports,
}

impl Acks {
    /// Reads reports from the port until the machine ends.
    pub(crate) fn read(&self, stream: UnixStream) -> thread::JoinHandle<()> {
        let acks = self.clone();
        thread::spawn(move || {
            let mut lines = BufReader::new(stream);
            let mut line = String::new();
            while let Ok(1..) = lines.read_line(&mut line) {
                // A line without end was being written when the machine died.
                if let Some(report) = line.strip_suffix('\n') {
                    if acks.take(report).is_none() {
                        eprintln!("a writer reported something unknown: {report:?}");
                    }
                }
                line.clear();
            }
        })
    }

    /// Enters one report, of the verified writer or of the tool `truth`.
    fn take(&self, report: &str) -> Option<()> {
        if let Some(report) = report.strip_prefix("T ") {
            self.reports.add(Report::parse(report)?);
            return Some(());
        }
        let seed = report.split(' ').nth(1)?.parse().ok()?;
        let mut all = self.runs.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.entry(seed).or_default().take(report);
        drop(all);
        self.runs.1.notify_all();
        known
    }

    /// What the tool `truth` reported.
    pub(crate) fn reports(&self) -> &Reports {
        &self.reports
    }

    /// Forgets what an earlier run of that seed reported, which the next one would be taken for.
    pub(crate) fn forget(&self, seed: u64) {
        let mut runs = self.runs.0.lock().unwrap_or_else(PoisonError::into_inner);
        runs.remove(&seed);
    }

    /// What the run of that seed has reported so far.
    #[must_use]
    pub fn run(&self, seed: u64) -> Run {
        let runs = self.runs.0.lock().unwrap_or_else(PoisonError::into_inner);
        runs.get(&seed).cloned().unwrap_or_default()
    }

    /// Waits until the run of that seed has reported so much that `enough` holds.
    ///
    /// # Errors
    ///
    /// When it does not hold within `timeout`.
    pub fn wait_for(&self, seed: u64, timeout: Duration, mut enough: impl FnMut(&Run) -> bool) -> Result<()> {
        let runs = self.runs.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut runs, waited) = self
            .runs
            .1
            .wait_timeout_while(runs, scaled(timeout), |runs| !enough(runs.entry(seed).or_default()))
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            let run = runs.entry(seed).or_default();
            bail!(
                "the verified writer did not get as far as expected within {timeout:?}: {} writes, \
                 errors {:?}, ended: {}",
                run.writes,
                run.errors,
                run.ended
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(lines: &[&str]) -> Run {
        let mut run = Run::default();
        for line in lines {
            assert!(run.take(line).is_some());
        }
        run
    }

    fn found(versions: &[(u64, u64)]) -> Found {
        Found {
            versions: versions.to_vec(),
            ..Found::default()
        }
    }

    #[test]
    fn what_was_acknowledged_must_be_there_and_what_was_in_flight_may_be() {
        let run = run(&["S 1", "A 1 5 1", "A 1 6 1", "A 1 5 2"]);
        assert!(run.judge(&found(&[(5, 2), (6, 1)]), 1).good());
        assert!(run.judge(&found(&[(5, 3), (6, 1)]), 1).good());
        assert!(run.judge(&found(&[(5, 2), (6, 1), (7, 1)]), 1).good());
        assert_eq!(run.judge(&found(&[(5, 1), (6, 1)]), 1).lost, [5]);
        assert_eq!(run.judge(&found(&[(5, 2)]), 1).lost, [6]);
    }

    #[test]
    fn more_than_was_in_flight_or_more_than_one_version_ahead_is_wrong() {
        let run = run(&["S 1", "A 1 5 1", "A 1 6 1"]);
        assert!(!run.judge(&found(&[(5, 2), (6, 2)]), 1).good());
        assert!(run.judge(&found(&[(5, 2), (6, 2)]), 2).good());
        assert!(!run.judge(&found(&[(5, 3), (6, 1)]), 2).good());
        assert!(!run.judge(&found(&[(5, 1), (6, 1), (9, 2)]), 2).good());
    }
}
