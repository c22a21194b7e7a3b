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
//! | Does something in the [`Hello`] make no sense? | [`RefuseCode::Malformed`] |
//! | Does it name another mirror? | [`RefuseCode::OtherMirror`] |
//! | Is this machine source, or the mirror stopped here? | [`RefuseCode::NotTarget`] |
//! | Does the disk belong to a mirror with another identity? | [`RefuseCode::OtherUuid`] |
//! | Is another machine connected? | [`RefuseCode::Taken`] |
//! | Is the disk smaller than the mirror? | [`RefuseCode::TooSmall`] |
//! | Are the disk's blocks larger than the mirror's? | [`RefuseCode::BlockSize`] |
//! | Is replication to go on while the target's own device is open? | [`RefuseCode::Busy`] |
//! | otherwise | [`Accept`] |
//!
//! # The source: what is to be copied
//!
//! [`source_decide`], likewise:
//!
//! | question | plan |
//! |---|---|
//! | Does the [`Welcome`] answer another session, or break an agreement? | [`Plan::Refuse`] |
//! | Is replication paused? | [`Plan::StayPaused`], with what the next two say about the map |
//! | Is the target fresh, is its instance not the one last known, was a full copy asked for? | [`Plan::Full`] |
//! | Does it hold a generation that this source did not give it? | [`Plan::Full`] |
//! | Is nothing marked, is it consistent, and did it write nothing itself? | [`Plan::InSync`] |
//! | otherwise | [`Plan::Partial`] |
//!
//! A target in the middle of a resync, still the same instance, is brought up to date with what is
//! marked: a mark is cleared only when the copy is confirmed, so the marks still cover everything
//! that it misses. Such a target needs a resync even where nothing is marked, for only its end
//! tells the target that it is consistent.

use crate::chunk::Geometry;
use crate::name::{check_mirror_name, Name, Text};
use crate::state::Role;
use crate::wire::{Hello, HelloFlags, Id, Refuse, RefuseCode, Welcome, WelcomeFlags};
use crate::wire::{MAX_PAYLOAD, NO_ID};
use core::ops::RangeInclusive;

/// Milliseconds between heartbeats that can be chosen.
pub const HEARTBEAT_MS: RangeInclusive<u32> = 50..=60_000;

/// Milliseconds of silence, after which a connection is given up, that can be chosen.
pub const TIMEOUT_MS: RangeInclusive<u32> = 200..=600_000;

/// Logical block sizes in bytes that a mirror can have; powers of two only.
pub const LOGICAL_BLOCK_SIZE: RangeInclusive<u32> = 512..=65_536;

/// What a target knows when a source introduces itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetFacts {
    /// What this machine does for the mirror.
    pub role: Role,
    /// Name of the mirror.
    pub mirror_name: Name,
    /// Name of this machine.
    pub node_name: Name,
    /// Identity of the mirror, as soon as a source told it.
    pub mirror_uuid: Option<Id>,
    /// Size of the disk in bytes.
    pub disk_size: u64,
    /// Smallest write in bytes that the disk can do.
    pub logical_block_size: u32,
    /// The source whose connection is alive, if there is one.
    pub connected: Option<ConnectedSource>,
    /// The block device that a paused target has is open.
    pub device_in_use: bool,
}

/// A source whose connection is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectedSource {
    /// Identity of the machine.
    pub node_uuid: Id,
    /// Name of the machine.
    pub node_name: Name,
}

/// The target accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accept {
    /// The same machine is still connected: that connection is dead, though nobody has noticed, and
    /// is to be closed first.
    pub replaces: bool,
    /// The disk belongs to the mirror with the identity in the Hello from now on.
    pub binds: bool,
}

/// The target refuses: what is sent to the source, which shows it.
pub type Refusal = Refuse;

/// Decides whether a target accepts a source.
///
/// # Errors
///
/// The [`Refusal`] to be sent, as the table of the [module](self) has it.
#[expect(
    clippy::result_large_err,
    reason = "a refusal is a sentence, and there is no allocator"
)]
pub fn target_decide(facts: &TargetFacts, hello: &Hello) -> Result<Accept, Refusal> {
    check_sense(facts, hello)?;
    check_identity(facts, hello)?;
    check_disk(facts, hello)?;
    if facts.device_in_use && !hello.flags.contains(HelloFlags::PAUSED) {
        return refuse(
            RefuseCode::Busy,
            format_args!(
                "the block device of mirror {} is open on {}; close it there, then resume",
                facts.mirror_name, facts.node_name
            ),
        );
    }
    Ok(Accept {
        replaces: facts.connected.is_some(),
        binds: facts.mirror_uuid.is_none(),
    })
}

