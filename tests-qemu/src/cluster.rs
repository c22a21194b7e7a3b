// SPDX-License-Identifier: GPL-2.0
//! Machines and the networks between them.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{atomic::AtomicUsize, Arc, Mutex},
    thread,
};

use anyhow::{anyhow, ensure, Context as _, Result};
use netraid_guest::proto::{Config, Nic, ACK_PORT, MODULES_SERIAL, ROOT_SERIAL, RPC_PORT};
use tempfile::TempDir;

use crate::{
    acks::Acks,
    artifacts::Artifacts,
    boot::BootSet,
    clock, console,
    disk::{Disk, DiskSpec, MIB},
    image::ensure_image,
    node::{ipv4, ipv6, Node},
    qemu,
    state::{StateDisk, Template},
    switch::{hardware_address, Switch},
};

/// Host names, in the order of the machines: the first is the source in most tests.
const NAMES: [&str; 4] = ["eve", "adam", "abel", "seth"];
/// Without `no_timer_check` a kernel gives up at boot when the emulated timer is late, as it is on a busy host. With
/// `norandmaps` the emulator finds each program where it was before, and its translation with it: one starts five times as
/// fast.
const KERNEL_OPTIONS: &str = "console=ttyS0 loglevel=5 panic=-1 mitigations=off tsc=reliable no_timer_check \
     random.trust_cpu=on nokaslr norandmaps init_on_alloc=0 8250.nr_uarts=1";
/// Devices that nobody needs, each of which costs the debug kernel some time at boot.
const DEBUG_OPTIONS: &str = " pty.legacy_count=0 nbd.nbds_max=0 brd.rd_nr=0";
/// A thread that is watched for races waits in the middle of what it does for longer than a tick of the clock, so that
/// another one comes to run meanwhile even where all processors share a thread.
const RACES_OPTIONS: &str = " kcsan.udelay_task=5000 kcsan.skip_watch=20000";

/// Least memory of a machine with the debug kernel, in MiB.
const DEBUG_MEMORY: u64 = 1024;

/// What a cluster is to be.
#[derive(Clone, Debug)]
pub struct ClusterSpec {
    machines: Vec<Vec<DiskSpec>>,
    networks: usize,
    mtu: u32,
    memory: u64,
    processors: Option<u32>,
    apart: bool,
}

impl ClusterSpec {
    /// So many machines (1 to 4), each with one disk of 64 MiB, on one network.
    #[must_use]
    pub fn new(machines: usize) -> Self {
        let machines = vec![vec![DiskSpec::new(64 * MIB)]; machines];
        Self {
            machines,
            networks: 1,
            mtu: 9000,
            memory: 512,
            processors: None,
            apart: false,
        }
    }

    /// Gives every machine these disks: the first is `vdb`, the next `vdc` and so on.
    #[must_use]
    pub fn disks(mut self, disks: &[DiskSpec]) -> Self {
        self.machines.fill(disks.to_vec());
        self
    }

    /// Gives machine `node` these disks.
    #[must_use]
    pub fn disks_of(mut self, node: usize, disks: &[DiskSpec]) -> Self {
        self.machines[node] = disks.to_vec();
        self
    }

    /// Joins the machines by so many networks, each with an interface of its own.
    #[must_use]
    pub fn networks(self, networks: usize) -> Self {
        Self { networks, ..self }
    }

    /// Largest packet in bytes; 9000 unless told, because the emulated processor pays by packet.
    #[must_use]
    pub fn mtu(self, mtu: u32) -> Self {
        Self { mtu, ..self }
    }

    /// Memory of each machine in MiB.
    #[must_use]
    pub fn memory(self, memory: u64) -> Self {
        Self { memory, ..self }
    }

    /// Keeps what is typed at the terminal, such as Ctrl-C, from the machines, so that whoever started them can end them in
    /// order.
    #[must_use]
    pub fn apart(self) -> Self {
        Self { apart: true, ..self }
    }

    /// Processors of each machine.
    #[must_use]
    pub fn processors(self, processors: u32) -> Self {
        let processors = Some(processors);
        Self { processors, ..self }
    }

    /// What is left open, made to fit the kernel.
    fn complete(&self, artifacts: &Artifacts) -> (u32, u64) {
        // An emulated machine is no faster with two, but only with two can threads of a debug kernel get in each
        // other's way everywhere.
        let two = qemu::has_kvm() || artifacts.debug;
        let processors = self.processors.unwrap_or(if two { 2 } else { 1 });
        // A kernel that watches its memory needs some for that.
        let memory = if artifacts.debug {
            self.memory.max(DEBUG_MEMORY)
        } else {
            self.memory
        };
        (processors, memory)
    }
}

/// Machines that run, until the cluster is dropped.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    switches: Arc<Vec<Switch>>,
    dir: TempDir,
    debug: bool,
}

