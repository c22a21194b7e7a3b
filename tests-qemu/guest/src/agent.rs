// SPDX-License-Identifier: GPL-2.0
//! Serves the host: reads requests from the virtio-serial port and answers each in a thread.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::{bail, Context as _, Result};
use base64::{engine::general_purpose::STANDARD, Engine as _};
use netraid_guest::proto::{Event, Message, Op, Request, ACK_PORT, RPC_PORT};
use nix::sys::reboot::{reboot, RebootMode};

use crate::exec;

/// The way back to the host; clones write to the same port.
#[derive(Clone)]
pub(crate) struct Replies {
    port: Arc<Mutex<File>>,
}

impl Replies {
    /// Sends one message; a host that is gone is noticed by the reader of requests.
    pub(crate) fn send(&self, id: u64, event: Event) {
        let mut line = match serde_json::to_vec(&Message { id, event }) {
            Ok(line) => line,
            Err(error) => {
                eprintln!("netraid-guest: a message has no JSON form: {error}");
                return;
            }
        };
        line.push(b'\n');
        let mut port = self.port.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = port.write_all(&line) {
            eprintln!("netraid-guest: the host does not take a message: {error}");
        }
    }
}

/// Serves until the host closes its end; then the machine goes off.
pub(crate) fn run() -> Result<()> {
    let port = open_port(RPC_PORT)?;
    let acks = open_port(ACK_PORT)?;
    let replies = Replies {
        port: Arc::new(Mutex::new(port.try_clone()?)),
    };
    replies.send(
        0,
        Event::Hello {
            uptime_ms: uptime_ms()?,
        },
    );
    let jobs = exec::Jobs::default();
    for line in BufReader::new(port).lines() {
        let line = line.context("read a request")?;
        let request: Request = match serde_json::from_str(&line) {
            Ok(request) => request,
            Err(error) => {
                replies.send(
                    0,
                    Event::Error {
                        text: format!("bad request {line:?}: {error}"),
                    },
                );
                continue;
            }
        };
        let (replies, jobs, acks) = (replies.clone(), jobs.clone(), acks.try_clone()?);
        thread::spawn(move || {
            let id = request.id;
            match handle(request, &replies, &jobs, acks) {
                Ok(Some(event)) => replies.send(id, event),
                Ok(None) => {}
                Err(error) => replies.send(
                    id,
                    Event::Error {
                        text: format!("{error:#}"),
                    },
                ),
            }
        });
    }
    bail!("the host closed the port")
}

fn handle(request: Request, replies: &Replies, jobs: &exec::Jobs, acks: File) -> Result<Option<Event>> {
    let event = match request.op {
        Op::Exec {
            program,
            stdin,
            timeout_ms,
        } => exec::run(&program, stdin, timeout_ms)?,
        Op::Spawn { program, acks: to_acks } => {
            let port = to_acks.then_some(acks);
            exec::spawn(request.id, &program, port, replies, jobs)?;
            return Ok(None);
        }
        Op::Signal { job, signal } => {
            jobs.signal(job, signal)?;
            Event::Ok
        }
        Op::ReadFile { path } => {
            let data = fs::read(&path).with_context(|| format!("read {path}"))?;
            Event::File {
                data: STANDARD.encode(data),
            }
        }
        Op::WriteFile { path, data, mode } => {
            let data = STANDARD.decode(data).context("decode the content")?;
            fs::write(&path, data).with_context(|| format!("write {path}"))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))
                .with_context(|| format!("set the permissions of {path}"))?;
            Event::Ok
        }
        Op::Wake { .. } => bail!("the machine does not wait"),
        Op::PowerOff => {
            nix::unistd::sync();
            match reboot(RebootMode::RB_POWER_OFF).context("switch the machine off")? {}
        }
    };
    Ok(Some(event))
}

/// Opens the virtio-serial port of that name; without udev only sysfs knows the names.
pub(crate) fn open_port(name: &str) -> Result<File> {
    for entry in fs::read_dir("/sys/class/virtio-ports").context("list the virtio-serial ports")? {
        let entry = entry?;
        let found = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
        if found.trim_end() == name {
            let path = PathBuf::from("/dev").join(entry.file_name());
            return OpenOptions::new()
                .read(true)
                .write(true)
                .open(&path)
                .with_context(|| format!("open {}", path.display()));
        }
    }
    bail!("no virtio-serial port is named {name}")
}

fn uptime_ms() -> Result<u64> {
    let text = fs::read_to_string("/proc/uptime").context("read /proc/uptime")?;
    let seconds = text.split_whitespace().next().unwrap_or("0");
    let (whole, hundredths) = seconds.split_once('.').unwrap_or((seconds, "0"));
    Ok(whole.parse::<u64>()? * 1000 + hundredths.parse::<u64>()? * 10)
}
