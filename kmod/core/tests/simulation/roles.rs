// SPDX-License-Identifier: GPL-2.0

//! Operations, step after step, as `control/roles.rs`, `legs.rs`, `operations.rs` and `desk.rs` have them.

use super::meta::{Meta, Step as Done};
use super::node::{Active, Message, Op, Paused, Source, Target, Why};
use super::target::own_marks;
use super::volume::{Round, Step, Volume};
use super::world::{node_name, World};
use netraid_core::{
    generation::rotate,
    leg::Event,
    meta::{MetaFlags, PeerFlags},
    ownership::{start_decide, Heard, StartFacts, StartMode, StartPlan},
    state::Role,
    wire::Kind,
};

/// How often a switchover tries to start here.
const SWITCH_TRIES: u8 = 4;

/// As in `volume/rounds.rs`.
pub(crate) const ROUNDS_TO_SETTLE: u8 = 5;

/// As `roles::note_target`.
fn note_target(meta: &mut Meta, yields: bool) -> Done {
    meta.change(|sb| {
        sb.role = Role::Target;
        let over = MetaFlags::STOPPED.with(MetaFlags::CLEAN, true);
        sb.flags = sb.flags.without(over);
        if yields {
            let claims = MetaFlags::LAST_OWNER
                .with(MetaFlags::DATA_CORRUPT, true)
                .with(MetaFlags::SPLIT_BRAIN, true);
            sb.flags = sb.flags.without(claims).with(MetaFlags::YIELDED, true);
        }
    })
}

impl World {
    /// A mirror is to be started.
    pub(crate) fn start(&mut self, node: usize, mode: StartMode, overridden: bool) -> Done {
        let it = &mut self.nodes[node];
        match &it.active {
            Active::Source(_) if mode == StartMode::Keep => {
                return it.meta.change(|sb| sb.flags.set(MetaFlags::SPLIT_BRAIN, false));
            }
            Active::Source(_) if mode == StartMode::Yield => self.leave(node, Why::Target(true)),
            Active::Source(_) => {}
            Active::Target(_) if mode == StartMode::Auto || mode == StartMode::Yield => {}
            Active::Target(target) if !it.meta.is_usable() || target.connected => {}
            Active::Target(_) | Active::Stopped => {
                if let Some(target) = it.target() {
                    target.promoting = true;
                }
                it.op = Some(Op::Ask(mode, overridden));
            }
        }
        Ok(())
    }

    /// A machine is taken out of service.
    pub(crate) fn leave(&mut self, node: usize, why: Why) {
        let it = &mut self.nodes[node];
        match &mut it.active {
            Active::Stopped => it.door = false,
            Active::Source(source) => {
                source.front = false;
                source.door = false;
                it.op = Some(Op::Idle(why));
            }
            Active::Target(_) if matches!(why, Why::Target(_)) => {}
            Active::Target(_) => {
                // Whoever takes the device away waits for what is under way.
                if let Some((volume, _, disk)) = it.parts() {
                    volume.end_local(disk);
                }
                self.end_target(node);
                self.nodes[node].op = Some(Op::Note(why));
            }
        }
    }

    /// As `TargetHandle::end`.
    fn end_target(&mut self, node: usize) -> Option<Paused> {
        let it = &mut self.nodes[node];
        let conn = it.target().and_then(|target| target.conn.take());
        it.finish_pending();
        if let Some(conn) = conn {
            self.send_to_source(conn, Message::Bye);
            self.close_target(conn);
        }
        match std::mem::replace(&mut self.nodes[node].active, Active::Stopped) {
            Active::Target(target) => target.paused,
            Active::Source(_) | Active::Stopped => None,
        }
    }

    /// Whether the operation under way can go on.
    pub(crate) fn can_proceed(&mut self, node: usize) -> bool {
        let it = &mut self.nodes[node];
        let Some(op) = it.op.clone() else { return false };
        match op {
            Op::Idle(_) => it.volume().is_none_or(|volume| volume.is_idle()),
            Op::Settle(..) => it.volume().is_none_or(|volume| volume.round == Round::Idle),
            Op::Keep(_) => it
                .volume()
                .is_none_or(|volume| volume.is_kept() && volume.task.is_none()),
            Op::TakeOver => it
                .target()
                .is_none_or(|target| !target.connected || target.granted == Some(false)),
            _ => true,
        }
    }

