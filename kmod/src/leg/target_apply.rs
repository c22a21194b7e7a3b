// SPDX-License-Identifier: GPL-2.0

//! One connection on the target: what arrives is written to the disk, and remembered until it is confirmed.

use super::{
    link::Link,
    link_error::{LinkError, LinkResult},
    target::TargetLeg,
    target_compare::{Compared, Reading},
    target_confirm,
    target_fetch::{Answers, Fetch},
    target_io::{Flush, Write},
    target_receive,
};
use crate::sys::errno::EOPNOTSUPP;
use crate::sys::{
    block::{BioSet, IoResult, LowerDisk, PagePool, PagedBio, PagedSet},
    sync::{Event, Guarded, IrqGuard, IrqLock},
    thread::KThread,
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{Acquire, Atomic, Relaxed, Release},
        Arc,
    },
};
use netraid_core::{
    chunk::Geometry,
    epoch::{Gate, Pass},
    fifo::Fifo,
    meta::MAX_ASYNC_LIMIT,
    wire::{features, Ack, AckStatus, Flags, Header, Kind, MAX_PAYLOAD},
};

/// Requests a source may have outstanding; more than a source's table holds.
const OUTSTANDING: usize = 2048;
const OUTSTANDING_ASYNC: usize = OUTSTANDING + MAX_ASYNC_LIMIT as usize;

/// Bytes being written at a time. The socket's buffer holds the rest back.
const WINDOW_BYTES: u64 = 32 << 20;

/// Bios, and pages, that can be had in any case.
const RESERVE: u32 = 64;
const RESERVE_PAGES: u16 = 256;

/// A discard or a run of zeroes, done by a thread since it may be long.
#[derive(Clone, Copy)]
pub(super) struct Slow {
    pub(super) kind: Kind,
    pub(super) flags: Flags,
    pub(super) offset: u64,
    pub(super) span: u64,
    pub(super) ack: Ack,
}

/// What the connection's lock protects.
pub(super) struct Flow {
    pub(super) acks: Fifo<Ack, KVVec<Ack>>,
    pub(super) slow: Fifo<Slow, KVVec<Slow>>,
    /// What was read to be compared; with room for as many as there can be.
    pub(super) compared: KVVec<Compared>,
    pub(super) answers: Answers,
    gate: Gate,
    pub(super) outstanding: u32,
    /// The receiving thread is at work, and confirms what has ended before it waits for anything: nobody else need be woken
    /// for that.
    pub(super) attended: bool,
    bytes: u64,
    applied_bytes: u64,
    pub(super) ended: bool,
    begun: bool,
}

