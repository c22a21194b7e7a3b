// SPDX-License-Identifier: GPL-2.0
//! Programs that the host wants run: to their end within a time, or in the background.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead as _, BufReader, Read, Write as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        mpsc::{channel, Receiver},
        Arc, Mutex, PoisonError,
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use netraid_guest::proto::{Event, Program};
use nix::{
    errno::Errno,
    sys::signal::{killpg, Signal},
    unistd::Pid,
};

use crate::agent::Replies;

/// How long output may still come after the end of the program that made it; a daemon it left
/// behind can hold the pipe open for ever.
const OUTPUT_AFTER_END: Duration = Duration::from_secs(1);
/// How long a killed program may take to end; one that hangs in the kernel never does.
const END_AFTER_KILL: Duration = Duration::from_secs(5);

/// The running background programs, by the request that started them.
#[derive(Clone, Default)]
pub(crate) struct Jobs {
    running: Arc<Mutex<HashMap<u64, Pid>>>,
}

impl Jobs {
    /// Sends `signal` to the job's whole process group; a job that has ended is no error.
    pub(crate) fn signal(&self, job: u64, signal: i32) -> Result<()> {
        let signal = Signal::try_from(signal).context("no such signal")?;
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&pid) = running.get(&job) {
            signal_group(pid, signal)?;
        }
        Ok(())
    }
}

/// Sends `signal` to a program and its children, if there are any left: it may have ended a moment ago.
fn signal_group(pid: Pid, signal: Signal) -> Result<()> {
    match killpg(pid, signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("send {signal} to process group {pid}")),
    }
}

fn command(program: &Program) -> Result<Command> {
    let (name, arguments) = program.argv.split_first().context("the program has no name")?;
    let mut command = Command::new(name);
    command
        .args(arguments)
        .envs(program.env.iter().cloned())
        .process_group(0);
    if let Some(uid) = program.uid {
        command.uid(uid).gid(uid);
    }
    Ok(command)
}

fn start(command: &mut Command) -> Result<(Child, Pid)> {
    let child = command
        .spawn()
        .with_context(|| format!("start {:?}", command.get_program()))?;
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    Ok((child, pid))
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Runs a program to its end, or kills it and its children when `timeout_ms` have passed.
pub(crate) fn run(program: &Program, stdin: Option<String>, timeout_ms: u64) -> Result<Event> {
    let mut command = command(program)?;
    command.stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let (mut child, pid) = start(&mut command)?;
    if let (Some(mut pipe), Some(text)) = (child.stdin.take(), stdin) {
        // A program that ends without reading its input breaks the pipe; that is its affair.
        thread::spawn(move || pipe.write_all(text.as_bytes()));
    }
    let stdout = child.stdout.take().map(Output::collect);
    let stderr = child.stderr.take().map(Output::collect);
    let (sender, ended) = channel();
    thread::spawn(move || sender.send(child.wait()));
    let mut timed_out = false;
    let status = match ended.recv_timeout(Duration::from_millis(timeout_ms)) {
        Ok(status) => code(status.context("wait for the program")?),
        Err(_) => {
            timed_out = true;
            signal_group(pid, Signal::SIGKILL)?;
            ended
                .recv_timeout(END_AFTER_KILL)
                .ok()
                .and_then(Result::ok)
                .map_or(128 + 9, code)
        }
    };
    let text = |output: Option<Output>| output.map(Output::finish).unwrap_or_default();
    Ok(Event::Done {
        code: status,
        stdout: text(stdout),
        stderr: text(stderr),
        timed_out,
    })
}

/// What a program writes to one pipe, gathered by a thread.
struct Output {
    bytes: Arc<Mutex<Vec<u8>>>,
    ended: Receiver<()>,
}

impl Output {
    fn collect(mut pipe: impl Read + Send + 'static) -> Self {
        let (sender, ended) = channel();
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&bytes);
        thread::spawn(move || {
            let mut piece = vec![0; 64 * 1024];
            while let Ok(count @ 1..) = pipe.read(&mut piece) {
                let mut bytes = shared.lock().unwrap_or_else(PoisonError::into_inner);
                bytes.extend_from_slice(&piece[..count]);
            }
            // Nobody may be waiting any more.
            let _unheard = sender.send(());
        });
        Self { bytes, ended }
    }

    fn finish(self) -> String {
        // Whether the pipe was closed or the time is up, what has come by now is the output.
        let _either = self.ended.recv_timeout(OUTPUT_AFTER_END);
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Starts a program in the background and tells the host its lines and its end.
///
/// With `acks` its standard output is that port, written by the program itself.
pub(crate) fn spawn(id: u64, program: &Program, acks: Option<File>, replies: &Replies, jobs: &Jobs) -> Result<()> {
    let mut command = command(program)?;
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    command.stdout(acks.map_or_else(Stdio::piped, Stdio::from));
    let (mut child, pid) = start(&mut command)?;
    jobs.running
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(id, pid);
    replies.send(id, Event::Started { pid: pid.as_raw() });
    let readers = [
        child.stdout.take().map(|pipe| forward(id, pipe, replies.clone())),
        child.stderr.take().map(|pipe| forward(id, pipe, replies.clone())),
    ];
    let status = child.wait().context("wait for the program")?;
    for ended in readers.into_iter().flatten() {
        let _either = ended.recv_timeout(OUTPUT_AFTER_END);
    }
    jobs.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    let (stdout, stderr) = (String::new(), String::new());
    replies.send(
        id,
        Event::Done {
            code: code(status),
            stdout,
            stderr,
            timed_out: false,
        },
    );
    Ok(())
}

fn forward(id: u64, pipe: impl Read + Send + 'static, replies: Replies) -> Receiver<()> {
    let (sender, ended) = channel();
    thread::spawn(move || {
        let mut lines = BufReader::new(pipe);
        let mut line = Vec::new();
        while let Ok(1..) = lines.read_until(b'\n', &mut line) {
            let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
            replies.send(id, Event::Line { text });
            line.clear();
        }
        let _unheard = sender.send(());
    });
    ended
}
