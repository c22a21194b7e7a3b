// SPDX-License-Identifier: GPL-2.0
//! Ways to spoil bytes that made sense.

use netraid_core::{
    crc32c::crc32c,
    wire::{HEADER_LEN, VERSION},
};

use super::random::Random;

/// Bytes of a header that its checksum covers.
const CHECKED: usize = HEADER_LEN - 4;

/// Puts the checksum of the header at the front of `message` right, so that what lies behind it is reached.
pub(crate) fn seal(message: &mut [u8]) {
    if let Some((checked, [a, b, c, d, ..])) = message.split_at_mut_checked(CHECKED) {
        [*a, *b, *c, *d] = crc32c(0, checked).to_le_bytes();
    }
}

/// Changes some bytes, bits, or runs of bytes of `bytes`.
pub(crate) fn scramble(random: &mut Random, bytes: &mut [u8]) {
    for _ in 0..=random.below(4) {
        let at = random.index(bytes.len());
        let Some(rest) = bytes.get_mut(at..) else { return };
        let Some(byte) = rest.first_mut() else { return };
        match random.below(5) {
            0 => *byte ^= 1 << random.below(8),
            1 => *byte = random.next_u8(),
            2 => *byte = [0, 1, 0x7f, 0x80, 0xff][random.index(5)],
            3 => {
                let run = random.index(16).min(rest.len());
                let value = [0, 0xff, b' ', b'\x1b'][random.index(4)];
                rest[..run].fill(value);
            }
            _ => {
                let value = random.odd_number().to_le_bytes();
                let length = [2, 4, 8][random.index(3)].min(rest.len());
                rest[..length].copy_from_slice(&value[..length]);
            }
        }
    }
}

/// Spoils a whole message: its header (with or without a right checksum), its payload, or its length.
pub(crate) fn spoil(random: &mut Random, message: &mut Vec<u8>) {
    let header = message.len().min(HEADER_LEN);
    match random.below(12) {
        // The magic, and whatever else, without a checksum.
        0 => scramble(random, &mut message[..header]),
        // Another version, with one.
        1 => {
            let version = VERSION.wrapping_add(random.next_u16());
            if let Some(place) = message.get_mut(6..8) {
                place.copy_from_slice(&version.to_le_bytes());
            }
            seal(message);
        }
        // Kinds and flags there are or there are not.
        2 => {
            if let Some(kind) = message.get_mut(4) {
                *kind = if random.one_in(2) {
                    random.next_u8()
                } else {
                    random.next_u8() % 24
                };
            }
            seal(message);
        }
        3 => {
            if let Some(flags) = message.get_mut(5) {
                *flags = random.next_u8();
            }
            seal(message);
        }
        // Lengths that lie.
        4 => {
            let length = random.odd_number().to_le_bytes();
            if let Some(place) = message.get_mut(8..12) {
                place.copy_from_slice(&length[..4]);
            }
            seal(message);
        }
        // Places that are none.
        5 | 6 => {
            for place in [24, 32] {
                if random.one_in(2) {
                    let mut value = random.odd_number();
                    if random.one_in(2) {
                        value &= !511;
                    }
                    if let Some(place) = message.get_mut(place..place + 8) {
                        place.copy_from_slice(&value.to_le_bytes());
                    }
                }
            }
            seal(message);
        }
        // Anything in the header but magic, kind and version.
        7 => {
            scramble(random, &mut message[8.min(header)..header]);
            seal(message);
        }
        // The payload.
        8 | 9 if message.len() > HEADER_LEN => scramble(random, &mut message[HEADER_LEN..]),
        // Less, or more, than was announced.
        10 => {
            let length = random.index(message.len());
            message.truncate(length);
        }
        _ => {
            let count = 1 + random.index(64);
            let more = random.bytes(count);
            message.extend(more);
        }
    }
}
