// SPDX-License-Identifier: GPL-2.0
//! A history of runs of the tool `truth`, and the disks it is held against.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context as _, Result};
use netraid_guest::truth::{Found, Kind, Operation, Plan, SECTOR};
use nix::sys::signal::Signal;

use super::{
    ledger::Ledger,
    log::{Outcome, Report, Reports},
    verdict::{Settled, Verdict},
};
use crate::{
    disk::{Disk, MIB},
    metadata::Chunks,
    node::Node,
    program::Job,
};

/// A process that is killed ends when what it has under way is over; the mirror sees to it that this is soon.
const END: Duration = Duration::from_secs(60);
/// Reading a whole device in an emulated machine.
const READING: Duration = Duration::from_secs(240);

/// How much was acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Writes, with and without FUA.
    pub writes: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Flushes.
    pub flushes: u64,
    /// Discards.
    pub discards: u64,
    /// Writes of zeroes.
    pub zeroes: u64,
}

impl Counts {
    /// Operations of any kind.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.writes + self.flushes + self.discards + self.zeroes
    }

    fn add(&mut self, operation: &Operation) {
        match operation.kind {
            Kind::Write | Kind::Durable => {
                self.writes += 1;
                self.bytes += (operation.sectors.end - operation.sectors.start) * SECTOR as u64;
            }
            Kind::Flush => self.flushes += 1,
            Kind::Discard => self.discards += 1,
            Kind::Zeroes => self.zeroes += 1,
        }
    }
}

/// The run that is under way.
#[derive(Debug)]
struct Running {
    job: Job,
    reports: Reports,
    run: u32,
}

/// A history. It goes on in runs, each on the machine that is the source then.
#[derive(Debug)]
pub struct Truth {
    plan: Plan,
    ledger: Ledger,
    running: Option<Running>,
    counts: Counts,
    refused: Vec<Report>,
}

