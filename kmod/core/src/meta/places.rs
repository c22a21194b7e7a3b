// SPDX-License-Identifier: GPL-2.0

//! Which machine is noted in which of the seven places of the superblock.
//!
//! A source has a place for each of its targets. A target notes its source in the first place, and in the others the
//! machines that will be its own targets once it is the source: those that were before, those that were a source before,
//! and those that an operator [prepared](prepare). So whoever becomes source knows where the others are, and each pair of
//! machines has its own address and type.

use super::{Peer, PeerFlags, PEERS};
use crate::legs::{LegNumber, LegSet};
use crate::state::Replication;
use crate::wire::Id;

/// Why a machine can't be noted as a future target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrepareError {
    /// It is the source, in the first place.
    IsSource,
    /// All places are taken.
    Full,
}

/// The place for a future target of this target: the one in which its address is noted already, else a free one.
///
/// # Errors
///
/// [`PrepareError`].
pub fn prepare(peers: &[Peer; PEERS], ip: &[u8], port: u16) -> Result<LegNumber, PrepareError> {
    let there = |peer: &Peer| is_at(peer, ip) && peer.port == port;
    if peers.first().is_some_and(there) {
        return Err(PrepareError::IsSource);
    }
    position_behind_first(peers, there)
        .or_else(|| position_behind_first(peers, |peer| !is_taken(peer)))
        .and_then(LegNumber::new)
        .ok_or(PrepareError::Full)
}

/// A target has a source, which connected from `ip`; true where the last one was the same machine. The first place is for
/// that source from now on: what was noted of it elsewhere moves there, and who was there makes room, as long as there is
/// any. What else is noted of the others is of the past: the source has what they missed, and marks it itself.
///
/// What this machine lost with its power the source before had marked, and another one has not. So, if it `holds` something,
/// its marks say nothing of what a new source has, should it become the source itself before it is [in step](in_step).
pub fn note_source(peers: &mut [Peer; PEERS], source: &Id, ip: &[u8], holds: bool) -> bool {
    let last = peers
        .first()
        .is_some_and(|peer| !peer.is_free() && peer.uuid == *source);
    let was_unknown = peers
        .first()
        .is_some_and(|peer| peer.flags.contains(PeerFlags::UNKNOWN));
    let known = peers.iter().position(|peer| !peer.is_free() && peer.uuid == *source);
    let prepared = |peer: &Peer| peer.is_free() && is_at(peer, ip);
    let place = known
        .or_else(|| position_behind_first(peers, prepared))
        .or_else(|| position_behind_first(peers, |peer| !is_taken(peer)));
    if let Some(place) = place {
        peers.swap(0, place);
    }
    for peer in peers.iter_mut() {
        peer.flags = peer.flags.without(PeerFlags::RECENT).without(PeerFlags::UNKNOWN);
    }
    if let Some(first) = peers.first_mut() {
        first.flags.set(PeerFlags::UNKNOWN, holds && (was_unknown || !last));
    }
    for peer in peers.iter_mut().skip(1) {
        peer.base = 0;
        peer.flags = peer
            .flags
            .without(PeerFlags::PAUSED)
            .without(PeerFlags::FULL)
            .without(PeerFlags::FOLLOWING);
    }
    last
}

/// A target has, or is about to get, all that its source has: what it marked itself the source has marked.
pub fn in_step(peers: &mut [Peer; PEERS]) {
    if let Some(source) = peers.first_mut() {
        source.base = 0;
        source.flags = source.flags.without(PeerFlags::PAUSED).without(PeerFlags::UNKNOWN);
    }
}

/// Whether a target has nothing to note when it is [in step](in_step).
#[must_use]
pub fn is_in_step(peers: &[Peer; PEERS]) -> bool {
    let open = PeerFlags::PAUSED.with(PeerFlags::UNKNOWN, true);
    let settled = |source: &Peer| source.base == 0 && source.flags == source.flags.without(open);
    peers.first().is_none_or(settled)
}

/// A target becomes source. The first place is that of its source, whose marks are its own; what is on record of what the
/// others miss is of the time when this machine was source before.
pub fn forget_marks(peers: &mut [Peer; PEERS]) {
    for peer in peers.iter_mut().skip(1).filter(|peer| is_taken(peer)) {
        peer.flags = peer.flags.without(PeerFlags::RECENT).with(PeerFlags::UNKNOWN, true);
    }
}

/// Whether an asynchronous target is among those that a target will have as source.
#[must_use]
pub fn has_asynchronous(peers: &[Peer; PEERS]) -> bool {
    let mut others = peers.iter().skip(1).filter(|peer| is_taken(peer));
    others.any(|peer| peer.replication == Replication::Asynchronous)
}

/// The places in which machines are noted that a source is connected to.
#[must_use]
pub fn taken(peers: &[Peer; PEERS]) -> LegSet {
    let all = LegNumber::all().zip(peers);
    all.filter(|(_, peer)| is_taken(peer)).map(|(leg, _)| leg).collect()
}

/// Whether a place is somebody's, be he only known by his address as yet.
fn is_taken(peer: &Peer) -> bool {
    !peer.is_free() || peer.port != 0
}

fn is_at(peer: &Peer, ip: &[u8]) -> bool {
    peer.port != 0 && !ip.is_empty() && peer.ip.get(..usize::from(peer.ip_len)) == Some(ip)
}

fn position_behind_first(peers: &[Peer; PEERS], wanted: impl Fn(&Peer) -> bool) -> Option<usize> {
    (1..PEERS).find(|place| peers.get(*place).is_some_and(&wanted))
}
