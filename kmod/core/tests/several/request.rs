// SPDX-License-Identifier: GPL-2.0

//! One request under way on a volume.

use crate::disk::Version;
use netraid_core::legs::{LegNumber, LegSet};

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
    /// It may not end before something is on record.
    pub parked: bool,
    pub failed: bool,
}

impl Request {
    pub fn is_pending(&self, leg: LegNumber) -> bool {
        self.queued.contains(leg) || self.sent.contains(leg)
    }
}
