// SPDX-License-Identifier: GPL-2.0
//! The network between the machines: a switch in the test process.
//!
//! Each machine's interface is a pair of unix datagram sockets, one frame a datagram. Because
//! every frame passes through here, a test can cut, delay, thin out, filter, change and count what goes
//! from one machine to another, in each direction by itself.

use std::{
    borrow::Cow,
    cmp::Reverse,
    collections::BinaryHeap,
    fs, io,
    net::Shutdown,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    sync::{
        mpsc::{channel, Receiver, RecvTimeoutError, Sender},
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{bail, Context as _, Result};

use crate::{packet::Packet, patience::scaled};

/// Largest frame QEMU hands over.
const FRAME: usize = 70 * 1024;
/// A machine that takes no frame for so long has lost it, as on a wire.
const PATIENCE: Duration = Duration::from_millis(200);

/// Decides whether a packet passes.
pub type Filter = Box<dyn FnMut(Packet<'_>) -> bool + Send>;

/// Changes a frame; says whether it did.
pub type Alteration = Box<dyn FnMut(&mut [u8]) -> bool + Send>;

/// What happens to frames from one machine to another.
#[derive(Default)]
struct Fate {
    cut: bool,
    delay: Duration,
    /// Share of the frames that is lost, and the state of the random numbers that choose.
    loss: Option<(f64, u64)>,
    filter: Option<Filter>,
    alteration: Option<Alteration>,
    traffic: Traffic,
}

/// What went from one machine to another since the switch began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Frames handed over.
    pub frames: u64,
    /// Bytes handed over.
    pub bytes: u64,
    /// Frames with TCP data in them handed over.
    pub segments: u64,
    /// Frames that were cut off, lost or filtered out.
    pub dropped: u64,
    /// Frames that were changed on their way.
    pub altered: u64,
}

struct Shared {
    /// One row for each sender, one column for each receiver.
    paths: Mutex<Vec<Vec<Fate>>>,
    changed: Condvar,
    targets: Vec<PathBuf>,
}

impl Shared {
    fn paths(&self) -> MutexGuard<'_, Vec<Vec<Fate>>> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One network with a port for each machine.
pub struct Switch {
    shared: Arc<Shared>,
    sockets: Vec<Arc<UnixDatagram>>,
    own_paths: Vec<PathBuf>,
    threads: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Switch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Switch")
            .field("ports", &self.sockets.len())
            .finish_non_exhaustive()
    }
}

/// The hardware address of machine `node` on network `net`; the switch knows machines by it.
#[must_use]
pub fn hardware_address(net: usize, node: usize) -> String {
    format!("52:54:00:77:{net:02x}:{node:02x}")
}

impl Switch {
    /// Starts the switch of network `net` for so many machines, with its sockets in `dir`.
    ///
    /// # Errors
    ///
    /// When a socket cannot be made, for instance because the path of `dir` is too long.
    pub fn new(dir: &Path, net: usize, machines: usize) -> Result<Self> {
        let path = |who: &str, node: usize| dir.join(format!("{who}{net}-{node}"));
        let row = || (0..machines).map(|_| Fate::default()).collect();
        let shared = Arc::new(Shared {
            paths: Mutex::new((0..machines).map(|_| row()).collect()),
            changed: Condvar::new(),
            targets: (0..machines).map(|node| path("q", node)).collect(),
        });
        let own_paths: Vec<_> = (0..machines).map(|node| path("s", node)).collect();
        let mut sockets = Vec::new();
        for path in &own_paths {
            let socket = UnixDatagram::bind(path).with_context(|| format!("make the socket {}", path.display()))?;
            socket.set_write_timeout(Some(PATIENCE))?;
            sockets.push(Arc::new(socket));
        }
        let (sender, late) = channel();
        let mut threads = Vec::new();
        for (node, socket) in sockets.iter().enumerate() {
            let (socket, shared, late) = (Arc::clone(socket), Arc::clone(&shared), sender.clone());
            threads.push(thread::spawn(move || forward(node, &socket, &shared, &late)));
        }
        drop(sender);
        let unbound = UnixDatagram::unbound()?;
        unbound.set_write_timeout(Some(PATIENCE))?;
        let targets = shared.targets.clone();
        threads.push(thread::spawn(move || deliver_late(&late, &unbound, &targets)));
        Ok(Self {
            shared,
            sockets,
            own_paths,
            threads,
        })
    }

    /// QEMU's option for the interface of machine `node`; `id` names it.
    #[must_use]
    pub fn netdev(&self, node: usize, id: &str) -> String {
        let (local, remote) = (&self.shared.targets[node], &self.own_paths[node]);
        format!(
            "dgram,id={id},local.type=unix,local.path={},remote.type=unix,remote.path={}",
            local.display(),
            remote.display()
        )
    }

    /// Removes the socket that a machine's last run left behind.
    pub(crate) fn detach(&self, node: usize) {
        let _absent = fs::remove_file(&self.shared.targets[node]);
    }

    /// The way from one machine to another.
    #[must_use]
    pub fn way(&self, from: usize, to: usize) -> Way<'_> {
        Way {
            shared: &self.shared,
            from,
            to,
        }
    }

    /// Makes every way whole again.
    pub fn restore(&self) {
        for path in self.shared.paths().iter_mut().flatten() {
            *path = Fate {
                traffic: path.traffic,
                ..Fate::default()
            };
        }
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        for socket in &self.sockets {
            // A socket that cannot be shut down is gone already.
            let _gone = socket.shutdown(Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            // A thread that panicked said so itself.
            let _panicked = thread.join();
        }
    }
}

/// The way from one machine to another; the way back is another one.
#[derive(Clone, Copy)]
pub struct Way<'a> {
    shared: &'a Shared,
    from: usize,
    to: usize,
}

impl std::fmt::Debug for Way<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Way({} to {})", self.from, self.to)
    }
}

