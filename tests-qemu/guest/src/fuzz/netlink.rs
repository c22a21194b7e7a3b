// SPDX-License-Identifier: GPL-2.0
//! Speaks the control interface, mostly wrongly, from several threads at once.

use std::{
    collections::BTreeMap,
    io,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Instant,
};

use anyhow::{anyhow, ensure, Context as _, Result};
use clap::Args;
use netlink_sys::{protocols::NETLINK_GENERIC, Socket, SocketAddr};
use netraid_ctl::{
    gen::{cmd, FAMILY_NAME, FAMILY_VERSION},
    nl::wire::{AttrReader, FieldReader, Message, GENL_HEADER_LEN, HEADER_LEN},
};
use serde::Serialize;

use super::{
    random::Random,
    request::{attribute, text, Request},
};

const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSGERR_ATTR_MSG: u16 = 1;
const NLMSGERR_ATTR_MISS_TYPE: u16 = 5;
const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;

/// So many refusals without a sentence are shown, so that they can be looked at.
const SHOWN: usize = 20;

/// What to ask for.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// What is asked is drawn from this number
    #[arg(long)]
    seed: u64,
    /// So many requests at least
    #[arg(long)]
    messages: u64,
    /// Callers at the same time
    #[arg(long, default_value_t = 4)]
    threads: u64,
    /// The caller may change nothing; that something was obeyed is an error
    #[arg(long)]
    unprivileged: bool,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
struct Report {
    obeyed: BTreeMap<String, u64>,
    /// Refusals with a sentence or the missing attribute, by error number.
    refused: BTreeMap<i32, u64>,
    /// Refusals without, by error number.
    silent: BTreeMap<i32, u64>,
    /// Some of those: command, error number, attributes.
    shown: Vec<(u8, i32, String)>,
    /// Sentences of refusals, numbers and names left out, and how often each came.
    sentences: BTreeMap<String, u64>,
    /// Dumps that were left in the middle.
    left: u64,
    /// What the kernel did not take at all, for instance for want of memory.
    unsent: u64,
}

impl Report {
    fn add(&mut self, other: Self) {
        for (name, count) in other.obeyed {
            *self.obeyed.entry(name).or_default() += count;
        }
        for (to, from) in [(&mut self.refused, other.refused), (&mut self.silent, other.silent)] {
            for (errno, count) in from {
                *to.entry(errno).or_default() += count;
            }
        }
        for (sentence, count) in other.sentences {
            *self.sentences.entry(sentence).or_default() += count;
        }
        let room = SHOWN.saturating_sub(self.shown.len());
        self.shown.extend(other.shown.into_iter().take(room));
        self.left += other.left;
        self.unsent += other.unsent;
    }

    fn answered(&mut self, request: &Request, answer: Answer) {
        let Answer { errno, sentence } = answer;
        if errno == 0 {
            let name = cmd::name(request.command).unwrap_or("unknown");
            *self.obeyed.entry(name.to_owned()).or_default() += 1;
        } else if let Some(sentence) = sentence {
            *self.refused.entry(errno).or_default() += 1;
            *self.sentences.entry(gist(&sentence)).or_default() += 1;
        } else {
            *self.silent.entry(errno).or_default() += 1;
            if self.shown.len() < SHOWN {
                let hex = request.attributes.iter().take(64).map(|byte| format!("{byte:02x}"));
                self.shown.push((request.command, errno, hex.collect()));
            }
        }
    }
}

/// A sentence without what differs from one to the next.
fn gist(sentence: &str) -> String {
    let plain: String = sentence
        .chars()
        .map(|letter| if letter.is_ascii_digit() { '#' } else { letter })
        .collect();
    plain.split_whitespace().take(12).collect::<Vec<_>>().join(" ")
}

/// How a request ended.
#[derive(Debug)]
struct Answer {
    errno: i32,
    sentence: Option<String>,
}

