// SPDX-License-Identifier: GPL-2.0

//! Changing places, the source's side: the answer to a target that asks.

use super::source::SourceLeg;
use netraid_core::{
    leg::State,
    name::Text,
    wire::{Header, Kind, Reply, REPLY_MAX_LEN},
};

impl SourceLeg {
    /// Whether both copies are the same, and writes go to both.
    pub(crate) fn is_together(&self) -> bool {
        self.inner.lock().machine.state() == State::Synced
    }

    /// Tells the target whether it may take over. May sleep.
    pub(crate) fn answer_takeover(&self, answer: core::result::Result<(), Text>) {
        let Some(link) = self.connected() else { return };
        let reply = match answer {
            Ok(()) => Reply::OK,
            Err(reason) => Reply::refused(reason),
        };
        let mut header = Header::new(Kind::Reply);
        header.handle = u32::from(Kind::Takeover.number());
        let mut buffer = [0; REPLY_MAX_LEN];
        // A target that does not get it gives up after a while.
        let _ = link.send_bytes(header, reply.encode(&mut buffer));
    }
}
