// SPDX-License-Identifier: GPL-2.0

//! The disk of a source when it fails.
//!
//! A mirror whose operator wants errors passed on tells the application of each write that the local disk failed. Any other
//! one gives the disk up at the first such write, as long as a target is in step: that target holds whatever was
//! acknowledged. From then on reads and writes go to the targets that are in step, and the disk is neither read, nor
//! written, nor copied from.
//!
//! | state | failed, a target in step | failed, none in step | on record | no target in step | a disk put in | all copied |
//! |---|---|---|---|---|---|---|
//! | attached | **leaving**: give up | attached: pass on | – | – | – | – |
//! | leaving | – | – | **detached** | **ending**: fail all | – | – |
//! | detached | – | – | – | **ended**: fail all | **rebuilding** | – |
//! | rebuilding | **detached**: stop | **detached**: stop | – | **ended**: fail all | – | **attached** |
//! | ending | – | – | **ended** | – | – | – |
//! | ended | – | – | – | – | – | – |
//!
//! # The way back
//!
//! A disk that was given up lacks what was acknowledged since, and no map says what that is. So one that an operator puts in,
//! another one or the same, is rebuilt as a whole from a target in step, while the application goes on: it gets every write
//! that begins from then on, and reads still go to the targets. The copies are ordered among the writes as repairs are
//! ([`rescue`](crate::rescue)). Until all is there and durable the record says what it said, and acknowledgements need a
//! target as before; so a rebuilding that ends early, in whatever way, leaves a disk that holds nothing.
//!
//! When all is there the disk counts first, and then the record is changed. In between no generation begins: what a lost
//! target misses waits for its own record, which comes after this one.
//!
//! # What is on record before what
//!
//! A write that the disk lacks is acknowledged when a target in step has confirmed it, whatever the leg's type, and when two
//! things are on record, each of which keeps this machine from coming back as source with old data:
//!
//! * Here, that the disk was given up and is inconsistent ([`MetaFlags::DETACHED`](crate::meta::MetaFlags::DETACHED)). As
//!   soon as the mirror is out of service that becomes a disk that holds nothing, [`Superblock::forget_lost_disk`], which is
//!   filled anew by whoever is the source then.
//! * On each target in step, another [generation](crate::generation): it is begun here and noted there, as when another
//!   target was lost.
//!
//! The first may be impossible, where the metadata is on what failed. Then the second is enough: what can still be read
//! here, of whatever moment before, names a generation that is of the past of the targets, so that each of them is newer;
//! and a machine that was source does not start without an answer of those that were in step with it. That is why the loss
//! of the metadata fails nothing any more once the disk is given up, and metadata at the end of the disk that can't be
//! written counts as a failed write of the disk.
//!
//! # What is kept from the targets
//!
//! What a target misses can't be copied from this disk. So a leg that is not in step does not become live
//! any more, copies that are under way are not sent, and neither a pause nor a full copy is begun. When the last target
//! that is in step is lost, every read and write fails: what it holds is all there is, and it may become source.
//!
//! [`Superblock::forget_lost_disk`]: crate::meta::Superblock::forget_lost_disk

use crate::state::DiskState;

/// How the local disk of a source stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LocalDisk {
    /// It has all data, and is read and written.
    #[default]
    Attached,
    /// It was given up, which is not on record yet.
    Leaving,
    /// It was given up; the targets in step have the data.
    Detached,
    /// One was put in, which gets all data from a target in step.
    Rebuilding,
    /// No target is in step any more, and that the disk was given up is not on record yet.
    Ending,
    /// No target is in step any more.
    Ended,
}

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The disk failed a write, a flush, or a repair. `covered`: a target in step has what it lacks and answers reads, and
    /// the operator wants the disk given up then.
    Failed {
        /// See there.
        covered: bool,
    },
    /// It is on record that the disk was given up.
    Recorded,
    /// No target is in step.
    Alone,
    /// An operator put a disk in.
    PutIn,
    /// It has all data, durably.
    Rebuilt,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Nothing,
    /// The application gets the error; the targets may have what the disk lacks.
    PassOn,
    /// Begin the record, take the reads to the targets, stop what copies from the disk, tell the operator.
    GiveUp,
    /// What waits fails; tell the operator.
    FailAll,
    /// Begin to copy everything.
    Rebuild,
    /// What was copied counts for nothing; tell the operator.
    StopRebuild,
    /// The disk counts again; tell the operator.
    TakeBack,
}

