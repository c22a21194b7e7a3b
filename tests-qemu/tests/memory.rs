// SPDX-License-Identifier: GPL-2.0
//! What is written to a mirror may be what memory is to be had from: nothing on its way waits for memory that has to be
//! written first, and machines that are short of memory swap to it.

use anyhow::{ensure, Context as _, Result};
use tests_qemu::{Cluster, Node};

use crate::{
    harness::{case, Case, SOON},
    mirror::Mirror,
    persist::DEVICE,
};

pub(crate) const CASES: &[Case] = &[
    case!(every_thread_of_a_mirror_may_be_needed_to_write_memory_out),
    case!(whoever_writes_waits_for_no_memory_that_has_to_be_written),
    case!(memory_is_swapped_to_a_mirror_with_and_without_its_target),
];

/// A task whose allocations start no I/O: `PF_MEMALLOC_NOIO` of the kernel's `sched.h`.
const NOIO: u64 = 0x0008_0000;

/// Name and flags of each thread of the module.
const THREADS: &str = "cd /proc; for it in [0-9]*; do read -r stat 2> /dev/null < $it/stat || continue; \
                       case $stat in *'(netraid_'*) set -- $stat; echo $2 $9;; esac; done";

/// Traces who allocates memory while PROGRAM runs, in its threads as well; then shows it.
const TRACE: &str = "mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing; \
    set -e; trace=/sys/kernel/tracing; echo 4096 > $trace/buffer_size_kb; \
    for option in event-fork stacktrace; do echo $option > $trace/trace_options; done; \
    for event in kmalloc kmem_cache_alloc mm_page_alloc; do echo 1 > $trace/events/kmem/$event/enable; done; \
    sh -c \"echo \\$\\$ > $trace/set_event_pid && exec PROGRAM\"; \
    echo 0 > $trace/events/enable; echo > $trace/set_event_pid; \
    for option in noevent-fork nostacktrace; do echo $option > $trace/trace_options; done; \
    cat $trace/trace; echo > $trace/trace";

/// Flags of allocations for which something may have to be written first.
const WAITING: [&str; 7] = [
    "GFP_KERNEL",
    "GFP_USER",
    "GFP_HIGHUSER",
    "GFP_NOFS",
    "GFP_TRANSHUGE",
    "__GFP_IO",
    "__GFP_FS",
];

fn every_thread_of_a_mirror_may_be_needed_to_write_memory_out(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::in_sync(cluster)?;
    for node in [mirror.source, mirror.target] {
        let threads = node.sh(THREADS).ok()?;
        ensure!(threads.lines().count() >= 4, "{}: {threads}", node.name());
        for thread in threads.lines() {
            let flags = thread.rsplit(' ').next().context("a line of words")?;
            let flags: u64 = flags.parse().with_context(|| format!("flags of {thread}"))?;
            ensure!(flags & NOIO != 0, "{}: {thread}", node.name());
        }
    }
    Ok(())
}

/// The allocations that the module makes for others than its own threads, among those of a trace: an event each, with its
/// stack.
fn allocations(trace: &str) -> Vec<Vec<&str>> {
    let mut events: Vec<Vec<&str>> = Vec::new();
    for line in trace.lines() {
        if line.contains("gfp_flags=") {
            events.push(vec![line]);
        } else if let Some(event) = events.last_mut().filter(|_| line.trim_start().starts_with("=>")) {
            event.push(line);
        }
    }
    events.retain(|event| {
        let own = event[0].trim_start().starts_with("netraid_");
        !own && event.iter().skip(1).any(|frame| frame.contains("netraid"))
    });
    events
}

fn whoever_writes_waits_for_no_memory_that_has_to_be_written(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::quick(cluster)?;
    // Each to a chunk of its own, so that each has to be marked first.
    let write = format!(
        "fio --name=traced --thread --filename={DEVICE} --rw=write:960k --bs=64k --size=64m --number_ios=40 --direct=1 \
         --ioengine=psync --output=/dev/null"
    );
    let mut seen = Vec::new();
    for alone in [false, true] {
        if alone {
            cluster.cut(mirror.source, mirror.target);
            mirror.wait("out-of-sync")?;
        }
        let trace = mirror
            .source
            .sh(&TRACE.replace("PROGRAM", &write))
            .timeout(4 * SOON)
            .ok()?;
        let ours = allocations(&trace);
        ensure!(ours.len() >= 40, "{} allocations in 40 writes were seen", ours.len());
        for event in &ours {
            let waits = WAITING.iter().any(|flag| event[0].contains(flag));
            ensure!(!waits, "{}", event.join("\n"));
        }
        seen.push(ours.len());
    }
    println!("{seen:?} allocations");
    Ok(())
}

/// Fills more memory than a program may have, and reads it back, with something done when half of it is there.
fn fills_memory(node: &Node, between: impl FnOnce() -> Result<()>) -> Result<()> {
    const GROUP: &str = "/sys/fs/cgroup/small";
    node.sh(&format!(
        "mountpoint -q /sys/fs/cgroup || mount -t cgroup2 cgroup2 /sys/fs/cgroup; \
         echo +memory > /sys/fs/cgroup/cgroup.subtree_control && mkdir -p {GROUP} && echo 12M > {GROUP}/memory.max"
    ))
    .ok()?;
    let half = |name: &str| -> Result<String> {
        let fill = format!(
            "echo $$ > {GROUP}/cgroup.procs && dd if=/dev/urandom bs=64k count=320 status=none | \
             tee /tmp/{name} | sha256sum"
        );
        node.sh(&fill).timeout(4 * SOON).ok()
    };
    let first = half("one")?;
    between()?;
    let second = half("two")?;
    let swapped = node
        .sh(&format!("cat {GROUP}/memory.swap.current"))
        .ok()?
        .trim()
        .parse::<u64>()?;
    ensure!(swapped >= 16 << 20, "only {swapped} bytes were swapped out");
    for (name, sum) in [("one", first), ("two", second)] {
        let again = node.sh(&format!("sha256sum < /tmp/{name}")).timeout(4 * SOON).ok()?;
        ensure!(again == sum, "{name} came back otherwise");
    }
    node.sh(&format!("rm /tmp/one /tmp/two && swapoff {DEVICE} && rmdir {GROUP}"))
        .timeout(4 * SOON)
        .ok()?;
    Ok(())
}

fn memory_is_swapped_to_a_mirror_with_and_without_its_target(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::quick(cluster)?;
    let eve = mirror.source;
    eve.sh(&format!("mkswap -q {DEVICE} && swapon {DEVICE}")).ok()?;
    fills_memory(eve, || {
        cluster.cut(eve, mirror.target);
        mirror.wait("out-of-sync")
    })?;
    cluster.restore_links();
    mirror.wait("fully-operational")?;
    mirror.same_disks()
}
