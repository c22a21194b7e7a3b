// SPDX-License-Identifier: GPL-2.0

//! What an operator says of a leg: where its target is, and how it is to be served.

use super::{legs::Known, metadata::MetaPlace, mirror::Mirror, params};
use crate::{
    leg::Timing,
    sys::{
        bind as uapi,
        errno::EOPNOTSUPP,
        genl::{display, Request},
        net::Address,
    },
};
use kernel::prelude::*;
use netraid_core::{
    legs::LegNumber,
    meta::{
        priorities::{self, Holder, Refusal},
        MetaFlags, Peer, PeerFlags, Superblock,
    },
    name::Text,
    priority::Priority,
    state::{Congestion, Replication},
};

/// The terms of a leg.
pub(super) struct Terms {
    pub(super) address: Address,
    timing: Timing,
    replication: Replication,
    congestion: Congestion,
    no_checksums: bool,
    /// The priority asked for.
    priority: Option<u32>,
}

impl Terms {
    /// What a request says; `permits`: the mirror may have asynchronous legs.
    ///
    /// # Errors
    ///
    /// A sentence where something is missing, or can't be.
    pub(super) fn of(request: &Request<'_>, mirror: &Mirror, permits: bool) -> Result<Self> {
        let Some(nest) = request.nest(uapi::NETRAID_A_MIRROR_LEG) else {
            return Err(request.refuse_attr(
                uapi::NETRAID_A_MIRROR_LEG,
                EINVAL,
                format_args!("the leg is missing; give address and port of the target"),
            ));
        };
        let (address, timing) = params::address(request, &params::OF_LEG, |id| nest.u32(id), |id| nest.bytes(id))?;
        let replication = replication(request, nest.u32(uapi::NETRAID_A_LEG_REPLICATION))?;
        if replication == Replication::Asynchronous && !permits {
            return Err(refuse_asynchronous(request, mirror));
        }
        let congestion = congestion(request, replication, nest.u32(uapi::NETRAID_A_LEG_CONGESTION))?;
        Ok(Self {
            address,
            timing,
            replication,
            congestion,
            no_checksums: nest.flag(uapi::NETRAID_A_LEG_NO_CHECKSUMS),
            priority: nest.u32(uapi::NETRAID_A_LEG_PRIORITY),
        })
    }

    /// Whether the leg is asynchronous.
    pub(super) fn is_asynchronous(&self) -> bool {
        self.replication == Replication::Asynchronous
    }

    /// The priority asked for, for the machine in a place.
    ///
    /// # Errors
    ///
    /// A sentence where it is none, or another machine has it.
    pub(super) fn priority(
        &self,
        request: &Request<'_>,
        mirror: &Mirror,
        place: LegNumber,
    ) -> Result<Option<Priority>> {
        let Some(number) = self.priority else { return Ok(None) };
        let asked = mirror.store().with(|sb| priorities::asked(sb, place, number));
        asked
            .map(Some)
            .map_err(|refusal| refuse_priority(request, mirror, &refusal))
    }

    /// Notes them, but for the priority.
    pub(super) fn put(&self, peer: &mut Peer) {
        self.address.to_peer(peer);
        peer.heartbeat_ms = self.timing.heartbeat_ms;
        peer.timeout_ms = self.timing.timeout_ms;
        peer.replication = self.replication;
        peer.flags.set(PeerFlags::PAUSED, false);
        peer.flags.set(PeerFlags::BEHIND, self.congestion == Congestion::Behind);
        peer.flags.set(PeerFlags::NO_CHECKSUMS, self.no_checksums);
    }
}

/// When a write counts as done.
fn replication(request: &Request<'_>, asked: Option<u32>) -> Result<Replication> {
    Replication::from_number(asked.unwrap_or(0)).ok_or_else(|| {
        request.refuse(
            EINVAL,
            format_args!("a leg is synchronous (0) or asynchronous (1), nothing else"),
        )
    })
}

/// What a leg does when it can't keep up; only an asynchronous one can fall behind.
fn congestion(request: &Request<'_>, replication: Replication, asked: Option<u32>) -> Result<Congestion> {
    let Some(congestion) = Congestion::from_number(asked.unwrap_or(0)) else {
        return Err(request.refuse(
            EINVAL,
            format_args!("at its limit a leg blocks (0) or falls behind (1), nothing else"),
        ));
    };
    if congestion == Congestion::Behind && replication == Replication::Synchronous {
        return Err(request.refuse(
            EINVAL,
            format_args!(
                "a synchronous leg can't fall behind; make it asynchronous, or leave the congestion policy out"
            ),
        ));
    }
    Ok(congestion)
}

fn refuse_asynchronous(request: &Request<'_>, mirror: &Mirror) -> Error {
    let name = mirror.name;
    let disk = mirror.disk();
    let (place, option) = match &mirror.meta {
        MetaPlace::Path(path) => (path, ""),
        MetaPlace::Internal => (&*disk, "--internal "),
        MetaPlace::Nowhere => {
            return request.refuse(
                EOPNOTSUPP,
                format_args!("mirror '{name}' was made for synchronous targets alone; delete it and make it anew"),
            );
        }
    };
    let place = display(place);
    request.refuse(
        EOPNOTSUPP,
        format_args!(
            "mirror '{name}' permits synchronous targets alone; stop it, run `netraid-ctl bitmap -a {option}{place}`, and start it again"
        ),
    )
}

/// Whether a mirror may have asynchronous legs.
pub(super) fn permits_asynchronous(mirror: &Mirror) -> bool {
    mirror.store().with(|sb| sb.flags.contains(MetaFlags::ASYNC))
}

fn refuse_priority(request: &Request<'_>, mirror: &Mirror, refusal: &Refusal) -> Error {
    let name = mirror.name;
    let (priority, by, free) = match refusal {
        Refusal::OutOfRange(error) => return request.refuse(EINVAL, format_args!("{error}")),
        Refusal::Taken { priority, by, free } => (priority, by, free),
    };
    let Holder::Leg(leg) = by else {
        return request.refuse(
            EEXIST,
            format_args!(
                "priority {priority} of mirror '{name}' is that of this machine; choose another one, {free} is free"
            ),
        );
    };
    let (id, peer) = (leg.id(), mirror.store().with(|sb| peer_name(sb, *leg)));
    request.refuse(
        EEXIST,
        format_args!(
            "priority {priority} of mirror '{name}' is that of {peer} (leg {id}); choose another one, {free} is free"
        ),
    )
}

/// What an operator calls a machine: by its name, by its address while that is not known.
fn peer_name(sb: &Superblock, leg: LegNumber) -> Text {
    let Some(peer) = sb.peers.get(leg.index()) else {
        return Text::EMPTY;
    };
    if !peer.name.is_empty() {
        return Text::truncated(peer.name.as_str());
    }
    Known::of(peer).map_or(Text::truncated("another machine"), |known| {
        Text::format(format_args!("{}", known.address))
    })
}
