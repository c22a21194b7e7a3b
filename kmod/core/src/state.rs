// SPDX-License-Identifier: GPL-2.0

//! The states that the control interface shows, with its numbers (`kmod/spec/netraid.yaml`).

use core::fmt;

/// Makes an enum whose values are the numbers of the control interface, with the words that a
/// person reads.
macro_rules! shown_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$entry_doc:meta])* $entry:ident = $number:literal, $words:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum $name {
            $($(#[$entry_doc])* $entry = $number,)+
        }

        impl $name {
            /// Every value, in the order of the numbers.
            pub const ALL: &'static [Self] = &[$(Self::$entry,)+];

            /// The number that stands for it in the control interface.
            #[must_use]
            pub const fn number(self) -> u32 {
                self as u32
            }

            /// The value with this number, if there is one.
            #[must_use]
            pub const fn from_number(number: u32) -> Option<Self> {
                match number {
                    $($number => Some(Self::$entry),)+
                    _ => None,
                }
            }

            /// The words for a person.
            #[must_use]
            pub const fn words(self) -> &'static str {
                match self {
                    $(Self::$entry => $words,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.words())
            }
        }
    };
}

shown_enum! {
    /// What a machine does for a mirror.
    Role {
        /// Applications read and write the block device here.
        Source = 0, "Source";
        /// The disk here receives the writes of the source.
        Target = 1, "Target";
        /// Out of service.
        Stopped = 2, "Stopped";
    }
}

shown_enum! {
    /// How the copy behind a leg stands.
    LegState {
        /// Both copies are the same and every write goes to both.
        FullyOperational = 0, "Fully Operational";
        /// An operator stopped replication; what the target misses is remembered.
        Paused = 1, "Paused";
        /// The target is being brought up to date and is not usable until then.
        Resyncing = 2, "Resynchronizing";
        /// The target misses writes, or nothing is known of it, and no resync runs.
        OutOfSync = 3, "Out Of Sync";
    }
}

shown_enum! {
    /// How the connection of a leg stands.
    Connection {
        /// There is none and none is tried (on a target: waiting for the source).
        Disconnected = 0, "Disconnected";
        /// The last attempt failed; the next follows after a delay.
        Waiting = 1, "Waiting";
        /// A TCP connection is being made.
        Connecting = 2, "Connecting";
        /// The two sides are finding out whether they belong together.
        Handshake = 3, "Handshake";
        /// Both sides agreed and the connection is in use.
        Connected = 4, "Connected";
    }
}

shown_enum! {
    /// When a write counts as done.
    Replication {
        /// When it is on the local disk and on the target's disk.
        Synchronous = 0, "Synchronous";
        /// When it is on the local disk.
        Asynchronous = 1, "Asynchronous";
    }
}

shown_enum! {
    /// What becomes of a write that an asynchronous leg has no room for.
    Congestion {
        /// It waits until the target has confirmed others.
        Block = 0, "Block";
        /// The leg is given up for a while, and catches up by a resync.
        Behind = 1, "Behind";
    }
}

shown_enum! {
    /// What becomes of a source's disk that fails.
    OnIoError {
        /// It is given up, and the mirror goes on with the targets that are in step.
        Detach = 0, "Detach";
        /// The application gets the error.
        PassOn = 1, "Pass On";
    }
}

shown_enum! {
    /// How the disk of a source stands.
    DiskState {
        /// It is in use.
        Attached = 0, "In Use";
        /// It failed and was given up; the targets in step have the data.
        Detached = 1, "Failed";
        /// The same, and no target is in step: reads and writes fail.
        Lost = 2, "Failed, no copy in step";
        /// One was put in, which gets all data from a target in step.
        Rebuilding = 3, "Rebuilding";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_convert_both_ways_and_others_are_refused() {
        for &state in LegState::ALL {
            assert_eq!(LegState::from_number(state.number()), Some(state));
        }
        for &connection in Connection::ALL {
            assert_eq!(Connection::from_number(connection.number()), Some(connection));
        }
        assert_eq!(Role::from_number(3), None);
        assert_eq!(LegState::from_number(4), None);
        assert_eq!(Replication::from_number(u32::MAX), None);
        assert_eq!(Congestion::from_number(2), None);
        assert_eq!(OnIoError::from_number(2), None);
        assert_eq!(DiskState::from_number(4), None);
    }
}
