// SPDX-License-Identifier: GPL-2.0

//! Where a request stands on each leg.
//!
//! A request that is being sent lends its pages to the sending thread. Until that thread gives them back, neither a
//! confirmation nor the end of the connection may complete the request; they are noted, and take effect then.
//!
//! A request of the application ends when everybody has done his part. What may end early on an asynchronous leg
//! ([`lag`](crate::lag)) is acknowledged when the local disk and all other legs have it; it goes on without its bio until
//! that leg is done with it, too, and keeps its place in the table and its marks until then ([`Standing`]).

use crate::legs::{LegNumber, LegSet, MAX_LEGS};

/// The part of a request that one network leg has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// The leg has nothing to do with it, or has done it.
    #[default]
    Done,
    /// Waits to be sent.
    Queued,
    /// The sending thread has its pages.
    Sending,
    /// Sent, not yet confirmed.
    Sent,
    /// Confirmed before the sending thread gave the pages back.
    Confirmed,
    /// The connection ended before the sending thread gave the pages back.
    Abandoned,
    /// The target holds other data, and said so before the sending thread gave the pages back.
    Differing,
}

/// What follows from a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The part goes on.
    Pending,
    /// The leg has the data: the part is done.
    Stored,
    /// It is not known whether the leg has the data: mark it, then the part is done.
    Unknown,
    /// It is not known whether the leg has the data: mark it; the part goes on until the pages are back.
    UnknownPending,
    /// The leg was only asked, and has other data: the part begins again, with the data this time.
    Again,
    /// Nothing of the kind was to be expected here; nothing changed.
    Unexpected,
}

impl Part {
    /// Whether the request has to wait for this leg.
    pub const fn is_pending(self) -> bool {
        !matches!(self, Self::Done)
    }

    /// The sending thread takes the request.
    pub fn take(&mut self) -> After {
        self.step(Self::Queued, Self::Sending, After::Pending)
    }

    /// The sending thread gives the pages back, whether the sending went well or not: if it failed, the
    /// connection ends, and with it the part.
    pub fn give_back(&mut self) -> After {
        let (next, after) = match self {
            Self::Sending => (Self::Sent, After::Pending),
            Self::Confirmed => (Self::Done, After::Stored),
            // Marked when it was abandoned.
            Self::Abandoned => (Self::Done, After::Stored),
            Self::Differing => (Self::Queued, After::Again),
            Self::Done | Self::Queued | Self::Sent => (*self, After::Unexpected),
        };
        *self = next;
        after
    }

    /// The target confirms that it has the data.
    pub fn confirm(&mut self) -> After {
        let (next, after) = match self {
            Self::Sent => (Self::Done, After::Stored),
            Self::Sending => (Self::Confirmed, After::Pending),
            Self::Done | Self::Queued | Self::Confirmed | Self::Abandoned | Self::Differing => {
                (*self, After::Unexpected)
            }
        };
        *self = next;
        after
    }

    /// The target was asked whether it has the data, and has not.
    pub fn differ(&mut self) -> After {
        let (next, after) = match self {
            Self::Sent => (Self::Queued, After::Again),
            Self::Sending => (Self::Differing, After::Pending),
            Self::Done | Self::Queued | Self::Confirmed | Self::Abandoned | Self::Differing => {
                (*self, After::Unexpected)
            }
        };
        *self = next;
        after
    }

    /// The connection has ended. What was confirmed stays confirmed.
    pub fn abandon(&mut self) -> After {
        let (next, after) = match self {
            Self::Queued | Self::Sent => (Self::Done, After::Unknown),
            Self::Sending | Self::Differing => (Self::Abandoned, After::UnknownPending),
            Self::Confirmed => (Self::Confirmed, After::Pending),
            Self::Abandoned => (Self::Abandoned, After::Pending),
            Self::Done => (Self::Done, After::Unexpected),
        };
        *self = next;
        after
    }

    fn step(&mut self, from: Self, to: Self, after: After) -> After {
        if *self == from {
            *self = to;
            after
        } else {
            After::Unexpected
        }
    }
}

/// The parts of a request on all legs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts([Part; MAX_LEGS]);

impl Parts {
    /// What one leg has to do.
    #[must_use]
    pub fn of(&self, leg: LegNumber) -> Part {
        self.0.get(leg.index()).copied().unwrap_or_default()
    }

    /// One leg has this to do, and no other one has anything.
    #[must_use]
    pub fn one(leg: LegNumber, part: Part) -> Self {
        let mut parts = Self::default();
        if let Some(place) = parts.0.get_mut(leg.index()) {
            *place = part;
        }
        parts
    }

    /// It is queued for a leg.
    pub fn queue(&mut self, leg: LegNumber) {
        if let Some(part) = self.0.get_mut(leg.index()) {
            *part = Part::Queued;
        }
    }

    /// As [`Part::take`], for one leg.
    pub fn take(&mut self, leg: LegNumber) -> After {
        self.change(leg, Part::take)
    }

    /// As [`Part::give_back`], for one leg.
    pub fn give_back(&mut self, leg: LegNumber) -> After {
        self.change(leg, Part::give_back)
    }

    /// As [`Part::confirm`], for one leg.
    pub fn confirm(&mut self, leg: LegNumber) -> After {
        self.change(leg, Part::confirm)
    }

    /// As [`Part::differ`], for one leg.
    pub fn differ(&mut self, leg: LegNumber) -> After {
        self.change(leg, Part::differ)
    }

    /// As [`Part::abandon`], for one leg.
    pub fn abandon(&mut self, leg: LegNumber) -> After {
        self.change(leg, Part::abandon)
    }

    fn change(&mut self, leg: LegNumber, change: fn(&mut Part) -> After) -> After {
        self.0.get_mut(leg.index()).map_or(After::Unexpected, change)
    }

    /// The legs that have something to do.
    #[must_use]
    pub fn pending(&self) -> LegSet {
        LegNumber::all().filter(|leg| self.of(*leg).is_pending()).collect()
    }
}

/// How a request stands, on the local disk and on the legs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The local disk is still at work.
    pub local: bool,
    /// It waits until it is on record that a leg misses it.
    pub parked: bool,
    /// What the legs have to do.
    pub remote: Parts,
    /// The legs that the application need not wait for.
    pub early: LegSet,
    /// The application has been told.
    pub told: bool,
}

/// What is due now for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing: somebody is at work on it.
    Nothing,
    /// Tell the application that it has ended, and keep it.
    Tell,
    /// Tell the application, unless that was done, and forget it.
    Leave,
}

impl Standing {
    /// What is due.
    #[must_use]
    pub fn due(&self) -> Due {
        if self.local || self.parked {
            return Due::Nothing;
        }
        let pending = self.remote.pending();
        if pending.is_empty() {
            Due::Leave
        } else if pending.is_within(self.early) && !self.told {
            Due::Tell
        } else {
            Due::Nothing
        }
    }
}

/// Whether a flush of the application has nothing to wait for at a target. `asked`: the local disk is asked too, whose answer
/// ends it; `durable`: what the target confirms is on stable storage.
#[must_use]
pub const fn flush_is_moot(asked: bool, durable: bool) -> bool {
    asked && durable
}
