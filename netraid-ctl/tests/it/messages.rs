// SPDX-License-Identifier: GPL-2.0
//! The bytes of messages: nothing that comes from outside makes the program panic.

use std::collections::HashMap;

use netraid_ctl::gen::{self, cmd, Connection, EventKind, Replication, Role, State};
use netraid_ctl::nl::wire::{AttrReader, AttrWriter, AttributeInfo, FieldReader, Message, WireError};
use netraid_ctl::nl::{Client, Netlink, NlError};
use proptest::prelude::*;

use crate::fake::Fake;
use crate::machine::run;
use crate::mirrors::source;

proptest! {
    #[test]
    fn any_bytes_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _any = gen::Mirror::decode(AttrReader::new(&bytes));
        let _any = gen::Event::decode(AttrReader::new(&bytes));
        let _any = Message::parse_all(&bytes);
    }

    #[test]
    fn a_reader_ends_whatever_it_reads(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(AttrReader::new(&bytes).count() <= bytes.len());
    }

    #[test]
    fn a_mirror_survives_the_way_through_its_bytes(
        name in "[A-Za-z0-9._-]{1,64}",
        numbers in any::<(u32, u32, u64)>(),
        bytes in any::<[u8; 16]>(),
        flags in any::<(bool, bool)>(),
        legs in 0_u32..5,
    ) {
        let (id, enums, wide) = numbers;
        let leg = |leg| gen::Leg {
            id: Some(leg),
            state: Some(State::from(enums % 6)),
            connection: Some(Connection::from(enums % 7)),
            replication: Some(Replication::from(enums % 3)),
            address: Some(bytes[..4].to_vec()),
            reason: Some(name.clone()),
            chunks: Some(wide),
            resync_full: flags.0,
            ..gen::Leg::default()
        };
        let mirror = gen::Mirror {
            name: Some(name.clone()),
            id: Some(id),
            uuid: Some(bytes),
            role: Some(Role::from(enums)),
            size: Some(wide),
            inconsistent: flags.1,
            leg: (0..legs).map(leg).collect(),
            ..gen::Mirror::default()
        };
        let mut out = AttrWriter::default();
        mirror.encode(&mut out).unwrap();
        prop_assert_eq!(gen::Mirror::decode(AttrReader::new(&out.into_bytes())).unwrap(), mirror);
    }
}

#[test]
fn enums_keep_values_that_a_newer_kernel_may_send() {
    assert_eq!(State::from(77), State::Unknown(77));
    assert_eq!(
        (State::Unknown(77).number(), State::Unknown(77).to_string()),
        (77, "unknown (77)".to_owned())
    );
    for (number, kind) in (0_u32..).zip(EventKind::ALL) {
        assert_eq!((kind.number(), EventKind::from(number)), (number, *kind));
    }
}

#[test]
fn attributes_that_a_newer_kernel_may_send_are_passed_over() {
    let mut out = AttrWriter::default();
    out.put_str(gen::Mirror::NAME, "data").unwrap();
    out.put_u32(999, 1).unwrap();
    let mirror = gen::Mirror::decode(AttrReader::new(&out.into_bytes())).unwrap();
    assert_eq!(mirror.name.as_deref(), Some("data"));
}

/// The only test that needs a kernel: with or without the module, its answer is understood.
#[test]
fn the_running_kernel_is_understood() {
    match Client::open(&Netlink).map(|mut client| client.mirrors()) {
        Ok(mirrors) => assert!(mirrors.is_ok(), "{mirrors:?}"),
        Err(error) => assert!(matches!(error, NlError::NotLoaded), "{error:?}"),
    }
}

#[test]
fn values_of_a_wrong_size_are_errors() {
    let decode = |fill: &dyn Fn(&mut AttrWriter) -> Result<(), WireError>| {
        let mut out = AttrWriter::default();
        fill(&mut out).unwrap();
        gen::Mirror::decode(AttrReader::new(&out.into_bytes()))
    };
    let wrong = |kind, length| Err(WireError::Size { kind, length });
    assert_eq!(
        decode(&|out| out.put_bytes(gen::Mirror::ID, &[1])),
        wrong(gen::Mirror::ID, 1)
    );
    assert_eq!(
        decode(&|out| out.put_bytes(gen::Mirror::UUID, &[1; 15])),
        wrong(gen::Mirror::UUID, 15)
    );
    assert_eq!(
        decode(&|out| out.put_bytes(gen::Mirror::SIZE, &[1; 5])),
        wrong(gen::Mirror::SIZE, 5)
    );
    assert_eq!(
        decode(&|out| out.put_bytes(gen::Mirror::NAME, &[0xff])),
        Err(WireError::Text(gen::Mirror::NAME))
    );
    assert_eq!(
        decode(&|out| out.put_bytes(gen::Mirror::LEG, &[9, 0, 1, 0])),
        Err(WireError::Truncated)
    );
}