/// Who does what an application asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// The disk, and the live legs.
    Both,
    /// The legs alone.
    Legs,
    /// The legs, whose word counts, and the disk that is being rebuilt.
    Rebuilding,
    /// Nobody: it fails.
    Nobody,
}

/// How a request of an application that everybody is done with ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As the disk and the legs say.
    AsDone,
    /// It has to wait for a record.
    Wait,
    /// With an error: it is not certain that anybody has it who counts.
    Fail,
}

impl LocalDisk {
    /// What an operator is shown.
    #[must_use]
    pub const fn shown(self) -> DiskState {
        match self {
            Self::Attached => DiskState::Attached,
            Self::Leaving | Self::Detached => DiskState::Detached,
            Self::Rebuilding => DiskState::Rebuilding,
            Self::Ending | Self::Ended => DiskState::Lost,
        }
    }

    /// Every state, for exhaustive tests.
    pub const ALL: [Self; 6] = [
        Self::Attached,
        Self::Leaving,
        Self::Detached,
        Self::Rebuilding,
        Self::Ending,
        Self::Ended,
    ];

    /// Takes in an event, as the table of the [module](self) has it.
    pub fn on_event(&mut self, event: Event) -> Action {
        let (next, action) = match (*self, event) {
            (Self::Attached, Event::Failed { covered: true }) => (Self::Leaving, Action::GiveUp),
            (Self::Attached, Event::Failed { covered: false }) => (Self::Attached, Action::PassOn),
            (Self::Leaving, Event::Recorded) => (Self::Detached, Action::Nothing),
            (Self::Leaving, Event::Alone) => (Self::Ending, Action::FailAll),
            (Self::Detached | Self::Rebuilding, Event::Alone) => (Self::Ended, Action::FailAll),
            (Self::Detached, Event::PutIn) => (Self::Rebuilding, Action::Rebuild),
            (Self::Rebuilding, Event::Failed { .. }) => (Self::Detached, Action::StopRebuild),
            (Self::Rebuilding, Event::Rebuilt) => (Self::Attached, Action::TakeBack),
            (Self::Ending, Event::Recorded) => (Self::Ended, Action::Nothing),
            (Self::Attached, Event::Recorded | Event::Alone | Event::PutIn | Event::Rebuilt)
            | (Self::Leaving, Event::Failed { .. } | Event::PutIn | Event::Rebuilt)
            | (Self::Detached, Event::Failed { .. } | Event::Recorded | Event::Rebuilt)
            | (Self::Rebuilding, Event::Recorded | Event::PutIn)
            | (Self::Ending, Event::Failed { .. } | Event::Alone | Event::PutIn | Event::Rebuilt)
            | (Self::Ended, _) => (*self, Action::Nothing),
        };
        *self = next;
        action
    }

    /// Whether it was given up, and does not hold everything again.
    #[must_use]
    pub const fn is_gone(self) -> bool {
        !matches!(self, Self::Attached)
    }

    /// Whether it is written to.
    #[must_use]
    pub const fn is_written(self) -> bool {
        matches!(self, Self::Attached | Self::Rebuilding)
    }

    /// Whether it was given up, and no target has the data for certain.
    #[must_use]
    pub const fn is_without_copy(self) -> bool {
        matches!(self, Self::Ending | Self::Ended)
    }

    /// Whether it is still to be put on record that it was given up.
    #[must_use]
    pub const fn is_unrecorded(self) -> bool {
        matches!(self, Self::Leaving | Self::Ending)
    }

    /// Who does what an application asks for from now on.
    #[must_use]
    pub const fn course(self) -> Course {
        match self {
            Self::Attached => Course::Both,
            Self::Leaving | Self::Detached => Course::Legs,
            Self::Rebuilding => Course::Rebuilding,
            Self::Ending | Self::Ended => Course::Nobody,
        }
    }

