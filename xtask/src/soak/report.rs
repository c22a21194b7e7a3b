// SPDX-License-Identifier: GPL-2.0
//! What happened, and how the mirror stood it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;

/// One fault and what followed.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Told {
    /// The how many-th it was.
    pub(super) number: u64,
    /// Seconds after the beginning.
    pub(super) seconds: f64,
    /// Seconds until the mirror was as before and checked.
    pub(super) took: f64,
    /// Its name.
    pub(super) fault: &'static str,
    /// In words.
    pub(super) what: String,
}

impl fmt::Display for Told {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:>7.1} s  #{:<3} {:<14} ({:.1} s) {}",
            self.seconds, self.number, self.fault, self.took, self.what
        )
    }
}

/// What was counted.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Figures {
    /// Seconds in which operations were done.
    pub(super) seconds_under_load: f64,
    /// Writes that were acknowledged.
    pub(super) acknowledged_writes: u64,
    /// Bytes in them.
    pub(super) acknowledged_bytes: u64,
    /// Flushes, discards and writes of zeroes that were acknowledged.
    pub(super) acknowledged_others: u64,
    /// Times that disks were held against what was acknowledged.
    pub(super) checks: u64,
    /// Sectors that were looked at, each as often as it was.
    pub(super) sectors_checked: u64,
    /// Sectors that held something older than what was acknowledged.
    pub(super) sectors_lost: u64,
    /// Sectors that held what they can never have held.
    pub(super) sectors_impossible: u64,
    /// Sectors in which disks in step differed.
    pub(super) sectors_differing: u64,
    /// Times that a machine lost power.
    pub(super) power_cuts: u64,
    /// Times that the link was cut, in one direction or both.
    pub(super) partitions: u64,
    /// Times that a target took over.
    pub(super) failovers: u64,
    /// Resyncs that came to their end.
    pub(super) resyncs: u64,
    /// Bytes they copied.
    pub(super) resynced_bytes: u64,
}

/// The whole run.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Report {
    /// Kernel release.
    pub(super) kernel: String,
    /// Chose the faults.
    pub(super) seed: u64,
    /// Whether all was well.
    pub(super) ok: bool,
    /// Seconds in all, without the start of the machines.
    pub(super) seconds: f64,
    /// Somebody wanted the end.
    pub(super) interrupted: bool,
    #[serde(flatten)]
    figures: Figures,
    /// How often which fault came.
    faults_by_kind: BTreeMap<&'static str, u64>,
    /// The faults in their order.
    pub(super) faults: Vec<Told>,
    /// Warnings and worse on the consoles.
    pub(super) kernel_complaints: Vec<String>,
    /// What went wrong.
    pub(super) failure: Option<String>,
    /// Where the logs of a failed run are.
    pub(super) logs: Option<PathBuf>,
    /// Where its disks are.
    pub(super) disks: Option<PathBuf>,
}

impl Report {
    pub(super) fn new(kernel: &str, seed: u64) -> Self {
        Self {
            kernel: kernel.to_owned(),
            seed,
            ok: false,
            seconds: 0.0,
            interrupted: false,
            figures: Figures::default(),
            faults_by_kind: BTreeMap::new(),
            faults: Vec::new(),
            kernel_complaints: Vec::new(),
            failure: None,
            logs: None,
            disks: None,
        }
    }

    /// Whether all was well.
    pub(super) fn ok(&self) -> bool {
        self.failure.is_none() && self.kernel_complaints.is_empty()
    }

    /// Takes the figures in, which come when all is over.
    pub(super) fn take(&mut self, figures: Figures) {
        self.figures = figures;
        for told in &self.faults {
            *self.faults_by_kind.entry(told.fault).or_default() += 1;
        }
    }

    pub(super) fn write(&mut self, file: &Path) -> Result<()> {
        self.ok = self.ok();
        let mut text = serde_json::to_string_pretty(self).context("write the report as JSON")?;
        text.push('\n');
        fs::write(file, text).with_context(|| format!("write the report to {}", file.display()))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = &self.figures;
        let kinds: Vec<_> = self
            .faults_by_kind
            .iter()
            .map(|(name, times)| format!("{name} {times}"))
            .collect();
        writeln!(formatter, "faults: {}", kinds.join(", "))?;
        writeln!(
            formatter,
            "acknowledged: {} writes of {} MiB, {} flushes, discards and zeroes; checks: {} of {} sectors; lost {}, \
             impossible {}, differing {}; power cuts {}, partitions {}, failovers {}; resyncs {} of {} MiB",
            figures.acknowledged_writes,
            figures.acknowledged_bytes >> 20,
            figures.acknowledged_others,
            figures.checks,
            figures.sectors_checked,
            figures.sectors_lost,
            figures.sectors_impossible,
            figures.sectors_differing,
            figures.power_cuts,
            figures.partitions,
            figures.failovers,
            figures.resyncs,
            figures.resynced_bytes >> 20
        )?;
        for complaint in &self.kernel_complaints {
            writeln!(formatter, "the kernel complained on {complaint}")?;
        }
        if let Some(failure) = &self.failure {
            writeln!(formatter, "{failure}")?;
        }
        if let Some(logs) = &self.logs {
            writeln!(formatter, "logs are in {}", logs.display())?;
        }
        if let Some(disks) = &self.disks {
            writeln!(formatter, "disks are in {}", disks.display())?;
        }
        write!(
            formatter,
            "soak: {}{} (seed {}, {:.1} of {:.1} minutes under load, {} faults, {} kernel complaints)",
            if self.ok() { "ok" } else { "FAILED" },
            if self.interrupted { ", interrupted" } else { "" },
            self.seed,
            figures.seconds_under_load / 60.0,
            self.seconds / 60.0,
            self.faults.len(),
            self.kernel_complaints.len()
        )
    }
}
