// SPDX-License-Identifier: GPL-2.0
//! Requests and their answers.

use std::time::Duration;

use super::extack::{self, Names};
use super::family::{Family, CTRL_CMD_GETFAMILY, GENL_ID_CTRL};
use super::wire::{AttrReader, AttrWriter, Message, WireError, GENL_HEADER_LEN};
use super::{Kernel, NlError, Refusal, Transport};
use crate::error::errno::ENOENT;
use crate::gen::{self, cmd};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// Numbers below this are control messages of netlink itself.
const NLMSG_MIN_TYPE: u16 = 0x10;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_DUMP: u16 = 0x300;

/// How long the kernel may take over a request: it may have to wait for writes that run into a dead connection.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a dump is tried that changes meanwhile.
const DUMP_TRIES: u32 = 10;

/// The control interface of the module.
pub struct Client {
    transport: Box<dyn Transport>,
    seq: u32,
    family: Family,
    /// How long the kernel may take over the request in hand.
    patience: Duration,
}

/// What one attempt of a dump gave.
enum Dump {
    Whole(Vec<Vec<u8>>),
    Interrupted,
}

impl Client {
    /// Opens a socket and looks the module up.
    ///
    /// # Errors
    ///
    /// [`NlError::NotLoaded`] when the module is not there, else what the socket or the kernel reports.
    pub fn open(kernel: &dyn Kernel) -> Result<Self, NlError> {
        let transport = kernel.open().map_err(NlError::socket("open"))?;
        let mut client = Self {
            transport,
            seq: 0,
            family: Family {
                id: GENL_ID_CTRL,
                groups: Vec::new(),
            },
            patience: REPLY_TIMEOUT,
        };
        let payload = payload(CTRL_CMD_GETFAMILY, Family::request(gen::FAMILY_NAME)?);
        let answer = client
            .exchange(payload, NLM_F_ACK, Family::attribute)
            .map_err(|error| match error.errno() {
                Some(ENOENT) => NlError::NotLoaded,
                _ => error,
            })?;
        client.family = Family::decode(attributes(&answer.ok_or(WireError::Truncated)?)?)?;
        Ok(client)
    }

    /// Type of the messages of the family.
    pub(super) const fn family_id(&self) -> u16 {
        self.family.id
    }

    /// Number of the group that gets the events.
    pub(super) fn events_group(&self) -> Result<u32, NlError> {
        self.family
            .group(gen::MCGRP_EVENTS)
            .ok_or(NlError::Wire(WireError::Truncated))
    }

    /// Sends one request and waits for its answer; `None` when the kernel only said yes.
    ///
    /// # Errors
    ///
    /// [`NlError::Refused`] when the kernel said no, else what went wrong on the way.
    pub fn request(&mut self, command: u8, what: &gen::Mirror) -> Result<Option<gen::Mirror>, NlError> {
        let mut attrs = AttrWriter::default();
        what.encode(&mut attrs)?;
        let answer = self.exchange(payload(command, attrs.into_bytes()), NLM_F_ACK, gen::Mirror::attribute)?;
        Ok(answer
            .map(|payload| gen::Mirror::decode(attributes(&payload)?))
            .transpose()?)
    }

    /// As [`Self::request`], for one over which the kernel may take up to `limit`.
    ///
    /// # Errors
    ///
    /// As [`Self::request`].
    pub fn request_within(
        &mut self,
        command: u8,
        what: &gen::Mirror,
        limit: Duration,
    ) -> Result<Option<gen::Mirror>, NlError> {
        self.patience = limit;
        let answer = self.request(command, what);
        self.patience = REPLY_TIMEOUT;
        answer
    }

    /// One mirror by its name.
    ///
    /// # Errors
    ///
    /// [`NlError::Refused`] when there is none, else what went wrong on the way.
    pub fn mirror(&mut self, name: &str) -> Result<gen::Mirror, NlError> {
        let wanted = gen::Mirror {
            name: Some(name.to_owned()),
            ..gen::Mirror::default()
        };
        let answer = self.request(cmd::MIRROR_GET, &wanted)?;
        Ok(answer.ok_or(WireError::Truncated)?)
    }

