// SPDX-License-Identifier: GPL-2.0

//! Bringing a mirror into service: its disk, its device, its listener. Every failure is a sentence.

use super::{
    mirror::{Active, Mirror, Settle, Source, Target},
    notify::observe,
    registry,
};
use crate::sys::errno::{EADDRINUSE, EADDRNOTAVAIL, EOPNOTSUPP};
use crate::{
    leg::{Knowledge, Paused, TargetConfig, TargetHandle, Timing},
    sys::{
        block::LowerDisk,
        genl::{display, Request},
        misc::{self, ModuleRef},
        net::{Address, NetNs},
    },
    volume::{device_name, FrontDisk, Running, Volume},
};
use kernel::{prelude::*, sync::Arc};
use netraid_core::chunk::{default_chunk_size, Geometry};

impl Mirror {
    /// Claims the disk.
    pub(super) fn claim(&self, request: &Request<'_>) -> Result<Arc<LowerDisk>> {
        let disk = LowerDisk::open(&self.disk).map_err(|error| self.refuse_disk(request, error))?;
        let path = display(&self.disk);
        if disk.is_read_only() {
            return Err(request.refuse(
                EROFS,
                format_args!("{path} is write-protected; make it writable with `blockdev --setrw`"),
            ));
        }
        if disk.is_zoned() {
            return Err(request.refuse(
                EOPNOTSUPP,
                format_args!("{path} has zones that must be written in order; use a disk without"),
            ));
        }
        if disk.size() == 0 {
            return Err(request.refuse(ENODEV, format_args!("{path} has no size; is there a medium in it?")));
        }
        Ok(Arc::new(disk, GFP_KERNEL)?)
    }

    fn refuse_disk(&self, request: &Request<'_>, error: Error) -> Error {
        let path = display(&self.disk);
        if error == EBUSY {
            let other = LowerDisk::number_at(&self.disk).ok().and_then(registry::by_disk);
            if let Some(other) = other {
                return request.refuse(
                    EBUSY,
                    format_args!("{path} is already used by mirror '{}'; choose another disk", other.name),
                );
            }
            return request.refuse(
                EBUSY,
                format_args!("{path} is in use: mounted, swap, or part of another device; release it first"),
            );
        }
        if error == ENOENT {
            return request.refuse(error, format_args!("there is no {path}; check the path"));
        }
        if error == ENOTBLK {
            return request.refuse(
                error,
                format_args!("{path} is not a disk or partition; give the path of one"),
            );
        }
        if error == EROFS || error == EACCES {
            return request.refuse(
                error,
                format_args!("{path} is write-protected; make it writable with `blockdev --setrw`"),
            );
        }
        let errno = -error.to_errno();
        request.refuse(
            error,
            format_args!("{path} can't be opened (error {errno}); look at the kernel log"),
        )
    }

    /// The chunks of a new mirror on `disk`.
    pub(super) fn geometry(request: &Request<'_>, disk: &LowerDisk, chunk_size: Option<u32>) -> Result<Geometry> {
        let chunk_size = chunk_size.unwrap_or_else(|| default_chunk_size(disk.size()));
        Geometry::new(disk.size(), chunk_size).map_err(|error| request.refuse(EINVAL, format_args!("{error}")))
    }

    /// Brings the device up over `disk`; `paused` is what a target had already.
    pub(super) fn open_source(
        &self,
        request: &Request<'_>,
        disk: Arc<LowerDisk>,
        geometry: Geometry,
        paused: Option<Paused>,
    ) -> Result<Source> {
        let name = device_name(self.id);
        let failed = |error: Error| {
            let errno = -error.to_errno();
            request.refuse(error, format_args!("/dev/{name} can't be made (error {errno})"))
        };
        let (front, running) = match paused {
            Some(paused) => (paused.front, paused.running),
            None => {
                let volume = Volume::new(disk, geometry).map_err(failed)?;
                (None, Running::start(volume).map_err(failed)?)
            }
        };
        let front = match front {
            Some(front) => front,
            None => FrontDisk::new(name.as_str(), running.volume.clone()).map_err(failed)?,
        };
        let generation = u64::from_le_bytes(misc::random()) | 1;
        Ok(Source {
            _settle: Settle(running.volume.clone()),
            front,
            leg: None,
            running,
            generation,
            _module: ModuleRef::take(),
        })
    }

    /// Listens for a source that writes to `disk`.
    pub(super) fn open_target(
        &self,
        request: &Request<'_>,
        disk: Arc<LowerDisk>,
        listen: (Address, Timing),
        net: NetNs,
        knows: Knowledge,
    ) -> Result<Target> {
        let (address, timing) = listen;
        let config = TargetConfig {
            node: self.node(),
            address,
            timing,
            net,
            observer: observe,
        };
        let handle = TargetHandle::start(config, disk, knows).map_err(|error| {
            if error == EADDRINUSE {
                request.refuse(
                    error,
                    format_args!(
                        "port {} is in use on this machine; choose another with --listen",
                        address.port
                    ),
                )
            } else if error == EADDRNOTAVAIL {
                request.refuse(
                    error,
                    format_args!("{address} is not an address of this machine; choose one of its own"),
                )
            } else {
                let errno = -error.to_errno();
                request.refuse(error, format_args!("listening on {address} failed (error {errno})"))
            }
        })?;
        Ok(Target {
            handle,
            listen,
            _module: ModuleRef::take(),
        })
    }

    /// Puts a mirror into a role, and drops what it owned before, outside the lock.
    pub(super) fn switch(&self, active: Active, disk: Option<&LowerDisk>, geometry: Option<Geometry>) {
        let old = {
            let mut state = self.state.lock();
            state.disk_number = disk.map(LowerDisk::device_number);
            if let Some(disk) = disk {
                state.size = geometry.map_or(disk.size(), |geometry| geometry.size());
            }
            if geometry.is_some() {
                state.geometry = geometry;
            }
            core::mem::replace(&mut state.active, active)
        };
        drop(old);
    }

    /// Takes out what the mirror owns, leaving it stopped.
    pub(super) fn take(&self, knows: Knowledge) -> Active {
        let mut state = self.state.lock();
        core::mem::replace(&mut state.active, Active::Stopped(knows))
    }
}
