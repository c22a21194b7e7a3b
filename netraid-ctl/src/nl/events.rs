// SPDX-License-Identifier: GPL-2.0
//! Events: a snapshot of the mirrors, then everything that happens to them, with nothing lost unnoticed.
//!
//! The group is joined before the snapshot is taken, so that nothing falls between the two; events that the snapshot
//! already contains are dropped by their number. A gap in the numbers, or the kernel's word that the socket overflowed,
//! leads to a new snapshot.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::time::Duration;

use super::client::{attributes, Client};
use super::wire::Message;
use super::{Kernel, NlError, Transport};
use crate::gen::{self, cmd};

/// `ENOBUFS`: the socket overflowed and events were lost.
const ENOBUFS: i32 = 105;

/// One thing an [`EventStream`] tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// The mirrors as they are now; comes first and after each [`Item::Lost`].
    Snapshot(Vec<gen::Mirror>),
    /// Something happened.
    Event(Box<gen::Event>),
    /// Events were lost; the number that should have come and the one that came, unknown when the socket overflowed.
    Lost(Option<(u64, u64)>),
    /// Nothing happened within the time.
    Quiet,
}

/// The mirrors and what happens to them.
pub struct EventStream {
    client: Client,
    socket: Box<dyn Transport>,
    filter: Option<String>,
    waiting: VecDeque<Item>,
    /// Number of the last event that the snapshot contains, for each mirror in it.
    known: HashMap<String, u64>,
    /// Number the next event must have.
    next: Option<u64>,
}

impl EventStream {
    /// Listens to the events of one mirror, or of all; the first item is a snapshot.
    ///
    /// # Errors
    ///
    /// [`NlError::Refused`] when there is no such mirror, else what went wrong on the way.
    pub fn open(kernel: &dyn Kernel, filter: Option<&str>) -> Result<Self, NlError> {
        let client = Client::open(kernel)?;
        let mut socket = kernel.open().map_err(NlError::socket("open"))?;
        socket
            .join(client.events_group()?)
            .map_err(NlError::socket("listen to events"))?;
        let mut stream = Self {
            client,
            socket,
            filter: filter.map(str::to_owned),
            waiting: VecDeque::new(),
            known: HashMap::new(),
            next: None,
        };
        if let Some(name) = filter {
            // Asked for directly, a mirror that is not there is an error and not an empty list.
            let mirror = stream.client.mirror(name)?;
            stream.remember(vec![mirror]);
        } else {
            stream.snapshot()?;
        }
        Ok(stream)
    }

    /// Begins anew: the next item is a snapshot of now, and whatever happened before is not told any more. For commands
    /// that changed something and wait for what comes of that.
    ///
    /// # Errors
    ///
    /// What the socket reports.
    pub fn renew(&mut self) -> Result<(), NlError> {
        self.waiting.clear();
        self.snapshot()
    }

    /// The socket for requests.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// The next thing to tell; waits for it at most `timeout`.
    ///
    /// # Errors
    ///
    /// What the socket reports, and messages that make no sense.
    pub fn next(&mut self, timeout: Duration) -> Result<Item, NlError> {
        if let Some(item) = self.waiting.pop_front() {
            return Ok(item);
        }
        match self.socket.receive(timeout) {
            Ok(Some(datagram)) => self.take(&datagram)?,
            Ok(None) => return Ok(Item::Quiet),
            Err(error) if error.raw_os_error() == Some(ENOBUFS) => self.lost(None)?,
            Err(source) => return Err(lost_socket(source)),
        }
        // A datagram with nothing for this stream counts as quiet too; the caller looks at its own clock.
        Ok(self.waiting.pop_front().unwrap_or(Item::Quiet))
    }

    fn take(&mut self, datagram: &[u8]) -> Result<(), NlError> {
        for message in Message::parse_all(datagram)? {
            if message.kind != self.client.family_id() || message.payload.first() != Some(&cmd::EVENT) {
                continue;
            }
            let event = gen::Event::decode(attributes(&message.payload)?)?;
            self.accept(event)?;
        }
        Ok(())
    }

    fn accept(&mut self, event: gen::Event) -> Result<(), NlError> {
        let seq = event.seq.unwrap_or_default();
        let snapshot = self.known.values().copied().max();
        let due = self.next.or_else(|| snapshot.map(|last| last.saturating_add(1)));
        if due.is_some_and(|due| seq > due) {
            self.lost(due.map(|due| (due, seq)))?;
        }
        self.next = self.next.max(Some(seq.saturating_add(1)));
        let name = event
            .mirror
            .as_ref()
            .and_then(|mirror| mirror.name.clone())
            .unwrap_or_default();
        // A mirror that the snapshot does not have was deleted before it, or came after it.
        let contained = self
            .known
            .get(&name)
            .copied()
            .or_else(|| self.known.values().copied().min());
        let wanted = self.filter.as_ref().is_none_or(|filter| *filter == name);
        if wanted && contained.is_none_or(|contained| seq > contained) {
            self.waiting.push_back(Item::Event(Box::new(event)));
        }
        Ok(())
    }

    fn lost(&mut self, numbers: Option<(u64, u64)>) -> Result<(), NlError> {
        self.waiting.push_back(Item::Lost(numbers));
        // After an overflow nobody knows which number comes next.
        self.next = None;
        self.snapshot()
    }

    fn snapshot(&mut self) -> Result<(), NlError> {
        let mirrors = match &self.filter {
            Some(name) => self.client.find(name)?.into_iter().collect(),
            None => self.client.mirrors()?,
        };
        self.remember(mirrors);
        Ok(())
    }

    fn remember(&mut self, mirrors: Vec<gen::Mirror>) {
        self.known = mirrors
            .iter()
            .filter_map(|mirror| Some((mirror.name.clone()?, mirror.event_seq?)))
            .collect();
        self.waiting.push_back(Item::Snapshot(mirrors));
    }
}

fn lost_socket(source: io::Error) -> NlError {
    NlError::Socket {
        what: "receive events",
        source,
    }
}
