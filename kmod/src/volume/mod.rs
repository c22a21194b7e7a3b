// SPDX-License-Identifier: GPL-2.0

//! The data path over one local disk: what an application's read or write becomes.
//!
//! ```text
//!  bio ─► split ─► enter ─► begin ─┬─► clone to the local disk ──────────► done ─┐
//!                   │ overlaps     └─► queue of the leg ─► sent ─► confirmed ────┴─► bio ends
//!                   ▼                   (or, with no leg live: mark in the dirty map)
//!                 waits
//! ```
//!
//! One lock, [`Volume::state`], protects everything that decides; it is held for short times, interrupts off, and never
//! together with another lock. No request allocates memory of its own: requests live in a fixed table, and the clones
//! come from a reserve. When the table is full, bios wait in a list that is linked through themselves.
//!
//! A mark in the dirty map is set before the first copy is changed, and cleared only by [`Volume::confirm`] of a copy
//! that covered the whole chunk.

mod complete;
mod copy;
mod dispatch;
mod front;
mod read;
mod remote;
mod state;
mod write;

pub(crate) use copy::{enter as copy_range, Copied};
pub(crate) use front::{device_name, FrontDisk};
pub(crate) use remote::{Confirmed, Outgoing, Payload, RemoteMap};

use crate::{
    meta,
    sys::{
        block::{BioSet, LowerDisk, PagePool, PagedSet},
        misc,
        sync::{Event, Guarded, IrqLock},
        thread::KThread,
    },
};
use kernel::{prelude::*, sync::Arc};
use netraid_core::chunk::Geometry;
use state::State;

/// Requests in flight on one mirror. More than any disk's queue, and small enough that a table is cheap.
const REQUESTS: usize = 1024;

/// Bios that can be had in any case.
const RESERVE: u32 = 64;

/// Pages for copying that can be had in any case: one copy of the largest size.
const RESERVE_PAGES: u16 = 256;

/// A local disk with the state of everything that is under way on it.
#[pin_data]
pub(crate) struct Volume {
    /// How the disk is divided into chunks.
    pub(crate) geometry: Geometry,
    /// The local leg.
    pub(crate) lower: Arc<LowerDisk>,
    #[pin]
    state: IrqLock<State>,
    /// Raised when a waiting request may start; the dispatcher waits for it.
    #[pin]
    work: Event,
    /// Raised when there is something to send; the leg's sender waits for it.
    #[pin]
    pub(crate) outgoing: Event,
    /// Raised when a copy has ended or copying may begin; the resync waits for it.
    #[pin]
    pub(crate) copied: Event,
    /// Raised when the last application's request has ended, once somebody waits for that.
    #[pin]
    settled: Event,
    reads: BioSet<read::Read>,
    clones: BioSet<write::Local>,
    copies: PagedSet<copy::Copy>,
    pool: Arc<PagePool>,
}

/// A volume as all its users hold it.
pub(crate) type VolumeRef = Arc<Guarded<Volume>>;

impl Volume {
    /// Prepares a disk for use; may sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(lower: Arc<LowerDisk>, geometry: Geometry) -> Result<VolumeRef> {
        let state = State::new(REQUESTS, meta::empty_map(&geometry)?)?;
        let (reads, clones) = (BioSet::new(RESERVE)?, BioSet::new(RESERVE)?);
        let (copies, pool) = (PagedSet::new(RESERVE)?, PagePool::new(RESERVE_PAGES)?);
        Arc::pin_init(
            Guarded::new::<Error>(try_pin_init!(Self {
                geometry,
                lower,
                state <- crate::new_irq_lock!(state, c"netraid_volume"),
                work <- Event::new(),
                outgoing <- Event::new(),
                copied <- Event::new(),
                settled <- Event::new(),
                reads,
                clones,
                copies,
                pool,
            }? Error)),
            GFP_KERNEL,
        )
    }
}

/// A volume with its dispatcher. Dropping it ends the dispatcher; the volume lives on as long as it has users.
pub(crate) struct Running {
    pub(crate) volume: VolumeRef,
    // Dropped after `Drop` has told it to end.
    _dispatcher: KThread,
}

impl Running {
    /// Starts the dispatcher of a new volume.
    pub(crate) fn start(volume: VolumeRef) -> Result<Self> {
        let its = volume.clone();
        let dispatcher = KThread::spawn(c"netraid_io", move || dispatch::run(&its))?;
        Ok(Self {
            volume,
            _dispatcher: dispatcher,
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.volume.state.lock().stopping = true;
        self.volume.work.raise();
    }
}

/// Milliseconds since boot, as requests are stamped.
fn now() -> u64 {
    misc::now_ms()
}
