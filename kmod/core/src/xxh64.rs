// SPDX-License-Identifier: GPL-2.0

//! XXH64, the checksum of payloads.
//!
//! It is not for metadata and headers, which have [CRC-32C](crate::crc32c): that finds every burst of up to 32 damaged bits,
//! and what it costs does not matter where there are few bytes. Payloads are long. XXH64 needs nothing but 64-bit
//! multiplications, so it costs about the same on every processor, where CRC-32C is slow without an instruction for it.
//!
//! The algorithm is described by its author in `xxhash_spec.md`; the kernel has it as `xxh64()`.

const PRIME_1: u64 = 0x9e37_79b1_85eb_ca87;
const PRIME_2: u64 = 0xc2b2_ae3d_27d4_eb4f;
const PRIME_3: u64 = 0x1656_67b1_9e37_79f9;
const PRIME_4: u64 = 0x85eb_ca77_c2b2_ae63;
const PRIME_5: u64 = 0x27d4_eb2f_1656_67c5;

/// One lane takes in eight bytes.
const fn round(lane: u64, input: u64) -> u64 {
    lane.wrapping_add(input.wrapping_mul(PRIME_2))
        .rotate_left(31)
        .wrapping_mul(PRIME_1)
}

/// The sum takes in one of the four lanes.
const fn merge(sum: u64, lane: u64) -> u64 {
    (sum ^ round(0, lane)).wrapping_mul(PRIME_1).wrapping_add(PRIME_4)
}

/// Takes in all stripes of 32 bytes: the sum of them, and what is left of `data`.
fn stripes(data: &[u8]) -> (u64, &[u8]) {
    let mut rest = data;
    let mut lanes = [PRIME_1.wrapping_add(PRIME_2), PRIME_2, 0, 0_u64.wrapping_sub(PRIME_1)];
    while let Some((stripe, after)) = rest.split_first_chunk::<32>() {
        let mut words = stripe.chunks_exact(8);
        for lane in &mut lanes {
            let word = words.next().and_then(|word| word.first_chunk::<8>());
            *lane = round(*lane, word.map_or(0, |word| u64::from_le_bytes(*word)));
        }
        rest = after;
    }
    let [a, b, c, d] = lanes;
    let sum = a
        .rotate_left(1)
        .wrapping_add(b.rotate_left(7))
        .wrapping_add(c.rotate_left(12))
        .wrapping_add(d.rotate_left(18));
    (lanes.into_iter().fold(sum, merge), rest)
}

/// The XXH64 of `data` with the seed 0.
#[must_use]
pub fn xxh64(data: &[u8]) -> u64 {
    let (sum, mut rest) = if data.len() < 32 {
        (PRIME_5, data)
    } else {
        stripes(data)
    };
    let mut sum = sum.wrapping_add(data.len() as u64);
    while let Some((word, after)) = rest.split_first_chunk::<8>() {
        sum = (sum ^ round(0, u64::from_le_bytes(*word)))
            .rotate_left(27)
            .wrapping_mul(PRIME_1)
            .wrapping_add(PRIME_4);
        rest = after;
    }
    if let Some((half, after)) = rest.split_first_chunk::<4>() {
        sum = (sum ^ u64::from(u32::from_le_bytes(*half)).wrapping_mul(PRIME_1))
            .rotate_left(23)
            .wrapping_mul(PRIME_2)
            .wrapping_add(PRIME_3);
        rest = after;
    }
    for &byte in rest {
        sum = (sum ^ u64::from(byte).wrapping_mul(PRIME_5))
            .rotate_left(11)
            .wrapping_mul(PRIME_1);
    }
    sum = (sum ^ (sum >> 33)).wrapping_mul(PRIME_2);
    sum = (sum ^ (sum >> 29)).wrapping_mul(PRIME_3);
    sum ^ (sum >> 32)
}

/// The checksum of a payload: the lower half of its XXH64.
#[must_use]
pub fn checksum(data: &[u8]) -> u32 {
    half(xxh64(data))
}

/// What a header has of a sum of all 64 bits.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "that is what it does")]
pub const fn half(sum: u64) -> u32 {
    sum as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_well_known_sums() {
        assert_eq!(xxh64(b""), 0xef46_db37_51d8_e999);
        assert_eq!(xxh64(b"a"), 0xd24e_c4f1_a98c_6e5b);
        assert_eq!(xxh64(b"abc"), 0x44bc_2cf5_ad77_0999);
        let text = b"Nobody inspects the spammish repetition";
        assert_eq!(xxh64(text), 0xfbce_a83c_8a37_8bf1);
    }

    #[test]
    fn every_byte_of_every_length_counts() {
        let mut data: [u8; 100] = core::array::from_fn(|i| (i * 37).to_le_bytes()[0]);
        for len in 0..=data.len() {
            let whole = checksum(&data[..len]);
            for at in 0..len {
                data[at] ^= 1;
                assert_ne!(checksum(&data[..len]), whole, "byte {at} of {len}");
                data[at] ^= 1;
            }
        }
    }
}
