// SPDX-License-Identifier: GPL-2.0

//! Who may be the source.
//!
//! A machine that comes into service asks the other machines of the mirror how they stand, and [`start_decide`] says
//! what it may be. Nobody is the source because he is there first: whoever holds newer data, or is in service already,
//! keeps others from it, and who gets no answer from anybody does not guess.
//!
//! [`StartMode::Yield`] makes a target in any case, the other modes never a source of a disk that holds no usable copy.
//! With [`StartMode::Force`] an operator answers for what can't be asked: the last source becomes source again, another
//! machine only if the operator says so once more, and none while another one is seen in service.
//! [`StartMode::Keep`] does so for either side of a split brain, of which the other one is to give way. For the other
//! two modes, the first line that holds decides, and of several machines the one of the first such line:
//!
//! | what holds | auto | source |
//! |---|---|---|
//! | an operator took it out of service | refused | – |
//! | it was not the source | target | – |
//! | it has given way | target | – |
//! | no usable copy | target | refused |
//! | another machine, with data that is related, is in service as source | target, giving way | refused |
//! | another machine holds newer data, and has not given way | target | refused |
//! | another machine holds data of its own, and has not given way | refused: split brain | refused: split brain |
//! | another machine's data has nothing to do with this one's | refused | refused |
//! | another machine does not want to speak about the mirror | refused | refused |
//! | somebody answered and nobody's silence counts, or there is nobody to ask | source | source |
//! | this machine saw its source die while in step | source | source |
//! | it knows of a split brain | refused: split brain | refused: split brain |
//! | it was the last source | refused: data corrupt | refused: data corrupt |
//! | nothing of it | refused | refused |
//!
//! Giving way means that what this machine wrote, and the other one never got, is overwritten. A machine that knows of
//! a split brain does not give way by itself, nor does one that became source while the other one could not be asked.

use crate::generation::{self, relation, Generations, Relation};
use crate::legs::LegNumber;
use crate::meta::{places, MetaFlags, PeerFlags, Superblock};
use crate::name::{Name, Text};
use crate::state::Role;
use core::fmt;

/// How a mirror is to come into service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartMode {
    /// In the role it had, if that is still right.
    Auto,
    /// As source, if that is right.
    Source,
    /// As source, whatever others say or do not say.
    Force,
    /// As target that gives way to the source.
    Yield,
    /// As source that keeps its data, after a split brain.
    Keep,
}

impl StartMode {
    /// Every mode, for exhaustive tests.
    pub const ALL: [Self; 5] = [Self::Auto, Self::Source, Self::Force, Self::Yield, Self::Keep];
}

/// What this machine knows of itself.
#[derive(Clone, Copy, Debug)]
pub struct StartFacts {
    /// Name of the mirror.
    pub mirror: Name,
    /// The role it has, or had when it was last in service.
    pub role: Role,
    /// How it stands.
    pub flags: MetaFlags,
    /// It holds a copy, complete or not.
    pub has_data: bool,
    /// It was in step with a source that then was lost, without a goodbye, and has been up since.
    pub warm: bool,
    /// The operator said that he knows better.
    pub overridden: bool,
}

/// What another machine answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its name.
    pub node: Name,
    /// Its role now; only a source in service says that it is one.
    pub role: Role,
    /// Its data gives way.
    pub yielded: bool,
    /// Its disk holds no usable copy.
    pub inconsistent: bool,
    /// Its generations, with the base it noted for this machine.
    pub generations: Generations,
}

/// What came of asking another machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing: it can't be reached, or is not up.
    Nothing,
    /// It does not want to speak with this machine about this mirror, and says why.
    Refused(Text),
    /// It told how it stands.
    Answer(Answer),
}

/// One other machine of the mirror.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// This machine's generations, with the base it noted for the other one.
    pub mine: Generations,
    /// If it can't be asked, it may have taken over; see [`silence_counts`].
    pub counts: bool,
    /// What came of asking it.
    pub heard: Heard,
}

