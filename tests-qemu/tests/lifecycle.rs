// SPDX-License-Identifier: GPL-2.0
//! The module and its mirrors come and go, and leave nothing behind.

use std::time::Duration;

use anyhow::{ensure, Context as _, Result};
use nix::sys::signal::Signal;
use tests_qemu::{Cluster, Node, MIB};

use crate::{
    harness::{case, Case, SOON},
    mirror::{refused, status, Mirror, QUICK},
};

pub(crate) const CASES: &[Case] = &[
    case!(the_module_stays_while_a_mirror_is_in_service).smoke(),
    case!(the_module_unloads_from_every_state).smoke().debug(),
    case!(without_the_module_every_command_says_so),
    case!(every_command_given_twice_gets_a_sensible_answer),
    case!(commands_given_at_the_same_time_do_not_harm_each_other),
    case!(twenty_lives_of_a_mirror_leave_nothing_behind),
    case!(eight_mirrors_work_at_once),
    case!(partitions_and_whole_disks_mirror_each_other),
];

/// Puts a disk of 4 MiB in memory; its path.
const SMALL: &str = "modprobe loop && truncate -s 4M /tmp/small && losetup -f --show /tmp/small";

/// Covers: S122.
fn the_module_stays_while_a_mirror_is_in_service(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::in_sync(cluster)?;
    let mut holder = mirror
        .source
        .sh("exec 3<>/dev/netraid0 && echo open && exec cat /dev/zero > /dev/null")
        .spawn()?;
    ensure!(holder.line(SOON)?.as_deref() == Some("open"));
    cluster.on_all(|node| {
        let busy = node.sh("rmmod netraid").exits(1)?;
        ensure!(
            busy.stderr.contains("Module netraid is in use"),
            "{}: {busy:?}",
            node.name()
        );
        Ok(())
    })?;
    mirror.wait("fully-operational")?;
    refused(mirror.source, "stop data", &["/dev/netraid0 is in use (1 open)"])?;
    mirror.source.ctl("stop data --force").ok()?;
    // The device is gone, but who has it open still needs the module behind it.
    let early = mirror.source.sh("rmmod netraid").exits(1)?;
    ensure!(early.stderr.contains("Module netraid is in use"), "{early:?}");
    holder.signal(Signal::SIGKILL)?;
    holder.wait(SOON)?;
    mirror.target.ctl("stop data").ok()?;
    cluster.on_all(|node| {
        node.sh("rmmod netraid && ! grep -l '^netraid_' /proc/[0-9]*/comm && ! ls /dev/netraid*")
            .ok()?;
        // What the module held is free.
        node.sh("mkfs.ext4 -q -F /dev/vdb").ok()?;
        Ok(())
    })
}

/// Takes the mirror out of service on all machines at once and the module with it, and loads that again.
fn unload_everywhere(cluster: &Cluster, state: &str) -> Result<()> {
    let unload = "! rmmod netraid 2> /tmp/said && grep -q 'in use' /tmp/said && netraid-ctl stop data && \
                  rmmod netraid && ! grep -l '^netraid_' /proc/[0-9]*/comm";
    let unloaded = cluster.on_all(|node| {
        node.sh(unload).ok()?;
        node.insmod()?;
        node.ctl("delete data").ok()?;
        Ok(())
    });
    cluster.restore_links();
    unloaded.with_context(|| format!("unload a mirror that is {state}"))
}

/// Covers: S122.
fn the_module_unloads_from_every_state(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let mut disks = Vec::new();
    for node in [eve, adam] {
        disks.push(node.sh(SMALL).ok()?.trim().to_owned());
    }
    let _listener = eve.events()?;
    let make = || -> Result<()> {
        eve.ctl(&format!("create data --disk {}", disks[0])).ok()?;
        adam.ctl(&format!("join data --disk {} --yes {QUICK}", disks[1])).ok()?;
        Ok(())
    };
    let extend = || eve.ctl(&format!("extend data --to {} --yes {QUICK}", adam.ip())).ok();
    let in_sync = || -> Result<()> {
        make()?;
        extend()?;
        eve.ctl("wait data --for fully-operational").ok()?;
        Ok(())
    };
    make()?;
    unload_everywhere(cluster, "never extended, with a target that waits")?;
    make()?;
    cluster.cut(eve, adam);
    extend()?;
    unload_everywhere(cluster, "trying to connect")?;
    in_sync()?;
    unload_everywhere(cluster, "in sync")?;
    in_sync()?;
    eve.ctl("pause data").ok()?;
    adam.sh("head -c 64k /dev/zero > /dev/netraid0").ok()?;
    unload_everywhere(cluster, "paused")?;
    in_sync()?;
    cluster.cut(eve, adam);
    eve.ctl("wait data --for out-of-sync").ok()?;
    eve.sh("head -c 64k /dev/zero > /dev/netraid0 && sync").ok()?;
    unload_everywhere(cluster, "degraded")?;
    in_sync()?;
    cluster.cut(eve, adam);
    unload_everywhere(cluster, "cut off and not aware of it")?;
    let mirror = Mirror::create_on(eve, adam, "vdb", "", QUICK)?;
    cluster.network().way(0, 1).delay(Duration::from_millis(300));
    mirror.extend_with(QUICK)?;
    mirror.wait("resyncing")?;
    unload_everywhere(cluster, "resynchronizing")
}

