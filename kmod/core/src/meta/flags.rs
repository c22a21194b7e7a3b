// SPDX-License-Identifier: GPL-2.0

//! Flags that outlive a restart.

/// Makes a set of flags in 32 bits, with the words that a person reads; bits of later versions are
/// kept and have no name here.
macro_rules! lasting_flags {
    ($(#[$doc:meta])* $name:ident { $($(#[$flag_doc:meta])* $flag:ident = $value:expr, $words:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name(u32);

        impl $name {
            /// No flag.
            pub const NONE: Self = Self(0);
            $($(#[$flag_doc])* pub const $flag: Self = Self($value);)+

            /// Every flag, with the words for a person.
            pub const ALL: &'static [(Self, &'static str)] = &[$((Self::$flag, $words),)+];

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

            /// These without `other`.
            #[must_use]
            pub const fn without(self, other: Self) -> Self {
                Self(self.0 & !other.0)
            }

            /// Adds `other` where `on` holds, takes it away where not.
            pub fn set(&mut self, other: Self, on: bool) {
                *self = self.without(other).with(other, on);
            }

            /// The words of those that are set and have a name.
            pub fn words(self) -> impl Iterator<Item = &'static str> {
                Self::ALL
                    .iter()
                    .filter(move |(flag, _)| self.contains(*flag))
                    .map(|&(_, words)| words)
            }
        }
    };
}

lasting_flags! {
    /// How a mirror stands on this machine.
    MetaFlags {
        /// This machine was the last source, as far as it knows.
        LAST_OWNER = 1 << 0, "last owner";
        /// It was source, came back, and could not ask its targets whether it still is.
        DATA_CORRUPT = 1 << 1, "data corrupt";
        /// Its disk holds no usable copy: none is complete yet, or a resync was under way.
        INCONSISTENT = 1 << 2, "inconsistent";
        /// Both machines were written to independently.
        SPLIT_BRAIN = 1 << 3, "split brain";
        /// What this machine wrote gives way to the data of the source.
        YIELDED = 1 << 4, "yielded";
        /// The metadata has no maps.
        NO_BITMAP = 1 << 5, "no bitmap";
        /// What the disk held before the mirror is not wanted; map 8 knows what was written since.
        NEW = 1 << 6, "new";
        /// Source and target were made equal by other means.
        PREPARED = 1 << 7, "prepared";
        /// The mirror was stopped in order; without it, the intent map counts.
        CLEAN = 1 << 8, "clean";
        /// An operator took the mirror out of service.
        STOPPED = 1 << 9, "stopped by an operator";
        /// It became source when the source before it could not be asked; if that went on, there are two.
        TOOK_OVER = 1 << 10, "took over";
        /// Its targets may be asynchronous.
        ASYNC = 1 << 11, "asynchronous targets permitted";
        /// It became source as a target, and others may hold what it holds: another generation begins before that changes.
        SHARED = 1 << 12, "others may hold the same";
        /// Source and target may be one machine.
        SAME_MACHINE = 1 << 13, "same machine permitted";
        /// What the disk of a source fails is an error for the application, and the disk is not given up.
        PASS_ON = 1 << 14, "errors of the disk passed on";
        /// The disk failed while the mirror was in service here, and lacks what was written since; the generation is that
        /// of the targets.
        DETACHED = 1 << 15, "disk given up";
    }
}

lasting_flags! {
    /// How a peer stands.
    PeerFlags {
        /// Replication is paused by an operator.
        PAUSED = 1 << 0, "paused";
        /// Everything has to be copied, whatever the maps say.
        FULL = 1 << 1, "everything to be copied";
        /// An operator does not want checksums of the data sent to or from it.
        NO_CHECKSUMS = 1 << 2, "no checksums";
        /// It may fall behind rather than have the application wait.
        BEHIND = 1 << 3, "may fall behind";
        /// It may hold the current generation as well as its base: it has been told of it, or was about to be.
        FOLLOWING = 1 << 4, "may have followed";
        /// It held its base together with this machine, under a source that is gone: the map says what it misses only together
        /// with what it was sent of late.
        RECENT = 1 << 5, "to be asked what it was sent of late";
        /// The map says nothing of what it misses.
        UNKNOWN = 1 << 6, "to be compared";
    }
}
