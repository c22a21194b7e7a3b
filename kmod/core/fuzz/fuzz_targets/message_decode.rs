// SPDX-License-Identifier: GPL-2.0

//! Any bytes are a stream of messages that ends somewhere: each is decoded as its receiver does it, header, bounds,
//! payload, and nothing is believed that the rules of its kind forbid.
//!
//! Checksums of headers are put right first. Messages follow each other without a gap, so that orders are tried, too.

#![no_main]

use libfuzzer_sys::fuzz_target;
use netraid_core::crc32c::crc32c;
use netraid_core::wire::{leading_acks, map_words, Ack, Header, Hello, Kind, Refuse, Reply, Welcome};
use netraid_core::wire::{ACKS_MAX, DIGEST_LEN, HEADER_LEN, MAP_MAX_WORDS, MAX_CONTROL, MAX_PAYLOAD, REPLY_MAX_LEN};
use netraid_core::xxh64::checksum;

const SIZE: u64 = 64 << 20;
const WORDS: u64 = 16;

/// What a receiver believes of a header.
fn check(header: &Header) -> bool {
    if header.check_bounds(SIZE).is_err() || header.check_map_bounds(WORDS).is_err() {
        return false;
    }
    if header.kind.has_range() {
        assert!(header.span > 0 && header.offset % 512 == 0 && header.span % 512 == 0);
        assert!(header.offset + header.span <= SIZE);
    }
    match header.kind {
        Kind::Write => assert_eq!(u64::from(header.len), header.span),
        Kind::Map => {
            assert!(header.offset + header.span <= WORDS);
            assert_eq!(u64::from(header.len), header.span * 8);
        }
        _ => {}
    }
    assert!(header.len <= MAX_PAYLOAD);
    true
}

fn payload(header: &Header, data: &[u8]) {
    let mut buffer = [0; REPLY_MAX_LEN];
    match header.kind {
        Kind::Hello => {
            if let Ok(hello) = Hello::decode(data) {
                assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
            }
        }
        Kind::Welcome => {
            if let Ok(welcome) = Welcome::decode(data) {
                assert_eq!(Welcome::decode(&welcome.encode()), Ok(welcome));
            }
        }
        Kind::Refuse => {
            if let Ok(refuse) = Refuse::decode(data) {
                assert_eq!(Refuse::decode(refuse.encode(&mut buffer)), Ok(refuse));
                assert!(!refuse.sentence().is_empty());
            }
        }
        Kind::Reply => {
            if let Ok(reply) = Reply::decode(data) {
                assert_eq!(Reply::decode(reply.encode(&mut buffer)), Ok(reply));
            }
        }
        Kind::Ack => {
            assert!((1..=ACKS_MAX).contains(&Ack::decode_all(data).count()));
            for (ack, bytes) in Ack::decode_all(data).zip(data.chunks_exact(16)) {
                assert_eq!(ack.encode(), bytes);
            }
            let message = [&header.encode(), data].concat();
            let damaged = header.has_payload_checksum(false) && header.check_payload(checksum(data)).is_err();
            assert_eq!(leading_acks(&message, false), (!damaged).then_some(data));
            assert_eq!(leading_acks(&message[..message.len() - 1], false), None);
        }
        Kind::Map => {
            assert!(map_words(data).count() <= MAP_MAX_WORDS);
            assert_eq!(map_words(data).count() as u64, header.span);
        }
        Kind::Write | Kind::ReadReply => {}
        Kind::Compare => assert_eq!(data.len(), DIGEST_LEN),
        _ => assert!(data.is_empty()),
    }
    assert!(data.len() <= MAX_CONTROL.max(MAX_PAYLOAD) as usize);
}

fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    while let Some((raw, tail)) = rest.split_first_chunk::<HEADER_LEN>() {
        let mut bytes = *raw;
        let checksum = crc32c(0, &bytes[..44]).to_le_bytes();
        bytes[44..].copy_from_slice(&checksum);
        let header = match Header::decode(&bytes) {
            Ok(header) => header,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                return;
            }
        };
        assert_eq!(header.encode(), bytes);
        if !check(&header) {
            return;
        }
        let Some((data, next)) = tail.split_at_checked(header.len as usize) else {
            return;
        };
        payload(&header, data);
        rest = next;
    }
});