/// Covers: S122.
fn without_the_module_every_command_says_so(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(0);
    node.sh("rmmod netraid").ok()?;
    for command in [
        "create data --disk /dev/vdb",
        "join data --disk /dev/vdb --yes",
        "extend data --to 10.77.0.2 --yes",
        "unextend data",
        "pause data",
        "resume data",
        "promote data",
        "demote data",
        "stop data",
        "delete data",
        "status",
        "status data --json",
        "events",
        "wait data --for paused",
    ] {
        let output = node.ctl(command).exits(2)?;
        let sentence = "netraid-ctl: netraid module not loaded; load it with `modprobe netraid`\n";
        ensure!(
            output.stderr == sentence && output.stdout.is_empty(),
            "{command}: {output:?}"
        );
    }
    ensure!(node.ctl("disks").ok()?.contains("/dev/vdb"));
    Ok(())
}

/// Covers: S122, S221.
fn every_command_given_twice_gets_a_sensible_answer(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let disk = eve.sh(SMALL).ok()?;
    let create = format!("create data --disk {}", disk.trim());
    eve.ctl(&create).ok()?;
    refused(eve, &create.replace("data", "more"), &["it is used by mirror data"])?;
    refused(
        eve,
        "create data --disk /dev/vdc",
        &["there is a mirror 'data' on this machine already"],
    )?;
    let disk = adam.sh(SMALL).ok()?;
    let join = format!("join data --disk {} --yes", disk.trim());
    adam.ctl(&join).ok()?;
    refused(adam, &join.replace("data", "more"), &["it is used by mirror data"])?;
    refused(
        adam,
        "join data --disk /dev/vdc --yes",
        &["there is a mirror 'data' on this machine already"],
    )?;
    // Mirrors share a port; another address with the same port is another place.
    adam.ctl("join more --disk /dev/vdc --yes").ok()?;
    adam.ctl("delete more").ok()?;
    let elsewhere = "join more --disk /dev/vdc --yes --listen 0.0.0.0:7900";
    refused(adam, elsewhere, &["port 7900 is in use"])?;
    let extend = format!("extend data --to {} --yes", adam.ip());
    eve.ctl(&extend).ok()?;
    refused(eve, &extend, &["is extended to 10.77.0.2:7900 already", "unextend"])?;
    eve.ctl("wait data --for fully-operational").ok()?;
    let back = format!("extend data --to {} --yes", eve.ip());
    refused(adam, &back, &["is the source of mirror 'data'"])?;
    eve.ctl("unextend data").ok()?;
    refused(eve, "unextend data", &["mirror data has no target"])?;
    let again = |node: &Node, command: &str, answer: &str| -> Result<()> {
        node.ctl(command).ok()?;
        let said = node.ctl(command).ok()?;
        ensure!(said.contains(answer), "{command}: {said}");
        Ok(())
    };
    again(eve, "demote data", "already a target here")?;
    again(eve, "promote data", "already the source of mirror data")?;
    for node in [eve, adam] {
        again(node, "stop data", "already stopped")?;
        node.ctl("delete data").ok()?;
        refused(node, "delete data", &["there is no mirror 'data' on this machine"])?;
    }
    Ok(())
}

