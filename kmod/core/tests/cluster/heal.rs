// SPDX-License-Identifier: GPL-2.0

//! The end of every history: the faults are over, an operator who knows the commands repairs what is broken, and the
//! mirror has to come together again.

use crate::cluster::Cluster;
use crate::node::Active;
use netraid_core::leg::State;
use netraid_core::meta::MetaFlags;
use netraid_core::ownership::StartMode;

/// Events that machines get to come together; a resync takes a few dozen.
const PATIENCE: usize = 4000;

impl Cluster {
    /// Fails unless the machine that is chosen brings every other one into step with it, one after the other.
    pub fn heal(&mut self) {
        self.note(|| String::from("--- the faults are over"));
        self.cut.clear();
        for node in 0..self.nodes.len() {
            if !self.nodes[node].up {
                self.boot(node);
            }
        }
        self.wait(200);
        let Some(source) = self.choose() else {
            return self.fail(String::from("nobody has a usable copy, or may be the source"));
        };
        let others = || (0..3).flat_map(|_| 0..4).filter(|&other| other != source);
        for other in others().filter(|&other| other < self.nodes.len()).collect::<Vec<_>>() {
            if self.is_source(other) {
                self.command(other, StartMode::Yield, false);
                self.wait(40);
            }
        }
        for other in (0..self.nodes.len()).filter(|&other| other != source) {
            if self.broken.is_none() && self.nodes[other].store.is_some() {
                self.bring_together(source, other);
            }
        }
    }

    /// Lets machines work for a while.
    fn wait(&mut self, events: usize) {
        for _ in 0..events {
            if self.broken.is_some() {
                return;
            }
            let _ = (0..6).any(|_| self.work(false));
            self.check();
        }
    }

    fn command(&mut self, node: usize, mode: StartMode, overridden: bool) -> bool {
        let result = self.start(node, mode, overridden);
        self.settle(node, result).unwrap_or(false)
    }

    fn is_source(&self, node: usize) -> bool {
        matches!(self.nodes[node].active, Active::Source(_))
    }

    /// Whose data is kept: of a machine in service, or of one that starts without being forced, or that can be.
    fn choose(&mut self) -> Option<usize> {
        let all = 0..self.nodes.len();
        let attempts = [
            (StartMode::Auto, false),
            (StartMode::Source, false),
            (StartMode::Force, false),
            (StartMode::Keep, false),
            (StartMode::Force, true),
        ];
        for (mode, overridden) in attempts {
            if let Some(node) = all.clone().find(|&node| self.is_source(node)) {
                return Some(node);
            }
            for node in all.clone().filter(|&node| self.is_usable(node)).collect::<Vec<_>>() {
                // A target does not let go of a source that it has.
                self.command(node, mode, overridden);
                if self.is_source(node) {
                    return Some(node);
                }
            }
        }
        None
    }

    fn bring_together(&mut self, source: usize, other: usize) {
        // `resolve --keep`: the other one gives way, and this one keeps what it has.
        self.command(source, StartMode::Keep, false);
        for attempt in 0..3 {
            self.close_device(other);
            self.wait(40);
            if !self.command(other, StartMode::Yield, false) {
                continue;
            }
            if self.leg_to(source) != Some(other) || attempt > 0 {
                let result = self.unextend(source);
                self.settle(source, result);
                let result = self.extend(source, other);
                self.settle(source, result);
            }
            let result = self.pause(source, false);
            self.settle(source, result);
            for _ in 0..PATIENCE / 3 {
                if self.broken.is_some() || self.is_together(source, other) {
                    return;
                }
                let _ = (0..6).any(|_| self.work(false));
                self.check();
            }
        }
        if self.broken.is_none() {
            self.fail(format!("{source} and {other} do not come together"));
        }
    }

    /// Whether a disk holds a whole copy.
    pub fn is_usable(&self, node: usize) -> bool {
        let store = self.nodes[node].store.as_ref();
        store.is_some_and(|store| store.sb.current != 0 && !store.sb.flags.contains(MetaFlags::INCONSISTENT))
    }

    fn leg_to(&self, node: usize) -> Option<usize> {
        match &self.nodes[node].active {
            Active::Source(source) => source.legs.first().map(|leg| leg.to),
            _ => None,
        }
    }

    fn is_together(&self, source: usize, other: usize) -> bool {
        match &self.nodes[source].active {
            Active::Source(it) => {
                let leg = it.legs.first();
                leg.is_some_and(|leg| leg.to == other && leg.machine.state() == State::Synced)
            }
            _ => false,
        }
    }
}
