// SPDX-License-Identifier: GPL-2.0

//! What each kind of message may announce, and which error names a breach.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says all it means in one place"
)]

use netraid_core::wire::*;

/// The error for a header as it would arrive.
fn error(header: Header) -> Option<WireError> {
    Header::decode(&header.encode()).err()
}

fn write(offset: u64, len: u32) -> Header {
    Header {
        offset,
        len,
        span: u64::from(len),
        ..Header::new(Kind::Write)
    }
}

#[test]
fn something_else_on_the_port_is_called_that() {
    let mut http = [b' '; HEADER_LEN];
    http[..16].copy_from_slice(b"GET / HTTP/1.1\r\n");
    assert_eq!(Header::decode(&http), Err(WireError::NotNetraid));
    assert_eq!(Header::decode(&[0; HEADER_LEN]), Err(WireError::NotNetraid));
}

#[test]
fn another_version_is_named_though_its_header_may_look_different() {
    let mut bytes = [0xaa; HEADER_LEN];
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[6..8].copy_from_slice(&2u16.to_le_bytes());
    let error = Header::decode(&bytes).unwrap_err();
    assert_eq!(error, WireError::OtherVersion(2));
    assert!(error.to_string().contains("version 2"), "{error}");
}

#[test]
fn a_length_of_4_gib_is_refused_for_every_kind() {
    for kind in Kind::ALL {
        let header = Header {
            len: u32::MAX,
            span: u64::from(u32::MAX),
            ..Header::new(kind)
        };
        assert_eq!(error(header), Some(WireError::TooLong { kind, len: u32::MAX }));
    }
}

#[test]
fn a_write_has_whole_sectors_as_many_as_it_carries() {
    assert_eq!(error(write(0, 512)), None);
    assert_eq!(error(write(512, MAX_PAYLOAD)), None);
    let kind = Kind::Write;
    assert_eq!(error(write(0, 0)), Some(WireError::BadLength { kind, len: 0 }));
    let len = MAX_PAYLOAD + 512;
    assert_eq!(error(write(0, len)), Some(WireError::TooLong { kind, len }));
    assert_eq!(
        error(Header {
            span: 1024,
            ..write(0, 512)
        }),
        Some(WireError::BadLength { kind, len: 512 })
    );
    assert_eq!(
        error(write(0, 100)),
        Some(WireError::BadRange {
            kind,
            offset: 0,
            span: 100
        })
    );
    assert_eq!(
        error(write(1, 512)),
        Some(WireError::BadRange {
            kind,
            offset: 1,
            span: 512
        })
    );
}

#[test]
fn discards_and_zeroes_cover_whole_sectors_and_carry_nothing() {
    for kind in [Kind::Discard, Kind::Zeroes] {
        let header = Header {
            offset: 512,
            span: 1 << 40,
            ..Header::new(kind)
        };
        assert_eq!(error(header), None);
        assert_eq!(
            error(Header { len: 1, ..header }),
            Some(WireError::TooLong { kind, len: 1 })
        );
        assert_eq!(
            error(Header { span: 0, ..header }),
            Some(WireError::BadRange {
                kind,
                offset: 512,
                span: 0
            })
        );
        assert_eq!(
            error(Header { span: 7, ..header }),
            Some(WireError::BadRange {
                kind,
                offset: 512,
                span: 7
            })
        );
    }
}

#[test]
fn messages_without_payload_have_none() {
    use Kind::*;
    for kind in [
        Flush,
        Ping,
        Pong,
        ResyncStart,
        ResyncDone,
        Pause,
        Resume,
        Bye,
        Takeover,
        Settled,
    ] {
        assert_eq!(error(Header::new(kind)), None);
        assert_eq!(
            error(Header {
                len: 1,
                ..Header::new(kind)
            }),
            Some(WireError::TooLong { kind, len: 1 })
        );
    }
}

