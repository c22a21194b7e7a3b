// SPDX-License-Identifier: GPL-2.0

//! CRC-32C (Castagnoli), the checksum of headers and of metadata, eight bytes at a time.

/// The polynomial, bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// `TABLES[0]` is the classic table for one byte; `TABLES[k]` is what that byte becomes after `k`
/// further bytes of zero.
static TABLES: [[u32; 256]; 8] = tables();

#[expect(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, which would report it"
)]
const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0u32; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[table - 1][byte];
            tables[table][byte] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

/// The entry of one table for one byte.
#[expect(
    clippy::indexing_slicing,
    reason = "a byte is always below the 256 entries of a table"
)]
fn entry(table: &[u32; 256], byte: u8) -> u32 {
    table[usize::from(byte)]
}

/// The CRC-32C of `data`, going on from `seed`.
///
/// The seed of the first piece is 0; the result of one piece is the seed of the next, so that
/// `crc32c(crc32c(0, a), b)` is the checksum of `a` followed by `b`. The usual inversions are
/// inside, other than in the function of the kernel with that name.
#[must_use]
pub fn crc32c(seed: u32, data: &[u8]) -> u32 {
    let [t0, t1, t2, t3, t4, t5, t6, t7] = &TABLES;
    let mut crc = !seed;
    let mut rest = data;
    while let Some((eight, after)) = rest.split_first_chunk::<8>() {
        let [a, b, c, d, e, f, g, h] = *eight;
        let [p, q, r, s] = (crc ^ u32::from_le_bytes([a, b, c, d])).to_le_bytes();
        crc = entry(t7, p) ^ entry(t6, q) ^ entry(t5, r) ^ entry(t4, s);
        crc ^= entry(t3, e) ^ entry(t2, f) ^ entry(t1, g) ^ entry(t0, h);
        rest = after;
    }
    for &byte in rest {
        let [low, ..] = crc.to_le_bytes();
        crc = (crc >> 8) ^ entry(t0, low ^ byte);
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_vectors_of_rfc_3720() {
        let ascending: [u8; 32] = core::array::from_fn(|i| i.to_le_bytes()[0]);
        let descending: [u8; 32] = core::array::from_fn(|i| 31 - i.to_le_bytes()[0]);
        assert_eq!(crc32c(0, &[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(0, &[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(0, &ascending), 0x46dd_794e);
        assert_eq!(crc32c(0, &descending), 0x113f_db5c);
        assert_eq!(crc32c(0, b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(0, b""), 0);
    }

    #[test]
    fn agrees_with_the_iscsi_read_command_of_rfc_3720() {
        let mut pdu = [0u8; 48];
        pdu[0] = 0x01;
        pdu[1] = 0xc0;
        pdu[16] = 0x14;
        pdu[22] = 0x04;
        pdu[27] = 0x14;
        pdu[31] = 0x18;
        pdu[32] = 0x28;
        pdu[40] = 0x02;
        assert_eq!(crc32c(0, &pdu), 0xd996_3a56);
    }

    #[test]
    fn pieces_give_the_checksum_of_the_whole_wherever_it_is_cut() {
        let data: [u8; 67] = core::array::from_fn(|i| (i * 37).to_le_bytes()[0]);
        let whole = crc32c(0, &data);
        for cut in 0..=data.len() {
            let (a, b) = data.split_at(cut);
            assert_eq!(crc32c(crc32c(0, a), b), whole);
        }
    }
}
