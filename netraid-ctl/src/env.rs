// SPDX-License-Identifier: GPL-2.0
//! What a command works with.

use std::io::{self, BufRead, IsTerminal as _, Write};
use std::time::{Duration, Instant};

use crate::disk::{Host, System};
use crate::nl::{Kernel, Netlink};

/// Time that only goes forward.
pub trait Clock {
    /// Time since some moment in the past.
    fn now(&self) -> Duration;
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy)]
pub struct Monotonic(Instant);

impl Clock for Monotonic {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Which of the three streams are terminals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terminals {
    /// Somebody can be asked.
    pub input: bool,
    /// The screen may be cleared.
    pub output: bool,
    /// A bar may be drawn.
    pub error: bool,
}

/// The kernel, the machine, the time and the streams.
pub struct Env<'a> {
    /// Opens netlink sockets.
    pub kernel: &'a dyn Kernel,
    /// The machine.
    pub host: &'a dyn Host,
    /// The time.
    pub clock: &'a dyn Clock,
    /// Where answers are read.
    pub input: &'a mut dyn BufRead,
    /// Where data goes.
    pub out: &'a mut dyn Write,
    /// Where messages go.
    pub err: &'a mut dyn Write,
    /// Which of them are terminals.
    pub terminals: Terminals,
}

impl Env<'_> {
    /// Tells the user something that is not data.
    ///
    /// # Errors
    ///
    /// When stderr cannot be written.
    pub fn note(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.err, "netraid-ctl: {text}")
    }
}

/// Runs `what` with the real kernel, machine, clock and streams.
pub fn with_system<T>(what: impl FnOnce(&mut Env<'_>) -> T) -> T {
    let terminals = Terminals {
        input: io::stdin().is_terminal(),
        output: io::stdout().is_terminal(),
        error: io::stderr().is_terminal(),
    };
    what(&mut Env {
        kernel: &Netlink,
        host: &System,
        clock: &Monotonic(Instant::now()),
        input: &mut io::stdin().lock(),
        out: &mut io::stdout(),
        err: &mut io::stderr(),
        terminals,
    })
}
