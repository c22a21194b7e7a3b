// SPDX-License-Identifier: GPL-2.0
//! A machine of which a picture is taken: it stops before it touches a disk, and whatever goes on from the picture is a
//! machine of its own.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
};

use anyhow::{bail, ensure, Context as _, Result};
use netraid_guest::proto::{Config, Event, Message, Op, Request, RPC_PORT};
use nix::{
    sys::time::TimeSpec,
    time::{clock_settime, ClockId},
};

use crate::{agent::open_port, init::PATH};

/// Mixes what it reads into the kernel's random numbers, and has the kernel begin anew with that: RNDADDENTROPY and
/// RNDRESEEDCRNG of linux/random.h. No program of Debian's base does that but perl.
const RESEED: &str = r#"
    my $seed = pack "H*", <STDIN>;
    open my $random, ">", "/dev/random" or die "open /dev/random: $!";
    ioctl $random, 0x40085203, pack("ii", 8 * length $seed, length $seed) . $seed or die "add entropy: $!";
    ioctl $random, 0x5207, 0 or die "reseed: $!";
"#;

/// What makes a machine differ from others that went on from the same picture.
pub(crate) struct Renewal {
    entropy: String,
    now_ms: i64,
}

/// Greets, and waits until the host wants the machine to go on.
pub(crate) fn wait() -> Result<(Config, Renewal)> {
    let mut port = open_port(RPC_PORT)?;
    let mut greeting = serde_json::to_vec(&Message {
        id: 0,
        event: Event::Waits,
    })?;
    greeting.push(b'\n');
    port.write_all(&greeting).context("greet")?;
    let mut line = String::new();
    BufReader::new(port).read_line(&mut line).context("read a request")?;
    let request: Request = serde_json::from_str(&line).with_context(|| format!("parse {line:?}"))?;
    match request.op {
        Op::Wake {
            config,
            entropy,
            now_ms,
        } => Ok((*config, Renewal { entropy, now_ms })),
        other => bail!("a machine that waits can't do {other:?}"),
    }
}

impl Renewal {
    /// Takes the time and new random numbers, and forgets what the kernel knew of `disks`; to be called in the root.
    pub(crate) fn carry_out(&self, disks: &[String]) -> Result<()> {
        let now = TimeSpec::new(self.now_ms / 1000, self.now_ms % 1000 * 1_000_000);
        clock_settime(ClockId::CLOCK_REALTIME, now).context("set the clock")?;
        program(&["perl", "-e", RESEED], &self.entropy)?;
        let disks: Vec<_> = disks.iter().map(|name| format!("/dev/{name}")).collect();
        let mut words = vec!["blockdev", "--flushbufs", "--rereadpt"];
        words.extend(disks.iter().map(String::as_str));
        if disks.is_empty() {
            return Ok(());
        }
        program(&words, "")
    }
}

fn program(words: &[&str], input: &str) -> Result<()> {
    let mut child = Command::new(words[0])
        .args(&words[1..])
        .env("PATH", PATH)
        .stdin(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", words[0]))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let status = child.wait()?;
    ensure!(status.success(), "{} ended with {status}", words[0]);
    Ok(())
}
