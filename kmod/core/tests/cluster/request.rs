// SPDX-License-Identifier: GPL-2.0

//! One request under way on a volume.

use crate::disk::Version;
use netraid_core::legs::{LegNumber, LegSet, MAX_LEGS};

/// Who made a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Application,
    Copy,
    Round,
    Rebuild,
}

#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub id: u32,
    pub origin: Origin,
    pub chunk: usize,
    pub version: Version,
    /// The leg that a copy is for.
    pub leg: LegNumber,
    /// Which disk it was made for.
    pub disk: u32,
    /// It has not begun, because a mark or another request is in its way.
    pub waiting: bool,
    /// The local disk is at work.
    pub local: bool,
    /// Legs to which it is still to be sent, and those that have still to confirm it.
    pub queued: LegSet,
    pub sent: LegSet,
    pub stored: LegSet,
    /// How many requests of applications had been entered with it.
    pub number: u64,
    /// Its sequence number on each leg.
    pub seqs: [u64; MAX_LEGS],
    /// The legs that the application does not wait for, and those on which it begins an epoch.
    pub early: LegSet,
    pub barriers: LegSet,
    /// It has ended for the application.
    pub told: bool,
    /// It may not end before something is on record.
    pub parked: bool,
    pub failed: bool,
}

impl Request {
    pub fn is_pending(&self, leg: LegNumber) -> bool {
        self.pending().contains(leg)
    }

    /// The legs that have something to do.
    pub fn pending(&self) -> LegSet {
        self.sent.iter().chain(self.queued.iter()).collect()
    }
}
