// SPDX-License-Identifier: GPL-2.0

//! Connections: what is under way between two machines, and what is left of it when they break.

use crate::disk::Version;
use crate::rng::Rng;
use netraid_core::wire::{Hello, Kind, RefuseCode, Welcome};
use std::collections::VecDeque;

/// A message.
#[derive(Clone, Debug)]
pub enum Message {
    Hello(Box<Hello>),
    Welcome(Box<Welcome>),
    Refuse(RefuseCode),
    Write {
        id: u32,
        chunk: usize,
        version: Version,
        resync: bool,
        /// It begins an epoch.
        barrier: bool,
    },
    Flush(u32),
    Ack(u32),
    Read {
        id: u32,
        chunk: usize,
    },
    ReadReply {
        id: u32,
        version: Version,
    },
    ResyncStart(u64),
    /// `seen` is for the observer: the writes that the data of the source contains.
    ResyncDone {
        generation: u64,
        seen: u128,
    },
    /// A mark, and the one before which all is settled, 0 for nothing.
    Settled {
        number: u64,
        settled: u64,
    },
    Pause,
    Resume,
    Reply {
        to: Kind,
        fine: bool,
    },
    Map(u64),
    Bye,
}

/// A connection from a source to a target.
#[derive(Debug)]
pub struct Conn {
    pub id: u32,
    pub source: usize,
    pub target: usize,
    pub to_target: VecDeque<Message>,
    pub to_source: VecDeque<Message>,
    /// The side has not closed it.
    pub source_side: bool,
    pub target_side: bool,
    pub broken: bool,
    /// For the observer: the writes that the source's data contained when it last sent something.
    pub seen: u128,
}

impl Conn {
    pub fn new(id: u32, source: usize, target: usize) -> Self {
        Self {
            id,
            source,
            target,
            to_target: VecDeque::new(),
            to_source: VecDeque::new(),
            source_side: true,
            target_side: true,
            broken: false,
            seen: 0,
        }
    }

    /// Of what was under way, a part had arrived already.
    pub fn cut(&mut self, rng: &mut Rng) {
        if !self.broken {
            self.broken = true;
            let (there, here) = (self.to_target.len(), self.to_source.len());
            self.to_target.truncate(rng.below(there + 1));
            self.to_source.truncate(rng.below(here + 1));
        }
    }

    pub fn is_over(&self) -> bool {
        !self.source_side && !self.target_side
    }

    pub fn is_between(&self, a: usize, b: usize) -> bool {
        (self.source, self.target) == (a, b) || (self.source, self.target) == (b, a)
    }
}