    /// How a request ends. `confirmed`: a target that is in step now has confirmed it. `unsettled`: not all that has to be
    /// on record before an acknowledgement is there yet, here or on a target in step.
    #[must_use]
    pub const fn verdict(self, confirmed: bool, unsettled: bool) -> Verdict {
        match self {
            Self::Attached => Verdict::AsDone,
            Self::Leaving | Self::Detached | Self::Rebuilding if !confirmed => Verdict::Fail,
            Self::Leaving => Verdict::Wait,
            Self::Detached | Self::Rebuilding if unsettled => Verdict::Wait,
            Self::Detached | Self::Rebuilding => Verdict::AsDone,
            Self::Ending | Self::Ended => Verdict::Fail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Action as A;
    use LocalDisk as L;

    const EVENTS: [Event; 6] = [
        Event::Failed { covered: true },
        Event::Failed { covered: false },
        Event::Recorded,
        Event::Alone,
        Event::PutIn,
        Event::Rebuilt,
    ];

    #[test]
    fn every_state_and_every_event() {
        let attached = (L::Attached, A::Nothing);
        let leaving = (L::Leaving, A::Nothing);
        let detached = (L::Detached, A::Nothing);
        let rebuilding = (L::Rebuilding, A::Nothing);
        let ending = (L::Ending, A::Nothing);
        let ended = (L::Ended, A::Nothing);
        let fails = (L::Ended, A::FailAll);
        let stops = (L::Detached, A::StopRebuild);
        #[rustfmt::skip]
        let table = [
            (L::Attached, [(L::Leaving, A::GiveUp), (L::Attached, A::PassOn), attached, attached, attached, attached]),
            (L::Leaving, [leaving, leaving, detached, (L::Ending, A::FailAll), leaving, leaving]),
            (L::Detached, [detached, detached, detached, fails, (L::Rebuilding, A::Rebuild), detached]),
            (L::Rebuilding, [stops, stops, rebuilding, fails, rebuilding, (L::Attached, A::TakeBack)]),
            (L::Ending, [ending, ending, ended, ending, ending, ending]),
            (L::Ended, [ended; 6]),
        ];
        assert!(table.iter().map(|(state, _)| *state).eq(L::ALL));
        for (state, row) in table {
            for (event, expected) in EVENTS.into_iter().zip(row) {
                let mut disk = state;
                let action = disk.on_event(event);
                assert_eq!((disk, action), expected, "{state:?} {event:?}");
            }
        }
    }

    #[test]
    fn a_disk_that_was_given_up_counts_again_only_when_all_of_it_was_copied() {
        for start in L::ALL.into_iter().filter(|state| state.is_gone()) {
            for first in EVENTS {
                for second in EVENTS {
                    let mut disk = start;
                    let _ = disk.on_event(first);
                    let before = disk;
                    let action = disk.on_event(second);
                    let taken_back = before == L::Rebuilding && second == Event::Rebuilt;
                    assert_eq!(before.is_gone() && !disk.is_gone(), taken_back);
                    assert_eq!(action == A::TakeBack, taken_back);
                    assert!(!start.is_without_copy() || disk.is_without_copy());
                }
            }
        }
    }

    #[test]
    fn without_the_disk_nothing_is_acknowledged_that_no_target_in_step_has_or_that_is_not_on_record() {
        for disk in L::ALL {
            for (confirmed, unsettled) in [(false, false), (false, true), (true, false), (true, true)] {
                let fine = disk.verdict(confirmed, unsettled) == Verdict::AsDone;
                let settled = matches!(disk, L::Detached | L::Rebuilding) && !unsettled;
                let expected = !disk.is_gone() || (settled && confirmed);
                assert_eq!(fine, expected, "{disk:?} {confirmed} {unsettled}");
                // What waits is let go by a record or by the loss of the last target.
                let waits = disk.verdict(confirmed, unsettled) == Verdict::Wait;
                assert!(!waits || disk == L::Leaving || unsettled);
                assert!(!waits || !disk.is_without_copy());
            }
        }
    }
}
