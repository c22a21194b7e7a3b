// SPDX-License-Identifier: GPL-2.0

//! Mistakes that the simulation has found in the module or in its rules. The model is without them; a test puts one of
//! them back, and sees that it is found.

/// Some of the mistakes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bugs(pub(crate) u32);

impl Bugs {
    /// None.
    pub(crate) const NONE: Self = Self(0);
    /// A leg that is taken away lets writes end that wait for a new generation, before that is recorded.
    pub(crate) const UNEXTEND_LATE: Self = Self(1);
    /// That copies are equal stays on record for a machine that comes later.
    pub(crate) const PREPARED_STAYS: Self = Self(1 << 1);
    /// A round that began without a connection clears marks of what was never made durable on the leg that came back.
    pub(crate) const ROUND_ACROSS: Self = Self(1 << 2);
    /// A target is given the generation that the source had when they greeted, not the one it has.
    pub(crate) const STALE_GENERATION: Self = Self(1 << 3);

    /// A machine that was a target meanwhile still believes that it knows of every chunk that was ever written.
    pub(crate) const NEW_STAYS: Self = Self(1 << 4);

    /// The sending thread gives what is meant for a new connection to the old one.
    pub(crate) const OLD_LINK: Self = Self(1 << 5);

    /// That a leg is in step again is noted after it was made known, whatever happened in between.
    pub(crate) const TOGETHER_LATE: Self = Self(1 << 6);

    /// A target that is being made a source still accepts one.
    pub(crate) const START_ACCEPTS: Self = Self(1 << 7);

    /// A flush that the leg does not take part in is not recorded, though what it made durable may be lost there.
    pub(crate) const FLUSH_ALONE: Self = Self(1 << 8);

    /// A machine that decides whether to be the source tells others that it is none.
    pub(crate) const ANSWERS_WHILE_STARTING: Self = Self(1 << 9);
    /// The resync tells a new connection that the one before had nothing left to copy.
    pub(crate) const OLD_CLEAN: Self = Self(1 << 10);
    /// A leg that is taken away and the journal begin a generation each, and note them in another order than on the disk.
    pub(crate) const UNEXTEND_GENERATION: Self = Self(1 << 11);

    /// A target that said that it loses nothing confirms although its disk has a cache now.
    pub(crate) const BROKEN_WORD: Self = Self(1 << 12);

    /// Whether all of `other` are among them.
    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}
