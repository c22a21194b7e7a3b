// SPDX-License-Identifier: GPL-2.0
//! A source that means no good: greets rightly and then talks nonsense, or does not even greet.

use std::{
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

use anyhow::{anyhow, bail, ensure, Context as _, Result};
use netraid_core::{
    name::Name,
    wire::{Header, Hello, HelloFlags, Kind, Refuse, RefuseCode, Welcome},
};

use super::{
    corpus,
    damage::{scramble, seal, spoil},
    message::{hello, message, of_source, plain, Mirror, Standing},
    random::Random,
    wire::{sound, Heard, Line, Options, Tally},
};

/// Most messages on one connection.
const BURST: u64 = 200;

/// After so many messages one source is slow.
const SLOW: u64 = 20_000;

struct Fuzz<'a> {
    to: SocketAddr,
    mirror: Mirror,
    standing: Mutex<Standing>,
    tally: &'a Tally,
}

/// Talks to the target until enough was said.
pub(super) fn run(options: &Options, to: SocketAddr, tally: &Tally) -> Result<()> {
    let fuzz = Fuzz {
        to,
        mirror: options.played()?,
        standing: Mutex::default(),
        tally,
    };
    let mut random = Random::new(options.seed);
    fuzz.ask(&mut random)?;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..options.threads)
            .map(|_| {
                let (fuzz, mut random) = (&fuzz, random.fork());
                scope.spawn(move || -> Result<()> {
                    while fuzz.tally.messages() < options.messages {
                        fuzz.connection(&mut random)?;
                    }
                    Ok(())
                })
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|_| Err(anyhow!("a thread panicked"))))
    })?;
    for _ in 0..tally.messages() / SLOW + 1 {
        fuzz.drip(&mut random)?;
    }
    match options.generation {
        Some(generation) => fuzz.leave(&mut random, generation),
        None => Ok(()),
    }
}

