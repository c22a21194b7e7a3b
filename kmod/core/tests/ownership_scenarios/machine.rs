// SPDX-License-Identifier: GPL-2.0

//! A machine of a mirror, as far as it decides who may be the source.

use netraid_core::generation::{rotate, Generations};
use netraid_core::meta::{MetaFlags, HISTORY};
use netraid_core::name::Name;
use netraid_core::ownership::*;
use netraid_core::state::Role;

/// What a machine keeps over a restart, and whether it is up.
pub(crate) struct Machine {
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    pub(crate) flags: MetaFlags,
    pub(crate) current: u64,
    pub(crate) history: [u64; HISTORY],
    pub(crate) base: u64,
    pub(crate) warm: bool,
    pub(crate) up: bool,
    pub(crate) in_service: bool,
}

impl Machine {
    pub(crate) fn new(name: &'static str, role: Role) -> Self {
        Self {
            name,
            role,
            flags: MetaFlags::NONE.with(MetaFlags::LAST_OWNER, role == Role::Source),
            current: 1,
            history: [0; HISTORY],
            base: 0,
            warm: false,
            up: true,
            in_service: true,
        }
    }

    pub(crate) fn has(&self, flag: MetaFlags) -> bool {
        self.flags.contains(flag)
    }

    pub(crate) const fn generations(&self) -> Generations {
        Generations {
            current: self.current,
            base: self.base,
            history: self.history,
        }
    }

    pub(crate) fn die(&mut self) {
        (self.up, self.in_service, self.warm) = (false, false, false);
    }

    pub(crate) fn boot(&mut self) {
        self.up = true;
    }

    /// What it tells who asks; only one in service has a door.
    pub(crate) fn answer(&self) -> Heard {
        if !self.up || !self.in_service {
            return Heard::Nothing;
        }
        Heard::Answer(Answer {
            node: Name::new(self.name).unwrap(),
            role: self.role,
            yielded: self.has(MetaFlags::YIELDED),
            inconsistent: self.has(MetaFlags::INCONSISTENT),
            generations: self.generations(),
        })
    }

    pub(crate) fn start(&mut self, mode: StartMode, other: &Self) -> StartPlan {
        self.decide(mode, false, other.answer())
    }

    pub(crate) fn start_overridden(&mut self, mode: StartMode, other: &Self) -> StartPlan {
        self.decide(mode, true, other.answer())
    }

    pub(crate) fn decide(&mut self, mode: StartMode, overridden: bool, heard: Heard) -> StartPlan {
        let facts = StartFacts {
            mirror: Name::new("data").unwrap(),
            role: self.role,
            flags: self.flags,
            has_data: self.current != 0,
            warm: self.warm,
            overridden,
        };
        let mine = self.generations();
        let decision = start_decide(
            &facts,
            mode,
            &[Peer {
                mine,
                counts: true,
                heard,
            }],
        );
        self.flags = self.flags.without(decision.clear).with(decision.set, true);
        match decision.plan {
            StartPlan::Source => (self.role, self.in_service) = (Role::Source, true),
            StartPlan::Target => (self.role, self.in_service) = (Role::Target, true),
            StartPlan::Refuse(_) => {}
        }
        decision.plan
    }

    /// As source, writes what the other one does not get.
    pub(crate) fn write_alone(&mut self) {
        assert!(self.role == Role::Source && self.in_service);
        if self.base == 0 {
            self.base = self.current;
            let next = self.current * 10 + u64::from(self.name.as_bytes()[0]);
            rotate(&mut self.current, &mut self.history, next);
        }
    }
}

/// A target connects to its source, and a resync begins.
pub(crate) fn begin_resync(source: &Machine, target: &mut Machine) {
    assert!(source.role == Role::Source && target.role == Role::Target);
    let owner = MetaFlags::LAST_OWNER.with(MetaFlags::DATA_CORRUPT, true);
    target.flags = target.flags.without(owner).with(MetaFlags::INCONSISTENT, true);
    target.base = 0;
    rotate(&mut target.current, &mut target.history, source.current);
}

pub(crate) fn end_resync(source: &mut Machine, target: &mut Machine) {
    source.base = 0;
    let over = MetaFlags::INCONSISTENT
        .with(MetaFlags::YIELDED, true)
        .with(MetaFlags::SPLIT_BRAIN, true);
    target.flags = target.flags.without(over);
}