impl Way<'_> {
    fn change(&self, change: impl FnOnce(&mut Fate)) {
        change(&mut self.shared.paths()[self.from][self.to]);
    }

    /// Lets nothing through, until [`Way::restore`].
    pub fn cut(&self) {
        self.change(|path| path.cut = true);
    }

    /// Undoes cut, delay, loss, filter and alteration.
    pub fn restore(&self) {
        self.change(|path| {
            *path = Fate {
                traffic: path.traffic,
                ..Fate::default()
            }
        });
    }

    /// Makes each frame arrive so much later.
    pub fn delay(&self, delay: Duration) {
        self.change(|path| path.delay = delay);
    }

    /// Loses this share (0 to 1) of the frames, chosen by random numbers from `seed`.
    pub fn lose(&self, share: f64, seed: u64) {
        self.change(|path| path.loss = Some((share, seed)));
    }

    /// Lets through only what `filter` wants.
    pub fn filter(&self, filter: impl FnMut(Packet<'_>) -> bool + Send + 'static) {
        self.change(|path| path.filter = Some(Box::new(filter)));
    }

    /// Has `alter` change what passes, until [`Way::restore`].
    pub fn alter(&self, alter: impl FnMut(&mut [u8]) -> bool + Send + 'static) {
        self.change(|path| path.alteration = Some(Box::new(alter)));
    }

    /// What has gone this way so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.shared.paths()[self.from][self.to].traffic
    }

    /// Waits until the traffic is such that `enough` holds.
    ///
    /// # Errors
    ///
    /// When it does not hold within `timeout`.
    pub fn wait_for(&self, timeout: Duration, mut enough: impl FnMut(Traffic) -> bool) -> Result<Traffic> {
        let paths = self.shared.paths();
        let (paths, waited) = self
            .shared
            .changed
            .wait_timeout_while(paths, scaled(timeout), |paths| {
                !enough(paths[self.from][self.to].traffic)
            })
            .unwrap_or_else(PoisonError::into_inner);
        let traffic = paths[self.from][self.to].traffic;
        if waited.timed_out() {
            bail!("the expected traffic did not come within {timeout:?}: {traffic:?}");
        }
        Ok(traffic)
    }
}

