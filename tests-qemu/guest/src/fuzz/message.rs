// SPDX-License-Identifier: GPL-2.0
//! Messages as the two sides of a mirror send them, right ones, in whatever order.

use anyhow::{Context as _, Result};
use netraid_core::{
    name::{Name, Text},
    state::Role,
    wire::{
        Ack, AckStatus, Flags, Header, Hello, HelloFlags, Id, Kind, Refuse, RefuseCode, Reply, Welcome, WelcomeFlags,
        ACKS_MAX, MAP_MAX_WORDS, MAX_PAYLOAD, REPLY_MAX_LEN, VERSION_MINOR,
    },
};

use super::random::Random;

/// Bytes of a sector.
const SECTOR: u64 = 512;

/// The mirror whose part is played.
#[derive(Clone, Debug)]
pub(crate) struct Mirror {
    pub(crate) name: Name,
    pub(crate) uuid: Id,
    /// The machine that is played.
    pub(crate) node: Id,
    pub(crate) node_name: Name,
    pub(crate) size: u64,
    pub(crate) chunk_size: u32,
}

/// What is known of how the other side stands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    pub(crate) generation: u64,
    pub(crate) history: [u64; netraid_core::meta::HISTORY],
}

/// A message of a header and a payload.
pub(crate) fn message(mut header: Header, payload: &[u8]) -> Result<Vec<u8>> {
    header.len = u32::try_from(payload.len())?;
    Ok([&header.encode()[..], payload].concat())
}

/// A message without a payload.
pub(crate) fn plain(kind: Kind) -> Vec<u8> {
    Header::new(kind).encode().to_vec()
}

/// A greeting that is accepted wherever this mirror is.
pub(crate) fn hello(mirror: &Mirror, standing: &Standing, flags: HelloFlags, session: u64) -> Hello {
    Hello {
        version_minor: VERSION_MINOR,
        flags,
        features: 0,
        mirror_uuid: mirror.uuid,
        node_uuid: mirror.node,
        instance: *b"an instance here",
        known_instance: [0; 16],
        session,
        size: mirror.size,
        generation: standing.generation.max(1),
        known_generation: 0,
        chunk_size: mirror.chunk_size,
        logical_block_size: 512,
        max_payload: MAX_PAYLOAD,
        heartbeat_ms: 1000,
        timeout_ms: 3000,
        mirror_name: mirror.name,
        node_name: mirror.node_name,
        history: standing.history,
        listen_port: 0,
        priorities: netraid_core::priority::Priorities::NONE,
    }
}

/// An answer that is accepted by the source that greeted so.
pub(crate) fn welcome(random: &mut Random, to: &Hello) -> Welcome {
    let some = random.next_u32();
    let pick = |flag: WelcomeFlags, bit: u32| {
        if some & bit == 0 {
            WelcomeFlags::NONE
        } else {
            flag
        }
    };
    let fresh = random.one_in(2);
    let flags = [
        pick(WelcomeFlags::INCONSISTENT, 1),
        pick(WelcomeFlags::HAS_MAP, 2),
        pick(WelcomeFlags::DISCARD_OK, 4),
        pick(WelcomeFlags::BOUND, 8),
    ];
    Welcome {
        version_minor: VERSION_MINOR,
        flags: flags
            .into_iter()
            .fold(WelcomeFlags::NONE, |all, flag| all.with(flag, true))
            .with(WelcomeFlags::FRESH, fresh),
        features: 0,
        node_uuid: *b"a target that is",
        instance: *b"one of its lives",
        known_instance: to.instance,
        session: to.session,
        size: to.size,
        generation: to.generation,
        logical_block_size: to.logical_block_size,
        max_payload: MAX_PAYLOAD,
        node_name: Name::truncated("fuzz"),
        base: 0,
        history: to.history,
        role: Role::Target,
        priority: None,
    }
}

/// A range of whole sectors on the device, of at most `most` bytes.
fn range(random: &mut Random, size: u64, most: u64) -> (u64, u64) {
    let span = (1 + random.below(most / SECTOR)) * SECTOR;
    let span = span.min(size);
    let offset = match random.below(4) {
        0 => 0,
        1 => size - span,
        _ => random.below((size - span) / SECTOR + 1) * SECTOR,
    };
    (offset, span)
}