impl Fuzz<'_> {
    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn said(&self, count: u64) {
        self.tally.add_messages(count);
    }

    /// One connection of a random sort.
    fn connection(&self, random: &mut Random) -> Result<()> {
        let (what, outcome) = match random.below(20) {
            0..3 => ("noise", self.noise(random)),
            3..6 => ("spoilt greeting", self.spoilt_greeting(random)),
            6..9 => ("odd greeting", self.odd_greeting(random)),
            9 => ("of the corpus", self.of_the_corpus(random)),
            10 => ("question", self.ask(random)),
            11 => ("in pieces", self.in_pieces(random)),
            _ => ("session", self.session(random)),
        };
        self.tally.count(what);
        outcome.with_context(|| format!("after {} messages, in a {what}", self.tally.messages()))
    }

    /// Says something that is no greeting, and sees the connection end.
    fn say(&self, random: &mut Random, bytes: &[u8]) -> Result<()> {
        let mut line = Line::to(self.to)?;
        line.send(bytes)?;
        self.said(1);
        // Some are gone before they could be answered.
        if random.one_in(8) {
            return Ok(());
        }
        line.finish();
        line.drain()
    }

    fn greeting(&self, random: &mut Random, flags: HelloFlags) -> Hello {
        hello(&self.mirror, &self.standing(), flags, random.next())
    }

    fn noise(&self, random: &mut Random) -> Result<()> {
        let bytes = if random.one_in(2) {
            let count = 1 + random.index(400);
            random.bytes(count)
        } else {
            let mut header = Header::new(*random.pick(&Kind::ALL)?);
            header.len = random.next_u32() >> random.below(32);
            let mut bytes = header.encode().to_vec();
            scramble(random, &mut bytes);
            if random.one_in(2) {
                seal(&mut bytes);
            }
            bytes
        };
        self.say(random, &bytes)
    }

    fn spoilt_greeting(&self, random: &mut Random) -> Result<()> {
        let hello = self.greeting(random, HelloFlags::NONE);
        let mut bytes = message(Header::new(Kind::Hello), &hello.encode())?;
        spoil(random, &mut bytes);
        self.say(random, &bytes)
    }

    /// A greeting that is one, of somebody who cannot be.
    fn odd_greeting(&self, random: &mut Random) -> Result<()> {
        let flags = HelloFlags::from_bits(random.next_u32() & 31);
        let mut hello = self.greeting(random, flags);
        match random.below(12) {
            0 => hello.size = random.odd_number() & !511,
            1 => hello.chunk_size = random.next_u32(),
            2 => hello.logical_block_size = 1 << random.below(32),
            3 => hello.max_payload = random.next_u32(),
            4 => (hello.heartbeat_ms, hello.timeout_ms) = (random.next_u32(), random.next_u32()),
            5 => random.fill(&mut hello.node_uuid),
            6 => random.fill(&mut hello.mirror_uuid),
            7 => hello.generation = random.odd_number(),
            8 => hello.history = [random.odd_number(); netraid_core::meta::HISTORY],
            9 => hello.mirror_name = Name::truncated(random.pick(&["kept", "none", "../data", "", "DATA"])?),
            10 => hello.size = (random.below(self.mirror.size) & !511).max(512),
            _ => hello.chunk_size = 1 << (12 + random.below(20)),
        }
        let bytes = message(Header::new(Kind::Hello), &hello.encode())?;
        self.say(random, &bytes)
    }

    /// Messages that were found to be of interest, as they are and spoilt.
    fn of_the_corpus(&self, random: &mut Random) -> Result<()> {
        let mut bytes = random.pick(corpus::ALL)?.to_vec();
        if random.one_in(2) {
            spoil(random, &mut bytes);
        }
        if random.one_in(2) {
            return self.say(random, &bytes);
        }
        let Some(mut line) = self.open(random)? else {
            return Ok(());
        };
        line.send(&bytes)?;
        self.said(1);
        line.finish();
        line.drain()
    }

    /// Asks how the target stands, and believes the answer.
    fn ask(&self, random: &mut Random) -> Result<()> {
        let hello = self.greeting(random, HelloFlags::ASK);
        let mut line = Line::to(self.to)?;
        line.send(&message(Header::new(Kind::Hello), &hello.encode())?)?;
        self.said(1);
        while let Heard::Message(header, payload) = line.hear()? {
            match header.kind {
                Kind::Welcome => self.believe(&sound(Welcome::decode(&payload))?),
                Kind::Refuse => {
                    let refuse = sound(Refuse::decode(&payload))?;
                    ensure!(
                        matches!(
                            refuse.code,
                            RefuseCode::Busy | RefuseCode::OtherMirror | RefuseCode::OtherUuid
                        ),
                        "a question was refused: {}",
                        refuse.sentence()
                    );
                    self.tally.count("question refused");
                }
                other => bail!("a question was answered by {other}"),
            }
        }
        Ok(())
    }

    fn believe(&self, welcome: &Welcome) {
        *self.standing() = Standing {
            generation: welcome.generation,
            history: welcome.history,
        };
    }

    /// Opens a session, if the target lets it.
    fn open(&self, random: &mut Random) -> Result<Option<Line>> {
        // Whoever pauses is let in even where the device is open.
        let flags = HelloFlags::NONE.with(HelloFlags::PAUSED, random.one_in(4));
        let hello = self.greeting(random, flags);
        self.open_as(&hello)
    }

    fn open_as(&self, hello: &Hello) -> Result<Option<Line>> {
        let mut line = Line::to(self.to)?;
        line.send(&message(Header::new(Kind::Hello), &hello.encode())?)?;
        self.said(1);
        let Heard::Message(header, payload) = line.hear()? else {
            self.tally.count("closed instead of welcomed");
            return Ok(None);
        };
        if header.kind == Kind::Welcome {
            self.believe(&sound(Welcome::decode(&payload))?);
            self.tally.count("welcomed");
            return Ok(Some(line));
        }
        ensure!(
            header.kind == Kind::Refuse,
            "a greeting was answered by {}",
            header.kind
        );
        let refuse = sound(Refuse::decode(&payload))?;
        self.tally.count(&format!("refused: {:?}", refuse.code));
        drop(line);
        self.ask(&mut Random::new(hello.session))?;
        Ok(None)
    }

    /// What a session says: mostly what is right, in an order that nobody would choose, then something that ends it.
    fn speech(&self, random: &mut Random) -> Result<(Vec<u8>, u64)> {
        let mut bytes = Vec::new();
        let count = if random.one_in(50) {
            10 * BURST
        } else {
            random.below(BURST)
        };
        let flood = random.one_in(20);
        for seq in 0..count {
            if flood {
                bytes.extend(plain(Kind::Ping));
            } else {
                bytes.extend(of_source(random, &self.mirror, seq)?);
            }
        }
        let mut last = of_source(random, &self.mirror, count)?;
        spoil(random, &mut last);
        bytes.extend(last);
        Ok((bytes, count + 1))
    }

    fn session(&self, random: &mut Random) -> Result<()> {
        let Some(mut line) = self.open(random)? else {
            return Ok(());
        };
        let (bytes, count) = self.speech(random)?;
        // What comes back has to be taken, or the module is the one who waits.
        let mut ear = line.again()?;
        let heard = thread::scope(|scope| {
            let heard = scope.spawn(move || ear.drain());
            let sent = line.send(&bytes);
            if random.one_in(4) {
                drop(line);
            } else {
                line.finish();
            }
            let heard = heard.join().unwrap_or_else(|_| Err(anyhow!("a thread panicked")));
            sent.and(heard)
        });
        self.said(count);
        heard
    }

    /// The same, cut at any byte into pieces that arrive one after the other.
    fn in_pieces(&self, random: &mut Random) -> Result<()> {
        let Some(mut line) = self.open(random)? else {
            return Ok(());
        };
        let mut count = 0;
        for seq in 0..1 + random.below(4) {
            let mut bytes = of_source(random, &self.mirror, seq)?;
            bytes.truncate(8192);
            for _ in 0..1 + random.below(6) {
                let at = random.index(bytes.len());
                let rest = bytes.split_off(at);
                if !line.send(&bytes)? {
                    break;
                }
                bytes = rest;
                thread::yield_now();
            }
            if random.one_in(8) {
                break;
            }
            line.send(&bytes)?;
            count += 1;
        }
        self.said(count);
        line.finish();
        line.drain()
    }

    /// A greeting of which a byte comes from time to time. Others wait meanwhile, until the module has had enough.
    fn drip(&self, random: &mut Random) -> Result<()> {
        let hello = self.greeting(random, HelloFlags::NONE);
        let bytes = message(Header::new(Kind::Hello), &hello.encode())?;
        let mut line = Line::to(self.to)?;
        for byte in bytes.chunks(1) {
            if !line.send(byte)? {
                break;
            }
            nix::poll::poll(&mut [], 20_u8)?;
        }
        self.said(1);
        self.tally.count("slow");
        line.finish();
        line.drain()
    }

    /// Leaves the target with a generation that another source holds, in the middle of a resync.
    fn leave(&self, random: &mut Random, generation: u64) -> Result<()> {
        for attempt in 0..20 {
            let hello = self.greeting(random, HelloFlags::NONE.with(HelloFlags::PAUSED, attempt % 2 == 1));
            let Some(mut line) = self.open_as(&hello)? else {
                // Whoever spoke last may still be served.
                nix::poll::poll(&mut [], 100_u8)?;
                continue;
            };
            let mut start = Header::new(Kind::ResyncStart);
            (start.offset, start.span) = (generation, self.mirror.size);
            line.send(&message(start, &[])?)?;
            line.finish();
            line.drain()?;
            self.ask(random)?;
            if self.standing().generation == generation {
                return Ok(());
            }
        }
        bail!("the target does not take generation {generation}")
    }
}
