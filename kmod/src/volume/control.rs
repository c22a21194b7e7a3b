// SPDX-License-Identifier: GPL-2.0

//! What a leg is told besides data.

use netraid_core::wire::Kind;

/// Messages without data that wait to be sent, each at most once; they go before the data.
#[derive(Clone, Copy, Default)]
pub(crate) struct Control(u32);

impl Control {
    /// In the order in which they are sent when several wait.
    const ALL: [Kind; 6] = [
        Kind::ResyncStart,
        Kind::ResyncDone,
        Kind::Pause,
        Kind::Resume,
        Kind::Settled,
        Kind::Bye,
    ];

    fn bit(kind: Kind) -> u32 {
        1 << kind.number()
    }

    /// Adds a message.
    pub(crate) fn add(&mut self, kind: Kind) {
        self.0 |= Self::bit(kind);
    }

    /// Whether no message waits.
    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether a message waits.
    pub(super) fn holds(self, kind: Kind) -> bool {
        self.0 & Self::bit(kind) != 0
    }

    /// Takes a message back that has not been sent.
    pub(super) fn remove(&mut self, kind: Kind) {
        self.0 &= !Self::bit(kind);
    }

    /// The next one; with `fenced` the end of a resync stays.
    pub(super) fn take(&mut self, fenced: bool) -> Option<Kind> {
        let kept_back = |kind: Kind| fenced && kind == Kind::ResyncDone;
        let kind = Self::ALL
            .into_iter()
            .find(|kind| self.0 & Self::bit(*kind) != 0 && !kept_back(*kind))?;
        self.0 &= !Self::bit(kind);
        Some(kind)
    }
}
