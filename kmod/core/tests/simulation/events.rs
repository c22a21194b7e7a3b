// SPDX-License-Identifier: GPL-2.0

//! What can happen. An event carries everything that it needs, so that a list of them is a history that can be told
//! again; one that is not possible when its turn comes changes nothing.

use super::meta::Step as Done;
use super::node::{Active, ConnId, Message, Why};
use super::volume::Task;
use super::world::World;
use netraid_core::{
    leg::{Event as LegEvent, State},
    ownership::StartMode,
};

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Source,
    Target,
}

/// Something happens. Numbers are machines first, then what the comment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    // Applications.
    /// A write of a chunk.
    Write(usize, usize),
    Flush(usize),
    // Threads.
    /// The local disk is done with one of the requests.
    LocalDone(usize, usize),
    /// The journal does one thing, from beginning to end.
    Journal(usize),
    /// The journal does a part of that.
    JournalStep(usize),
    Round(usize),
    /// One message is sent.
    Send(usize),
    SendStep(usize),
    Copy(usize),
    Attempt(usize),
    Prepare(usize),
    /// A target's disk is done with one of the requests.
    TargetDone(usize, usize),
    // The network; the connections of a pair of machines are counted from the newest on.
    Deliver(usize, usize, usize, End),
    /// One end learns, or believes, that the connection is gone.
    Lose(usize, usize, usize, End),
    Cut(usize, usize),
    Heal(usize, usize),
    // Machines.
    /// With what decides what is left in the cache of its disk.
    Crash(usize, u64),
    /// The power fails at one of the next writes of metadata.
    Fuse(usize, u8, u64),
    Boot(usize),
    /// The cache of the disk is switched on or off.
    Cache(usize, bool),
    // Operators.
    Start(usize, StartMode, bool),
    /// The operation under way goes on; a question is heard or not.
    Proceed(usize, bool),
    Stop(usize),
    Down(usize),
    Demote(usize),
    Pause(usize),
    Resume(usize),
    FullResync(usize),
    Extend(usize, usize),
    Unextend(usize),
    TakeOver(usize),
    HandOver(usize),
}

impl World {
    /// The connection of two machines, the newest first.
    fn conn_of(&self, source: usize, target: usize, age: usize) -> Option<ConnId> {
        let of = |it: &&super::node::Conn| it.source == source && it.target == target;
        self.conns.iter().rev().filter(of).nth(age).map(|it| it.id)
    }

    /// Lets an event happen, and sees whether everything is as it should be.
    pub(crate) fn happen(&mut self, event: Event) {
        if self.failure.is_some() {
            return;
        }
        self.counts.events += 1;
        let _ = self.apply(event);
        for node in 0..self.nodes.len() {
            if self.nodes[node].meta.burnt {
                let luck = self.nodes[node].luck;
                self.crash(node, luck);
            }
            self.take_ended(node);
        }
        self.check();
    }

    fn apply(&mut self, event: Event) -> Done {
        let node = event.node();
        if node >= self.nodes.len() || (!self.nodes[node].up && !event.is_of_nature()) {
            return Ok(());
        }
        match event {
            Event::Write(_, chunk) => self.submit(node, Some(chunk)),
            Event::Flush(_) => self.submit(node, None),
            Event::LocalDone(_, which) => self.local_done(node, which),
            Event::Journal(_) => {
                self.journal(node)?;
                while self.nodes[node].volume().is_some_and(|volume| volume.task.is_some()) {
                    self.journal(node)?;
                }
            }
            Event::JournalStep(_) => self.journal(node)?,
            Event::Round(_) => {
                if let Some((volume, _, disk)) = self.nodes[node].parts() {
                    volume.step_round(disk);
                }
            }
            Event::Send(_) => {
                self.send(node)?;
                while self.nodes[node].leg().is_some_and(|leg| leg.sender.is_some()) {
                    self.send(node)?;
                }
            }
            Event::SendStep(_) => self.send(node)?,
            Event::Copy(_) => self.copy(node),
            Event::Attempt(_) => self.attempt(node),
            Event::Prepare(_) if self.can_prepare(node) => self.prepare(node)?,
            Event::TargetDone(_, which) => self.target_done(node, which),
            Event::Deliver(source, target, age, end) => {
                if let Some(conn) = self.conn_of(source, target, age) {
                    self.deliver(conn, end)?;
                }
            }
            Event::Lose(source, target, age, end) => {
                if let Some(conn) = self.conn_of(source, target, age) {
                    self.lose(conn, end);
                }
            }
            Event::Cut(a, b) => self.set_cut(a, b, true),
            Event::Heal(a, b) => self.set_cut(a, b, false),
            Event::Crash(_, luck) if self.nodes[node].up => self.crash(node, luck),
            Event::Fuse(_, left, luck) => {
                self.nodes[node].meta.fuse = Some(left);
                self.nodes[node].luck = luck;
            }
            Event::Boot(_) => self.boot(node),
            Event::Cache(_, on) => self.nodes[node].disk.set_cached(on),
            _ => return self.operate(event, node),
        }
        Ok(())
    }

