// SPDX-License-Identifier: GPL-2.0
//! A kernel that speaks the protocol byte by byte, and does what a test tells it to.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use netraid_ctl::env::Clock;
use netraid_ctl::gen::{self, cmd, EventKind, Role};
use netraid_ctl::nl::wire::{AttrReader, AttrWriter, Message, WireError};
use netraid_ctl::nl::{Kernel, Transport};

use crate::mirrors::{leg, start};

const CTRL: u16 = 0x10;
const FAMILY: u16 = 0x21;
const EVENTS_GROUP: u32 = 7;
const NLM_F_MULTI: u16 = 2;
pub(crate) const NLM_F_DUMP_INTR: u16 = 0x10;

pub(crate) type Refusal = (i32, &'static str);
type Step = Box<dyn FnOnce(&mut World) -> Delivery>;
pub(crate) type Handler = Box<dyn FnMut(&mut World, u8, &gen::Mirror) -> Option<Result<(), Refusal>>>;

/// What an event socket gets.
pub(crate) enum Delivery {
    Event(Box<gen::Event>),
    Overflow,
    Broken,
    Nothing,
}

/// The state of the fake kernel.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) loaded: bool,
    pub(crate) now: Duration,
    pub(crate) mirrors: Vec<gen::Mirror>,
    /// The requests that came, reads apart.
    pub(crate) requests: Vec<(u8, gen::Mirror)>,
    pub(crate) last_seq: u64,
    /// Flags of the messages of the next dumps; none once they are used up.
    pub(crate) dump_flags: VecDeque<u16>,
    /// When each leg was last heard of, to answer `heard-ms`.
    pub(crate) heard_at: Option<Duration>,
    /// Attributes behind the error number of the next refusal, as they are on the wire.
    pub(crate) extack: Vec<u8>,
    handler: Option<Handler>,
    pub(crate) later: VecDeque<(Duration, Step)>,
}

/// The fake kernel and its clock.
#[derive(Clone, Default)]
pub(crate) struct Fake(pub(crate) Rc<RefCell<World>>);

impl Fake {
    pub(crate) fn new(mirrors: Vec<gen::Mirror>) -> Self {
        let fake = Self::default();
        {
            let mut world = fake.0.borrow_mut();
            world.loaded = true;
            world.mirrors = mirrors;
        }
        fake
    }

    /// Something that happens `at` a time, in the order of the calls.
    pub(crate) fn later(&self, at: Duration, step: impl FnOnce(&mut World) -> Delivery + 'static) {
        self.0.borrow_mut().later.push_back((at, Box::new(step)));
    }

    /// A change of the first leg of the first mirror, and its event.
    pub(crate) fn leg_changes(&self, at: Duration, change: impl FnOnce(&mut gen::Leg) + 'static) {
        self.later(at, move |world| {
            change(&mut world.mirrors[0].leg[0]);
            Delivery::Event(world.event(EventKind::LegChanged))
        });
    }

    /// What the kernel does with requests that change something; `None` leaves it to the fake's own ways.
    pub(crate) fn on_request(
        &self,
        handler: impl FnMut(&mut World, u8, &gen::Mirror) -> Option<Result<(), Refusal>> + 'static,
    ) {
        self.0.borrow_mut().handler = Some(Box::new(handler));
    }

    pub(crate) fn refuse(&self, errno: i32, sentence: &'static str) {
        self.on_request(move |_, _, _| Some(Err((errno, sentence))));
    }

    pub(crate) fn requests(&self) -> Vec<(u8, gen::Mirror)> {
        self.0.borrow().requests.clone()
    }
}

impl Clock for Fake {
    fn now(&self) -> Duration {
        self.0.borrow().now
    }
}

impl Kernel for Fake {
    fn open(&self) -> io::Result<Box<dyn Transport>> {
        Ok(Box::new(Socket {
            world: Rc::clone(&self.0),
            inbox: VecDeque::new(),
            listens: false,
        }))
    }
}

struct Socket {
    world: Rc<RefCell<World>>,
    inbox: VecDeque<Vec<u8>>,
    listens: bool,
}

