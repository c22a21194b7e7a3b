// SPDX-License-Identifier: GPL-2.0
//! One run of QEMU: from its command line to its death.

use std::{
    fs::{self, File},
    io::Read as _,
    os::{
        fd::AsFd as _,
        unix::{
            net::{UnixListener, UnixStream},
            process::CommandExt as _,
        },
    },
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{bail, ensure, Context as _, Result};
use netraid_guest::proto::{Config, Event, Op};
use nix::{
    poll::{poll, PollFd, PollFlags, PollTimeout},
    sys::signal::{kill, Signal},
    unistd::Pid,
};

use crate::{
    acks::Acks,
    console,
    patience::scaled,
    picture::{Begin, Picture},
    qmp::{self, Qmp},
    rpc::{Answers, Rpc},
};

const PROGRAM: &str = "qemu-system-x86_64";
/// QEMU opens its sockets before it does anything else.
const CONNECT: Duration = Duration::from_secs(10);
/// An emulated machine is up after some seconds, several on a busy host after some more.
const BOOT: Duration = Duration::from_secs(90);

/// Whether the processor can run machines: /dev/kvm can be there without that, and then hangs the kernel.
pub(crate) fn has_kvm() -> bool {
    let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let help = flags.split_whitespace().any(|flag| flag == "vmx" || flag == "svm");
    help && Path::new("/dev/kvm").exists()
}

/// QEMU's options for the processor. Several emulated processors share one thread: a kernel that patches its code
/// on one while another, in a thread of its own, runs a stale translation of it panics now and then. An emulated
/// processor is the faster the less it can do: what newer ones have for checksums and encryption is dear to emulate.
///
/// With `measured` each has a thread all the same, since nothing could be measured otherwise; a panic then ends the
/// measurement, and does not falsify it.
pub(crate) fn accelerator(processors: u32, measured: bool) -> &'static [&'static str] {
    if has_kvm() {
        &["-accel", "kvm", "-cpu", "host"]
    } else if measured {
        &["-accel", "tcg,thread=multi", "-cpu", "qemu64"]
    } else if processors > 1 {
        &["-accel", "tcg,thread=single", "-cpu", "qemu64"]
    } else {
        &["-accel", "tcg", "-cpu", "qemu64"]
    }
}

/// A running QEMU and the connection to the agent in it.
#[derive(Debug)]
pub(crate) struct Machine {
    child: Mutex<Child>,
    pub(crate) rpc: Arc<Rpc>,
    greeting: Mutex<Answers>,
    acks: Option<JoinHandle<()>>,
    /// Its control connection, if it has to do with a picture.
    control: Option<Mutex<Qmp>>,
}

