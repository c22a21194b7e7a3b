// SPDX-License-Identifier: GPL-2.0

//! Messages of the protocol as committed bytes: a change of the format cannot go unnoticed.
//!
//! `tests/vectors/wire-1.txt` has a line for each message, its name and its bytes. After a
//! deliberate change of the protocol (and of its version), `NETRAID_BLESS=1 cargo test` writes the
//! file anew.

#![allow(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says all it means in one place"
)]

use netraid_core::name::{Name, Text};
use netraid_core::priority::{Priorities, Priority};
use netraid_core::state::Role;
use netraid_core::wire::*;
use netraid_core::xxh64::checksum;
use std::fmt::Write;
use std::path::Path;

fn id(first: u8) -> Id {
    core::array::from_fn(|index| first + u8::try_from(index).unwrap())
}

fn hello() -> Hello {
    Hello {
        version_minor: VERSION_MINOR,
        flags: HelloFlags::PAUSED.with(HelloFlags::FULL, true),
        features: features::PAYLOAD_CHECKSUM,
        mirror_uuid: id(0x10),
        node_uuid: id(0x30),
        instance: id(0x50),
        known_instance: id(0x70),
        session: 0x0102_0304_0506_0708,
        size: 1 << 30,
        generation: 9,
        known_generation: 8,
        chunk_size: 65536,
        logical_block_size: 512,
        max_payload: MAX_PAYLOAD,
        heartbeat_ms: 1000,
        timeout_ms: 5000,
        mirror_name: Name::new("data").unwrap(),
        node_name: Name::new("eve").unwrap(),
        history: [8, 7, 6, 5, 4, 3, 2, 1],
        listen_port: 7900,
        priorities: Priorities {
            source: Priority::new(1).ok(),
            target: Priority::new(999).ok(),
        },
    }
}

fn welcome() -> Welcome {
    Welcome {
        version_minor: VERSION_MINOR,
        flags: WelcomeFlags::INCONSISTENT
            .with(WelcomeFlags::HAS_MAP, true)
            .with(WelcomeFlags::DISCARD_OK, true)
            .with(WelcomeFlags::YIELDED, true)
            .with(WelcomeFlags::BOUND, true),
        features: features::PAYLOAD_CHECKSUM,
        node_uuid: id(0x90),
        instance: id(0xb0),
        known_instance: id(0x50),
        session: 0x0102_0304_0506_0708,
        size: (1 << 30) + 512,
        generation: 8,
        logical_block_size: 512,
        max_payload: MAX_PAYLOAD,
        node_name: Name::new("adam").unwrap(),
        base: 7,
        history: [6, 5, 0, 0, 0, 0, 0, 0],
        role: Role::Target,
        priority: Priority::new(500).ok(),
    }
}

fn acks() -> Vec<u8> {
    let ack = |handle, status, seq| Ack { handle, status, seq }.encode();
    [
        ack(1, AckStatus::Ok, 100),
        ack(2, AckStatus::IoError, 101),
        ack(0xffff_fffe, AckStatus::NoSpace, u64::MAX),
    ]
    .concat()
}

fn refuse() -> Refuse {
    Refuse::new(
        RefuseCode::TooSmall,
        Text::new("the disk on adam is too small").unwrap(),
    )
}

fn reply() -> Reply {
    Reply::refused(Text::new("the block device is open on adam").unwrap())
}

/// A message: its header with length and checksum filled in, then its payload.
fn message(mut header: Header, payload: &[u8]) -> Vec<u8> {
    header.len = u32::try_from(payload.len()).unwrap();
    if !payload.is_empty() {
        header.payload_checksum = checksum(payload);
    }
    [&header.encode(), payload].concat()
}

/// A message of each kind, and those that begin an epoch.
fn messages() -> Vec<(Kind, Vec<u8>)> {
    let mut buffer = [0; REPLY_MAX_LEN];
    let mut all: Vec<(Kind, Vec<u8>)> = Kind::ALL
        .into_iter()
        .map(|kind| {
            let plain = Header::new(kind);
            let range = Header {
                handle: 7,
                seq: 42,
                offset: 1 << 20,
                span: 512,
                ..plain
            };
            let bytes = match kind {
                Kind::Hello => message(plain, &hello().encode()),
                Kind::Welcome => message(plain, &welcome().encode()),
                Kind::Refuse => message(plain, refuse().encode(&mut buffer)),
                Kind::Reply => message(Header { handle: 14, ..plain }, reply().encode(&mut buffer)),
                Kind::Write => {
                    let data: Vec<u8> = (0..=255).chain(0..=255).collect();
                    message(
                        Header {
                            flags: Flags::FUA | Flags::PREFLUSH | Flags::RESYNC,
                            ..range
                        },
                        &data,
                    )
                }
                Kind::Read | Kind::Discard => message(range, &[]),
                Kind::Zeroes => message(
                    Header {
                        flags: Flags::NOUNMAP,
                        span: 1 << 40,
                        ..range
                    },
                    &[],
                ),
                Kind::ReadReply => message(range, &[0x5a; 512]),
                Kind::Compare => message(
                    Header {
                        flags: Flags::RESYNC,
                        ..range
                    },
                    &[0xc3; DIGEST_LEN],
                ),
                Kind::Ack => message(plain, &acks()),
                Kind::Map => {
                    let words = [1u64, 1 << 63, 0x0123_4567_89ab_cdef].map(u64::to_le_bytes).concat();
                    message(
                        Header {
                            flags: Flags::LAST,
                            offset: 5,
                            span: 3,
                            ..plain
                        },
                        &words,
                    )
                }
                Kind::ResyncStart => message(Header { span: 1 << 30, ..plain }, &[]),
                Kind::ResyncDone => message(Header { offset: 9, ..plain }, &[]),
                Kind::Settled => message(
                    Header {
                        offset: 4,
                        span: 5,
                        ..plain
                    },
                    &[],
                ),
                Kind::Flush => message(
                    Header {
                        handle: 8,
                        seq: 43,
                        ..plain
                    },
                    &[],
                ),
                Kind::Ping | Kind::Pong | Kind::Pause | Kind::Resume | Kind::Bye | Kind::Takeover => {
                    message(plain, &[])
                }
            };
            (kind, bytes)
        })
        .collect();
    for kind in [Kind::Write, Kind::Flush, Kind::Discard, Kind::Zeroes] {
        let mut header = Header::new(kind);
        (header.flags, header.handle, header.seq) = (Flags::BARRIER, 9, 44);
        if kind.has_range() {
            (header.offset, header.span) = (1 << 21, 512);
        }
        let data: &[u8] = if kind == Kind::Write { &[0x3c; 512] } else { &[] };
        all.push((kind, message(header, data)));
    }
    all
}

