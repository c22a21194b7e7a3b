// SPDX-License-Identifier: GPL-2.0

//! The data path over one local disk: what an application's read or write becomes.
//!
//! ```text
//!  bio ─► split ─► enter ─► begin ─┬─► clone to the local disk ──────────► done ─┐
//!                   │ overlaps     └─► queue of each leg ─► sent ─► confirmed ───┴─► bio ends
//!                   ▼                   (or, for a leg that is not live: mark in its dirty map)
//!                 waits
//! ```
//!
//! On an asynchronous leg a bio ends when the local disk has it, as long as fewer requests than the limit are outstanding
//! and its data could be copied ([`shadow`], [`netraid_core::lag`]). The request stays in the table, without its bio and
//! with its bits in the log of intents, until the leg has confirmed it or was given up. So whatever asks what is under way
//! goes on to ask the table: a round clears no bit of it, a lost connection marks it and begins a generation, a pause
//! waits until nothing is outstanding, and a mirror goes out of service, or changes places, only when the table
//! is empty of the application's requests. In what order the target has them is told in [`netraid_core::epoch`].
//!
//! One lock, [`Volume::state`], protects everything that decides; it is held for short times, interrupts off, and never
//! together with another lock. No request allocates memory of its own: requests live in a fixed table, and clones, as
//! well as what brings back a bio that was passed on, come from reserves. When the table is full, bios wait in a list
//! that is linked through themselves.
//!
//! A read goes to the local disk alone, as the bio that it is. One that fails there waits in a list of its own, and then
//! takes part in the order of the writes, see [`rescue`]. Where the local disk was given up, see [`local`], all reads do
//! so, and writes go to the legs alone.
//!
//! A mark in the dirty map is set before the first copy is changed, and cleared only by [`Volume::confirm`] of a copy
//! that covered the whole chunk.

mod begin;
mod complete;
mod control;
mod copy;
mod counters;
mod direct;
mod disks;
mod dispatch;
mod exchange;
mod front;
mod journal;
mod legs;
mod live;
mod local;
mod log;
mod read;
mod rebuild;
mod remote;
mod rescue;
mod rounds;
mod shadow;
mod state;
mod write;

pub(crate) use copy::{enter as copy_part, Copied, Part as CopyPart};
pub(crate) use direct::Courier;
pub(crate) use exchange::{Confirmed, Outgoing, Payload};
pub(crate) use front::{device_name, FrontDisk};
pub(crate) use log::Step;
pub(crate) use rescue::{arrived, Reads};

use direct::Turn;
use disks::Disks;

use crate::{
    meta::{maps::Maps, Store},
    sys::{
        block::{BioSet, LowerDisk, PagePool, PagedSet, Passes},
        misc,
        sync::{Event, Guarded, IrqLock},
        thread::KThread,
    },
};
use kernel::{
    prelude::*,
    sync::{atomic::Atomic, new_mutex, Arc, Mutex},
    types::ScopeGuard,
};
use netraid_core::{
    chunk::Geometry,
    legs::{LegNumber, LegSet, MAX_LEGS},
    meta::{MetaFlags, MAX_ASYNC_LIMIT},
};
use pin_init::pin_init_array_from_fn;
use state::State;

/// Requests in flight on one mirror. More than any disk's queue, and small enough that a table is cheap. A mirror whose
/// leg may be asynchronous has as many places more as such a leg may have outstanding.
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
    disks: Disks,
    #[pin]
    state: IrqLock<State>,
    /// Raised when a waiting request may start; the dispatcher waits for it.
    #[pin]
    work: Event,
    /// Raised when there is something to send; the sender of each leg waits for its own.
    #[pin]
    outgoing: [Event; MAX_LEGS],
    /// Held by whoever sends on a leg.
    #[pin]
    turns: [Mutex<Turn>; MAX_LEGS],
    /// Raised when a copy has ended or copying may begin; the resync of each leg waits for its own.
    #[pin]
    copied: [Event; MAX_LEGS],
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
    /// Raised when a disk is to be rebuilt, and when a copy has ended.
    #[pin]
    rebuilding: Event,
    /// Raised when the legs' parts of a round have ended.
    #[pin]
    flushed: Event,
    /// Held during a round.
    #[pin]
    round: Mutex<()>,
    /// Held while a new generation is recorded, so that what is on record and what the legs are told are the same.
    #[pin]
    generation: Mutex<()>,
    /// The metadata.
    pub(crate) store: Arc<Store>,
    reads: Passes<read::Read>,
    cloned_reads: BioSet<read::Cloned>,
    clones: BioSet<write::Local>,
    /// A leg is asynchronous; changed together with what the lock protects of that.
    asynchronous: Atomic<bool>,
    /// The local disk was given up; changed under the lock, before anything that it lacks is acknowledged.
    gone: Atomic<bool>,
    shadows: PagedSet<shadow::Shadow>,
    copies: PagedSet<copy::Copy>,
    pool: Arc<PagePool>,
    // Of their own: whoever takes in the data is also the one who takes in the confirmations that free those of copies.
    repairs: PagedSet<rescue::Repair>,
    repair_pool: Arc<PagePool>,
}

/// A volume as all its users hold it.
pub(crate) type VolumeRef = Arc<Guarded<Volume>>;

