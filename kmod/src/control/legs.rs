// SPDX-License-Identifier: GPL-2.0

//! The operations of the family on the legs of a mirror, one function each.

use super::{
    leg_terms::{permits_asynchronous, Terms},
    mirror::Mirror,
    notify::{self, observe},
    operations::operate,
    prepared,
};
use crate::{
    leg::{SourceConfig, SourceHandle, SourceLeg, Timing},
    meta::{maps::LegMaps, Store},
    sys::{
        bind as uapi,
        genl::{Request, Writer},
        net::{Address, NetNs},
    },
    volume::Volume,
};
use kernel::{prelude::*, sync::Arc};
use netraid_core::{
    leg::Event,
    legs::{LegNumber, MAX_LEGS},
    meta::{effective_async_limit, places, priorities, MetaFlags, Peer, PeerFlags},
    name::Text,
    state::{Congestion, LegState, Replication},
};

/// Extends a mirror to another machine.
pub(super) fn leg_new(request: &Request<'_>) -> Result {
    operate!(request, mirror, operation);
    if mirror.with_source(|_| ()).is_none() {
        let place = prepared::note(request, &mirror)?;
        drop(operation);
        return reply_added(request, &mirror, place);
    }
    refuse_without_disk(request, &mirror, None, false)?;
    let terms = Terms::of(request, &mirror, permits_asynchronous(&mirror))?;
    let place = free_place(request, &mirror, &terms.address)?;
    let asked = terms.priority(request, &mirror, place)?;
    let no_full_sync = request.flag(uapi::NETRAID_A_MIRROR_NO_FULL_SYNC);
    make_room(request, &mirror, place)?;
    let noted = mirror.store().change(|sb| {
        sb.flags.set(
            MetaFlags::PREPARED,
            no_full_sync || sb.flags.contains(MetaFlags::PREPARED),
        );
        if let Some(peer) = sb.peers.get_mut(place.index()) {
            terms.put(peer);
        }
        let priority = asked.unwrap_or_else(|| priorities::next(sb, place));
        priorities::note(sb, place, priority);
    });
    noted.map_err(|error| mirror.unwritable(request, error))?;
    let leg = add_leg(&request.net()?, &mirror, place)?;
    drop(operation);
    let id = place.id();
    notify::tell(&mirror, uapi::NETRAID_EVENT_KIND_LEG_ADDED, Some(id), &Text::EMPTY);
    // Only now, so that nothing is told of a leg before it is added.
    leg.begin();
    reply_added(request, &mirror, place)
}

fn reply_added(request: &Request<'_>, mirror: &Mirror, place: LegNumber) -> Result {
    request.reply(uapi::NETRAID_CMD_LEG_NEW, |msg| {
        msg.text(uapi::NETRAID_A_MIRROR_NAME, mirror.name.as_str())?;
        msg.nest(uapi::NETRAID_A_MIRROR_LEG, |msg| {
            msg.u32(uapi::NETRAID_A_LEG_ID, place.id())
        })
    })
}

/// The place for a leg to an address.
fn free_place(request: &Request<'_>, mirror: &Mirror, address: &Address) -> Result<LegNumber> {
    let name = mirror.name;
    let taken = |leg: &Arc<SourceLeg>| (leg.number(), leg.address());
    let double = mirror
        .with_source(|source| source.legs.iter().map(taken).find(|(_, other)| other == address))
        .flatten();
    if let Some((leg, other)) = double {
        return Err(request.refuse(
            EEXIST,
            format_args!(
                "mirror '{name}' is extended to {other} already (leg {}); unextend that one first",
                leg.id()
            ),
        ));
    }
    let taken = mirror.store().with(|sb| places::taken(&sb.peers));
    LegNumber::all().find(|leg| !taken.contains(*leg)).ok_or_else(|| {
        request.refuse(
            E2BIG,
            format_args!("mirror '{name}' has {MAX_LEGS} targets, and can't have more; unextend one first"),
        )
    })
}

/// Has the volume mark what a new leg misses. Its first leg has a place there already. Of any other one nothing is known,
/// also where an operator prepared it: what was written since goes unmarked while the other legs have it. It is compared.
fn make_room(request: &Request<'_>, mirror: &Mirror, place: LegNumber) -> Result {
    let store = mirror.store();
    if store.with(|sb| places::taken(&sb.peers)).is_empty() {
        return Ok(());
    }
    let volume = mirror
        .with_source(|source| source.running.volume.clone())
        .ok_or(EINVAL)?;
    let maps = LegMaps::unknown(&store, &volume.geometry)?;
    volume
        .add_leg(place, maps)
        .map_err(|error| mirror.unwritable(request, error))
}

/// Has the legs of a source do as the metadata says.
pub(super) fn apply_async_limit(mirror: &Mirror) {
    let store = mirror.store();
    mirror.with_source(|source| {
        for leg in source.legs.iter() {
            set_limit(&source.running.volume, &store, leg.number());
        }
    });
}

