// SPDX-License-Identifier: GPL-2.0
//! The two machines, the mirror between them, and the history of what is done to it.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context as _, Result};
use serde_json::Value;
use tests_qemu::patience::{scaled, LinkTiming};
use tests_qemu::truth::{Plan, Verdict};
use tests_qemu::{Chunks, Cluster, Disk, Metadata, Node, Truth, MIB};

use super::report::Figures;

/// Size of the mirrored disks.
pub(super) const DISK: u64 = 32 * MIB;
/// The block device of the mirror.
pub(super) const DEVICE: &str = "/dev/netraid0";
/// Options with which the loss of a link is noticed soon, and not by mistake on a busy host.
const LINK: LinkTiming = LinkTiming::new(400, 2000);
/// What must follow a fault does so within this time, on emulated machines of a busy host.
pub(super) const LIMIT: Duration = Duration::from_secs(180);
/// Bytes that one bit of the maps stands for.
const CHUNK: u64 = 65536;
/// How many there are.
pub(super) const CHUNKS: u64 = DISK / CHUNK;
/// Sectors that the operations go to; the rest of the disk is for what has no history.
const SECTORS: u64 = 24 * MIB / 512;
/// A pause before something is asked for once more.
const AGAIN: Duration = Duration::from_millis(200);

/// Two machines with a mirror under load.
pub(super) struct Pair<'a> {
    pub(super) cluster: &'a Cluster,
    /// Which machine is the source now.
    source: usize,
    pub(super) truth: Truth,
    figures: Figures,
    /// Since when operations are done.
    busy: Option<Instant>,
    /// Counters of the leg as they were last seen, which begin anew with each leg.
    counted: (u64, u64),
}

impl<'a> Pair<'a> {
    /// Makes the mirror and begins the load.
    pub(super) fn new(cluster: &'a Cluster, seed: u64) -> Result<Self> {
        let plan = Plan::new(seed | 1, SECTORS);
        let mut pair = Self {
            cluster,
            source: 0,
            truth: Truth::new(plan),
            figures: Figures::default(),
            busy: None,
            counted: (0, 0),
        };
        cluster.on_all(Node::insmod)?;
        let (source, target) = (pair.source(), pair.target());
        source.ctl("create data --disk /dev/vdb --bitmap /dev/vdc").ok()?;
        target
            .ctl(&format!("join data --disk /dev/vdb --yes --bitmap /dev/vdc {LINK}"))
            .ok()?;
        pair.extend()?;
        pair.begin()?;
        pair.operational()?;
        Ok(pair)
    }

