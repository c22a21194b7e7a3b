// SPDX-License-Identifier: GPL-2.0

//! Putting a disk in where that of a source was given up.

use super::{metadata::MetaPlace, mirror::Mirror, mirror_open::claim, notify, operations::operate, params};
use crate::{
    sys::{
        bind as uapi,
        block::LowerDisk,
        errno::{EALREADY, EOPNOTSUPP},
        genl::{display, Request},
    },
    volume::Volume,
};
use kernel::{prelude::*, str::CStr, sync::Arc};
use netraid_core::{name::Text, state::DiskState};

/// Puts a disk in.
pub(super) fn mirror_attach(request: &Request<'_>) -> Result {
    operate!(request, mirror, operation);
    let volume = mirror
        .with_source(|source| source.running.volume.clone())
        .ok_or_else(|| super::legs::not_source(request, &mirror))?;
    check_state(request, &mirror, &volume)?;
    let path = match request.text(uapi::NETRAID_A_MIRROR_DISK) {
        Some(_) => Arc::new(params::disk(request)?, GFP_KERNEL)?,
        None => mirror.disk(),
    };
    let old = volume.lower();
    // The one that was given up is still claimed.
    let same = LowerDisk::number_at(&path).is_ok_and(|number| number == old.device_number());
    let disk = if same { None } else { Some(claim(request, &path)?) };
    if let Some(disk) = &disk {
        check_fit(request, &mirror, &volume, &path, disk)?;
    }
    volume
        .put_in(disk)
        .map_err(|error| refuse_change(request, &mirror, error))?;
    {
        let (mut state, disk) = (mirror.state.lock(), volume.lower());
        state.disk = path;
        state.disk_number = Some(disk.device_number());
        state.size = disk.size();
    }
    drop(operation);
    notify::tell(&mirror, uapi::NETRAID_EVENT_KIND_STANDING_CHANGED, None, &Text::EMPTY);
    Ok(())
}

/// Why a disk that fits was not taken.
fn refuse_change(request: &Request<'_>, mirror: &Mirror, error: Error) -> Error {
    let name = mirror.name;
    if error == E2BIG {
        return request.refuse(
            error,
            format_args!(
                "disks were put in for mirror '{name}' as often as can be while it is in service; `netraid-ctl switchover {name}` on a target that is in step, then go on from there"
            ),
        );
    }
    request.refuse(
        error,
        format_args!("the disk of mirror '{name}' changed its state just now; look at `netraid-ctl status {name}`, and try again"),
    )
}

/// Refuses where no disk is missing, or one can't be filled or recorded.
fn check_state(request: &Request<'_>, mirror: &Mirror, volume: &Volume) -> Result {
    let name = mirror.name;
    match volume.disk_state().0 {
        DiskState::Detached => {}
        DiskState::Attached => {
            return Err(request.refuse(
                EALREADY,
                format_args!("the disk of mirror '{name}' is in use; nothing has to be put in"),
            ));
        }
        DiskState::Rebuilding => {
            return Err(request.refuse(
                EALREADY,
                format_args!("a disk was put in for mirror '{name}' already, and is being filled; wait for that"),
            ));
        }
        DiskState::Lost => {
            return Err(request.refuse(
                EBUSY,
                format_args!(
                    "no target of mirror '{name}' is in step that a disk could be filled from; stop it here and make the last one that was the source"
                ),
            ));
        }
    }
    if matches!(mirror.meta, MetaPlace::Internal) || volume.store.is_lost() {
        return Err(request.refuse(
            EOPNOTSUPP,
            format_args!(
                "the metadata of mirror '{name}' went with the disk; `netraid-ctl switchover {name}` on a target that is in step, then delete the mirror here and join it with the new disk"
            ),
        ));
    }
    Ok(())
}

/// Refuses a disk that can't take the place of the one the device was made for.
fn check_fit(request: &Request<'_>, mirror: &Mirror, volume: &Volume, path: &CStr, disk: &LowerDisk) -> Result {
    let (name, path, old) = (mirror.name, display(path), volume.lower());
    let size = volume.geometry.size();
    if disk.size() < size {
        return Err(request.refuse(
            ENOSPC,
            format_args!(
                "{path} has {} bytes, mirror '{name}' has {size}; take a larger disk",
                disk.size()
            ),
        ));
    }
    if disk.logical_block_size() > old.logical_block_size() {
        return Err(request.refuse(
            EINVAL,
            format_args!(
                "{path} is written in blocks of {} bytes, the device of mirror '{name}' in such of {}; take a disk with smaller ones",
                disk.logical_block_size(),
                old.logical_block_size()
            ),
        ));
    }
    if old.can_discard() && !disk.can_discard() {
        return Err(request.refuse(
            EINVAL,
            format_args!("{path} takes no discards, which the device of mirror '{name}' does; take a disk that does"),
        ));
    }
    Ok(())
}
