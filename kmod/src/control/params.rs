// SPDX-License-Identifier: GPL-2.0

//! What requests say, checked; each refusal is a sentence.

use super::{mirror::Mirror, registry};
use crate::{
    leg::Timing,
    sys::{
        bind as uapi,
        genl::{c_string, Request},
        misc,
        net::Address,
    },
};
use kernel::{prelude::*, str::CString, sync::Arc};
use netraid_core::{
    meta::MAX_ASYNC_LIMIT,
    name::{check_mirror_name, Name},
    priority::Priority,
    state::{OnIoError, Role},
    wire::Id,
};

/// Refuses whoever may not change the disks of the machine.
pub(super) fn admin(request: &Request<'_>) -> Result {
    if request.is_admin() {
        return Ok(());
    }
    Err(request.refuse(
        EPERM,
        format_args!("changing a mirror needs CAP_NET_ADMIN and CAP_SYS_ADMIN; do it as root"),
    ))
}

/// The name of a mirror.
pub(super) fn name(request: &Request<'_>) -> Result<Name> {
    let id = uapi::NETRAID_A_MIRROR_NAME;
    let Some(bytes) = request.text(id) else {
        return Err(request.refuse_attr(id, EINVAL, format_args!("the name of the mirror is missing")));
    };
    let text = core::str::from_utf8(bytes)
        .map_err(|_| request.refuse_attr(id, EINVAL, format_args!("the name of the mirror is not UTF-8")))?;
    checked(request, id, text)
}

/// What the source calls the mirror, empty where it is the same as here.
pub(super) fn source_name(request: &Request<'_>, here: &Name) -> Result<Name> {
    let id = uapi::NETRAID_A_MIRROR_SOURCE_NAME;
    let Some(bytes) = request.text(id) else {
        return Ok(Name::EMPTY);
    };
    let text = core::str::from_utf8(bytes).map_err(|_| {
        request.refuse_attr(
            id,
            EINVAL,
            format_args!("what the source calls the mirror is not UTF-8"),
        )
    })?;
    let name = checked(request, id, text)?;
    Ok(if name == *here { Name::EMPTY } else { name })
}

fn checked(request: &Request<'_>, id: u32, text: &str) -> Result<Name> {
    check_mirror_name(text).map_err(|error| request.refuse_attr(id, EINVAL, format_args!("{error}")))?;
    Name::new(text).map_err(|_| EINVAL)
}

/// The mirror with the name given.
pub(super) fn mirror(request: &Request<'_>) -> Result<Arc<Mirror>> {
    let name = name(request)?;
    registry::by_name(name.as_str()).ok_or_else(|| {
        request.refuse(
            ENOENT,
            format_args!("there is no mirror '{name}' on this machine; `netraid-ctl status` lists those there are"),
        )
    })
}

/// The path of a disk.
pub(super) fn disk(request: &Request<'_>) -> Result<CString> {
    let id = uapi::NETRAID_A_MIRROR_DISK;
    let Some(bytes) = request.text(id) else {
        return Err(request.refuse_attr(
            id,
            EINVAL,
            format_args!("the disk is missing; give the path of a disk or partition"),
        ));
    };
    if bytes.first() != Some(&b'/') {
        return Err(request.refuse_attr(id, EINVAL, format_args!("the path of the disk has to begin with '/'")));
    }
    c_string(bytes).map_err(|error| request.refuse_attr(id, error, format_args!("the path of the disk is not UTF-8")))
}

/// The role wanted; source unless said otherwise.
pub(super) fn role(request: &Request<'_>) -> Result<Role> {
    let id = uapi::NETRAID_A_MIRROR_ROLE;
    match request.u32(id).map_or(Some(Role::Source), Role::from_number) {
        Some(role @ (Role::Source | Role::Target)) => Ok(role),
        _ => Err(request.refuse_attr(
            id,
            EINVAL,
            format_args!("a new mirror is a source or a target, nothing else"),
        )),
    }
}

/// This machine's name and identity, as the caller knows them.
pub(super) fn node(request: &Request<'_>) -> (Name, Id) {
    let name = request
        .text(uapi::NETRAID_A_MIRROR_NODE_NAME)
        .and_then(|bytes| Name::from_bytes(bytes).ok())
        .unwrap_or_else(misc::node_name);
    let uuid = request
        .bytes(uapi::NETRAID_A_MIRROR_NODE_UUID)
        .and_then(|bytes| Id::try_from(bytes).ok())
        .unwrap_or_else(misc::random);
    (name, uuid)
}

/// Where a mirror listens; a source may do without.
pub(super) fn listen(request: &Request<'_>, needed: bool) -> Result<Option<(Address, Timing)>> {
    if !needed && request.u32(uapi::NETRAID_A_MIRROR_PORT).is_none() {
        return Ok(None);
    }
    address(request, &OF_MIRROR, |id| request.u32(id), |id| request.bytes(id)).map(Some)
}

