// SPDX-License-Identifier: GPL-2.0

//! What machines answer that are asked how they stand.

use crate::cluster::Cluster;
use crate::greet::{hello, target_facts, welcome, Tells};
use crate::node::{at, generations};
use netraid_core::handshake::{target_decide, Verdict};
use netraid_core::legs::LegNumber;
use netraid_core::ownership::{silence_counts, Answer, Heard, Peer};
use netraid_core::state::Role;
use netraid_core::wire::{HelloFlags, WelcomeFlags};

impl Cluster {
    /// What the other machines answer that are asked how they stand.
    pub fn ask_all(&mut self, node: usize) -> Vec<Peer> {
        let known = |place: &LegNumber| self.sb(node).peers[place.index()].port != 0;
        let all: Vec<_> = LegNumber::all().filter(known).collect();
        all.into_iter().filter_map(|place| self.ask(node, place)).collect()
    }

    fn ask(&self, node: usize, place: LegNumber) -> Option<Peer> {
        let sb = self.sb(node);
        let peer = &sb.peers[place.index()];
        let to = at(peer)?;
        let answers = self.reachable(node, to) && self.nodes[to].store.is_some();
        let heard = if answers {
            self.hears(node, place, to)
        } else {
            Heard::Nothing
        };
        Some(Peer {
            mine: generations(sb, &peer.uuid),
            counts: silence_counts(sb, place),
            heard,
        })
    }

    fn hears(&self, node: usize, place: LegNumber, to: usize) -> Heard {
        let machine = &self.nodes[to];
        let role = machine.role();
        if role == Role::Stopped && !machine.waiting {
            return Heard::Nothing;
        }
        let ask = hello(node, &self.nodes[node], self.sb(node), place, HelloFlags::ASK);
        match target_decide(&target_facts(self.sb(to), role, &ask), &ask) {
            Ok(Verdict::Tell) => {
                let answer = welcome(self.sb(to), role, Tells::default(), machine.instance, &ask);
                Heard::Answer(Answer {
                    node: answer.node_name,
                    role: answer.role,
                    yielded: answer.flags.contains(WelcomeFlags::YIELDED),
                    inconsistent: answer.flags.contains(WelcomeFlags::INCONSISTENT),
                    generations: answer.generations(),
                })
            }
            Ok(Verdict::Accept(_)) => Heard::Nothing,
            Err(refusal) => Heard::Refused(refusal.reason),
        }
    }
}
