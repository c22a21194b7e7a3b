// SPDX-License-Identifier: GPL-2.0
//! Speaks the wire protocol to a module, as a source or as a target.

use std::{
    collections::BTreeMap,
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{
        atomic::{AtomicU64, Ordering},
        Mutex, MutexGuard, PoisonError,
    },
    time::{Duration, Instant},
};

use anyhow::{anyhow, bail, Context as _, Result};
use clap::Args;
use netraid_core::{
    name::Name,
    wire::{Header, WireError, HEADER_LEN, MAX_PAYLOAD},
};
use serde_json::json;

use super::{
    message::{identity, Mirror},
    source, target,
};

/// Whoever has not ended a connection after so long hangs; the module gives up what is silent after less.
pub(super) const HANGS: Duration = Duration::from_secs(60);

/// What to say, and to whom.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Be a source, and connect to the target there
    #[arg(long, required_unless_present = "listen")]
    pub(super) to: Option<SocketAddr>,
    /// Be a target on this port of 127.0.0.1, to which the source of the mirror is extended over and over
    #[arg(long, conflicts_with = "to")]
    pub(super) listen: Option<u16>,
    /// Name of the mirror
    #[arg(long, default_value = "data")]
    mirror: String,
    /// Identity of the mirror; without it no session is ever opened
    #[arg(long, default_value = "11111111111111111111111111111111")]
    mirror_uuid: String,
    /// Identity of the machine that is played
    #[arg(long, default_value = "22222222222222222222222222222222")]
    node_uuid: String,
    /// Name of the machine that is played
    #[arg(long, default_value = "fuzz")]
    node_name: String,
    /// Size of the mirror in bytes
    #[arg(long, default_value_t = 64 << 20)]
    size: u64,
    /// Bytes in a chunk
    #[arg(long, default_value_t = 1 << 16)]
    chunk_size: u32,
    /// Generation that the target is left with, so that the source that holds it is let in afterwards
    #[arg(long)]
    pub(super) generation: Option<u64>,
    /// What is said is drawn from this number
    #[arg(long)]
    pub(super) seed: u64,
    /// So many messages at least
    #[arg(long)]
    pub(super) messages: u64,
    /// Connections at the same time
    #[arg(long, default_value_t = 4)]
    pub(super) threads: u64,
}

impl Options {
    pub(super) fn played(&self) -> Result<Mirror> {
        Ok(Mirror {
            name: Name::truncated(&self.mirror),
            uuid: identity(&self.mirror_uuid)?,
            node: identity(&self.node_uuid)?,
            node_name: Name::truncated(&self.node_name),
            size: self.size,
            chunk_size: self.chunk_size,
        })
    }
}

/// What came of it, so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Messages, right or wrong, that were sent.
    messages: AtomicU64,
    counts: Mutex<BTreeMap<String, u64>>,
}

impl Tally {
    pub(super) fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    pub(super) fn add_messages(&self, count: u64) {
        self.messages.fetch_add(count, Ordering::Relaxed);
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self, what: &str) {
        let mut counts = self.counts();
        match counts.get_mut(what) {
            Some(count) => *count += 1,
            None => {
                counts.insert(what.to_owned(), 1);
            }
        }
    }
}

/// Talks until enough was said, and prints a line of JSON about it.
pub(crate) fn run(options: &Options) -> Result<()> {
    let tally = Tally::default();
    let began = Instant::now();
    match options.to {
        Some(to) => source::run(options, to, &tally)?,
        None => target::run(options, &tally)?,
    }
    let seconds = began.elapsed().as_secs_f64();
    let counts = tally.counts().clone();
    let line = json!({ "seed": options.seed, "messages": tally.messages(), "seconds": seconds, "counts": counts });
    println!("{line}");
    Ok(())
}

/// A connection to the module.
pub(super) struct Line {
    stream: TcpStream,
}

/// What comes from the module.
pub(super) enum Heard {
    Message(Header, Vec<u8>),
    /// The connection has ended, one way or another.
    End,
}

impl Line {
    pub(super) fn new(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(HANGS))?;
        stream.set_write_timeout(Some(HANGS))?;
        Ok(Self { stream })
    }

    /// Connects; whoever listens takes callers one after the other, but the kernel takes them at once.
    pub(super) fn to(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, HANGS).context("nobody listens any more")?;
        Self::new(stream)
    }

    /// Sends bytes; false when the module has ended the connection.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<bool> {
        match self.stream.write_all(bytes) {
            Ok(()) => Ok(true),
            Err(error) if is_hang(&error) => bail!("the module takes nothing any more and does not end the connection"),
            Err(_) => Ok(false),
        }
    }

    /// Says that nothing more comes.
    pub(super) fn finish(&self) {
        // It may have ended already.
        let _ended = self.stream.shutdown(Shutdown::Write);
    }

    /// The next message.
    pub(super) fn hear(&mut self) -> Result<Heard> {
        let mut raw = [0; HEADER_LEN];
        if !self.read(&mut raw)? {
            return Ok(Heard::End);
        }
        let header = sound(Header::decode(&raw))?;
        if header.len > MAX_PAYLOAD {
            bail!("the module announced {} bytes", header.len);
        }
        let mut payload = vec![0; usize::try_from(header.len)?];
        if !self.read(&mut payload)? {
            return Ok(Heard::End);
        }
        Ok(Heard::Message(header, payload))
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<bool> {
        match self.stream.read_exact(buffer) {
            Ok(()) => Ok(true),
            Err(error) if is_hang(&error) => bail!("the module neither answers nor ends the connection"),
            Err(_) => Ok(false),
        }
    }

    /// Reads until the module ends the connection.
    pub(super) fn drain(&mut self) -> Result<()> {
        let mut buffer = [0; 4096];
        let until = Instant::now() + HANGS;
        while Instant::now() < until {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if is_hang(&error) => break,
                Err(_) => return Ok(()),
            }
        }
        bail!("the module does not end a connection that has nothing more to say")
    }

    /// A second handle of the same connection.
    pub(super) fn again(&self) -> Result<Self> {
        Ok(Self {
            stream: self.stream.try_clone()?,
        })
    }
}

/// What the module itself says is right.
pub(super) fn sound<T>(decoded: Result<T, WireError>) -> Result<T> {
    decoded.map_err(|error| anyhow!("the module itself said something wrong: {error}"))
}

fn is_hang(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
