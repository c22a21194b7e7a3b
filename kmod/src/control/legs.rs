// SPDX-License-Identifier: GPL-2.0

//! The operations of the family on the legs of a mirror, one function each.

use super::{
    mirror::Mirror,
    notify::{self, observe},
    operations::operate,
    params,
};
use crate::sys::errno::EOPNOTSUPP;
use crate::{
    leg::{SourceConfig, SourceHandle, SourceLeg, Timing},
    meta::maps::PEER,
    sys::{
        bind as uapi,
        genl::{Request, Writer},
        net::{Address, NetNs},
    },
};
use kernel::{prelude::*, sync::Arc};
use netraid_core::{
    leg::Event,
    meta::{MetaFlags, Peer, PeerFlags},
    name::Text,
    state::LegState,
};

/// The number of the only network leg in this version.
const LEG: u32 = 1;

/// Extends a mirror to another machine.
pub(super) fn leg_new(request: &Request<'_>) -> Result {
    operate!(request, mirror, operation);
    let name = mirror.name;
    let Some(nest) = request.nest(uapi::NETRAID_A_MIRROR_LEG) else {
        return Err(request.refuse_attr(
            uapi::NETRAID_A_MIRROR_LEG,
            EINVAL,
            format_args!("the leg is missing; give address and port of the target"),
        ));
    };
    let (address, timing) = params::address(request, &params::OF_LEG, |id| nest.u32(id), |id| nest.bytes(id))?;
    if nest
        .u32(uapi::NETRAID_A_LEG_REPLICATION)
        .is_some_and(|replication| replication != 0)
    {
        return Err(request.refuse(
            EOPNOTSUPP,
            format_args!("only synchronous replication is offered in this version"),
        ));
    }
    let taken = mirror
        .with_source(|source| source.leg.as_ref().map(|handle| handle.leg.address()))
        .ok_or_else(|| not_source(request, &mirror))?;
    if let Some(other) = taken {
        return Err(request.refuse(
            EEXIST,
            format_args!("mirror '{name}' is extended to {other} already, and has room for one target in this version; unextend it first"),
        ));
    }
    let noted = mirror.store().change(|sb| {
        sb.flags.set(
            MetaFlags::PREPARED,
            request.flag(uapi::NETRAID_A_MIRROR_NO_FULL_SYNC) || sb.flags.contains(MetaFlags::PREPARED),
        );
        if let Some(peer) = sb.peers.get_mut(PEER) {
            address.to_peer(peer);
            peer.heartbeat_ms = timing.heartbeat_ms;
            peer.timeout_ms = timing.timeout_ms;
            peer.flags.set(PeerFlags::PAUSED, false);
            peer.flags
                .set(PeerFlags::NO_CHECKSUMS, nest.flag(uapi::NETRAID_A_LEG_NO_CHECKSUMS));
        }
    });
    noted.map_err(|error| mirror.unwritable(request, error))?;
    let leg = add_leg(&request.net()?, &mirror)?;
    drop(operation);
    notify::tell(&mirror, uapi::NETRAID_EVENT_KIND_LEG_ADDED, Some(LEG), &Text::EMPTY);
    // Only now, so that nothing is told of a leg before it is added.
    leg.begin();
    request.reply(uapi::NETRAID_CMD_LEG_NEW, |msg| {
        msg.text(uapi::NETRAID_A_MIRROR_NAME, name.as_str())?;
        msg.nest(uapi::NETRAID_A_MIRROR_LEG, |msg| msg.u32(uapi::NETRAID_A_LEG_ID, LEG))
    })
}

