// SPDX-License-Identifier: GPL-2.0

//! The source's side: what has to be copied.

use super::{generations_of_target, is_block_size, is_payload_limit};
use crate::generation::{relation, Generations, Relation};
use crate::wire::{Id, RefuseCode, Welcome, WelcomeFlags, NO_ID};

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
    /// What the disk holds, with the base noted for this target.
    pub mine: Generations,
    /// The machine that the marks speak of, [`NO_ID`] where it was none yet.
    pub known_node: Id,
    /// Its instance when it was last connected.
    pub known_instance: Id,
    /// The operator made the copies equal by other means, but for what is marked.
    pub prepared: bool,
    /// What was never written need not be copied.
    pub is_new: bool,
    /// An operator paused replication.
    pub paused: bool,
    /// An operator asked for a full copy.
    pub full: bool,
}

/// What has to be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copying {
    /// What is marked.
    Marked,
    /// What is marked, and what was ever written.
    Written,
    /// Every chunk.
    Everything,
}

/// What both sides agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// What has to be copied, once replication is not paused.
    pub copying: Copying,
    /// The target wrote to its disk itself; its map is to be added first.
    pub merge_map: bool,
    /// The target may have lost what it had confirmed: what the intent log knows is to be added.
    pub distrust: bool,
}

/// What a source does with a target that accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// The connection is used.
    Agree(Agreement),
    /// The connection is closed; the code says why.
    Refuse(RefuseCode),
}

/// Decides what a source does with a target that accepted it, as the table of the [module](super)
/// has it.
#[must_use]
pub fn source_decide(facts: &SourceFacts, welcome: &Welcome) -> Plan {
    if let Some(code) = unfit(facts, welcome).or_else(|| rival(facts, welcome)) {
        return Plan::Refuse(code);
    }
    let copying = copying(facts, welcome);
    Plan::Agree(Agreement {
        copying,
        merge_map: welcome.flags.contains(WelcomeFlags::HAS_MAP),
        distrust: facts.known_instance != welcome.instance && copying != Copying::Everything,
    })
}

/// Whether the target holds what the source lacks, and has not given way.
fn rival(facts: &SourceFacts, welcome: &Welcome) -> Option<RefuseCode> {
    if welcome.flags.contains(WelcomeFlags::YIELDED) {
        return None;
    }
    match relation(&facts.mine, &generations_of_target(welcome)) {
        Relation::PeerNewer | Relation::PeerFarAhead | Relation::SelfFresh => Some(RefuseCode::Newer),
        Relation::Forked | Relation::ForkedFar => Some(RefuseCode::SplitBrain),
        Relation::Unrelated => Some(RefuseCode::Unrelated),
        Relation::PeerFresh | Relation::Same | Relation::PeerOlder | Relation::PeerFar => None,
    }
}

fn copying(facts: &SourceFacts, welcome: &Welcome) -> Copying {
    let known = facts.known_node == NO_ID || facts.known_node == welcome.node_uuid;
    let related = relation(&facts.mine, &generations_of_target(welcome));
    let fresh = related == Relation::PeerFresh;
    if facts.full {
        Copying::Everything
    } else if fresh && facts.prepared && welcome.flags.contains(WelcomeFlags::PREPARED) {
        Copying::Marked
    } else if fresh && facts.is_new {
        Copying::Written
    } else if known && is_covered(related, welcome) {
        Copying::Marked
    } else {
        Copying::Everything
    }
}

/// Whether the marks cover every difference: those here, and, for what the target wrote itself, its own.
fn is_covered(related: Relation, welcome: &Welcome) -> bool {
    let has = |flag| welcome.flags.contains(flag);
    // It forgets its own marks when a resync begins.
    let tells = has(WelcomeFlags::HAS_MAP) && !has(WelcomeFlags::INCONSISTENT);
    related.is_marked() && (related.peer_is_covered() || tells)
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
