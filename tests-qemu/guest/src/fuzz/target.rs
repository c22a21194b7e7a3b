// SPDX-License-Identifier: GPL-2.0
//! A target that means no good: the source of a mirror is extended to it over and over, and each time gets an answer
//! that it should not believe.

use std::{
    io,
    net::{Ipv4Addr, TcpListener, TcpStream},
    time::Instant,
};

use anyhow::{bail, Context as _, Result};
use netraid_core::wire::{Header, Hello, Kind, Reply, WelcomeFlags, REPLY_MAX_LEN};

use super::{
    corpus,
    damage::{scramble, spoil},
    message::{message, of_target, plain, refusal, welcome, Mirror},
    netlink::{leg_to, Caller},
    random::Random,
    wire::{sound, Heard, Line, Options, Tally, HANGS},
};

/// Most messages on one connection.
const BURST: u64 = 400;

struct Fuzz<'a> {
    mirror: Mirror,
    tally: &'a Tally,
}

/// Answers until enough was said.
pub(super) fn run(options: &Options, tally: &Tally) -> Result<()> {
    let port = options.listen.context("a port to listen on")?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).context("listen")?;
    listener.set_nonblocking(true)?;
    let mut caller = Caller::open()?;
    let family = caller.family()?;
    let mirror = options.played()?;
    let [unextend, extend] = leg_to(mirror.name.as_str(), port);
    let fuzz = Fuzz { mirror, tally };
    let mut random = Random::new(options.seed);
    while tally.messages() < options.messages {
        caller.obey(family, &extend)?;
        let line = Line::new(accept(&listener)?)?;
        fuzz.connection(&mut random, line)
            .with_context(|| format!("after {} messages", tally.messages()))?;
        // Also while the connection is in use.
        caller.obey(family, &unextend)?;
    }
    Ok(())
}

/// The next connection of the module.
fn accept(listener: &TcpListener) -> Result<TcpStream> {
    let until = Instant::now() + HANGS;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("accept"),
        }
        if Instant::now() > until {
            bail!("the module does not connect");
        }
        nix::poll::poll(
            &mut [nix::poll::PollFd::new(
                std::os::fd::AsFd::as_fd(listener),
                nix::poll::PollFlags::POLLIN,
            )],
            1000_u16,
        )?;
    }
}

/// The answer to the question whether replication goes on.
fn resumed() -> Result<Vec<u8>> {
    let mut header = Header::new(Kind::Reply);
    header.handle = u32::from(Kind::Resume.number());
    message(header, Reply::OK.encode(&mut [0; REPLY_MAX_LEN]))
}

impl Fuzz<'_> {
    fn connection(&self, random: &mut Random, mut line: Line) -> Result<()> {
        let Heard::Message(header, payload) = line.hear()? else {
            self.tally.count("closed before the greeting");
            return Ok(());
        };
        if header.kind != Kind::Hello {
            bail!("the module began with {}", header.kind);
        }
        let hello = sound(Hello::decode(&payload))?;
        let what = match random.below(16) {
            0 => {
                let count = 1 + random.index(400);
                let noise = random.bytes(count);
                self.end(&mut line, &noise, 1)?;
                "noise"
            }
            1 => {
                let mut bytes = refusal(random)?;
                if random.one_in(2) {
                    spoil(random, &mut bytes);
                }
                self.end(&mut line, &bytes, 1)?;
                "refusal"
            }
            2..5 => {
                let mut bytes = message(Header::new(Kind::Welcome), &welcome(random, &hello).encode())?;
                spoil(random, &mut bytes);
                self.end(&mut line, &bytes, 1)?;
                "spoilt welcome"
            }
            5 | 6 => {
                let mut welcome = welcome(random, &hello).encode();
                scramble(random, &mut welcome);
                let mut bytes = message(Header::new(Kind::Welcome), &welcome)?;
                bytes.extend(self.speech(random)?.0);
                self.end(&mut line, &bytes, 2)?;
                "odd welcome"
            }
            7 => {
                let bytes = random.pick(corpus::ALL)?;
                self.end(&mut line, bytes, 1)?;
                "of the corpus"
            }
            8 => {
                drop(line);
                "gone"
            }
            _ => {
                let welcome = welcome(random, &hello);
                let maps = welcome.flags.contains(WelcomeFlags::HAS_MAP);
                let welcome = message(Header::new(Kind::Welcome), &welcome.encode())?;
                let (mut speech, count) = self.speech(random)?;
                if maps {
                    // The source asks first, and takes maps from then on.
                    speech = [resumed()?, speech].concat();
                }
                if line.send(&welcome)? {
                    self.end(&mut line, &speech, count + 1)?;
                }
                "session"
            }
        };
        self.tally.count(what);
        Ok(())
    }

    /// Messages, mostly right ones, and something that ends the connection.
    fn speech(&self, random: &mut Random) -> Result<(Vec<u8>, u64)> {
        let mut bytes = Vec::new();
        let count = random.below(BURST);
        // Most confirmations end a connection, since they are of nothing that was sent.
        let calm = random.one_in(2);
        for _ in 0..count {
            let next = of_target(random, &self.mirror)?;
            let kind = next.get(4).copied();
            let ends = [Kind::Ack, Kind::Reply, Kind::Takeover].map(Kind::number);
            if calm && kind.is_some_and(|kind| ends.contains(&kind)) {
                bytes.extend(plain(Kind::Ping));
            } else {
                bytes.extend(next);
            }
        }
        let mut last = of_target(random, &self.mirror)?;
        spoil(random, &mut last);
        bytes.extend(last);
        Ok((bytes, count + 1))
    }

    /// Says the last that is said, takes what comes meanwhile, and sees the connection end.
    fn end(&self, line: &mut Line, bytes: &[u8], count: u64) -> Result<()> {
        let mut ear = line.again()?;
        std::thread::scope(|scope| {
            let heard = scope.spawn(move || ear.drain());
            let sent = line.send(bytes);
            line.finish();
            let heard = heard.join().unwrap_or_else(|_| bail!("a thread panicked"));
            sent.and(heard)
        })?;
        self.tally.add_messages(count);
        Ok(())
    }
}