/// Gives a source the leg that its metadata describes; it begins with [`SourceLeg::begin`].
pub(super) fn add_leg(net: &NetNs, mirror: &Mirror) -> Result<Arc<SourceLeg>> {
    let store = mirror.store();
    let known = store.with(|sb| sb.peers.get(PEER).map(Known::of));
    let Known {
        address,
        timing,
        paused,
        no_checksums,
    } = known.ok_or(EINVAL)??;
    let config = SourceConfig {
        id: LEG,
        node: mirror.node(),
        listen_port: mirror.state.lock().listen.map_or(0, |(address, _)| address.port),
        address,
        timing,
        no_checksums,
        net: net.clone(),
        observer: observe,
        handover: super::desk::asked_for,
    };
    let volume = mirror
        .with_source(|source| source.running.volume.clone())
        .ok_or(EINVAL)?;
    volume.forget_counters();
    let handle = SourceHandle::start(config, volume)?;
    let leg = handle.leg.clone();
    if paused {
        leg.fire(Event::Pause, Some(Text::truncated(PAUSED)));
    }
    mirror.with_source(|source| source.leg = Some(handle));
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

/// The leg a request speaks of: the only one, if it names none.
fn leg_id(request: &Request<'_>) -> u32 {
    let nest = request.nest(uapi::NETRAID_A_MIRROR_LEG);
    nest.and_then(|nest| nest.u32(uapi::NETRAID_A_LEG_ID)).unwrap_or(LEG)
}

/// Ends a leg.
pub(super) fn leg_del(request: &Request<'_>) -> Result {
    operate!(request, mirror, operation);
    let leg = find_leg(request, &mirror)?;
    let old = mirror.with_source(|source| source.leg.take());
    // Ends its threads, outside the short lock.
    drop(old);
    // What the machine there holds is of the past from now on, whatever is written here. On record before writes that
    // wait for the record of their loss may end.
    let forgotten = leg.volume.begin_generation(|sb| {
        sb.flags.set(MetaFlags::PREPARED, false);
        if let Some(peer) = sb.peers.get_mut(PEER) {
            *peer = Peer::FREE;
        }
    });
    forgotten.map_err(|error| mirror.unwritable(request, error))?;
    drop(operation);
    notify::tell(&mirror, uapi::NETRAID_EVENT_KIND_LEG_DELETED, Some(LEG), &Text::EMPTY);
    Ok(())
}

fn find_leg(request: &Request<'_>, mirror: &Mirror) -> Result<Arc<SourceLeg>> {
    let id = leg_id(request);
    let leg = mirror
        .with_source(|source| source.leg.as_ref().map(|handle| handle.leg.clone()))
        .ok_or_else(|| not_source(request, mirror))?;
    leg.filter(|_| id == LEG).ok_or_else(|| {
        request.refuse(
            ENOENT,
            format_args!(
                "mirror '{}' has no network leg {id}; `netraid-ctl status` lists its legs",
                mirror.name
            ),
        )
    })
}

/// Pauses a leg.
pub(super) fn leg_pause(request: &Request<'_>) -> Result {
    operate!(request, mirror, operation);
    let leg = find_leg(request, &mirror)?;
    keep_pause(request, &mirror, true)?;
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
    keep_pause(request, &mirror, false)?;
    let was_paused = leg.status().state == LegState::Paused;
    leg.fire(
        Event::Resume,
        was_paused.then(|| Text::truncated("replication is being resumed")),
    );
    drop(operation);
    Ok(())
}

/// A pause outlives a restart.
fn keep_pause(request: &Request<'_>, mirror: &Mirror, paused: bool) -> Result {
    let changed = mirror.store().change(|sb| {
        if let Some(peer) = sb.peers.get_mut(PEER) {
            peer.flags.set(PeerFlags::PAUSED, paused);
        }
    });
    changed.map_err(|error| mirror.unwritable(request, error))
}

/// Copies everything to a leg again.
pub(super) fn leg_full(request: &Request<'_>) -> Result {
    operate!(request, mirror, operation);
    let leg = find_leg(request, &mirror)?;
    leg.ask_for_full_copy()
        .map_err(|error| mirror.unwritable(request, error))?;
    // The greeting of the next connection begins it.
    leg.fire(Event::Resume, None);
    leg.fire(Event::Lost, Some(Text::truncated("an operator asked for a full copy")));
    drop(operation);
    Ok(())
}