#[expect(
    clippy::result_large_err,
    reason = "a refusal is a sentence, and there is no allocator"
)]
fn refuse<T>(code: RefuseCode, reason: core::fmt::Arguments<'_>) -> Result<T, Refusal> {
    Err(Refuse::new(code, Text::format(reason)))
}

/// Refuses a Hello whose numbers cannot be right.
#[expect(
    clippy::result_large_err,
    reason = "a refusal is a sentence, and there is no allocator"
)]
fn check_sense(facts: &TargetFacts, hello: &Hello) -> Result<(), Refusal> {
    let block = hello.logical_block_size;
    let wrong = if hello.mirror_uuid == NO_ID || hello.node_uuid == NO_ID {
        Some("an identity")
    } else if hello.instance == NO_ID {
        Some("an instance")
    } else if check_mirror_name(hello.mirror_name.as_str()).is_err() {
        Some("a name")
    } else if Geometry::new(hello.size, hello.chunk_size).is_err() {
        Some("a size")
    } else if !is_block_size(block) || hello.size & u64::from(block.saturating_sub(1)) != 0 {
        Some("a block size")
    } else if !HEARTBEAT_MS.contains(&hello.heartbeat_ms) || !TIMEOUT_MS.contains(&hello.timeout_ms) {
        Some("a heartbeat or timeout")
    } else if !is_payload_limit(hello.max_payload, block) {
        Some("a message limit")
    } else {
        None
    };
    match wrong {
        Some(what) => refuse(
            RefuseCode::Malformed,
            format_args!(
                "the source sent {what} to {} that no mirror can have; compare the versions of \
                 netraid on both machines",
                facts.node_name
            ),
        ),
        None => Ok(()),
    }
}

/// Refuses a source that is not the one this target belongs to.
#[expect(
    clippy::result_large_err,
    reason = "a refusal is a sentence, and there is no allocator"
)]
fn check_identity(facts: &TargetFacts, hello: &Hello) -> Result<(), Refusal> {
    let (name, node) = (facts.mirror_name, facts.node_name);
    if hello.mirror_name != name {
        return refuse(
            RefuseCode::OtherMirror,
            format_args!(
                "{node} serves mirror {name} here, not {}; check the name and the port, or join \
                 {} there",
                hello.mirror_name, hello.mirror_name
            ),
        );
    }
    if facts.role != Role::Target {
        let now = if facts.role == Role::Source {
            "is source of"
        } else {
            "has stopped"
        };
        return refuse(
            RefuseCode::NotTarget,
            format_args!("{node} {now} mirror {name}; demote it there if its disk is to be overwritten"),
        );
    }
    if facts.mirror_uuid.is_some_and(|uuid| uuid != hello.mirror_uuid) {
        let holder = facts.connected.map_or(Name::EMPTY, |source| source.node_name);
        let of = if holder.is_empty() { "" } else { ", of " };
        return refuse(
            RefuseCode::OtherUuid,
            format_args!(
                "the disk on {node} belongs to another mirror that is also called {name}{of}{holder}; delete \
                 the mirror there and join again if that disk is to be overwritten"
            ),
        );
    }
    match facts.connected {
        Some(other) if other.node_uuid != hello.node_uuid => refuse(
            RefuseCode::Taken,
            format_args!(
                "mirror {name} on {node} is being written by {}; take that leg away there first",
                other.node_name
            ),
        ),
        _ => Ok(()),
    }
}

/// Refuses a source whose mirror does not fit on the disk.
#[expect(
    clippy::result_large_err,
    reason = "a refusal is a sentence, and there is no allocator"
)]
fn check_disk(facts: &TargetFacts, hello: &Hello) -> Result<(), Refusal> {
    let (node, block) = (facts.node_name, facts.logical_block_size);
    if facts.disk_size < hello.size {
        return refuse(
            RefuseCode::TooSmall,
            format_args!(
                "the disk on {node} has {} bytes, mirror {} has {}; give {node} a disk of at least \
                 that size",
                facts.disk_size, facts.mirror_name, hello.size
            ),
        );
    }
    if block > hello.logical_block_size {
        return refuse(
            RefuseCode::BlockSize,
            format_args!(
                "the disk on {node} writes blocks of {block} bytes, mirror {} blocks of {}; give \
                 {node} a disk with blocks of at most that size",
                facts.mirror_name, hello.logical_block_size
            ),
        );
    }
    Ok(())
}