impl Transport for Socket {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let request = Message::parse_all(bytes).unwrap().remove(0);
        let answers = self.world.borrow_mut().answer(&request);
        self.inbox
            .extend(answers.into_iter().map(|message| message.to_bytes().unwrap()));
        Ok(())
    }

    fn receive(&mut self, timeout: Duration) -> io::Result<Option<Vec<u8>>> {
        if let Some(bytes) = self.inbox.pop_front() {
            return Ok(Some(bytes));
        }
        assert!(self.listens, "a request without an answer");
        let mut world = self.world.borrow_mut();
        let end = world.now + timeout;
        while let Some((at, _)) = world.later.front() {
            if *at > end {
                break;
            }
            world.now = world.now.max(*at);
            let (_, step) = world.later.pop_front().unwrap();
            match step(&mut world) {
                Delivery::Event(event) => return Ok(Some(event_message(&event))),
                Delivery::Overflow => return Err(io::Error::from_raw_os_error(105)),
                Delivery::Broken => return Err(io::Error::from_raw_os_error(5)),
                Delivery::Nothing => {}
            }
        }
        world.now = end;
        Ok(None)
    }

    fn join(&mut self, group: u32) -> io::Result<()> {
        assert_eq!(group, EVENTS_GROUP);
        self.listens = true;
        Ok(())
    }
}

fn event_message(event: &gen::Event) -> Vec<u8> {
    let payload = payload(cmd::EVENT, |out| event.encode(out));
    Message {
        kind: FAMILY,
        flags: 0,
        seq: 0,
        payload,
    }
    .to_bytes()
    .unwrap()
}

fn payload(command: u8, fill: impl FnOnce(&mut AttrWriter) -> Result<(), WireError>) -> Vec<u8> {
    let mut attrs = AttrWriter::default();
    fill(&mut attrs).unwrap();
    [&[command, 1, 0, 0], attrs.into_bytes().as_slice()].concat()
}

fn acknowledge(seq: u32, errno: i32, tlvs: &[u8]) -> Message {
    let mut payload = (-errno).to_ne_bytes().to_vec();
    payload.extend([16, 0, 0, 0, 0, 0, 0, 0]);
    payload.extend(seq.to_ne_bytes());
    payload.extend([0; 4]);
    payload.extend(tlvs);
    Message {
        kind: 2,
        flags: if tlvs.is_empty() { 0x100 } else { 0x300 },
        seq,
        payload,
    }
}

fn sentence_tlv(sentence: &str) -> Vec<u8> {
    let mut attrs = AttrWriter::default();
    attrs.put_str(1, sentence).unwrap();
    attrs.into_bytes()
}

impl World {
    /// Takes what was given to [`Fake::on_request`], for a test that puts something in front of it.
    pub(crate) fn take_handler(&mut self) -> Option<Handler> {
        self.handler.take()
    }

    /// The event of what was just done to the first mirror.
    pub(crate) fn event(&mut self, kind: EventKind) -> Box<gen::Event> {
        let mirror = self.mirrors.first().cloned();
        self.event_of(kind, mirror)
    }

    pub(crate) fn event_of(&mut self, kind: EventKind, mirror: Option<gen::Mirror>) -> Box<gen::Event> {
        self.last_seq += 1;
        Box::new(gen::Event {
            seq: Some(self.last_seq),
            kind: Some(kind),
            time_ms: Some(1_795_248_000_123),
            mirror,
            leg_id: Some(1),
            reason: None,
        })
    }

    fn answer(&mut self, request: &Message) -> Vec<Message> {
        let command = request.payload[0];
        if request.kind == CTRL {
            return self.answer_controller(request.seq);
        }
        assert_eq!((request.kind, request.payload[1]), (FAMILY, gen::FAMILY_VERSION));
        let body = &request.payload[4..];
        // The kernel refuses attributes that the spec does not list for the request.
        let allowed = cmd::request_attributes(command).unwrap();
        for attr in AttrReader::new(body) {
            let kind = attr.unwrap().kind();
            assert!(
                allowed.contains(&kind),
                "{:?} with attribute {kind}",
                cmd::name(command)
            );
        }
        let asked = gen::Mirror::decode(AttrReader::new(body)).unwrap();
        match (command, request.flags & 0x300 == 0x300) {
            (cmd::MIRROR_GET, true) => self.answer_dump(request.seq, body),
            (cmd::MIRROR_GET, false) => self.answer_get(request.seq, &asked),
            _ => self.answer_change(request.seq, command, asked),
        }
    }

    fn answer_controller(&self, seq: u32) -> Vec<Message> {
        if !self.loaded {
            return vec![acknowledge(seq, 2, &[])];
        }
        let payload = payload(1, |out| {
            out.put_str(2, "netraid")?;
            out.put_bytes(1, &FAMILY.to_ne_bytes())?;
            out.nest(7, |groups| {
                groups.nest(1, |group| {
                    group.put_u32(2, EVENTS_GROUP)?;
                    group.put_str(1, "events")
                })
            })
        });
        vec![
            Message {
                kind: CTRL,
                flags: 0,
                seq,
                payload,
            },
            acknowledge(seq, 0, &[]),
        ]
    }