/// Covers: S122.
fn commands_given_at_the_same_time_do_not_harm_each_other(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let disk = eve.sh(SMALL).ok()?;
    eve.ctl(&format!("create data --disk {}", disk.trim())).ok()?;
    let disk = adam.sh(SMALL).ok()?;
    adam.ctl(&format!("join data --disk {} --yes {QUICK}", disk.trim()))
        .ok()?;
    let extend = format!("extend data --to {} --yes {QUICK}", adam.ip());
    let mut jobs = Vec::new();
    for (node, commands) in [
        (eve, ["pause data --timeout 2", "resume data --timeout 2"]),
        (eve, [extend.as_str(), "unextend data"]),
        (eve, ["stop data --force", "promote data"]),
        (
            eve,
            [
                "status data --detail",
                "wait data --for fully-operational --timeout 0.2",
            ],
        ),
        (adam, ["promote data --wait 0", "demote data"]),
    ] {
        let [one, other] = commands.map(|command| format!("netraid-ctl {command} > /dev/null 2>&1; echo $?;"));
        jobs.push(
            node.sh(&format!("for n in 1 2 3 4 5 6; do {one} {other} done"))
                .spawn()?,
        );
    }
    for job in &mut jobs {
        let (code, codes) = job.wait(4 * SOON)?;
        // Done, refused, or out of time; nothing else, and nobody hangs.
        let known = codes.iter().all(|code| ["0", "2", "4"].contains(&code.as_str()));
        ensure!(code == 0 && codes.len() == 12 && known, "{codes:?}");
    }
    for node in [eve, adam] {
        node.ctl("delete data --force").ok()?;
        node.sh("rmmod netraid && ! grep -l '^netraid_' /proc/[0-9]*/comm")
            .ok()?;
    }
    Ok(())
}

/// KiB that are left when the kernel has given back all it can, and KiB of its own objects.
fn memory(node: &Node) -> Result<[u64; 2]> {
    let read = "sync; echo 3 > /proc/sys/vm/drop_caches; awk '/^MemAvailable:/ { left = $2 } \
                /^(SUnreclaim|KernelStack|Percpu|VmallocUsed):/ { own += $2 } END { print left; print own }' /proc/meminfo";
    let text = node.sh(read).ok()?;
    let mut numbers = text.lines().map(str::parse);
    let mut next = || numbers.next().context("two numbers");
    Ok([next()??, next()??])
}

/// Covers: S122, S204.
fn twenty_lives_of_a_mirror_leave_nothing_behind(cluster: &Cluster) -> Result<()> {
    const LIVES: u64 = 20;
    let (eve, adam) = cluster.pair();
    let mut disks = Vec::new();
    for node in [eve, adam] {
        disks.push(node.sh(SMALL).ok()?.trim().to_owned());
    }
    let live = || -> Result<()> {
        let join = format!("join data --disk {} --yes", disks[1]);
        adam.ctl(&join).ok()?;
        let life = format!(
            "netraid-ctl create data --disk {} && netraid-ctl extend data --to {} --yes --wait=60 && \
             head -c 64k /dev/urandom > /dev/netraid0 && sync && netraid-ctl unextend data && \
             netraid-ctl stop data && netraid-ctl delete data",
            disks[0],
            adam.ip()
        );
        eve.sh(&life).timeout(3 * SOON).ok()?;
        adam.ctl("delete data").ok()?;
        Ok(())
    };
    // What the first ones leave in caches is not theirs.
    for _ in 0..3 {
        live()?;
    }
    let before = [memory(eve)?, memory(adam)?];
    for _ in 0..LIVES {
        live()?;
    }
    for (node, before) in [eve, adam].into_iter().zip(before) {
        let threads = node
            // One thread belongs to the module itself.
            .sh("grep -h '^netraid_' /proc/[0-9]*/comm | grep -vx netraid_desk; ls -d /dev/netraid*; true")
            .run()?;
        ensure!(threads.stdout.is_empty(), "{}: {}", node.name(), threads.stdout);
        let after = memory(node)?;
        let (lost, grown) = (before[0].saturating_sub(after[0]), after[1].saturating_sub(before[1]));
        // Free memory moves by some MiB of itself, the kernel's own objects hardly.
        let said = format!(
            "{} lost {lost} KiB in {LIVES} lives, {grown} KiB to objects",
            node.name()
        );
        ensure!(lost < LIVES * 400 && grown < LIVES * 40, "{said}");
        node.sh("rmmod netraid").ok()?;
    }
    Ok(())
}