#[test]
fn texts_that_no_attribute_can_hold_are_errors() {
    let mut out = AttrWriter::default();
    assert_eq!(out.put_str(1, "a\0b"), Err(WireError::Nul));
    assert_eq!(out.put_str(1, &"x".repeat(70_000)), Err(WireError::TooLong(70_001)));
    assert_eq!(FieldReader::new(&[1]).u32(), Err(WireError::Truncated));
}

/// The header for C is made from the same spec by another generator.
#[test]
fn the_numbers_are_those_of_the_header_for_c() {
    let header = include_str!("../../../kmod/include/uapi/linux/netraid.h");
    let mut numbers = HashMap::new();
    let mut next = 0;
    for line in header.lines().map(str::trim) {
        if line.starts_with("enum") {
            next = 0;
        }
        let Some(entry) = line.strip_suffix(',').filter(|entry| entry.starts_with("NETRAID_")) else {
            continue;
        };
        let (name, number) = entry
            .split_once(" = ")
            .map_or((entry, next), |(name, number)| (name, number.parse().unwrap_or(next)));
        numbers.insert(name.to_lowercase().replace('_', "-"), number);
        next = number + 1;
    }
    let attribute = |prefix: &str, lookup: fn(u16) -> Option<AttributeInfo>| {
        for (kind, info) in (1..64).filter_map(|kind| Some((kind, lookup(kind)?))) {
            assert_eq!(
                numbers.get(&format!("netraid-a-{prefix}-{}", info.name)),
                Some(&u32::from(kind))
            );
        }
    };
    attribute("mirror", gen::Mirror::attribute);
    attribute("leg", gen::Leg::attribute);
    attribute("event", gen::Event::attribute);
    for number in cmd::MIRROR_GET..=cmd::EVENT {
        let name = format!("netraid-cmd-{}", cmd::name(number).unwrap());
        assert_eq!(numbers.get(&name), Some(&u32::from(number)), "{name}");
    }
    for state in State::ALL {
        assert_eq!(numbers.get(&format!("netraid-state-{state}")), Some(&state.number()));
    }
    for kind in EventKind::ALL {
        assert_eq!(numbers.get(&format!("netraid-event-kind-{kind}")), Some(&kind.number()));
    }
}

#[test]
fn a_request_may_carry_what_the_spec_lists() {
    assert_eq!(
        cmd::request_attributes(cmd::MIRROR_DEL),
        Some(&[gen::Mirror::NAME, gen::Mirror::FORCE][..])
    );
    assert_eq!(cmd::request_attributes(cmd::EVENT), None);
}

/// The kernel names the attribute it complains of by its place in the request.
#[test]
fn a_complaint_about_an_attribute_names_it() {
    let complaint = |kind, value| {
        let fake = Fake::new(vec![gen::Mirror {
            leg: vec![],
            ..source("data")
        }]);
        let mut attrs = AttrWriter::default();
        attrs.put_u32(kind, value).unwrap();
        fake.0.borrow_mut().extack = attrs.into_bytes();
        fake.refuse(34, "integer out of range");
        run(&fake, "extend data --to 10.0.0.2 --yes").err
    };
    // Headers of 20 bytes, the name of 12, the header of the nest and the address of 8.
    let offset = 20 + 12 + 4 + 8;
    let text = complaint(2, offset);
    assert!(text.contains("integer out of range (attribute leg/port)"), "{text}");
    let text = complaint(2, 20);
    assert!(text.contains("integer out of range (attribute name)"), "{text}");
    let fake = Fake::new(vec![]);
    let mut attrs = AttrWriter::default();
    attrs.put_u32(2, 20).unwrap();
    fake.0.borrow_mut().extack = attrs.into_bytes();
    fake.refuse(22, "the name `x` is not a name");
    let text = run(&fake, "create x --disk /dev/vdb").err;
    assert!(text.ends_with("the name `x` is not a name\n"), "{text}");
    let text = complaint(2, 4000);
    assert!(text.ends_with("integer out of range\n"), "{text}");
    let text = complaint(5, u32::from(gen::Mirror::DISK));
    assert!(text.contains("(the request lacks the attribute disk)"), "{text}");
}