/// Whether a machine that can't be asked may have taken over, so that this one is not the source by itself. One that was
/// source counts those of which it does not know that they were left behind; a target counts its source, noted in the first
/// place, which knows of the others.
#[must_use]
pub fn silence_counts(sb: &Superblock, place: LegNumber) -> bool {
    let was_source = sb.role == Role::Source || sb.flags.contains(MetaFlags::LAST_OWNER);
    let may_be_in_step =
        |peer: &crate::meta::Peer| !peer.is_free() && (peer.base == 0 || peer.flags.contains(PeerFlags::FOLLOWING));
    if was_source {
        sb.peers.get(place.index()).is_some_and(may_be_in_step)
    } else {
        place == LegNumber::FIRST
    }
}

/// Why a mirror does not come into service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartRefusal {
    /// An operator took it out of service.
    Stopped(Name),
    /// The disk holds no usable copy.
    Inconsistent(Name),
    /// Another machine is the source.
    InService(Name, Name),
    /// Another machine holds newer data.
    Newer(Name, Name),
    /// Both machines were written to.
    SplitBrain(Name, Name),
    /// The data of the other machine has nothing to do with that of this one.
    Unrelated(Name, Name),
    /// It was the last source, and nobody could be asked.
    DataCorrupt(Name),
    /// It was not the last source, and nobody could be asked.
    Alone(Name),
    /// The other machine did not want to answer.
    Refused(Name, Text),
    /// It never was the source.
    NeverOwner(Name),
}

impl fmt::Display for StartRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped(m) => write!(
                f,
                "mirror '{m}' was taken out of service by an operator; `netraid-ctl start {m}` brings it back"
            ),
            Self::Inconsistent(m) => write!(
                f,
                "the disk of mirror '{m}' holds no usable copy, since a resync was under way; start it where its source was, the resync then goes on"
            ),
            Self::InService(m, node) => write!(
                f,
                "{node} is the source of mirror '{m}' and in service; use `netraid-ctl switchover {m}` here, or stop it there first"
            ),
            Self::Newer(m, node) => write!(
                f,
                "{node} holds newer data of mirror '{m}'; start it there"
            ),
            Self::SplitBrain(m, node) => write!(
                f,
                "split brain: this machine and {node} were both written to as source of mirror '{m}'; decide whose data is kept, and run `netraid-ctl resolve {m} --keep NODE` on the other one"
            ),
            Self::Unrelated(m, node) => write!(
                f,
                "the data of mirror '{m}' on {node} has nothing in common with that here; delete the mirror where its data is not wanted, and join again"
            ),
            Self::DataCorrupt(m) => write!(
                f,
                "data corrupt: this machine was the last source of mirror '{m}', and its target can't be asked whether it took over; bring that up, or, if it never was source since, `netraid-ctl force {m}`"
            ),
            Self::Alone(m) => write!(
                f,
                "the other machine of mirror '{m}' can't be asked, and was its last source; bring that up, or, if its disk is lost, `netraid-ctl force {m} --override`"
            ),
            Self::Refused(m, text) => write!(f, "mirror '{m}' can't ask its other machine: {text}"),
            Self::NeverOwner(m) => write!(
                f,
                "this machine was not the last source of mirror '{m}'; if the last one's data is lost for good, add --override"
            ),
        }
    }
}

/// What a machine is to be.
#[expect(
    clippy::large_enum_variant,
    reason = "a sentence lies in place, as there is no allocator"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartPlan {
    /// The source.
    Source,
    /// A target.
    Target,
    /// Neither.
    Refuse(StartRefusal),
}

/// What a machine is to be, and what that changes in how it stands. The flags change before anything else, and also
/// with a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What it is to be.
    pub plan: StartPlan,
    /// Flags that are set.
    pub set: MetaFlags,
    /// Flags that are cleared, before the others are set.
    pub clear: MetaFlags,
}

impl Decision {
    const fn of(plan: StartPlan) -> Self {
        Self {
            plan,
            set: MetaFlags::NONE,
            clear: MetaFlags::NONE,
        }
    }

    const fn refuse(refusal: StartRefusal) -> Self {
        Self::of(StartPlan::Refuse(refusal))
    }

