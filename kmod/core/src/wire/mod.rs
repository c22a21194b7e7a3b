// SPDX-License-Identifier: GPL-2.0

//! The protocol between source and target, major version 1.
//!
//! A connection carries messages in both directions. Each is a header of 48 bytes, little-endian,
//! and a payload of the length the header names:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | magic, the letters `NRD1` |
//! | 4 | 1 | kind ([`Kind`]) |
//! | 5 | 1 | flags ([`Flags`]) |
//! | 6 | 2 | major version of the protocol, 1 |
//! | 8 | 4 | length of the payload in bytes |
//! | 12 | 4 | handle: returned in the acknowledgement of the message |
//! | 16 | 8 | sequence number of the request |
//! | 24 | 8 | offset in bytes on the device |
//! | 32 | 8 | span: bytes of the device that the operation covers |
//! | 40 | 4 | CRC-32C of the payload, 0 where there is none or it is not agreed on |
//! | 44 | 4 | CRC-32C of the 44 bytes before it |
//!
//! A receiver reads exactly [`HEADER_LEN`] bytes, calls [`Header::decode`], calls
//! [`Header::check_bounds`], and then reads exactly `len` bytes. After an error it closes the
//! connection: there is no way to find the next header.
//!
//! | kind | number | sender | payload | offset, span |
//! |---|---|---|---|---|
//! | Hello | 1 | source, or who asks | [`Hello`] | |
//! | Welcome | 2 | target, or who is asked | [`Welcome`] | |
//! | Refuse | 3 | target | [`Refuse`] | |
//! | Write | 4 | source | the data | where it goes |
//! | Flush | 5 | source | | |
//! | Discard | 6 | source | | what is discarded |
//! | Zeroes | 7 | source | | what is zeroed |
//! | Ack | 8 | target | 1 to 64 [`Ack`] | |
//! | Ping, Pong | 9, 10 | both | | |
//! | ResyncStart | 11 | source | | offset: the generation the target takes; span: bytes to be copied |
//! | ResyncDone | 12 | source | | offset: the generation the target then holds |
//! | Pause, Resume | 13, 14 | source | | |
//! | Reply | 15 | both | [`Reply`]; handle: the kind of the message answered | |
//! | Map | 16 | target | words of a map | first word, number of words |
//! | Bye | 17 | both | | |
//! | Read | 18 | source | | what is read |
//! | ReadReply | 19 | target | the data, nothing where it could not be read | where it is from; handle and sequence number are those of the Read |
//! | Takeover | 20 | target | | |
//! | Compare | 21 | source | SHA-256 of the data | where it is |
//! | Settled | 22 | source | | offset: the number of the mark before which all is settled, 0 for none; span: the number of this one |
//!
//! A Compare is acknowledged with [`AckStatus::Ok`] where the disk of the target holds data of this
//! digest, with [`AckStatus::Differs`] where it does not; a Write of the same range follows then.
//!
//! Read and ReadReply need [`features::READ`]. A source asks only a target to which it has sent a
//! ResyncDone on the same connection, and only for what it has no unconfirmed write for; it has at
//! most [`rescue::MOST`](crate::rescue::MOST) reads without an answer. Answers come in any order.
//!
//! A Settled marks a place in the stream, and says of an earlier one that what was sent before it is on every other
//! target that holds the same generation. What that is for is told in [`crate::recent`]. It needs
//! [`features::RECENT`], and is sent only after a ResyncDone on the same connection.
//!
//! # Order
//!
//! A target may begin requests in any order, and have many of them under way; a source has no two under way that
//! overlap, unless one of them is ordered after the other by a barrier. A Write, Flush, Discard or Zeroes with
//! [`Flags::BARRIER`] is begun only when every Write, Flush, Discard and Zeroes that arrived before it on this
//! connection has ended on the disk; what arrives after it is begun after it, or with it. One connection carries
//! everything that is sent to a target, in the order in which it was begun. So a flag says enough, and epochs need no
//! number; with several connections they would. When a request has failed, a target fails the next one with a barrier
//! and all that follow it, and its disk is not touched. The flag needs [`features::BARRIER`], which a source offers
//! when its leg is asynchronous; such a source uses no target that does not know it. Why that keeps the order of the
//! application is told in [`crate::epoch`].
//!
//! # Flushes
//!
//! A Flush is acknowledged when all that was confirmed before it is on stable storage. A target whose disk has no cache
//! that loses anything with its power has that at any time, and says so with [`features::DURABLE`]: a flush of the
//! application is not sent to it, and has nothing to wait for, since on a synchronous leg it can only be about what was
//! confirmed. The target looks at its disk whenever it confirms, and rather gives the connection up than confirm something
//! that could be lost; on the next connection it does not say so any more. A Write keeps its flags in any case.
//!
//! # Checksums
//!
//! The header always carries its own checksum, so a message without a payload is always covered. That of
//! the payload is the lower half of its XXH64 ([`checksum`](crate::xxh64::checksum)). It is filled in by
//! the sender of a message of the handshake, before anything is agreed on, and by both sides in every message from the handshake on if both have
//! [`features::PAYLOAD_CHECKSUM`]. A receiver checks it before it uses a byte of the payload: always if
//! that is agreed on, else where it is not 0, which is what those send who do not know it
//! ([`Header::has_payload_checksum`]). What does not match was damaged on its way. The receiver gives the
//! connection up, as after any other error; a target first says what it found in a Reply with the
//! kind of the damaged message as handle, so that the source's operator is told, too.
//!
//! # Versions
//!
//! Another major version is refused by name, before anything else of the header is believed.
//! Minor versions only append: a payload of the handshake may be longer than known here, never
//! shorter than that of minor version 0, and what one side did not send is zero. What changes the
//! messages after the handshake is used only after both sides offered the feature bit for it
//! ([`features`]).
//!
//! | minor | new |
//! |---|---|
//! | 0 | |
//! | 1 | Hello and Welcome carry all generations, roles and flags of both sides; Takeover |