fn set_limit(volume: &Volume, store: &Store, leg: LegNumber) {
    let limit = store.with(|sb| {
        let peer = sb.peers.get(leg.index());
        let asynchronous = peer.is_some_and(|peer| peer.replication == Replication::Asynchronous);
        asynchronous.then(|| effective_async_limit(sb.async_limit))
    });
    volume.set_asynchronous(leg, limit);
}

/// Legs that were added, and have still to begin.
pub(super) type Added = KVec<Arc<SourceLeg>>;

/// Has legs begin, after it was told that they are there.
pub(super) fn begin(legs: &Added) {
    for leg in legs {
        leg.begin();
    }
}

/// Gives a source the legs that its metadata describes; they begin with [`begin`].
pub(super) fn add_legs(net: &NetNs, mirror: &Mirror) -> Result<Added> {
    let mut added = Added::new();
    let wanted = mirror.store().with(|sb| places::taken(&sb.peers));
    for leg in wanted.iter() {
        let has_address = mirror
            .store()
            .with(|sb| sb.peers.get(leg.index()).is_some_and(|peer| peer.port != 0));
        if has_address {
            added.push(add_leg(net, mirror, leg)?, GFP_KERNEL)?;
        }
    }
    Ok(added)
}

/// Gives a source a leg that its metadata describes; it begins with [`SourceLeg::begin`].
fn add_leg(net: &NetNs, mirror: &Mirror, number: LegNumber) -> Result<Arc<SourceLeg>> {
    let store = mirror.store();
    let known = store.with(|sb| sb.peers.get(number.index()).map(Known::of));
    let Known {
        address,
        timing,
        paused,
        no_checksums,
        replication,
        congestion,
    } = known.ok_or(EINVAL)??;
    let config = SourceConfig {
        number,
        node: mirror.node(),
        listen_port: mirror.state.lock().listen.map_or(0, |(address, _)| address.port),
        address,
        timing,
        no_checksums,
        replication,
        congestion,
        net: net.clone(),
        observer: observe,
        handover: super::desk::asked_for,
    };
    let volume = mirror
        .with_source(|source| source.running.volume.clone())
        .ok_or(EINVAL)?;
    volume.forget_counters(number);
    set_limit(&volume, &store, number);
    volume.set_congestion(number, congestion);
    let handle = SourceHandle::start(config, volume)?;
    let leg = handle.leg.clone();
    if paused {
        leg.fire(Event::Pause, Some(Text::truncated(PAUSED)));
    }
    let old = mirror.with_source(|source| source.legs.put(number, Some(handle)));
    drop(old);
    Ok(leg)
}

/// Why a leg does not replicate in a pause.
const PAUSED: &str = "replication is paused by an operator";

/// Where a peer is, as the metadata says.
pub(super) struct Known {
    pub(super) address: Address,
    pub(super) timing: Timing,
    paused: bool,
    no_checksums: bool,
    replication: Replication,
    congestion: Congestion,
}

impl Known {
    /// `ENOENT` where the metadata knows no address.
    pub(super) fn of(peer: &Peer) -> Result<Self> {
        let ip = peer.ip.get(..usize::from(peer.ip_len)).ok_or(EINVAL)?;
        if peer.port == 0 {
            return Err(ENOENT);
        }
        Ok(Self {
            address: Address::new(ip, peer.port, peer.scope_id)?,
            timing: Timing {
                heartbeat_ms: peer.heartbeat_ms,
                timeout_ms: peer.timeout_ms,
            },
            paused: peer.flags.contains(PeerFlags::PAUSED),
            no_checksums: peer.flags.contains(PeerFlags::NO_CHECKSUMS),
            replication: peer.replication,
            congestion: if peer.flags.contains(PeerFlags::BEHIND) {
                Congestion::Behind
            } else {
                Congestion::Block
            },
        })
    }
}

pub(super) fn not_source(request: &Request<'_>, mirror: &Mirror) -> Error {
    request.refuse(
        EROFS,
        format_args!(
            "this machine is not the source of mirror '{}'; do it on the source",
            mirror.name
        ),
    )
}

/// Refuses what can't be done to a leg while the local disk is given up. `alone`: only to the last leg that is in step.
fn refuse_without_disk(request: &Request<'_>, mirror: &Mirror, leg: Option<LegNumber>, alone: bool) -> Result {
    let volume = mirror.with_source(|source| source.running.volume.clone());
    let refused = volume.is_some_and(|volume| match leg {
        Some(leg) if alone => volume.is_last_copy(leg),
        _ => volume.is_disk_gone(),
    });
    if !refused {
        return Ok(());
    }
    let name = mirror.name;
    Err(request.refuse(
        EBUSY,
        format_args!(
            "the disk of mirror '{name}' was given up on this machine, and its data is on the targets alone; `netraid-ctl switchover {name}` on one that is in step makes it the source"
        ),
    ))
}

