// SPDX-License-Identifier: GPL-2.0
//! Peers that mean no good talk to a module in service, tens of thousands of messages long: it neither complains nor
//! leaks, touches no disk but the mirror's, and serves the real peer afterwards.
//!
//! `NETRAID_FUZZ=N` makes it N messages; `NETRAID_SEED` repeats what was said in another run.

use std::time::Duration;

use anyhow::{ensure, Context as _, Result};
use serde_json::Value;
use tests_qemu::{workload::Plan, Cluster, Node, Workload, MIB};

use crate::{
    dice::Dice,
    harness::{case, Case, SOON},
    mirror::{status, Mirror, QUICK},
};

pub(crate) const CASES: &[Case] = &[
    case!(a_target_outlives_sources_that_mean_no_good),
    case!(a_source_outlives_targets_that_mean_no_good),
    case!(what_a_target_wrote_in_a_pause_is_not_told_to_a_source_of_another_size),
];

/// Environment variable: how many messages a fuzzer says.
const MESSAGES: &str = "NETRAID_FUZZ";

/// How many messages are asked for, `usual` unless told.
pub(crate) fn messages(usual: u64) -> Result<u64> {
    match std::env::var(MESSAGES) {
        Ok(text) => text.parse().with_context(|| format!("{MESSAGES}={text}")),
        Err(_) => Ok(usual),
    }
}

/// Time for so many messages, in a machine that shares its processor.
pub(crate) fn time_for(messages: u64) -> Duration {
    10 * SOON + Duration::from_millis(20 * messages)
}

/// What a machine has in use, apart from what can be given back at any time.
#[derive(Debug)]
pub(crate) struct Usage {
    available: u64,
    objects: u64,
    threads: String,
}

impl Usage {
    pub(crate) fn of(node: &Node) -> Result<Self> {
        let read = "sync; echo 3 > /proc/sys/vm/drop_caches; awk '/^MemAvailable:/ { left = $2 } \
                    /^(SUnreclaim|KernelStack|Percpu|VmallocUsed):/ { own += $2 } END { print left, own }' /proc/meminfo";
        let text = node.sh(read).ok()?;
        let mut numbers = text.split_whitespace().map(str::parse);
        let mut next = || numbers.next().context("two numbers");
        Ok(Self {
            available: next()??,
            objects: next()??,
            threads: threads(node)?,
        })
    }

    /// Nothing of what was in use since has stayed so, as far as can be told: free memory moves by some MiB of itself.
    pub(crate) fn is_as_now(&self, node: &Node) -> Result<()> {
        // What is still being taken apart after a connection or a mirror takes a moment.
        let same = format!(
            "timeout 60 sh -c 'until test \"$({THREADS})\" = \"{}\"; do sleep 0.1; done'",
            self.threads
        );
        node.sh(&same).run()?;
        let now = Self::of(node)?;
        ensure!(now.threads == self.threads, "threads: {self:?} and {now:?}");
        let lost = self.available.saturating_sub(now.available);
        let grown = now.objects.saturating_sub(self.objects);
        println!("{}: {lost} KiB less free, {grown} KiB more of objects", node.name());
        ensure!(lost < 24 << 10 && grown < 4 << 10, "{self:?} and {now:?}");
        Ok(())
    }
}

/// Prints the names of the module's threads in one line.
const THREADS: &str = "cat /proc/[0-9]*/comm 2>/dev/null | grep ^netraid_ | sort | tr \"\\n\" \" \"";

fn threads(node: &Node) -> Result<String> {
    Ok(node.sh(THREADS).run()?.stdout)
}

/// Runs a fuzzer; the line it says at its end.
pub(crate) fn fuzz(node: &Node, arguments: &str, messages: u64, dice: &mut Dice) -> Result<Value> {
    let seed = dice.between(0, 1 << 32);
    let command = format!("netraid-guest {arguments} --messages {messages} --seed {seed}");
    let said = node.sh(&command).timeout(time_for(messages)).ok()?;
    println!("{}", said.trim_end());
    let report: Value = serde_json::from_str(&said)?;
    ensure!(report["messages"].as_u64() >= Some(messages), "{report}");
    Ok(report)
}

/// Arguments with which a fuzzer passes for a machine of a mirror.
fn identity(node: &Node) -> Result<String> {
    let status = status(node, "data")?;
    let text = |key: &str| status[key].as_str().with_context(|| format!("{key} in {status}"));
    Ok(format!(
        "--mirror data --mirror-uuid {} --node-uuid {} --node-name {} --size {} --chunk-size {}",
        text("uuid")?,
        text("node_uuid")?,
        text("node_name")?,
        status["size"],
        status["chunk_size"],
    ))
}

/// Disks of a machine that nobody may write to.
struct Others {
    names: &'static [&'static str],
    sums: Vec<String>,
}

impl Others {
    fn of(node: &Node, names: &'static [&'static str]) -> Result<Self> {
        let sum = |name: &&str| -> Result<String> {
            let disk = node.disk(name)?;
            disk.sha256(disk.size())
        };
        let sums = names.iter().map(sum).collect::<Result<_>>()?;
        Ok(Self { names, sums })
    }

    fn are_as_before(&self, node: &Node) -> Result<()> {
        let now = Self::of(node, self.names)?;
        ensure!(now.sums == self.sums, "one of {:?} was written to", self.names);
        Ok(())
    }
}

/// Writes to the device of the second mirror while there is one.
const WRITER: &str = "while :; do dd if=/dev/zero of=/dev/netraid1 bs=4k count=8 conv=nocreat,fsync status=none \
                      2> /dev/null || sleep 0.05; done";

