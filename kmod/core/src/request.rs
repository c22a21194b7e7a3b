// SPDX-License-Identifier: GPL-2.0

//! Where a request stands on one leg.
//!
//! A request that is being sent lends its pages to the sending thread. Until that thread gives them back, neither a
//! confirmation nor the end of the connection may complete the request; they are noted, and take effect then.

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
