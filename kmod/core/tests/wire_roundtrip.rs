// SPDX-License-Identifier: GPL-2.0

//! What is encoded decodes to the same; what arrives damaged or at random is refused, and nothing
//! panics.

#![allow(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says all it means in one place"
)]

use netraid_core::crc32c::crc32c;
use netraid_core::name::{Name, Text};
use netraid_core::priority::{Priorities, Priority};
use netraid_core::state::Role;
use netraid_core::wire::*;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    }
}

fn name() -> impl Strategy<Value = Name> {
    "[a-zA-Z0-9._ \u{e4}-\u{fc}-]{0,30}".prop_map(|text| Name::truncated(&text))
}

fn text() -> impl Strategy<Value = Text> {
    "\\PC{0,90}".prop_map(|text| Text::truncated(&text))
}

/// Headers that a sender may send.
fn header() -> impl Strategy<Value = Header> {
    let kinds = prop::sample::select(Kind::ALL.to_vec());
    let control = 1u32..=MAX_CONTROL;
    (
        kinds,
        control,
        1u32..=2048,
        1u64..=64,
        any::<[u32; 2]>(),
        any::<[u64; 3]>(),
        any::<u8>(),
    )
        .prop_map(
            |(kind, control, sectors, count, [handle, crc], [seq, offset, span], flags)| {
                let mut header = Header {
                    flags: Flags::from_bits(flags & kind.allowed_flags().bits()),
                    handle,
                    seq,
                    payload_checksum: crc,
                    ..Header::new(kind)
                };
                let data = u64::from(sectors) * 512;
                (header.len, header.offset, header.span) = match kind {
                    Kind::Write | Kind::ReadReply => (sectors * 512, offset & !511, data),
                    Kind::Read => (0, offset & !511, data),
                    Kind::Compare => (DIGEST_LEN as u32, offset & !511, data),
                    Kind::Discard | Kind::Zeroes => (0, offset & !511, (span & !511).max(512)),
                    Kind::Hello => (control.max(HELLO_MIN_LEN as u32), offset, span),
                    Kind::Welcome => (control.max(WELCOME_MIN_LEN as u32), offset, span),
                    Kind::Refuse | Kind::Reply => (control.max(REPLY_MIN_LEN as u32), offset, span),
                    Kind::Ack => (count as u32 * ACK_LEN as u32, offset, span),
                    Kind::Map => (count as u32 * 8, offset, count),
                    _ => (0, offset, span),
                };
                header
            },
        )
}

fn hello() -> impl Strategy<Value = Hello> {
    (
        any::<[Id; 4]>(),
        any::<[u64; 5]>(),
        any::<[u32; 6]>(),
        any::<[u16; 4]>(),
        name(),
        name(),
        any::<[u64; 8]>(),
    )
        .prop_map(|(ids, longs, words, shorts, mirror_name, node_name, history)| Hello {
            version_minor: shorts[0],
            flags: HelloFlags::from_bits(words[0]),
            features: longs[0],
            mirror_uuid: ids[0],
            node_uuid: ids[1],
            instance: ids[2],
            known_instance: ids[3],
            session: longs[1],
            size: longs[2],
            generation: longs[3],
            known_generation: longs[4],
            chunk_size: words[1],
            logical_block_size: words[2],
            max_payload: words[3],
            heartbeat_ms: words[4],
            timeout_ms: words[5],
            mirror_name,
            node_name,
            history,
            listen_port: shorts[1],
            priorities: Priorities {
                source: Priority::from_field(shorts[2]),
                target: Priority::from_field(shorts[3] % 1000),
            },
        })
}

fn welcome() -> impl Strategy<Value = Welcome> {
    (
        any::<[Id; 3]>(),
        any::<[u64; 5]>(),
        any::<[u32; 3]>(),
        any::<u16>(),
        name(),
        any::<[u64; 8]>(),
        prop::sample::select(Role::ALL),
    )
        .prop_map(|(ids, longs, words, version_minor, node_name, history, role)| Welcome {
            version_minor,
            flags: WelcomeFlags::from_bits(words[0]),
            features: longs[0],
            node_uuid: ids[0],
            instance: ids[1],
            known_instance: ids[2],
            session: longs[1],
            size: longs[2],
            generation: longs[3],
            logical_block_size: words[1],
            max_payload: words[2],
            node_name,
            base: longs[4],
            history,
            role,
            priority: Priority::from_field(words[2] as u16 % 1000),
        })
}

