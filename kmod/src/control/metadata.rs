// SPDX-License-Identifier: GPL-2.0

//! Opening the metadata of a mirror, as a request names it.

use super::{mirror::Mirror, params, registry};
use crate::{
    meta::{MetaIo, MetaRefusal, Store},
    sys::{
        bind as uapi,
        block::LowerDisk,
        genl::{c_string, Request},
        misc,
    },
};
use kernel::{prelude::*, str::CString, sync::Arc};
use netraid_core::{
    chunk::{default_chunk_size, Geometry},
    meta::{Layout, MetaFlags, Superblock},
    state::{OnIoError, Role},
    wire::NO_ID,
};

/// Where the metadata of a mirror is.
pub(super) enum MetaPlace {
    /// Nothing outlives the module.
    Nowhere,
    /// In a file or on a device.
    Path(CString),
    /// At the end of the disk.
    Internal,
}

impl MetaPlace {
    /// What a request says.
    pub(super) fn of(request: &Request<'_>) -> Result<Self> {
        let id = uapi::NETRAID_A_MIRROR_META_PATH;
        let internal = request.flag(uapi::NETRAID_A_MIRROR_META_INTERNAL);
        let Some(bytes) = request.text(id) else {
            return Ok(if internal { Self::Internal } else { Self::Nowhere });
        };
        if internal {
            return Err(request.refuse_attr(
                id,
                EINVAL,
                format_args!("the metadata is either at the end of the disk or at a path, not both"),
            ));
        }
        if bytes.first() != Some(&b'/') {
            return Err(request.refuse_attr(
                id,
                EINVAL,
                format_args!("the path of the metadata has to begin with '/'"),
            ));
        }
        c_string(bytes)
            .map(Self::Path)
            .map_err(|error| request.refuse_attr(id, error, format_args!("the path of the metadata is not UTF-8")))
    }

    /// Bytes of the disk that are left for the mirror.
    fn usable(&self, disk: &LowerDisk, chunk_size: Option<u32>, no_bitmap: bool) -> u64 {
        match self {
            Self::Internal if no_bitmap => Layout::usable_size_without_maps(disk.size()),
            Self::Internal => Layout::usable_size(disk.size(), chunk_size),
            Self::Path(_) | Self::Nowhere => disk.size(),
        }
    }
}

fn refuse(request: &Request<'_>, refusal: MetaRefusal) -> Error {
    request.refuse(refusal.error, format_args!("{}", refusal.reason))
}

impl Mirror {
    /// Opens what holds the metadata; `None` where nothing does.
    fn meta_io(&self, request: &Request<'_>, disk: &Arc<LowerDisk>) -> Result<Option<MetaIo>> {
        let io = match &self.meta {
            MetaPlace::Nowhere => return Ok(None),
            MetaPlace::Internal => MetaIo::end_of(disk.clone()),
            MetaPlace::Path(path) => MetaIo::open(path),
        };
        let io = io.map_err(|refusal| refuse(request, refusal))?;
        if let Some(other) = registry::by_metadata(&io.identity(), self.id) {
            return Err(request.refuse(
                EBUSY,
                format_args!(
                    "the metadata of mirror '{}' is there already; give each mirror a bitmap of its own",
                    other.name
                ),
            ));
        }
        Ok(Some(io))
    }

    /// Bytes of the disk that are there for the mirror.
    pub(super) fn room(&self, disk: &LowerDisk) -> u64 {
        let (chunk_size, flags) = self.store().with(|sb| (sb.chunk_size, sb.flags));
        let chosen = Some(chunk_size).filter(|&size| size != 0);
        self.meta.usable(disk, chosen, flags.contains(MetaFlags::NO_BITMAP))
    }

