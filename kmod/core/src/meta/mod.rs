// SPDX-License-Identifier: GPL-2.0

//! What a mirror remembers across restarts: the format of its metadata, version 1.
//!
//! Metadata is two superblocks and sixteen maps, made of blocks of [`BLOCK_LEN`] bytes, which are
//! made of sectors of [`SECTOR_LEN`] bytes. A sector is the unit that reaches a disk whole or not
//! at all; each carries a checksum of its own. Numbers are little-endian. Bytes that are not named
//! here are reserved: written as zero, not looked at when read.
//!
//! # Where it is
//!
//! | place | superblocks 0 and 1 | map 0, map 1, ... map 15, one after the other |
//! |---|---|---|
//! | [`Place::Start`]: a file or a block device of its own | at 0 and 4096 | from 8192 on |
//! | [`Place::End`]: the end of the mirrored disk | its last but one and its last whole block | right before the superblocks, after the mirror |
//!
//! A map has one bit for each chunk, in blocks of [`BLOCK_WORDS`] words, the last one with room to
//! spare; [`Layout`] has the arithmetic. Metadata of a mirror with [`MetaFlags::NO_BITMAP`] ends
//! with the superblocks.
//!
//! # Superblock
//!
//! Sector 0 is the mirror, sectors 1 to 7 are a peer each, in slots 0 to 6. Every sector:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | magic, the letters `NRMD` |
//! | 4 | 2 | version of the format, 1 |
//! | 6 | 2 | position of the sector in its block, 0 to 7 |
//! | 8 | 8 | sequence number of the superblock, the same in all its sectors |
//! | 508 | 4 | CRC-32C of the 508 bytes before it, with the position as its seed |
//!
//! Sector 0, the mirror:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 16 | 8 | features without which the metadata cannot be understood; 0 in this version |
//! | 24 | 4 | CRC-32C of the seven checksums of sectors 1 to 7, in their order |
//! | 28 | 1 | bytes of the name |
//! | 29 | 1 | bytes of the name for other machines, 0 where it is the same |
//! | 32 | 8 | set: which maps belong to this superblock |
//! | 40 | 16 | identity of the mirror, 0 while a target does not know it |
//! | 56 | 16 | identity of this machine |
//! | 72 | 8 | size of the mirror in bytes, 0 while a target does not know it |
//! | 80 | 4 | chunk size in bytes, 0 while a target does not know it |
//! | 84 | 4 | role ([`Role`](crate::state::Role)) |
//! | 88 | 4 | flags ([`MetaFlags`]) |
//! | 92 | 4 | most operations an asynchronous leg may have outstanding |
//! | 96 | 8 | most bytes a second that a resync copies, 0 for no limit |
//! | 104 | 8 | current generation, 0 where the disk holds no data of the mirror |
//! | 112 | 64 | eight older generations, the newest first |
//! | 176 | 4 | number of the block device |
//! | 180 | 2 | priority of this machine, 0 where it was not given one |
//! | 192 | 64 | name of the mirror on this machine, padded with zeroes |
//! | 256 | 64 | its name for other machines, padded with zeroes |
//!
//! Sectors 1 to 7, the peers:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 32 | 16 | identity of the machine, 0 where the slot is free |
//! | 48 | 16 | instance: the run of the module there that was last seen |
//! | 64 | 8 | base generation, 0 where the peer is in step with this machine |
//! | 72 | 4 | flags ([`PeerFlags`]) |
//! | 76 | 4 | replication ([`Replication`](crate::state::Replication)) |
//! | 80 | 4 | interface index of a link-local address |
//! | 84 | 4 | heartbeat in milliseconds |
//! | 88 | 4 | timeout in milliseconds |
//! | 92 | 2 | TCP port |
//! | 94 | 1 | bytes of the address: 0, 4 or 16 |
//! | 95 | 1 | bytes of the name |
//! | 96 | 16 | address |
//! | 112 | 64 | name of the machine, padded with zeroes |
//! | 176 | 2 | its priority, 0 where none is known |
//!
//! # Map
//!
//! Every sector of a map block holds [`SECTOR_WORDS`] words, 3840 chunks. Bit `n` of a map is bit
//! `n % 64`, the least significant first, of word `n / 64`.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | CRC-32C of the 508 bytes after it |
//! | 4 | 2 | number of the map |
//! | 8 | 8 | index of the sector in its map |
//! | 16 | 8 | set of the superblock it belongs to |
//! | 32 | 480 | words |
//!
//! | map | a bit says |
//! |---|---|
//! | 0 ([`MAP_INTENT`]) | the chunk may be in flight, or not yet on stable storage everywhere |
//! | 1 to 7 ([`map_of_peer`]) | the peer in slot 0 to 6 misses the chunk; without any peer, map 1 is kept for the next one |
//! | 8 ([`MAP_WRITTEN`]) | the chunk was ever written (only for mirrors with [`MetaFlags::NEW`]) |
//! | 9 to 15 | spare |
//!
//! # Changing it
//!
//! A changed superblock has the next sequence number and goes to the place of the older one, so
//! that a write that is cut off leaves the other one as it was; [`choose`] finds the newest whole
//! one. Sequence numbers may wrap around. The checksum in sector 0 over the other sectors keeps
//! the remains of two such writes, which had the same number, from passing for one. Whoever makes
//! metadata anew takes a random set and writes both superblocks and all the maps in use.
//!
//! A map is changed in place, block by block.
//!
//! # Damage
//!
//! * A sector whose checksum, position or sequence number is wrong makes its superblock
//!   [`MetaError::Damaged`], and the other one counts. Whoever goes on with the other one treats
//!   that as a start after a crash.
//! * A map sector whose checksum, number, index or set is wrong reads as all ones: everything it
//!   describes counts as marked. That holds for a torn sector, one that was never written, and
//!   one that is left from older metadata. The sectors beside it keep their meaning.
//! * A block that is all zeroes is [`MetaError::Blank`]; one without the magic in any of its
//!   sectors is [`MetaError::NotMetadata`]. Neither is ever written to without being asked for.
//!
//! # Versions
//!
//! Magic, version, features and checksum of sector 0 stay where they are in every version. A
//! higher version, or a feature bit that is not known, refuses the whole metadata, also where
//! the other superblock is of a known version. What may be ignored without harm becomes a flag or
//! a reserved field and leaves the version as it is: flags that are not known are kept, reserved
//! bytes are zero after the next change.
//!
//! # Room
//!
//! * Named checkpoints: their maps are 9 to 15; that of map `8 + n` is described in bytes 192 to
//!   507 of sector `n` of the superblock.
//! * More peers: their sectors follow in blocks behind the last map (before the first one at the
//!   end of a disk), their maps are the spare ones; this needs a feature bit.
//! * A larger device has longer maps in other places. Whoever lengthens it writes the maps anew
//!   with a new set, then the superblock that names that set; until then, a crash leaves maps of
//!   another set, hence all ones.