impl Machine {
    /// Starts QEMU; it connects to sockets `rpc` and `ack` in `dir`, where its own output goes. One that stands `apart` gets
    /// no signals of the terminal.
    pub(crate) fn start(dir: &Path, options: &[String], begin: &Begin, apart: bool, acks: &Acks) -> Result<Self> {
        let listen = |name: &str| -> Result<UnixListener> {
            let path = dir.join(name);
            let _first_time = fs::remove_file(&path);
            let listener = UnixListener::bind(&path).with_context(|| format!("make the socket {}", path.display()))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let (rpc, ack) = (listen("rpc")?, listen("ack")?);
        let control = match begin {
            Begin::Boot => None,
            Begin::Pose(_) | Begin::GoOn(_) => Some(listen(qmp::SOCKET)?),
        };
        let log_path = dir.join("qemu.log");
        let log = File::create(&log_path).context("make QEMU's log")?;
        let mut command = Command::new(PROGRAM);
        command
            .args(options)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if apart {
            command.process_group(0);
        }
        fs::write(dir.join("qemu.command"), format!("{command:?}\n"))?;
        let mut child = command.spawn().with_context(|| {
            format!("start {PROGRAM}: install the package qemu-system-x86, or run `cargo xtask setup`")
        })?;
        let mut take = |listener: &UnixListener| accept(listener, &mut child);
        let connections = take(&rpc).and_then(|rpc| {
            let (ack, control) = (take(&ack)?, control.as_ref().map(&mut take).transpose()?);
            Ok((rpc, ack, control.map(Qmp::new).transpose()?))
        });
        let (rpc, ack, control) = match connections {
            Ok(connections) => connections,
            Err(error) => {
                end(&mut child);
                let said = console::tail(&log_path, 5);
                return Err(error.context(format!("QEMU did not start: {said}")));
            }
        };
        let (rpc, greeting) = Rpc::new(rpc)?;
        let acks = Some(acks.read(ack));
        let (rpc, greeting) = (Arc::new(rpc), Mutex::new(greeting));
        Ok(Self {
            child: Mutex::new(child),
            rpc,
            greeting,
            acks,
            control: control.map(Mutex::new),
        })
    }

    /// Waits until the agent takes requests.
    pub(crate) fn await_up(&self) -> Result<()> {
        match self.greeted()? {
            Event::Hello { .. } => Ok(()),
            other => bail!("the agent greets with {other:?}"),
        }
    }

    fn greeted(&self) -> Result<Event> {
        let greeting = self.greeting.lock().unwrap_or_else(PoisonError::into_inner);
        greeting.next(scaled(BOOT)).context("wait for the agent")
    }

    fn control(&self) -> Result<MutexGuard<'_, Qmp>> {
        let control = self.control.as_ref().context("it has no control connection")?;
        Ok(control.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until the machine waits, and takes `picture` of it.
    pub(crate) fn pose(&self, picture: &Picture) -> Result<()> {
        match self.greeted()? {
            Event::Waits => picture.take(&mut *self.control()?),
            other => bail!("the agent greets with {other:?}"),
        }
    }

    /// Has a machine that waits to be one go on from `picture` as what `config` says.
    pub(crate) fn go_on(&self, picture: &Picture, config: &Config) -> Result<()> {
        picture.apply(&mut *self.control()?)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut entropy = [0; 64];
        File::open("/dev/urandom")?.read_exact(&mut entropy)?;
        let request = self.rpc.send(Op::Wake {
            config: Box::new(config.clone()),
            entropy: entropy.iter().map(|byte| format!("{byte:02x}")).collect(),
            now_ms: i64::try_from(now.as_millis())?,
        })?;
        // What comes of it is the greeting.
        self.rpc.forget(request.id);
        Ok(())
    }

    /// Sends a signal to QEMU.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let pid = Pid::from_raw(i32::try_from(child.id())?);
        kill(pid, signal).with_context(|| format!("send {signal} to QEMU"))
    }

    /// Waits until QEMU has ended by itself.
    pub(crate) fn await_end(&self, timeout: Duration) -> Result<()> {
        let until = Instant::now() + timeout;
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if child.try_wait().context("wait for QEMU")?.is_some() {
                return Ok(());
            }
            ensure!(Instant::now() < until, "the machine did not go off within {timeout:?}");
            // The end of a process is no event that std can wait for with a limit.
            poll(&mut [], PollTimeout::from(20_u8))?;
        }
    }
}

impl Drop for Machine {
    /// Kills QEMU at once, as a power cut would, and takes in what it had still reported.
    fn drop(&mut self) {
        end(&mut self.child.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(acks) = self.acks.take() {
            // A thread that panicked said so itself.
            let _panicked = acks.join();
        }
    }
}

fn end(child: &mut Child) {
    // Both fail only for a process that has ended and was waited for.
    let _ended = child.kill();
    let _waited = child.wait();
}

fn accept(listener: &UnixListener, child: &mut Child) -> Result<UnixStream> {
    let until = Instant::now() + CONNECT;
    loop {
        let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::from(50_u8))? > 0 {
            let (stream, _) = listener.accept().context("accept QEMU's connection")?;
            stream.set_nonblocking(false)?;
            return Ok(stream);
        }
        if let Some(status) = child.try_wait()? {
            bail!("it ended with {status}");
        }
        ensure!(Instant::now() < until, "it did not connect within {CONNECT:?}");
    }
}
