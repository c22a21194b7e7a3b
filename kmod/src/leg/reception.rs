// SPDX-License-Identifier: GPL-2.0

//! Receptions: all mirrors of this machine that listen at the same address and port share one.
//!
//! A reception owns the listening socket and the thread that accepts. The thread reads what the caller introduces
//! himself with and passes him on to the [`Lobby`] of the mirror that he names. There the mirror's own thread takes
//! him over: a mirror whose disk hangs keeps nobody waiting but its own callers.
//!
//! The first mirror at an address opens the reception, the last one to leave closes it.
//!
//! # Locks
//!
//! The table's mutex is held while a reception is opened or closed, so that its port is free again when the next one
//! asks for it. Closing waits for the reception's thread. That thread takes the mutex of its reception, that of a lobby,
//! that of a superblock, and what reporting takes (the list of mirrors, the events, the state of a mirror), never the
//! table's. So none of
//! those may be held by whoever enters or leaves a reception; the lock of a mirror's operation may.

use super::{
    accept::{send_refusal, Caller, From, Lobby, Refused},
    link::Link,
    link_error::{LinkError, LinkResult},
    Report, Timing,
};
use crate::sys::{
    misc,
    net::{Address, Listener, NetNs, Socket},
    thread::KThread,
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        new_mutex, Arc, Mutex,
    },
};
use netraid_core::{
    handshake::{addressee, Addressee},
    name::{Name, Text},
    wire::{Hello, Kind, Refuse, RefuseCode, WireError, HELLO_LEN},
};

/// How long a greeting may take in all: whoever connects keeps others waiting for that long.
const GREETING_MS: u32 = 2000;

/// The longest greeting, with room for what later versions append.
const GREETING_MAX: usize = 1024;

/// How often to look up while nobody comes, milliseconds.
const TICK_MS: u32 = 250;

crate::module_mutex! {
    /// The receptions of this machine.
    static RECEPTIONS: Mutex<KVec<Open>> = KVec::new();
    prepare_lock
}

/// See [`prepare_lock`].
pub(crate) fn prepare_receptions() {
    prepare_lock();
}

/// Where people arrive.
#[pin_data]
struct Reception {
    net: NetNs,
    address: Address,
    listener: Listener,
    stopping: Atomic<bool>,
    #[pin]
    inner: Mutex<Inner>,
}

struct Inner {
    lobbies: KVec<Arc<Lobby>>,
    /// Who is introducing himself.
    caller: Option<Arc<Link>>,
}

/// A reception with its thread. Dropping it ends both.
struct Open {
    reception: Arc<Reception>,
    _thread: KThread,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.reception.close();
    }
}

/// A mirror's place at a reception. Dropping it ends that: nobody is passed on any more, and the port is free again if
/// nobody else is there. May sleep, but not for long.
pub(super) struct Place(Arc<Lobby>);

