// SPDX-License-Identifier: GPL-2.0

//! The block device in front of a volume.

use super::{read, write, VolumeRef};
use crate::sys::block::{Bio, Disk, Op, Operations};
use crate::sys::errno::EOPNOTSUPP;
use kernel::{
    prelude::*,
    sync::{new_mutex, Arc, Mutex},
};
use netraid_core::{name::Name, wire::MAX_PAYLOAD};

/// What the block layer talks to.
#[pin_data]
pub(crate) struct Front {
    volume: VolumeRef,
    #[pin]
    opens: Mutex<Opens>,
}

/// Who has the device open.
#[derive(Default)]
struct Opens {
    count: u32,
    /// No new opens: the device is going away.
    closed: bool,
}

impl Operations for Front {
    fn submit(&self, bio: Bio) {
        match bio.op() {
            Op::Read => read::submit(&self.volume, bio),
            Op::Write | Op::Discard | Op::WriteZeroes => write::submit(&self.volume, bio),
            Op::Other => bio.end(Err(EOPNOTSUPP.into())),
        }
    }

    fn open(&self) -> Result {
        let mut opens = self.opens.lock();
        if opens.closed {
            return Err(ENXIO);
        }
        opens.count = opens.count.saturating_add(1);
        Ok(())
    }

    fn release(&self) {
        let mut opens = self.opens.lock();
        opens.count = opens.count.saturating_sub(1);
    }
}

/// The name of a mirror's device in /dev.
pub(crate) fn device_name(mirror_id: u32) -> Name {
    Name::format(format_args!("netraid{mirror_id}"))
}

/// A visible block device; dropping it takes it away.
pub(crate) struct FrontDisk {
    front: Arc<Front>,
    _disk: Disk<Front>,
}

impl FrontDisk {
    /// Makes `/dev/<name>` for a volume. Its dispatcher has to run, since the partition table is read.
    pub(crate) fn new(name: &str, volume: VolumeRef) -> Result<Self> {
        let (size, lower) = (volume.geometry.size(), volume.lower().clone());
        let front = Arc::pin_init(
            pin_init!(Front { volume, opens <- new_mutex!(Opens::default(), "netraid_opens") }),
            GFP_KERNEL,
        )?;
        let disk = Disk::new(name, size, MAX_PAYLOAD, &lower, front.clone())?;
        Ok(Self { front, _disk: disk })
    }

    /// How many have it open.
    pub(crate) fn open_count(&self) -> u32 {
        self.front.opens.lock().count
    }

    /// Forbids new opens, unless somebody has it open and `force` is not given.
    ///
    /// # Errors
    ///
    /// The number of those who have it open.
    pub(crate) fn close(&self, force: bool) -> core::result::Result<(), u32> {
        let mut opens = self.front.opens.lock();
        if opens.count > 0 && !force {
            return Err(opens.count);
        }
        opens.closed = true;
        Ok(())
    }

    /// Takes back a [`FrontDisk::close`].
    pub(crate) fn reopen(&self) {
        self.front.opens.lock().closed = false;
    }
}
