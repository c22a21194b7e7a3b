// SPDX-License-Identifier: GPL-2.0

//! The target's side: whether it accepts a source.

use super::{generations_of_source, is_block_size, is_payload_limit, HEARTBEAT_MS, TIMEOUT_MS};
use crate::chunk::Geometry;
use crate::generation::{relation, Generations, Relation};
use crate::name::{check_mirror_name, Name, Text};
use crate::state::Role;
use crate::wire::{Hello, HelloFlags, Id, Refuse, RefuseCode, NO_ID};

/// What a target knows when a source introduces itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetFacts {
    /// What this machine does for the mirror.
    pub role: Role,
    /// Name of the mirror, as sources call it.
    pub mirror_name: Name,
    /// Its name on this machine.
    pub local_name: Name,
    /// Name of this machine.
    pub node_name: Name,
    /// Identity of this machine.
    pub node_uuid: Id,
    /// Its source may be on this machine, too.
    pub same_machine: bool,
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
    /// What the disk holds.
    pub mine: Generations,
    /// What it holds gives way to what the source holds.
    pub yielded: bool,
}

/// A source whose connection is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectedSource {
    /// Identity of the machine.
    pub node_uuid: Id,
    /// Name of the machine.
    pub node_name: Name,
}

/// What a target does with a source it does not refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It tells how it stands; nothing changes.
    Tell,
    /// It takes what the source sends.
    Accept(Accept),
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
/// The [`Refusal`] to be sent, as the table of the [module](super) has it.
#[expect(
    clippy::result_large_err,
    reason = "a refusal is a sentence, and there is no allocator"
)]
pub fn target_decide(facts: &TargetFacts, hello: &Hello) -> Result<Verdict, Refusal> {
    check_sense(facts, hello)?;
    check_identity(facts, hello)?;
    if hello.flags.contains(HelloFlags::ASK) {
        check_owner(facts, hello)?;
        return Ok(Verdict::Tell);
    }
    check_role(facts, hello)?;
    check_disk(facts, hello)?;
    check_data(facts, hello)?;
    if facts.device_in_use && !hello.flags.contains(HelloFlags::PAUSED) {
        return refuse(
            RefuseCode::Busy,
            format_args!(
                "the block device of mirror {} is open on {}; close it there, then resume",
                facts.local_name, facts.node_name
            ),
        );
    }
    Ok(Verdict::Accept(Accept {
        replaces: facts.connected.is_some(),
        binds: facts.mirror_uuid.is_none(),
    }))
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
    let local = facts.local_name;
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
    if facts.mirror_uuid.is_some_and(|uuid| uuid != hello.mirror_uuid) {
        let holder = facts.connected.map_or(Name::EMPTY, |source| source.node_name);
        let of = if holder.is_empty() { "" } else { ", of " };
        return refuse(
            RefuseCode::OtherUuid,
            format_args!(
                "the disk on {node} belongs to another mirror that is also called {name}{of}{holder}; delete \
                 mirror {local} there and join again if that disk is to be overwritten"
            ),
        );
    }
    if hello.node_uuid == facts.node_uuid && !facts.same_machine {
        return refuse(
            RefuseCode::SameMachine,
            format_args!(
                "source and target have the same machine id: if they are one machine, {node}, and that is meant, join \
                 with --same-machine; if not, one is a clone of the other: give it an /etc/machine-id of its own"
            ),
        );
    }
    Ok(())
}

/// Refuses one that asks as the last source while another machine is source of the same data. The one that asks may not be
/// able to reach that, or share its disk. Who has older data learns more from an answer.
#[expect(
    clippy::result_large_err,
    reason = "a refusal is a sentence, and there is no allocator"
)]
fn check_owner(facts: &TargetFacts, hello: &Hello) -> Result<(), Refusal> {
    let related = relation(&facts.mine, &generations_of_source(hello));
    let as_good = matches!(related, Relation::SelfFresh | Relation::Same) || related.peer_is_newer();
    let rivals = as_good && hello.flags.contains(HelloFlags::OWNER);
    match facts.connected {
        Some(other) if rivals && other.node_uuid != hello.node_uuid => refuse(
            RefuseCode::Taken,
            format_args!(
                "{source} has mirror {name} in service, and {node} is its target; stop it on {source} first",
                source = other.node_name,
                name = facts.local_name,
                node = facts.node_name
            ),
        ),
        _ => Ok(()),
    }
}

/// Refuses a source where there is another one, here or connected.
#[expect(
    clippy::result_large_err,
    reason = "a refusal is a sentence, and there is no allocator"
)]
fn check_role(facts: &TargetFacts, hello: &Hello) -> Result<(), Refusal> {
    let (name, node, source) = (facts.local_name, facts.node_name, hello.node_name);
    if facts.role != Role::Target {
        let related = relation(&facts.mine, &generations_of_source(hello));
        if related.is_fork() {
            return refuse_fork(facts, hello);
        }
        let now = match facts.role {
            Role::Source if related.peer_is_newer() => "is source of, and has older data than the caller of,",
            Role::Source => "is source of",
            Role::Target | Role::Stopped => "has stopped",
        };
        return refuse(
            RefuseCode::NotTarget,
            format_args!(
                "{node} {now} mirror {name}; demote it there if its disk is to be overwritten, or stop it on {source}"
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

/// Refuses a source that lacks what the disk holds.
#[expect(
    clippy::result_large_err,
    reason = "a refusal is a sentence, and there is no allocator"
)]
fn check_data(facts: &TargetFacts, hello: &Hello) -> Result<(), Refusal> {
    let (name, node, source) = (facts.local_name, facts.node_name, hello.node_name);
    let related = relation(&facts.mine, &generations_of_source(hello));
    match related {
        _ if facts.yielded => Ok(()),
        Relation::SelfFresh | Relation::Same | Relation::PeerNewer | Relation::PeerFarAhead => Ok(()),
        Relation::PeerFresh if facts.mine.current == 0 => Ok(()),
        Relation::Forked | Relation::ForkedFar => refuse_fork(facts, hello),
        Relation::PeerFresh | Relation::PeerOlder | Relation::PeerFar => refuse(
            RefuseCode::Newer,
            format_args!(
                "{node} holds newer data of mirror {name} than {source}; stop it on {source} and start it on {node}, \
                 or give that data up: `netraid-ctl resolve {name} --keep {source}` on {node}"
            ),
        ),
        Relation::Unrelated => refuse(
            RefuseCode::Unrelated,
            format_args!(
                "the data of mirror {name} on {node} has nothing in common with that of {source}; delete the mirror \
                 on {node} and join again if its disk is to be overwritten"
            ),
        ),
    }
}

#[expect(
    clippy::result_large_err,
    reason = "a refusal is a sentence, and there is no allocator"
)]
fn refuse_fork(facts: &TargetFacts, hello: &Hello) -> Result<(), Refusal> {
    let (name, node, source) = (facts.local_name, facts.node_name, hello.node_name);
    refuse(
        RefuseCode::SplitBrain,
        format_args!(
            "split brain: {node} and {source} were both written to as source of mirror {name}; keep the data of one: \
             `netraid-ctl resolve {name} --keep NODE` on the other"
        ),
    )
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
                facts.disk_size, facts.local_name, hello.size
            ),
        );
    }
    if block > hello.logical_block_size {
        return refuse(
            RefuseCode::BlockSize,
            format_args!(
                "the disk on {node} writes blocks of {block} bytes, mirror {} blocks of {}; give \
                 {node} a disk with blocks of at most that size",
                facts.local_name, hello.logical_block_size
            ),
        );
    }
    Ok(())
}
