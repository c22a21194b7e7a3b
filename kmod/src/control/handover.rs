// SPDX-License-Identifier: GPL-2.0

//! How a source gives way: demoting it, and changing places with its target.

use super::{
    legs,
    mirror::{Active, Mirror},
    mirror_open::{refuse_listening, Maps},
    notify,
    operations::operate,
    params,
    roles::start,
};
use crate::sys::{bind as uapi, errno::EALREADY, genl::Request, misc, net::NetNs};
use kernel::prelude::*;
use netraid_core::{meta::MetaFlags, name::Text, ownership::StartMode, state::Role};

/// Makes this machine a target.
pub(super) fn mirror_demote(request: &Request<'_>) -> Result {
    operate!(request, mirror, operation);
    if let Some(listen) = params::listen(request, false)? {
        mirror.state.lock().listen = Some(listen);
    }
    if !matches!(mirror.state.lock().active, Active::Source(_)) {
        return Err(request.refuse(
            EALREADY,
            format_args!("this machine is not the source of mirror '{}'", mirror.name),
        ));
    }
    demote(request, &mirror, false)?;
    drop(operation);
    notify::tell(&mirror, uapi::NETRAID_EVENT_KIND_ROLE_CHANGED, None, &Text::EMPTY);
    Ok(())
}

/// Makes a source a target, if its device is not in use; with `yields` its data gives way, whatever the other has.
pub(super) fn demote(request: &Request<'_>, mirror: &Mirror, yields: bool) -> Result {
    let id = mirror.id;
    if mirror.state.lock().listen.is_none() {
        return Err(request.refuse(
            EINVAL,
            format_args!(
                "where mirror '{}' is to listen is not known; give it with --listen",
                mirror.name
            ),
        ));
    }
    let closed = mirror.with_source(|source| source.front.close(false));
    closed.ok_or(EINVAL)?.map_err(|opens| {
        request.refuse(
            EBUSY,
            format_args!("/dev/netraid{id} is in use ({opens} open); unmount it first"),
        )
    })?;
    let listen = mirror.state.lock().listen;
    give_way(mirror, &request.net()?, yields).map_err(|error| match listen {
        Some((address, _)) => refuse_listening(request, &address, error),
        None => error,
    })
}

/// Makes a source whose device is closed a target. Where that fails it is source again.
pub(super) fn give_way(mirror: &Mirror, net: &NetNs, yields: bool) -> Result {
    let disk = mirror
        .with_source(|source| source.running.volume.lower().clone())
        .ok_or(EINVAL)?;
    // The port of the door becomes that of the target.
    drop(mirror.take());
    mirror.state.lock().disk_number = None;
    let target = note_target(mirror, yields).and_then(|()| mirror.serve_as_target(net.clone(), disk.clone()));
    match target {
        Ok(target) => {
            mirror.switch(Active::Target(target), Some(&disk));
            Ok(())
        }
        // A disk that was given up is never served again.
        Err(error) if mirror.store().with(|sb| sb.current == 0) => Err(error),
        Err(error) => {
            let again = mirror.serve_as_source(net, disk.clone(), None, Maps::One(None))?;
            mirror.store().change(|sb| sb.role = Role::Source)?;
            mirror.switch(Active::Source(again), Some(&disk));
            if let Ok(added) = legs::add_legs(net, mirror) {
                legs::begin(&added);
            }
            Err(error)
        }
    }
}

/// Notes that this machine is a target from now on.
pub(super) fn note_target(mirror: &Mirror, yields: bool) -> Result {
    mirror.store().change(|sb| {
        sb.role = Role::Target;
        sb.forget_lost_disk();
        let over = MetaFlags::STOPPED.with(MetaFlags::CLEAN, true);
        sb.flags = sb.flags.without(over);
        if yields {
            let claims = MetaFlags::LAST_OWNER
                .with(MetaFlags::DATA_CORRUPT, true)
                .with(MetaFlags::SPLIT_BRAIN, true);
            sb.flags = sb.flags.without(claims).with(MetaFlags::YIELDED, true);
        }
    })
}

/// How long a source may take to give way: its last writes have to end, and its leg to be told.
const TAKEOVER_MS: u64 = 90_000;

/// How often this machine asks the old source how it stands, until that listens.
const ASK_AGAIN_MS: u32 = 100;

/// How often at most, at the pace above: ten seconds.
const ASK_AGAIN: u32 = 100;

/// Changes places with the source.
pub(super) fn mirror_switchover(request: &Request<'_>) -> Result {
    operate!(request, mirror, operation);
    let name = mirror.name;
    let Some(leg) = mirror.target() else {
        return Err(request.refuse(
            EALREADY,
            format_args!(
                "this machine is not a target of mirror '{name}'; switch over on the one that is to be the source"
            ),
        ));
    };
    leg.take_over(TAKEOVER_MS)
        .map_err(|reason| request.refuse(EBUSY, format_args!("mirror '{name}' keeps its source: {reason}")))?;
    drop(leg);
    let mut left = ASK_AGAIN;
    let started = loop {
        match start(request, &mirror, StartMode::Source) {
            // It has not begun to listen yet.
            Err(_) if left > 0 => {
                left -= 1;
                misc::sleep_ms(ASK_AGAIN_MS);
            }
            other => break other?,
        }
    };
    drop(operation);
    notify::tell(&mirror, uapi::NETRAID_EVENT_KIND_ROLE_CHANGED, None, &Text::EMPTY);
    legs::begin(&started);
    Ok(())
}
