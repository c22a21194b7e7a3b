// SPDX-License-Identifier: GPL-2.0

//! What histories that are told on purpose are made of. Each ends early where something is broken already.

use crate::cluster::Cluster;
use crate::mistake::Mistake;
use crate::shape::Shape;
use netraid_core::leg::State;
use netraid_core::ownership::StartMode;

/// Events after which machines that can come together have.
const CALM: usize = 400;

impl Cluster {
    /// A source and its targets, which are in step.
    pub fn in_step(seed: u64, shape: Shape, mistake: Option<Mistake>) -> Self {
        let mut cluster = Self::new(seed, shape);
        cluster.tracing = true;
        cluster.mistake = mistake;
        cluster.create(0);
        for node in 1..shape.nodes {
            assert_eq!(cluster.join(node), Ok(true));
        }
        for node in 1..=shape.targets {
            assert_eq!(cluster.extend(0, node), Ok(true));
        }
        cluster.calm();
        cluster
    }

    /// Lets machines do what there is to do.
    pub fn calm(&mut self) {
        self.wait(CALM);
        let fine = self.broken.is_none() || self.mistake.is_some();
        assert!(fine, "{:?}\n{}", self.broken, self.trace.join("\n"));
    }

    /// Lets machines work until something is so.
    pub fn wait_for(&mut self, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..20 * CALM {
            if is_so(self) || self.broken.is_some() {
                return;
            }
            self.work(false);
            self.check();
        }
        panic!("it never comes to that\n{}", self.trace.join("\n"));
    }

    /// Nothing passes between two machines from now on, and both know.
    pub fn part(&mut self, a: usize, b: usize) {
        self.separate(a, b);
        self.calm();
    }

    /// Everybody sees everybody again.
    pub fn restore(&mut self) {
        self.cut.clear();
        self.held.clear();
        self.calm();
    }

    /// Two machines see each other again.
    pub fn restore_between(&mut self, a: usize, b: usize) {
        self.cut.retain(|pair| *pair != (a.min(b), a.max(b)));
        self.calm();
    }

    /// What is on its way to a machine does not arrive.
    pub fn lose(&mut self, to: usize) {
        let ways = self.conns.iter_mut().filter(|conn| conn.target == to);
        ways.for_each(|conn| conn.to_target.clear());
    }

    /// An application writes a chunk.
    pub fn writes(&mut self, node: usize, chunk: usize) {
        assert_eq!(self.write(node, chunk), Ok(()));
    }

    /// An application writes chunks, one after the other, and is told that it did.
    pub fn has_written(&mut self, node: usize, chunks: &[usize]) {
        for &chunk in chunks {
            let version = self.next_version;
            self.writes(node, chunk);
            self.wait_for(|it| (it.acknowledged | it.nodes[node].truth.paused) >> version & 1 == 1);
        }
        self.calm();
    }

    /// An operator starts a machine; whether it is in service then.
    pub fn begin(&mut self, node: usize, mode: StartMode) -> bool {
        let started = self.start(node, mode, mode == StartMode::Force) == Ok(true);
        self.calm();
        started
    }

    pub fn boot_up(&mut self, node: usize) {
        self.boot(node);
        self.calm();
    }

    /// How the leg of a source to a machine stands.
    pub fn leg_state(&self, node: usize, to: usize) -> Option<State> {
        let (_, leg) = self.nodes[node].as_source()?.leg_to(to)?;
        Some(leg.machine.state())
    }

    /// The application of a source is told of the errors of the disk.
    pub fn pass_errors_on(&mut self, node: usize) {
        self.shape.passes_on = true;
        if let Some(source) = self.nodes[node].source() {
            source.volume.detaches = false;
        }
    }

    /// The disk of a source fails, which it learns with a write.
    pub fn fail_disk(&mut self, node: usize, chunk: usize) {
        self.nodes[node].bad = true;
        self.writes(node, chunk);
        self.calm();
    }
}