/// Covers: S104.
fn a_target_outlives_sources_that_mean_no_good(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let mut dice = Dice::new()?;
    // A mirror on the same port, whose source is away; nobody but that may get in.
    adam.ctl("join kept --disk /dev/vdc --yes").ok()?;
    eve.sh("head -c 8M /dev/urandom > /dev/vdc && sync").ok()?;
    eve.ctl("create kept --disk /dev/vdc").ok()?;
    eve.ctl(&format!("extend kept --to {} --yes --wait=60", adam.ip()))
        .ok()?;
    eve.ctl("stop kept").ok()?;
    // The target's disk has a sector more than the mirror.
    adam.sh("for d in b d e f; do head -c 4M /dev/urandom > /dev/vd$d; done; sync")
        .ok()?;
    adam.sh("head -c 512 /dev/urandom | dd of=/dev/vdb bs=512 seek=131071 oflag=direct status=none")
        .ok()?;
    eve.ctl("create data --disk /dev/vdd").ok()?;
    adam.ctl(&format!("join data --disk /dev/vdb --yes {QUICK}")).ok()?;
    let others = Others::of(adam, &["vdc", "vdd", "vde", "vdf"])?;
    let last = adam.disk("vdb")?.read(64 * MIB - 512, 512)?;

    let generation = status(eve, "data")?["generation"].clone();
    let play = format!(
        "fuzz-wire --to 127.0.0.1:7900 --generation {generation} {}",
        identity(eve)?
    );
    fuzz(adam, &play, 2000, &mut dice)?;
    let before = Usage::of(adam)?;
    // Whenever a source makes a pause, the device that there is then is used.
    let writer = adam.sh(WRITER).spawn()?;
    let report = fuzz(adam, &play, messages(10_000)?, &mut dice)?;
    drop(writer);
    let welcomed = report["counts"]["welcomed"].as_u64();
    ensure!(welcomed > Some(10), "hardly a session was opened: {report}");
    before.is_as_now(adam)?;
    others.are_as_before(adam)?;
    ensure!(
        adam.disk("vdb")?.read(64 * MIB - 512, 512)? == last,
        "what lies behind the mirror was written to"
    );

    eve.ctl("start kept").ok()?;
    eve.ctl("wait kept --for fully-operational --timeout 60").ok()?;
    let kept = (eve.disk("vdc")?, adam.disk("vdc")?);
    ensure!(kept.0.differences(kept.1, kept.0.size(), 65536)?.is_empty());
    eve.ctl(&format!("extend data --to {} --yes {QUICK}", adam.ip())).ok()?;
    eve.ctl("wait data --for fully-operational --timeout 60").ok()?;
    let device = status(eve, "data")?["device"].as_str().context("a device")?.to_owned();
    let mut workload = Workload::start(eve, &device, Plan::new(91, 1024).count(100))?;
    workload.finish(SOON)?;
    let (one, other) = (eve.disk("vdd")?, adam.disk("vdb")?);
    let differ = one.differences(other, one.size(), 65536)?;
    ensure!(differ.is_empty(), "these chunks differ: {differ:?}");
    Ok(())
}

/// Covers: S104.
fn a_source_outlives_targets_that_mean_no_good(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let mut dice = Dice::new()?;
    eve.sh("for d in c d e f; do head -c 4M /dev/urandom > /dev/vd$d; done; sync")
        .ok()?;
    let mirror = Mirror::create_on(eve, adam, "vdb", "", QUICK)?;
    let others = Others::of(eve, &["vdc", "vdd", "vde", "vdf"])?;
    let play = format!("fuzz-wire --listen 7999 {}", identity(eve)?);
    fuzz(eve, &play, 1000, &mut dice)?;
    let before = Usage::of(eve)?;
    let mut workload = Workload::start(eve, "/dev/netraid0", Plan::new(92, 1024).threads(2))?;
    workload.more(10, SOON)?;
    fuzz(eve, &play, messages(10_000)?, &mut dice)?;
    workload.more(10, SOON)?;
    mirror.extend_with(QUICK)?;
    mirror.wait("fully-operational")?;
    let run = workload.stop()?;
    ensure!(run.errors.is_empty(), "the application noticed: {:?}", run.errors);
    mirror.wait("fully-operational")?;
    let verdict = workload.judge_device(eve, "/dev/netraid0")?;
    ensure!(verdict.good(), "{verdict:?}");
    mirror.same_disks()?;
    others.are_as_before(eve)?;
    eve.ctl("unextend data").ok()?;
    before.is_as_now(eve)
}

/// Covers: S104.
fn what_a_target_wrote_in_a_pause_is_not_told_to_a_source_of_another_size(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(0);
    node.ctl(&format!("join data --disk /dev/vdb --yes {QUICK}")).ok()?;
    let source = |part: &str, mib: u64| {
        let size = mib * MIB;
        node.sh(&format!(
            "exec netraid-guest stage --source {part} --to 127.0.0.1:7900 --size {size}"
        ))
    };
    let pauses = || -> Result<()> {
        let mut paused = source("paused", 4).spawn()?;
        let line = paused.line(SOON)?;
        ensure!(line.as_deref() == Some("there"), "{line:?} {:?}", paused.wait(SOON));
        Ok(())
    };
    pauses()?;
    node.sh("head -c 64k /dev/zero | dd of=/dev/netraid0 bs=64k iflag=fullblock oflag=direct status=none")
        .ok()?;
    node.ctl("wait data --for disconnected").ok()?;
    let refused = source("connected", 8).exits(1)?;
    ensure!(
        refused
            .stderr
            .contains("in a pause can't be told to a mirror of another size"),
        "{refused:?}"
    );
    let state = status(node, "data")?;
    ensure!(
        state["size"] == 4 * MIB && state["legs"][1]["dirty_chunks"] == 1,
        "{state}"
    );
    pauses()
}
