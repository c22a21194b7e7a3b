// SPDX-License-Identifier: GPL-2.0

//! Sending from the thread that writes.
//!
//! Usually a leg's own thread sends, so that no application waits for a full socket. Where a leg has nothing else to do,
//! having that thread woken takes longer than sending: then whoever began the request sends it, as long as it is
//! certain to find room. Whoever sends has the leg's turn, so that messages are sent in the order of their numbers.

use super::{exchange::Outgoing, Volume};
use kernel::sync::{
    lock::{mutex::MutexBackend, Guard},
    Arc, Mutex,
};
use netraid_core::{legs::LegNumber, name::Text};

/// The longest data that is sent so, bytes: to copy more into the socket takes longer than to wake a thread. 4 KiB were
/// measured with `cargo xtask bench`, and are faster so; where the border is nobody measured.
pub(super) const LONGEST: u32 = 16 << 10;

/// A connection, for those who know nothing of legs.
pub(crate) trait Courier: Send + Sync {
    /// Whether so many bytes find room at once. Any context; a moment old.
    fn has_room(&self, bytes: u32) -> bool;

    /// Sends a message. May sleep, but not for long where there was room.
    ///
    /// # Errors
    ///
    /// Why the connection is to be given up.
    fn send(&self, outgoing: &Outgoing) -> Result<(), Text>;
}

/// The turn to send on a leg.
pub(crate) struct Turn {
    /// The connection in use, as the leg's sender has seen it, with its [`Volume::connection`].
    courier: Option<(u64, Arc<dyn Courier>)>,
    /// Somebody else could not send; the sender gives the connection up.
    failed: Option<Text>,
}

impl Turn {
    /// There is no connection.
    pub(super) const NONE: Self = Self {
        courier: None,
        failed: None,
    };

    /// From now on this connection is used.
    pub(crate) fn connect(&mut self, number: u64, courier: impl FnOnce() -> Arc<dyn Courier>) {
        if self.courier.as_ref().is_none_or(|(now, _)| *now != number) {
            self.courier = Some((number, courier()));
            self.failed = None;
        }
    }

    /// There is no connection any more.
    pub(crate) fn disconnect(&mut self) {
        *self = Self::NONE;
    }

    /// Why the connection is to be given up, once.
    pub(crate) fn take_failure(&mut self) -> Option<Text> {
        self.failed.take()
    }
}

impl Volume {
    /// Waits for the turn to send on a leg; may sleep.
    pub(crate) fn turn(&self, leg: LegNumber) -> Option<Guard<'_, Turn, MutexBackend>> {
        Some(self.turns.get(leg.index())?.lock())
    }

    /// Has the one request that a leg has sent, from here if that is possible at once. May sleep.
    pub(super) fn send_or_raise(&self, leg: LegNumber) {
        if !self.send_directly(leg) {
            self.raise_outgoing(leg);
        }
    }

    /// False where there is something for the sender to do.
    fn send_directly(&self, leg: LegNumber) -> bool {
        let Some(mut turn) = self.turns.get(leg.index()).and_then(Mutex::try_lock) else {
            return false;
        };
        let Some((connection, courier)) = turn.courier.as_ref() else {
            return false;
        };
        if !courier.has_room(LONGEST) {
            return false;
        }
        let Some(outgoing) = self.take_alone(leg, *connection) else {
            return false;
        };
        let sent = courier.send(&outgoing);
        // The pages go back in any case; they are marked when the connection is given up.
        self.sent(leg, outgoing);
        turn.failed = sent.err();
        turn.failed.is_none()
    }
}