fn is_block_size(bytes: u32) -> bool {
    bytes.is_power_of_two() && LOGICAL_BLOCK_SIZE.contains(&bytes)
}

/// Whether a side can work with messages of this limit: a block must fit.
fn is_payload_limit(bytes: u32, block: u32) -> bool {
    bytes >= block && bytes >= 4096 && bytes & 511 == 0
}

/// What a source knows when a target accepts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceFacts {
    /// Session of the Hello that was sent.
    pub session: u64,
    /// Features that were offered.
    pub features: u64,
    /// Size of the mirror in bytes.
    pub size: u64,
    /// Smallest write in bytes that the mirror offers.
    pub logical_block_size: u32,
    /// Instance of the target that the dirty map speaks of; `None` where it speaks of none.
    pub known_instance: Option<Id>,
    /// Generation that the target is known to hold.
    pub known_generation: u64,
    /// Generation that the end of the last resync gave the target, which may not have been
    /// confirmed; as `known_generation` where none is open.
    pub offered_generation: u64,
    /// Chunks marked in the dirty map.
    pub dirty_chunks: u64,
    /// An operator paused replication.
    pub paused: bool,
    /// An operator asked for a full copy, or the last one has not been completed.
    pub full: bool,
}

/// What a source does with a target that accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Both copies are the same: writes go to both from now on.
    InSync,
    /// The marked chunks are copied.
    Partial {
        /// Map messages follow: what the target wrote itself is marked too, before copying begins.
        merge_map: bool,
    },
    /// Every chunk is marked and copied.
    Full,
    /// Nothing is copied until replication is resumed.
    StayPaused {
        /// Every chunk is to be marked now, for the marks do not speak of this target.
        full: bool,
        /// Map messages follow, to be marked.
        merge_map: bool,
    },
    /// The connection is closed; the code says why.
    Refuse(RefuseCode),
}

/// Decides what a source does with a target that accepted it, as the table of the [module](self)
/// has it.
#[must_use]
pub fn source_decide(facts: &SourceFacts, welcome: &Welcome) -> Plan {
    if let Some(code) = unfit(facts, welcome) {
        return Plan::Refuse(code);
    }
    let merge_map = welcome.flags.contains(WelcomeFlags::HAS_MAP);
    let full = needs_full(facts, welcome);
    if facts.paused {
        return Plan::StayPaused { full, merge_map };
    }
    if full {
        return Plan::Full;
    }
    let inconsistent = welcome.flags.contains(WelcomeFlags::INCONSISTENT);
    if facts.dirty_chunks == 0 && !inconsistent && !merge_map {
        return Plan::InSync;
    }
    Plan::Partial { merge_map }
}

/// Whether the marks say nothing about what this target misses.
fn needs_full(facts: &SourceFacts, welcome: &Welcome) -> bool {
    let given = [facts.known_generation, facts.offered_generation];
    facts.full
        || welcome.flags.contains(WelcomeFlags::FRESH)
        || facts.known_instance != Some(welcome.instance)
        || !given.contains(&welcome.generation)
}

/// What in a Welcome a correct target would have refused itself, or never said.
fn unfit(facts: &SourceFacts, welcome: &Welcome) -> Option<RefuseCode> {
    let promised_too_much = welcome.features & !facts.features != 0;
    if welcome.session != facts.session
        || promised_too_much
        || welcome.instance == NO_ID
        || welcome.node_uuid == NO_ID
        || !is_block_size(welcome.logical_block_size)
        || !is_payload_limit(welcome.max_payload, facts.logical_block_size)
    {
        Some(RefuseCode::Malformed)
    } else if welcome.size < facts.size {
        Some(RefuseCode::TooSmall)
    } else if welcome.logical_block_size > facts.logical_block_size {
        Some(RefuseCode::BlockSize)
    } else {
        None
    }
}

/// Most bytes of data to put in one message to a side that named a limit.
#[must_use]
pub fn payload_limit(peer_limit: u32) -> u32 {
    peer_limit.min(MAX_PAYLOAD)
}