    fn operate(&mut self, event: Event, node: usize) -> Done {
        if let Event::Proceed(_, heard) = event {
            return if self.can_proceed(node) {
                self.proceed(node, heard)
            } else {
                Ok(())
            };
        }
        if self.nodes[node].op.is_some() {
            return Ok(());
        }
        match event {
            Event::Start(_, mode, overridden) => {
                self.nodes[node].retries = 0;
                return self.start(node, mode, overridden);
            }
            Event::Stop(_) => self.leave(node, Why::Stop),
            Event::Down(_) => self.leave(node, Why::Down),
            Event::Demote(_) => self.leave(node, Why::Target(false)),
            Event::Pause(_) => return self.set_pause(node, true),
            Event::Resume(_) => return self.set_pause(node, false),
            Event::FullResync(_) => return self.full_resync(node),
            Event::Extend(_, to) if to != node && to < self.nodes.len() => return self.extend(node, to),
            Event::Unextend(_) => self.unextend(node),
            Event::TakeOver(_) => self.take_over(node),
            Event::HandOver(_) if self.nodes[node].source().is_some_and(|it| it.asked) => self.hand_over(node),
            _ => {}
        }
        Ok(())
    }

    fn journal(&mut self, node: usize) -> Done {
        let fresh = self.number();
        match self.nodes[node].parts() {
            Some((volume, meta, disk)) => volume.journal(meta, disk, fresh),
            None => Ok(()),
        }
    }

    fn local_done(&mut self, node: usize, which: usize) {
        let Some((volume, _, disk)) = self.nodes[node].parts() else {
            return;
        };
        let busy: Vec<u64> = volume
            .requests
            .iter()
            .filter(|it| it.local.is_some())
            .map(|it| it.id)
            .collect();
        if !busy.is_empty() {
            volume.local_done(busy[which % busy.len()], disk);
        }
    }

    /// The next message of a connection, if it can arrive.
    fn arriving(&mut self, id: ConnId, end: End) -> Option<usize> {
        let conn = self.conn(id)?;
        let (source, target) = (conn.source, conn.target);
        let (queue, open) = match end {
            End::Source => (&conn.to_source, conn.source_open),
            End::Target => (&conn.to_target, conn.target_open),
        };
        let front = queue.front().filter(|_| open)?;
        let (hello, pause) = (matches!(front, Message::Hello(_)), matches!(front, Message::Pause));
        if self.is_cut(source, target) {
            return None;
        }
        match end {
            End::Source => self.source_reads(source, id).then_some(source),
            End::Target => (hello || self.target_reads(target, id, pause)).then_some(target),
        }
    }

    fn deliver(&mut self, id: ConnId, end: End) -> Done {
        let Some(node) = self.arriving(id, end) else {
            return Ok(());
        };
        let Some(conn) = self.conn(id) else { return Ok(()) };
        match end {
            End::Source => match conn.to_source.pop_front() {
                Some(message) => self.source_receives(node, id, message),
                None => Ok(()),
            },
            End::Target => match conn.to_target.pop_front() {
                Some(message) => self.target_receives(node, id, message),
                None => Ok(()),
            },
        }
    }

    fn lose(&mut self, id: ConnId, end: End) {
        let Some(conn) = self.conn(id) else { return };
        let (source, target) = (conn.source, conn.target);
        match end {
            End::Source if self.source_reads(source, id) => self.fire_on(source, id, LegEvent::Lost),
            End::Source => {}
            End::Target => {
                if self.nodes[target].target().is_some_and(|it| it.conn == Some(id)) {
                    self.target_loses(target);
                } else {
                    self.close_target(id);
                }
            }
        }
    }

