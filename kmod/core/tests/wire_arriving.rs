// SPDX-License-Identifier: GPL-2.0

//! Confirmations that are taken in as they arrive.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says all it means in one place"
)]

use netraid_core::wire::*;

/// A message as it arrives, with the checksum of its payload.
fn arrives(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let header = Header {
        len: u32::try_from(payload.len()).unwrap(),
        payload_checksum: netraid_core::xxh64::checksum(payload),
        ..Header::new(kind)
    };
    [&header.encode(), payload].concat()
}

#[test]
fn confirmations_are_taken_in_as_they_arrive_when_they_are_whole_and_come_first() {
    let ack = |handle| Ack {
        handle,
        status: AckStatus::Ok,
        seq: 7,
    };
    let payload = [ack(1).encode(), ack(2).encode()].concat();
    let message = arrives(Kind::Ack, &payload);
    for len in 0..message.len() {
        assert_eq!(leading_acks(&message[..len], true), None, "{len} bytes");
    }
    assert_eq!(leading_acks(&message, true), Some(&payload[..]));
    let two = [message.clone(), arrives(Kind::Ack, &ack(3).encode())].concat();
    assert_eq!(leading_acks(&two, true), Some(&payload[..]));
    let other = [arrives(Kind::Ping, &[]), message].concat();
    assert_eq!(leading_acks(&other, true), None);
}

#[test]
fn damaged_confirmations_are_left_to_whoever_tells_of_it() {
    let message = arrives(Kind::Ack, &[1; ACK_LEN]);
    for at in 0..message.len() {
        let mut damaged = message.clone();
        damaged[at] ^= 1;
        assert_eq!(leading_acks(&damaged, true), None, "byte {at}");
    }
    // Without checksums it is the header alone that can be relied on.
    let header = Header {
        len: u32::try_from(ACK_LEN).unwrap(),
        ..Header::new(Kind::Ack)
    };
    let unchecked = [&header.encode()[..], &[2; ACK_LEN]].concat();
    assert_eq!(leading_acks(&unchecked, false), Some(&[2; ACK_LEN][..]));
    assert_eq!(leading_acks(&unchecked, true), None);
}