impl Cluster {
    /// Starts the machines and waits until all are up.
    ///
    /// # Errors
    ///
    /// When an artifact is missing or a machine does not come up.
    pub fn start(artifacts: &Artifacts, spec: &ClusterSpec) -> Result<Self> {
        let cluster = Self::prepare(artifacts, spec)?;
        let booted = cluster.on_all(Node::boot);
        booted.map_err(|error| anyhow!("{error:#}\n{}", cluster.tails()))?;
        Ok(cluster)
    }

    /// Makes everything ready without switching a machine on.
    ///
    /// # Errors
    ///
    /// When an artifact is missing.
    pub fn prepare(artifacts: &Artifacts, spec: &ClusterSpec) -> Result<Self> {
        ensure!(
            (1..=NAMES.len()).contains(&spec.machines.len()),
            "a cluster has 1 to 4 machines"
        );
        let dir = tempfile::Builder::new()
            .prefix("netraid-vm-")
            .tempdir()
            .context("make a folder for the cluster")?;
        let images = [ensure_image(&artifacts.guest_root)?, ensure_image(&artifacts.modules)?];
        let boot_set = Arc::new(BootSet::new(artifacts)?);
        let mut switches = Vec::new();
        for net in 0..spec.networks {
            switches.push(Switch::new(dir.path(), net, spec.machines.len())?);
        }
        let switches = Arc::new(switches);
        let template = Template::make(dir.path())?;
        let mut nodes = Vec::new();
        for (index, disks) in spec.machines.iter().enumerate() {
            let node_dir = dir.path().join(NAMES[index]);
            fs::create_dir(&node_dir)?;
            let mut made = Vec::new();
            for (letter, disk) in ('b'..='z').zip(disks) {
                made.push(Disk::create(&node_dir, format!("vd{letter}"), disk.clone())?);
            }
            let state = StateDisk::create(&node_dir, &template)?;
            let mut options = options(artifacts, spec, index, &node_dir, &made, &images, &switches);
            options.extend(state.options());
            nodes.push(Node {
                index,
                config: config(artifacts, spec, index, &made),
                options,
                state,
                dir: node_dir,
                disks: made,
                boot_set: Arc::clone(&boot_set),
                switches: Arc::clone(&switches),
                acks: Acks::default(),
                apart: spec.apart,
                machine: Mutex::new(None),
                boots: AtomicUsize::new(0),
                mark: Mutex::new((0, 0)),
            });
        }
        let debug = artifacts.debug && !artifacts.races;
        Ok(Self {
            nodes,
            switches,
            dir,
            debug,
        })
    }

    /// All machines.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Machine `index`, counted from 0.
    #[must_use]
    pub fn node(&self, index: usize) -> &Node {
        &self.nodes[index]
    }

    /// The first two machines.
    #[must_use]
    pub fn pair(&self) -> (&Node, &Node) {
        (&self.nodes[0], &self.nodes[1])
    }

    /// Whether the machines run the debug kernel, which finds lost memory and can let allocations fail.
    #[must_use]
    pub fn debug(&self) -> bool {
        self.debug
    }

    /// The first network.
    #[must_use]
    pub fn network(&self) -> &Switch {
        &self.switches[0]
    }

    /// Network `net`.
    #[must_use]
    pub fn network_at(&self, net: usize) -> &Switch {
        &self.switches[net]
    }

    /// Cuts two machines off from each other, on every network.
    pub fn cut(&self, one: &Node, other: &Node) {
        for switch in self.switches.iter() {
            switch.way(one.index, other.index).cut();
            switch.way(other.index, one.index).cut();
        }
    }

    /// Makes every network whole again.
    pub fn restore_links(&self) {
        for switch in self.switches.iter() {
            switch.restore();
        }
    }

    /// Does something on all machines at once.
    ///
    /// # Errors
    ///
    /// The first error, when any machine fails.
    pub fn on_all(&self, job: impl Fn(&Node) -> Result<()> + Sync) -> Result<()> {
        let job = &job;
        thread::scope(|scope| {
            let threads: Vec<_> = self.nodes.iter().map(|node| scope.spawn(move || job(node))).collect();
            let mut outcome = Ok(());
            for thread in threads {
                let one = thread.join().unwrap_or_else(|_| Err(anyhow!("a thread panicked")));
                outcome = outcome.and(one);
            }
            outcome
        })
    }

    /// The last lines of every console, to show with an error.
    #[must_use]
    pub fn tails(&self) -> String {
        let mut text = String::new();
        for node in &self.nodes {
            text += &format!("--- console of {} ---\n", node.name());
            text += &console::tail(&node.console_log(), 15);
            text.push('\n');
        }
        text
    }