impl Place {
    /// Has whoever calls at `address` for the mirror of `lobby` passed on to it; may sleep.
    ///
    /// # Errors
    ///
    /// Those of [`Listener::new`], and `ENOMEM`.
    pub(super) fn take(net: &NetNs, address: &Address, lobby: &Arc<Lobby>) -> Result<Self> {
        let mut table = RECEPTIONS.lock();
        let found = table
            .iter()
            .find(|open| open.reception.net == *net && open.reception.address == *address);
        if let Some(open) = found {
            open.reception.enter(lobby)?;
        } else {
            table.push(Reception::open(net, address, lobby)?, GFP_KERNEL)?;
        }
        Ok(Self(lobby.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = RECEPTIONS.lock();
        let empty = table.iter().position(|open| open.reception.leave(&self.0));
        // Closed under the table's lock, see above.
        drop(empty.and_then(|place| table.remove(place).ok()));
        if table.is_empty() {
            // With its memory: a static is not dropped when the module goes.
            *table = KVec::new();
        }
    }
}

impl Reception {
    fn open(net: &NetNs, address: &Address, first: &Arc<Lobby>) -> Result<Open> {
        let listener = Listener::new(net, address)?;
        listener.set_wait(TICK_MS);
        let mut lobbies = KVec::new();
        lobbies.push(first.clone(), GFP_KERNEL)?;
        let inner = Inner { lobbies, caller: None };
        let reception = Arc::pin_init(
            pin_init!(Self {
                net: net.clone(),
                address: *address,
                listener,
                stopping: Atomic::new(false),
                inner <- new_mutex!(inner, "netraid_reception"),
            }),
            GFP_KERNEL,
        )?;
        let its = reception.clone();
        let thread = KThread::spawn(c"netraid_accept", move || its.run())?;
        Ok(Open {
            reception,
            _thread: thread,
        })
    }

    fn enter(&self, lobby: &Arc<Lobby>) -> Result {
        self.inner.lock().lobbies.push(lobby.clone(), GFP_KERNEL)?;
        Ok(())
    }

    /// Takes a lobby out if it is here; true where none is left, which happens to no other reception.
    fn leave(&self, lobby: &Arc<Lobby>) -> bool {
        let mut inner = self.inner.lock();
        inner.lobbies.retain(|other| !Arc::ptr_eq(other, lobby));
        inner.lobbies.is_empty()
    }

    /// Has the thread come to its end.
    fn close(&self) {
        self.stopping.store(true, Relaxed);
        self.listener.shutdown();
        let caller = self.inner.lock().caller.take();
        if let Some(link) = caller {
            link.abort();
        }
    }

    /// The thread's body.
    fn run(&self) {
        while !self.stopping.load(Relaxed) {
            match self.listener.accept() {
                Ok(socket) => self.receive(socket),
                Err(error) if error == EAGAIN => {}
                Err(_) if self.stopping.load(Relaxed) => return,
                // Out of memory or file handles; the listener's own wait keeps this from spinning.
                Err(_) => misc::sleep_ms(TICK_MS),
            }
        }
    }

    /// Hears who somebody is.
    fn receive(&self, socket: Socket) {
        let timing = Timing {
            heartbeat_ms: 1000,
            timeout_ms: GREETING_MS,
        };
        let Ok(link) = Link::accepted(socket, timing) else {
            return;
        };
        link.set_deadline(GREETING_MS);
        {
            let mut inner = self.inner.lock();
            if self.stopping.load(Relaxed) {
                return;
            }
            inner.caller = Some(link.clone());
        }
        let heard = hello(&link);
        self.inner.lock().caller = None;
        match heard {
            Ok(hello) => self.pass_on(Caller { link, hello }),
            Err(error @ (LinkError::Wire(_) | LinkError::Unexpected(_))) => self.refuse_noise(&link, error),
            // The mirrors are gone, and with them whoever could be told.
            Err(_) if self.stopping.load(Relaxed) => link.abort(),
            Err(error) => {
                let from = From(link.peer());
                self.tell_all(Report::Refused(Text::format(format_args!(
                    "a connection from {from} ended without a greeting: {error}"
                ))));
                link.abort();
            }
        }
    }

    /// Shows a caller to the mirror he wants.
    fn pass_on(&self, caller: Caller) {
        let wanted = caller.hello.mirror_name;
        let refused = match self.find(&caller.hello) {
            Found::One(lobby) => lobby.enter(caller).err(),
            Found::NotAmong(node) => Some(Refused {
                link: caller.link,
                code: RefuseCode::OtherMirror,
                reason: Text::format(format_args!(
                    "no mirror {wanted} listens on {node}; join it there with `netraid-ctl join`"
                )),
            }),
            Found::Ambiguous(node, one, two) => {
                let reason = Text::format(format_args!(
                    "two mirrors on {node}, {one} and {two}, could be the target of {wanted}; delete one of them there \
                     and join again with a port of its own (--listen)"
                ));
                self.tell_all(Report::Refused(reason));
                Some(Refused {
                    link: caller.link,
                    code: RefuseCode::Ambiguous,
                    reason,
                })
            }
            Found::Nobody => return caller.link.abort(),
        };
        if let Some(refused) = refused {
            send_refusal(&refused.link, &Refuse::new(refused.code, refused.reason));
        }
    }

    /// The lobby of the mirror that a caller wants. Where there is only one mirror, it says itself that it is not the one.
    fn find(&self, hello: &Hello) -> Found {
        let inner = self.inner.lock();
        let Some(first) = inner.lobbies.first() else {
            return Found::Nobody;
        };
        let node = first.node.name;
        match addressee(hello, inner.lobbies.iter().map(|lobby| lobby.listening())) {
            Addressee::Mirror(number) => {
                let mut lobbies = inner.lobbies.iter();
                let found = lobbies.find(|lobby| lobby.node.mirror_id == number);
                found.map_or(Found::NotAmong(node), |lobby| Found::One(lobby.clone()))
            }
            Addressee::Ambiguous(one, two) => Found::Ambiguous(node, one, two),
            Addressee::Nobody if inner.lobbies.len() == 1 => Found::One(first.clone()),
            Addressee::Nobody | Addressee::Caller => Found::NotAmong(node),
        }
    }

    fn refuse_noise(&self, link: &Link, error: LinkError) {
        let from = From(link.peer());
        let code = match error {
            LinkError::Wire(WireError::OtherVersion(_)) => RefuseCode::OtherVersion,
            _ => RefuseCode::Malformed,
        };
        let reason = Text::format(format_args!("what came from {from} is not accepted: {error}"));
        send_refusal(link, &Refuse::new(code, reason));
        self.tell_all(Report::Refused(reason));
    }

    /// Reports, with no lock held, what may concern any of the mirrors.
    fn tell_all(&self, report: Report) {
        for n in 0.. {
            let Some(lobby) = self.inner.lock().lobbies.get(n).cloned() else {
                return;
            };
            lobby.tell(report);
        }
    }
}

/// Who is responsible for a caller.
enum Found {
    One(Arc<Lobby>),
    /// None of the mirrors of this machine, which is called so.
    NotAmong(Name),
    /// Either of two mirrors of this machine, which is called so.
    Ambiguous(Name, Name, Name),
    /// All have left.
    Nobody,
}

fn hello(link: &Link) -> LinkResult<Hello> {
    let header = link.read_header()?;
    if header.kind != Kind::Hello {
        return Err(LinkError::Unexpected(header.kind));
    }
    let mut buffer = [0; GREETING_MAX];
    const { assert!(GREETING_MAX > HELLO_LEN) };
    Ok(Hello::decode(link.read_data(&header, &mut buffer)?)?)
}
