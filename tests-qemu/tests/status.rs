// SPDX-License-Identifier: GPL-2.0
//! What an operator sees of a mirror, in words and as JSON.

use std::time::Duration;

use anyhow::{ensure, Context as _, Result};
use serde_json::Value;
use tests_qemu::Cluster;

use crate::{
    harness::{case, Case, SOON},
    mirror::{refused, status, Mirror, QUICK},
};

pub(crate) const CASES: &[Case] = &[
    case!(status_has_the_fixed_layout_in_each_state).smoke(),
    case!(the_percent_of_a_resync_grows),
    case!(every_command_refuses_an_unknown_mirror),
    case!(check_says_by_exit_code_whether_all_is_well),
    case!(a_wait_ends_with_the_state_or_with_the_time),
    case!(a_watched_status_is_printed_again_when_it_changes),
    case!(disks_lists_what_a_mirror_could_use_and_why_not_the_rest),
    case!(version_help_and_completions_are_there),
];

const BITMAP: &str = "Bitmap: 1024 bits (chunks), ";

/// The text of both machines is exactly this, and the JSON has the state and nothing but it.
fn shown(mirror: &Mirror<'_>, state: &str, word: &str, end: &str) -> Result<()> {
    let wanted = format!("[-] eve -> adam\n\tStatus: {word}\n\tType: Synchronous\n{end}");
    let text = mirror.source.ctl("status data").ok()?;
    ensure!(text == wanted, "{text}");
    for node in [mirror.source, mirror.target] {
        let leg = &status(node, "data")?["legs"][1];
        ensure!(
            leg["state"] == state && leg["replication"] == "synchronous" && leg["percent"].is_null(),
            "{}: {leg}",
            node.name()
        );
    }
    Ok(())
}

/// Covers: S63, S214, S216, S217, S222.
fn status_has_the_fixed_layout_in_each_state(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let none = eve.ctl("status").ok()?;
    ensure!(none.starts_with("There are no mirrors on this machine;"), "{none}");
    let mirror = Mirror::create_on(eve, adam, "vdb", "", QUICK)?;
    let alone = eve.ctl("status data").ok()?;
    let degraded = "[-] eve -> (no target)\n\tStatus: Degraded, on the local disk only\n";
    ensure!(alone == format!("{degraded}{BITMAP}1024 dirty (100.0%)\n"), "{alone}");
    let waiting = adam.ctl("status data").ok()?;
    ensure!(
        waiting.starts_with("[-] ? -> adam\n\tStatus: Out Of Sync\n"),
        "{waiting}"
    );
    mirror.extend_with(QUICK)?;
    mirror.wait("fully-operational")?;
    let clean = format!("{BITMAP}0 dirty (0.0%)\n");
    shown(&mirror, "fully-operational", "Fully Operational", &clean)?;
    eve.ctl("pause data").ok()?;
    shown(&mirror, "paused", "Paused", &clean)?;
    eve.sh("head -c 192k /dev/zero | dd of=/dev/netraid0 bs=64k iflag=fullblock oflag=direct status=none")
        .ok()?;
    shown(&mirror, "paused", "Paused", &format!("{BITMAP}3 dirty (0.3%)\n"))?;
    eve.ctl("resume data").ok()?;
    mirror.wait("fully-operational")?;
    cluster.cut(eve, adam);
    for node in [eve, adam] {
        node.ctl("wait data --for out-of-sync --timeout 60").ok()?;
    }
    let leg = &mirror.status()?["legs"][1];
    let reason = leg["reason"].as_str().with_context(|| format!("a reason in {leg}"))?;
    ensure!(!reason.is_empty() && leg["state"] == "out-of-sync", "{leg}");
    let text = eve.ctl("status data").ok()?;
    let lines: Vec<&str> = text.lines().collect();
    let [head, state, kind, why, bitmap] = lines.as_slice() else {
        anyhow::bail!("five lines were expected: {text}");
    };
    ensure!(
        [*head, *state, *kind] == ["[-] eve -> adam", "\tStatus: Out Of Sync", "\tType: Synchronous"],
        "{text}"
    );
    ensure!(why.starts_with("\tReason: ") && bitmap.starts_with(BITMAP), "{text}");
    ensure!(adam.ctl("status data").ok()?.contains("\tStatus: Out Of Sync\n"));
    Ok(())
}

/// The percentage that a bar shows, whose length must be right for it.
fn bar(line: &str) -> Result<u64> {
    let (bar, percent) = line
        .strip_prefix("\t[")
        .and_then(|line| line.split_once("] "))
        .with_context(|| format!("a bar: {line}"))?;
    let percent: u64 = percent.strip_suffix('%').context("a percentage")?.parse()?;
    let filled = bar.trim_end().len() as u64;
    ensure!(bar.len() == 20 && filled == 20 * percent / 100, "{line}");
    Ok(percent)
}

