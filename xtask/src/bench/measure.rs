// SPDX-License-Identifier: GPL-2.0
//! One turn of one peer: it is set up, copied, loaded, parted, rejoined, and taken away.

use std::time::Duration;

use anyhow::{ensure, Context as _, Result};
use tests_qemu::{Node, MIB};

use super::case::Case;
use super::fio;
use super::peer::{Peer, RAW, SOURCE, TARGET};
use super::result::{Copy, Load, Outcome, Round};
use super::usage::{memory, Moment, MEMORY_SCRIPT, SCRIPT};

/// Bytes of each disk.
pub(super) const DISK: u64 = 256 * MIB;
/// Of each hundred chunks of this size one is written to while the target is away.
const CHUNK: u64 = 65536;
const ONE_OF: u64 = 100;
/// Nothing but a load takes longer, also on a busy host.
const PATIENCE: Duration = Duration::from_secs(180);
/// Between what two calls of a program in the machine print.
const MARK: &str = "== bench ==";

/// What is done in a turn.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// Loads.
    pub(super) cases: Vec<Case>,
    /// How long each lasts.
    pub(super) milliseconds: u32,
    /// Rounds.
    pub(super) rounds: u32,
}

/// Makes the disks: the mirrored ones full of data that cannot be told from noise.
///
/// # Errors
///
/// When the machine lacks the memory or the driver.
pub(super) fn make_disks(node: &Node) -> Result<()> {
    let mib = DISK / MIB;
    let kib = DISK / 1024;
    node.sh(&format!(
        "set -e; ip link set lo up; modprobe brd rd_nr=5 rd_size={kib}; \
         for disk in {SOURCE} {TARGET} {RAW}; do dd if=/dev/urandom of=$disk bs=1M count={mib} oflag=direct status=none; done"
    ))
    .timeout(PATIENCE)
    .ok()
    .context("make the RAM disks")?;
    Ok(())
}

/// Lets `peer` have its turn; what goes wrong is noted in `outcome`.
///
/// # Errors
///
/// When the machine is not as it was before: nothing that is measured after that would mean anything.
pub(super) fn turn(node: &Node, peer: &Peer, plan: &Plan, outcome: &mut Outcome, say: &dyn Fn(&str)) -> Result<()> {
    let mut round = Round::default();
    let done = measure(node, peer, plan, &mut round, say);
    let taken = node.sh(&peer.tear_down).timeout(PATIENCE).run()?;
    match done {
        Ok(()) => outcome.rounds.push(round),
        Err(error) => outcome.failures.push(format!("{error:#}")),
    }
    ensure!(
        taken.code == 0,
        "{} could not be taken away, and the others can't be measured beside what is left of it: {}\n{}",
        peer.name,
        taken.text().trim(),
        outcome.failures.join("\n")
    );
    Ok(())
}

fn measure(node: &Node, peer: &Peer, plan: &Plan, round: &mut Round, say: &dyn Fn(&str)) -> Result<()> {
    let before = used_memory(node)?;
    say("is set up");
    node.sh(&peer.set_up).timeout(PATIENCE).ok().context("set it up")?;
    if let Some(copy) = &peer.copy {
        say("first copy");
        let seconds = timed(node, copy).context("copy the disk to the target")?;
        round.full = Some(Copy { bytes: DISK, seconds });
    }
    for case in &plan.cases {
        say(case.title);
        let load = load(node, peer, case, plan.milliseconds).with_context(|| format!("measure {}", case.title))?;
        round.loads.insert(case.name.to_owned(), load);
    }
    round.memory = Some(used_memory(node)?.saturating_sub_unsigned(before.unsigned_abs()));
    if let (Some(part), Some(rejoin)) = (&peer.part, &peer.rejoin) {
        say("copy of 1 %");
        round.partial = Some(partial(node, peer, part, rejoin).context("take the target away and bring it back")?);
    }
    Ok(())
}

fn used_memory(node: &Node) -> Result<i64> {
    let told = node.sh(MEMORY_SCRIPT).timeout(PATIENCE).ok()?;
    Ok(i64::try_from(memory(&told)?)?)
}

fn load(node: &Node, peer: &Peer, case: &Case, milliseconds: u32) -> Result<Load> {
    let fio = fio::command(case, peer.device, milliseconds);
    let script = format!("({SCRIPT}); echo '{MARK}'; {fio}; code=$?; echo '{MARK}'; ({SCRIPT}); exit $code");
    let limit = PATIENCE + Duration::from_millis(u64::from(milliseconds));
    let told = node.sh(&script).timeout(limit).ok()?;
    let parts: Vec<&str> = told.split(MARK).collect();
    let &[before, report, after] = parts.as_slice() else {
        anyhow::bail!("the load printed something unexpected: {told}");
    };
    let sample = fio::parse(report)?;
    let used = Moment::parse(after.trim_start())?.since(&Moment::parse(before)?, peer.sides.as_ref());
    Ok(Load {
        sample,
        cpu: used.all,
        cpu_source: used.source,
        cpu_target: used.target,
    })
}

fn partial(node: &Node, peer: &Peer, part: &str, rejoin: &str) -> Result<Copy> {
    node.sh(part).timeout(PATIENCE).ok()?;
    let all: Vec<String> = (0..DISK / CHUNK / ONE_OF).map(|n| (n * ONE_OF).to_string()).collect();
    node.sh(&format!(
        "netraid-guest scatter {} --size {CHUNK} {}",
        peer.device,
        all.join(" ")
    ))
    .timeout(PATIENCE)
    .ok()?;
    let chunks = u64::try_from(all.len())?;
    Ok(Copy {
        bytes: chunks * CHUNK,
        seconds: timed(node, rejoin)?,
    })
}

/// Runs a script that has to succeed; how long it took by the machine's own clock.
fn timed(node: &Node, script: &str) -> Result<f64> {
    let told = node
        .sh(&format!(
            "begin=$(date +%s%N); {{ {script}; }} >&2 || exit 1; end=$(date +%s%N); echo $((end - begin))"
        ))
        .timeout(PATIENCE)
        .ok()?;
    let nanoseconds: f64 = told.trim().parse().with_context(|| format!("a time, not `{told}`"))?;
    ensure!(nanoseconds > 0.0, "the clock of the machine stood still");
    Ok(nanoseconds / 1e9)
}
