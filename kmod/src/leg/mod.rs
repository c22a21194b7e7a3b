// SPDX-License-Identifier: GPL-2.0

//! Legs: the connections of a mirror to other machines.
//!
//! On the source, [`SourceLeg`] connects out, greets, sends writes and takes in confirmations; what it does next is
//! decided by [`netraid_core::leg::Machine`]. On the target, [`TargetLeg`] accepts one source, writes what arrives to
//! its disk and confirms. All mirrors that listen at the same port share a [`reception`]. [`Link`] is what both have in
//! common: a connection on which messages travel and silence is noticed.
//!
//! A source's leg has a thread that sends and one that receives. Neither is woken where an application waits for each of
//! its writes before it makes the next: it sends them itself ([`Courier`](crate::volume::Courier)), and confirmations are
//! taken in as they arrive ([`attention`]).
//!
//! # Locks
//!
//! A leg's own mutex is taken for short times and never while waiting for the network. Under it the volume's lock may
//! be taken, never the other way round. Events are reported with no lock held. Whoever sends on a source's leg has its
//! turn, which is taken before the lock of the connection and never together with the leg's mutex. Confirmations may be
//! taken in under the lock of the socket, which is taken last of all that may sleep.

mod accept;
mod ask;
mod attention;
mod door;
mod greeting;
mod link;
mod link_error;
mod reception;
mod source;
mod source_connect;
mod source_handle;
mod source_receive;
mod source_send;
mod source_status;
mod source_takeover;
mod source_watch;
mod status;
mod target;
mod target_accept;
mod target_apply;
mod target_compare;
mod target_confirm;
mod target_fetch;
mod target_io;
mod target_pause;
mod target_receive;
mod target_takeover;

pub(crate) use ask::{ask, Question};
pub(crate) use door::{Door, DoorConfig};
pub(crate) use greeting::{generations_for_peer, DiskFacts};
pub(crate) use link::Link;
pub(crate) use reception::prepare_receptions;
pub(crate) use source::{SourceConfig, SourceLeg};
pub(crate) use source_handle::SourceHandle;
pub(crate) use status::{LegStatus, Node, Observer, Report, ResyncStatus, Timing, Unconfirmed};
pub(crate) use target::{Promotion, RecentMap, TargetConfig, TargetHandle, TargetLeg};
pub(crate) use target_pause::Paused;
