// SPDX-License-Identifier: GPL-2.0

//! The operations of the family, one function each.

use super::{
    encode,
    mirror::{Active, Deleted, Mirror},
    notify::{self, observe},
    params, registry,
    registry::Taken,
};
use crate::sys::errno::{EALREADY, ENODATA, EOPNOTSUPP};
use crate::{
    leg::{Knowledge, SourceConfig, SourceHandle},
    sys::{
        bind as uapi,
        genl::{Dump, Request, Writer},
        misc,
    },
};
use kernel::{prelude::*, sync::Arc};
use netraid_core::{
    leg::Event,
    name::Text,
    state::{LegState, Role},
};

/// The number of the only network leg in this version.
const LEG: u32 = 1;

/// One mirror, by name or number.
pub(super) fn mirror_get(request: &Request<'_>) -> Result {
    let mirror = match request.u32(uapi::NETRAID_A_MIRROR_ID) {
        Some(id) if request.text(uapi::NETRAID_A_MIRROR_NAME).is_none() => registry::by_id(id)
            .ok_or_else(|| request.refuse(ENOENT, format_args!("there is no mirror number {id} on this machine")))?,
        _ => params::mirror(request)?,
    };
    // Before the view is taken: an event in between is told again, none is lost.
    let seq = notify::last();
    let view = mirror.view();
    request.reply(uapi::NETRAID_CMD_MIRROR_GET, |msg| {
        encode::mirror(msg, &mirror, &view, seq)
    })
}

/// All mirrors, in the order of their numbers.
pub(super) fn mirror_dump(dump: &mut Dump<'_>) -> Result {
    loop {
        let (next, generation) = registry::from_id(*dump.cursor());
        let Some(mirror) = next else { return Ok(()) };
        let seq = notify::last();
        let view = mirror.view();
        let added = dump.add(uapi::NETRAID_CMD_MIRROR_GET, generation, |msg| {
            encode::mirror(msg, &mirror, &view, seq)
        })?;
        if !added {
            return if dump.is_empty() { Err(EMSGSIZE) } else { Ok(()) };
        }
        *dump.cursor() = u64::from(mirror.id).saturating_add(1);
    }
}

/// Makes a source or a target.
pub(super) fn mirror_new(request: &Request<'_>) -> Result {
    params::admin(request)?;
    let name = params::name(request)?;
    let disk = params::disk(request)?;
    let role = params::role(request)?;
    let node = params::node(request);
    let wanted = request.u32(uapi::NETRAID_A_MIRROR_ID);
    let mut disk = Some(disk);
    let added = registry::add(name.as_str(), wanted, |id| {
        Mirror::new(id, name, disk.take().ok_or(EINVAL)?, node)
    });
    let mirror = added.map_err(|taken| match taken {
        Taken::Name => request.refuse(
            EEXIST,
            format_args!("there is a mirror '{name}' on this machine already; choose another name or delete it first"),
        ),
        Taken::Id => {
            let id = wanted.unwrap_or(0);
            request.refuse(
                EEXIST,
                format_args!("/dev/netraid{id} belongs to another mirror; choose another number"),
            )
        }
        Taken::Memory => ENOMEM,
    })?;
    let mut operation = mirror.operation.lock();
    let opened = match role {
        Role::Target => new_target(request, &mirror),
        _ => new_source(request, &mirror),
    };
    if let Err(error) = opened {
        *operation = Deleted(true);
        drop(operation);
        registry::remove(mirror.id);
        return Err(error);
    }
    drop(operation);
    notify::tell(&mirror, uapi::NETRAID_EVENT_KIND_MIRROR_ADDED, None, &Text::EMPTY);
    let view = mirror.view();
    request.reply(uapi::NETRAID_CMD_MIRROR_NEW, |msg| {
        msg.text(uapi::NETRAID_A_MIRROR_NAME, mirror.name.as_str())?;
        msg.u32(uapi::NETRAID_A_MIRROR_ID, mirror.id)?;
        view.uuid
            .map_or(Ok(()), |uuid| msg.bytes(uapi::NETRAID_A_MIRROR_UUID, &uuid))
    })
}

