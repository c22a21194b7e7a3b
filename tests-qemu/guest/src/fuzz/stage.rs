// SPDX-License-Identifier: GPL-2.0
//! A peer that does everything right up to a point and from there on only says that it is there: so a module is held
//! in a state that otherwise lasts no longer than a message.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::{bail, Context as _, Result};
use clap::{Args, ValueEnum};
use netraid_core::{
    name::Name,
    wire::{
        Ack, AckStatus, Flags, Header, Hello, HelloFlags, Kind, Refuse, Reply, Welcome, WelcomeFlags, REPLY_MAX_LEN,
    },
};

use super::{
    message::{hello, identity, message, plain, welcome, Mirror, Standing},
    random::Random,
    wire::{sound, Heard, Line},
};

/// How often it says that it is there, milliseconds.
const PING_MS: u16 = 100;

/// Where a target stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AsTarget {
    /// It accepts connections and says nothing.
    Handshake,
    /// It never ends its map.
    Merging,
    /// It confirms no copy.
    Resyncing,
    /// It does not say that the resync is complete.
    Finishing,
    /// It confirms nothing from then on.
    SyncedMute,
    /// It does not answer the pause.
    PauseSent,
    /// It does not answer the end of the pause.
    Resuming,
    /// It goes on.
    Synced,
}

/// Where a source stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AsSource {
    /// In the middle of its greeting.
    HalfGreeting,
    /// Accepted.
    Connected,
    /// In the middle of a resync.
    Resyncing,
    /// In the middle of the data of a write.
    HalfWrite,
    /// In step.
    InStep,
    /// In a pause.
    Paused,
}

/// Which part to play.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Be a target, on this port, that stops here
    #[arg(long, value_enum, required_unless_present = "source", requires = "port")]
    target: Option<AsTarget>,
    /// Port of the target
    #[arg(long)]
    port: Option<u16>,
    /// Be a source, of the target at this address, that stops here
    #[arg(long, value_enum, conflicts_with = "target", requires = "to")]
    source: Option<AsSource>,
    /// Address of the target
    #[arg(long)]
    to: Option<SocketAddr>,
    /// Port on which the source says that it would listen
    #[arg(long, default_value_t = 0)]
    listens: u16,
    /// Size of the mirror in bytes
    #[arg(long, default_value_t = 4 << 20)]
    size: u64,
}

/// Says `ready` once it listens, `there` each time it has reached its place, and goes on until it is killed.
pub(crate) fn run(options: &Options) -> Result<()> {
    match (options.target, options.port, options.source, options.to) {
        (Some(stop), Some(port), _, _) => {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).context("listen")?;
            println!("ready");
            for stream in listener.incoming() {
                let stream = stream?;
                thread::spawn(move || {
                    if let Err(error) = target(stop, stream) {
                        eprintln!("netraid-guest: {error:#}");
                    }
                });
            }
            Ok(())
        }
        (_, _, Some(stop), Some(to)) => source(options, stop, to),
        _ => bail!("nothing to play"),
    }
}

fn there() {
    println!("there");
}

/// A line that two threads speak on: one answers, one says that somebody is there.
#[derive(Clone)]
struct Mouth(Arc<Mutex<Line>>);

impl Mouth {
    fn say(&self, bytes: &[u8]) -> Result<bool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).send(bytes)
    }

    /// Says that it is there until nobody listens any more.
    fn ping(&self) {
        let mouth = self.clone();
        thread::spawn(move || {
            while mouth.say(&plain(Kind::Ping)).unwrap_or(false) {
                let _waited = nix::poll::poll(&mut [], PING_MS);
            }
        });
    }
}

fn target(stop: AsTarget, stream: TcpStream) -> Result<()> {
    let mut line = Line::new(stream)?;
    let Heard::Message(_, payload) = line.hear()? else {
        return Ok(());
    };
    let hello = sound(Hello::decode(&payload))?;
    let mouth = Mouth(Arc::new(Mutex::new(line.again()?)));
    if stop == AsTarget::Handshake {
        there();
        // It is given up after a while.
        return line.drain();
    }
    let mut answer = welcome(&mut Random::new(hello.session), &hello);
    answer.flags = WelcomeFlags::FRESH.with(WelcomeFlags::HAS_MAP, stop == AsTarget::Merging);
    mouth.say(&message(Header::new(Kind::Welcome), &answer.encode())?)?;
    mouth.ping();
    let mut part = Part {
        stop,
        mouth,
        in_step: false,
        stopped: false,
    };
    while let Heard::Message(header, _) = line.hear()? {
        part.answer(&header)?;
    }
    Ok(())
}

