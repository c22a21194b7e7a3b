// SPDX-License-Identifier: GPL-2.0

//! The targets that a target will have once it is the source: an operator says beforehand where they are, and how they
//! are to be served. Nothing is sent to them before.

use super::{
    leg_terms::Terms,
    legs::{named_leg, not_source},
    mirror::Mirror,
};
use crate::sys::genl::Request;
use kernel::prelude::*;
use netraid_core::{
    legs::{LegNumber, MAX_LEGS},
    meta::{
        places::{self, PrepareError},
        priorities, MetaFlags, Peer,
    },
};

/// Notes a target for later; its number is that of the leg that it will have.
pub(super) fn note(request: &Request<'_>, mirror: &Mirror) -> Result<LegNumber> {
    let name = mirror.name;
    if mirror.target().is_none() {
        return Err(not_source(request, mirror));
    }
    let terms = Terms::of(request, mirror, true)?;
    let to = terms.address;
    // That there is no place for it is said below.
    let there = mirror.store().with(|sb| places::prepare(&sb.peers, to.ip(), to.port));
    let priority = match there {
        Ok(place) => terms.priority(request, mirror, place)?,
        Err(_) => None,
    };
    let noted = mirror.store().change(|sb| {
        let place = places::prepare(&sb.peers, to.ip(), to.port)?;
        if let Some(peer) = sb.peers.get_mut(place.index()) {
            terms.put(peer);
        }
        // Without one it keeps the one it was noted with, if any; else it tells its own once it is connected.
        if let Some(priority) = priority {
            priorities::note(sb, place, priority);
        }
        let permits = terms.is_asynchronous() || sb.flags.contains(MetaFlags::ASYNC);
        sb.flags.set(MetaFlags::ASYNC, permits);
        Ok(place)
    });
    let place = noted.map_err(|error| mirror.unwritable(request, error))?;
    place.map_err(|error| match error {
        PrepareError::IsSource => request.refuse(
            EEXIST,
            format_args!(
                "{to} is the source of mirror '{name}', which becomes a target by itself if this machine takes over"
            ),
        ),
        PrepareError::Full => request.refuse(
            E2BIG,
            format_args!(
                "mirror '{name}' knows {MAX_LEGS} other machines, and can't have more targets; unextend one first"
            ),
        ),
    })
}

/// Forgets a target that was noted for later, or that this machine had as source.
pub(super) fn forget(request: &Request<'_>, mirror: &Mirror) -> Result<LegNumber> {
    let name = mirror.name;
    let named = named_leg(request).and_then(LegNumber::from_id);
    let Some(place) = named.filter(|place| *place != LegNumber::FIRST) else {
        return Err(not_source(request, mirror));
    };
    let forgotten = mirror.store().change(|sb| match sb.peers.get_mut(place.index()) {
        Some(peer) if *peer != Peer::FREE => {
            *peer = Peer::FREE;
            true
        }
        _ => false,
    });
    if forgotten.map_err(|error| mirror.unwritable(request, error))? {
        return Ok(place);
    }
    Err(request.refuse(
        ENOENT,
        format_args!("nothing is noted of a leg {} of mirror '{name}'", place.id()),
    ))
}
