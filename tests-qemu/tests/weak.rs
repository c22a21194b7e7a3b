// SPDX-License-Identifier: GPL-2.0
//! A mirror all of whose disks, those of its metadata included, can be made to break.

use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use serde_json::Value;
use tests_qemu::{workload::Plan, Cluster, Events, Node, Workload, MIB};

use crate::{
    harness::SOON,
    mapper::Mapped,
    mirror::{Mirror, QUICK},
    persist::{number, until, DEVICE},
};

/// Bytes of the mirror.
pub(crate) const SIZE: u64 = 16 * MIB;
/// What a disk behind the device mapper does.
#[derive(Clone, Copy)]
pub(crate) enum Does {
    /// What it is asked to.
    All,
    FailWrites,
    LoseWrites,
    FailReads,
    Nothing,
}

impl Does {
    fn table(self, disk: &str, size: u64) -> String {
        let sectors = size / 512;
        let flaky = |how| format!("0 {sectors} flakey /dev/{disk} 0 0 1 1 {how}");
        match self {
            Self::All => format!("0 {sectors} linear /dev/{disk} 0"),
            Self::FailWrites => flaky("error_writes"),
            Self::LoseWrites => flaky("drop_writes"),
            Self::FailReads => flaky("error_reads"),
            Self::Nothing => format!("0 {sectors} error"),
        }
    }
}

/// A disk that can break.
pub(crate) struct Weak<'a> {
    pub(crate) mapped: Mapped<'a>,
    disk: &'static str,
    size: u64,
}

impl<'a> Weak<'a> {
    fn make(node: &'a Node, name: &'static str, disk: &'static str, size: u64) -> Result<Self> {
        let mapped = Mapped::make(node, name, &Does::All.table(disk, size))?;
        Ok(Self { mapped, disk, size })
    }

    /// Makes it anew on a machine that was restarted.
    #[track_caller]
    pub(crate) fn comes_back(&mut self, node: &'a Node, what: Does) -> Result<()> {
        self.mapped = Mapped::make(node, self.mapped.name(), &what.table(self.disk, self.size))?;
        Ok(())
    }

    #[track_caller]
    pub(crate) fn does(&self, what: Does) -> Result<()> {
        self.mapped.becomes(&what.table(self.disk, self.size))
    }
}

/// A mirror all of whose disks can break.
pub(crate) struct Fixture<'a> {
    pub(crate) mirror: Mirror<'a>,
    pub(crate) source: Weak<'a>,
    pub(crate) source_meta: Weak<'a>,
    pub(crate) target: Weak<'a>,
    pub(crate) target_meta: Weak<'a>,
    events: Events,
}

impl<'a> Fixture<'a> {
    /// In sync.
    pub(crate) fn new(cluster: &'a Cluster) -> Result<Self> {
        Self::made(cluster, "--bitmap /dev/mapper/bits", "")
    }

    /// The same, made with these options on the source, and extended with those.
    pub(crate) fn made(cluster: &'a Cluster, create: &str, extend: &str) -> Result<Self> {
        let (eve, adam) = cluster.pair();
        let weak = |node| -> Result<_> {
            Ok((
                Weak::make(node, "part", "vdb", SIZE)?,
                Weak::make(node, "bits", "vdf", 4 * MIB)?,
            ))
        };
        let ((source, source_meta), (target, target_meta)) = (weak(eve)?, weak(adam)?);
        let options = format!("--disk /dev/mapper/part {QUICK}");
        eve.ctl(&format!("create data {options} {create}")).ok()?;
        adam.ctl(&format!("join data --yes {options} --bitmap /dev/mapper/bits"))
            .ok()?;
        let mirror = Mirror {
            source: eve,
            target: adam,
            disk: "vdb",
        };
        mirror.extend_with(format!("{QUICK} {extend}"))?;
        mirror.wait("fully-operational")?;
        // A write to what was copied just now would need no mark of its own.
        until("the copy to be durable", || Ok(number(eve, "intent_chunks")? == 0))?;
        let events = eve.events()?;
        Ok(Self {
            mirror,
            source,
            source_meta,
            target,
            target_meta,
            events,
        })
    }

    /// Writes to one block after the other of the first quarter, at random.
    pub(crate) fn workload(&self, seed: u64) -> Result<Workload> {
        let workload = Workload::start(self.mirror.source, DEVICE, Plan::new(seed, SIZE / 4096 / 4))?;
        workload.more(20, SOON)?;
        Ok(workload)
    }

    /// Waits until the source's leg has this reason.
    #[track_caller]
    pub(crate) fn says(&mut self, sentence: &str) -> Result<Value> {
        self.events.wait_for_reason(&[sentence], 2 * SOON)
    }

    /// In sync again without a command, with every acknowledged write on the target.
    pub(crate) fn heals(&self, workload: &mut Workload) -> Result<()> {
        self.mirror.wait("fully-operational")?;
        workload.more(20, SOON)?;
        let run = workload.stop()?;
        ensure!(run.errors.is_empty(), "the application got errors: {:?}", run.errors);
        self.is_the_same()?;
        // What other runs left between its blocks does not count.
        let verdict = workload.judge_disk(self.mirror.target.disk("vdb")?)?;
        ensure!(verdict.lost.is_empty(), "{verdict:?}");
        Ok(())
    }

    pub(crate) fn is_the_same(&self) -> Result<()> {
        let leg = self.mirror.leg()?;
        ensure!(leg["state"] == "fully-operational" && leg["dirty_chunks"] == 0, "{leg}");
        self.mirror.same_disks()
    }
}

/// Nothing is waited for but time: what is shown is that nothing happens in it.
pub(crate) fn wait_a_little(time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        nix::poll::poll(&mut [], 50_u8)?;
    }
    Ok(())
}
