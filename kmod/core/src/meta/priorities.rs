// SPDX-License-Identifier: GPL-2.0

//! Which machine of a mirror has which priority, as this machine knows it. No two have the same.
//!
//! Its own is in the superblock, those of the others are in their places. An operator gives them on the source, or on a
//! target for the time when that is the source. The source tells each target its own and that of the target, and its word
//! counts there. A target tells its own; that is of use to a source that was not told one for it.

use super::Superblock;
use crate::legs::LegNumber;
use crate::priority::{OutOfRange, Priorities, Priority};
use crate::wire::Id;

/// How far apart the priorities are that targets get where none is asked for: others fit in between.
const STEP: u16 = 10;

/// Who has a priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// This machine.
    Here,
    /// The one in a place.
    Leg(LegNumber),
}

/// Why a machine can't have a priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is none.
    OutOfRange(OutOfRange),
    /// Another machine has it.
    Taken {
        /// The one asked for.
        priority: Priority,
        /// Who has it.
        by: Holder,
        /// One that is not taken.
        free: Priority,
    },
}

/// The priority an operator asks for, for the machine in a place.
///
/// # Errors
///
/// [`Refusal`].
pub fn asked(sb: &Superblock, place: LegNumber, number: u32) -> Result<Priority, Refusal> {
    let priority = Priority::new(number).map_err(Refusal::OutOfRange)?;
    match holder(sb, place, priority) {
        None => Ok(priority),
        Some(by) => Err(Refusal::Taken {
            priority,
            by,
            free: next(sb, place),
        }),
    }
}

/// The priority for the machine in a place where none is asked for: the lowest multiple of ten above all that are taken,
/// or, where there is none, the first that is free.
#[must_use]
pub fn next(sb: &Superblock, place: LegNumber) -> Priority {
    let last = others(sb, place).map(|(_, priority)| priority.number()).max();
    let above = (last.unwrap_or(0) / STEP).saturating_add(1).saturating_mul(STEP);
    if let Some(priority) = Priority::from_field(above) {
        return priority;
    }
    let mut all = (Priority::HIGHEST.number()..=Priority::LOWEST.number()).filter_map(Priority::from_field);
    // There are far more than machines.
    all.find(|priority| holder(sb, place, *priority).is_none())
        .unwrap_or(Priority::LOWEST)
}

/// Notes the priority of the machine in a place. It has none where another machine has got that one meanwhile.
pub fn note(sb: &mut Superblock, place: LegNumber, priority: Priority) {
    let free = holder(sb, place, priority).is_none();
    if let Some(peer) = sb.peers.get_mut(place.index()) {
        peer.priority = Some(priority).filter(|_| free);
    }
}

/// Whether a target knows already what its source tells.
#[must_use]
pub fn is_known(sb: &Superblock, told: &Priorities) -> bool {
    let noted = sb.peers.first().and_then(|peer| peer.priority);
    let same = |told: Option<Priority>, known| told.is_none() || told == known;
    let target = told.target.filter(|_| told.target != told.source);
    same(told.source, noted) && same(target, sb.priority)
}

/// Notes what the source of this target tells. It is noted in the first place already, where `source` is not who was noted
/// there before, unless there was no room. Whoever else was noted with one of the two priorities has none: it was given
/// before the source had said which are in use.
pub fn hear(sb: &mut Superblock, source: &Id, told: &Priorities) {
    let target = told.target.filter(|_| told.target != told.source);
    sb.priority = target.or(sb.priority.filter(|own| Some(*own) != told.source));
    let own = sb.priority;
    let mut first = None;
    for (index, peer) in sb.peers.iter_mut().enumerate() {
        if index == 0 {
            let is_another = !peer.is_free() && peer.uuid != *source;
            let before = peer.priority.filter(|_| !is_another);
            peer.priority = told.source.or(before).filter(|it| Some(*it) != own);
            first = peer.priority;
        } else {
            peer.priority = peer.priority.filter(|it| Some(*it) != own && Some(*it) != first);
        }
    }
}

/// What a source learns from the target in a place: the priority that this says it has, if an operator gave it none here,
/// and if nobody else has that one.
#[must_use]
pub fn learns(sb: &Superblock, place: LegNumber, theirs: Option<Priority>) -> Option<Priority> {
    let peer = sb.peers.get(place.index())?;
    theirs.filter(|theirs| peer.priority.is_none() && holder(sb, place, *theirs).is_none())
}

/// Who has a priority, apart from the machine in a place.
fn holder(sb: &Superblock, place: LegNumber, priority: Priority) -> Option<Holder> {
    others(sb, place).find_map(|(who, theirs)| (theirs == priority).then_some(who))
}

/// Who has which priority, apart from the machine in a place.
fn others(sb: &Superblock, place: LegNumber) -> impl Iterator<Item = (Holder, Priority)> + '_ {
    let here = sb.priority.map(|priority| (Holder::Here, priority));
    let places = LegNumber::all()
        .zip(&sb.peers)
        .filter(move |(other, _)| *other != place);
    let noted = places.filter_map(|(other, peer)| Some((Holder::Leg(other), peer.priority?)));
    here.into_iter().chain(noted)
}