#[test]
fn the_handshake_may_be_longer_but_not_shorter_and_not_endless() {
    for (kind, least) in [
        (Kind::Hello, HELLO_MIN_LEN),
        (Kind::Welcome, WELCOME_MIN_LEN),
        (Kind::Refuse, REFUSE_MIN_LEN),
        (Kind::Reply, REPLY_MIN_LEN),
    ] {
        let least = u32::try_from(least).unwrap();
        let header = |len| Header {
            len,
            ..Header::new(kind)
        };
        assert_eq!(error(header(least)), None);
        assert_eq!(error(header(MAX_CONTROL)), None);
        assert_eq!(
            error(header(least - 1)),
            Some(WireError::BadLength { kind, len: least - 1 })
        );
        assert_eq!(
            error(header(MAX_CONTROL + 1)),
            Some(WireError::TooLong {
                kind,
                len: MAX_CONTROL + 1
            })
        );
    }
}

/// A digest names a range that could be written at once.
#[test]
fn a_comparison_has_a_digest_and_a_range() {
    let kind = Kind::Compare;
    let len = u32::try_from(DIGEST_LEN).unwrap();
    let header = Header {
        len,
        span: 65536,
        ..Header::new(kind)
    };
    assert_eq!(error(header), None);
    for len in [len - 1, 0] {
        assert_eq!(
            error(Header { len, ..header }),
            Some(WireError::BadLength { kind, len })
        );
    }
    assert_eq!(
        error(Header { len: len + 1, ..header }),
        Some(WireError::TooLong { kind, len: len + 1 })
    );
    for span in [0, 7, u64::from(MAX_PAYLOAD) + 512] {
        assert_eq!(
            error(Header { span, ..header }),
            Some(WireError::BadRange { kind, offset: 0, span })
        );
    }
}

#[test]
fn acknowledgements_come_in_whole_ones_up_to_64() {
    let kind = Kind::Ack;
    let header = |len| Header {
        len,
        ..Header::new(kind)
    };
    assert_eq!(error(header(16)), None);
    assert_eq!(error(header(64 * 16)), None);
    assert_eq!(error(header(0)), Some(WireError::BadLength { kind, len: 0 }));
    assert_eq!(error(header(24)), Some(WireError::BadLength { kind, len: 24 }));
    assert_eq!(error(header(65 * 16)), Some(WireError::TooLong { kind, len: 65 * 16 }));
}

#[test]
fn a_map_has_as_many_words_as_it_says() {
    let kind = Kind::Map;
    let map = |words: u64, len| Header {
        span: words,
        len,
        flags: Flags::LAST,
        ..Header::new(kind)
    };
    assert_eq!(error(map(0, 0)), None, "an empty map has a last message too");
    assert_eq!(error(map(8192, 65536)), None);
    assert_eq!(error(map(1, 12)), Some(WireError::BadLength { kind, len: 12 }));
    assert_eq!(error(map(u64::MAX, 8)), Some(WireError::BadLength { kind, len: 8 }));
    assert_eq!(error(map(8193, 65544)), Some(WireError::TooLong { kind, len: 65544 }));
    let header = Header {
        offset: 3,
        ..map(2, 16)
    };
    assert_eq!(header.check_map_bounds(5), Ok(()));
    assert_eq!(
        header.check_map_bounds(4),
        Err(WireError::OutOfBounds {
            offset: 3,
            span: 2,
            size: 4
        })
    );
}

#[test]
fn reads_are_reserved_but_understood() {
    let read = Header {
        span: 4096,
        ..Header::new(Kind::Read)
    };
    assert_eq!(error(read), None);
    let span = u64::from(MAX_PAYLOAD) + 512;
    assert_eq!(
        error(Header { span, ..read }),
        Some(WireError::BadRange {
            kind: Kind::Read,
            offset: 0,
            span
        })
    );
    let reply = Header {
        span: 4096,
        len: 4096,
        ..Header::new(Kind::ReadReply)
    };
    assert_eq!(error(reply), None);
    assert_eq!(error(Header { len: 0, ..reply }), None);
}