/// Ends a leg, or forgets one that was noted for later.
pub(super) fn leg_del(request: &Request<'_>) -> Result {
    operate!(request, mirror, operation);
    if mirror.target().is_some() {
        let _place = prepared::forget(request, &mirror)?;
        drop(operation);
        return Ok(());
    }
    let leg = find_leg(request, &mirror)?;
    let number = leg.number();
    refuse_without_disk(request, &mirror, Some(number), true)?;
    let old = mirror.with_source(|source| source.legs.put(number, None));
    // Ends its threads, outside the short lock.
    drop(old);
    // What the machine there holds is of the past from now on, whatever is written here. On record before writes that
    // wait for the record of their loss may end.
    let forgotten = leg.volume.begin_generation(number, |sb| {
        sb.flags.set(MetaFlags::PREPARED, false);
        if let Some(peer) = sb.peers.get_mut(number.index()) {
            *peer = Peer::FREE;
        }
    });
    let forgotten = forgotten.and_then(|()| leg.volume.remove_leg(number));
    forgotten.map_err(|error| mirror.unwritable(request, error))?;
    drop(operation);
    notify::tell(
        &mirror,
        uapi::NETRAID_EVENT_KIND_LEG_DELETED,
        Some(number.id()),
        &Text::EMPTY,
    );
    Ok(())
}

/// The number of the leg a request speaks of.
pub(super) fn named_leg(request: &Request<'_>) -> Option<u32> {
    let nest = request.nest(uapi::NETRAID_A_MIRROR_LEG)?;
    nest.u32(uapi::NETRAID_A_LEG_ID)
}

/// The leg a request speaks of: the only one, if it names none.
fn find_leg(request: &Request<'_>, mirror: &Mirror) -> Result<Arc<SourceLeg>> {
    let name = mirror.name;
    let named = named_leg(request);
    let (found, several) = mirror
        .with_source(|source| {
            let named_one = |leg: &&Arc<SourceLeg>| named.is_none_or(|id| leg.number().id() == id);
            let mut all = source.legs.iter().filter(named_one).cloned();
            (all.next(), all.next().is_some())
        })
        .ok_or_else(|| not_source(request, mirror))?;
    if several {
        return Err(request.refuse(
            EINVAL,
            format_args!("mirror '{name}' has several targets; say which leg is meant"),
        ));
    }
    found.ok_or_else(|| {
        let id = named.unwrap_or(1);
        request.refuse(
            ENOENT,
            format_args!("mirror '{name}' has no network leg {id}; `netraid-ctl status` lists its legs"),
        )
    })
}

/// Pauses a leg.
pub(super) fn leg_pause(request: &Request<'_>) -> Result {
    operate!(request, mirror, operation);
    let leg = find_leg(request, &mirror)?;
    refuse_without_disk(request, &mirror, None, false)?;
    keep_pause(request, &mirror, leg.number(), true)?;
    // What both have by now need not be copied again, should the target be restarted in the pause. Where that can't be
    // made sure, it is.
    let _ = leg.volume.settle();
    leg.fire(Event::Pause, Some(Text::truncated(PAUSED)));
    drop(operation);
    Ok(())
}

/// Ends a pause.
pub(super) fn leg_resume(request: &Request<'_>) -> Result {
    operate!(request, mirror, operation);
    let leg = find_leg(request, &mirror)?;
    keep_pause(request, &mirror, leg.number(), false)?;
    let was_paused = leg.status().state == LegState::Paused;
    leg.fire(
        Event::Resume,
        was_paused.then(|| Text::truncated("replication is being resumed")),
    );
    drop(operation);
    Ok(())
}

/// A pause outlives a restart.
fn keep_pause(request: &Request<'_>, mirror: &Mirror, leg: LegNumber, paused: bool) -> Result {
    let changed = mirror.store().change(|sb| {
        if let Some(peer) = sb.peers.get_mut(leg.index()) {
            peer.flags.set(PeerFlags::PAUSED, paused);
        }
    });
    changed.map_err(|error| mirror.unwritable(request, error))
}

/// Copies everything to a leg again.
pub(super) fn leg_full(request: &Request<'_>) -> Result {
    operate!(request, mirror, operation);
    let leg = find_leg(request, &mirror)?;
    refuse_without_disk(request, &mirror, None, false)?;
    leg.ask_for_full_copy()
        .map_err(|error| mirror.unwritable(request, error))?;
    // The greeting of the next connection begins it.
    leg.fire(Event::Resume, None);
    leg.fire(Event::Lost, Some(Text::truncated("an operator asked for a full copy")));
    drop(operation);
    Ok(())
}
