// SPDX-License-Identifier: GPL-2.0

//! Any 48 bytes are a header or an error, and a header that is accepted keeps its promises.
//!
//! The checksum is put right first: a fuzzer does not find one by chance, and what lies behind it
//! is to be tested.

#![no_main]

use libfuzzer_sys::fuzz_target;
use netraid_core::crc32c::crc32c;
use netraid_core::wire::{Header, HEADER_LEN, MAGIC, MAX_PAYLOAD, VERSION};

fuzz_target!(|data: &[u8]| {
    let Some(raw) = data.first_chunk::<HEADER_LEN>() else {
        return;
    };
    let _ = Header::decode(raw);
    let mut bytes = *raw;
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[6..8].copy_from_slice(&VERSION.to_le_bytes());
    let checksum = crc32c(0, &bytes[..44]).to_le_bytes();
    bytes[44..].copy_from_slice(&checksum);
    let size = 1u64 << 30;
    match Header::decode(&bytes) {
        Ok(header) => {
            assert_eq!(header.encode(), bytes);
            assert!(header.len <= MAX_PAYLOAD);
            if header.kind.has_range() && header.check_bounds(size).is_ok() {
                assert!(u128::from(header.offset) + u128::from(header.span) <= u128::from(size));
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