fn new_source(request: &Request<'_>, mirror: &Mirror) -> Result {
    let disk = mirror.claim(request)?;
    let chunk_size = request.u32(uapi::NETRAID_A_MIRROR_CHUNK_SIZE);
    let geometry = Mirror::geometry(request, &disk, chunk_size)?;
    let source = mirror.open_source(request, disk.clone(), geometry, None)?;
    mirror.state.lock().uuid = Some(misc::random());
    mirror.switch(Active::Source(source), Some(&disk), Some(geometry));
    Ok(())
}

fn new_target(request: &Request<'_>, mirror: &Mirror) -> Result {
    let listen = listen(request)?;
    let disk = mirror.claim(request)?;
    let net = request.net()?;
    let target = mirror.open_target(request, disk.clone(), listen, net, Knowledge::default())?;
    mirror.switch(Active::Target(target), Some(&disk), None);
    Ok(())
}

fn listen(request: &Request<'_>) -> Result<(crate::sys::net::Address, crate::leg::Timing)> {
    params::address(
        request,
        &params::OF_MIRROR,
        |id| request.u32(id),
        |id| request.bytes(id),
    )
}

/// Finds the mirror and waits for its turn; a mirror deleted meanwhile is not there any more.
macro_rules! operate {
    ($request:ident, $mirror:ident, $guard:ident) => {
        params::admin($request)?;
        let $mirror = params::mirror($request)?;
        #[allow(unused_mut, reason = "only a delete writes to it")]
        let mut $guard = $mirror.operation.lock();
        if *$guard == Deleted(true) {
            return Err(gone($request, &$mirror));
        }
    };
}

fn gone(request: &Request<'_>, mirror: &Mirror) -> Error {
    request.refuse(ENOENT, format_args!("mirror '{}' has just been deleted", mirror.name))
}

/// Forgets a mirror.
pub(super) fn mirror_del(request: &Request<'_>) -> Result {
    operate!(request, mirror, operation);
    stop(request, &mirror)?;
    *operation = Deleted(true);
    registry::remove(mirror.id);
    drop(operation);
    notify::tell_deleted(mirror.id, &mirror.name);
    Ok(())
}

/// Takes a mirror out of service.
pub(super) fn mirror_stop(request: &Request<'_>) -> Result {
    operate!(request, mirror, operation);
    if stop(request, &mirror)? {
        drop(operation);
        notify::tell(&mirror, uapi::NETRAID_EVENT_KIND_ROLE_CHANGED, None, &Text::EMPTY);
    }
    Ok(())
}

/// True when it was in service.
fn stop(request: &Request<'_>, mirror: &Mirror) -> Result<bool> {
    let force = request.flag(uapi::NETRAID_A_MIRROR_FORCE);
    let busy = |opens: u32| {
        let (id, name) = (mirror.id, mirror.name);
        request.refuse(
            EBUSY,
            format_args!(
                "/dev/netraid{id} is in use ({opens} open); unmount it first, or stop mirror '{name}' with --force"
            ),
        )
    };
    let knows = match &mirror.state.lock().active {
        Active::Stopped(_) => return Ok(false),
        Active::Source(source) => {
            source.front.close(force).map_err(busy)?;
            let geometry = Some(source.running.volume.geometry);
            Knowledge {
                geometry,
                begun: true,
                generation: source.generation,
                ..Knowledge::default()
            }
        }
        Active::Target(target) => {
            target.handle.leg.close_device(force).map_err(busy)?;
            target.handle.leg.knowledge()
        }
    };
    let old = mirror.take(knows);
    // Ends threads and connections; takes at most the timeout of the leg.
    drop(old);
    mirror.state.lock().disk_number = None;
    Ok(true)
}