    /// One mirror by its name, `None` when there is none.
    ///
    /// # Errors
    ///
    /// What went wrong on the way.
    pub fn find(&mut self, name: &str) -> Result<Option<gen::Mirror>, NlError> {
        match self.mirror(name) {
            Err(error) if error.errno() == Some(ENOENT) => Ok(None),
            other => other.map(Some),
        }
    }

    /// All mirrors, in the order of the kernel, as they were at one moment.
    ///
    /// # Errors
    ///
    /// [`NlError::Unsteady`] when they never stood still, else what went wrong on the way.
    pub fn mirrors(&mut self) -> Result<Vec<gen::Mirror>, NlError> {
        for _ in 0..DUMP_TRIES {
            if let Dump::Whole(payloads) = self.dump(cmd::MIRROR_GET)? {
                let decode = |payload: &Vec<u8>| Ok(gen::Mirror::decode(attributes(payload)?)?);
                return payloads.iter().map(decode).collect();
            }
        }
        Err(NlError::Unsteady(DUMP_TRIES))
    }

    fn send(&mut self, payload: Vec<u8>, flags: u16) -> Result<Vec<u8>, NlError> {
        self.seq = self.seq.wrapping_add(1);
        let message = Message {
            kind: self.family.id,
            flags: NLM_F_REQUEST | flags,
            seq: self.seq,
            payload,
        };
        let bytes = message.to_bytes()?;
        self.transport.send(&bytes).map_err(NlError::socket("send"))?;
        Ok(bytes)
    }

    /// The next messages that answer the last request; answers to earlier ones are passed over.
    fn receive(&mut self) -> Result<Vec<Message>, NlError> {
        let datagram = self
            .transport
            .receive(self.patience)
            .map_err(NlError::socket("receive"))?;
        let datagram = datagram.ok_or(NlError::Silent(self.patience))?;
        let mut messages = Message::parse_all(&datagram)?;
        messages.retain(|message| message.seq == self.seq);
        Ok(messages)
    }

    fn exchange(&mut self, payload: Vec<u8>, flags: u16, names: Names) -> Result<Option<Vec<u8>>, NlError> {
        let request = self.send(payload, flags)?;
        let mut answer = None;
        loop {
            for message in self.receive()? {
                match message.kind {
                    NLMSG_ERROR => {
                        extack::parse(&message.payload, message.flags, &request, names)??;
                        return Ok(answer);
                    }
                    kind if kind >= NLMSG_MIN_TYPE => answer = Some(message.payload),
                    _ => {}
                }
            }
        }
    }

    fn dump(&mut self, command: u8) -> Result<Dump, NlError> {
        let request = self.send(payload(command, Vec::new()), NLM_F_DUMP)?;
        let (mut all, mut interrupted) = (Vec::new(), false);
        loop {
            for message in self.receive()? {
                interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
                let end: Option<Result<(), Refusal>> = match message.kind {
                    NLMSG_ERROR => Some(extack::parse(
                        &message.payload,
                        message.flags,
                        &request,
                        gen::Mirror::attribute,
                    )?),
                    NLMSG_DONE => Some(extack::parse_done(
                        &message.payload,
                        message.flags,
                        &request,
                        gen::Mirror::attribute,
                    )?),
                    kind if kind >= NLMSG_MIN_TYPE => {
                        all.push(message.payload);
                        None
                    }
                    _ => None,
                };
                if let Some(end) = end {
                    end?;
                    return Ok(if interrupted {
                        Dump::Interrupted
                    } else {
                        Dump::Whole(all)
                    });
                }
            }
        }
    }
}

/// A request of a generic netlink family.
fn payload(command: u8, attrs: Vec<u8>) -> Vec<u8> {
    let mut payload = vec![command, gen::FAMILY_VERSION, 0, 0];
    payload.extend(attrs);
    payload
}

/// The attributes of a message of a generic netlink family.
pub(super) fn attributes(payload: &[u8]) -> Result<AttrReader<'_>, WireError> {
    payload
        .get(GENL_HEADER_LEN..)
        .map(AttrReader::new)
        .ok_or(WireError::Truncated)
}
