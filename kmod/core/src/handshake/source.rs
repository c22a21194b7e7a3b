// SPDX-License-Identifier: GPL-2.0

//! The source's side: what has to be copied.

use super::{generations_of_target, is_block_size, is_payload_limit};
use crate::generation::{relation, Generations, Relation};
use crate::wire::{features, Id, RefuseCode, Welcome, WelcomeFlags, NO_ID};

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
    /// It became source as a target, and others may hold what it holds.
    pub shared: bool,
    /// What was never written need not be copied.
    pub is_new: bool,
    /// An operator paused replication.
    pub paused: bool,
    /// An operator asked for a full copy.
    pub full: bool,
    /// The target and this machine were both complete at this generation, under a source that is gone: the marks cover
    /// every difference only together with what the target was sent of late. 0 where they do so alone.
    pub recent: u64,
    /// The marks say nothing.
    pub unknown: bool,
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
    /// Everything is to be copied, and most of it may well be there: it is to be compared first.
    pub compare: bool,
    /// The target differs at most where it is marked, and is complete: where nothing is marked, it need not be copied to, be
    /// its generation another one.
    pub covered: bool,
    /// Somebody else may hold what the source holds now, or what was made of it, and would count its present generation as
    /// his past, whatever is written in it from now on: the source begins another one.
    pub begins: bool,
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
    let marked = copying == Copying::Marked;
    Plan::Agree(Agreement {
        copying,
        merge_map: welcome.flags.contains(WelcomeFlags::HAS_MAP) || (marked && tells_recent(facts, welcome)),
        distrust: facts.known_instance != welcome.instance && copying != Copying::Everything,
        compare: copying == Copying::Everything && is_near(facts, welcome),
        covered: copying == Copying::Marked
            && welcome.generation != 0
            && !welcome.flags.contains(WelcomeFlags::INCONSISTENT),
        begins: begins(facts, welcome),
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
    } else if facts.unknown || (facts.recent != 0 && !(tells_recent(facts, welcome) && related.peer_is_covered())) {
        Copying::Everything
    } else if known && (facts.recent != 0 || is_covered(related, welcome)) {
        Copying::Marked
    } else {
        Copying::Everything
    }
}

/// Whether a target holds older data of the same mirror, which another source brought there.
fn is_near(facts: &SourceFacts, welcome: &Welcome) -> bool {
    let related = relation(&facts.mine, &generations_of_target(welcome));
    let other = facts.known_node != NO_ID && facts.known_node != welcome.node_uuid;
    !facts.full && !other && related.peer_is_covered() && related != Relation::PeerFresh
}

/// Whether others may hold what a source holds now: what a target gives up may have been taken over from it before, and
/// one that was in step and is not any more may have gone on alone, on another disk.
fn begins(facts: &SourceFacts, welcome: &Welcome) -> bool {
    let related = relation(&facts.mine, &generations_of_target(welcome));
    let was_in_step = facts.known_node != NO_ID && facts.mine.base == 0;
    let is_in_step = related == Relation::Same && facts.known_node == welcome.node_uuid;
    facts.shared || !related.peer_is_covered() || (was_in_step && !is_in_step)
}

/// Whether the marks cover every difference: those here, and, for what the target wrote itself, its own.
fn is_covered(related: Relation, welcome: &Welcome) -> bool {
    let has = |flag| welcome.flags.contains(flag);
    // It forgets its own marks when a resync begins.
    let tells = has(WelcomeFlags::HAS_MAP) && !has(WelcomeFlags::INCONSISTENT);
    related.is_marked() && (related.peer_is_covered() || tells)
}

/// Whether the target holds what this machine held when it became source, and knows what it was sent of late.
fn tells_recent(facts: &SourceFacts, welcome: &Welcome) -> bool {
    let complete = !welcome.flags.contains(WelcomeFlags::INCONSISTENT);
    let same = facts.recent != 0 && generations_of_target(welcome).current == facts.recent;
    same && complete && welcome.flags.contains(WelcomeFlags::RECENT)
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
    } else if facts.features & !welcome.features & features::BARRIER != 0 {
        Some(RefuseCode::NoBarrier)
    } else {
        None
    }
}
