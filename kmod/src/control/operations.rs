// SPDX-License-Identifier: GPL-2.0

//! The operations of the family on whole mirrors, one function each. Those on legs are in [`super::legs`].

use super::{
    encode,
    mirror::{Active, Deleted, Mirror},
    notify, params, registry,
    registry::Taken,
};
use crate::sys::errno::{EALREADY, ENODATA};
use crate::{
    leg::Knowledge,
    sys::{
        bind as uapi,
        genl::{Dump, Request, Writer},
        misc,
    },
};
use kernel::prelude::*;
use netraid_core::{name::Text, state::Role};

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
            return Err($crate::control::operations::gone($request, &$mirror));
        }
    };
}
pub(super) use operate;

pub(super) fn gone(request: &Request<'_>, mirror: &Mirror) -> Error {
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