/// What a target has come to.
struct Part {
    stop: AsTarget,
    mouth: Mouth,
    in_step: bool,
    stopped: bool,
}

impl Part {
    fn answer(&mut self, header: &Header) -> Result<()> {
        let at = match header.kind {
            Kind::Write | Kind::Zeroes | Kind::Discard | Kind::Flush if self.in_step => Some(AsTarget::SyncedMute),
            Kind::Write | Kind::Zeroes | Kind::Discard => Some(AsTarget::Resyncing),
            Kind::ResyncDone => Some(AsTarget::Finishing),
            Kind::Pause => Some(AsTarget::PauseSent),
            Kind::Resume => Some(AsTarget::Resuming),
            _ => None,
        };
        if at == Some(self.stop) && !self.stopped {
            self.stopped = true;
            there();
        }
        if self.stopped {
            return Ok(());
        }
        match header.kind {
            kind if kind.is_request() => {
                let ack = Ack {
                    handle: header.handle,
                    status: AckStatus::Ok,
                    seq: header.seq,
                };
                self.mouth.say(&message(Header::new(Kind::Ack), &ack.encode())?)?;
            }
            kind @ (Kind::ResyncDone | Kind::Pause | Kind::Resume) => {
                let mut reply = Header::new(Kind::Reply);
                reply.handle = u32::from(kind.number());
                self.mouth
                    .say(&message(reply, Reply::OK.encode(&mut [0; REPLY_MAX_LEN]))?)?;
                if kind == Kind::Resume && self.stop == AsTarget::Merging {
                    self.stopped = true;
                    there();
                }
                if kind == Kind::ResyncDone && !self.in_step {
                    self.in_step = true;
                    if self.stop == AsTarget::Synced {
                        there();
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn source(options: &Options, stop: AsSource, to: SocketAddr) -> Result<()> {
    let mirror = Mirror {
        name: Name::truncated("data"),
        uuid: identity("11111111111111111111111111111111")?,
        node: identity("22222222222222222222222222222222")?,
        node_name: Name::truncated("stage"),
        size: options.size,
        chunk_size: 1 << 16,
    };
    let mut greeting = hello(&mirror, &Standing::default(), HelloFlags::NONE, 1);
    greeting.listen_port = options.listens;
    (greeting.heartbeat_ms, greeting.timeout_ms) = (200, 1000);
    let bytes = message(Header::new(Kind::Hello), &greeting.encode())?;
    let mut line = Line::to(to)?;
    if stop == AsSource::HalfGreeting {
        line.send(&bytes[..100])?;
        there();
        return line.drain();
    }
    line.send(&bytes)?;
    let Heard::Message(header, payload) = line.hear()? else {
        bail!("closed instead of welcomed");
    };
    if header.kind == Kind::Refuse {
        bail!("refused: {}", sound(Refuse::decode(&payload))?.sentence());
    }
    sound(Welcome::decode(&payload))?;
    let mouth = Mouth(Arc::new(Mutex::new(line.again()?)));
    let on = |kind, offset, span| Header {
        offset,
        span,
        handle: 1,
        seq: 1,
        ..Header::new(kind)
    };
    let start = message(on(Kind::ResyncStart, 1, options.size), &[])?;
    let mut write = on(Kind::Write, 0, 1 << 16);
    write.flags = Flags::RESYNC;
    let mut write = message(write, &[0x5a; 1 << 16])?;
    let done = message(on(Kind::ResyncDone, 1, 0), &[])?;
    let speech = match stop {
        AsSource::HalfGreeting | AsSource::Connected => vec![],
        AsSource::Resyncing => vec![start, write],
        AsSource::HalfWrite => {
            write.truncate(1 << 15);
            vec![start, write]
        }
        AsSource::InStep => vec![start, write, done],
        AsSource::Paused => vec![start, write, done, plain(Kind::Pause)],
    };
    let replies = match stop {
        AsSource::InStep => 1,
        AsSource::Paused => 2,
        _ => 0,
    };
    mouth.say(&speech.concat())?;
    if stop != AsSource::HalfWrite {
        mouth.ping();
    }
    let mut heard = 0;
    if heard == replies {
        there();
    }
    while let Heard::Message(header, _) = line.hear()? {
        if header.kind == Kind::Reply {
            heard += 1;
            if heard == replies {
                there();
            }
        }
    }
    Ok(())
}
