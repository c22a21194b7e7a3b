// SPDX-License-Identifier: GPL-2.0
//! One demonstration from boot to verdict.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, ensure, Context as _, Result};
use indicatif::ProgressBar;
use serde_json::Value;
use tests_qemu::workload::Plan;
use tests_qemu::{Artifacts, Cluster, ClusterSpec, DiskSpec, Events, Job, Node, Workload, MIB};

use super::figures::Figures;
use super::story::Story;

/// Size of the mirrored disks.
const DISK: u64 = 512 * MIB;
/// The tree that is copied, and at most how much of it; the rest of the disk is for the verified writes.
const TREE: &str = "/usr";
const TREE_LIMIT: u64 = 340 * MIB;
/// The file that is written to when the source dies, in blocks of 4096 bytes.
const BLOCKS: u64 = 8192;
/// The source dies after between so many and twice so many acknowledged writes.
const FIRST_KILL: u64 = 500;
/// Nothing here takes longer on a machine of today, however busy.
const LONG: Duration = Duration::from_secs(240);
const SHORT: Duration = Duration::from_secs(60);

/// Runs it once.
pub(super) fn round(story: &Story, artifacts: &Artifacts, seed: u64) -> Result<Figures> {
    let spec = ClusterSpec::new(2).memory(1024).disks(&[DiskSpec::new(DISK)]);
    let cluster = story.step("Booting two virtual machines", |_| {
        let cluster = Cluster::start(artifacts, &spec)?;
        let sentence = format!("Two machines, eve and adam, run Debian's kernel {}", artifacts.kver);
        Ok((cluster, sentence))
    })?;
    match scenes(story, &cluster, seed) {
        Ok(figures) => Ok(figures),
        Err(error) => {
            let complaints: String = cluster
                .complaints()
                .iter()
                .map(|one| format!("the kernel complained on {one}\n"))
                .collect();
            let tails = cluster.tails();
            let dir = cluster.keep();
            bail!("{error:#}\n{complaints}{tails}logs and disks are in {}", dir.display())
        }
    }
}

fn scenes(story: &Story, cluster: &Cluster, seed: u64) -> Result<Figures> {
    let (eve, adam) = cluster.pair();
    cluster.on_all(Node::insmod)?;
    eve.ctl("create demo --disk /dev/vdb").ok()?;
    eve.sh("mkfs.ext4 -q /dev/netraid0 && mkdir -p /mnt/demo && mount /dev/netraid0 /mnt/demo")
        .timeout(SHORT)
        .ok()?;
    story.tell("eve mirrors /dev/vdb as /dev/netraid0; an ext4 file system on it is mounted");
    adam.ctl("join demo --disk /dev/vdb --yes").ok()?;
    let events = eve.events()?;
    eve.ctl(&format!("extend demo --to {} --yes", adam.ip())).ok()?;
    story.tell("adam has given its /dev/vdb to the mirror, eve has connected to it: the resync begins");
    let (sums, resync) = fill(story, eve, events)?;
    eve.sh(&format!(
        "dd if=/dev/zero of=/mnt/demo/blocks bs=1M count={} status=none && sync",
        BLOCKS * 4096 / MIB
    ))
    .timeout(SHORT)
    .ok()?;

    let plan = Plan::new(seed, BLOCKS);
    let workload = Workload::start(eve, "/mnt/demo/blocks", plan)?;
    let target = FIRST_KILL + seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) % FIRST_KILL;
    write_until(story, &workload, target)?;
    eve.kill9()?;
    let died = Instant::now();
    let writes = workload.run().writes;
    story.tell(&format!(
        "QEMU of eve was killed in the middle of writing; {writes} writes had been acknowledged"
    ));

    let failover = fail_over(story, adam, died)?;
    let (files, bytes) = verify_tree(story, adam, &sums)?;
    let lost = verify_writes(story, adam, &workload)?;
    story.step("Checking the file system", |_| {
        let check = "umount /mnt/demo && fsck.ext4 -fn /dev/netraid0";
        adam.sh(check).timeout(LONG).ok()?;
        Ok(((), "fsck finds the file system clean".to_owned()))
    })?;
    adam.ctl("delete demo").ok()?;
    adam.sh("rmmod netraid").ok()?;
    let complaints = cluster.complaints();
    ensure!(
        complaints.is_empty(),
        "the kernel complained on {}",
        complaints.join("\n")
    );
    story.tell("No kernel complained");
    Ok(Figures {
        seed,
        files_verified: files,
        bytes_verified: bytes,
        acknowledged_writes: writes,
        acknowledged_writes_lost: lost,
        resync_bytes: resync.bytes,
        resync_seconds: resync.seconds,
        resync_mb_per_second: megabytes(resync.bytes) / resync.seconds,
        failover_seconds: failover.as_secs_f64(),
        kernel_complaints: 0,
        seconds: story.elapsed().as_secs_f64(),
    })
}

