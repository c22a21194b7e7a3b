// SPDX-License-Identifier: GPL-2.0
//! Runs other programs: with a time limit, their output kept in a log, and an error that says what was run and shows
//! the end of what it wrote.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{channel, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, Context as _, Result};

use crate::progress::Step;

/// Lines of output an error shows.
const TAIL_LINES: usize = 60;

/// How long a program may take unless the caller says otherwise.
const DEFAULT_LIMIT: Duration = Duration::from_secs(30 * 60);

/// A program to run.
pub struct Cmd {
    argv: Vec<OsString>,
    /// How many of `argv` only lead to the program that matters and are not shown.
    unshown: usize,
    env: Vec<(OsString, OsString)>,
    dir: Option<PathBuf>,
    input: Option<Vec<u8>>,
    log: Option<PathBuf>,
    limit: Duration,
    echo: bool,
}

/// What a program that ended left behind.
pub struct Outcome {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// The last lines of its standard output and standard error, for messages.
    pub tail: String,
}

enum Line {
    Out(String),
    Err(String),
}

impl Cmd {
    /// `program`, found in the PATH unless it has a slash.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            argv: vec![program.into()],
            unshown: 0,
            env: Vec::new(),
            dir: None,
            input: None,
            log: None,
            limit: DEFAULT_LIMIT,
            echo: false,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.argv.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.argv.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Runs it in `dir`.
    #[must_use]
    pub fn dir(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_owned());
        self
    }

    /// Gives it `input` on standard input; otherwise it has none.
    #[must_use]
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// Writes its output into the file `log`, too.
    #[must_use]
    pub fn log(mut self, log: &Path) -> Self {
        self.log = Some(log.to_owned());
        self
    }

    /// Gives it at most `limit`; then it is killed and that is an error.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Passes its standard output and standard error on to the terminal, line by line.
    #[must_use]
    pub fn echo(mut self) -> Self {
        self.echo = true;
        self
    }

    /// Takes what was given so far as the way to the program that follows, which messages leave out.
    #[must_use]
    pub fn leading(mut self) -> Self {
        self.unshown = self.argv.len();
        self
    }

    /// The command line, for messages.
    #[must_use]
    pub fn line(&self) -> String {
        self.argv
            .iter()
            .skip(self.unshown)
            .map(|arg| arg.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Runs it and returns its standard output.
    ///
    /// # Errors
    ///
    /// When it cannot be started, fails, or takes too long.
    pub fn run(&self, step: &Step) -> Result<String> {
        let outcome = self.outcome(step)?;
        if outcome.status.success() {
            return Ok(outcome.stdout);
        }
        let log = self
            .log
            .as_ref()
            .map_or_else(String::new, |log| format!("\nThe whole output: {}", log.display()));
        bail!("`{}` failed ({}):\n{}{log}", self.line(), outcome.status, outcome.tail)
    }

    /// Runs it; that it fails is no error here.
    ///
    /// # Errors
    ///
    /// When it cannot be started or takes too long.
    pub fn outcome(&self, step: &Step) -> Result<Outcome> {
        let mut child = self.spawn()?;
        let (lines, received) = channel();
        let readers = [
            child
                .stdout
                .take()
                .map(|pipe| read_lines(pipe, lines.clone(), Line::Out)),
            child
                .stderr
                .take()
                .map(|pipe| read_lines(pipe, lines.clone(), Line::Err)),
        ];
        drop(lines);
        if let (Some(input), Some(mut pipe)) = (&self.input, child.stdin.take()) {
            // A program that ends without reading its input is judged by its exit status.
            let _ = pipe.write_all(input);
        }
        let mut log = self.open_log()?;
        let mut stdout = String::new();
        let mut tail = VecDeque::new();
        let end = Instant::now() + self.limit;
        loop {
            match received.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => self.take(&line, step, log.as_mut(), &mut stdout, &mut tail),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => return Err(self.give_up(child)),
            }
        }
        let status = child
            .wait()
            .with_context(|| format!("waiting for `{}` failed", self.line()))?;
        for reader in readers.into_iter().flatten() {
            reader
                .join()
                .map_err(|_| anyhow!("reading the output of `{}` failed", self.line()))?;
        }
        Ok(Outcome {
            status,
            stdout,
            tail: Vec::from(tail).join("\n"),
        })
    }

    fn spawn(&self) -> Result<Child> {
        let (program, args) = self.argv.split_first().context("a command without a program")?;
        let mut command = Command::new(program);
        command
            .args(args)
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        command
            .stdin(if self.input.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| {
                format!(
                    "`{}` cannot be started; is it installed? `cargo xtask setup` installs what is missing",
                    self.line()
                )
            })
    }

    fn open_log(&self) -> Result<Option<File>> {
        let Some(path) = &self.log else { return Ok(None) };
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).with_context(|| format!("cannot make the directory {}", dir.display()))?;
        }
        let mut file = File::create(path).with_context(|| format!("cannot write the log {}", path.display()))?;
        writeln!(file, "$ {}", self.line()).with_context(|| format!("cannot write the log {}", path.display()))?;
        Ok(Some(file))
    }

    fn take(&self, line: &Line, step: &Step, log: Option<&mut File>, stdout: &mut String, tail: &mut VecDeque<String>) {
        let text = match line {
            Line::Out(text) => {
                stdout.push_str(text);
                stdout.push('\n');
                text
            }
            Line::Err(text) => text,
        };
        step.say(text);
        if self.echo {
            match line {
                Line::Out(text) => println!("{text}"),
                Line::Err(text) => eprintln!("{text}"),
            }
        }
        if let Some(log) = log {
            // The log only helps; a full disk shows itself in the program's own failure.
            let _ = writeln!(log, "{text}");
        }
        if tail.len() == TAIL_LINES {
            tail.pop_front();
        }
        tail.push_back(text.clone());
    }

    fn give_up(&self, mut child: Child) -> anyhow::Error {
        let killed = child.kill().and_then(|()| child.wait());
        let ending = match killed {
            Ok(_) => "it was ended".to_owned(),
            Err(error) => format!("ending it failed: {error}"),
        };
        anyhow!(
            "`{}` took longer than {} s; {ending}; try again",
            self.line(),
            self.limit.as_secs()
        )
    }
}

