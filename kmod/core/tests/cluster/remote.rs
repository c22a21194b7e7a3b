// SPDX-License-Identifier: GPL-2.0

//! What a volume knows of a leg.

use crate::net::Message;
use crate::request::Origin;
use crate::store::Map;
use netraid_core::lag::Lag;
use netraid_core::recent::Marker;
use netraid_core::wire::Kind;
use std::collections::VecDeque;

/// A message that was taken out to be sent over a connection.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub conn: Option<u32>,
    pub message: Message,
    /// It ends a resync that gave the target this generation.
    pub ends: Option<u64>,
}

/// The state of a leg.
#[derive(Debug)]
pub struct Remote {
    pub live: bool,
    /// The target was told that it misses nothing.
    pub in_step: bool,
    /// It has noted that, and would be promoted with what it has.
    pub complete: bool,
    pub draining: bool,
    pub dirty: Map,
    pub changes: u64,
    pub queue: VecDeque<u32>,
    /// Messages without data that wait to be sent.
    pub control: Vec<Kind>,
    pub theirs: u64,
    pub covered: bool,
    pub copies: u32,
    pub copy_failed: bool,
    pub sending: Option<Outgoing>,
    /// What the target was told of what is settled.
    pub marker: Marker,
    /// What the target may lag behind.
    pub lag: Lag,
    /// The leg is given up when a write would have to wait for it; and there is one.
    pub gives_way: bool,
    pub congested: bool,
    pub next_seq: u64,
}

impl Remote {
    pub fn new(dirty: Map) -> Self {
        Self {
            live: false,
            in_step: false,
            complete: false,
            draining: false,
            dirty,
            changes: 0,
            queue: VecDeque::new(),
            control: Vec::new(),
            theirs: 0,
            covered: false,
            copies: 0,
            copy_failed: false,
            sending: None,
            marker: Marker::NEW,
            lag: Lag::default(),
            gives_way: false,
            congested: false,
            next_seq: 1,
        }
    }

    /// The resync has nothing left to copy: its end goes after what was begun before.
    pub fn say_done(&mut self) {
        self.say(Kind::ResyncDone);
        self.lag.put_fence(self.next_seq);
    }

    /// The next message without data.
    pub fn next_control(&mut self) -> Option<Kind> {
        let kept_back = |kind: &Kind| *kind == Kind::ResyncDone && self.lag.is_fenced();
        let place = self.control.iter().position(|kind| !kept_back(kind))?;
        let kind = self.control.remove(place);
        if kind == Kind::ResyncDone {
            self.lag.settle();
        }
        Some(kind)
    }

    /// A request of the application is about to be queued, and may find no room.
    pub fn look_for_room(&mut self) {
        self.congested |= self.gives_way && self.lag.is_congested();
    }

    /// The leg is done with a request, or has given it up.
    pub fn left(&mut self, origin: Origin, seq: u64) {
        if origin == Origin::Application {
            self.lag.end(seq, 1);
        }
    }

    /// Adds a message, once.
    pub fn say(&mut self, kind: Kind) {
        if !self.control.contains(&kind) {
            self.control.push(kind);
            self.control.sort_by_key(|kind| kind.number());
        }
    }
}