/// What the first resync copied, and in what time.
struct Resync {
    bytes: u64,
    seconds: f64,
}

/// Copies the tree while the resync runs; the result is the list of checksums and what the resync did.
fn fill(story: &Story, eve: &Node, events: Events) -> Result<(Vec<u8>, Resync)> {
    let (copying, resyncing) = (story.bytes("Copying /usr to the mirror"), story.bytes("Resync to adam"));
    let began = Instant::now();
    let copy = format!("netraid-guest tree-copy {TREE} /mnt/demo/tree --sums /run/sums --limit {TREE_LIMIT}");
    let mut job = eve.sh(&format!("{copy} && sync")).spawn()?;
    let (summary, resync) = thread::scope(|scope| {
        let resync = scope.spawn(|| follow_resync(events, &resyncing));
        let summary = follow_tree(&mut job, &copying);
        let resync = resync
            .join()
            .unwrap_or_else(|_| Err(anyhow!("the thread that follows the resync panicked")));
        Ok::<_, anyhow::Error>((summary?, resync?))
    })?;
    copying.finish_and_clear();
    resyncing.finish_and_clear();
    let (files, bytes) = counts(&summary)?;
    story.tell(&format!(
        "{files} files with {} MiB were copied to the mirror, each with a checksum, in {:.0} s",
        bytes / MIB,
        began.elapsed().as_secs_f64()
    ));
    eve.ctl("wait demo --for fully-operational --timeout 120")
        .timeout(LONG)
        .ok()?;
    story.tell(&format!(
        "The resync copied {} MiB in {:.1} s; both disks are the same: Fully Operational",
        resync.bytes / MIB,
        resync.seconds
    ));
    Ok((eve.read_file("/run/sums")?, resync))
}

fn follow_resync(mut events: Events, bar: &ProgressBar) -> Result<Resync> {
    let done = events.wait_for("the end of the resync", LONG, |event| {
        let leg = &event["mirror"]["legs"][1];
        if let (Some(total), Some(done)) = (leg["resync_total"].as_u64(), leg["resync_done"].as_u64()) {
            bar.set_length(total);
            bar.set_position(done);
        }
        event["event"] == "resync-done"
    })?;
    let leg = &done["mirror"]["legs"][1];
    let number = |key: &str| {
        leg[key]
            .as_u64()
            .with_context(|| format!("the event has no {key}: {done}"))
    };
    Ok(Resync {
        bytes: number("resync_done")?,
        seconds: Duration::from_millis(number("resync_elapsed_ms")?)
            .as_secs_f64()
            .max(0.001),
    })
}

/// Follows the tree tool; the result is its summary.
fn follow_tree(job: &mut Job, bar: &ProgressBar) -> Result<Value> {
    let mut last = String::new();
    while let Some(line) = job.line(LONG)? {
        if let Some(progress) = line.strip_prefix("P ") {
            let numbers: Vec<u64> = progress.split(' ').filter_map(|word| word.parse().ok()).collect();
            if let [_, done, total] = numbers[..] {
                bar.set_length(total);
                bar.set_position(done);
            }
        } else {
            last = line;
        }
    }
    serde_json::from_str(&last).with_context(|| format!("the work on the tree failed: {last}"))
}