/// Any message that a source may send once it is accepted, and some that it may not.
pub(crate) fn of_source(random: &mut Random, mirror: &Mirror, seq: u64) -> Result<Vec<u8>> {
    let kinds = [
        (Kind::Write, 400),
        (Kind::Ping, 250),
        (Kind::Flush, 60),
        (Kind::Zeroes, 50),
        (Kind::Discard, 50),
        (Kind::Pong, 50),
        (Kind::ResyncStart, 8),
        (Kind::ResyncDone, 8),
        (Kind::Settled, 20),
        (Kind::Pause, 4),
        (Kind::Resume, 4),
        (Kind::Bye, 1),
        (Kind::Reply, 1),
    ];
    let all: u64 = kinds.iter().map(|(_, weight)| weight).sum();
    let mut drawn = random.below(all);
    let mut kind = Kind::Ping;
    for (of, weight) in kinds {
        kind = of;
        if drawn < weight {
            break;
        }
        drawn -= weight;
    }
    let mut header = Header::new(kind);
    header.handle = random.next_u32();
    header.seq = if random.one_in(4) { random.next() } else { seq };
    let durable = Flags::NONE
        .with(Flags::FUA, random.one_in(16))
        .with(Flags::PREFLUSH, random.one_in(32))
        .with(Flags::RESYNC, random.one_in(4));
    match kind {
        Kind::Write => {
            let most = match random.below(512) {
                0 => u64::from(MAX_PAYLOAD),
                1..16 => 1 << 16,
                _ => 4096,
            };
            (header.offset, header.span) = range(random, mirror.size, most);
            header.flags = durable;
            // What is written is not looked at; making it random takes longer than sending it.
            let payload = vec![random.next_u8(); usize::try_from(header.span)?];
            message(header, &payload)
        }
        Kind::Zeroes | Kind::Discard => {
            let most = if random.one_in(32) { mirror.size } else { 1 << 16 };
            (header.offset, header.span) = range(random, mirror.size, most);
            header.flags = durable;
            message(header, &[])
        }
        Kind::ResyncStart | Kind::ResyncDone => {
            header.offset = random.odd_number();
            header.span = random.odd_number();
            message(header, &[])
        }
        Kind::Settled => {
            header.offset = random.below(4);
            header.span = random.below(4);
            message(header, &[])
        }
        Kind::Reply => {
            header.handle = u32::from(Kind::Takeover.number());
            message(header, Reply::OK.encode(&mut [0; REPLY_MAX_LEN]))
        }
        _ => message(header, &[]),
    }
}

/// Any message that a target may send once it has accepted, and some that it may not.
pub(crate) fn of_target(random: &mut Random, mirror: &Mirror) -> Result<Vec<u8>> {
    let kinds = [
        Kind::Ping,
        Kind::Ping,
        Kind::Pong,
        Kind::Pong,
        Kind::Ack,
        Kind::Reply,
        Kind::Map,
        Kind::Map,
        Kind::Map,
        Kind::Takeover,
    ];
    let mut header = Header::new(*random.pick(&kinds)?);
    match header.kind {
        Kind::Ack => {
            let count = 1 + random.index(ACKS_MAX);
            let acks = (0..count).flat_map(|_| {
                let ack = Ack {
                    handle: random.next_u32() & 0xff,
                    status: AckStatus::from_number(random.next_u32() & 3),
                    seq: random.below(256),
                };
                ack.encode()
            });
            let payload: Vec<u8> = acks.collect();
            message(header, &payload)
        }
        Kind::Reply => {
            let asked = [Kind::ResyncDone, Kind::Pause, Kind::Resume, Kind::Hello];
            header.handle = u32::from(random.pick(&asked)?.number());
            let reply = if random.one_in(2) {
                Reply::OK
            } else {
                Reply::refused(Text::truncated("no"))
            };
            message(header, reply.encode(&mut [0; REPLY_MAX_LEN]))
        }
        Kind::Map => {
            let words = mirror.size.div_ceil(u64::from(mirror.chunk_size)).div_ceil(64);
            let first = random.below(words + 1);
            let count = random.below((words - first).min(MAP_MAX_WORDS as u64) + 1);
            (header.offset, header.span) = (first, count);
            header.flags = Flags::NONE.with(Flags::LAST, random.one_in(8));
            let payload = random.bytes(usize::try_from(count)? * 8);
            message(header, &payload)
        }
        _ => message(header, &[]),
    }
}

/// A refusal as a target gives it, with any reason.
pub(crate) fn refusal(random: &mut Random) -> Result<Vec<u8>> {
    // A split brain is remembered, and one that is only said would keep the mirror from going on.
    let codes = RefuseCode::ALL.map(|code| match code {
        RefuseCode::SplitBrain => RefuseCode::Unknown(random.next_u32() | 1 << 31),
        other => other,
    });
    let refuse = Refuse::new(*random.pick(&codes)?, Text::truncated("because it is so"));
    message(Header::new(Kind::Refuse), refuse.encode(&mut [0; REPLY_MAX_LEN]))
}

/// An identity from its hexadecimal form, with or without dashes.
pub(crate) fn identity(text: &str) -> Result<Id> {
    let digits: String = text.chars().filter(|digit| *digit != '-').collect();
    let value = u128::from_str_radix(&digits, 16).with_context(|| format!("{text} is no identity"))?;
    Ok(value.to_be_bytes())
}
