// SPDX-License-Identifier: GPL-2.0

//! Rules that could be forgotten. The model keeps them all; a test breaks one, and sees that it is found.

macro_rules! mistakes {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// A rule that is not kept.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mistake {
            $($(#[$doc])* $name,)+
        }

        impl Mistake {
            /// The one with this name.
            pub fn named(name: &str) -> Option<Self> {
                match name {
                    $(stringify!($name) => Some(Self::$name),)+
                    _ => None,
                }
            }
        }
    };
}

mistakes! {
    /// What one target missed is acknowledged before the others have noted the new generation.
    LeavesFollowersBehind,
    /// A target that takes over the data of a source keeps a past of its own.
    KeepsItsPast,
    /// Who was a target and becomes source goes on in the generation that others hold, too.
    GoesOnAfterPromotion,
    /// A source goes on in its generation when a target gives up what it has beyond it, or holds something else now.
    GoesOnAfterLosing,
    /// A source goes on in its generation when it lets go of a target.
    GoesOnAfterUnextend,
    /// The log of intents looks at the first leg alone before it forgets a chunk.
    AsksOneLeg,
    /// A write that two legs miss is marked for one of them.
    MarksForOneLeg,
    /// What was sent to two legs and not confirmed is marked for the first alone.
    ForgetsUnconfirmed,
    /// A copy that one leg confirmed is taken out of the maps of all.
    ClearsForAll,
    /// Who was a target believes what its maps say of others.
    BelievesOldMaps,
    /// A source that became target tells what the first of its targets missed, and not the others.
    TellsOneMap,
    /// A target does not note that a resync makes its copy unusable.
    HidesResync,
    /// While a generation is recorded data goes to a target that has still to be told that a resync begins.
    CopiesBeforeStart,
    /// A write is acknowledged when one of the targets has it.
    AsksOneTarget,
    /// What a target has not confirmed and the application was told of is not marked when the target is lost.
    ForgetsTold,
    /// A copy does not wait for what was acknowledged early.
    CopiesPassed,
    /// What begins after an acknowledgement is not sent as such.
    SendsNoBarrier,
    /// A target begins what it gets without looking at what is under way.
    IgnoresBarrier,
    /// However much a target has not confirmed, more is acknowledged.
    PassesLimit,
    /// Without the disk, too, a write is acknowledged before an asynchronous target has it.
    LagsWithoutDisk,
    /// It is told that something is settled before all that was begun has ended.
    SettlesEarly,
    /// It is told that something is settled although it is not known what one of the targets holds.
    SettlesUnknown,
    /// A target that becomes source does not make durable what it was sent.
    PromotesUnflushed,
    /// A target that gets another source does not make durable what the one before had sent it.
    BindsUnflushed,
    /// A target believes what its own map says of a new source that it is not in step with.
    BelievesNewSource,
    /// Without the disk a target that is not in step goes on getting what is written.
    FeedsHalfCopies,
    /// A disk that was given up is still copied from.
    CopiesFromLost,
    /// What a disk lacks that was given up is acknowledged before that is on record.
    TrustsMemory,
    /// A target counts as a copy that replaces the disk when it is told that its resync is over, before it noted that.
    CountsUnnoted,
    /// A disk that was put in counts before all is there.
    CountsTooEarly,
    /// An application's writes do not go to a disk that is being rebuilt.
    SkipsRebuilding,
}