fn eight_mirrors_work_at_once(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let each = |script: &str| format!("set -e; for n in 1 2 3 4 5 6 7 8; do {script}; done");
    for node in [eve, adam] {
        let disks = "truncate -s 4M /tmp/$n; ln -s $(losetup -f --show /tmp/$n) /tmp/disk$n";
        node.sh(&format!("modprobe loop; {}", each(disks))).ok()?;
    }
    let join = "netraid-ctl join m$n --disk /tmp/disk$n --yes --listen 0.0.0.0:790$n";
    adam.sh(&each(join)).timeout(3 * SOON).ok()?;
    let create = "netraid-ctl create m$n --disk /tmp/disk$n --id $n";
    let extend = format!("{create}; netraid-ctl extend m$n --to {}:790$n --yes", adam.ip());
    eve.sh(&each(&extend)).timeout(3 * SOON).ok()?;
    eve.sh(&each("netraid-ctl wait m$n --for fully-operational"))
        .timeout(3 * SOON)
        .ok()?;
    eve.sh("netraid-ctl status --check > /dev/null").ok()?;
    let write = "head -c 3M /dev/urandom | dd of=/dev/netraid$n bs=64k iflag=fullblock oflag=direct status=none &";
    let write = write.replace("status=none &", "status=none & pids=\"$pids $!\"");
    let wait = "for pid in $pids; do wait $pid; done";
    eve.sh(&format!("{}; {wait}", each(&write))).timeout(3 * SOON).ok()?;
    eve.sh("netraid-ctl status --check > /dev/null").ok()?;
    let sums = [eve, adam].map(|node| node.sh(&each("dd if=/tmp/disk$n bs=1M status=none | sha256sum")).ok());
    let [there, here] = sums;
    let (there, here) = (there?, here?);
    ensure!(there == here, "{there} and {here}");
    let mut kinds: Vec<&str> = here.lines().collect();
    kinds.sort_unstable();
    kinds.dedup();
    ensure!(kinds.len() == 8, "some mirrors hold the same: {here}");
    Ok(())
}

/// Covers: S32, S118.
fn partitions_and_whole_disks_mirror_each_other(cluster: &Cluster) -> Result<()> {
    const START: u64 = MIB;
    let (eve, adam) = cluster.pair();
    eve.sh("echo size=32M | sfdisk -q /dev/vdc && head -c 8M /dev/urandom > /dev/vdc1 && sync")
        .ok()?;
    adam.sh("printf 'size=80M\\nsize=80M\\n' | sfdisk -q /dev/vde").ok()?;
    eve.ctl("create part --disk /dev/vdc1").ok()?;
    adam.ctl("join part --disk /dev/vdb --yes --listen 0.0.0.0:7900").ok()?;
    eve.ctl("create whole --disk /dev/vdb").ok()?;
    adam.ctl("join whole --disk /dev/vde1 --yes --listen 0.0.0.0:7901")
        .ok()?;
    eve.ctl(&format!("extend part --to {}:7900 --yes", adam.ip())).ok()?;
    eve.ctl(&format!("extend whole --to {}:7901 --yes", adam.ip())).ok()?;
    for (name, disk, size) in [("part", "/dev/vdc1", 32 * MIB), ("whole", "/dev/vdb", 64 * MIB)] {
        eve.ctl(&format!("wait {name} --for fully-operational")).ok()?;
        let state = status(eve, name)?;
        ensure!(state["size"] == size && state["disk"] == disk, "{state}");
        let device = state["device"].as_str().context("a device")?;
        // The last chunk too.
        let write = format!("oflag=direct status=none seek={}", size / MIB - 3);
        eve.sh(&format!(
            "head -c 3M /dev/urandom | dd of={device} bs=1M iflag=fullblock {write}"
        ))
        .ok()?;
    }
    // The neighbour of a partition in use is free, the disk around it is not.
    refused(
        adam,
        "join more --disk /dev/vde --yes",
        &["its partition vde1 is in use", "mirror whole"],
    )?;
    refused(
        eve,
        "create more --disk /dev/vdc",
        &["its partition vdc1 is in use", "mirror part"],
    )?;
    adam.sh("mkfs.ext4 -q -F /dev/vde2").ok()?;
    let part = eve.disk("vdc")?.read(START, 32 * MIB)?;
    ensure!(
        part == adam.disk("vdb")?.read(0, 32 * MIB)?,
        "the partition differs from the whole disk"
    );
    let whole = eve.disk("vdb")?.read(0, 64 * MIB)?;
    ensure!(
        whole == adam.disk("vde")?.read(START, 64 * MIB)?,
        "the whole disk differs from the partition"
    );
    // Nothing was written around the partitions.
    let table = adam.sh("sfdisk -d /dev/vde").ok()?;
    ensure!(table.matches("size=").count() == 2, "{table}");
    Ok(())
}
