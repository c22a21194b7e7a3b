// SPDX-License-Identifier: GPL-2.0

//! Makes the corpus that the fuzz targets begin with: `cargo run --example corpus`, in kmod/core/fuzz.
//!
//! Seeds are one file each, in corpus/TARGET. Those of `message_decode` are whole messages, header and payload, which
//! `netraid-guest fuzz-wire` also sends to a module in service.

use std::{fs, io, path::Path};

use netraid_core::{
    chunk::Geometry,
    generation::Generations,
    meta::{encode_map_block, Superblock, BLOCK_LEN, BLOCK_WORDS, HISTORY},
    name::{Name, Text},
    state::Role,
    wire::{
        Ack, AckStatus, Flags, Header, Hello, HelloFlags, Kind, Refuse, RefuseCode, Reply, Welcome, WelcomeFlags,
        HELLO_MIN_LEN, MAX_PAYLOAD, REPLY_MAX_LEN, VERSION_MINOR, WELCOME_MIN_LEN,
    },
};

const GENERATIONS: Generations = Generations {
    current: 7,
    base: 5,
    history: [6, 5, 4, 3, 2, 1, 0, 0],
};
const _: () = assert!(HISTORY == 8);

fn hello(flags: HelloFlags) -> Hello {
    Hello {
        version_minor: VERSION_MINOR,
        flags,
        features: 0,
        mirror_uuid: [1; 16],
        node_uuid: [2; 16],
        instance: [3; 16],
        known_instance: [4; 16],
        session: 9,
        size: 64 << 20,
        generation: GENERATIONS.current,
        known_generation: GENERATIONS.base,
        chunk_size: 1 << 16,
        logical_block_size: 512,
        max_payload: MAX_PAYLOAD,
        heartbeat_ms: 1000,
        timeout_ms: 5000,
        mirror_name: Name::truncated("data"),
        node_name: Name::truncated("eve"),
        history: GENERATIONS.history,
        listen_port: 7900,
        priorities: netraid_core::priority::Priorities::NONE,
    }
}

fn welcome(flags: WelcomeFlags) -> Welcome {
    Welcome {
        version_minor: VERSION_MINOR,
        flags,
        features: 0,
        node_uuid: [5; 16],
        instance: [6; 16],
        known_instance: [3; 16],
        session: 9,
        size: 64 << 20,
        generation: GENERATIONS.current,
        logical_block_size: 512,
        max_payload: MAX_PAYLOAD,
        node_name: Name::truncated("adam"),
        base: 0,
        history: GENERATIONS.history,
        role: Role::Target,
        priority: None,
    }
}

fn message(mut header: Header, payload: &[u8]) -> Vec<u8> {
    header.len = u32::try_from(payload.len()).unwrap_or(0);
    [&header.encode()[..], payload].concat()
}

fn on_range(kind: Kind, flags: Flags, offset: u64, span: u64) -> Header {
    Header {
        flags,
        handle: 7,
        seq: 11,
        offset,
        span,
        ..Header::new(kind)
    }
}

/// Handshakes, answers and refusals.
fn greetings() -> Vec<(&'static str, Vec<u8>)> {
    let first = hello(HelloFlags::NONE).encode();
    let ask = hello(HelloFlags::ASK).encode();
    let met = welcome(WelcomeFlags::DISCARD_OK).encode();
    let map = welcome(WelcomeFlags::HAS_MAP.with(WelcomeFlags::INCONSISTENT, true)).encode();
    let refuse = Refuse::new(RefuseCode::TooSmall, Text::truncated("the disk is too small"));
    let refused = Reply::refused(Text::truncated("the device is open"));
    let mut buffer = [0; REPLY_MAX_LEN];
    let answers = Header {
        handle: u32::from(Kind::Resume.number()),
        ..Header::new(Kind::Reply)
    };
    vec![
        ("hello", message(Header::new(Kind::Hello), &first)),
        ("hello-0", message(Header::new(Kind::Hello), &first[..HELLO_MIN_LEN])),
        ("hello-ask", message(Header::new(Kind::Hello), &ask)),
        ("welcome", message(Header::new(Kind::Welcome), &met)),
        (
            "welcome-0",
            message(Header::new(Kind::Welcome), &met[..WELCOME_MIN_LEN]),
        ),
        ("welcome-map", message(Header::new(Kind::Welcome), &map)),
        ("refuse", message(Header::new(Kind::Refuse), refuse.encode(&mut buffer))),
        ("reply", message(answers, Reply::OK.encode(&mut buffer))),
        ("reply-refused", message(answers, refused.encode(&mut buffer))),
    ]
}