    /// What the kernels complained of since the mark.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let mut all = Vec::new();
        for node in &self.nodes {
            for complaint in node.complaints() {
                all.push(format!("{}: {complaint}", node.name()));
            }
        }
        all
    }

    /// Folder with disks and logs; it goes when the cluster does.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Copies the logs of all machines, without their disks, to `to`, replacing what is there.
    ///
    /// # Errors
    ///
    /// When they cannot be copied.
    pub fn save_logs(&self, to: &Path) -> Result<()> {
        for node in &self.nodes {
            let dir = to.join(node.name());
            // What an earlier failure left there would only confuse.
            let _none = fs::remove_dir_all(&dir);
            fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
            for entry in fs::read_dir(node.dir())? {
                let path = entry?.path();
                let log = path.extension().is_some_and(|kind| kind == "log" || kind == "command");
                if let (true, Some(name)) = (log, path.file_name()) {
                    fs::copy(&path, dir.join(name)).with_context(|| format!("copy {}", path.display()))?;
                }
            }
        }
        Ok(())
    }

    /// Switches everything off and leaves the folder there.
    #[must_use]
    pub fn keep(mut self) -> PathBuf {
        for node in &self.nodes {
            if node.is_on() {
                // It was on a moment ago; that is all that can have changed.
                let _off = node.kill9();
            }
        }
        self.dir.disable_cleanup(true);
        self.dir.path().to_owned()
    }
}

fn config(artifacts: &Artifacts, spec: &ClusterSpec, index: usize, disks: &[Disk]) -> Config {
    let nics = (0..spec.networks).map(|net| Nic {
        name: format!("eth{net}"),
        mtu: spec.mtu,
        addresses: vec![format!("{}/24", ipv4(net, index)), format!("{}/64", ipv6(net, index))],
    });
    let machines = NAMES.iter().enumerate().take(spec.machines.len());
    Config {
        hostname: NAMES[index].to_owned(),
        machine_id: format!("7e7a1d{:026x}", index + 1),
        kver: artifacts.kver.clone(),
        modules: Vec::new(),
        nics: nics.collect(),
        disks: disks.iter().map(|disk| disk.name().to_owned()).collect(),
        hosts: machines
            .map(|(node, name)| format!("{} {name}", ipv4(0, node)))
            .collect(),
    }
}

fn kernel_options(artifacts: &Artifacts) -> String {
    let speed = clock::tsc_khz().map(|khz| format!(" tsc_early_khz={khz}"));
    let more = if artifacts.debug { DEBUG_OPTIONS } else { "" };
    let races = if artifacts.races { RACES_OPTIONS } else { "" };
    format!("{KERNEL_OPTIONS}{more}{races}{}", speed.unwrap_or_default())
}

fn options(
    artifacts: &Artifacts,
    spec: &ClusterSpec,
    index: usize,
    dir: &Path,
    disks: &[Disk],
    images: &[PathBuf; 2],
    switches: &[Switch],
) -> Vec<String> {
    let mut options: Vec<String> = Vec::new();
    let mut add = |words: &[&str]| options.extend(words.iter().map(|&word| word.to_owned()));
    add(&[
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-no-reboot",
        // The interrupts of its devices are in a table. To find those of a `pc` out takes two seconds at boot, and the
        // debug kernel minutes.
        "-machine",
        "q35",
    ]);
    let (processors, memory) = spec.complete(artifacts);
    add(qemu::accelerator(processors));
    add(&["-smp", &processors.to_string(), "-m", &memory.to_string()]);
    add(&[
        "-kernel",
        &artifacts.vmlinux.display().to_string(),
        "-append",
        &kernel_options(artifacts),
    ]);
    // The disks get a thread of their own, beside the one of the emulated processors.
    add(&["-object", "iothread,id=io"]);
    // Without an event descriptor QEMU passes a line on before the kernel that sent it goes on: what the verified writer
    // has reported is known here, even if the machine is killed with the next write under way.
    add(&["-device", "virtio-serial-pci,ioeventfd=off"]);
    for (name, port) in [("rpc", RPC_PORT), ("ack", ACK_PORT)] {
        let chardev = format!("socket,id={name},path={}", dir.join(name).display());
        add(&["-chardev", &chardev]);
        add(&["-device", &format!("virtserialport,chardev={name},name={port}")]);
    }
    // The root may be written; what is written goes with the machine.
    let image = |serial: &str, path: &Path, how: &str| {
        let path = path.display();
        let drive = format!("if=none,id={serial},file={path},format=raw,cache=unsafe,{how}");
        let device = format!("virtio-blk-pci,drive={serial},serial={serial},iothread=io");
        ["-drive".to_owned(), drive, "-device".to_owned(), device]
    };
    options.extend(image(ROOT_SERIAL, &images[0], "snapshot=on"));
    // The kernel names disks in the order in which they stand here.
    for disk in disks {
        options.extend(disk.options());
    }
    options.extend(image(MODULES_SERIAL, &images[1], "read-only=on"));
    for (net, switch) in switches.iter().enumerate() {
        let id = format!("net{net}");
        let mac = hardware_address(net, index);
        let device = format!("virtio-net-pci,netdev={id},mac={mac},host_mtu={},romfile=", spec.mtu);
        options.extend(["-netdev".into(), switch.netdev(index, &id), "-device".into(), device]);
    }
    options
}