mod error;
mod flags;
mod layout;
mod map;
mod peer;
pub mod places;
pub mod priorities;
mod superblock;

pub use error::{LayoutError, MetaError};
pub use flags::{MetaFlags, PeerFlags};
pub use layout::{Layout, Place};
pub use map::{decode_map_block, encode_map_block};
pub use peer::Peer;
pub use superblock::{choose, effective_async_limit, Superblock};

/// The first four bytes of every sector of a superblock.
pub const MAGIC: [u8; 4] = *b"NRMD";

/// Version of the format.
pub const VERSION: u16 = 1;

/// Bytes of a superblock, and of a block of a map.
pub const BLOCK_LEN: usize = 4096;

/// Bytes of a sector.
pub const SECTOR_LEN: usize = 512;

/// Slots for peers.
pub const PEERS: usize = 7;

/// Slots for maps.
pub const MAPS: usize = 16;

/// Slot of the map of chunks that may be in flight.
pub const MAP_INTENT: usize = 0;

/// Slot of the map of chunks that were ever written.
pub const MAP_WRITTEN: usize = 8;

/// Words of a map in one sector.
pub const SECTOR_WORDS: usize = 60;

/// Words of a map in one block.
pub const BLOCK_WORDS: usize = 480;

/// Older generations that a superblock remembers.
pub const HISTORY: usize = 8;

/// Largest size of a mirror in bytes (1 EiB), which no [`Geometry`](crate::chunk::Geometry)
/// exceeds either.
pub const MAX_SIZE: u64 = 1 << 60;

/// What [`Superblock::async_limit`] means where it is not above 2.
pub const DEFAULT_ASYNC_LIMIT: u32 = 256;

/// Most operations that an asynchronous leg may have outstanding: each keeps its place in the source's table, and in
/// the target's, until it is confirmed.
pub const MAX_ASYNC_LIMIT: u32 = 4096;

/// Slot of the map of chunks that the peer in a slot misses: 1 to 7. A slot that does not exist
/// counts as the last one.
#[must_use]
pub const fn map_of_peer(slot: usize) -> usize {
    if slot < PEERS {
        slot.saturating_add(1)
    } else {
        PEERS
    }
}