/// A frame that is to arrive later; the number keeps frames of the same time in order.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Late {
    due: Instant,
    number: u64,
    to: usize,
    frame: Vec<u8>,
}

/// Takes the frames of one machine until the switch ends.
fn forward(node: usize, socket: &UnixDatagram, shared: &Shared, late: &Sender<Late>) {
    let mut buffer = vec![0; FRAME];
    let mut number = 0;
    loop {
        let length = match socket.recv(&mut buffer) {
            Ok(0) => return,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        let frame = &buffer[..length];
        for to in receivers(node, frame, shared.targets.len()) {
            number += 1;
            let Some((delay, frame)) = admit(shared, node, to, frame) else {
                continue;
            };
            if delay.is_zero() {
                // A machine that is off or does not take the frame has lost it.
                let _lost = socket.send_to(&frame, &shared.targets[to]);
            } else {
                let due = Instant::now() + delay;
                let _ending = late.send(Late {
                    due,
                    number,
                    to,
                    frame: frame.into_owned(),
                });
            }
        }
        shared.changed.notify_all();
    }
}

/// The machines that a frame is for: one by its address, or all others.
fn receivers(node: usize, frame: &[u8], machines: usize) -> Vec<usize> {
    let one = match frame.get(..6) {
        Some([0x52, 0x54, 0x00, 0x77, _, to]) => Some(usize::from(*to)),
        _ => None,
    };
    (0..machines)
        .filter(|&to| to != node && one.is_none_or(|one| one == to))
        .collect()
}

/// Counts the frame; says after which delay it passes, and how it is then, or nothing when it does not.
fn admit<'a>(shared: &Shared, from: usize, to: usize, frame: &'a [u8]) -> Option<(Duration, Cow<'a, [u8]>)> {
    let mut paths = shared.paths();
    let path = &mut paths[from][to];
    let packet = Packet::new(frame);
    let lost = match &mut path.loss {
        Some((share, state)) => {
            *state = state
                .wrapping_mul(0x5851_f42d_4c95_7f2d)
                .wrapping_add(0x1405_7b7e_f767_814f);
            let dice = u32::try_from(*state >> 32).unwrap_or(0);
            f64::from(dice) < *share * f64::from(u32::MAX)
        }
        None => false,
    };
    let wanted = path.filter.as_mut().is_none_or(|filter| filter(packet));
    if path.cut || lost || !wanted {
        path.traffic.dropped += 1;
        return None;
    }
    path.traffic.frames += 1;
    path.traffic.bytes += frame.len() as u64;
    path.traffic.segments += u64::from(packet.payload().is_some_and(|data| !data.is_empty()));
    let mut passes = Cow::Borrowed(frame);
    if let Some(alter) = &mut path.alteration {
        path.traffic.altered += u64::from(alter(passes.to_mut()));
    }
    Some((path.delay, passes))
}

/// Hands over delayed frames when their time has come.
fn deliver_late(late: &Receiver<Late>, socket: &UnixDatagram, targets: &[PathBuf]) {
    let mut waiting = BinaryHeap::new();
    loop {
        let next = waiting.peek().map(|Reverse(frame): &Reverse<Late>| frame.due);
        let received = match next {
            None => late.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => late.recv_timeout(due.saturating_duration_since(Instant::now())),
        };
        match received {
            Ok(frame) => waiting.push(Reverse(frame)),
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                if let Some(Reverse(frame)) = waiting.pop() {
                    let _lost = socket.send_to(&frame.frame, &targets[frame.to]);
                }
            }
        }
    }
}