    fn told(&self, mirror: &gen::Mirror) -> Vec<u8> {
        let mut mirror = mirror.clone();
        mirror.event_seq = Some(self.last_seq);
        if let (Some(at), Some(leg)) = (self.heard_at, mirror.leg.first_mut()) {
            leg.heard_ms = Some(u64::try_from((self.now - at).as_millis()).unwrap());
        }
        payload(cmd::MIRROR_GET, |out| mirror.encode(out))
    }

    fn answer_dump(&mut self, seq: u32, body: &[u8]) -> Vec<Message> {
        assert!(body.is_empty(), "the dump takes no attributes");
        let flags = NLM_F_MULTI | self.dump_flags.pop_front().unwrap_or_default();
        let all = self.mirrors.iter();
        let mut messages: Vec<Message> = all
            .map(|mirror| Message {
                kind: FAMILY,
                flags,
                seq,
                payload: self.told(mirror),
            })
            .collect();
        messages.push(Message {
            kind: 3,
            flags,
            seq,
            payload: vec![0; 4],
        });
        messages
    }

    fn answer_get(&self, seq: u32, asked: &gen::Mirror) -> Vec<Message> {
        match self.mirrors.iter().find(|mirror| mirror.name == asked.name) {
            Some(mirror) => {
                let answer = Message {
                    kind: FAMILY,
                    flags: 0,
                    seq,
                    payload: self.told(mirror),
                };
                vec![answer, acknowledge(seq, 0, &[])]
            }
            None => vec![acknowledge(seq, 2, &sentence_tlv("there is no mirror of that name"))],
        }
    }

    fn answer_change(&mut self, seq: u32, command: u8, asked: gen::Mirror) -> Vec<Message> {
        self.requests.push((command, asked.clone()));
        let mut handler = self.handler.take();
        let handled = handler.as_mut().and_then(|handler| handler(self, command, &asked));
        self.handler = handler;
        if let Err((errno, sentence)) = handled.unwrap_or_else(|| self.change(command, &asked)) {
            let mut tlvs = if sentence.is_empty() {
                Vec::new()
            } else {
                sentence_tlv(sentence)
            };
            tlvs.extend(std::mem::take(&mut self.extack));
            return vec![acknowledge(seq, errno, &tlvs)];
        }
        let reply = match command {
            cmd::MIRROR_NEW => Some(gen::Mirror {
                id: Some(asked.id.unwrap_or(0)),
                ..asked
            }),
            cmd::LEG_NEW => Some(gen::Mirror {
                leg: vec![leg(1)],
                ..asked
            }),
            _ => None,
        };
        let mut messages = Vec::new();
        if let Some(reply) = reply {
            messages.push(Message {
                kind: FAMILY,
                flags: 0,
                seq,
                payload: payload(command, |out| reply.encode(out)),
            });
        }
        messages.push(acknowledge(seq, 0, &[]));
        messages
    }

    fn change(&mut self, command: u8, asked: &gen::Mirror) -> Result<(), Refusal> {
        let at = self.mirrors.iter().position(|mirror| mirror.name == asked.name);
        if command == cmd::MIRROR_NEW {
            if at.is_some() {
                return Err((17, "a mirror of that name exists"));
            }
            // What is loaded from its metadata is out of service, and was a target as far as the fake knows.
            let role = if asked.attach { Some(Role::Stopped) } else { asked.role };
            self.mirrors.push(gen::Mirror { role, ..asked.clone() });
            return Ok(());
        }
        let mirror = &mut self.mirrors[at.ok_or((2, "there is no mirror of that name"))?];
        match command {
            cmd::MIRROR_STOP => {
                mirror.role = Some(Role::Stopped);
                mirror.stopped = !asked.keep_role;
            }
            cmd::MIRROR_START => start(mirror, asked),
            cmd::MIRROR_SWITCHOVER => mirror.role = Some(Role::Source),
            cmd::MIRROR_SET => {
                mirror.resync_rate = asked.resync_rate.or(mirror.resync_rate);
                mirror.async_limit = asked.async_limit.or(mirror.async_limit);
            }
            cmd::MIRROR_DEMOTE => mirror.role = Some(Role::Target),
            cmd::LEG_NEW => mirror.leg.push(leg(1)),
            cmd::LEG_DEL => mirror.leg.clear(),
            cmd::MIRROR_DEL => {
                self.mirrors.remove(at.unwrap());
            }
            _ => {}
        }
        Ok(())
    }
}