    /// Everything that threads and messages could do now.
    pub(crate) fn possible(&mut self, out: &mut Vec<Event>) {
        out.clear();
        for node in 0..self.nodes.len() {
            if self.nodes[node].up {
                self.possible_at(node, out);
            }
        }
        for at in 0..self.conns.len() {
            let conn = &self.conns[at];
            let (id, source, target) = (conn.id, conn.source, conn.target);
            let (source_open, target_open) = (conn.source_open, conn.target_open);
            let of = |it: &&super::node::Conn| it.source == source && it.target == target;
            let age = self.conns[at + 1..].iter().filter(of).count();
            let cut = self.is_cut(source, target);
            for end in [End::Source, End::Target] {
                let (own, others) = match end {
                    End::Source => (source_open, target_open),
                    End::Target => (target_open, source_open),
                };
                if own && self.arriving(id, end).is_some() {
                    out.push(Event::Deliver(source, target, age, end));
                } else if own && (cut || !others) {
                    out.push(Event::Lose(source, target, age, end));
                }
            }
        }
    }

    fn possible_at(&mut self, node: usize, out: &mut Vec<Event>) {
        if self.can_proceed(node) {
            out.push(Event::Proceed(node, true));
        }
        let it = &mut self.nodes[node];
        if let Active::Target(target) = &it.active {
            if !target.pending.is_empty() {
                out.push(Event::TargetDone(node, 0));
            }
        }
        if let Some(volume) = it.volume() {
            if volume.requests.iter().any(|it| it.local.is_some()) {
                out.push(Event::LocalDone(node, 0));
            }
            if volume.has_task() {
                out.push(Event::Journal(node));
            }
            let waits = volume.round_waits();
            let useful = volume.intent() != 0 || volume.round != super::volume::Round::Idle;
            let tidy = volume.lazily.is_none() && !matches!(volume.task, Some(Task::Block(..)));
            if !waits && useful && tidy {
                out.push(Event::Round(node));
            }
        }
        if self.can_send(node) {
            out.push(Event::Send(node));
        }
        if self.can_copy(node) {
            out.push(Event::Copy(node));
        }
        if self.can_prepare(node) {
            out.push(Event::Prepare(node));
        }
        if let Some(source) = self.nodes[node].source() {
            if source.asked {
                out.push(Event::HandOver(node));
            }
            let state = source
                .leg
                .as_ref()
                .map(|leg| (leg.machine.state(), leg.prepare.is_some()));
            if matches!(state, Some((State::Waiting | State::Connecting, false))) {
                out.push(Event::Attempt(node));
            }
        }
    }
}

impl Event {
    /// The machine at which it happens; the first of two.
    pub(crate) fn node(self) -> usize {
        match self {
            Self::Write(node, _)
            | Self::Flush(node)
            | Self::LocalDone(node, _)
            | Self::Journal(node)
            | Self::JournalStep(node)
            | Self::Round(node)
            | Self::Send(node)
            | Self::SendStep(node)
            | Self::Copy(node)
            | Self::Attempt(node)
            | Self::Prepare(node)
            | Self::TargetDone(node, _)
            | Self::Cut(node, _)
            | Self::Heal(node, _)
            | Self::Crash(node, _)
            | Self::Fuse(node, ..)
            | Self::Boot(node)
            | Self::Cache(node, _)
            | Self::Start(node, ..)
            | Self::Proceed(node, _)
            | Self::Stop(node)
            | Self::Down(node)
            | Self::Demote(node)
            | Self::Pause(node)
            | Self::Resume(node)
            | Self::FullResync(node)
            | Self::Extend(node, _)
            | Self::Unextend(node)
            | Self::TakeOver(node)
            | Self::HandOver(node) => node,
            Self::Deliver(source, target, _, end) | Self::Lose(source, target, _, end) => match end {
                End::Source => source,
                End::Target => target,
            },
        }
    }

    /// Whether it can happen to a machine without power.
    fn is_of_nature(self) -> bool {
        matches!(self, Self::Cut(..) | Self::Heal(..) | Self::Boot(_))
    }
}
