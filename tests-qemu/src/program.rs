// SPDX-License-Identifier: GPL-2.0
//! Programs run in a machine.

use std::{
    panic::Location,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{bail, ensure, Context as _, Result};
use netraid_guest::proto::{Event, Op, Program};
use nix::sys::signal::Signal;

use crate::{
    node::Node,
    patience::scaled,
    rpc::{Answers, Rpc},
};

/// Time a command has when the test names none.
pub const COMMAND: Duration = Duration::from_secs(30);
/// Time the agent has beyond that to notice, kill and answer.
const AGENT: Duration = Duration::from_secs(20);

/// What a program left behind.
#[derive(Clone, Debug)]
pub struct Output {
    /// Exit code, or 128 plus the number of the signal that ended it.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// Whether it was killed because its time was up.
    pub timed_out: bool,
    /// How long it took, the way there and back included.
    pub took: Duration,
}

impl Output {
    /// Standard output and standard error together.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// A program to be run in a machine; nothing happens before one of the methods that run it.
#[derive(Clone, Debug)]
#[must_use]
pub struct Call<'a> {
    node: &'a Node,
    program: Program,
    stdin: Option<String>,
    timeout: Duration,
}

impl<'a> Call<'a> {
    pub(crate) fn new(node: &'a Node, argv: Vec<String>) -> Self {
        let program = Program {
            argv,
            ..Program::default()
        };
        Self {
            node,
            program,
            stdin: None,
            timeout: COMMAND,
        }
    }

    /// Runs it as this user and group instead of root.
    pub fn user(mut self, uid: u32) -> Self {
        self.program.uid = Some(uid);
        self
    }

    /// Gives it this text as standard input.
    pub fn stdin(mut self, text: impl Into<String>) -> Self {
        self.stdin = Some(text.into());
        self
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.program.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Kills it after this time instead of [`COMMAND`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The command as a person would read it.
    fn words(&self) -> String {
        match self.program.argv.as_slice() {
            [shell, flag, script] if shell == "sh" && flag == "-c" => script.clone(),
            argv => argv.join(" "),
        }
    }

    /// Runs it to its end, whatever that is.
    ///
    /// # Errors
    ///
    /// When it could not be run at all, for instance because the machine is off.
    #[track_caller]
    pub fn run(self) -> Result<Output> {
        let began = Instant::now();
        let at = Location::caller();
        let words = self.words();
        let outcome = self.node.rpc().and_then(|rpc| {
            let timeout = scaled(self.timeout);
            let timeout_ms = u64::try_from(timeout.as_millis())?;
            let op = Op::Exec {
                program: self.program,
                stdin: self.stdin,
                timeout_ms,
            };
            rpc.call(op, timeout + scaled(AGENT))
        });
        let name = self.node.name();
        let event = outcome.with_context(|| format!("{at}: run on {name}: {words}"))?;
        let Event::Done {
            code,
            stdout,
            stderr,
            timed_out,
        } = event
        else {
            bail!("{at}: run on {name}: {words}: unexpected answer {event:?}");
        };
        let output = Output {
            code,
            stdout,
            stderr,
            timed_out,
            took: began.elapsed(),
        };
        self.node.log(&words, &output);
        Ok(output)
    }

    /// Runs it; it must succeed. The result is its standard output.
    ///
    /// # Errors
    ///
    /// When it fails, with its output.
    #[track_caller]
    pub fn ok(self) -> Result<String> {
        Ok(self.exits(0)?.stdout)
    }

    /// Runs it; it must end with this exit code.
    ///
    /// # Errors
    ///
    /// When it ends with another, with its output.
    #[track_caller]
    pub fn exits(self, code: i32) -> Result<Output> {
        let at = Location::caller();
        let (name, words) = (self.node.name(), self.words());
        let output = self.run()?;
        let late = if output.timed_out {
            ", killed when its time was up"
        } else {
            ""
        };
        ensure!(
            output.code == code && !output.timed_out,
            "{at}: on {name}: {words}: expected exit code {code}, got {}{late} after {:.1?}\n\
             stdout: {}\nstderr: {}",
            output.code,
            output.took,
            output.stdout.trim_end(),
            output.stderr.trim_end()
        );
        Ok(output)
    }

    /// Starts it in the background.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    #[track_caller]
    pub fn spawn(self) -> Result<Job> {
        self.spawn_with(false)
    }

    /// Starts it with the port for acknowledged writes as its standard output.
    #[track_caller]
    pub(crate) fn spawn_with(self, acks: bool) -> Result<Job> {
        let at = Location::caller();
        let (name, words) = (self.node.name().to_owned(), self.words());
        let context = || format!("{at}: start on {name}: {words}");
        let rpc = self.node.rpc().with_context(context)?;
        let answers = rpc
            .send(Op::Spawn {
                program: self.program,
                acks,
            })
            .with_context(context)?;
        match answers.next(scaled(AGENT)).with_context(context)? {
            Event::Started { .. } => {}
            other => bail!("{}: unexpected answer {other:?}", context()),
        }
        Ok(Job {
            rpc,
            answers,
            words,
            node: name,
            ended: None,
        })
    }
}

/// A program running in the background; dropping it kills it.
#[derive(Debug)]
pub struct Job {
    rpc: Arc<Rpc>,
    answers: Answers,
    words: String,
    node: String,
    ended: Option<i32>,
}

impl Job {
    fn describe(&self) -> String {
        format!("{} on {}", self.words, self.node)
    }

    /// The next line it writes; nothing when it has ended.
    ///
    /// # Errors
    ///
    /// When neither comes within `timeout`, or the machine is off.
    pub fn line(&mut self, timeout: Duration) -> Result<Option<String>> {
        self.line_until(Instant::now() + scaled(timeout))
    }

    /// The next line it writes before `until`; nothing when it has ended.
    pub(crate) fn line_until(&mut self, until: Instant) -> Result<Option<String>> {
        if self.ended.is_some() {
            return Ok(None);
        }
        let event = self.answers.next(until.saturating_duration_since(Instant::now()));
        match event.with_context(|| format!("wait for a line of {}", self.describe()))? {
            Event::Line { text } => Ok(Some(text)),
            Event::Done { code, .. } => {
                self.ended = Some(code);
                Ok(None)
            }
            other => bail!("{}: unexpected answer {other:?}", self.describe()),
        }
    }

    /// Waits for its end; the result is the exit code and the lines it still wrote.
    ///
    /// # Errors
    ///
    /// When it does not end within `timeout`, or the machine is off.
    pub fn wait(&mut self, timeout: Duration) -> Result<(i32, Vec<String>)> {
        let until = Instant::now() + scaled(timeout);
        let mut lines = Vec::new();
        while let Some(line) = self.line_until(until)? {
            lines.push(line);
        }
        Ok((self.ended.unwrap_or(-1), lines))
    }

    /// Sends a signal to it and its children.
    ///
    /// # Errors
    ///
    /// When the machine is off.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let op = Op::Signal {
            job: self.answers.id,
            signal: signal as i32,
        };
        self.rpc
            .call(op, AGENT)
            .with_context(|| format!("send {signal} to {}", self.describe()))?;
        Ok(())
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if self.ended.is_none() {
            // A machine that is off has no jobs.
            let _off = self.signal(Signal::SIGKILL);
        }
        self.rpc.forget(self.answers.id);
    }
}