    /// `takes_over`: another machine may be source as well, and could not be asked.
    fn source(takes_over: bool) -> Self {
        let clear = MetaFlags::DATA_CORRUPT
            .with(MetaFlags::YIELDED, true)
            .with(MetaFlags::STOPPED, true);
        Self {
            plan: StartPlan::Source,
            set: MetaFlags::LAST_OWNER.with(MetaFlags::TOOK_OVER, takes_over),
            clear,
        }
    }

    fn target(yields: bool) -> Self {
        let owner = MetaFlags::DATA_CORRUPT
            .with(MetaFlags::LAST_OWNER, true)
            .with(MetaFlags::TOOK_OVER, true);
        Self {
            plan: StartPlan::Target,
            set: MetaFlags::NONE.with(MetaFlags::YIELDED, yields),
            clear: MetaFlags::STOPPED.with(owner, yields),
        }
    }
}

/// A machine becomes the source. What it wrote itself as a target, in a pause, counts as the first write that the other one
/// misses: `wrote` begins the generation `fresh`. Otherwise others may hold the same, and its first write begins one.
pub fn become_source(sb: &mut Superblock, wrote: bool, fresh: u64) {
    let was_target = sb.role == Role::Target;
    let over = MetaFlags::DATA_CORRUPT
        .with(MetaFlags::YIELDED, true)
        .with(MetaFlags::STOPPED, true)
        .with(MetaFlags::CLEAN, true);
    sb.role = Role::Source;
    sb.flags = sb
        .flags
        .without(over)
        .with(MetaFlags::LAST_OWNER, true)
        .with(MetaFlags::SHARED, was_target);
    if !was_target {
        return;
    }
    places::forget_marks(&mut sb.peers);
    let Some(peer) = sb.peers.first_mut() else { return };
    // A pause of the target ends with its being a target.
    peer.flags.set(PeerFlags::PAUSED, false);
    if wrote && peer.base == 0 && !peer.is_free() {
        peer.base = sb.current;
        generation::rotate(&mut sb.current, &mut sb.history, fresh);
        sb.flags.set(MetaFlags::SHARED, false);
    }
}

/// Decides what a machine is to be, as the table of the [module](self) has it; `peers` are those it knows.
#[must_use]
pub fn start_decide(facts: &StartFacts, mode: StartMode, peers: &[Peer]) -> Decision {
    let has = |flag| facts.flags.contains(flag);
    let mirror = facts.mirror;
    let usable = facts.has_data && !has(MetaFlags::INCONSISTENT);
    match mode {
        StartMode::Yield => {
            let mut decision = Decision::target(true);
            decision.clear = decision.clear.with(MetaFlags::SPLIT_BRAIN, true);
            return decision;
        }
        StartMode::Auto if has(MetaFlags::STOPPED) && !facts.overridden => {
            return Decision::refuse(StartRefusal::Stopped(mirror));
        }
        StartMode::Auto if facts.role != Role::Source && !has(MetaFlags::LAST_OWNER) => {
            return Decision::target(false);
        }
        StartMode::Auto if has(MetaFlags::YIELDED) || !usable => return Decision::target(false),
        _ if !usable => return Decision::refuse(StartRefusal::Inconsistent(mirror)),
        StartMode::Force | StartMode::Keep => return forced(facts, mode, peers),
        StartMode::Auto | StartMode::Source => {}
    }
    let objections = peers.iter().filter_map(|peer| Some((objection(peer)?, peer)));
    if let Some((objection, peer)) = objections.min_by_key(|(objection, _)| *objection) {
        return overruled(facts, mode, objection, peer);
    }
    let answered = peers.iter().any(|peer| matches!(peer.heard, Heard::Answer(_)));
    let silent = peers.iter().any(|peer| peer.counts && peer.heard == Heard::Nothing);
    if (answered && !silent) || peers.is_empty() {
        return Decision::source(false);
    }
    if facts.warm {
        return Decision::source(facts.role != Role::Source);
    }
    if has(MetaFlags::SPLIT_BRAIN) {
        return Decision::refuse(StartRefusal::SplitBrain(mirror, Name::truncated("the other one")));
    }
    if has(MetaFlags::LAST_OWNER) {
        return Decision {
            set: MetaFlags::DATA_CORRUPT,
            ..Decision::refuse(StartRefusal::DataCorrupt(mirror))
        };
    }
    Decision::refuse(StartRefusal::Alone(mirror))
}