impl Truth {
    /// A history over a device that holds zeroes; `plan` is for all its runs, apart from their number.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self {
            ledger: Ledger::new(plan.sectors),
            plan,
            running: None,
            counts: Counts::default(),
            refused: Vec::new(),
        }
    }

    /// Begins the next run, on `device` in a machine.
    ///
    /// # Errors
    ///
    /// When the last one is not over or the tool cannot be started.
    #[track_caller]
    pub fn start(&mut self, node: &Node, device: &str) -> Result<()> {
        ensure!(self.running.is_none(), "the history is under way already");
        let run = self.ledger.runs();
        let plan = Plan {
            run,
            ..self.plan.clone()
        };
        let words = format!("netraid-guest truth {device} {}", plan.arguments());
        self.ledger.begin(plan)?;
        let argv: Vec<&str> = words.split(' ').collect();
        let job = node.command(&argv).spawn_with(true)?;
        let reports = node.acks().reports().clone();
        self.running = Some(Running { job, reports, run });
        Ok(())
    }

    /// Whether a run is under way.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// What was acknowledged so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Enters what was reported since the last time.
    ///
    /// # Errors
    ///
    /// When a report makes no sense, or tells that the device refused an operation.
    fn absorb(&mut self) -> Result<()> {
        let Some(running) = &self.running else { return Ok(()) };
        let (seed, run) = (self.plan.seed, running.run);
        for report in running.reports.take() {
            if (report.seed, report.run) != (seed, run) {
                continue;
            }
            match report.outcome {
                Outcome::Acknowledged => {
                    let operation = self.ledger.acknowledge(report.thread, report.number)?;
                    self.counts.add(&operation);
                }
                Outcome::Refused(_) => self.refused.push(report),
                Outcome::Over => {}
            }
        }
        Ok(())
    }

    fn none_refused(&self) -> Result<()> {
        match self.refused.first() {
            None => Ok(()),
            Some(report) => {
                let operation = self.plan_of(report.run).operation(report.thread, report.number);
                bail!("the device refused an operation: {report:?}, {operation:?}")
            }
        }
    }

    fn plan_of(&self, run: u32) -> Plan {
        Plan {
            run,
            ..self.plan.clone()
        }
    }

    /// Waits until `count` more operations than now are acknowledged.
    ///
    /// # Errors
    ///
    /// When that takes longer than `timeout`, or the device refused one.
    pub fn more(&mut self, count: usize, timeout: Duration) -> Result<()> {
        let until = Instant::now() + timeout;
        self.absorb()?;
        let wanted = self.counts.all() + count as u64;
        loop {
            self.none_refused()?;
            let have = self.counts.all();
            if have >= wanted {
                return Ok(());
            }
            let running = self.running.as_ref().context("no run is under way")?;
            let left = until.saturating_duration_since(Instant::now());
            let waited = running.reports.wait_for(left, |list| !list.is_empty());
            waited.with_context(|| format!("wait for {} more of {count} operations", wanted - have))?;
            self.absorb()?;
        }
    }

    /// Kills the run and waits until all it did is known; what it had under way is in doubt then.
    ///
    /// # Errors
    ///
    /// When it does not end, for instance because a write hangs, or the device had refused an operation.
    pub fn stop(&mut self, node: &Node) -> Result<()> {
        self.kill(node)?;
        self.none_refused()
    }

    /// The same for a device that was taken away from under the run, which may have refused.
    ///
    /// # Errors
    ///
    /// When it does not end.
    pub fn kill(&mut self, node: &Node) -> Result<()> {
        let Some(running) = &mut self.running else {
            bail!("no run is under way");
        };
        running.job.signal(Signal::SIGKILL)?;
        running.job.wait(END).context("wait for the killed run")?;
        // Reports may take longer to come than the news of the end, and come in order.
        let over = format!("echo T {} {} O 0 0", self.plan.seed, running.run);
        node.command(&["sh", "-c", &over]).spawn_with(true)?.wait(END)?;
        let is_over = |list: &[Report]| list.iter().any(|report| report.outcome == Outcome::Over);
        running.reports.wait_for(END, is_over)?;
        self.died()
    }

    /// The run has died with its machine.
    ///
    /// # Errors
    ///
    /// When what it reported makes no sense.
    pub fn died(&mut self) -> Result<()> {
        self.absorb()?;
        self.ledger.end();
        self.running = None;
        Ok(())
    }

    /// Forgets that operations were refused, where that was to be expected.
    pub fn forgive(&mut self) -> usize {
        std::mem::take(&mut self.refused).len()
    }

    /// What a disk holds, read on the host.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn read_disk(&self, disk: &Disk) -> Result<Found> {
        let mut found = Found::new(0);
        let (mut at, end) = (0, self.plan.sectors * SECTOR as u64);
        while at < end {
            let bytes = disk.read(at, MIB.min(end - at))?;
            found.scan(&bytes, self.plan.seed, at / SECTOR as u64);
            at += bytes.len() as u64;
        }
        Ok(found)
    }

    /// What a device holds, read in a machine.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    #[track_caller]
    pub fn read_device(&self, node: &Node, device: &str) -> Result<Found> {
        let Plan { seed, sectors, .. } = self.plan;
        let script = format!("netraid-guest truth-read {device} --seed {seed} --sectors {sectors}");
        let text = node.sh(&script).timeout(READING).ok()?;
        serde_json::from_str(&text).context("parse what the device holds")
    }

    /// Judges what was found.
    ///
    /// # Errors
    ///
    /// When what was reported makes no sense.
    pub fn judge(&mut self, found: &Found) -> Result<Verdict> {
        self.absorb()?;
        Ok(self.ledger.judge(found))
    }

    /// Holds the disks of a mirror that is in step, with no run under way, against the history and each other. If all is
    /// well, what was in doubt is what they hold from then on.
    ///
    /// # Errors
    ///
    /// When a disk cannot be read.
    pub fn settle(&mut self, source: &Disk, target: &Disk) -> Result<Settled> {
        ensure!(self.running.is_none(), "a run is under way");
        let (one, other) = (self.read_disk(source)?, self.read_disk(target)?);
        let settled = Settled {
            source: self.ledger.judge(&one),
            target: self.ledger.judge(&other),
            differing: self.ledger.differing(&one, &other),
        };
        if settled.good() {
            self.ledger.settle(&one);
        }
        Ok(settled)
    }

    /// Numbers of the chunks of so many bytes in which two disks differ, other than by what a discard may leave there.
    ///
    /// # Errors
    ///
    /// When a disk cannot be read.
    pub fn differing(&self, one: &Disk, other: &Disk, chunk: u64) -> Result<Chunks> {
        let differing = self.ledger.differing(&self.read_disk(one)?, &self.read_disk(other)?);
        let sectors = chunk / SECTOR as u64;
        Ok(differing.into_iter().map(|sector| sector / sectors).collect())
    }
}