/// Requests and what confirms them.
fn requests() -> Vec<(&'static str, Vec<u8>)> {
    let block = [0x5a; 512];
    let durable = Flags::FUA | Flags::PREFLUSH;
    let ack = |handle, status| Ack {
        handle,
        status,
        seq: 11,
    };
    let acks: Vec<u8> = [AckStatus::Ok, AckStatus::IoError, AckStatus::NoSpace]
        .into_iter()
        .flat_map(|status| ack(7, status).encode())
        .collect();
    let generation = |kind| on_range(kind, Flags::NONE, GENERATIONS.current, 64 << 20);
    vec![
        ("write", message(on_range(Kind::Write, Flags::NONE, 4096, 512), &block)),
        ("write-fua", message(on_range(Kind::Write, durable, 0, 512), &block)),
        ("flush", message(on_range(Kind::Flush, Flags::NONE, 0, 0), &[])),
        (
            "discard",
            message(on_range(Kind::Discard, Flags::RESYNC, 1 << 20, 65536), &[]),
        ),
        (
            "zeroes",
            message(on_range(Kind::Zeroes, Flags::NOUNMAP, 1 << 20, 65536), &[]),
        ),
        ("ack", message(Header::new(Kind::Ack), &ack(7, AckStatus::Ok).encode())),
        ("acks", message(Header::new(Kind::Ack), &acks)),
        ("resync-start", message(generation(Kind::ResyncStart), &[])),
        ("resync-done", message(generation(Kind::ResyncDone), &[])),
        ("read", message(on_range(Kind::Read, Flags::NONE, 0, 4096), &[])),
        (
            "read-reply",
            message(on_range(Kind::ReadReply, Flags::NONE, 0, 512), &block),
        ),
        ("map", message(on_range(Kind::Map, Flags::NONE, 0, 4), &[0xa5; 32])),
        ("map-last", message(on_range(Kind::Map, Flags::LAST, 4, 12), &[1; 96])),
    ]
}

/// Messages of a header alone.
fn plain() -> Vec<(&'static str, Vec<u8>)> {
    [
        ("ping", Kind::Ping),
        ("pong", Kind::Pong),
        ("pause", Kind::Pause),
        ("resume", Kind::Resume),
        ("bye", Kind::Bye),
        ("takeover", Kind::Takeover),
        ("settled", Kind::Settled),
    ]
    .map(|(name, kind)| (name, message(Header::new(kind), &[])))
    .to_vec()
}

/// A superblock as the target of its decoder takes it: what follows the header of each sector.
fn superblock() -> Vec<u8> {
    let geometry = Geometry::new(64 << 20, 1 << 16).ok();
    let superblock = Superblock {
        name: Name::truncated("data"),
        size: geometry.map_or(0, |it| it.size()),
        chunk_size: geometry.map_or(0, |it| it.chunk_size()),
        current: GENERATIONS.current,
        history: GENERATIONS.history,
        ..Superblock::default()
    };
    let mut block = [0; BLOCK_LEN];
    superblock.encode(&mut block);
    block
        .chunks_exact(512)
        .flat_map(|sector| sector[16..256].to_vec())
        .collect()
}

fn map_block() -> Vec<u8> {
    let mut block = [0; BLOCK_LEN];
    encode_map_block(&mut block, 1, 2, 3, &[0x0f; BLOCK_WORDS]);
    let words = block.chunks_exact(512).flat_map(|sector| sector[..64].to_vec());
    [0xff, 2, 3].into_iter().chain(words).collect()
}

/// Puts seeds where the fuzzer of a target finds them.
fn keep(target: &str, seeds: &[(&str, Vec<u8>)]) -> io::Result<()> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&dir)?;
    seeds
        .iter()
        .try_for_each(|(name, bytes)| fs::write(dir.join(name), bytes))
}

fn main() -> io::Result<()> {
    let messages = [greetings(), requests(), plain()].concat();
    let payloads = |wanted: &[&str]| -> Vec<(&str, Vec<u8>)> {
        let chosen = messages
            .iter()
            .filter(|(name, _)| wanted.iter().any(|part| name.starts_with(part)));
        chosen.map(|(name, bytes)| (*name, bytes[48..].to_vec())).collect()
    };
    let headers: Vec<_> = messages
        .iter()
        .map(|(name, bytes)| (*name, bytes[..48].to_vec()))
        .collect();
    keep("message_decode", &messages)?;
    keep("header_decode", &headers)?;
    keep(
        "hello_decode",
        &payloads(&["hello", "welcome", "refuse", "reply", "ack", "map"]),
    )?;
    let decided = payloads(&["hello", "welcome"]);
    let decided = decided
        .into_iter()
        .map(|(name, payload)| (name, [vec![4, 7, 5, 6, 5], payload].concat()));
    keep("handshake", &decided.collect::<Vec<_>>())?;
    keep("superblock_decode", &[("superblock", superblock())])?;
    keep("map_decode", &[("map", map_block())])
}
