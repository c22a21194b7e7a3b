// SPDX-License-Identifier: GPL-2.0
//! Pictures of machines: memory and devices as they are when the kernel is up and has touched no disk yet. A machine that
//! goes on from one is there in a fraction of the time that its kernel takes to come up under emulation.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::{
    artifacts::Artifacts,
    cluster::{Cluster, ClusterSpec},
    qmp::Qmp,
};

/// How a machine begins.
#[derive(Clone, Debug)]
pub(crate) enum Begin {
    /// With its kernel.
    Boot,
    /// With its kernel, up to where this picture is taken of it.
    Pose(Arc<Picture>),
    /// Where this picture shows it.
    GoOn(Arc<Picture>),
}

/// One picture. It is never changed once it was taken.
#[derive(Debug)]
pub(crate) struct Picture {
    memory: PathBuf,
    devices: PathBuf,
    /// Where both are; it goes with the last one who needs it.
    _dir: Arc<TempDir>,
}

impl Picture {
    /// Takes it of a machine that waits; that machine is of no use afterwards.
    pub(crate) fn take(&self, machine: &mut Qmp) -> Result<()> {
        machine.stop()?;
        machine.save(&self.devices)
    }

    /// Has a machine go on from it.
    pub(crate) fn apply(&self, machine: &mut Qmp) -> Result<()> {
        machine.load(&self.devices)
    }
}

impl Begin {
    /// QEMU's options for a machine with so much memory, in MiB, whose files are in `dir`.
    pub(crate) fn options(&self, memory: u64, dir: &Path) -> Vec<String> {
        let (picture, share) = match self {
            Self::Boot => return vec!["-machine".into(), MACHINE.into()],
            // What goes on from a picture changes only what it sees of it itself.
            Self::Pose(picture) => (picture, "on"),
            Self::GoOn(picture) => (picture, "off"),
        };
        let file = picture.memory.display();
        let ram = format!("memory-backend-file,id=ram,size={memory}M,mem-path={file},share={share}");
        let machine = format!("{MACHINE},memory-backend=ram");
        let mut options = vec!["-machine".into(), machine, "-object".into(), ram];
        options.extend(Qmp::options(dir));
        if matches!(self, Self::GoOn(_)) {
            options.extend(["-incoming".to_owned(), "defer".to_owned()]);
        }
        options
    }
}

/// The interrupts of its devices are in a table. To find those of a `pc` out takes two seconds at boot, and the debug
/// kernel minutes.
const MACHINE: &str = "q35";

/// The pictures that were taken so far, one for each kind of machine.
#[derive(Debug)]
pub struct Pictures {
    dir: Arc<TempDir>,
    taken: Mutex<HashMap<String, Arc<Picture>>>,
}

impl Pictures {
    /// None yet.
    ///
    /// # Errors
    ///
    /// When there is no room for them.
    pub fn new() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("netraid-pictures-").tempdir();
        Ok(Self {
            dir: Arc::new(dir.context("make a folder for pictures of machines")?),
            taken: Mutex::default(),
        })
    }

    /// The picture that shows `machine`, taken now if there is none.
    pub(crate) fn of(&self, artifacts: &Artifacts, machine: &ClusterSpec) -> Result<Arc<Picture>> {
        let kind = format!("{} {machine:?}", artifacts.kver);
        // Whoever wants one meanwhile wants the same, most of the time.
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(picture) = taken.get(&kind) {
            return Ok(Arc::clone(picture));
        }
        let file = |what: &str| self.dir.path().join(format!("{}.{what}", taken.len()));
        let picture = Arc::new(Picture {
            memory: file("memory"),
            devices: file("devices"),
            _dir: Arc::clone(&self.dir),
        });
        let sitting = machine.clone().pose(&picture);
        let cluster = Cluster::prepare(artifacts, &sitting)?;
        cluster.node(0).pose(&picture).context("take a picture of a machine")?;
        taken.insert(kind, Arc::clone(&picture));
        Ok(picture)
    }
}