    pub(super) fn source(&self) -> &'a Node {
        self.cluster.node(self.source)
    }

    pub(super) fn target(&self) -> &'a Node {
        self.cluster.node(1 - self.source)
    }

    /// The other machine is the source from now on.
    pub(super) fn turn(&mut self) {
        self.source = 1 - self.source;
        self.counted = (0, 0);
    }

    /// The source has a new leg, whose counters begin at 0.
    pub(super) fn new_leg(&mut self) {
        self.counted = (0, 0);
    }

    pub(super) fn failed_over(&mut self) {
        self.figures.failovers += 1;
    }

    pub(super) fn extend(&self) -> Result<()> {
        let to = self.target().ip();
        self.source().ctl(&format!("extend data --to {to} --yes {LINK}")).ok()?;
        Ok(())
    }

    /// Begins operations on the source.
    pub(super) fn begin(&mut self) -> Result<()> {
        self.truth.start(self.source(), DEVICE)?;
        self.busy = Some(Instant::now());
        Ok(())
    }

    fn idle(&mut self) {
        let busy = self.busy.take().map(|since| since.elapsed());
        self.figures.seconds_under_load += busy.unwrap_or_default().as_secs_f64();
    }

    /// Ends operations in order.
    pub(super) fn halt(&mut self) -> Result<()> {
        if self.truth.is_running() {
            self.truth.stop(self.source())?;
            self.idle();
        }
        Ok(())
    }

    /// Cuts the power of the source; the operations die with it.
    pub(super) fn kill_source(&mut self) -> Result<()> {
        self.source().kill9()?;
        self.figures.power_cuts += 1;
        self.idle();
        self.counted = (0, 0);
        if self.truth.is_running() {
            self.truth.died()?;
        }
        Ok(())
    }

    /// Cuts the power of the target.
    pub(super) fn kill_target(&mut self) -> Result<()> {
        self.target().kill9()?;
        self.figures.power_cuts += 1;
        Ok(())
    }

    /// Cuts the link in both directions.
    pub(super) fn cut(&mut self) {
        self.cluster.cut(self.source(), self.target());
        self.figures.partitions += 1;
    }

    /// Cuts the link from one machine to the other; the way back stays.
    pub(super) fn cut_way(&mut self, from: usize, to: usize) {
        self.cluster.network().way(from, to).cut();
        self.figures.partitions += 1;
    }

    /// The device was taken away; operations may have been refused.
    pub(super) fn abandon(&mut self) -> Result<usize> {
        self.truth.kill(self.source())?;
        self.idle();
        Ok(self.truth.forgive())
    }

    /// Waits until so many more operations were acknowledged.
    pub(super) fn load(&mut self, count: usize) -> Result<()> {
        if !self.truth.is_running() {
            self.begin()?;
        }
        self.truth.more(count, LIMIT)
    }

    /// Waits for a state on a machine.
    pub(super) fn wait(&self, node: &Node, state: &str) -> Result<()> {
        let seconds = scaled(LIMIT).as_secs();
        node.ctl(&format!("wait data --for {state} --timeout {seconds}"))
            .timeout(LIMIT + LIMIT)
            .ok()?;
        Ok(())
    }

    /// Waits until the mirror is fully operational.
    pub(super) fn operational(&self) -> Result<()> {
        self.wait(self.source(), "fully-operational")
    }

    /// Switches a machine on and loads the module.
    pub(super) fn boot(&self, node: &Node) -> Result<()> {
        node.boot()?;
        node.insmod()
    }

    /// Does what the unit does at boot, again and again until the mirror is in service.
    pub(super) fn up(&self, node: &Node) -> Result<()> {
        let end = Instant::now() + scaled(LIMIT);
        loop {
            let output = node.ctl("up data").timeout(LIMIT).run()?;
            if output.code == 0 {
                return Ok(());
            }
            ensure!(
                output.code == 2 && Instant::now() < end,
                "{} does not come into service: {}",
                node.name(),
                output.text().trim_end()
            );
            std::thread::sleep(AGAIN);
        }
    }

    /// Asks again and again until it is so.
    pub(super) fn until(&self, what: &str, mut so: impl FnMut() -> Result<bool>) -> Result<()> {
        let end = Instant::now() + scaled(LIMIT);
        while !so()? {
            ensure!(Instant::now() < end, "waited {LIMIT:?} for {what}");
            std::thread::sleep(AGAIN);
        }
        Ok(())
    }

    /// A mirror in `netraid-ctl status --json`.
    pub(super) fn status(&self, node: &Node) -> Result<Value> {
        let status: Value = serde_json::from_str(&node.ctl("status data --json").ok()?)?;
        Ok(status["mirrors"][0].clone())
    }

    /// The metadata of a machine, as it is on its disk.
    pub(super) fn metadata(&self, node: &Node) -> Result<Metadata> {
        Metadata::read(node.disk("vdc")?).with_context(|| format!("metadata of {}", node.name()))
    }

    /// Whether a source that has died has recorded that its target misses nothing.
    pub(super) fn was_in_step(&self) -> Result<bool> {
        let metadata = self.metadata(self.source())?;
        Ok(metadata.generations().1[0] == 0 && metadata.dirty(0).is_empty())
    }

    /// Chunks in which the disks differ, other than by what a discard may leave there.
    pub(super) fn differing(&self) -> Result<Chunks> {
        let (one, other) = (vdb(self.source())?, vdb(self.target())?);
        self.truth.differing(one, other, CHUNK)
    }

    /// Every difference must be marked on the source, or, after a failover, on either side.
    pub(super) fn all_marked(&self, both: bool) -> Result<String> {
        let differing = self.differing()?;
        let mut marked = self.metadata(self.source())?.after_crash();
        if both {
            marked = &marked | &self.metadata(self.target())?.after_crash();
        }
        let forgotten: Vec<_> = differing.difference(&marked).collect();
        ensure!(
            forgotten.is_empty(),
            "chunks {forgotten:?} differ and are not marked; {:?}; {:?}",
            self.metadata(self.source())?,
            self.metadata(self.target())?
        );
        Ok(format!("{} chunks differ of {} marked", differing.len(), marked.len()))
    }

    fn count(&mut self, verdict: &Verdict) {
        self.figures.checks += 1;
        self.figures.sectors_checked += verdict.checked();
        self.figures.sectors_lost += verdict.lost.len() as u64;
        self.figures.sectors_impossible += verdict.impossible.len() as u64;
    }

    /// The disk of a machine must hold what was acknowledged.
    pub(super) fn check(&mut self, node: &Node) -> Result<()> {
        let found = self.truth.read_disk(vdb(node)?)?;
        let verdict = self.truth.judge(&found)?;
        self.count(&verdict);
        ensure!(verdict.good(), "the disk of {}: {verdict}", node.name());
        Ok(())
    }

    /// Waits for the mirror to be as it must be, halts, checks everything, and goes on.
    pub(super) fn quiet(&mut self) -> Result<String> {
        self.load(5)?;
        self.operational()?;
        self.halt()?;
        self.operational()?;
        let settled = self.truth.settle(vdb(self.source())?, vdb(self.target())?)?;
        self.count(&settled.source);
        self.count(&settled.target);
        self.figures.sectors_differing += settled.differing.len() as u64;
        ensure!(settled.good(), "{settled}");
        let copied = self.resynced()?;
        self.stands()?;
        self.sane()?;
        self.begin()?;
        Ok(format!(
            "{} MiB copied, {} sectors fine",
            copied >> 20,
            settled.checked()
        ))
    }

    /// Adds what the leg has copied since it was last looked at.
    fn resynced(&mut self) -> Result<u64> {
        let leg = &self.status(self.source())?["legs"][1];
        let number = |name: &str| leg[name].as_u64().with_context(|| format!("{name} in {leg}"));
        let (resyncs, bytes) = (number("resyncs")?, number("resynced_bytes")?);
        let (before_resyncs, before_bytes) = self.counted;
        let new = if resyncs < before_resyncs || bytes < before_bytes {
            (resyncs, bytes)
        } else {
            (resyncs - before_resyncs, bytes - before_bytes)
        };
        self.counted = (resyncs, bytes);
        self.figures.resyncs += new.0;
        self.figures.resynced_bytes += new.1;
        Ok(new.1)
    }

    /// Roles and lasting flags of a mirror in step.
    fn stands(&self) -> Result<()> {
        for (node, role, owner) in [(self.source(), "source", true), (self.target(), "target", false)] {
            let state = self.status(node)?;
            let flags = ["data_corrupt", "inconsistent", "split_brain", "yielded"];
            let wrong: Vec<_> = flags.iter().filter(|&&flag| state[flag] != false).collect();
            ensure!(
                state["role"] == role && state["last_owner"] == owner && wrong.is_empty(),
                "{} was to be {role}, {wrong:?} are set: {state}",
                node.name()
            );
        }
        Ok(())
    }

    /// No kernel has complained.
    fn sane(&self) -> Result<()> {
        let complaints = self.cluster.complaints();
        if !complaints.is_empty() {
            bail!("the kernel complained");
        }
        Ok(())
    }

    /// The end in order: what the device reads is what the disks hold, and everything can be taken down.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.halt()?;
        self.operational()?;
        let found = self.truth.read_device(self.source(), DEVICE)?;
        let verdict = self.truth.judge(&found)?;
        self.count(&verdict);
        ensure!(verdict.good(), "the device of {}: {verdict}", self.source().name());
        for node in [self.source(), self.target()] {
            node.ctl("delete data").timeout(LIMIT).ok()?;
            node.sh("rmmod netraid").ok()?;
        }
        self.sane()
    }

    /// What was counted.
    pub(super) fn figures(&mut self) -> Figures {
        self.idle();
        let counts = self.truth.counts();
        Figures {
            acknowledged_writes: counts.writes,
            acknowledged_bytes: counts.bytes,
            acknowledged_others: counts.all() - counts.writes,
            ..self.figures.clone()
        }
    }
}

fn vdb(node: &Node) -> Result<&Disk> {
    node.disk("vdb")
}
