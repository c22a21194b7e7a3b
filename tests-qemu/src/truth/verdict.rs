// SPDX-License-Identifier: GPL-2.0
//! How a disk stands to what it may hold.

use std::fmt;

use netraid_guest::truth::Content;

/// So many faults are told one by one.
const TOLD: usize = 8;

/// A sector that does not hold what it may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its number.
    pub sector: u64,
    /// What it holds.
    pub held: Content,
    /// What it might hold.
    pub legal: Vec<Content>,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let legal: Vec<_> = self.legal.iter().map(ToString::to_string).collect();
        write!(
            formatter,
            "sector {} (chunk {}) holds {} and not {}",
            self.sector,
            self.sector / 128,
            self.held,
            legal.join(" or ")
        )
    }
}

/// What was found on a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Sectors that hold what they may.
    pub fine: u64,
    /// Sectors that hold what they held before an acknowledged operation.
    pub lost: Vec<Fault>,
    /// Sectors that hold what they can never have held: torn, misplaced, never written, foreign.
    pub impossible: Vec<Fault>,
}

impl Verdict {
    /// Nothing is lost and nothing impossible.
    #[must_use]
    pub fn good(&self) -> bool {
        self.lost.is_empty() && self.impossible.is_empty()
    }

    /// Sectors that were looked at.
    #[must_use]
    pub fn checked(&self) -> u64 {
        self.fine + self.lost.len() as u64 + self.impossible.len() as u64
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "of {} sectors {} are lost and {} impossible",
            self.checked(),
            self.lost.len(),
            self.impossible.len()
        )?;
        for (what, faults) in [("lost", &self.lost), ("impossible", &self.impossible)] {
            for fault in faults.iter().take(TOLD) {
                write!(formatter, "; {what}: {fault}")?;
            }
            if faults.len() > TOLD {
                write!(formatter, "; {} more are {what}", faults.len() - TOLD)?;
            }
        }
        Ok(())
    }
}

/// What was found on the two disks of a mirror that is in step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// The disk of the source.
    pub source: Verdict,
    /// The disk of the target.
    pub target: Verdict,
    /// Sectors in which they differ, other than by what a discard may leave there.
    pub differing: Vec<u64>,
}

impl Settled {
    /// Both hold what they may, and the same.
    #[must_use]
    pub fn good(&self) -> bool {
        self.source.good() && self.target.good() && self.differing.is_empty()
    }

    /// Sectors that were looked at, on both.
    #[must_use]
    pub fn checked(&self) -> u64 {
        self.source.checked() + self.target.checked()
    }
}

impl fmt::Display for Settled {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = &self.differing[..self.differing.len().min(TOLD)];
        write!(
            formatter,
            "the disk of the source: {}; the disk of the target: {}; they differ in {} sectors, the first of them {first:?}",
            self.source,
            self.target,
            self.differing.len()
        )
    }
}