impl Volume {
    /// Prepares a disk for use, with the maps of these legs as the metadata has them; may sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(lower: Arc<LowerDisk>, geometry: Geometry, store: Arc<Store>, legs: LegSet) -> Result<VolumeRef> {
        let (flags, generation) = store.with(|sb| (sb.flags, sb.current));
        let every_chunk = flags.contains(MetaFlags::NO_BITMAP);
        let more = if flags.contains(MetaFlags::ASYNC) {
            MAX_ASYNC_LIMIT as usize
        } else {
            0
        };
        let mut state = State::new(
            REQUESTS.saturating_add(more),
            Maps::load(&store, &geometry, legs)?,
            every_chunk,
            generation,
        )?;
        state.detaches = !flags.contains(MetaFlags::PASS_ON);
        let (reads, cloned_reads) = (Passes::new(RESERVE)?, BioSet::new(RESERVE)?);
        let clones = BioSet::new(RESERVE)?;
        // Nobody waits for one of these: the smallest reserve there can be.
        let shadows = PagedSet::new(1)?;
        let (copies, pool) = (PagedSet::new(RESERVE)?, PagePool::new(RESERVE_PAGES)?);
        let (repairs, repair_pool) = (PagedSet::new(RESERVE)?, PagePool::new(REPAIR_PAGES)?);
        Arc::pin_init(
            Guarded::new::<Error>(try_pin_init!(Self {
                geometry,
                disks: Disks::new(lower),
                state <- crate::new_irq_lock!(state, c"netraid_volume"),
                work <- Event::new(),
                outgoing <- pin_init_array_from_fn(|_| Event::new()),
                turns <- pin_init_array_from_fn(|_| new_mutex!(Turn::NONE, "netraid_turn")),
                copied <- pin_init_array_from_fn(|_| Event::new()),
                settled <- Event::new(),
                journal <- Event::new(),
                kept <- Event::new(),
                rounds <- Event::new(),
                flushed <- Event::new(),
                rebuilding <- Event::new(),
                round <- new_mutex!((), "netraid_round"),
                generation <- new_mutex!((), "netraid_generation"),
                store,
                reads,
                cloned_reads,
                clones,
                asynchronous: Atomic::new(false),
                gone: Atomic::new(false),
                shadows,
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
    _rebuild: KThread,
}

impl Running {
    /// Starts the threads of a new volume.
    pub(crate) fn start(volume: VolumeRef) -> Result<Self> {
        // A thread that starts before a later one fails to start finds the volume stopping and ends.
        let stop = ScopeGuard::new_with_data(volume.clone(), |volume| volume.stop());
        let (one, two, three, four) = (volume.clone(), volume.clone(), volume.clone(), volume.clone());
        let dispatcher = KThread::spawn(c"netraid_io", move || dispatch::run(&one))?;
        let rounds = KThread::spawn(c"netraid_round", move || rounds::run(&two))?;
        let journal = KThread::spawn(c"netraid_meta", move || journal::run(&three))?;
        let rebuild = KThread::spawn(c"netraid_rebuild", move || rebuild::run(&four))?;
        stop.dismiss();
        Ok(Self {
            volume,
            _dispatcher: dispatcher,
            _rounds: rounds,
            _journal: journal,
            _rebuild: rebuild,
        })
    }
}

impl Volume {
    /// The local disk. Another one may be put in its place. Any context.
    pub(crate) fn lower(&self) -> &Arc<LowerDisk> {
        self.disks.get(self.disks.number())
    }

    /// The local disk, unless it was given up. Any context.
    pub(super) fn readable(&self) -> Option<&Arc<LowerDisk>> {
        loop {
            let number = self.disks.number();
            if self.is_disk_gone() {
                return None;
            }
            // One may have been given up, and another one put in and filled, in between; that is rare enough to come to an end.
            if self.disks.number() == number {
                return Some(self.disks.get(number));
            }
        }
    }

    /// Whether there is no bitmap.
    fn every_chunk(&self) -> bool {
        self.store.with(|sb| sb.flags.contains(MetaFlags::NO_BITMAP))
    }

    /// Has the sender of a leg look for something to do.
    pub(crate) fn raise_outgoing(&self, leg: LegNumber) {
        if let Some(event) = self.outgoing.get(leg.index()) {
            event.raise();
        }
    }

    /// The same for several legs.
    pub(crate) fn raise_all_outgoing(&self, legs: LegSet) {
        for leg in legs.iter() {
            self.raise_outgoing(leg);
        }
    }

    /// Waits until the sender of a leg may have something to do, at most `ms` milliseconds; false when the time is over.
    /// May sleep.
    pub(crate) fn wait_outgoing(&self, leg: LegNumber, ms: u32) -> bool {
        self.outgoing.get(leg.index()).is_some_and(|event| event.wait(ms))
    }

    /// Has the resync of a leg look for something to do.
    pub(crate) fn raise_copied(&self, leg: LegNumber) {
        if let Some(event) = self.copied.get(leg.index()) {
            event.raise();
        }
    }

    /// Waits until the resync of a leg may have something to do, as [`Volume::wait_outgoing`] does. May sleep.
    pub(crate) fn wait_copied(&self, leg: LegNumber, ms: u32) -> bool {
        self.copied.get(leg.index()).is_some_and(|event| event.wait(ms))
    }

    fn stop(&self) {
        self.state.lock().stopping = true;
        self.work.raise();
        self.rounds.raise();
        self.journal.raise();
        self.rebuilding.raise();
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
