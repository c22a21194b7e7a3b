// SPDX-License-Identifier: GPL-2.0
//! Machines and the networks between them.

mod assembly;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{atomic::AtomicUsize, Arc, Mutex},
    thread,
};

use anyhow::{anyhow, ensure, Context as _, Result};
use tempfile::TempDir;

use crate::{
    acks::Acks,
    artifacts::Artifacts,
    boot::BootSet,
    console,
    disk::{Disk, DiskSpec, MIB},
    image::ensure_image,
    node::Node,
    picture::{Begin, Picture, Pictures},
    qemu,
    state::{StateDisk, Template},
    switch::Switch,
};

/// Host names, in the order of the machines: the first is the source in most tests.
const NAMES: [&str; 8] = ["eve", "adam", "abel", "seth", "enos", "jared", "enoch", "noah"];

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
    measured: bool,
    pictures: Option<Arc<Pictures>>,
    pose: Option<Arc<Picture>>,
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
            measured: false,
            pictures: None,
            pose: None,
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

    /// For measurements: two processors that run at the same time and are awake all the time, because to wake an emulated
    /// one takes long and never the same time. Their host must have two to spare.
    #[must_use]
    pub fn measured(self) -> Self {
        Self {
            measured: true,
            processors: Some(2),
            ..self
        }
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

    /// Has machines go on from one of these pictures whenever they are switched on, instead of starting their kernel. For
    /// all they can see, they just did; what a kernel says while it starts is not in their logs.
    #[must_use]
    pub fn pictures(self, pictures: &Arc<Pictures>) -> Self {
        let pictures = Some(Arc::clone(pictures));
        Self { pictures, ..self }
    }

    /// Has the machine wait to be taken this picture of.
    pub(crate) fn pose(self, picture: &Arc<Picture>) -> Self {
        let pose = Some(Arc::clone(picture));
        Self { pose, ..self }
    }

    fn begin(&self, artifacts: &Artifacts, index: usize) -> Result<Begin> {
        if let Some(picture) = &self.pose {
            return Ok(Begin::Pose(Arc::clone(picture)));
        }
        let Some(pictures) = &self.pictures else {
            return Ok(Begin::Boot);
        };
        let alone = Self {
            machines: vec![self.machines[index].clone()],
            pictures: None,
            ..self.clone()
        };
        pictures.of(artifacts, &alone).map(Begin::GoOn)
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
            "a cluster has 1 to 8 machines"
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
                let folder = if disk.shared { dir.path() } else { &node_dir };
                made.push(Disk::create(folder, format!("vd{letter}"), disk.clone())?);
            }
            let state = StateDisk::create(&node_dir, &template)?;
            let begin = spec.begin(artifacts, index)?;
            let mut options = assembly::options(artifacts, spec, index, &node_dir, &made, &images, &switches);
            options.extend(begin.options(spec.complete(artifacts).1, &node_dir));
            options.extend(state.options());
            nodes.push(Node {
                index,
                config: assembly::config(artifacts, spec, index, &made, &begin),
                options,
                state,
                dir: node_dir,
                disks: made,
                boot_set: Arc::clone(&boot_set),
                switches: Arc::clone(&switches),
                acks: Acks::default(),
                apart: spec.apart,
                begin,
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
