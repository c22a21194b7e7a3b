// SPDX-License-Identifier: GPL-2.0

//! One connection on the target: what arrives is written to the disk, and remembered until it is confirmed.

use super::{
    link::Link,
    target::TargetLeg,
    target_compare::{Compared, Reading},
    target_confirm,
    target_fetch::{Answers, Fetch},
    target_receive,
};
use crate::sys::errno::EOPNOTSUPP;
use crate::sys::{
    block::{BioSet, Done, IoResult, LowerDisk, PagePool, PagedBio, PagedDone, PagedSet},
    sync::{Busy, Event, Guarded, IrqLock},
    thread::KThread,
};
use kernel::{prelude::*, sync::Arc};
use netraid_core::{
    chunk::Geometry,
    fifo::Fifo,
    wire::{Ack, AckStatus, Flags, Header, Kind, MAX_PAYLOAD},
};

/// Requests a source may have outstanding; more than a source's table holds.
pub(super) const OUTSTANDING: usize = 2048;

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
    pub(super) outstanding: u32,
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
    #[pin]
    pub(super) flow: IrqLock<Flow>,
    /// Raised when something can be confirmed, or the connection ends.
    #[pin]
    pub(super) confirmable: Event,
    /// Raised when a write has ended, or the connection begins or ends.
    #[pin]
    pub(super) room: Event,
    /// Raised when there is a discard to do or something to compare, or the connection ends.
    #[pin]
    pub(super) slow: Event,
    writes: PagedSet<Write>,
    pub(super) reads: PagedSet<Reading>,
    fetches: PagedSet<Fetch>,
    flushes: BioSet<Flush>,
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
        let flow = Flow {
            acks: Fifo::new(KVVec::from_elem(no_ack, OUTSTANDING, GFP_KERNEL)?),
            slow: Fifo::new(KVVec::from_elem(none, OUTSTANDING, GFP_KERNEL)?),
            compared: KVVec::with_capacity(OUTSTANDING, GFP_KERNEL)?,
            answers: Answers::new(),
            outstanding: 0,
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
                flow <- crate::new_irq_lock!(flow, c"netraid_flow"),
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

    /// Ends the connection; its threads come back.
    pub(super) fn end(&self) {
        self.flow.lock().ended = true;
        self.link.abort();
        self.confirmable.raise();
        self.room.raise();
        self.slow.raise();
    }

    pub(super) fn has_ended(&self) -> bool {
        self.flow.lock().ended
    }

    /// Bytes of application writes applied.
    pub(super) fn applied_bytes(&self) -> u64 {
        self.flow.lock().applied_bytes
    }

    /// Requests not yet confirmed.
    pub(super) fn outstanding(&self) -> u32 {
        self.flow.lock().outstanding
    }

    /// Notes a request of `bytes`; sleeps while too much is being written. False when the connection ends, or the
    /// source has more outstanding than it may.
    pub(super) fn admit(&self, bytes: u64) -> bool {
        loop {
            {
                let mut flow = self.flow.lock();
                if flow.ended || flow.outstanding as usize >= OUTSTANDING {
                    return false;
                }
                if flow.bytes == 0 || flow.bytes.saturating_add(bytes) <= WINDOW_BYTES {
                    flow.outstanding = flow.outstanding.saturating_add(1);
                    flow.bytes = flow.bytes.saturating_add(bytes);
                    return true;
                }
            }
            self.room.wait(100);
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
            self.room.wait(100);
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
        if status == AckStatus::Ok && !resync {
            let mut flow = self.flow.lock();
            flow.applied_bytes = flow.applied_bytes.saturating_add(bytes);
        }
        self.answer(Ack { status, ..ack }, bytes);
    }

    /// The answer to a request that took the room of `bytes`; any context.
    pub(super) fn answer(&self, ack: Ack, bytes: u64) {
        let mut flow = self.flow.lock();
        flow.bytes = flow.bytes.saturating_sub(bytes);
        // There is a place for each request admitted.
        let _ = flow.acks.push(ack);
        drop(flow);
        self.confirmable.raise();
        self.room.raise();
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

/// Starts a flush of the disk; may sleep.
pub(super) fn flush(conn: &Guarded<Conn>, ack: Ack) -> Result {
    let busy = conn.enter().ok_or(ENODEV)?;
    conn.flushes.flush(&conn.lower)?.submit(Flush { ack, conn: busy });
    Ok(())
}

/// Starts a write whose data is in place; may sleep.
pub(super) fn write(conn: &Guarded<Conn>, pages: PagedBio<Write>, header: &Header, ack: Ack) -> Result {
    let busy = conn.enter().ok_or(ENODEV)?;
    let (fua, preflush) = (
        header.flags.contains(Flags::FUA),
        header.flags.contains(Flags::PREFLUSH),
    );
    let resync = header.flags.contains(Flags::RESYNC);
    pages.submit(
        crate::sys::block::Op::Write,
        fua,
        preflush,
        Write {
            ack,
            resync,
            conn: busy,
        },
    );
    Ok(())
}

/// A write under way.
pub(super) struct Write {
    ack: Ack,
    resync: bool,
    conn: Busy<Conn>,
}

impl PagedDone for Write {
    fn done(self, pages: PagedBio<Self>, result: IoResult) {
        let bytes = u64::from(pages.len());
        // The pages go back before the room they took is given to the next.
        drop(pages);
        self.conn.settle(self.ack, bytes, self.resync, result);
    }
}

/// A flush under way.
pub(super) struct Flush {
    ack: Ack,
    conn: Busy<Conn>,
}

impl Done for Flush {
    fn done(self, result: IoResult) {
        self.conn.settle(self.ack, 0, false, result);
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