/// Makes this machine the source.
pub(super) fn mirror_promote(request: &Request<'_>) -> Result {
    operate!(request, mirror, operation);
    let name = mirror.name;
    let knows = may_promote(request, &mirror)?;
    let no_copy = || {
        request.refuse(
            ENODATA,
            format_args!("the disk of mirror '{name}' holds no copy yet; let a source fill it first"),
        )
    };
    // The size is known from the first greeting on; a copy is there once a resync was complete.
    let geometry = knows.geometry.filter(|_| knows.generation != 0).ok_or_else(no_copy)?;
    let (disk, paused) = match mirror.take(knows) {
        Active::Target(target) => {
            let disk = target.handle.leg.lower.clone();
            (disk, target.handle.end())
        }
        Active::Stopped(_) | Active::Source(_) => (mirror.claim(request)?, None),
    };
    // From here on a failure leaves the mirror stopped, with its disk released.
    mirror.state.lock().disk_number = None;
    if disk.size() < geometry.size() {
        return Err(request.refuse(
            ENOSPC,
            format_args!(
                "the disk has {} bytes, mirror '{name}' has {}; it is not the disk it was",
                disk.size(),
                geometry.size()
            ),
        ));
    }
    let source = mirror.open_source(request, disk.clone(), geometry, paused)?;
    {
        let mut state = mirror.state.lock();
        state.uuid = knows.mirror_uuid.or(state.uuid);
    }
    mirror.switch(Active::Source(source), Some(&disk), Some(geometry));
    drop(operation);
    notify::tell(&mirror, uapi::NETRAID_EVENT_KIND_ROLE_CHANGED, None, &Text::EMPTY);
    Ok(())
}

/// What the disk holds, if that is fit for use and nobody else is using it.
fn may_promote(request: &Request<'_>, mirror: &Mirror) -> Result<Knowledge> {
    let name = mirror.name;
    let inconsistent = |percent: u32| {
        request.refuse(
            ENODATA,
            format_args!("a resync of mirror '{name}' is in progress ({percent}%), its copy is unusable until it is complete; wait for it, or use the source"),
        )
    };
    match &mirror.state.lock().active {
        Active::Source(_) => Err(request.refuse(
            EALREADY,
            format_args!("this machine is the source of mirror '{name}' already"),
        )),
        Active::Stopped(knows) if knows.inconsistent => Err(inconsistent(0)),
        Active::Stopped(knows) => Ok(*knows),
        Active::Target(target) => {
            let leg = &target.handle.leg;
            let knows = leg.knowledge();
            if knows.inconsistent {
                return Err(inconsistent(leg.resync_percent()));
            }
            if let Some(ms) = leg.source_silence_ms() {
                return Err(request.refuse(
                    EBUSY,
                    format_args!(
                        "{} is the source of mirror '{name}' and connected (heard {ms} ms ago); stop it there first",
                        knows.source
                    ),
                ));
            }
            Ok(knows)
        }
    }
}

/// Makes this machine a target.
pub(super) fn mirror_demote(request: &Request<'_>) -> Result {
    operate!(request, mirror, operation);
    let (name, id) = (mirror.name, mirror.id);
    let listen = listen(request)?;
    let net = request.net()?;
    let (disk, knows) = {
        let state = mirror.state.lock();
        let Active::Source(source) = &state.active else {
            return Err(request.refuse(
                EALREADY,
                format_args!("this machine is not the source of mirror '{name}'"),
            ));
        };
        source.front.close(false).map_err(|opens| {
            request.refuse(
                EBUSY,
                format_args!("/dev/netraid{id} is in use ({opens} open); unmount it first"),
            )
        })?;
        let volume = &source.running.volume;
        let knows = Knowledge {
            mirror_uuid: state.uuid,
            geometry: Some(volume.geometry),
            generation: source.generation,
            begun: true,
            ..Knowledge::default()
        };
        (volume.lower.clone(), knows)
    };
    match mirror.open_target(request, disk.clone(), listen, net, knows) {
        Ok(target) => mirror.switch(Active::Target(target), Some(&disk), knows.geometry),
        Err(error) => {
            mirror.with_source(|source| source.front.reopen());
            return Err(error);
        }
    }
    drop(operation);
    notify::tell(&mirror, uapi::NETRAID_EVENT_KIND_ROLE_CHANGED, None, &Text::EMPTY);
    Ok(())
}

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
    mirror.with_source(|source| source.leg = Some(handle));
    drop(operation);
    notify::tell(&mirror, uapi::NETRAID_EVENT_KIND_LEG_ADDED, Some(LEG), &Text::EMPTY);
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

fn find_leg(request: &Request<'_>, mirror: &Mirror) -> Result<Arc<crate::leg::SourceLeg>> {
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
