// SPDX-License-Identifier: GPL-2.0

//! What an operator says of a leg: where its target is, and how it is to be served.

use super::{metadata::MetaPlace, mirror::Mirror, params};
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
    meta::{MetaFlags, Peer, PeerFlags},
    state::{Congestion, Replication},
};

/// The terms of a leg.
pub(super) struct Terms {
    pub(super) address: Address,
    timing: Timing,
    replication: Replication,
    congestion: Congestion,
    no_checksums: bool,
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
        })
    }

    /// Whether the leg is asynchronous.
    pub(super) fn is_asynchronous(&self) -> bool {
        self.replication == Replication::Asynchronous
    }

    /// Notes them.
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
