// SPDX-License-Identifier: GPL-2.0
//! One machine of a cluster.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicUsize, Ordering},
        Arc, Mutex, MutexGuard, PoisonError,
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{bail, Context as _, Result};
use netraid_guest::proto::{Config, Op, ARTIFACTS_DIR};
use nix::sys::signal::Signal;

use crate::{
    acks::Acks,
    boot::BootSet,
    console,
    disk::Disk,
    events::Events,
    patience::scaled,
    picture::{Begin, Picture},
    program::{Call, Output},
    qemu::Machine,
    rpc::Rpc,
    state::StateDisk,
    switch::Switch,
};

const POWER_OFF: Duration = Duration::from_secs(30);
/// A marker on the console appears at once, unless the machine hangs.
const CONSOLE: Duration = Duration::from_secs(10);

/// A machine: its disks, which outlive it, and its runs.
#[derive(Debug)]
pub struct Node {
    pub(crate) index: usize,
    pub(crate) dir: PathBuf,
    pub(crate) config: Config,
    /// QEMU's options, all but those for the console.
    pub(crate) options: Vec<String>,
    pub(crate) disks: Vec<Disk>,
    pub(crate) state: StateDisk,
    pub(crate) boot_set: Arc<BootSet>,
    pub(crate) switches: Arc<Vec<Switch>>,
    pub(crate) acks: Acks,
    /// The terminal's signals are not for it.
    pub(crate) apart: bool,
    pub(crate) begin: Begin,
    pub(crate) machine: Mutex<Option<Machine>>,
    pub(crate) boots: AtomicUsize,
    /// Where in which console the running test began.
    pub(crate) mark: Mutex<(usize, usize)>,
}

