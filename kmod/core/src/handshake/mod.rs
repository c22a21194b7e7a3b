// SPDX-License-Identifier: GPL-2.0

//! Whether two machines belong together, and what has to be copied.
//!
//! Both decisions are plain functions of what one side knows and what the other said.
//!
//! # The target: accept or refuse
//!
//! [`target_decide`] goes through these questions in order; the first that is answered with yes
//! decides.
//!
//! | question | answer |
//! |---|---|
//! | Does something in the [`Hello`] make no sense? | `RefuseCode::Malformed` |
//! | Does it name another mirror? | `RefuseCode::OtherMirror` |
//! | Does the disk belong to a mirror with another identity? | `RefuseCode::OtherUuid` |
//! | Is the caller this machine itself, and was that not permitted? | `RefuseCode::SameMachine` |
//! | Does it ask (`HelloFlags::ASK`) as the last source of what another machine is connected with? | `RefuseCode::Taken` |
//! | Is it any other question? | [`Verdict::Tell`] |
//! | Is this machine source, or the mirror stopped here? | `RefuseCode::SplitBrain` where both went on by themselves, else `RefuseCode::NotTarget` |
//! | Is another machine connected? | `RefuseCode::Taken` |
//! | Is the disk smaller than the mirror? | `RefuseCode::TooSmall` |
//! | Are the disk's blocks larger than the mirror's? | `RefuseCode::BlockSize` |
//! | Does the disk hold what the source lacks, and has not given way? | `RefuseCode::Newer`, `RefuseCode::SplitBrain` or `RefuseCode::Unrelated` |
//! | Is replication to go on while the target's own device is open? | `RefuseCode::Busy` |
//! | otherwise | [`Verdict::Accept`] |
//!
//! # The source: what is to be copied
//!
//! [`source_decide`], likewise:
//!
//! | question | plan |
//! |---|---|
//! | Does the [`Welcome`] answer another session, or break an agreement? | [`Plan::Refuse`] |
//! | Does the target hold what the source lacks, and has not given way? | [`Plan::Refuse`] |
//! | Was a full copy asked for, or is it another machine than the marks speak of? | [`Copying::Everything`] |
//! | Does it hold nothing, and both operators say that the copies are the same? | [`Copying::Marked`] |
//! | Does it hold nothing, and the source was new when it was made? | [`Copying::Written`] |
//! | Did both lose the same source, and does the target not know what it was sent of late? | [`Copying::Everything`] |
//! | Do the marks of both sides not cover every difference, or does it not tell its own? | [`Copying::Everything`] |
//! | otherwise | [`Copying::Marked`] |
//!
//! Two targets that lost their source while they were in step with it may differ where something was under way, and
//! nowhere else. The one that becomes the source marks what it was sent of late, and adds what the other was
//! ([`crate::recent`]). One that has been restarted does not know any more. What is to be copied for want of marks alone to
//! a target that another source brought up to date is compared first ([`Agreement::compare`]).
//!
//! A target in the middle of a resync is brought up to date with what is marked: a mark is cleared only when the copy
//! is confirmed, so the marks still cover everything that it misses. Such a target needs a resync even where nothing is
//! marked, for only its end tells the target that it is consistent. A target that was restarted may have lost what it
//! had confirmed and not made durable: the source adds what its intent log knows ([`Agreement::distrust`]).
//!
//! # Features
//!
//! The source offers what it has and its operator wants; the target answers with those of them that
//! it has, too ([`agreed_features`]). One that does not know a feature neither offers it nor answers
//! with it, so machines with different versions agree on what both have. A Welcome with a feature
//! that was not offered breaks the agreement. One feature is more than an offer: a source whose leg is asynchronous
//! offers [`features::BARRIER`](crate::wire::features::BARRIER), and refuses a target that does not take it. And one depends
//! on the machine: a target has [`features::DURABLE`](crate::wire::features::DURABLE) as long as its disk has no cache.

mod addressee;
mod source;
mod target;

pub use addressee::{addressee, instance, Addressee, Listening, Mark};
pub use source::{source_decide, Agreement, Copying, Plan, SourceFacts};
pub use target::{target_decide, Accept, ConnectedSource, Refusal, TargetFacts, Verdict};

use crate::generation::Generations;
use crate::wire::{features, Hello, Welcome, MAX_PAYLOAD};
use core::ops::RangeInclusive;

/// Milliseconds between heartbeats that can be chosen.
pub const HEARTBEAT_MS: RangeInclusive<u32> = 50..=60_000;

/// Milliseconds of silence, after which a connection is given up, that can be chosen.
pub const TIMEOUT_MS: RangeInclusive<u32> = 200..=600_000;

/// Logical block sizes in bytes that a mirror can have; powers of two only.
pub const LOGICAL_BLOCK_SIZE: RangeInclusive<u32> = 512..=65_536;

/// What a source holds, as its Hello says.
#[must_use]
pub const fn generations_of_source(hello: &Hello) -> Generations {
    hello.generations()
}

/// What a target holds, as its Welcome says.
#[must_use]
pub const fn generations_of_target(welcome: &Welcome) -> Generations {
    welcome.generations()
}

/// What a source offers. Whether its operator wants checksums of the data, and whether the leg is asynchronous, is told by
/// that, too.
#[must_use]
pub const fn source_features(checksums: bool, asynchronous: bool) -> u64 {
    let unwanted = if checksums { 0 } else { features::PAYLOAD_CHECKSUM };
    // A flush on an asynchronous leg is also about what is not confirmed yet.
    let other = if asynchronous {
        features::DURABLE
    } else {
        features::BARRIER
    };
    features::SUPPORTED & !(unwanted | other)
}

/// What a target has; `cached`: its disk has a cache that loses what is in it with its power.
#[must_use]
pub const fn target_features(cached: bool) -> u64 {
    if cached {
        features::SUPPORTED & !features::DURABLE
    } else {
        features::SUPPORTED
    }
}

/// The features of a connection, of those that one side offers and those that the other has. The
/// target tells them in its Welcome; both use them from the next message on.
#[must_use]
pub const fn agreed_features(offered: u64, own: u64) -> u64 {
    offered & own
}

/// Most bytes of data to put in one message to a side that named a limit.
#[must_use]
pub fn payload_limit(peer_limit: u32) -> u32 {
    peer_limit.min(MAX_PAYLOAD)
}

fn is_block_size(bytes: u32) -> bool {
    bytes.is_power_of_two() && LOGICAL_BLOCK_SIZE.contains(&bytes)
}

/// Whether a side can work with messages of this limit: a block must fit.
fn is_payload_limit(bytes: u32, block: u32) -> bool {
    bytes >= block && bytes >= 4096 && bytes & 511 == 0
}