fn read_lines(
    pipe: impl Read + Send + 'static,
    lines: Sender<Line>,
    wrap: fn(String) -> Line,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            match reader.read_until(b'\n', &mut bytes) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let text = String::from_utf8_lossy(&bytes);
            if lines
                .send(wrap(text.trim_end_matches(['\n', '\r']).to_owned()))
                .is_err()
            {
                return;
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{Cmd, Duration, Step};

    #[test]
    fn output_is_returned() {
        let out = Cmd::new("sh")
            .args(["-c", "echo one; echo two >&2; cat"])
            .input("three")
            .run(&Step::silent())
            .unwrap();
        assert_eq!(out, "one\nthree\n");
    }

    #[test]
    fn failure_shows_command_and_output() {
        let error = Cmd::new("sh")
            .args(["-c", "echo broken >&2; exit 3"])
            .run(&Step::silent())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("sh -c") && error.contains("broken") && error.contains('3'),
            "{error}"
        );
    }

    #[test]
    fn a_program_that_hangs_is_ended() {
        let error = Cmd::new("sleep")
            .arg("1000")
            .limit(Duration::from_millis(50))
            .run(&Step::silent())
            .unwrap_err();
        assert!(error.to_string().contains("took longer"), "{error}");
    }

    #[test]
    fn a_program_that_does_not_exist_is_named() {
        let error = Cmd::new("/no/such/program").run(&Step::silent()).unwrap_err();
        assert!(error.to_string().contains("/no/such/program"), "{error}");
    }
}