/// Asks until that was enough, and prints a line of JSON about it.
pub(crate) fn run(options: &Options) -> Result<()> {
    let asked = AtomicU64::new(0);
    let began = Instant::now();
    let mut random = Random::new(options.seed);
    let family = Caller::open()?.family()?;
    let mut report = Report::default();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..options.threads)
            .map(|_| {
                let (asked, random) = (&asked, random.fork());
                scope.spawn(move || call(options, family, asked, random))
            })
            .collect();
        threads.into_iter().try_for_each(|thread| {
            report.add(thread.join().unwrap_or_else(|_| Err(anyhow!("a thread panicked")))?);
            Ok::<_, anyhow::Error>(())
        })
    })?;
    let seconds = began.elapsed().as_secs_f64();
    let line = serde_json::json!({
        "seed": options.seed, "messages": asked.load(Ordering::Relaxed), "seconds": seconds, "report": report,
    });
    println!("{line}");
    let changed = report.obeyed.keys().find(|name| *name != "mirror-get");
    ensure!(
        !options.unprivileged || changed.is_none(),
        "an ordinary user was obeyed: {changed:?}"
    );
    Ok(())
}

/// One caller.
fn call(options: &Options, family: u16, asked: &AtomicU64, mut random: Random) -> Result<Report> {
    let mut report = Report::default();
    let mut caller = Caller::open()?;
    while asked.fetch_add(1, Ordering::Relaxed) < options.messages {
        let request = Request::random(&mut random)?;
        if random.one_in(200) {
            caller = Caller::open()?;
        }
        if random.one_in(20) {
            // A dump, from which most go away before its end.
            if caller.dump(family, &request, &mut random)? {
                caller = Caller::open()?;
                report.left += 1;
            }
            continue;
        }
        match caller.ask(family, &request) {
            Ok(answer) => report.answered(&request, answer),
            Err(Trouble::Unsent(_)) => report.unsent += 1,
            Err(Trouble::Other(error)) => return Err(error.context(format!("after {request:x?}"))),
        }
    }
    Ok(report)
}

