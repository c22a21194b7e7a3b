// SPDX-License-Identifier: GPL-2.0
//! Requests of the control interface, made from its specification: right ones, wrong ones, and what is none.

use anyhow::Result;
use netraid_ctl::gen::{cmd, Leg, Mirror};

use super::random::Random;

/// The mark of an attribute that has others inside.
const NESTED: u16 = 0x8000;

/// Mirrors of the fuzzer; it changes no others.
pub(super) const NAMES: [&str; 4] = ["fuzz-a", "fuzz-b", "fuzz-c", "fuzz-d"];

/// Disks of the fuzzer, those of others, and what is none.
const DISKS: [&str; 14] = [
    "/tmp/fuzz/disk-a",
    "/tmp/fuzz/disk-b",
    "/tmp/fuzz/disk-c",
    "/tmp/fuzz/disk-d",
    "/tmp/fuzz/disk-a",
    "/tmp/fuzz/disk-b",
    "/tmp/fuzz/fifo",
    "/tmp/fuzz/file",
    "/tmp/fuzz/loop",
    "/tmp/fuzz",
    "/dev/vdb",
    "/dev/netraid0",
    "/dev/null",
    "/dev/none",
];

/// Places for metadata.
const PLACES: [&str; 8] = [
    "/tmp/fuzz/meta-a",
    "/tmp/fuzz/meta-b",
    "/tmp/fuzz/meta-c",
    "/tmp/fuzz/fifo",
    "/tmp/fuzz",
    "/tmp/fuzz/loop",
    "/dev/zero",
    "/proc/version",
];

/// What one request is.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) command: u8,
    pub(super) attributes: Vec<u8>,
}

impl Request {
    /// A request with the attributes given.
    pub(super) fn of(command: u8, attributes: &[Vec<u8>]) -> Self {
        Self {
            command,
            attributes: attributes.concat(),
        }
    }

    /// Any request.
    pub(super) fn random(random: &mut Random) -> Result<Self> {
        let command = match random.below(24) {
            0 => random.next_u8(),
            1 => cmd::EVENT,
            2..6 => cmd::MIRROR_GET,
            _ => 1 + random.next_u8() % 15,
        };
        let known = cmd::request_attributes(command).unwrap_or(&[]);
        let mut attributes = Vec::new();
        // Without a name nothing gets far.
        if !random.one_in(12) {
            attributes.push(text(Mirror::NAME, random.pick(&NAMES)?));
        }
        for &kind in known.iter().filter(|&&kind| kind != Mirror::NAME) {
            let wanted = match (command, kind) {
                (cmd::MIRROR_NEW, Mirror::DISK) | (_, Mirror::LEG | Mirror::ADDRESS | Mirror::PORT) => 12,
                (_, Mirror::ATTACH | Mirror::ID | Mirror::SCOPE_ID | Mirror::CHUNK_SIZE) => 2,
                _ => 4,
            };
            if random.below(16) < wanted {
                attributes.push(right(random, kind)?);
            }
        }
        for _ in 0..random.below(3) {
            disturb(random, &mut attributes)?;
        }
        let mut attributes = attributes.concat();
        match random.below(40) {
            0 => attributes.truncate(random.index(attributes.len())),
            1 => {
                let more = 1 + random.index(40);
                attributes.extend(random.bytes(more));
            }
            2 => super::damage::scramble(random, &mut attributes),
            _ => {}
        }
        Ok(Self { command, attributes })
    }
}

/// An attribute as it lies in a message, its length as it should be.
pub(super) fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 4).unwrap_or(u16::MAX);
    let mut bytes = [&length.to_le_bytes()[..], &kind.to_le_bytes(), payload].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

pub(super) fn text(kind: u16, value: &str) -> Vec<u8> {
    attribute(kind, &[value.as_bytes(), &[0]].concat())
}

pub(super) fn number(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_le_bytes())
}

pub(super) fn nest(kind: u16, inside: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | NESTED, &inside.concat())
}

