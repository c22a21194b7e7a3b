// SPDX-License-Identifier: GPL-2.0

//! One connection: messages in, messages out, and an ear for silence.

use super::{
    link_error::{LinkError, LinkResult},
    Timing,
};
use crate::sys::errno::ECONNRESET;
use crate::sys::{
    block::{Bio, PagedBio},
    misc,
    net::{Address, Head, Manner, NetNs, Socket},
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        new_mutex, Arc, Mutex,
    },
};
use netraid_core::{
    ahead::Ahead,
    wire::{features, Header, Kind, WireError, ACKS_MAX, ACK_LEN, HEADER_LEN},
    xxh64::checksum,
};

/// The longest that one message may take to be sent, milliseconds, although the other side is heard.
const SEND_MS: u64 = 30_000;

/// The data that follows a header.
pub(crate) enum Data<'a, C> {
    /// None.
    None,
    /// Bytes in memory.
    Bytes(&'a [u8]),
    /// An application's pages.
    Bio(&'a Bio),
    /// Pages of our own.
    Pages(&'a PagedBio<C>),
}

impl<C> Data<'_, C> {
    fn checksum(&self) -> u32 {
        match self {
            Self::None => 0,
            Self::Bytes(bytes) => checksum(bytes),
            Self::Bio(bio) => bio.checksum(),
            Self::Pages(pages) => pages.checksum(),
        }
    }
}

/// Data of so many bytes or more is sent without a copy. The two threads of `cargo xtask bench` exchange 4 KiB faster with a
/// copy, since lent pages take a call of their own, and 128 KiB faster without; in between nobody measured.
const LEND_FROM: u32 = 32 << 10;

/// Most bytes that are received before they are asked for: a message of many confirmations and the header of the next.
const AHEAD: usize = ACKS_MAX * ACK_LEN + 2 * HEADER_LEN;

/// A connection. One thread may receive while others send.
#[pin_data]
pub(crate) struct Link {
    pub(super) socket: Socket,
    heartbeat_ms: Atomic<u32>,
    timeout_ms: Atomic<u32>,
    /// Held while a message is sent, so that none comes into the middle of another. Sends end by themselves after
    /// the timeout.
    #[pin]
    sending: Mutex<Head<HEADER_LEN>>,
    /// What was received and not asked for yet. Held by the one thread that receives.
    #[pin]
    pub(super) ahead: Mutex<Ahead<AHEAD>>,
    /// How much of that there may be besides the header that follows data: where nothing but small messages comes, many
    /// of them are received at once.
    eager: usize,
    /// When the connection is given up whatever is heard, milliseconds since boot; 0 for never.
    deadline: Atomic<u64>,
    /// What both sides have agreed on, and whether they have agreed at all.
    features: Atomic<u64>,
    agreed: Atomic<bool>,
    heard: Atomic<u64>,
    spoke: Atomic<u64>,
    sent_bytes: Atomic<u64>,
    received_bytes: Atomic<u64>,
}

impl Link {
    fn new(socket: Socket, timing: Timing, eager: usize) -> Result<Arc<Self>> {
        let now = misc::now_ms();
        let head = Head::new()?;
        Arc::pin_init(
            pin_init!(Self {
                socket,
                heartbeat_ms: Atomic::new(timing.heartbeat_ms),
                timeout_ms: Atomic::new(timing.timeout_ms),
                sending <- new_mutex!(head, "netraid_sending"),
                ahead <- new_mutex!(Ahead::EMPTY, "netraid_ahead"),
                eager,
                deadline: Atomic::new(0_u64),
                features: Atomic::new(0_u64),
                agreed: Atomic::new(false),
                heard: Atomic::new(now),
                spoke: Atomic::new(now),
                sent_bytes: Atomic::new(0_u64),
                received_bytes: Atomic::new(0_u64),
            }),
            GFP_KERNEL,
        )
    }

    /// A connection that is not made yet, see [`Link::connect`].
    pub(crate) fn to(net: &NetNs, address: &Address, timing: Timing) -> Result<Arc<Self>> {
        Self::new(Socket::new(net, address)?, timing, AHEAD)
    }

    /// A connection that was accepted.
    pub(crate) fn accepted(socket: Socket, timing: Timing) -> Result<Arc<Self>> {
        let link = Self::new(socket, timing, 0)?;
        link.tune();
        Ok(link)
    }

    /// Gives the connection up in `ms` milliseconds, however much is heard; 0 takes that back.
    pub(crate) fn set_deadline(&self, ms: u32) {
        let at = if ms == 0 {
            0
        } else {
            misc::now_ms().saturating_add(u64::from(ms))
        };
        self.deadline.store(at, Relaxed);
    }

    /// Both sides have agreed on these features; the next message in each direction is the first to make use of them.
    pub(crate) fn agree(&self, features: u64) {
        self.features.store(features, Relaxed);
        self.agreed.store(true, Relaxed);
    }

    /// Whether both sides have agreed on a feature.
    pub(crate) fn has(&self, feature: u64) -> bool {
        self.features.load(Relaxed) & feature != 0
    }

    /// Makes the connection; sleeps at most the timeout.
    pub(crate) fn connect(&self, address: &Address) -> Result {
        self.socket.connect(address, self.timeout_ms.load(Relaxed))?;
        self.heard.store(misc::now_ms(), Relaxed);
        self.tune();
        Ok(())
    }

    fn tune(&self) {
        let timing = Timing {
            heartbeat_ms: self.heartbeat_ms.load(Relaxed),
            timeout_ms: self.timeout_ms.load(Relaxed),
        };
        self.socket.set_wait(timing.tick_ms());
        self.socket.tune(timing.timeout_ms);
    }

    /// Other times than those the connection began with.
    pub(crate) fn set_timing(&self, timing: Timing) {
        self.heartbeat_ms.store(timing.heartbeat_ms, Relaxed);
        self.timeout_ms.store(timing.timeout_ms, Relaxed);
        self.tune();
    }

    /// The other side's address.
    pub(crate) fn peer(&self) -> Option<Address> {
        self.socket.peer().ok()
    }

    /// Ends the connection; every thread in it comes back with an error. What was not sent is not sent any more.
    pub(crate) fn abort(&self) {
        self.socket.abort_on_close();
        self.socket.shutdown();
    }

    /// Ends the connection after what was queued.
    pub(crate) fn close(&self) {
        self.socket.shutdown();
    }

    /// Milliseconds since something was heard.
    pub(crate) fn silence_ms(&self) -> u64 {
        misc::now_ms().saturating_sub(self.heard.load(Relaxed))
    }

    /// Whether it is time for a heartbeat.
    pub(crate) fn wants_heartbeat(&self) -> bool {
        let quiet = misc::now_ms().saturating_sub(self.spoke.load(Relaxed));
        quiet >= u64::from(self.heartbeat_ms.load(Relaxed))
    }

    /// Bytes sent and received.
    pub(crate) fn traffic(&self) -> (u64, u64) {
        (self.sent_bytes.load(Relaxed), self.received_bytes.load(Relaxed))
    }

    /// Sends a header and what follows it, with a checksum where that is agreed on.
    pub(crate) fn send<C>(&self, header: Header, data: &Data<'_, C>) -> LinkResult {
        self.send_in_row(header, data, false)
    }

    /// The same; with `more` it may be kept to travel with the next message: the caller sends that at once, or
    /// [pushes](Link::push).
    pub(crate) fn send_in_row<C>(&self, mut header: Header, data: &Data<'_, C>, more: bool) -> LinkResult {
        let checked = header.takes_payload_checksum(self.has(features::PAYLOAD_CHECKSUM));
        if checked {
            header.payload_checksum = data.checksum();
        }
        // A connection that is given up may still be sending when its requests have ended and their pages hold something
        // else: only the checksum tells the other side.
        let lend = checked && header.len >= LEND_FROM;
        let manner = Manner { more, lend };
        let header = header.encode();
        let mut head = self.sending.lock();
        let socket = &self.socket;
        // A slow disk on the other side holds us back while its heartbeats go on; that has an end, too.
        let began = misc::now_ms();
        let patient = || {
            self.silence_ms() < u64::from(self.timeout_ms.load(Relaxed))
                && misc::now_ms().saturating_sub(began) < SEND_MS
        };
        let sent = match data {
            Data::None => socket.send(&header, &[], more, &patient).map(|()| 0),
            Data::Bytes(bytes) => socket.send(&header, bytes, more, &patient).map(|()| bytes.len() as u64),
            Data::Bio(bio) => {
                head.set(header);
                socket
                    .send_bio(&head, bio, manner, &patient)
                    .map(|()| u64::from(bio.len()))
            }
            Data::Pages(pages) => {
                head.set(header);
                socket
                    .send_paged(&head, pages, manner, &patient)
                    .map(|()| u64::from(pages.len()))
            }
        };
        let bytes = sent.map_err(LinkError::Io)?;
        self.sent_bytes.add(bytes.saturating_add(HEADER_LEN as u64), Relaxed);
        self.spoke.store(misc::now_ms(), Relaxed);
        Ok(())
    }

    /// Whether a message with so many bytes of data finds room without a wait. Any context.
    pub(crate) fn takes(&self, bytes: u32) -> bool {
        self.socket.has_room(bytes.saturating_add(HEADER_LEN as u32))
    }

    /// Sends what was kept for more to come.
    pub(crate) fn push(&self) {
        self.socket.push();
    }

    /// Sends a message without data.
    pub(crate) fn send_plain(&self, header: &Header) -> LinkResult {
        self.send(*header, &Data::<()>::None)
    }

    /// Takes leave, so that the other side does not have to wait for a timeout; not worth a wait if it is silent.
    pub(crate) fn say_goodbye(&self) {
        if self.silence_ms() < 2 * u64::from(self.heartbeat_ms.load(Relaxed)) {
            let _ = self.send_plain(&Header::new(Kind::Bye));
        }
    }

    /// Sends a message with bytes, whose number is put into the header.
    pub(crate) fn send_bytes(&self, mut header: Header, bytes: &[u8]) -> LinkResult {
        header.len = u32::try_from(bytes.len()).unwrap_or(0);
        self.send(header, &Data::<()>::Bytes(bytes))
    }

    pub(super) fn heard(&self, bytes: usize) {
        self.heard.store(misc::now_ms(), Relaxed);
        self.received_bytes.add(bytes as u64, Relaxed);
    }

    fn check_deadline(&self) -> LinkResult {
        let deadline = self.deadline.load(Relaxed);
        if deadline != 0 && misc::now_ms() > deadline {
            return Err(LinkError::Slow);
        }
        Ok(())
    }

    /// An error of a receive: none while the silence is still short.
    pub(super) fn check(&self, error: Error) -> LinkResult {
        if error == EAGAIN {
            self.check_deadline()?;
            let silence = self.silence_ms();
            if silence < u64::from(self.timeout_ms.load(Relaxed)) {
                return Ok(());
            }
            return Err(LinkError::Silent(silence));
        }
        Err(if error == ECONNRESET {
            LinkError::Closed
        } else {
            LinkError::Io(error)
        })
    }

    /// Fills `data`; sleeps as long as the other side is not silent for too long.
    fn read(&self, data: &mut [u8]) -> LinkResult {
        let mut ahead = self.ahead.lock();
        let mut done = ahead.take(data);
        while let Some(rest) = data.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let eager = rest.len() < self.eager;
            let into = if eager { ahead.room(self.eager) } else { &mut *rest };
            match self.socket.receive(into) {
                Ok(got) => {
                    self.heard(got);
                    let taken = if eager {
                        ahead.filled(got);
                        ahead.take(rest)
                    } else {
                        got
                    };
                    done = done.saturating_add(taken);
                    self.check_deadline()?;
                }
                Err(error) => self.check(error)?,
            }
        }
        Ok(())
    }

    /// Bytes that have arrived and can be read without a wait.
    pub(crate) fn readable(&self) -> u32 {
        self.socket
            .readable()
            .saturating_add(self.ahead.lock().kept().len() as u32)
    }

    /// The data that follows a header, of which none may be used unless this succeeds: into the pages of a bio.
    pub(crate) fn read_pages<C>(&self, header: &Header, pages: &PagedBio<C>) -> LinkResult {
        let mut ahead = self.ahead.lock();
        let mut done = pages.fill(ahead.kept());
        ahead.skip(done as usize);
        while done < pages.len() {
            let left = pages.len().saturating_sub(done);
            match self.socket.receive_paged(pages, done, ahead.room(HEADER_LEN)) {
                Ok(got) => {
                    self.heard(got as usize);
                    ahead.filled(got.saturating_sub(left) as usize);
                    done = done.saturating_add(got.min(left));
                }
                Err(error) => self.check(error)?,
            }
        }
        drop(ahead);
        self.check_payload(header, || pages.checksum())
    }

    /// Compares the checksum of a payload, where there is one.
    fn check_payload(&self, header: &Header, checksum: impl FnOnce() -> u32) -> LinkResult {
        if header.has_payload_checksum(self.has(features::PAYLOAD_CHECKSUM)) {
            header.check_payload(checksum())?;
        }
        Ok(())
    }

    /// The next header; what it says about lengths has been checked.
    pub(crate) fn read_header(&self) -> LinkResult<Header> {
        let mut bytes = [0; HEADER_LEN];
        self.read(&mut bytes)?;
        Header::decode(&bytes).map_err(|error| {
            LinkError::Wire(match error {
                // Who has greeted well speaks this protocol; the first bytes of the header are damaged.
                WireError::NotNetraid | WireError::OtherVersion(_) if self.agreed.load(Relaxed) => {
                    WireError::BadHeaderChecksum
                }
                other => other,
            })
        })
    }

    /// The data that follows a header, all of which has room in `data`.
    pub(crate) fn read_exact(&self, header: &Header, data: &mut [u8]) -> LinkResult {
        self.read(data)?;
        self.check_payload(header, || checksum(data))
    }

    /// The data that follows a header, where it fits into `buffer`.
    pub(crate) fn read_data<'a>(&self, header: &Header, buffer: &'a mut [u8]) -> LinkResult<&'a [u8]> {
        let len = header.len as usize;
        let data = buffer.get_mut(..len).ok_or(WireError::TooLong {
            kind: header.kind,
            len: header.len,
        })?;
        self.read_exact(header, data)?;
        Ok(data)
    }
}