    /// One step of the operation under way; `heard` says whether the network lets a question through.
    pub(crate) fn proceed(&mut self, node: usize, heard: bool) -> Done {
        let Some(op) = self.nodes[node].op.take() else {
            return Ok(());
        };
        let next = match op {
            Op::Ask(mode, overridden) => {
                let it = &self.nodes[node];
                let warm = matches!(&it.active, Active::Target(target) if target.warm);
                let peer = if mode == StartMode::Yield {
                    None
                } else {
                    self.ask(node, heard)
                };
                Some(Op::Decide(mode, overridden, warm, peer.map(Box::new)))
            }
            Op::Decide(mode, overridden, warm, peer) => self.decide(node, mode, overridden, warm, peer)?,
            Op::Become(mode, warm, Role::Source) => {
                self.become_source(node, mode, warm)?;
                None
            }
            Op::Become(..) => {
                let it = &mut self.nodes[node];
                if !matches!(it.active, Active::Target(_)) {
                    note_target(&mut it.meta, false)?;
                    self.serve_as_target(node);
                }
                None
            }
            Op::Idle(why) => Some(Op::Settle(why, ROUNDS_TO_SETTLE)),
            Op::Settle(why, left) if left == 0 || (left < ROUNDS_TO_SETTLE && self.is_settled(node)) => {
                Some(Op::Keep(why))
            }
            Op::Settle(why, left) => {
                if let Some((volume, _, disk)) = self.nodes[node].parts() {
                    volume.step_round(disk);
                }
                Some(Op::Settle(why, left - 1))
            }
            Op::Keep(Why::Pause) => {
                self.fire(node, Event::Pause);
                None
            }
            Op::Keep(why) => Some(Op::EndLeg(why)),
            Op::EndLeg(why) => {
                self.end_leg(node);
                Some(Op::Note(why))
            }
            Op::Note(why) => {
                self.note_end(node, why)?;
                None
            }
            Op::Unextend(step, fresh) => {
                self.unextended(node, step, fresh)?;
                (step == 0).then_some(Op::Unextend(1, fresh))
            }
            Op::TakeOver => {
                let granted = self.nodes[node].target().and_then(|target| target.granted.take());
                (granted == Some(true)).then_some(Op::Switch(SWITCH_TRIES))
            }
            Op::Switch(0) => None,
            Op::Switch(left) => {
                self.nodes[node].retries = left - 1;
                self.start(node, StartMode::Source, false)?;
                let again = self.nodes[node].op.is_none() && matches!(self.nodes[node].active, Active::Target(_));
                if !again {
                    return Ok(());
                }
                Some(Op::Switch(left - 1))
            }
        };
        self.nodes[node].op = next;
        Ok(())
    }

    fn decide(
        &mut self,
        node: usize,
        mode: StartMode,
        overridden: bool,
        warm: bool,
        peer: Option<Box<netraid_core::ownership::Peer>>,
    ) -> Done<Option<Op>> {
        let it = &mut self.nodes[node];
        let sb = it.meta.sb();
        let facts = StartFacts {
            mirror: node_name(node),
            role: sb.role,
            flags: sb.flags,
            has_data: sb.current != 0,
            warm,
            overridden,
        };
        let decision = start_decide(&facts, mode, peer.as_deref().map_or(&[], std::slice::from_ref));
        if decision.set.contains(MetaFlags::YIELDED) {
            self.gives_way(node);
        }
        let it = &mut self.nodes[node];
        it.meta
            .change(|sb| sb.flags = sb.flags.without(decision.clear).with(decision.set, true))?;
        let answered = peer.is_some_and(|it| matches!(it.heard, Heard::Answer(_)));
        let warm = warm && !answered;
        let retries = std::mem::take(&mut it.retries);
        let refused = matches!(decision.plan, StartPlan::Refuse(_));
        if refused && matches!(it.active, Active::Stopped) {
            it.door = it.meta.sb().current != 0 && !it.meta.has(MetaFlags::STOPPED);
        }
        if let Some(target) = it.target().filter(|_| decision.plan != StartPlan::Source) {
            target.promoting = false;
        }
        Ok(match decision.plan {
            StartPlan::Source => Some(Op::Become(mode, warm, Role::Source)),
            StartPlan::Target => Some(Op::Become(mode, warm, Role::Target)),
            StartPlan::Refuse(_) => (retries > 0).then_some(Op::Switch(retries)),
        })
    }