/// Covers: S214, S215, S222, S223.
fn the_percent_of_a_resync_grows(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let mirror = Mirror::create(eve, adam)?;
    cluster.network().way(0, 1).delay(Duration::from_millis(200));
    let mut events = eve.events()?;
    mirror.extend()?;
    let is = |event: &Value, kind: &str| event["event"] == kind;
    events.wait_for("progress", Duration::from_secs(60), |event| {
        is(event, "resync-progress")
    })?;
    let text = eve.ctl("status data").ok()?;
    let lines: Vec<&str> = text.lines().collect();
    let [head, state, kind, percent, speed, bitmap] = lines.as_slice() else {
        anyhow::bail!("six lines were expected: {text}");
    };
    ensure!(
        [*head, *state, *kind] == ["[-] eve -> adam", "\tStatus: Resynchronizing", "\tType: Synchronous"],
        "{text}"
    );
    let seen = bar(percent)?;
    ensure!(seen < 100 && bitmap.starts_with(BITMAP), "{text}");
    let speed = speed
        .strip_prefix("\tResync Speed: ")
        .and_then(|speed| speed.strip_suffix("K/sec"));
    ensure!(speed.context("a speed")?.parse::<u64>()? > 0, "{text}");
    ensure!(status(eve, "data")?["legs"][1]["state"] == "resyncing");
    ensure!(adam.ctl("status data").ok()?.contains("\tStatus: Resynchronizing\n"));
    events.wait_for("more progress", SOON, |event| is(event, "resync-progress"))?;
    cluster.restore_links();
    let done = events.wait_for("the end", SOON, |event| is(event, "resync-done"))?;
    let leg = &done["mirror"]["legs"][1];
    ensure!(
        leg["resync_done"] == 64 << 20 && leg["resync_total"] == 64 << 20 && leg["percent"].is_null(),
        "{leg}"
    );
    let told = events.seen().iter().filter(|event| is(event, "resync-progress"));
    let percents: Vec<f64> = told
        .filter_map(|event| event["mirror"]["legs"][1]["percent"].as_f64())
        .collect();
    ensure!(
        percents.len() >= 2 && percents.windows(2).all(|two| two[0] < two[1]),
        "{percents:?}"
    );
    ensure!(
        percents.iter().all(|percent| (0.0..=100.0).contains(percent)),
        "{percents:?}"
    );
    Ok(())
}

/// Covers: S221.
fn every_command_refuses_an_unknown_mirror(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(0);
    node.ctl("create data --disk /dev/vdb").ok()?;
    for command in [
        "status none",
        "status none --json",
        "status none --check",
        "events none",
        "wait none --for paused",
        "extend none --to 10.77.0.2 --yes",
        "unextend none",
        "pause none",
        "resume none",
        "promote none",
        "demote none",
        "stop none",
        "delete none",
        "delete dat",
    ] {
        let name = command.split(' ').nth(1).unwrap_or_default();
        let sentence = format!("there is no mirror '{name}' on this machine");
        refused(node, command, &["netraid-ctl: cannot ", &sentence])?;
    }
    let state = status(node, "data")?;
    ensure!(state["role"] == "source", "{state}");
    Ok(())
}

/// Covers: S214, S221.
fn check_says_by_exit_code_whether_all_is_well(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    eve.ctl("status --check").exits(0)?;
    let mirror = Mirror::create(eve, adam)?;
    for node in [eve, adam] {
        node.ctl("status --check").exits(3)?;
    }
    mirror.extend()?;
    mirror.wait("fully-operational")?;
    adam.ctl("wait data --for fully-operational").ok()?;
    for node in [eve, adam] {
        node.ctl("status --check").exits(0)?;
    }
    eve.ctl("create more --disk /dev/vdd").ok()?;
    eve.ctl("status data --check").exits(0)?;
    let both = eve.ctl("status --check").exits(3)?.stdout;
    ensure!(
        both.contains("Mirror data (source") && both.contains("Mirror more (source"),
        "{both}"
    );
    eve.ctl("pause data").ok()?;
    eve.ctl("status data --check --json").exits(3)?;
    eve.ctl("status data").exits(0)?;
    eve.ctl("stop data").ok()?;
    eve.ctl("status data --check").exits(3)?;
    Ok(())
}

fn a_wait_ends_with_the_state_or_with_the_time(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::in_sync(cluster)?;
    let eve = mirror.source;
    let late = eve.ctl("wait data --for paused,stopped --timeout 0.3").exits(4)?;
    let sentence = "mirror data is not paused or stopped after 0.3 seconds";
    ensure!(
        late.stderr.contains(sentence) && late.stderr.contains("Fully Operational"),
        "{late:?}"
    );
    ensure!(eve
        .ctl("wait data --for nonsense")
        .exits(1)?
        .stderr
        .contains("nonsense"));
    let mut jobs = Vec::new();
    for state in ["paused,stopped", "stopped", "deleted"] {
        jobs.push(eve.ctl(&format!("wait data --for {state} --timeout 60")).spawn()?);
    }
    let wait_until_done = eve.ctl("wait data --for source,target --timeout 0").ok()?;
    ensure!(wait_until_done.trim() == "Mirror data is source.", "{wait_until_done}");
    for (job, command) in jobs.iter_mut().zip(["pause data", "stop data", "delete data"]) {
        eve.ctl(command).ok()?;
        let (code, lines) = job.wait(SOON)?;
        let ended = lines.iter().any(|line| line.starts_with("Mirror data is "));
        ensure!(code == 0 && ended, "{command}: {code} {lines:?}");
    }
    Ok(())
}