/// An attribute with a value it may have.
fn right(random: &mut Random, kind: u16) -> Result<Vec<u8>> {
    Ok(match kind {
        Mirror::NAME => text(kind, random.pick(&NAMES)?),
        Mirror::ID => number(kind, 10 + random.next_u32() % 6),
        Mirror::ROLE => number(kind, random.next_u32() % 3),
        Mirror::DISK => text(kind, random.pick(&DISKS)?),
        Mirror::META_PATH => text(kind, random.pick(&PLACES)?),
        Mirror::CHUNK_SIZE => number(kind, 1 << (12 + random.below(19))),
        Mirror::NODE_NAME => text(kind, "eve"),
        Mirror::NODE_UUID => {
            let identity = random.bytes(16);
            attribute(kind, &identity)
        }
        Mirror::ADDRESS => attribute(kind, &address(random)),
        Mirror::PORT => number(kind, port(random)),
        Mirror::HEARTBEAT_MS => number(kind, 50 + random.next_u32() % 100),
        Mirror::TIMEOUT_MS => number(kind, 200 + random.next_u32() % 300),
        Mirror::MODE => number(kind, random.next_u32() % 5),
        Mirror::RESYNC_RATE => attribute(kind, &random.odd_number().to_le_bytes()),
        Mirror::ASYNC_LIMIT | Mirror::SCOPE_ID => number(kind, random.next_u32() % 4),
        Mirror::LEG => {
            let mut inside = vec![
                attribute(Leg::ADDRESS, &address(random)),
                number(Leg::PORT, port(random)),
                number(Leg::HEARTBEAT_MS, 50 + random.next_u32() % 100),
                number(Leg::TIMEOUT_MS, 200 + random.next_u32() % 300),
            ];
            if random.one_in(2) {
                inside.push(number(Leg::ID, random.next_u32() % 3));
            }
            if random.one_in(4) {
                inside.swap_remove(random.index(4));
            }
            if random.one_in(8) {
                disturb(random, &mut inside)?;
            }
            nest(kind, &inside)
        }
        _ => attribute(kind, &[]),
    })
}

/// Nobody there, somebody there, nobody anywhere; IPv4 and IPv6.
fn address(random: &mut Random) -> Vec<u8> {
    match random.below(6) {
        0 => vec![0; 4],
        1 => vec![0; 16],
        2 => [&[0; 15][..], &[1]].concat(),
        3 => vec![192, 0, 2, 1],
        _ => vec![127, 0, 0, 1],
    }
}

fn port(random: &mut Random) -> u32 {
    7950 + random.next_u32() % 6
}

/// Makes a list of attributes wrong, or at least odd.
fn disturb(random: &mut Random, attributes: &mut Vec<Vec<u8>>) -> Result<()> {
    let at = random.index(attributes.len());
    match random.below(10) {
        // One that is there, of any length.
        0 if !attributes.is_empty() => {
            let kind = attributes[at].get(2..4).map_or([0, 0], |kind| [kind[0], kind[1]]);
            let length = [0, 1, 2, 3, 5, 8, 15, 17, 64, 65, 66, 255, 4095, 4096, 4097, 60_000][random.index(16)];
            let payload = random.bytes(length);
            attributes[at] = attribute(u16::from_le_bytes(kind), &payload);
        }
        // Twice, the first time as it is, or missing.
        1 if !attributes.is_empty() => attributes.push(attributes[at].clone()),
        2 if !attributes.is_empty() => {
            attributes.swap_remove(at);
        }
        // A length that lies.
        3 if !attributes.is_empty() => {
            let length = random.odd_number().to_le_bytes();
            if let Some(place) = attributes[at].get_mut(..2) {
                place.copy_from_slice(&length[..2]);
            }
        }
        // One that does not belong here, or does not exist.
        4 => {
            let payload = random.next_u32().to_le_bytes();
            attributes.push(attribute(random.next_u16() % 48, &payload));
        }
        5 => {
            let count = random.index(64);
            let payload = random.bytes(count);
            attributes.push(attribute(random.next_u16(), &payload));
        }
        // Nested where it must not be, or deeper than anybody needs.
        6 => {
            let mut inside = number(Leg::ID, 1);
            for _ in 0..random.below(40) {
                inside = attribute(Mirror::LEG | NESTED, &inside);
            }
            attributes.push(inside);
        }
        7 if !attributes.is_empty() => {
            if let Some(place) = attributes[at].get_mut(3) {
                *place ^= 0x80;
            }
        }
        // Long texts, and texts that are none.
        8 => {
            let kind = *random.pick(&[Mirror::DISK, Mirror::META_PATH, Mirror::NODE_NAME])?;
            let long = "/x".repeat([31, 33, 2000, 2048, 30_000][random.index(5)]);
            attributes.push(text(kind, &long));
        }
        _ => {
            let count = 1 + random.index(63);
            let payload = [random.bytes(count), vec![0]].concat();
            attributes.push(attribute(*random.pick(&[Mirror::NODE_NAME, Mirror::DISK])?, &payload));
        }
    }
    Ok(())
}
