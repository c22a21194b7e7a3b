// SPDX-License-Identifier: GPL-2.0

//! What the two sides of the handshake say of themselves in flags.

/// Makes a set of flags in 32 bits; bits of later versions are kept and have no name here.
macro_rules! flags32 {
    ($(#[$doc:meta])* $name:ident { $($(#[$flag_doc:meta])* $flag:ident = $value:expr;)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name(u32);

        impl $name {
            /// No flag.
            pub const NONE: Self = Self(0);
            $($(#[$flag_doc])* pub const $flag: Self = Self($value);)+

            /// Flags from their bits.
            #[must_use]
            pub const fn from_bits(bits: u32) -> Self {
                Self(bits)
            }

            /// The bits of the flags.
            #[must_use]
            pub const fn bits(self) -> u32 {
                self.0
            }

            /// Whether all of `other` are among these.
            #[must_use]
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// These, and `other` where `condition` holds.
            #[must_use]
            pub const fn with(self, other: Self, condition: bool) -> Self {
                Self(self.0 | if condition { other.0 } else { 0 })
            }
        }
    };
}

flags32! {
    /// What a source says of itself.
    HelloFlags {
        /// Replication is paused by an operator and stays so after the handshake.
        PAUSED = 1;
        /// Everything has to be copied, whatever the target holds.
        FULL = 2;
        /// It only asks how this machine stands, and nothing changes; see
        /// [`Verdict::Tell`](crate::handshake::Verdict::Tell).
        ASK = 4;
        /// Its operator says that both copies were made equal by other means.
        PREPARED = 8;
        /// What its disk held before the mirror is not wanted; only what was written counts.
        NEW = 16;
        /// It was the last source, as far as it knows.
        OWNER = 32;
    }
}

flags32! {
    /// What a target says of itself.
    WelcomeFlags {
        /// Its disk is in the middle of a resync and holds no usable copy.
        INCONSISTENT = 1;
        /// It was never brought up to date since it joined the mirror.
        FRESH = 2;
        /// Its maps are not empty: it wrote to its disk itself, in a pause or as a source. They
        /// follow in map messages.
        HAS_MAP = 4;
        /// Its disk can discard.
        DISCARD_OK = 8;
        /// Its operator says that both copies were made equal by other means.
        PREPARED = 16;
        /// What it wrote itself may be overwritten.
        YIELDED = 32;
        /// It knows that both machines were written to independently.
        SPLIT_BRAIN = 64;
        /// It was the last source, as far as it knows.
        LAST_OWNER = 128;
        /// It has metadata of this mirror.
        BOUND = 256;
        /// It knows what it was sent of late by another source than the one that greets. That is among its map, which follows
        /// if it is asked to resume.
        RECENT = 512;
    }
}
