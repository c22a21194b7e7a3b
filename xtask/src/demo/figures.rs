// SPDX-License-Identifier: GPL-2.0
//! What a demonstration measured and counted.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;

/// The figures of one round, or of several taken together.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Figures {
    /// Chose the moment of the kill.
    pub(super) seed: u64,
    /// Files and symbolic links whose content was verified on the promoted target.
    pub(super) files_verified: u64,
    /// Bytes in those files.
    pub(super) bytes_verified: u64,
    /// Writes that were acknowledged before the source died.
    pub(super) acknowledged_writes: u64,
    /// Acknowledged writes that were not there after it.
    pub(super) acknowledged_writes_lost: u64,
    /// Bytes the first resync copied.
    pub(super) resync_bytes: u64,
    /// How long it took.
    pub(super) resync_seconds: f64,
    /// Its speed in millions of bytes a second.
    pub(super) resync_mb_per_second: f64,
    /// From the death of the source to the first write acknowledged by the promoted target's file system.
    pub(super) failover_seconds: f64,
    /// Warnings and worse on the consoles.
    pub(super) kernel_complaints: u64,
    /// From the start of the machines to the end.
    pub(super) seconds: f64,
}

impl Figures {
    /// Counts add up; of the speed it is the lowest that tells, of the failover time the highest.
    pub(super) fn total(rounds: &[Self]) -> Option<Self> {
        let mut rounds = rounds.iter();
        let first = rounds.next()?.clone();
        Some(rounds.fold(first, |sum, one| Self {
            seed: sum.seed,
            files_verified: sum.files_verified + one.files_verified,
            bytes_verified: sum.bytes_verified + one.bytes_verified,
            acknowledged_writes: sum.acknowledged_writes + one.acknowledged_writes,
            acknowledged_writes_lost: sum.acknowledged_writes_lost + one.acknowledged_writes_lost,
            resync_bytes: sum.resync_bytes + one.resync_bytes,
            resync_seconds: sum.resync_seconds + one.resync_seconds,
            resync_mb_per_second: sum.resync_mb_per_second.min(one.resync_mb_per_second),
            failover_seconds: sum.failover_seconds.max(one.failover_seconds),
            kernel_complaints: sum.kernel_complaints + one.kernel_complaints,
            seconds: sum.seconds + one.seconds,
        }))
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "(files verified: {}, acknowledged writes: {}, acknowledged writes lost: {}, resync: {:.0} MB/s, \
             failover: {:.1} s, kernel complaints: {}, took {:.0} s)",
            self.files_verified,
            self.acknowledged_writes,
            self.acknowledged_writes_lost,
            self.resync_mb_per_second,
            self.failover_seconds,
            self.kernel_complaints,
            self.seconds
        )
    }
}

/// The file that `--json` writes.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Kernel release.
    pub(super) kernel: String,
    /// All rounds together.
    #[serde(flatten)]
    pub(super) total: Figures,
    /// Each round.
    pub(super) rounds: Vec<Figures>,
}

impl Report {
    pub(super) fn write(&self, file: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self).context("write the figures as JSON")?;
        text.push('\n');
        fs::write(file, text).with_context(|| format!("write the figures to {}", file.display()))
    }
}
