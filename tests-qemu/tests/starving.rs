// SPDX-License-Identifier: GPL-2.0
//! Memory that is not to be had: each allocation that the module makes fails once, one after the other. Commands are
//! refused with a sentence and can be given again; what an application reads and writes never depends on one; a leg that
//! could not go on comes back by itself.

use std::iter;

use anyhow::{bail, ensure, Context as _, Result};
use tests_qemu::{Cluster, Node};

use crate::{
    dice::Dice,
    harness::{case, Case, SOON},
    mirror::{status, Mirror, QUICK},
    persist::{write_chunks, DEVICE},
};

pub(crate) const CASES: &[Case] = &[
    case!(a_command_that_gets_no_memory_is_refused_and_can_be_given_again).debug_only(),
    case!(reads_and_writes_go_on_without_memory).debug_only(),
    case!(a_leg_whose_threads_get_no_memory_comes_back).debug_only(),
    case!(what_the_metadata_lacks_memory_for_is_written_when_there_is_some)
        .debug()
        .debug_only(),
];

/// More allocations than any operation makes.
const MOST: u32 = 1000;

/// Allocations of a thread that are tried: a thread asks for memory as long as it lives, each heartbeat does, but what it needs
/// for a connection is among the first.
const OF_A_THREAD: u32 = 160;

/// Environment variable: with any value each allocation fails in turn, which takes hours. Otherwise some of them do, at
/// random.
const EACH: &str = "NETRAID_EACH_ALLOCATION";
/// The next of those is fewer than so many further on.
const STRIDE: u64 = 24;

/// The allocations that are to fail, by their numbers.
fn numbers() -> Result<impl Iterator<Item = u32>> {
    let all = std::env::var_os(EACH).is_some();
    let mut dice = Dice::new()?;
    let mut number = 0;
    Ok(iter::from_fn(move || {
        let step = if all { 1 } else { dice.between(1, STRIDE) };
        number += u32::try_from(step).ok()?;
        (number < MOST).then_some(number)
    }))
}

/// Chunks of the disk, without the last ones.
const CHUNKS: u32 = 1020;

/// Counts only what the module asks for, in any context.
const PREPARE: &str = r#"
    mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug
    set -e
    awk '$4 == "[netraid]" && $2 ~ /[tT]/ { print $1 }' /proc/kallsyms | sort > /tmp/text
    for kind in failslab fail_page_alloc; do
        cd /sys/kernel/debug/$kind
        echo N > ignore-gfp-wait
        echo 0 > verbose
        echo 32 > stacktrace-depth
        echo 0x$(head -n 1 /tmp/text) > require-start
        echo 0x$(tail -n 1 /tmp/text) > require-end
    done
    echo 0 > min-order
    echo N > ignore-gfp-highmem
"#;

/// Lets the allocation with this number fail in each thread that the module has now.
const STARVE_THREADS: &str = "cd /proc; grep -l '^netraid_' [0-9]*/comm | cut -d / -f 1 > /tmp/starved; \
                              for it in $(cat /tmp/starved); do echo NUMBER > $it/fail-nth; done; true";
/// Takes that back where it has not happened; prints in how many of these threads it has.
const FEED_THREADS: &str = "cd /proc; failed=0; for it in $(cat /tmp/starved); do test -e $it/fail-nth || continue; \
                            test $(cat $it/fail-nth) = 0 && failed=$((failed + 1)); echo 0 > $it/fail-nth; done; \
                            echo $failed";

/// Runs a program of which one allocation fails; whether there was such a one, and how the program ended.
fn starve(node: &Node, number: u32, program: &str) -> Result<(bool, tests_qemu::Output)> {
    let output = node
        .sh(&format!("exec netraid-guest starve {number} {program}"))
        .timeout(2 * SOON)
        .run()?;
    let failed = match output.stdout.lines().last() {
        Some("failed") => true,
        Some("enough") => false,
        _ => bail!("{program}, {number}: {output:?}"),
    };
    ensure!(!output.timed_out, "{program}, {number}: {output:?}");
    Ok((failed, output))
}

/// A command with each of its allocations failing once. `undo` takes back what it does.
fn each_allocation_fails(node: &Node, command: &str, undo: &str) -> Result<u32> {
    for number in numbers()? {
        let at = || format!("allocation {number} of `{command}`");
        let (failed, output) = starve(node, number, &format!("netraid-ctl {command}")).with_context(at)?;
        match output.code {
            0 => {}
            2 if failed => {
                ensure!(output.stderr.len() > 20, "{}: {output:?}", at());
                node.ctl(command).ok().with_context(at)?;
            }
            _ => bail!("{}: {output:?}", at()),
        }
        if !undo.is_empty() {
            node.sh(undo).timeout(2 * SOON).ok().with_context(at)?;
        }
        if !failed {
            return Ok(number);
        }
    }
    bail!("`{command}` makes more than {MOST} allocations")
}

