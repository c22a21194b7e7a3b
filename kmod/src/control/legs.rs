// SPDX-License-Identifier: GPL-2.0

//! The operations of the family on the legs of a mirror, one function each.

use super::{
    mirror::{Deleted, Mirror},
    notify::{self, observe},
    operations::operate,
    params,
};
use crate::sys::errno::EOPNOTSUPP;
use crate::{
    leg::{SourceConfig, SourceHandle, SourceLeg},
    sys::{
        bind as uapi,
        genl::{Request, Writer},
    },
};
use kernel::{prelude::*, sync::Arc};
use netraid_core::{leg::Event, name::Text, state::LegState};

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
    let net = request.net()?;
    let (volume, generation, taken) = mirror
        .with_source(|source| {
            let taken = source.leg.as_ref().map(|handle| handle.leg.address());
            (source.running.volume.clone(), source.generation, taken)
        })
        .ok_or_else(|| not_source(request, &mirror))?;
    if let Some(other) = taken {
        return Err(request.refuse(
            EEXIST,
            format_args!("mirror '{name}' is extended to {other} already, and has room for one target in this version; unextend it first"),
        ));
    }
    let config = SourceConfig {
        id: LEG,
        node: mirror.node(),
        mirror_uuid: mirror.state.lock().uuid.ok_or(EINVAL)?,
        generation,
        address,
        timing,
        net,
        observer: observe,
    };
    volume.forget_remote();
    let handle = SourceHandle::start(config, volume)?;
    let leg = handle.leg.clone();
    mirror.with_source(|source| source.leg = Some(handle));
    drop(operation);
    notify::tell(&mirror, uapi::NETRAID_EVENT_KIND_LEG_ADDED, Some(LEG), &Text::EMPTY);
    // Only now, so that nothing is told of a leg before it is added.
    leg.begin();
    request.reply(uapi::NETRAID_CMD_LEG_NEW, |msg| {
        msg.text(uapi::NETRAID_A_MIRROR_NAME, name.as_str())?;
        msg.nest(uapi::NETRAID_A_MIRROR_LEG, |msg| msg.u32(uapi::NETRAID_A_LEG_ID, LEG))
    })
}

fn not_source(request: &Request<'_>, mirror: &Mirror) -> Error {
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
    leg.volume.forget_remote();
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
    leg.fire(
        Event::Pause,
        Some(Text::truncated("replication is paused by an operator")),
    );
    drop(operation);
    Ok(())
}

/// Ends a pause.
pub(super) fn leg_resume(request: &Request<'_>) -> Result {
    operate!(request, mirror, operation);
    let leg = find_leg(request, &mirror)?;
    let was_paused = leg.status().state == LegState::Paused;
    leg.fire(
        Event::Resume,
        was_paused.then(|| Text::truncated("replication is being resumed")),
    );
    drop(operation);
    Ok(())
}
