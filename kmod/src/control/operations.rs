// SPDX-License-Identifier: GPL-2.0

//! The operations of the family on whole mirrors, one function each. Those on legs are in [`super::legs`].

use super::{
    encode, legs,
    metadata::MetaPlace,
    mirror::{Active, Deleted, Mirror},
    mirror_open::Maps,
    notify, params, registry,
    registry::Taken,
};
use crate::sys::{
    bind as uapi,
    genl::{Dump, Request, Writer},
};
use kernel::prelude::*;
use netraid_core::{
    meta::MetaFlags,
    name::Text,
    state::{OnIoError, Role},
};

/// One mirror, by name or number.
pub(super) fn mirror_get(request: &Request<'_>) -> Result {
    let mirror = match request.u32(uapi::NETRAID_A_MIRROR_ID) {
        Some(id) if request.text(uapi::NETRAID_A_MIRROR_NAME).is_none() => registry::by_id(id)
            .ok_or_else(|| request.refuse(ENOENT, format_args!("there is no mirror number {id} on this machine")))?,
        _ => params::mirror(request)?,
    };
    // Before the view is taken: an event in between is told again, none is lost.
    let seq = notify::last();
    let view = mirror.view()?;
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
        let view = mirror.view()?;
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
    let listen = params::listen(request, role == Role::Target)?;
    let attach = request.flag(uapi::NETRAID_A_MIRROR_ATTACH);
    let mut given = Some((disk, MetaPlace::of(request)?));
    let added = registry::add(name.as_str(), wanted, |id| {
        let (disk, meta) = given.take().ok_or(EINVAL)?;
        Mirror::new(id, name, disk, node, listen, meta)
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
    let opened = if attach {
        attach_mirror(request, &mirror)
    } else {
        match role {
            Role::Target => new_target(request, &mirror),
            _ => new_source(request, &mirror),
        }
    };
    if let Err(error) = opened {
        *operation = Deleted(true);
        drop(operation);
        registry::remove(mirror.id);
        return Err(error);
    }
    drop(operation);
    notify::tell(&mirror, uapi::NETRAID_EVENT_KIND_MIRROR_ADDED, None, &Text::EMPTY);
    let view = mirror.view()?;
    request.reply(uapi::NETRAID_CMD_MIRROR_NEW, |msg| {
        msg.text(uapi::NETRAID_A_MIRROR_NAME, mirror.name.as_str())?;
        msg.u32(uapi::NETRAID_A_MIRROR_ID, mirror.id)?;
        msg.uint(uapi::NETRAID_A_MIRROR_SIZE, view.size)?;
        if let Some(geometry) = view.standing.geometry {
            msg.u32(uapi::NETRAID_A_MIRROR_CHUNK_SIZE, geometry.chunk_size())?;
        }
        let uuid = view.standing.uuid;
        uuid.map_or(Ok(()), |uuid| msg.bytes(uapi::NETRAID_A_MIRROR_UUID, &uuid))
    })
}

fn new_source(request: &Request<'_>, mirror: &Mirror) -> Result {
    let disk = mirror.claim(request)?;
    mirror.format_metadata(request, &disk, Role::Source)?;
    let source = mirror.open_source(request, disk.clone(), None, Maps::All)?;
    mirror.switch(Active::Source(source), Some(&disk));
    Ok(())
}

fn new_target(request: &Request<'_>, mirror: &Mirror) -> Result {
    let disk = mirror.claim(request)?;
    mirror.format_metadata(request, &disk, Role::Target)?;
    let target = mirror.open_target(request, disk.clone())?;
    mirror.switch(Active::Target(target), Some(&disk));
    Ok(())
}

/// Sees whether the metadata is that of this mirror, and leaves the mirror out of service.
fn attach_mirror(request: &Request<'_>, mirror: &Mirror) -> Result {
    let disk = mirror.claim(request)?;
    mirror.load_metadata(request, &disk)?;
    mirror.close_metadata()
}

/// Finds the mirror and waits for its turn; a mirror deleted meanwhile is not there any more.
macro_rules! operate {
    ($request:ident, $mirror:ident, $guard:ident) => {
        $crate::control::params::admin($request)?;
        let $mirror = $crate::control::params::mirror($request)?;
        #[allow(unused_mut, reason = "only a delete writes to it")]
        let mut $guard = $mirror.operation.lock();
        if *$guard == $crate::control::mirror::Deleted(true) {
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
    let for_shutdown = request.flag(uapi::NETRAID_A_MIRROR_KEEP_ROLE);
    let busy = |opens: u32| {
        let (id, name) = (mirror.id, mirror.name);
        request.refuse(
            EBUSY,
            format_args!(
                "/dev/netraid{id} is in use ({opens} open); unmount it first, or stop mirror '{name}' with --force"
            ),
        )
    };
    match &mirror.state.lock().active {
        Active::Stopped => {}
        Active::Source(source) => {
            source.front.close(force).map_err(busy)?;
            for leg in source.legs.iter().filter(|_| force) {
                leg.hurry();
            }
        }
        Active::Target(target) => target.handle.leg.close_device(force).map_err(busy)?,
    }
    mirror.close_door();
    if matches!(mirror.state.lock().active, Active::Stopped) {
        return Ok(false);
    }
    let old = mirror.take();
    // Ends threads and connections; takes at most as long as the target has to confirm what it was sent.
    drop(old);
    mirror.state.lock().disk_number = None;
    let noted = mirror.store().change(|sb| {
        sb.forget_lost_disk();
        sb.flags.set(MetaFlags::CLEAN, true);
        if !for_shutdown {
            sb.flags.set(MetaFlags::STOPPED, true);
            // Whoever takes one of two rivals out of service says that the other one is right.
            let yields = sb.flags.contains(MetaFlags::SPLIT_BRAIN);
            sb.flags = sb.flags.with(MetaFlags::YIELDED, yields);
        }
    });
    if noted.is_err() {
        pr_warn!(
            "mirror {}: its stop could not be noted in the metadata\n",
            mirror.name.as_str()
        );
    }
    mirror.close_metadata()?;
    Ok(true)
}

/// Changes settings.
pub(super) fn mirror_set(request: &Request<'_>) -> Result {
    operate!(request, mirror, operation);
    let rate = request.uint(uapi::NETRAID_A_MIRROR_RESYNC_RATE);
    let limit = params::async_limit(request)?;
    let on_io_error = params::on_io_error(request)?;
    if matches!(mirror.state.lock().active, Active::Stopped) {
        return Err(request.refuse(
            ENODEV,
            format_args!("mirror '{}' is out of service; start it first", mirror.name),
        ));
    }
    let changed = mirror.store().change(|sb| {
        sb.resync_rate = rate.unwrap_or(sb.resync_rate);
        sb.async_limit = limit.unwrap_or(sb.async_limit);
        if let Some(policy) = on_io_error {
            sb.flags.set(MetaFlags::PASS_ON, policy == OnIoError::PassOn);
        }
    });
    changed.map_err(|error| mirror.unwritable(request, error))?;
    legs::apply_async_limit(&mirror);
    if let Some(policy) = on_io_error {
        let volume = mirror.with_source(|source| source.running.volume.clone());
        if let Some(volume) = volume {
            volume.set_detaches(policy == OnIoError::Detach);
        }
    }
    Ok(())
}