fn counts(summary: &Value) -> Result<(u64, u64)> {
    let number = |key: &str| summary[key].as_u64().with_context(|| format!("no {key} in {summary}"));
    Ok((number("files")?, number("bytes")?))
}

fn write_until(story: &Story, workload: &Workload, target: u64) -> Result<()> {
    let bar = story.bytes("Verified writes");
    bar.set_length(target * 4096);
    let began = Instant::now();
    loop {
        let writes = workload.run().writes;
        bar.set_position(writes * 4096);
        if writes >= target {
            bar.finish_and_clear();
            return Ok(());
        }
        workload.more((target - writes).min(50), LONG)?;
        ensure!(
            began.elapsed() < LONG,
            "only {writes} of {target} writes were acknowledged within {LONG:?}"
        );
    }
}

/// Makes adam the source; the result is the time since `died` after which it took the first write.
fn fail_over(story: &Story, adam: &Node, died: Instant) -> Result<Duration> {
    story.step("Promoting adam", |_| {
        adam.ctl("promote demo").timeout(SHORT).ok()?;
        Ok(((), "adam was promoted: /dev/netraid0 is there".to_owned()))
    })?;
    story.step("Repairing and mounting the file system on adam", |_| {
        // 0 is clean; 1 would be a file system with faults that it has corrected, and is not accepted.
        adam.sh("fsck.ext4 -p /dev/netraid0 && mkdir -p /mnt/demo && mount /dev/netraid0 /mnt/demo")
            .timeout(LONG)
            .ok()?;
        adam.sh("echo alive > /mnt/demo/alive && sync").timeout(SHORT).ok()?;
        Ok((
            (),
            "fsck has replayed the journal, the file system is mounted and takes writes".to_owned(),
        ))
    })?;
    let took = died.elapsed();
    story.tell(&format!(
        "Failover is complete, {:.1} s after the death of eve",
        took.as_secs_f64()
    ));
    Ok(took)
}

fn verify_tree(story: &Story, adam: &Node, sums: &[u8]) -> Result<(u64, u64)> {
    adam.write_file("/run/sums", sums, 0o600)?;
    let bar = story.bytes("Verifying every file");
    let mut job = adam.sh("netraid-guest tree-check /mnt/demo/tree /run/sums").spawn()?;
    let summary = follow_tree(&mut job, &bar)?;
    bar.finish_and_clear();
    let bad = summary["bad"]
        .as_array()
        .context("the summary does not say what is wrong")?;
    let some: Vec<_> = bad.iter().take(10).map(Value::to_string).collect();
    ensure!(
        bad.is_empty(),
        "{} files are not what was copied: {}",
        bad.len(),
        some.join(", ")
    );
    let (files, bytes) = counts(&summary)?;
    story.tell(&format!("All {files} files have the content they had on eve"));
    Ok((files, bytes))
}

fn verify_writes(story: &Story, adam: &Node, workload: &Workload) -> Result<u64> {
    let verdict = workload.judge_device(adam, "/mnt/demo/blocks")?;
    ensure!(
        verdict.good(),
        "{} acknowledged writes are lost and {} blocks are wrong: {verdict:?}",
        verdict.lost.len(),
        verdict.bad.len()
    );
    story.tell(&format!(
        "Every acknowledged write is there; of those in flight when eve died, {} had arrived",
        verdict.in_flight
    ));
    Ok(verdict.lost.len() as u64)
}

/// Bytes as a float, in millions; exact below 2^53 bytes.
#[expect(
    clippy::cast_precision_loss,
    reason = "a disk of a demonstration is far below 2^53 bytes"
)]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
