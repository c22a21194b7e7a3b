// SPDX-License-Identifier: GPL-2.0

//! The end of every history: the faults are over, an operator who knows the commands repairs what is broken, and the
//! mirror has to come together again.

use crate::cluster::Cluster;
use netraid_core::local::LocalDisk;
use netraid_core::ownership::StartMode;

/// Events that machines get to come together; a resync takes a few dozen.
const PATIENCE: usize = 2000;

impl Cluster {
    /// Fails unless the machine that is chosen brings the other ones into step with it.
    pub fn heal(&mut self) {
        self.note(|| String::from("--- the faults are over"));
        self.cut.clear();
        for node in self.all() {
            if !self.nodes[node].up {
                self.boot(node);
            }
        }
        self.wait(100);
        let Some(source) = self.choose() else {
            return self.fail(String::from("nobody has a usable copy, or may be the source"));
        };
        let others: Vec<_> = self.all().filter(|&other| other != source).collect();
        if self.shape.targets > 1 {
            return self.bring_together(source, &others);
        }
        // One after the other, as there is room for one.
        for other in others {
            self.bring_together(source, &[other]);
            self.make_room(source, &[other]);
        }
    }

    fn bring_together(&mut self, source: usize, others: &[usize]) {
        for _ in 0..4 {
            if self.broken.is_some() {
                return;
            }
            self.command(source, StartMode::Keep, false);
            for &other in others {
                self.close_device(other);
                self.wait(20);
                if self.nodes[other]
                    .store
                    .as_ref()
                    .is_some_and(|store| store.lost.is_some())
                {
                    // Its metadata went with its disk: another one joins.
                    let result = self.join(other);
                    self.settle(other, result);
                }
                self.command(other, StartMode::Yield, false);
            }
            self.connect_all(source, others);
            if self.comes_together(source, others) {
                return;
            }
            // What is left in the way is taken out of it.
            let all: Vec<_> = self.all().collect();
            self.make_room(source, &all);
        }
        if self.broken.is_none() {
            self.fail(format!("{source} and {others:?} do not come together"));
        }
    }

    /// Lets go of targets.
    fn make_room(&mut self, source: usize, targets: &[usize]) {
        for &other in targets {
            let leg = self.nodes[source].as_source().and_then(|it| it.leg_to(other));
            if let Some(leg) = leg.map(|(leg, _)| leg) {
                let result = self.unextend(source, leg);
                self.settle(source, result);
            }
        }
    }

    fn connect_all(&mut self, source: usize, others: &[usize]) {
        for &other in others {
            let result = self.extend(source, other);
            self.settle(source, result);
            let leg = self.nodes[source]
                .as_source()
                .and_then(|it| it.leg_to(other))
                .map(|(leg, _)| leg);
            if let Some(leg) = leg {
                let result = self.pause(source, leg, false);
                self.settle(source, result);
            }
        }
    }

    fn comes_together(&mut self, source: usize, others: &[usize]) -> bool {
        for _ in 0..PATIENCE {
            if self.broken.is_some() {
                return false;
            }
            if others.iter().all(|&other| self.is_together(source, other)) {
                return true;
            }
            let _ = (0..6).any(|_| self.work(false));
            self.check();
        }
        false
    }

    /// Lets machines work for a while.
    pub fn wait(&mut self, events: usize) {
        for _ in 0..events {
            if self.broken.is_some() {
                return;
            }
            let _ = (0..6).any(|_| self.work(false));
            self.check();
        }
    }

    fn command(&mut self, node: usize, mode: StartMode, overridden: bool) {
        let result = self.start(node, mode, overridden);
        self.settle(node, result);
    }

    /// Whether a machine is the source with a disk that it can copy from, or gets one.
    fn is_good_source(&mut self, node: usize) -> bool {
        let state = self.nodes[node].as_source().map(|source| source.volume.local);
        match state {
            None => false,
            Some(LocalDisk::Attached) if !self.nodes[node].bad => true,
            Some(_) => {
                // The operator takes the broken machine out of service.
                self.wait(60);
                let result = self.stop(node, true);
                self.settle(node, result);
                self.nodes[node].bad = false;
                false
            }
        }
    }

    /// Whose data is kept: of a machine in service, or of one that starts without being forced, or that can be.
    fn choose(&mut self) -> Option<usize> {
        let attempts = [
            (StartMode::Auto, false),
            (StartMode::Source, false),
            (StartMode::Force, false),
            (StartMode::Keep, false),
            (StartMode::Force, true),
        ];
        for (mode, overridden) in attempts {
            self.wait(60);
            if let Some(node) = self.all().find(|&node| self.is_good_source(node)) {
                return Some(node);
            }
            for node in self.usable() {
                self.command(node, mode, overridden);
                if self.is_good_source(node) {
                    return Some(node);
                }
            }
        }
        None
    }
}