fn written(messages: &[(Kind, Vec<u8>)]) -> String {
    let mut text =
        String::from("# SPDX-License-Identifier: GPL-2.0\n# Messages of protocol version 1, see wire_golden.rs.\n");
    for (kind, bytes) in messages {
        let digits = bytes.iter().fold(String::new(), |mut digits, byte| {
            write!(digits, "{byte:02x}").unwrap();
            digits
        });
        writeln!(text, "{kind} {digits}").unwrap();
    }
    text
}

#[test]
fn every_kind_of_message_has_the_committed_bytes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/wire-1.txt");
    let text = written(&messages());
    if std::env::var_os("NETRAID_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    for (committed, now) in committed.lines().zip(text.lines()) {
        assert_eq!(committed, now);
    }
    assert_eq!(committed, text);
}

#[test]
fn the_committed_bytes_decode_to_what_they_were_made_of() {
    for (kind, bytes) in messages() {
        let (header, payload) = bytes.split_first_chunk::<HEADER_LEN>().unwrap();
        let header = Header::decode(header).unwrap();
        assert_eq!(header.kind, kind);
        assert_eq!(header.len as usize, payload.len());
        if header.has_payload_checksum(true) {
            assert_eq!(header.check_payload(checksum(payload)), Ok(()));
        }
        match kind {
            Kind::Hello => assert_eq!(Hello::decode(payload), Ok(hello())),
            Kind::Welcome => assert_eq!(Welcome::decode(payload), Ok(welcome())),
            Kind::Refuse => assert_eq!(Refuse::decode(payload), Ok(refuse())),
            Kind::Reply => assert_eq!(Reply::decode(payload), Ok(reply())),
            Kind::Ack => assert_eq!(
                Ack::decode_all(payload).map(|ack| ack.seq).collect::<Vec<_>>(),
                [100, 101, u64::MAX]
            ),
            Kind::Map => assert_eq!(
                map_words(payload).collect::<Vec<_>>(),
                [1, 1 << 63, 0x0123_4567_89ab_cdef]
            ),
            _ => {}
        }
    }
}

/// A test that drops one kind of message on its way (with nftables) finds magic and kind here.
#[test]
fn magic_and_kind_stand_where_a_packet_filter_looks() {
    for (kind, bytes) in messages() {
        assert_eq!(&bytes[..4], b"NRD1");
        assert_eq!(bytes[4], kind.number());
        assert_eq!(bytes[6..8], [1, 0]);
    }
}

/// What a machine of minor version 0 sends is understood, and ends before what was appended.
#[test]
fn greetings_of_the_first_minor_version_decode_with_defaults() {
    let bytes = hello().encode();
    let expected = Hello {
        history: [0; 8],
        listen_port: 0,
        priorities: Priorities::NONE,
        ..hello()
    };
    for len in HELLO_MIN_LEN..HELLO_LEN {
        assert_eq!(Hello::decode(&bytes[..len]), Ok(expected), "{len} bytes");
    }
    let bytes = welcome().encode();
    let expected = Welcome {
        base: 0,
        history: [0; 8],
        priority: None,
        ..welcome()
    };
    for len in WELCOME_MIN_LEN..WELCOME_LEN {
        assert_eq!(Welcome::decode(&bytes[..len]), Ok(expected), "{len} bytes");
    }
}

/// Nothing may be done against a machine whose role is of a later version.
#[test]
fn a_role_that_is_not_known_counts_as_source() {
    let mut bytes = welcome().encode();
    bytes[WELCOME_LEN - 8] = 77;
    assert_eq!(Welcome::decode(&bytes).unwrap().role, Role::Source);
}

#[test]
fn the_numbers_of_the_kinds_are_fixed() {
    for (number, kind) in (1u8..).zip(Kind::ALL) {
        assert_eq!(kind.number(), number);
        assert_eq!(Kind::from_number(number), Some(kind));
    }
    assert_eq!(Kind::from_number(0), None);
    assert_eq!(Kind::from_number(23), None);
}