#[test]
fn a_range_that_overflows_or_ends_beyond_the_device_is_out_of_bounds() {
    let size = 1 << 20;
    assert_eq!(write(size - 512, 512).check_bounds(size), Ok(()));
    for offset in [size, size - 511, u64::MAX - 511, u64::MAX] {
        let expected = Err(WireError::OutOfBounds {
            offset,
            span: 512,
            size,
        });
        assert_eq!(write(offset, 512).check_bounds(size), expected);
    }
    let flush = Header {
        offset: u64::MAX,
        span: u64::MAX,
        ..Header::new(Kind::Flush)
    };
    assert_eq!(flush.check_bounds(size), Ok(()), "a flush has no range");
}

#[test]
fn flags_a_kind_does_not_have_are_refused() {
    let flags = Flags::FUA | Flags::PREFLUSH | Flags::RESYNC;
    assert_eq!(error(Header { flags, ..write(0, 512) }), None);
    let flags = Flags::LAST;
    assert_eq!(
        error(Header { flags, ..write(0, 512) }),
        Some(WireError::BadFlags {
            kind: Kind::Write,
            flags
        })
    );
    let flags = Flags::from_bits(0x80);
    assert_eq!(
        error(Header { flags, ..write(0, 512) }),
        Some(WireError::BadFlags {
            kind: Kind::Write,
            flags
        })
    );
    let flags = Flags::FUA;
    assert_eq!(
        error(Header {
            flags,
            ..Header::new(Kind::Ping)
        }),
        Some(WireError::BadFlags {
            kind: Kind::Ping,
            flags
        })
    );
}

#[test]
fn a_damaged_payload_is_noticed() {
    let header = Header {
        payload_checksum: 7,
        ..write(0, 512)
    };
    assert_eq!(header.check_payload(7), Ok(()));
    let error = header.check_payload(8).unwrap_err();
    let (kind, offset) = (Kind::Write, Some(0));
    assert_eq!(error, WireError::BadPayloadChecksum { kind, offset });
    assert!(error.is_damage() && WireError::BadHeaderChecksum.is_damage() && !WireError::NotNetraid.is_damage());
    assert!(error.to_string().starts_with(
        "data was damaged on its way (the checksum of a message of kind Write at offset 0 does not match)"
    ));
    let ack = Header {
        len: 16,
        ..Header::new(Kind::Ack)
    };
    let text = ack.check_payload(8).unwrap_err().to_string();
    assert!(text.contains("of kind Ack does not match"), "{text}");
}

/// Every kind, with and without a payload, a checksum, and an agreement.
#[test]
fn who_fills_in_a_checksum_and_who_checks_it() {
    for kind in Kind::ALL {
        for (len, payload_checksum, agreed) in [0, 512]
            .into_iter()
            .flat_map(|len| [(len, 0, false), (len, 0, true), (len, 7, false), (len, 7, true)])
        {
            let header = Header {
                len,
                payload_checksum,
                ..Header::new(kind)
            };
            let greets = matches!(kind, Kind::Hello | Kind::Welcome | Kind::Refuse);
            assert_eq!(
                header.takes_payload_checksum(agreed),
                len > 0 && (agreed || greets),
                "{kind}"
            );
            let checked = match (len, agreed) {
                (0, _) => false,
                (_, true) => true,
                (_, false) => payload_checksum == 7,
            };
            assert_eq!(header.has_payload_checksum(agreed), checked, "{kind}");
        }
    }
}

#[test]
fn names_in_a_handshake_are_texts_of_their_length() {
    let plain = Hello::decode(&[0; HELLO_LEN]).unwrap();
    assert!(plain.mirror_name.is_empty());
    let mut bytes = [0u8; HELLO_LEN];
    bytes[2] = 65;
    let error = Hello::decode(&bytes).unwrap_err();
    assert!(matches!(error, WireError::BadText { kind: Kind::Hello, .. }), "{error}");
    bytes[2] = 1;
    let error = Hello::decode(&bytes).unwrap_err();
    assert!(
        matches!(error, WireError::BadText { .. }),
        "a zero byte is a control character: {error}"
    );
    let mut bytes = [0u8; WELCOME_LEN];
    bytes[2] = 1;
    bytes[WELCOME_MIN_LEN - 64] = 0xff;
    assert!(matches!(
        Welcome::decode(&bytes),
        Err(WireError::BadText {
            kind: Kind::Welcome,
            ..
        })
    ));
}
