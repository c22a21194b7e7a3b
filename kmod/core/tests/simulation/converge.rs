// SPDX-License-Identifier: GPL-2.0

//! The end of a history: everything is repaired, operators help, and the machines come in step.

use super::events::Event;
use super::history::{is_vain, Run};
use super::node::Active;
use netraid_core::{leg::State, meta::MetaFlags, meta::PeerFlags, ownership::StartMode};

/// What is said where the end of a history is not what it should be.
pub(crate) const STUCK: &str = "nothing brings the machines in step";

/// Events that come of themselves, at most, until everything has calmed down.
const CALM: usize = 3000;

/// How many of them may be of those that come again and again.
const VAIN: usize = 40;

impl Run {
    pub(crate) fn calm(&mut self) {
        let mut vain = 0;
        for _ in 0..CALM {
            if self.world.failure.is_some() || self.is_settled() || !self.nature(vain > VAIN) {
                return;
            }
            if self.events.last().is_some_and(is_vain) {
                vain += 1;
            }
        }
    }

    /// Whether there is a source that is in step with its target, and nothing else to do.
    fn is_settled(&self) -> bool {
        let quiet = self.world.nodes.iter().all(|it| it.op.is_none());
        quiet && self.synced().is_some()
    }

    fn synced(&self) -> Option<(usize, usize)> {
        let mut sources = self
            .world
            .nodes
            .iter()
            .enumerate()
            .filter_map(|(node, it)| match &it.active {
                Active::Source(source) => Some((node, source)),
                _ => None,
            });
        let (node, source) = sources.next()?;
        if sources.next().is_some() || !source.volume.requests.is_empty() {
            return None;
        }
        let leg = source.leg.as_ref().filter(|leg| leg.machine.state() == State::Synced)?;
        let conn = self.world.conns.iter().find(|it| Some(it.id) == leg.conn)?;
        let in_sync = match &self.world.nodes[conn.target].active {
            Active::Target(target) => target.conn == leg.conn && target.in_sync,
            Active::Source(_) | Active::Stopped => false,
        };
        in_sync.then_some((node, conn.target))
    }

    /// Everything is repaired; after that, a source and its target hold the same.
    pub(crate) fn converge(&mut self) {
        let nodes = self.world.nodes.len();
        for a in 0..nodes {
            for b in a + 1..nodes {
                self.happen(Event::Heal(a, b));
            }
        }
        for node in 0..nodes {
            let luck = self.rng.next() % 1000;
            if self.rng.one_in(3) {
                self.happen(Event::Crash(node, luck));
            }
            self.happen(Event::Boot(node));
        }
        for attempt in 0..12 {
            for node in 0..nodes {
                self.happen(Event::Boot(node));
            }
            self.calm();
            if self.world.failure.is_some() {
                return;
            }
            if let Some((source, target)) = self.synced() {
                return self.compare(source, target);
            }
            self.help(attempt);
        }
        let state = self.world.describe();
        self.world.fail(format!("{STUCK}: {state}"));
    }

    /// An operator helps.
    fn help(&mut self, attempt: usize) {
        let nodes = self.world.nodes.len();
        let is_source = |run: &Self, node: usize| matches!(run.world.nodes[node].active, Active::Source(_));
        let sources: Vec<usize> = (0..nodes).filter(|&node| is_source(self, node)).collect();
        for node in 0..nodes {
            if matches!(self.world.nodes[node].active, Active::Stopped) {
                self.happen(Event::Start(node, StartMode::Auto, true));
                self.calm();
            }
        }
        let Some(&first) = sources.first() else {
            let node = attempt % nodes;
            let mode = if attempt < 2 * nodes {
                StartMode::Source
            } else {
                StartMode::Force
            };
            self.happen(Event::Start(node, mode, true));
            return;
        };
        let it = &mut self.world.nodes[first];
        if it.meta.peer().flags.contains(PeerFlags::PAUSED) {
            return self.happen(Event::Resume(first));
        }
        if it.leg().is_none() {
            return self.happen(Event::Extend(first, (first + 1 + attempt) % nodes));
        }
        if it.meta.has(MetaFlags::SPLIT_BRAIN) {
            self.happen(Event::Start(first, StartMode::Keep, false));
        }
        // The others give way.
        for node in (0..nodes).filter(|&node| node != first) {
            self.happen(Event::Stop(node));
            self.calm();
            self.happen(Event::Start(node, StartMode::Yield, false));
            self.calm();
        }
    }

    fn compare(&mut self, source: usize, target: usize) {
        let (a, b) = (&self.world.nodes[source], &self.world.nodes[target]);
        if a.disk.differs(&b.disk) & self.world.counts(a) != 0 {
            self.world.fail("the disks differ in the end".to_owned());
        }
    }
}
