// SPDX-License-Identifier: GPL-2.0

//! A machine: what it keeps, and what it owns in its role.

use super::disk::{Disk, Version};
use super::meta::Meta;
use super::volume::{Outgoing, Volume};
use netraid_core::{
    handshake::Agreement,
    leg::{Machine, State},
    meta::HISTORY,
    ownership::{Peer, StartMode},
    resync::Cursor,
    state::Role,
    wire::{Id, RefuseCode, Welcome},
};

/// Identity of a connection.
pub(crate) type ConnId = u64;

/// What the sending thread is about to do, with the connection it looked up before.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sender {
    /// It looks for the next message, of the time that was then.
    Loop(ConnId, u64),
    /// The end of a resync is to be recorded.
    Base(ConnId, u64, Outgoing),
    /// It is recorded; the volume is to be told.
    Together(ConnId, u64, Outgoing),
    Send(ConnId, u64, Outgoing),
}

/// A greeting that was answered, until the connection is in use.
#[derive(Clone, Debug)]
pub(crate) struct Prepare {
    pub(crate) conn: ConnId,
    pub(crate) welcome: Box<Welcome>,
    pub(crate) agreement: Agreement,
    pub(crate) current: u64,
    /// What the target misses is on record.
    pub(crate) noted: bool,
}

/// The pass of a resync.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pass {
    pub(crate) cursor: Cursor,
    pub(crate) draining: bool,
    /// No mark was found; the leg is still to be told.
    pub(crate) clean: bool,
    /// The connection with which it began.
    pub(crate) conn: Option<ConnId>,
}

/// The source's end of a leg.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) machine: Machine,
    pub(crate) conn: Option<ConnId>,
    pub(crate) copying: bool,
    pub(crate) pass: Option<Pass>,
    pub(crate) sender: Option<Sender>,
    pub(crate) prepare: Option<Prepare>,
    /// A map has arrived whole and is being put on record; nothing is received meanwhile.
    pub(crate) merging: Option<ConnId>,
}

impl Leg {
    pub(crate) fn new() -> Self {
        Self {
            machine: Machine::new(),
            conn: None,
            copying: false,
            pass: None,
            sender: None,
            prepare: None,
            merging: None,
        }
    }

    /// The connection in use.
    pub(crate) fn connected(&self) -> Option<ConnId> {
        self.conn.filter(|_| self.machine.state().is_connected())
    }

    pub(crate) fn is_together(&self) -> bool {
        self.machine.state() == State::Synced
    }
}

#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) volume: Volume,
    pub(crate) leg: Option<Leg>,
    /// Others may ask.
    pub(crate) door: bool,
    /// Applications may write.
    pub(crate) front: bool,
    /// The target asked to take over.
    pub(crate) asked: bool,
}

/// What a target wrote itself.
#[derive(Debug)]
pub(crate) struct Paused {
    pub(crate) front: bool,
    pub(crate) volume: Volume,
}

/// Something the target's disk is at work on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    pub(crate) conn: ConnId,
    pub(crate) seq: u64,
    pub(crate) local: u64,
    pub(crate) flush: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Target {
    pub(crate) conn: Option<ConnId>,
    /// Both sides agreed, and no end was noticed.
    pub(crate) connected: bool,
    pub(crate) in_sync: bool,
    pub(crate) warm: bool,
    pub(crate) paused: Option<Paused>,
    pub(crate) pending: Vec<Pending>,
    /// What it holds may be overwritten on this connection, whatever it is.
    pub(crate) gives_way: bool,
    /// It is about to be a source, and accepts none.
    pub(crate) promoting: bool,
    /// It told its source that what it confirms is on stable storage.
    pub(crate) said_durable: bool,
    /// The answer of the source to the wish to take over.
    pub(crate) granted: Option<bool>,
    /// The past of the source, as it greeted.
    pub(crate) source_past: Option<(u64, [u64; HISTORY])>,
}

#[derive(Debug)]
pub(crate) enum Active {
    Stopped,
    Source(Box<Source>),
    Target(Box<Target>),
}

/// Why a mirror goes out of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// An operator stops it.
    Stop,
    /// The machine is shut down.
    Down,
    /// It does not: its leg is paused, after everything was made durable.
    Pause,
    /// It becomes a target, giving way or not.
    Target(bool),
}