enum Trouble {
    /// The request did not get to the kernel.
    Unsent(io::Error),
    Other(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

/// A socket of the control interface.
pub(super) struct Caller {
    socket: Socket,
    seq: u32,
}

impl Caller {
    pub(super) fn open() -> Result<Self> {
        let mut socket = Socket::new(NETLINK_GENERIC).context("open a netlink socket")?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        socket.set_netlink_get_strict_chk(true)?;
        Ok(Self { socket, seq: 0 })
    }

    /// The number of the family.
    pub(super) fn family(&mut self) -> Result<u16> {
        let name = text(CTRL_ATTR_FAMILY_NAME, FAMILY_NAME);
        let bytes = self.bytes(GENL_ID_CTRL, NLM_F_REQUEST, CTRL_CMD_GETFAMILY, &name);
        self.socket.send(&bytes, 0)?;
        let (answer, _) = self.socket.recv_from_full()?;
        for message in Message::parse_all(&answer)? {
            for attr in AttrReader::new(message.payload.get(GENL_HEADER_LEN..).unwrap_or_default()) {
                let attr = attr?;
                if message.kind == GENL_ID_CTRL && attr.kind() == CTRL_ATTR_FAMILY_ID {
                    return Ok(attr.u16()?);
                }
            }
        }
        Err(anyhow!("there is no family {FAMILY_NAME}; the module is not loaded"))
    }

    fn bytes(&mut self, kind: u16, flags: u16, command: u8, attributes: &[u8]) -> Vec<u8> {
        self.seq = self.seq.wrapping_add(1);
        let length = u32::try_from(HEADER_LEN + GENL_HEADER_LEN + attributes.len()).unwrap_or(u32::MAX);
        [
            &length.to_le_bytes()[..],
            &kind.to_le_bytes(),
            &flags.to_le_bytes(),
            &self.seq.to_le_bytes(),
            &[0; 4],
            &[command, FAMILY_VERSION, 0, 0],
            attributes,
        ]
        .concat()
    }

    /// Asks for something; an answer with data counts as success.
    fn ask(&mut self, family: u16, request: &Request) -> Result<Answer, Trouble> {
        let bytes = self.bytes(family, NLM_F_REQUEST | NLM_F_ACK, request.command, &request.attributes);
        self.socket.send(&bytes, 0).map_err(Trouble::Unsent)?;
        loop {
            let (received, _) = self.socket.recv_from_full()?;
            for message in Message::parse_all(&received)? {
                if message.seq == self.seq && message.kind == NLMSG_ERROR {
                    return Ok(answer(&message)?);
                }
            }
        }
    }

    /// The same for somebody who knows what he wants: an error is one.
    pub(super) fn obey(&mut self, family: u16, request: &Request) -> Result<()> {
        match self.ask(family, request) {
            Ok(Answer { errno: 0, .. }) => Ok(()),
            Ok(answer) => Err(anyhow!("{request:x?} was refused: {answer:?}")),
            Err(Trouble::Unsent(error)) => Err(error.into()),
            Err(Trouble::Other(error)) => Err(error),
        }
    }

    /// Asks for a dump and takes it, or a part of it; true when the rest is still to come.
    fn dump(&mut self, family: u16, request: &Request, random: &mut Random) -> Result<bool> {
        let attributes = if random.one_in(2) { &[][..] } else { &request.attributes };
        let command = if random.one_in(4) {
            request.command
        } else {
            cmd::MIRROR_GET
        };
        let flags = NLM_F_REQUEST | NLM_F_DUMP | if random.one_in(2) { NLM_F_ACK } else { 0 };
        let bytes = self.bytes(family, flags, command, attributes);
        if self.socket.send(&bytes, 0).is_err() {
            return Ok(true);
        }
        if random.one_in(2) {
            return Ok(true);
        }
        loop {
            let (received, _) = self.socket.recv_from_full()?;
            let messages = Message::parse_all(&received)?;
            if messages
                .iter()
                .any(|message| matches!(message.kind, NLMSG_DONE | NLMSG_ERROR))
            {
                return Ok(false);
            }
            if random.one_in(4) {
                return Ok(true);
            }
        }
    }
}

/// Reads an acknowledgement.
fn answer(message: &Message) -> Result<Answer> {
    let payload = &message.payload;
    let errno = FieldReader::new(payload).i32()?.saturating_neg();
    let echoed = payload.get(4..).context("half an acknowledgement")?;
    let length = if message.flags & NLM_F_CAPPED == 0 {
        usize::try_from(FieldReader::new(echoed).u32()?)?
    } else {
        HEADER_LEN
    };
    let mut sentence = None;
    if message.flags & NLM_F_ACK_TLVS != 0 {
        let tlvs = echoed.get(length.next_multiple_of(4)..).unwrap_or_default();
        for attr in AttrReader::new(tlvs) {
            let attr = attr?;
            match attr.kind() {
                NLMSGERR_ATTR_MSG => sentence = Some(attr.string()?),
                NLMSGERR_ATTR_MISS_TYPE if sentence.is_none() => sentence = Some("an attribute is missing".to_owned()),
                _ => {}
            }
        }
    }
    Ok(Answer { errno, sentence })
}

/// The attributes of a leg to a port of this machine, for a mirror.
pub(super) fn leg_to(mirror: &str, port: u16) -> [Request; 2] {
    use netraid_ctl::gen::{Leg, Mirror};
    let name = text(Mirror::NAME, mirror);
    let leg = super::request::nest(
        Mirror::LEG,
        &[
            attribute(Leg::ADDRESS, &[127, 0, 0, 1]),
            super::request::number(Leg::PORT, u32::from(port)),
            super::request::number(Leg::HEARTBEAT_MS, 200),
            super::request::number(Leg::TIMEOUT_MS, 1000),
        ],
    );
    let first = super::request::nest(Mirror::LEG, &[super::request::number(Leg::ID, 1)]);
    [
        Request::of(cmd::LEG_DEL, &[name.clone(), first]),
        Request::of(cmd::LEG_NEW, &[name, leg]),
    ]
}