/// Puts a valid checksum on a header, so that what is under it is looked at.
fn seal(mut bytes: [u8; HEADER_LEN]) -> [u8; HEADER_LEN] {
    let checksum = crc32c(0, &bytes[..44]).to_le_bytes();
    bytes[44..].copy_from_slice(&checksum);
    bytes
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn headers_survive_the_wire(header in header()) {
        prop_assert_eq!(Header::decode(&header.encode()), Ok(header));
    }

    #[test]
    fn a_header_with_any_bit_changed_is_refused(header in header(), bit in 0usize..HEADER_LEN * 8) {
        let mut bytes = header.encode();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let error = Header::decode(&bytes).unwrap_err();
        let expected = match bit / 8 {
            0..4 => matches!(error, WireError::NotNetraid),
            6..8 => matches!(error, WireError::OtherVersion(_)),
            _ => matches!(error, WireError::BadHeaderChecksum),
        };
        prop_assert!(expected, "{:?}", error);
    }

    #[test]
    fn any_bytes_are_a_header_or_a_sentence(random in any::<[u8; 32]>(), tail in any::<[u8; 16]>(), valid in 0u8..3) {
        let mut bytes = [0u8; HEADER_LEN];
        bytes[..32].copy_from_slice(&random);
        bytes[32..].copy_from_slice(&tail);
        if valid > 0 {
            bytes[..4].copy_from_slice(&MAGIC);
            bytes[6..8].copy_from_slice(&VERSION.to_le_bytes());
        }
        if valid > 1 {
            bytes[4] %= 22;
            bytes = seal(bytes);
        }
        match Header::decode(&bytes) {
            Ok(header) => {
                prop_assert_eq!(header.encode(), bytes, "one header has one form");
                prop_assert!(header.len <= MAX_PAYLOAD, "nothing large is ever allocated");
                let _ = header.check_bounds(1 << 30);
                let _ = header.check_map_bounds(1 << 10);
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn ranges_beyond_the_device_are_refused_without_overflow(header in header(), size in any::<u64>()) {
        let end = u128::from(header.offset) + u128::from(header.span);
        let inside = !header.kind.has_range() || end <= u128::from(size);
        prop_assert_eq!(header.check_bounds(size).is_ok(), inside);
        let inside = header.kind != Kind::Map || end <= u128::from(size);
        prop_assert_eq!(header.check_map_bounds(size).is_ok(), inside);
    }

    #[test]
    fn a_hello_survives_the_wire_and_what_is_appended(hello in hello(), more in prop::collection::vec(any::<u8>(), 0..9)) {
        let mut bytes = hello.encode().to_vec();
        prop_assert!(Hello::decode(&bytes[..HELLO_MIN_LEN - 1]).is_err(), "never shorter");
        bytes.extend(more);
        prop_assert_eq!(Hello::decode(&bytes), Ok(hello));
    }

    #[test]
    fn a_welcome_survives_the_wire_and_what_is_appended(welcome in welcome(), more in prop::collection::vec(any::<u8>(), 0..9)) {
        let mut bytes = welcome.encode().to_vec();
        prop_assert!(Welcome::decode(&bytes[..WELCOME_MIN_LEN - 1]).is_err(), "never shorter");
        bytes.extend(more);
        prop_assert_eq!(Welcome::decode(&bytes), Ok(welcome));
    }

    #[test]
    fn refusals_and_replies_survive_the_wire(number in 0u32..17, reason in text()) {
        let mut buffer = [0xffu8; REFUSE_MAX_LEN];
        let refuse = Refuse::new(RefuseCode::from_number(number), reason);
        prop_assert_eq!(Refuse::decode(refuse.encode(&mut buffer)), Ok(refuse));
        let reply = Reply { status: ReplyStatus::from_number(number), reason };
        prop_assert_eq!(Reply::decode(reply.encode(&mut buffer)), Ok(reply));
    }

    #[test]
    fn any_payload_is_decoded_or_refused(payload in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Hello::decode(&payload);
        let _ = Welcome::decode(&payload);
        let _ = Refuse::decode(&payload);
        let _ = Reply::decode(&payload);
        prop_assert_eq!(Ack::decode_all(&payload).count(), payload.len() / ACK_LEN);
        prop_assert_eq!(map_words(&payload).count(), payload.len() / 8);
    }

    #[test]
    fn acknowledgements_survive_the_wire(fields in prop::collection::vec(any::<(u32, u32, u64)>(), 0..ACKS_MAX)) {
        let acks: Vec<Ack> = fields
            .into_iter()
            .map(|(handle, status, seq)| Ack { handle, status: AckStatus::from_number(status), seq })
            .collect();
        let payload: Vec<u8> = acks.iter().flat_map(Ack::encode).collect();
        prop_assert_eq!(Ack::decode_all(&payload).collect::<Vec<_>>(), acks);
    }
}