    /// Makes the metadata of a new mirror.
    pub(super) fn format_metadata(&self, request: &Request<'_>, disk: &Arc<LowerDisk>, role: Role) -> Result {
        let source = role == Role::Source;
        let no_bitmap = request.flag(uapi::NETRAID_A_MIRROR_NO_BITMAP);
        let fresh = request.flag(uapi::NETRAID_A_MIRROR_FRESH);
        let passes_on = params::on_io_error(request)? == Some(OnIoError::PassOn);
        let mut sb = Superblock {
            set: u64::from_le_bytes(misc::random()),
            mirror_uuid: if source { misc::random() } else { NO_ID },
            node_uuid: self.node_uuid,
            name: self.name,
            source_name: params::source_name(request, &self.name)?,
            role,
            device_id: self.id,
            priority: params::priority(request, role)?,
            flags: MetaFlags::NONE
                .with(MetaFlags::LAST_OWNER, source)
                .with(MetaFlags::NO_BITMAP, no_bitmap)
                .with(MetaFlags::NEW, fresh && source && !no_bitmap)
                .with(MetaFlags::PREPARED, request.flag(uapi::NETRAID_A_MIRROR_NO_FULL_SYNC))
                .with(MetaFlags::PASS_ON, passes_on)
                .with(MetaFlags::ASYNC, request.flag(uapi::NETRAID_A_MIRROR_ASYNC_PERMITTED))
                .with(
                    MetaFlags::SAME_MACHINE,
                    request.flag(uapi::NETRAID_A_MIRROR_SAME_MACHINE),
                ),
            current: if source {
                u64::from_le_bytes(misc::random()) | 1
            } else {
                0
            },
            resync_rate: request.uint(uapi::NETRAID_A_MIRROR_RESYNC_RATE).unwrap_or(0),
            ..Superblock::default()
        };
        if let Some(limit) = params::async_limit(request)? {
            sb.async_limit = limit;
        }
        let mut geometry = None;
        if source {
            let wanted = request.u32(uapi::NETRAID_A_MIRROR_CHUNK_SIZE);
            let size = self.meta.usable(disk, wanted, no_bitmap);
            let chunk_size = wanted.unwrap_or_else(|| default_chunk_size(size));
            let made =
                Geometry::new(size, chunk_size).map_err(|error| request.refuse(EINVAL, format_args!("{error}")))?;
            (sb.size, sb.chunk_size) = (size, chunk_size);
            geometry = Some(made);
        }
        let store = match self.meta_io(request, disk)? {
            None => Store::memory(sb)?,
            Some(io) => Store::format(io, sb, geometry, source && !fresh).map_err(|it| refuse(request, it))?,
        };
        self.adopt(store, disk);
        Ok(())
    }

    /// Reads the metadata that a mirror had before this machine or the module was restarted.
    pub(super) fn load_metadata(&self, request: &Request<'_>, disk: &Arc<LowerDisk>) -> Result {
        let Some(io) = self.meta_io(request, disk)? else {
            return Err(request.refuse(
                EINVAL,
                format_args!(
                    "where the metadata of mirror '{}' is was not said; give its path",
                    self.name
                ),
            ));
        };
        let store = Store::load(io).map_err(|refusal| refuse(request, refusal))?;
        let (name, size) = store.with(|sb| (sb.name, sb.size));
        if name != self.name {
            return Err(request.refuse(
                EINVAL,
                format_args!(
                    "that is the metadata of mirror '{name}', not of '{}'; give the path of its own",
                    self.name
                ),
            ));
        }
        if size > disk.size() {
            return Err(request.refuse(
                ENOSPC,
                format_args!(
                    "the disk has {} bytes, mirror '{name}' has {size}; it is not the disk it was: put that in, or delete the mirror and join again",
                    disk.size()
                ),
            ));
        }
        self.adopt(store, disk);
        Ok(())
    }

    /// Opens the metadata again, for a mirror that comes back into service.
    pub(super) fn reload_metadata(&self, request: &Request<'_>, disk: &Arc<LowerDisk>) -> Result {
        match self.meta {
            MetaPlace::Nowhere => Ok(()),
            MetaPlace::Path(_) | MetaPlace::Internal => self.load_metadata(request, disk),
        }
    }

    /// Lets go of file or device, as the mirror goes out of service; what was in it is still shown.
    pub(super) fn close_metadata(&self) -> Result {
        if matches!(self.meta, MetaPlace::Nowhere) {
            return Ok(());
        }
        let closed = Store::memory(self.store().with(Superblock::clone))?;
        let old = core::mem::replace(&mut self.state.lock().store, closed);
        drop(old);
        Ok(())
    }

    /// The metadata can't be written.
    pub(super) fn unwritable(&self, request: &Request<'_>, error: Error) -> Error {
        let errno = -error.to_errno();
        request.refuse(
            error,
            format_args!(
                "the metadata of mirror '{}' can't be written (error {errno}); look at the kernel log and at the disk it is on",
                self.name
            ),
        )
    }

    fn adopt(&self, store: Arc<Store>, disk: &LowerDisk) {
        let mut state = self.state.lock();
        state.store = store;
        state.size = disk.size();
    }
}
