// SPDX-License-Identifier: GPL-2.0

//! The target in a pause: its device appears, what is written to it is remembered, and told to the source before
//! replication goes on.

use super::{
    link_error::{LinkError, LinkResult},
    target::{RecentMap, TargetLeg},
    target_apply::Conn,
    target_receive::reply,
};
use crate::meta::maps::PEER;
use crate::sys::misc;
use crate::volume::{device_name, FrontDisk, Running, Volume};
use kernel::prelude::*;
use netraid_core::{
    legs::{LegNumber, LegSet},
    meta::PeerFlags,
    name::Text,
    wire::{Flags, Header, Kind, Reply, MAP_MAX_WORDS},
};

/// How long a look at a new device may take; shorter than any timeout of a connection, whose messages wait meanwhile.
const GLANCE_MS: u64 = 150;

/// The device of a pause. After the pause only the map is kept, until the source has it.
pub(crate) struct Paused {
    // The device goes before what is behind it.
    pub(crate) front: Option<FrontDisk>,
    pub(crate) running: Running,
}

impl Paused {
    /// How many have the device open; `None` after the pause.
    pub(super) fn opens(&self) -> Option<u32> {
        self.front.as_ref().map(FrontDisk::open_count)
    }

    /// Chunks written to here.
    pub(super) fn written_chunks(&self) -> u64 {
        self.running.volume.counters(LegNumber::FIRST).dirty_chunks
    }
}

/// The source pauses: everything it sent has been confirmed.
pub(super) fn pause(leg: &TargetLeg, conn: &Conn) -> LinkResult {
    if !conn.drain() {
        return Err(LinkError::Closed);
    }
    let usable = !leg.is_unusable();
    keep_pause(leg, true)?;
    let wanted = {
        let inner = leg.inner.lock();
        // A copy in the middle of a resync is no use to anybody.
        usable && inner.paused.as_ref().is_none_or(|paused| paused.front.is_none())
    };
    let answer = if wanted { open(leg, conn) } else { Ok(()) };
    leg.change(|inner| {
        inner.pause = true;
        inner.end_resync();
        inner.reason = match &answer {
            Ok(()) => Text::truncated("replication is paused by the operator of the source"),
            Err(reason) => *reason,
        };
    });
    // The pause stands even if the device could not be made; the reason is shown here.
    reply(conn, Kind::Pause, &Reply::OK)
}

/// A pause outlives a restart of this machine: its device is not written to by the source until the operator says so.
fn keep_pause(leg: &TargetLeg, paused: bool) -> LinkResult {
    let known = leg
        .store
        .with(|sb| sb.peers.get(PEER).map(|peer| peer.flags.contains(PeerFlags::PAUSED)));
    if known == Some(paused) {
        return Ok(());
    }
    leg.store
        .change(|sb| {
            if let Some(peer) = sb.peers.get_mut(PEER) {
                peer.flags.set(PeerFlags::PAUSED, paused);
            }
        })
        .map_err(LinkError::Record)
}

fn open(leg: &TargetLeg, conn: &Conn) -> core::result::Result<(), Text> {
    // What is written here from now on no other target is sent.
    leg.with_recent(RecentMap::forget);
    let failed = |error: Error| {
        let errno = -error.to_errno();
        Text::format(format_args!(
            "the device of the pause could not be made (error {errno})"
        ))
    };
    // What an earlier pause left to be told is kept.
    let kept = leg.inner.lock().paused.take();
    let running = match kept {
        Some(kept) => kept.running,
        None => Volume::new(
            leg.lower.clone(),
            conn.geometry,
            leg.store.clone(),
            LegSet::of(LegNumber::FIRST),
        )
        .and_then(Running::start)
        .map_err(failed)?,
    };
    let name = device_name(leg.config.node.mirror_id);
    let front = FrontDisk::new(name.as_str(), running.volume.clone());
    let (front, result) = match front {
        Ok(front) => (Some(front), Ok(())),
        Err(error) => (None, Err(failed(error))),
    };
    leg.inner.lock().paused = Some(Paused { front, running });
    result
}

/// Gives those who have only had a look at the device the time to close it: the kernel, which reads its partition table and
/// lets go of it a little later, and udev.
fn await_glances(leg: &TargetLeg) {
    let until = misc::now_ms().saturating_add(GLANCE_MS);
    while leg.device_opens().is_some_and(|opens| opens > 0) && misc::now_ms() < until {
        misc::sleep_ms(10);
    }
}

/// The source goes on: gives the device up and tells what was written to it.
pub(super) fn resume(leg: &TargetLeg, conn: &Conn) -> LinkResult {
    await_glances(leg);
    let front = {
        let mut inner = leg.inner.lock();
        let refused = match inner.paused.as_mut() {
            None => Ok(None),
            Some(paused) => match paused.front.as_ref().map_or(Ok(()), |front| front.close(false)) {
                Ok(()) => Ok(paused.front.take()),
                Err(opens) => Err(opens),
            },
        };
        match refused {
            Ok(front) => front,
            Err(opens) => {
                drop(inner);
                let name = device_name(leg.config.node.mirror_id);
                let reason = Text::format(format_args!(
                    "/dev/{name} is in use on {} ({opens} open); unmount it there, then resume again",
                    leg.config.node.name
                ));
                return reply(conn, Kind::Resume, &Reply::refused(reason));
            }
        }
    };
    // Takes the device away and waits for its last I/O.
    drop(front);
    keep_pause(leg, false)?;
    leg.change(|inner| inner.pause = false);
    reply(conn, Kind::Resume, &Reply::OK)?;
    send_map(leg, conn)
}

fn send_map(leg: &TargetLeg, conn: &Conn) -> LinkResult {
    let (volume, tells_recent) = {
        let inner = leg.inner.lock();
        let volume = inner.paused.as_ref().map(|paused| paused.running.volume.clone());
        (volume, inner.tells_recent)
    };
    let tells = volume.is_some() || tells_recent;
    let words = if tells { conn.geometry.words() } else { 1 };
    let most = words.min(MAP_MAX_WORDS);
    let nothing = |error: kernel::alloc::AllocError| LinkError::Io(error.into());
    let mut part = KVVec::from_elem(0_u64, most, GFP_KERNEL).map_err(nothing)?;
    let mut bytes = KVVec::from_elem(0_u8, most.saturating_mul(8), GFP_KERNEL).map_err(nothing)?;
    let mut first = 0;
    while first < words {
        let count = most.min(words.saturating_sub(first));
        let Some(part) = part.get_mut(..count) else { break };
        match &volume {
            Some(volume) => volume.own_words(LegNumber::FIRST, first, part),
            None => part.fill(0),
        }
        if tells_recent {
            leg.with_recent(|recent| {
                for (index, word) in (first..).zip(part.iter_mut()) {
                    *word |= recent.word(index);
                }
            });
        }
        for (to, word) in bytes.chunks_exact_mut(8).zip(part.iter()) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        let mut header = Header::new(Kind::Map);
        header.offset = first as u64;
        header.span = count as u64;
        first = first.saturating_add(count);
        header.flags = Flags::NONE.with(Flags::LAST, first >= words);
        let Some(data) = bytes.get(..count.saturating_mul(8)) else {
            break;
        };
        conn.link.send_bytes(header, data)?;
    }
    Ok(())
}
