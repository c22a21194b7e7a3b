// SPDX-License-Identifier: GPL-2.0
//! What a command works with.

use std::io::{self, BufRead, IsTerminal as _, Write};
use std::path::PathBuf;
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

/// Where files are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The directory of the configuration; `$NETRAID_CONFIG_DIR` puts it elsewhere.
    pub config: PathBuf,
    /// The directory of bitmaps that were given no path; `$NETRAID_STATE_DIR` puts it elsewhere.
    pub state: PathBuf,
    /// The settings for every mirror; `$NETRAID_DEFAULTS` is another file.
    pub defaults: PathBuf,
}

impl Paths {
    /// Those of this machine.
    #[must_use]
    pub fn system() -> Self {
        let path = |variable, usual: &str| match std::env::var_os(variable) {
            Some(path) if !path.is_empty() => PathBuf::from(path),
            _ => PathBuf::from(usual),
        };
        Self {
            config: path("NETRAID_CONFIG_DIR", "/etc/netraid"),
            state: path("NETRAID_STATE_DIR", "/var/lib/netraid"),
            defaults: path("NETRAID_DEFAULTS", "/etc/default/netraid"),
        }
    }
}

/// The kernel, the machine, the time and the streams.
pub struct Env<'a> {
    /// Opens netlink sockets.
    pub kernel: &'a dyn Kernel,
    /// The machine.
    pub host: &'a dyn Host,
    /// Where files are kept.
    pub paths: &'a Paths,
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
        paths: &Paths::system(),
        clock: &Monotonic(Instant::now()),
        input: &mut io::stdin().lock(),
        out: &mut io::stdout(),
        err: &mut io::stderr(),
        terminals,
    })
}