pub(crate) mod codec;
mod error;
mod greeting;
mod header;
mod hello;
mod kind;
mod message;
mod refuse;
mod welcome;

pub use error::WireError;
pub use greeting::{HelloFlags, WelcomeFlags};
pub use header::Header;
pub use hello::{Hello, HELLO_LEN, HELLO_MIN_LEN};
pub use kind::{Flags, Kind};
pub use message::{leading_acks, map_words, Ack, AckStatus, Reply, ReplyStatus};
pub use message::{ACKS_MAX, ACK_LEN, DIGEST_LEN, MAP_MAX_LEN, MAP_MAX_WORDS, REPLY_MAX_LEN, REPLY_MIN_LEN};
pub use refuse::{Refuse, RefuseCode, REFUSE_MAX_LEN, REFUSE_MIN_LEN};
pub use welcome::{Welcome, WELCOME_LEN, WELCOME_MIN_LEN};

/// The first four bytes of every header.
pub const MAGIC: [u8; 4] = *b"NRD1";

/// Major version of the protocol, in every header. Another one cannot be understood.
pub const VERSION: u16 = 1;

/// Minor version of the protocol, in the handshake. A higher one only adds.
pub const VERSION_MINOR: u16 = 1;

/// Bytes of a header.
pub const HEADER_LEN: usize = 48;

/// Most bytes of data in one message (1 MiB).
pub const MAX_PAYLOAD: u32 = 1 << 20;

/// Most bytes of a payload of the handshake or of a reply, with room for what later versions append.
pub const MAX_CONTROL: u32 = 4096;

/// The identity of a mirror, a machine, or one run of the module on a machine: 16 random bytes.
pub type Id = [u8; 16];

/// No identity.
pub const NO_ID: Id = [0; 16];

/// What both sides must offer in the handshake before either uses it.
pub mod features {
    /// The payload checksum of the header is filled in and checked.
    pub const PAYLOAD_CHECKSUM: u64 = 1 << 0;
    /// What this version offers, unless an operator wants less.
    pub const SUPPORTED: u64 = PAYLOAD_CHECKSUM | READ | COMPARE | BARRIER | RECENT | DURABLE;
    /// Reserved: payloads compressed with lz4.
    pub const LZ4: u64 = 1 << 1;
    /// Reserved: payloads compressed with zstd.
    pub const ZSTD: u64 = 1 << 2;
    /// Reserved: each side proves that it knows a shared secret.
    pub const AUTHENTICATION: u64 = 1 << 3;
    /// Reserved: TLS.
    pub const TLS: u64 = 1 << 4;
    /// The source may read data from the target.
    pub const READ: u64 = 1 << 5;
    /// Not used: generations are in the handshake since minor version 1, without a feature.
    pub const GENERATIONS: u64 = 1 << 6;
    /// Reserved: several streams for one leg.
    pub const STREAMS: u64 = 1 << 7;
    /// Chunks that may well be the same are compared before they are copied: Compare.
    pub const COMPARE: u64 = 1 << 8;
    /// Requests are ordered by [`Flags::BARRIER`](super::Flags::BARRIER); offered where the leg is asynchronous.
    pub const BARRIER: u64 = 1 << 9;
    /// The target remembers what it was sent of late: Settled.
    pub const RECENT: u64 = 1 << 10;
    /// What the target confirms is on stable storage; offered where the leg is synchronous.
    pub const DURABLE: u64 = 1 << 11;
}