impl Flow {
    /// A request of `bytes` is over and told.
    pub(super) fn leave(&mut self, bytes: u64) {
        self.outstanding = self.outstanding.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// A connection.
#[pin_data]
pub(super) struct Conn {
    pub(super) link: Arc<Link>,
    pub(super) lower: Arc<LowerDisk>,
    pub(super) geometry: Geometry,
    /// Requests the source may have outstanding.
    most: usize,
    /// The source was told that what is confirmed is on stable storage.
    durable: bool,
    #[pin]
    pub(super) flow: IrqLock<Flow>,
    /// Requests that the disk began.
    begun: Atomic<u64>,
    /// Those of them that have ended.
    ended: Atomic<u64>,
    /// How many wait to be confirmed, as `flow` has it; a moment old.
    unconfirmed: Atomic<u32>,
    /// Raised when something can be confirmed, or the connection ends.
    #[pin]
    pub(super) confirmable: Event,
    /// Raised when a write has ended, or the connection begins or ends.
    #[pin]
    pub(super) room: Event,
    /// Raised when there is a discard to do or something to compare, or the connection ends.
    #[pin]
    pub(super) slow: Event,
    pub(super) writes: PagedSet<Write>,
    pub(super) reads: PagedSet<Reading>,
    fetches: PagedSet<Fetch>,
    pub(super) flushes: BioSet<Flush>,
    pub(super) pool: Arc<PagePool>,
}

/// A connection as its threads and its writes hold it.
pub(super) type ConnRef = Arc<Guarded<Conn>>;

impl Conn {
    fn new(link: Arc<Link>, lower: Arc<LowerDisk>, geometry: Geometry) -> Result<ConnRef> {
        let no_ack = Ack {
            handle: 0,
            status: AckStatus::Ok,
            seq: 0,
        };
        let none = Slow {
            kind: Kind::Discard,
            flags: Flags::NONE,
            offset: 0,
            span: 0,
            ack: no_ack,
        };
        let most = if link.has(features::BARRIER) {
            OUTSTANDING_ASYNC
        } else {
            OUTSTANDING
        };
        let durable = link.has(features::DURABLE);
        let flow = Flow {
            acks: Fifo::new(KVVec::from_elem(no_ack, most, GFP_KERNEL)?),
            slow: Fifo::new(KVVec::from_elem(none, most, GFP_KERNEL)?),
            compared: KVVec::with_capacity(most, GFP_KERNEL)?,
            answers: Answers::new(),
            gate: Gate::NEW,
            outstanding: 0,
            attended: false,
            bytes: 0,
            applied_bytes: 0,
            ended: false,
            begun: false,
        };
        let (writes, flushes) = (PagedSet::new(RESERVE)?, BioSet::new(RESERVE)?);
        let (reads, fetches) = (PagedSet::new(RESERVE)?, PagedSet::new(RESERVE)?);
        let pool = PagePool::new(RESERVE_PAGES)?;
        Arc::pin_init(
            Guarded::new::<Error>(try_pin_init!(Self {
                link,
                lower,
                geometry,
                most,
                durable,
                flow <- crate::new_irq_lock!(flow, c"netraid_flow"),
                begun: Atomic::new(0),
                ended: Atomic::new(0),
                unconfirmed: Atomic::new(0_u32),
                confirmable <- Event::new(),
                room <- Event::new(),
                slow <- Event::new(),
                writes,
                reads,
                fetches,
                flushes,
                pool,
            }? Error)),
            GFP_KERNEL,
        )
    }

    /// Lets the threads begin, after the owner has noted the connection.
    pub(super) fn begin(&self) {
        self.flow.lock().begun = true;
        self.room.raise();
    }

    /// Waits for the begin; false when the connection ended before.
    pub(super) fn wait_begun(&self) -> bool {
        loop {
            {
                let flow = self.flow.lock();
                if flow.ended || flow.begun {
                    return !flow.ended;
                }
            }
            self.room.wait(100);
        }
    }

    /// Fails where what is confirmed now would not be where the source was told it is.
    pub(super) fn keeps_word(&self) -> LinkResult {
        if self.durable && self.lower.is_cached() {
            return Err(LinkError::Cached);
        }
        Ok(())
    }

    /// Ends the connection; its threads come back.
    pub(super) fn end(&self) {
        self.stop();
        self.link.abort();
    }

    /// Nothing is begun any more; the source does not see that yet.
    pub(super) fn stop(&self) {
        self.flow.lock().ended = true;
        self.confirmable.raise();
        self.room.raise();
        self.slow.raise();
    }

    pub(super) fn has_ended(&self) -> bool {
        self.flow.lock().ended
    }

    /// The disk is about to begin a request.
    pub(super) fn note_begin(&self) {
        self.begun.fetch_add(1, Relaxed);
    }

    /// The disk has ended one.
    pub(super) fn note_end(&self) {
        self.ended.fetch_add(1, Release);
    }

    /// Bytes of application writes applied.
    pub(super) fn applied_bytes(&self) -> u64 {
        self.flow.lock().applied_bytes
    }

    /// Requests not yet confirmed; on a connection that has ended, where nothing is confirmed any more, those that are
    /// still changing the disk.
    pub(super) fn outstanding(&self) -> u32 {
        let flow = self.flow.lock();
        if flow.ended {
            let ended = self.ended.load(Acquire);
            u32::try_from(self.begun.load(Relaxed).wrapping_sub(ended)).unwrap_or(u32::MAX)
        } else {
            flow.outstanding
        }
    }

    /// How many requests have ended and are not confirmed.
    pub(super) fn unconfirmed(&self) -> usize {
        self.unconfirmed.load(Relaxed) as usize
    }

    /// The next request to be confirmed.
    pub(super) fn next_ack(&self, flow: &mut Flow) -> Option<Ack> {
        let ack = flow.acks.pop();
        self.unconfirmed.store(flow.acks.len() as u32, Relaxed);
        ack
    }

    /// Waits for what the disk does; the receiving thread alone. What it was to confirm is confirmed first: then it has to
    /// look again. False when the connection ends.
    fn wait_for_room(&self) -> bool {
        match target_confirm::catch_up(self) {
            Ok(false) => {
                self.room.wait(100);
                true
            }
            Ok(true) => true,
            Err(_) => false,
        }
    }

    /// Notes a request of `bytes`; sleeps while too much is being written. False when the connection ends, or the
    /// source has more outstanding than it may.
    pub(super) fn admit(&self, bytes: u64) -> bool {
        loop {
            {
                let mut flow = self.flow.lock();
                if flow.ended || flow.outstanding as usize >= self.most {
                    return false;
                }
                if flow.bytes == 0 || flow.bytes.saturating_add(bytes) <= WINDOW_BYTES {
                    flow.outstanding = flow.outstanding.saturating_add(1);
                    flow.bytes = flow.bytes.saturating_add(bytes);
                    return true;
                }
            }
            if !self.wait_for_room() {
                return false;
            }
        }
    }

    /// Waits until an admitted request may begin, see [`netraid_core::epoch`]; false where it is to fail instead. Ends
    /// with the connection. From then on the receiving thread confirms what has ended before it
    /// [waits](target_confirm::catch_up), if it is to `attend` to that: a fast disk is done at once.
    pub(super) fn await_turn(&self, header: &Header, attend: bool) -> LinkResult<bool> {
        let barrier = header.flags.contains(Flags::BARRIER);
        if barrier && !self.link.has(features::BARRIER) {
            return Err(LinkError::Unexpected(header.kind));
        }
        loop {
            {
                let mut flow = self.flow.lock();
                if flow.ended {
                    return Err(LinkError::Closed);
                }
                // What waits to be confirmed has ended on the disk; one of the others is this request itself.
                let under_way = flow.outstanding as usize > flow.acks.len().saturating_add(1);
                match flow.gate.pass(barrier, under_way) {
                    Pass::Now => {
                        flow.attended |= attend;
                        return Ok(true);
                    }
                    Pass::Never => return Ok(false),
                    Pass::Wait => {}
                }
            }
            if !self.wait_for_room() {
                return Err(LinkError::Closed);
            }
        }
    }

    /// Waits until nothing is being written any more; false when the connection ends before.
    pub(super) fn drain(&self) -> bool {
        loop {
            {
                let flow = self.flow.lock();
                if flow.ended {
                    return false;
                }
                if flow.bytes == 0 && flow.outstanding == 0 {
                    return true;
                }
            }
            if !self.wait_for_room() {
                return false;
            }
        }
    }

    /// A request has ended; any context.
    pub(super) fn settle(&self, ack: Ack, bytes: u64, resync: bool, result: IoResult) {
        let status = match result {
            Ok(()) => AckStatus::Ok,
            Err(error) if error == ENOSPC => AckStatus::NoSpace,
            Err(error) if error == EOPNOTSUPP => AckStatus::Unsupported,
            Err(_) => AckStatus::IoError,
        };
        let mut flow = self.flow.lock();
        flow.gate.ended(status == AckStatus::Ok);
        if status == AckStatus::Ok && !resync {
            flow.applied_bytes = flow.applied_bytes.saturating_add(bytes);
        }
        self.tell(flow, Ack { status, ..ack }, bytes);
    }

    /// The answer to a request that took the room of `bytes`; any context.
    pub(super) fn answer(&self, ack: Ack, bytes: u64) {
        self.tell(self.flow.lock(), ack, bytes);
    }

    fn tell(&self, mut flow: IrqGuard<'_, Flow>, ack: Ack, bytes: u64) {
        flow.bytes = flow.bytes.saturating_sub(bytes);
        // There is a place for each request admitted.
        let _ = flow.acks.push(ack);
        self.unconfirmed.store(flow.acks.len() as u32, Relaxed);
        let attended = flow.attended;
        drop(flow);
        if !attended {
            self.confirmable.raise();
            self.room.raise();
        }
    }

    /// A buffer for the data of a write; may sleep.
    pub(super) fn buffer(&self, offset: u64, len: u32) -> Result<PagedBio<Write>> {
        PagedBio::new(&self.writes, &self.pool, &self.lower, offset, len.min(MAX_PAYLOAD))
    }

    /// A buffer for data that is read; may sleep.
    pub(super) fn fetch_buffer(&self, offset: u64, len: u32) -> Result<PagedBio<Fetch>> {
        PagedBio::new(&self.fetches, &self.pool, &self.lower, offset, len.min(MAX_PAYLOAD))
    }
}

/// A connection with its threads. Dropping it ends them and waits for the writes under way.
pub(super) struct Serving {
    _receiver: KThread,
    _confirmer: KThread,
    _slow: KThread,
    // Last: its own drop waits for the writes.
    pub(super) conn: ConnRef,
}

impl Serving {
    pub(super) fn start(leg: &Arc<TargetLeg>, link: Arc<Link>, geometry: Geometry) -> Result<Self> {
        let conn = Conn::new(link, leg.lower.clone(), geometry)?;
        // Threads started before a later one fails find the connection ended.
        let guard = kernel::types::ScopeGuard::new_with_data(conn.clone(), |conn: ConnRef| conn.end());
        let (one, two, three) = (conn.clone(), conn.clone(), conn.clone());
        let (its, also) = (leg.clone(), leg.clone());
        let receiver = KThread::spawn(c"netraid_recv", move || target_receive::run(&its, &one))?;
        let confirmer = KThread::spawn(c"netraid_ack", move || target_confirm::run(&two))?;
        let slow = KThread::spawn(c"netraid_zero", move || target_confirm::run_slow(&also, &three))?;
        guard.dismiss();
        Ok(Self {
            _receiver: receiver,
            _confirmer: confirmer,
            _slow: slow,
            conn,
        })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.conn.end();
    }
}