/// How far an operation is. A machine does one at a time.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// The others are to be asked.
    Ask(StartMode, bool),
    Decide(StartMode, bool, bool, Option<Box<Peer>>),
    Become(StartMode, bool, Role),
    /// A source goes out of service, as soon as nothing is under way.
    Idle(Why),
    /// So many rounds of the intent log are left.
    Settle(Why, u8),
    /// The metadata is being written.
    Keep(Why),
    EndLeg(Why),
    Note(Why),
    /// The leg is gone; metadata and volume have to know, one after the other.
    Unextend(u8, u64),
    /// The source was asked to change places.
    TakeOver,
    /// It gave way; so many attempts are left.
    Switch(u8),
}

/// A machine.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) uuid: Id,
    pub(crate) up: bool,
    pub(crate) meta: Meta,
    pub(crate) disk: Disk,
    pub(crate) active: Active,
    pub(crate) op: Option<Op>,
    /// Its time in service.
    pub(crate) instance: Id,
    /// Attempts that are left to a switchover whose start is under way.
    pub(crate) retries: u8,
    /// Out of service it answers those who ask.
    pub(crate) door: bool,
    /// It became source without an answer, or against one.
    pub(crate) guessed: bool,
    /// The last refusal, for reports.
    pub(crate) refused: Option<RefuseCode>,
    pub(crate) luck: u64,
}

impl Node {
    pub(crate) fn source(&mut self) -> Option<&mut Source> {
        match &mut self.active {
            Active::Source(source) => Some(source),
            Active::Target(_) | Active::Stopped => None,
        }
    }

    pub(crate) fn target(&mut self) -> Option<&mut Target> {
        match &mut self.active {
            Active::Target(target) => Some(target),
            Active::Source(_) | Active::Stopped => None,
        }
    }

    pub(crate) fn leg(&mut self) -> Option<&mut Leg> {
        self.source()?.leg.as_mut()
    }

    /// The volume that is running.
    pub(crate) fn volume(&mut self) -> Option<&mut Volume> {
        match &mut self.active {
            Active::Source(source) => Some(&mut source.volume),
            Active::Target(target) => target.paused.as_mut().map(|paused| &mut paused.volume),
            Active::Stopped => None,
        }
    }

    /// The same, with the metadata and the disk that it works on.
    pub(crate) fn parts(&mut self) -> Option<(&mut Volume, &mut Meta, &mut Disk)> {
        let volume = match &mut self.active {
            Active::Source(source) => &mut source.volume,
            Active::Target(target) => &mut target.paused.as_mut()?.volume,
            Active::Stopped => return None,
        };
        Some((volume, &mut self.meta, &mut self.disk))
    }

    pub(crate) fn role(&self) -> Role {
        match self.active {
            Active::Source(_) => Role::Source,
            Active::Target(_) => Role::Target,
            Active::Stopped => Role::Stopped,
        }
    }

    /// Whether an application can write here.
    pub(crate) fn is_open(&self) -> bool {
        match &self.active {
            Active::Source(source) => source.front,
            Active::Target(target) => target.paused.as_ref().is_some_and(|it| it.front),
            Active::Stopped => false,
        }
    }

    /// Whether it answers who connects.
    pub(crate) fn listens(&self) -> bool {
        match &self.active {
            Active::Source(source) => source.door,
            Active::Target(_) => true,
            Active::Stopped => self.door,
        }
    }
}

/// A message between two machines.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    Hello(Box<netraid_core::wire::Hello>),
    Welcome(Box<Welcome>),
    Refuse(RefuseCode),
    Write(u64, usize, Version, bool),
    Flush(u64),
    Ack(u64),
    ResyncStart(u64),
    ResyncDone(u64),
    Pause,
    Resume,
    Done(netraid_core::wire::Kind, bool),
    Map(u64),
    Takeover,
    Bye,
}

/// A connection: what was sent and has not arrived, each way.
#[derive(Clone, Debug)]
pub(crate) struct Conn {
    pub(crate) id: ConnId,
    pub(crate) source: usize,
    pub(crate) target: usize,
    pub(crate) to_target: std::collections::VecDeque<Message>,
    pub(crate) to_source: std::collections::VecDeque<Message>,
    pub(crate) source_open: bool,
    pub(crate) target_open: bool,
}
