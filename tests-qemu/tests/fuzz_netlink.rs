// SPDX-License-Identifier: GPL-2.0
//! Callers that mean no good: thousands of requests, most of them senseless, from several at once, with and
//! without the right to ask, while a mirror is in service. Its application does not notice, nobody without the right
//! is obeyed, and whatever the module refuses it says why.
//!
//! `NETRAID_FUZZ=N` makes it N requests; `NETRAID_SEED` repeats those of another run.

use anyhow::{ensure, Result};
use serde_json::Value;
use tests_qemu::{workload::Plan, Cluster, Node, Workload};

use crate::{
    dice::Dice,
    fuzz_wire::{fuzz, messages, time_for, Usage},
    harness::{case, Case, SOON},
    mirror::{status, Mirror},
};

pub(crate) const CASES: &[Case] = &[case!(a_mirror_in_service_outlives_requests_that_make_no_sense)];

/// Disks for the mirrors that the fuzzer makes, and what is no disk.
const STAGE: &str = "mkdir -p /tmp/fuzz && cd /tmp/fuzz && modprobe loop && for n in a b c d; do truncate -s 4M $n && \
                     ln -s $(losetup -f --show $PWD/$n) disk-$n; done && for n in a b; do truncate -s 64k meta-$n; done && \
                     mkfifo fifo && echo text > file && ln -s loop loop && ip netns add far";

/// Errors for which the kernel has no sentence, since the module is not asked: no right, no such command.
const SILENT: [&str; 2] = ["1", "95"];

/// What is refused has a reason, in words.
fn has_reasons(report: &Value) -> Result<()> {
    let silent = report["report"]["silent"].as_object();
    let bare: Vec<_> = silent.into_iter().flatten().map(|(errno, _)| errno.as_str()).collect();
    ensure!(
        bare.iter().all(|errno| SILENT.contains(errno)),
        "refusals without a sentence: {report:#}"
    );
    Ok(())
}

/// Takes away what the fuzzer made.
fn clean(node: &Node) -> Result<()> {
    let all: Value = serde_json::from_str(&node.ctl("status --json").ok()?)?;
    for mirror in all["mirrors"].as_array().into_iter().flatten() {
        if let Some(name) = mirror["name"].as_str().filter(|name| name.starts_with("fuzz-")) {
            node.ctl(&format!("delete {name} --force")).ok()?;
        }
    }
    Ok(())
}

/// Covers: S214.
fn a_mirror_in_service_outlives_requests_that_make_no_sense(cluster: &Cluster) -> Result<()> {
    let mut dice = Dice::new()?;
    let mirror = Mirror::in_sync(cluster)?;
    let eve = mirror.source;
    eve.sh(STAGE).ok()?;
    let all = messages(15_000)?;
    fuzz(eve, "fuzz-netlink", all.min(2000), &mut dice)?;
    clean(eve)?;
    let before = Usage::of(eve)?;
    let mut workload = Workload::start(eve, "/dev/netraid0", Plan::new(93, 1024).threads(2))?;
    workload.more(10, SOON)?;
    let report = fuzz(eve, "fuzz-netlink", all * 7 / 10, &mut dice)?;
    has_reasons(&report)?;
    let obeyed = report["report"]["obeyed"].as_object();
    ensure!(
        obeyed.is_some_and(|obeyed| obeyed.len() > 5),
        "hardly anything was obeyed: {report:#}"
    );
    workload.more(10, SOON)?;
    // In another network namespace, with the right to ask; then without it, as another user, and as root of a
    // namespace.
    let far = dice.between(0, 1 << 32);
    let rest = all / 10;
    let asking = format!("netraid-guest fuzz-netlink --messages {rest} --seed {far}");
    for command in [
        format!("ip netns exec far {asking}"),
        format!("unshare -Urn {asking} --unprivileged"),
    ] {
        let said = eve.sh(&command).timeout(time_for(rest)).ok()?;
        println!("{}", said.trim_end());
        has_reasons(&serde_json::from_str(&said)?)?;
    }
    let asking = format!("{asking} --unprivileged");
    let argv: Vec<&str> = asking.split(' ').collect();
    let said = eve.command(&argv).user(65534).timeout(time_for(rest)).ok()?;
    has_reasons(&serde_json::from_str(&said)?)?;

    workload.more(10, SOON)?;
    let run = workload.stop()?;
    ensure!(run.errors.is_empty(), "the application noticed: {:?}", run.errors);
    let state = status(eve, "data")?;
    ensure!(state["legs"][1]["state"] == "fully-operational", "{state}");
    mirror.same_disks()?;
    clean(eve)?;
    before.is_as_now(eve)?;
    eve.sh("ip netns del far; rm -rf /tmp/fuzz; losetup -D").ok()?;
    Ok(())
}