/// Why another machine keeps this one from being the source, in the order of the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Objection {
    InService,
    Newer,
    Forked,
    Unrelated,
    Refused,
}

fn objection(peer: &Peer) -> Option<Objection> {
    let answer = match peer.heard {
        Heard::Nothing => return None,
        Heard::Refused(_) => return Some(Objection::Refused),
        Heard::Answer(answer) => answer,
    };
    let related = relation(&peer.mine, &answer.generations);
    if related == Relation::Unrelated {
        Some(Objection::Unrelated)
    } else if answer.role == Role::Source {
        Some(Objection::InService)
    } else if related.peer_is_covered() || answer.yielded {
        // What a machine gives up, or was about to overwrite, keeps nobody from anything.
        None
    } else if related.is_fork() {
        Some(Objection::Forked)
    } else {
        Some(Objection::Newer)
    }
}

/// What follows from an objection.
fn overruled(facts: &StartFacts, mode: StartMode, objection: Objection, peer: &Peer) -> Decision {
    let mirror = facts.mirror;
    let auto = mode == StartMode::Auto;
    let (node, related) = match peer.heard {
        Heard::Nothing => return Decision::refuse(StartRefusal::Alone(mirror)),
        Heard::Refused(reason) => return Decision::refuse(StartRefusal::Refused(mirror, reason)),
        Heard::Answer(answer) => (answer.node, relation(&peer.mine, &answer.generations)),
    };
    let split_brain = || Decision {
        set: MetaFlags::SPLIT_BRAIN,
        ..Decision::refuse(StartRefusal::SplitBrain(mirror, node))
    };
    let has = |flag| facts.flags.contains(flag);
    let rival = has(MetaFlags::SPLIT_BRAIN) || has(MetaFlags::TOOK_OVER);
    match objection {
        // One that took over from a source it could not ask gives way to that no more than that to it.
        Objection::InService if auto && rival && related.is_fork() => split_brain(),
        Objection::InService if auto => Decision::target(true),
        Objection::InService => Decision::refuse(StartRefusal::InService(mirror, node)),
        Objection::Newer if auto => Decision::target(false),
        Objection::Newer => Decision::refuse(StartRefusal::Newer(mirror, node)),
        Objection::Forked => split_brain(),
        // A refusal has its own sentence, above.
        Objection::Unrelated | Objection::Refused => Decision::refuse(StartRefusal::Unrelated(mirror, node)),
    }
}

/// An operator answers for it.
fn forced(facts: &StartFacts, mode: StartMode, peers: &[Peer]) -> Decision {
    let mirror = facts.mirror;
    let in_service = peers.iter().find_map(|peer| match peer.heard {
        Heard::Answer(answer) if answer.role == Role::Source => Some(answer.node),
        _ => None,
    });
    let entitled = facts.flags.contains(MetaFlags::LAST_OWNER)
        || (mode == StartMode::Keep && facts.flags.contains(MetaFlags::SPLIT_BRAIN));
    match in_service {
        // Nothing but a split brain could come of it.
        Some(node) if mode == StartMode::Force => Decision::refuse(StartRefusal::InService(mirror, node)),
        _ if !entitled && !facts.overridden => Decision::refuse(StartRefusal::NeverOwner(mirror)),
        _ => {
            let answered = peers.iter().any(|peer| matches!(peer.heard, Heard::Answer(_)));
            let silent = peers.iter().any(|peer| peer.counts && peer.heard == Heard::Nothing);
            // Nor does its role tell that nobody else took over: it was not in service.
            let mut decision = Decision::source((silent || !answered) && !peers.is_empty());
            decision.clear = decision.clear.with(MetaFlags::SPLIT_BRAIN, mode == StartMode::Keep);
            decision
        }
    }
}
