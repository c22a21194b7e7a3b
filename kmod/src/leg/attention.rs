// SPDX-License-Identifier: GPL-2.0

//! Confirmations that are taken in as they arrive, while the thread that receives sleeps.
//!
//! To wake a thread takes longer than to take in one confirmation. It pays where there are several, which one waking
//! takes in together; so whoever is offered some may leave them to the thread.

use super::{link::Link, link_error::LinkResult};
use crate::sys::net::{Ear, Heard, Listening};
use kernel::prelude::*;
use netraid_core::wire::{features, leading_acks, HEADER_LEN};

impl Link {
    /// Has confirmations taken in by `take` as they arrive, while `body` runs and [waits](Attention::wait) for other messages.
    /// May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and `body` did not run.
    pub(crate) fn attend<R>(&self, take: &Take<'_>, body: impl FnOnce(&Attention<'_>) -> R) -> Result<R> {
        let ear = Confirmations { link: self, take };
        self.socket
            .while_heard(&ear, |listening| body(&Attention { link: self, listening }))
    }
}

/// Takes in the payload of a message of confirmations, or leaves it to the thread: `None`. It says whether to go on; if not,
/// the wait ends. Any context.
pub(crate) type Take<'a> = dyn Fn(&[u8]) -> Option<bool> + Sync + 'a;

/// The wait for messages that are not confirmations; see [`Link::attend`].
pub(crate) struct Attention<'a> {
    link: &'a Link,
    listening: &'a Listening<'a>,
}

impl Attention<'_> {
    /// Waits between two messages until another one begins, the connection ends or somebody who took confirmations in did not
    /// want to go on; sleeps as long as the other side is not silent for too long.
    pub(crate) fn wait(&self) -> LinkResult {
        if !self.link.ahead.lock().kept().is_empty() {
            return Ok(());
        }
        while !self.listening.wait() {
            self.link.check(EAGAIN)?;
        }
        Ok(())
    }
}

struct Confirmations<'a> {
    link: &'a Link,
    take: &'a Take<'a>,
}

impl Ear for Confirmations<'_> {
    fn hear(&self, arrived: &[u8]) -> Heard {
        let agreed = self.link.has(features::PAYLOAD_CHECKSUM);
        let (mut taken, mut goes_on) = (0_usize, true);
        while let Some(payload) = leading_acks(arrived.get(taken..).unwrap_or(&[]), agreed).filter(|_| goes_on) {
            let Some(more) = (self.take)(payload) else { break };
            taken = taken.saturating_add(HEADER_LEN).saturating_add(payload.len());
            goes_on = more;
        }
        if taken > 0 {
            self.link.heard(taken);
        }
        Heard { taken, wake: !goes_on }
    }
}
