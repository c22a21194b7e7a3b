// SPDX-License-Identifier: GPL-2.0

//! Everything in netraid that decides.
//!
//! netraid keeps a local disk, block by block, on the disks of other machines. The kernel module
//! does the work: it owns threads, locks, sockets and disks. What is to be done is decided here,
//! in plain functions over plain values, so that it can be tested on any machine without a kernel.
//!
//! | module | decides |
//! |---|---|
//! | [`chunk`] | how a disk is divided into the chunks that the maps speak of |
//! | [`bitmap`] | which chunks are marked |
//! | [`marks`], [`intent`] | which marks are on the disk, which have to be written, and when they may go |
//! | [`inflight`] | which of several overlapping requests goes first |
//! | [`fifo`], [`request`] | in which order requests go out, and when one is done |
//! | [`wire`] | how a message looks on the network, and which ones are refused |
//! | [`generation`] | how two copies are related: the same, older, newer, forked |
//! | [`ownership`] | which machine may be the source |
//! | [`handshake`] | whether two machines belong together, and what has to be copied |
//! | [`leg`] | what one side of a connection does next |
//! | [`legs`] | which of several legs |
//! | [`local`], [`rescue`] | what happens when the disk of the source fails |
//! | [`resync`], [`pace`] | what is copied next, how far it is, how long it takes, how fast it may go |
//! | [`solo`] | whether an application writes one at a time |
//! | [`backoff`] | how long to wait before the next attempt to connect |
//! | [`epoch`], [`lag`], [`behind`] | in which order an asynchronous leg follows, how far behind it may be, what happens beyond |
//! | [`state`] | the states a leg and a machine can be in |
//! | [`priority`] | in which order the machines are meant to take over |
//! | [`meta`] | what is remembered across restarts, and how it looks on a disk |
//! | [`name`] | which names are allowed; short texts without allocation |
//! | [`crc32c`](mod@crc32c), [`units`] | checksums and sizes |
//!
//! # Rules of this crate
//!
//! * It has no clock, no I/O, no locks, no allocation and no `unsafe`. Time and random numbers are
//!   arguments; memory comes from the caller.
//! * Nothing here panics on anything that comes from outside. The kernel is built with overflow
//!   checks and a panic there stops the machine, so arithmetic says what happens at its limits
//!   and slices are taken apart without indexing. The lints below hold the crate to it.
//! * It builds with rustc 1.85, both with cargo and with the kernel's own flags.

#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]
// Tests may be short where a panic is just what they want.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

pub mod ahead;
pub mod backoff;
pub mod behind;
pub mod bitmap;
pub mod chunk;
pub mod crc32c;
pub mod epoch;
pub mod fifo;
pub mod followers;
pub mod generation;
pub mod handshake;
pub mod inflight;
pub mod intent;
pub mod lag;
pub mod leg;
pub mod legs;
pub mod local;
pub mod marks;
pub mod meta;
pub mod name;
pub mod ownership;
pub mod pace;
pub mod priority;
pub mod recent;
pub mod request;
pub mod rescue;
pub mod resync;
pub mod solo;
pub mod state;
pub mod turns;
pub mod units;
pub mod wire;
pub mod xxh64;