/// Attribute numbers of an address in one of the sets that have one.
pub(super) struct AddressIds {
    address: u32,
    port: u32,
    scope_id: u32,
    heartbeat_ms: u32,
    timeout_ms: u32,
}

pub(super) const OF_MIRROR: AddressIds = AddressIds {
    address: uapi::NETRAID_A_MIRROR_ADDRESS,
    port: uapi::NETRAID_A_MIRROR_PORT,
    scope_id: uapi::NETRAID_A_MIRROR_SCOPE_ID,
    heartbeat_ms: uapi::NETRAID_A_MIRROR_HEARTBEAT_MS,
    timeout_ms: uapi::NETRAID_A_MIRROR_TIMEOUT_MS,
};

pub(super) const OF_LEG: AddressIds = AddressIds {
    address: uapi::NETRAID_A_LEG_ADDRESS,
    port: uapi::NETRAID_A_LEG_PORT,
    scope_id: uapi::NETRAID_A_LEG_SCOPE_ID,
    heartbeat_ms: uapi::NETRAID_A_LEG_HEARTBEAT_MS,
    timeout_ms: uapi::NETRAID_A_LEG_TIMEOUT_MS,
};

/// Address and times, from a request or the nest in it.
pub(super) fn address<'a>(
    request: &Request<'_>,
    ids: &AddressIds,
    u32: impl Fn(u32) -> Option<u32>,
    bytes: impl Fn(u32) -> Option<&'a [u8]>,
) -> Result<(Address, Timing)> {
    let refuse = |text: &str| Err(request.refuse(EINVAL, format_args!("{text}")));
    let Some(ip) = bytes(ids.address) else {
        return refuse("the address is missing; give 4 bytes for IPv4 or 16 for IPv6");
    };
    let Some(port) = u32(ids.port).and_then(|port| u16::try_from(port).ok()) else {
        return refuse("the port is missing; give a TCP port from 1 to 65535");
    };
    let Ok(address) = Address::new(ip, port, u32(ids.scope_id).unwrap_or(0)) else {
        return refuse("an address has 4 bytes for IPv4 or 16 for IPv6");
    };
    let heartbeat_ms = u32(ids.heartbeat_ms).unwrap_or(Timing::DEFAULT.heartbeat_ms);
    let timeout_ms = u32(ids.timeout_ms).unwrap_or(Timing::DEFAULT.timeout_ms);
    if timeout_ms < heartbeat_ms.saturating_mul(2) {
        return Err(request.refuse(
            EINVAL,
            format_args!(
                "a timeout of {timeout_ms} ms leaves no room for a heartbeat every {heartbeat_ms} ms; make it at least twice as long"
            ),
        ));
    }
    Ok((
        address,
        Timing {
            heartbeat_ms,
            timeout_ms,
        },
    ))
}

/// How many operations an asynchronous leg may have outstanding.
pub(super) fn async_limit(request: &Request<'_>) -> Result<Option<u32>> {
    let id = uapi::NETRAID_A_MIRROR_ASYNC_LIMIT;
    match request.u32(id) {
        Some(limit) if limit > MAX_ASYNC_LIMIT => Err(request.refuse_attr(
            id,
            EINVAL,
            format_args!(
                "an asynchronous leg can have {MAX_ASYNC_LIMIT} operations outstanding at most, not {limit}; choose a smaller limit"
            ),
        )),
        limit => Ok(limit),
    }
}

/// What becomes of a disk that fails.
pub(super) fn on_io_error(request: &Request<'_>) -> Result<Option<OnIoError>> {
    let id = uapi::NETRAID_A_MIRROR_ON_IO_ERROR;
    let Some(asked) = request.u32(id) else { return Ok(None) };
    OnIoError::from_number(asked).map(Some).ok_or_else(|| {
        request.refuse_attr(
            id,
            EINVAL,
            format_args!("a disk that fails is detached (0), or its errors are passed on (1), nothing else"),
        )
    })
}

/// The priority of this machine in a new mirror. A target has none before its source tells it.
pub(super) fn priority(request: &Request<'_>, role: Role) -> Result<Option<Priority>> {
    let id = uapi::NETRAID_A_MIRROR_PRIORITY;
    let asked = request.u32(id);
    if role != Role::Source {
        if asked.is_none() {
            return Ok(None);
        }
        return Err(request.refuse_attr(
            id,
            EINVAL,
            format_args!("a target gets its priority from the source; leave it out here, and give it to `netraid-ctl extend` there"),
        ));
    }
    let given = asked.map_or(Ok(Priority::HIGHEST), Priority::new);
    given
        .map(Some)
        .map_err(|error| request.refuse_attr(id, EINVAL, format_args!("{error}")))
}
