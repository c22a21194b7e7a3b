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
//! A read goes to the local disk alone. One that fails there waits in a list of its own, and then takes part in the order
//! of the writes, see [`rescue`].
//!
//! A mark in the dirty map is set before the first copy is changed, and cleared only by [`Volume::confirm`] of a copy
//! that covered the whole chunk.

mod complete;
mod copy;
mod dispatch;
mod exchange;
mod front;
mod journal;
mod log;
mod read;
mod remote;
mod rescue;
mod rounds;
mod state;
mod write;

pub(crate) use copy::{enter as copy_range, Copied};
pub(crate) use exchange::{Confirmed, Outgoing, Payload};
pub(crate) use front::{device_name, FrontDisk};
pub(crate) use log::Step;
pub(crate) use rescue::{arrived, Reads};

use crate::{
    meta::{maps::Maps, Store},
    sys::{
        block::{BioSet, LowerDisk, PagePool, PagedSet},
        misc,
        sync::{Event, Guarded, IrqLock},
        thread::KThread,
    },
};
use kernel::{
    prelude::*,
    sync::{new_mutex, Arc, Mutex},
    types::ScopeGuard,
};
use netraid_core::{chunk::Geometry, meta::MetaFlags};
use state::State;

/// Requests in flight on one mirror. More than any disk's queue, and small enough that a table is cheap.
const REQUESTS: usize = 1024;

/// Bios that can be had in any case.
const RESERVE: u32 = 64;

/// Pages for data that the target is asked for, that can be had in any case: one read of the largest size.
const REPAIR_PAGES: u16 = 256;

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
    /// Raised when metadata has to be written; the journal waits for it.
    #[pin]
    journal: Event,
    /// Raised when metadata was written.
    #[pin]
    kept: Event,
    /// Raised when the rounds are to end.
    #[pin]
    rounds: Event,
    /// Raised when the leg's part of a round has ended.
    #[pin]
    flushed: Event,
    /// Held during a round.
    #[pin]
    round: Mutex<()>,
    /// Held while a new generation is recorded, so that what is on record and what the leg is told are the same.
    #[pin]
    generation: Mutex<()>,
    /// The metadata.
    pub(crate) store: Arc<Store>,
    reads: BioSet<read::Read>,
    clones: BioSet<write::Local>,
    copies: PagedSet<copy::Copy>,
    pool: Arc<PagePool>,
    // Of their own: whoever takes in the data is also the one who takes in the confirmations that free those of copies.
    repairs: PagedSet<rescue::Repair>,
    repair_pool: Arc<PagePool>,
}

/// A volume as all its users hold it.
pub(crate) type VolumeRef = Arc<Guarded<Volume>>;

impl Volume {
    /// Prepares a disk for use, with the maps as the metadata has them; may sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(lower: Arc<LowerDisk>, geometry: Geometry, store: Arc<Store>) -> Result<VolumeRef> {
        let (every_chunk, generation) = store.with(|sb| (sb.flags.contains(MetaFlags::NO_BITMAP), sb.current));
        let state = State::new(REQUESTS, Maps::load(&store, &geometry)?, every_chunk, generation)?;
        let (reads, clones) = (BioSet::new(RESERVE)?, BioSet::new(RESERVE)?);
        let (copies, pool) = (PagedSet::new(RESERVE)?, PagePool::new(RESERVE_PAGES)?);
        let (repairs, repair_pool) = (PagedSet::new(RESERVE)?, PagePool::new(REPAIR_PAGES)?);
        Arc::pin_init(
            Guarded::new::<Error>(try_pin_init!(Self {
                geometry,
                lower,
                state <- crate::new_irq_lock!(state, c"netraid_volume"),
                work <- Event::new(),
                outgoing <- Event::new(),
                copied <- Event::new(),
                settled <- Event::new(),
                journal <- Event::new(),
                kept <- Event::new(),
                rounds <- Event::new(),
                flushed <- Event::new(),
                round <- new_mutex!((), "netraid_round"),
                generation <- new_mutex!((), "netraid_generation"),
                store,
                reads,
                clones,
                copies,
                pool,
                repairs,
                repair_pool,
            }? Error)),
            GFP_KERNEL,
        )
    }
}

/// A volume with its threads. Dropping it ends them; the volume lives on as long as it has users.
pub(crate) struct Running {
    pub(crate) volume: VolumeRef,
    // Dropped after `Drop` has told them to end.
    _dispatcher: KThread,
    _rounds: KThread,
    _journal: KThread,
}

impl Running {
    /// Starts the threads of a new volume.
    pub(crate) fn start(volume: VolumeRef) -> Result<Self> {
        // A thread that starts before a later one fails to start finds the volume stopping and ends.
        let stop = ScopeGuard::new_with_data(volume.clone(), |volume| volume.stop());
        let (one, two, three) = (volume.clone(), volume.clone(), volume.clone());
        let dispatcher = KThread::spawn(c"netraid_io", move || dispatch::run(&one))?;
        let rounds = KThread::spawn(c"netraid_round", move || rounds::run(&two))?;
        let journal = KThread::spawn(c"netraid_meta", move || journal::run(&three))?;
        stop.dismiss();
        Ok(Self {
            volume,
            _dispatcher: dispatcher,
            _rounds: rounds,
            _journal: journal,
        })
    }
}

impl Volume {
    fn stop(&self) {
        self.state.lock().stopping = true;
        self.work.raise();
        self.rounds.raise();
        self.journal.raise();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.volume.stop();
    }
}

/// Milliseconds since boot, as requests are stamped.
fn now() -> u64 {
    misc::now_ms()
}
