// SPDX-License-Identifier: GPL-2.0

//! The disk of a target, which ends what is under way in any order.

use crate::cluster::{Cluster, Step, WRITES};
use crate::mistake::Mistake;
use crate::net::Message;
use crate::node::Arrived;
use netraid_core::epoch::Pass;

impl Cluster {
    /// Whether a message of the source has to wait until what arrived before it has ended.
    pub fn is_in_line(&self, node: usize, conn: u32) -> bool {
        let ignores = self.mistake == Some(Mistake::IgnoresBarrier);
        let next = self
            .conns
            .iter()
            .find(|it| it.id == conn)
            .and_then(|it| it.to_target.front());
        let (drains, barrier) = match next {
            Some(Message::Pause) => (true, false),
            Some(Message::Write { barrier, .. }) => (false, *barrier && !ignores),
            _ => return false,
        };
        let Some(target) = self.nodes[node].as_target().filter(|target| target.conn == Some(conn)) else {
            return false;
        };
        let busy = !target.under_way.is_empty();
        let mut gate = target.gate;
        (drains && busy) || (!drains && gate.pass(barrier, busy) == Pass::Wait)
    }

    /// The disk of a target ends a write; whether there was one.
    pub fn end_one(&mut self, node: usize) -> Step<bool> {
        let Self { nodes, rng, .. } = self;
        let Some(target) = nodes[node].target().filter(|target| !target.under_way.is_empty()) else {
            return Ok(false);
        };
        let write = target.under_way.remove(rng.below(target.under_way.len()));
        target.gate.ended(true);
        let conn = target.conn;
        self.put(node, &write);
        if let Some(conn) = conn {
            self.send_source(conn, Message::Ack(write.id));
        }
        Ok(true)
    }

    fn put(&mut self, node: usize, write: &Arrived) {
        let machine = &mut self.nodes[node];
        machine.disk.write(write.chunk, write.version);
        if !write.resync && write.version < WRITES {
            machine.truth.seen |= 1 << write.version;
        }
    }

    /// A connection is over: nothing else is done with the disk before all has ended that it brought.
    pub fn end_under_way(&mut self, node: usize) {
        let target = self.nodes[node].target();
        let mut writes = target.map_or(Vec::new(), |target| std::mem::take(&mut target.under_way));
        while !writes.is_empty() {
            let write = writes.remove(self.rng.below(writes.len()));
            self.put(node, &write);
        }
    }
}