/// Covers: S214.
fn a_watched_status_is_printed_again_when_it_changes(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::in_sync(cluster)?;
    let mut watch = mirror.source.ctl("status data --watch").spawn()?;
    let mut see = |wanted: &str| -> Result<()> {
        while let Some(line) = watch.line(SOON)? {
            if line == wanted {
                return Ok(());
            }
        }
        anyhow::bail!("the watch ended before {wanted:?}")
    };
    see("\tStatus: Fully Operational")?;
    mirror.source.ctl("pause data").ok()?;
    see("\tStatus: Paused")?;
    mirror.source.ctl("resume data").ok()?;
    see("\tStatus: Fully Operational")?;
    mirror.source.ctl("delete data").ok()?;
    let (code, lines) = watch.wait(SOON)?;
    ensure!(code == 0, "{code} {lines:?}");
    Ok(())
}

/// Covers: S123.
fn disks_lists_what_a_mirror_could_use_and_why_not_the_rest(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(0);
    node.ctl("create data --disk /dev/vdb").ok()?;
    node.sh("mkswap /dev/vdc && swapon /dev/vdc && mkfs.ext4 -q -F /dev/vde && mount /dev/vde /mnt")
        .ok()?;
    let disks: Value = serde_json::from_str(&node.ctl("disks --json").ok()?)?;
    let paths = |list: &Value| -> Vec<String> {
        let all = list.as_array().into_iter().flatten();
        all.filter_map(|disk| disk["path"].as_str().map(str::to_owned))
            .collect()
    };
    ensure!(paths(&disks["disks"]) == ["/dev/vdd", "/dev/vdf"], "{disks}");
    for (path, reason) in [
        ("/dev/vdb", "it is used by mirror data"),
        ("/dev/vdc", "it is used as swap"),
        ("/dev/vde", "it is mounted on /mnt"),
    ] {
        let others = disks["others"].as_array().into_iter().flatten();
        let told: Vec<&str> = others
            .filter(|disk| disk["path"] == path)
            .filter_map(|disk| disk["reason"].as_str())
            .collect();
        ensure!(told.len() == 1 && told[0].starts_with(reason), "{path}: {told:?}");
        refused(node, &format!("create more --disk {path}"), &[path, reason])?;
        refused(node, &format!("join more --disk {path} --yes"), &[path, reason])?;
    }
    ensure!(paths(&disks["others"]).contains(&"/dev/netraid0".to_owned()), "{disks}");
    let text = node.ctl("disks --all").ok()?;
    ensure!(
        text.contains("/dev/vdd") && text.contains("it is used as swap"),
        "{text}"
    );
    node.sh("swapoff /dev/vdc && umount /mnt").ok()?;
    node.ctl("delete data").ok()?;
    let disks: Value = serde_json::from_str(&node.ctl("disks --json").ok()?)?;
    ensure!(
        paths(&disks["disks"]) == ["/dev/vdb", "/dev/vdc", "/dev/vdd", "/dev/vde", "/dev/vdf"],
        "{disks}"
    );
    Ok(())
}

fn version_help_and_completions_are_there(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(0);
    let version = node.ctl("--version").ok()?;
    ensure!(
        version.starts_with("netraid-ctl ") && version.trim().contains('.'),
        "{version}"
    );
    let help = node.ctl("--help").ok()?;
    let completions = node.ctl("completions bash").ok()?;
    for command in [
        "create", "join", "extend", "unextend", "promote", "demote", "pause", "resume", "wait",
    ] {
        ensure!(help.contains(&format!("\n  {command} ")), "{command} in {help}");
        ensure!(
            completions.contains(&format!(",{command})")),
            "{command} in the completions"
        );
        ensure!(node
            .ctl(&format!("{command} --help"))
            .ok()?
            .contains("Usage: netraid-ctl"));
    }
    node.sh("netraid-ctl completions bash > /tmp/completions && bash -n /tmp/completions")
        .ok()?;
    for wrong in [
        "",
        "nonsense",
        "create",
        "create data",
        "status --json=5",
        "completions tcsh",
    ] {
        let output = node.ctl(wrong).exits(1)?;
        ensure!(
            output.stderr.contains("Usage") || output.stderr.contains("possible values"),
            "{wrong}: {output:?}"
        );
    }
    Ok(())
}
