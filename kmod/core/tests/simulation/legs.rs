// SPDX-License-Identifier: GPL-2.0

//! Operations on the leg of a source, as `control/legs.rs` has them.

use super::bugs::Bugs;
use super::meta::{Meta, Step as Done};
use super::node::{Leg, Message, Op, Why};
use super::roles::ROUNDS_TO_SETTLE;
use super::volume::Step;
use super::world::{World, PORT};
use netraid_core::{
    generation::rotate,
    leg::Event,
    meta::{MetaFlags, Peer, PeerFlags},
};

/// A source has no target any more.
pub(crate) fn forget_target(meta: &mut Meta, fresh: u64) -> Done {
    let stays = meta.bugs.has(Bugs::PREPARED_STAYS);
    meta.change(|sb| {
        rotate(&mut sb.current, &mut sb.history, fresh);
        sb.peers[0] = Peer::FREE;
        if !stays {
            sb.flags.set(MetaFlags::PREPARED, false);
        }
    })
}

impl World {
    pub(crate) fn add_leg(&mut self, node: usize) {
        let paused = self.nodes[node].meta.peer().flags.contains(PeerFlags::PAUSED);
        if let Some(source) = self.nodes[node].source() {
            source.leg = Some(Leg::new());
        }
        if paused {
            self.fire(node, Event::Pause);
        }
        self.fire(node, Event::Start);
    }

    /// The leg of a source ends, with a goodbye.
    pub(crate) fn end_leg(&mut self, node: usize) {
        let conn = self.nodes[node].leg().and_then(|leg| leg.connected());
        if let Some(conn) = conn {
            self.send_to_target(conn, Message::Bye);
        }
        self.fire(node, Event::Stop);
        // Its threads come to their end.
        while self.nodes[node].leg().is_some_and(|leg| leg.sender.is_some()) {
            if self.send(node).is_err() {
                return;
            }
        }
        if let Some(source) = self.nodes[node].source() {
            source.leg = None;
        }
    }

    /// A source is extended to another machine.
    pub(crate) fn extend(&mut self, node: usize, to: usize) -> Done {
        let it = &mut self.nodes[node];
        if it.source().is_none_or(|source| source.leg.is_some()) {
            return Ok(());
        }
        it.meta.change(|sb| {
            sb.peers[0].ip_len = 4;
            sb.peers[0].port = PORT + to as u16;
            sb.peers[0].flags.set(PeerFlags::PAUSED, false);
        })?;
        self.add_leg(node);
        Ok(())
    }

    /// Its leg is taken away.
    pub(crate) fn unextend(&mut self, node: usize) {
        if self.nodes[node].leg().is_some() {
            self.end_leg(node);
            let fresh = self.number();
            self.nodes[node].op = Some(Op::Unextend(0, fresh));
        }
    }

    pub(crate) fn unextended(&mut self, node: usize, step: u8, fresh: u64) -> Done {
        let late = self.config.bugs.has(Bugs::UNEXTEND_LATE);
        let apart = self.config.bugs.has(Bugs::UNEXTEND_GENERATION);
        if (step == 0) != late {
            self.give_up_others(node);
            let it = &mut self.nodes[node];
            forget_target(&mut it.meta, fresh)?;
            if let Some(volume) = it.volume().filter(|_| !apart) {
                volume.generation = fresh;
            }
        } else if let Some((volume, _, disk)) = self.nodes[node].parts() {
            if apart {
                volume.generation = fresh;
            }
            volume.step = Step::Apart;
            volume.release(disk);
        }
        Ok(())
    }

    /// An operator pauses a leg, or has it go on.
    pub(crate) fn set_pause(&mut self, node: usize, paused: bool) -> Done {
        if self.nodes[node].leg().is_none() {
            return Ok(());
        }
        let meta = &mut self.nodes[node].meta;
        meta.change(|sb| sb.peers[0].flags.set(PeerFlags::PAUSED, paused))?;
        if paused {
            self.nodes[node].op = Some(Op::Settle(Why::Pause, ROUNDS_TO_SETTLE));
        } else {
            self.fire(node, Event::Resume);
        }
        Ok(())
    }

    /// An operator has everything copied again.
    pub(crate) fn full_resync(&mut self, node: usize) -> Done {
        if self.nodes[node].leg().is_none() {
            return Ok(());
        }
        self.nodes[node].meta.change(|sb| {
            sb.peers[0].flags.set(PeerFlags::FULL, true);
            sb.peers[0].flags.set(PeerFlags::PAUSED, false);
        })?;
        self.fire(node, Event::Resume);
        self.fire(node, Event::Lost);
        Ok(())
    }
}