fn a_command_that_gets_no_memory_is_refused_and_can_be_given_again(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    for node in [eve, adam] {
        node.sh(PREPARE).ok()?;
    }
    let sweep = |node: &Node, command: &str, undo: &str| -> Result<()> {
        let count = each_allocation_fails(node, command, undo)?;
        println!("{command}: fewer than {count} allocations");
        Ok(())
    };
    sweep(eve, "create data --disk /dev/vdb", "netraid-ctl delete data --force")?;
    eve.ctl("create data --disk /dev/vdb").ok()?;
    sweep(eve, "stop data", "netraid-ctl start data")?;
    sweep(eve, "down data", "netraid-ctl up data")?;
    let join = format!("join data --disk /dev/vdb --yes {QUICK}");
    sweep(adam, &join, "netraid-ctl delete data --force")?;
    adam.ctl(&join).ok()?;
    let extend = format!("extend data --to {} --yes {QUICK}", adam.ip());
    sweep(eve, &extend, "netraid-ctl unextend data")?;
    eve.ctl(&extend).ok()?;
    eve.ctl("wait data --for fully-operational --timeout 60").ok()?;
    sweep(eve, "status", "")?;
    sweep(eve, "set data resync-rate 10M", "")?;
    let back = "netraid-ctl resume data && netraid-ctl wait data --for fully-operational --timeout 60";
    sweep(eve, "pause data", back)?;
    sweep(
        eve,
        "fullresync data --yes",
        "netraid-ctl wait data --for fully-operational --timeout 60",
    )?;
    sweep(eve, "delete data --force", "netraid-ctl create data --disk /dev/vdb")?;
    Ok(())
}

fn reads_and_writes_go_on_without_memory(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::quick(cluster)?;
    let eve = mirror.source;
    eve.sh(PREPARE).ok()?;
    for alone in [false, true] {
        if alone {
            cluster.cut(eve, mirror.target);
            mirror.wait("out-of-sync")?;
        }
        for what in [
            format!("if=/dev/urandom of={DEVICE} seek=SKIP oflag=direct"),
            format!("if={DEVICE} of=/dev/null skip=SKIP iflag=direct"),
        ] {
            let mut enough = false;
            for number in numbers()? {
                // Chunks not written to before, as long as there are such: they have to be marked.
                let skip = (number * 4 + 200 * u32::from(alone)) % CHUNKS;
                let what = what.replace("SKIP", &skip.to_string());
                let (failed, output) = starve(eve, number, &format!("dd {what} bs=64k count=4 status=none"))?;
                ensure!(output.code == 0, "allocation {number} of dd {what}: {output:?}");
                if !failed {
                    println!("dd {what}: fewer than {number} allocations");
                    enough = true;
                    break;
                }
            }
            ensure!(enough, "dd {what} makes more than {MOST} allocations");
        }
    }
    cluster.restore_links();
    mirror.wait("fully-operational")?;
    mirror.same_disks()
}

/// Whatever has to be on record before a write waits for memory, and for nothing else.
fn what_the_metadata_lacks_memory_for_is_written_when_there_is_some(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::quick(cluster)?;
    let eve = mirror.source;
    eve.sh(PREPARE).ok()?;
    let starve = STARVE_THREADS.replace("^netraid_", "^netraid_meta");
    for number in 1..MOST {
        // Each chunk is written to for the first time, so that it has to be marked.
        let write = format!("dd if=/dev/urandom of={DEVICE} seek={number} oflag=direct bs=64k count=1 status=none");
        eve.sh(&starve.replace("NUMBER", &number.to_string())).ok()?;
        eve.sh(&write).ok()?;
        let failed = eve.sh(FEED_THREADS).ok()?;
        let state = status(eve, "data")?;
        ensure!(state["disk_state"] == "attached", "{state}");
        if failed.trim() == "0" {
            ensure!(number > 1, "the thread asked for no memory");
            mirror.wait("fully-operational")?;
            return mirror.same_disks();
        }
    }
    bail!("a write of metadata makes more than {MOST} allocations")
}

fn a_leg_whose_threads_get_no_memory_comes_back(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::quick(cluster)?;
    let nodes = [mirror.source, mirror.target];
    for node in nodes {
        node.sh(PREPARE).ok()?;
    }
    for number in numbers()?.take_while(|number| *number < OF_A_THREAD) {
        // No more than these: who writes all the time asks for memory all the time.
        let writes = |chunk: u32| {
            write_chunks(
                mirror.source,
                &[u64::from(chunk % CHUNKS), u64::from(chunk % CHUNKS) + 2],
            )
        };
        writes(number)?;
        for node in nodes {
            node.sh(&STARVE_THREADS.replace("NUMBER", &number.to_string())).ok()?;
        }
        cluster.cut(mirror.source, mirror.target);
        mirror.wait("out-of-sync")?;
        writes(number + 200)?;
        cluster.restore_links();
        mirror
            .wait("fully-operational")
            .with_context(|| format!("allocation {number} of each thread"))?;
        writes(number + 400)?;
        let mut failed = 0;
        for node in nodes {
            let count = node.sh(FEED_THREADS).ok()?;
            failed += count.trim().parse::<u32>().with_context(|| count.clone())?;
        }
        if failed == 0 {
            println!("fewer than {number} allocations in a thread");
            break;
        }
    }
    mirror.wait("fully-operational")?;
    mirror.same_disks()
}