impl Node {
    /// Host name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.config.hostname
    }

    /// Its IPv4 address on the first network.
    #[must_use]
    pub fn ip(&self) -> String {
        self.ip_on(0)
    }

    /// Its IPv4 address on network `net`.
    #[must_use]
    pub fn ip_on(&self, net: usize) -> String {
        ipv4(net, self.index)
    }

    /// Its IPv6 address on the first network.
    #[must_use]
    pub fn ip6(&self) -> String {
        ipv6(0, self.index)
    }

    /// Its data disk of that name, such as `vdb`.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn disk(&self, name: &str) -> Result<&Disk> {
        let found = self.disks.iter().find(|disk| disk.name() == name);
        found.with_context(|| format!("{} has no disk {name}", self.name()))
    }

    /// Its data disks.
    #[must_use]
    pub fn disks(&self) -> &[Disk] {
        &self.disks
    }

    /// Empties the disk on which netraid keeps its configuration and its metadata; the machine must be off or have
    /// it unmounted.
    ///
    /// # Errors
    ///
    /// When the host refuses.
    pub fn forget(&self) -> Result<()> {
        self.state.wipe()
    }

    /// How often it was switched on.
    #[must_use]
    pub fn boots(&self) -> usize {
        self.boots.load(Ordering::Relaxed)
    }

    /// Reports of verified writers in this machine.
    #[must_use]
    pub fn acks(&self) -> &Acks {
        &self.acks
    }

    fn machine(&self) -> MutexGuard<'_, Option<Machine>> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn rpc(&self) -> Result<Arc<Rpc>> {
        match self.machine().as_ref() {
            Some(machine) => Ok(Arc::clone(&machine.rpc)),
            None => bail!("{} is off", self.name()),
        }
    }

    /// Whether it is switched on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.machine().is_some()
    }

    /// Switches it on without waiting until it is up.
    ///
    /// # Errors
    ///
    /// When it is on already or QEMU does not start.
    pub fn start(&self) -> Result<()> {
        let mut machine = self.machine();
        if machine.is_some() {
            bail!("{} is on already", self.name());
        }
        for switch in self.switches.iter() {
            switch.detach(self.index);
        }
        let run = self.boots.fetch_add(1, Ordering::Relaxed);
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner) = (run, 0);
        let mut options = self.options.clone();
        if !matches!(self.begin, Begin::GoOn(_)) {
            let archive = self.dir.join("boot.cpio");
            self.boot_set.for_machine(self.config.clone(), &archive)?;
            options.extend(["-initrd".to_owned(), archive.display().to_string()]);
        }
        options.extend(["-serial".to_owned(), format!("file:{}", self.console(run).display())]);
        let started = Machine::start(&self.dir, &options, &self.begin, self.apart, &self.acks);
        let started = started.with_context(|| format!("start {}", self.name()))?;
        if let Begin::GoOn(picture) = &self.begin {
            let went_on = started.go_on(picture, &self.config);
            went_on.with_context(|| format!("have {} go on from its picture", self.name()))?;
        }
        *machine = Some(started);
        Ok(())
    }

    /// Starts it up to where its picture is to be taken, takes that, and switches it off.
    pub(crate) fn pose(&self, picture: &Picture) -> Result<()> {
        self.start()?;
        let machine = self.machine().take().context("a machine that was just started")?;
        machine.pose(picture)
    }

    /// Waits until it is up.
    ///
    /// # Errors
    ///
    /// When it does not come up in time.
    pub fn await_up(&self) -> Result<()> {
        match self.machine().as_ref() {
            Some(machine) => {
                machine.await_up().with_context(|| format!("boot {}", self.name()))?;
            }
            None => bail!("{} is off", self.name()),
        }
        Ok(())
    }

    /// Switches it on and waits until it is up.
    ///
    /// # Errors
    ///
    /// As [`Node::start`] and [`Node::await_up`].
    pub fn boot(&self) -> Result<()> {
        self.start()?;
        match self.await_up() {
            Err(error) if self.emulator_failed() => {
                println!(
                    "QEMU failed while {} started, and is started again: {error:#}",
                    self.name()
                );
                self.kill9()?;
                self.start()?;
                self.await_up()
            }
            outcome => outcome,
        }
    }

    /// Whether the emulator of this boot ended by a mistake of its own that is known: an interrupt raised without its lock
    /// while a disk is reset, once in thousands of boots.
    fn emulator_failed(&self) -> bool {
        // Without a log there is no such sentence either.
        let log = fs::read_to_string(self.dir.join("qemu.log")).unwrap_or_default();
        log.contains("assertion failed: (qemu_mutex_iothread_locked())")
    }

    /// Kills it with SIGKILL, as a power cut would. What it had written stays on its disks.
    ///
    /// # Errors
    ///
    /// When it is off.
    pub fn kill9(&self) -> Result<()> {
        match self.machine().take() {
            // Dropping kills.
            Some(_machine) => Ok(()),
            None => bail!("{} is off already", self.name()),
        }
    }

    /// Switches it off in order.
    ///
    /// # Errors
    ///
    /// When it does not go off; it is killed then.
    pub fn power_off(&self) -> Result<()> {
        let Some(machine) = self.machine().take() else {
            bail!("{} is off already", self.name());
        };
        // No answer comes to this request.
        machine.rpc.send(Op::PowerOff)?;
        machine
            .await_end(scaled(POWER_OFF))
            .with_context(|| format!("switch {} off", self.name()))
    }

    /// Switches it off in order and on again.
    ///
    /// # Errors
    ///
    /// As [`Node::power_off`] and [`Node::boot`].
    pub fn reboot(&self) -> Result<()> {
        self.power_off()?;
        self.boot()
    }

    /// Stops its processors, as if it hung, until [`Node::thaw`].
    ///
    /// # Errors
    ///
    /// When it is off.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets its processors run again.
    ///
    /// # Errors
    ///
    /// When it is off.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        match self.machine().as_ref() {
            Some(machine) => machine.signal(signal),
            None => bail!("{} is off", self.name()),
        }
    }

    /// A shell command to run in it.
    pub fn sh(&self, script: &str) -> Call<'_> {
        self.command(&["sh", "-c", script])
    }

    /// A program to run in it.
    pub fn command(&self, argv: &[&str]) -> Call<'_> {
        Call::new(self, argv.iter().map(|&word| word.to_owned()).collect())
    }

    /// A call of netraid-ctl; arguments are separated by blanks.
    pub fn ctl(&self, arguments: &str) -> Call<'_> {
        let argv = ["netraid-ctl"].into_iter().chain(arguments.split_whitespace());
        self.command(&argv.collect::<Vec<_>>())
    }

    /// Subscribes to the events of netraid.
    ///
    /// # Errors
    ///
    /// When that cannot be started.
    #[track_caller]
    pub fn events(&self) -> Result<Events> {
        Events::subscribe(self)
    }

    /// Loads the module under test.
    ///
    /// # Errors
    ///
    /// When the kernel does not take it.
    #[track_caller]
    pub fn insmod(&self) -> Result<()> {
        self.sh(&format!("insmod {ARTIFACTS_DIR}/netraid.ko")).ok()?;
        Ok(())
    }

    fn console(&self, run: usize) -> PathBuf {
        self.dir.join(format!("console-{run}.log"))
    }

    /// The log of the present or last run's console.
    #[must_use]
    pub fn console_log(&self) -> PathBuf {
        self.console(self.boots.load(Ordering::Relaxed).saturating_sub(1))
    }

    /// From here on [`Node::complaints`] looks; called when a test begins.
    pub fn mark_console(&self) {
        let run = self.boots.load(Ordering::Relaxed).saturating_sub(1);
        let length = console::read(&self.console(run)).len();
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner) = (run, length);
    }

    /// What the kernel complained of since the mark, over all runs of the machine.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        if self.is_on() {
            // A machine that hangs is no reason not to look at what it said.
            let _hangs = self.flush_console();
        }
        let (run, length) = *self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for run in run..self.boots.load(Ordering::Relaxed) {
            text += &console::read(&self.console(run));
        }
        console::complaints(text.get(length..).unwrap_or(&text))
    }

    /// Waits until everything the kernel has said is in the log: the kernel writes its console
    /// from a thread, some time after the message.
    fn flush_console(&self) -> Result<()> {
        let marker = format!("console flushed {:x}", now().as_nanos());
        self.sh(&format!("echo '<0>{marker}' > /dev/kmsg")).ok()?;
        let log = self.console_log();
        let until = now() + scaled(CONSOLE);
        while !console::read(&log).contains(&marker) {
            if now() > until {
                bail!("the console of {} does not come", self.name());
            }
            nix::poll::poll(&mut [], 5_u8)?;
        }
        Ok(())
    }

    /// Notes a command and its outcome for whoever reads the log of a failed test.
    pub(crate) fn log(&self, words: &str, output: &Output) {
        let path = self.dir.join("commands.log");
        let text = format!(
            "[{:.3}] {words}\n  code {} in {:.1?}\n{}{}",
            now().as_secs_f64(),
            output.code,
            output.took,
            indent(&output.stdout),
            indent(&output.stderr)
        );
        let file = OpenOptions::new().create(true).append(true).open(&path);
        if let Err(error) = file.and_then(|mut file| file.write_all(text.as_bytes())) {
            eprintln!("cannot note a command in {}: {error}", path.display());
        }
    }

    /// Folder with its logs.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes ready for a test: its commands are noted from here on, and
    /// [`Node::complaints`] looks from here on.
    pub fn begin(&self, test: &str) {
        let path = self.dir.join("commands.log");
        if let Err(error) = fs::write(&path, format!("test {test}\n")) {
            eprintln!("cannot begin {}: {error}", path.display());
        }
        self.mark_console();
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  | {line}\n")).collect()
}

/// The IPv4 address of machine `node` on network `net`.
pub(crate) fn ipv4(net: usize, node: usize) -> String {
    format!("10.{}.0.{}", 77 + net, node + 1)
}

/// The IPv6 address of machine `node` on network `net`.
pub(crate) fn ipv6(net: usize, node: usize) -> String {
    format!("fd{}::{}", 77 + net, node + 1)
}