    fn become_source(&mut self, node: usize, mode: StartMode, warm: bool) -> Done {
        let (fresh, instance) = (self.number(), self.id());
        let was_target = self.nodes[node].meta.sb().role == Role::Target;
        let running = matches!(self.nodes[node].active, Active::Target(_));
        let mut paused = self.end_target(node);
        let it = &mut self.nodes[node];
        it.door = false;
        if !running && was_target {
            paused = own_marks(&it.meta);
        }
        // What was written here in a pause is data of its own.
        let wrote = paused
            .as_ref()
            .is_some_and(|it| it.volume.dirty() | it.volume.intent() != 0);
        it.meta.change(|sb| {
            sb.role = Role::Source;
            let over = MetaFlags::DATA_CORRUPT
                .with(MetaFlags::YIELDED, true)
                .with(MetaFlags::STOPPED, true)
                .with(MetaFlags::CLEAN, true);
            sb.flags = sb
                .flags
                .without(over)
                .with(MetaFlags::LAST_OWNER, true)
                .with(MetaFlags::SHARED, was_target);
            if was_target {
                sb.peers[0].flags.set(PeerFlags::PAUSED, false);
            }
            if was_target && wrote && sb.peers[0].base == 0 && !sb.peers[0].is_free() {
                sb.peers[0].base = sb.current;
                rotate(&mut sb.current, &mut sb.history, fresh);
                sb.flags.set(MetaFlags::SHARED, false);
            }
        })?;
        let mut volume = paused.map_or_else(|| Volume::new(&it.meta), |paused| paused.volume);
        volume.generation = it.meta.sb().current;
        let together = !it.meta.peer().is_free() && it.meta.peer().base == 0;
        volume.step = if together { Step::Together } else { Step::Apart };
        let shared = it.meta.has(MetaFlags::SHARED);
        volume.others = if shared { Step::Together } else { Step::Apart };
        it.instance = instance;
        it.active = Active::Source(Box::new(Source {
            volume,
            leg: None,
            door: true,
            front: true,
            asked: false,
        }));
        it.guessed = warm || matches!(mode, StartMode::Force | StartMode::Keep);
        match mode {
            StartMode::Force | StartMode::Keep => {
                self.counts.forced += 1;
                self.give_up_others(node);
            }
            _ if warm => {
                self.counts.warm += 1;
                self.give_up_unseen(node);
            }
            _ => self.counts.asked += 1,
        }
        self.check_started(node, mode);
        if self.nodes[node].meta.peer().port != 0 {
            self.add_leg(node);
        }
        Ok(())
    }

    fn serve_as_target(&mut self, node: usize) {
        let instance = self.id();
        let it = &mut self.nodes[node];
        it.instance = instance;
        it.door = false;
        it.active = Active::Target(Box::new(Target {
            said_durable: false,
            paused: own_marks(&it.meta),
            ..Target::default()
        }));
    }

    /// Whether the intent log is empty.
    fn is_settled(&mut self, node: usize) -> bool {
        self.nodes[node].volume().is_none_or(|volume| volume.intent() == 0)
    }

    fn note_end(&mut self, node: usize, why: Why) -> Done {
        self.nodes[node].active = Active::Stopped;
        let meta = &mut self.nodes[node].meta;
        if let Why::Target(yields) = why {
            note_target(meta, yields)?;
            if yields {
                self.gives_way(node);
            }
            self.serve_as_target(node);
            return Ok(());
        }
        let split = meta.has(MetaFlags::SPLIT_BRAIN);
        meta.change(|sb| {
            sb.flags.set(MetaFlags::CLEAN, true);
            if why == Why::Stop {
                sb.flags.set(MetaFlags::STOPPED, true);
                sb.flags = sb.flags.with(MetaFlags::YIELDED, split);
            }
        })?;
        if why == Why::Stop && split {
            self.gives_way(node);
        }
        Ok(())
    }

    /// The source's side of changing places.
    pub(crate) fn hand_over(&mut self, node: usize) {
        let Some(source) = self.nodes[node].source() else {
            return;
        };
        source.asked = false;
        let Some(leg) = &source.leg else { return };
        let (conn, fine) = (leg.connected(), leg.is_together());
        if let Some(conn) = conn {
            self.send_to_target(conn, Message::Done(Kind::Takeover, fine));
        }
        if fine {
            self.leave(node, Why::Target(false));
        }
    }
}
