// SPDX-License-Identifier: GPL-2.0
//! What the other tests rely on: machines that run commands, links that can be disturbed,
//! disks that survive, and a writer whose reports are true. None of these needs netraid.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{ensure, Result};
use tests_qemu::{workload::Plan, Cluster, Workload};

use crate::harness::{case, Case, SOON};

pub(crate) const CASES: &[Case] = &[
    case!(commands_run_and_report_their_outcome).smoke(),
    case!(a_command_that_hangs_is_killed_when_its_time_is_up),
    case!(files_go_there_and_back),
    case!(machines_reach_each_other_until_the_link_is_cut),
    case!(a_delayed_link_delays_and_a_filter_drops_only_its_packets),
    case!(what_a_killed_machine_had_written_is_still_on_its_disk).smoke(),
    case!(what_netraid_keeps_outlives_a_killed_machine),
    case!(machines_that_go_on_from_one_picture_are_machines_of_their_own),
    case!(a_kernel_warning_is_found_on_the_console),
];

fn commands_run_and_report_their_outcome(cluster: &Cluster) -> Result<()> {
    for node in cluster.nodes() {
        ensure!(node.sh("hostname").ok()?.trim() == node.name());
        let output = node
            .sh("cat; echo wrong >&2; id -u; exit 3")
            .user(1000)
            .stdin("in ")
            .exits(3)?;
        ensure!(output.stdout == "in 1000\n" && output.stderr == "wrong\n", "{output:?}");
        ensure!(node
            .sh("uname -r; modprobe xfs && grep -c xfs /proc/filesystems")
            .ok()?
            .ends_with("1\n"));
    }
    let mut job = cluster.node(0).sh("echo one; echo two >&2; exit 4").spawn()?;
    let (code, mut lines) = job.wait(SOON)?;
    lines.sort();
    ensure!(code == 4 && lines == ["one", "two"], "{code} {lines:?}");
    Ok(())
}

fn a_command_that_hangs_is_killed_when_its_time_is_up(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(0);
    let call = node
        .sh("echo before; cat /dev/zero > /dev/null")
        .timeout(Duration::from_millis(300));
    let output = call.run()?;
    ensure!(output.timed_out && output.stdout == "before\n", "{output:?}");
    Ok(())
}

fn files_go_there_and_back(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    let content: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    node.write_file("/tmp/file", &content, 0o640)?;
    ensure!(node.read_file("/tmp/file")? == content);
    ensure!(node.sh("stat -c %a /tmp/file").ok()?.trim() == "640");
    let missing = node.read_file("/tmp/none").err().map(|error| format!("{error:#}"));
    ensure!(
        missing.as_deref().is_some_and(|text| text.contains("No such file")),
        "{missing:?}"
    );
    Ok(())
}

fn machines_reach_each_other_until_the_link_is_cut(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    for address in [adam.ip(), adam.ip6(), adam.ip_on(1)] {
        eve.sh(&format!("ping -c1 -W5 {address}")).ok()?;
    }
    cluster.cut(eve, adam);
    eve.sh(&format!("ping -c1 -W1 {}", adam.ip())).exits(1)?;
    cluster.restore_links();
    eve.sh(&format!("ping -c1 -W5 {}", adam.ip())).ok()?;
    Ok(())
}

fn a_delayed_link_delays_and_a_filter_drops_only_its_packets(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let way = cluster.network().way(0, 1);
    way.delay(Duration::from_millis(300));
    let began = Instant::now();
    eve.sh(&format!("ping -c1 -W5 {}", adam.ip())).ok()?;
    ensure!(
        began.elapsed() >= Duration::from_millis(300),
        "the ping came back too soon"
    );
    way.restore();
    let before = way.traffic().dropped;
    way.filter(|packet| packet.ports().is_none_or(|(_, to)| to != 7900));
    eve.sh(&format!("ping -c1 -W5 {}", adam.ip())).ok()?;
    let connect = format!("timeout 10 bash -c '</dev/tcp/{}/7900'", adam.ip());
    let mut job = eve.sh(&connect).spawn()?;
    way.wait_for(SOON, |traffic| traffic.dropped > before)?;
    way.restore();
    // Nobody listens there, so the connection is refused as soon as a packet gets through.
    let (code, lines) = job.wait(SOON)?;
    ensure!(code == 1 && lines.join(" ").contains("refused"), "{code} {lines:?}");
    Ok(())
}

fn what_a_killed_machine_had_written_is_still_on_its_disk(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(0);
    let workload = Workload::start(node, "/dev/vdb", Plan::new(1, 1024))?;
    workload.more(500, SOON)?;
    node.kill9()?;
    ensure!(workload.run().writes >= 500);
    let verdict = workload.judge_disk(node.disk("vdb")?)?;
    ensure!(verdict.good(), "{verdict:?}");
    node.boot()?;
    let verdict = workload.judge_device(node, "/dev/vdb")?;
    ensure!(verdict.good(), "{verdict:?}");
    // A reader that overlooks a loss would make every other test worthless.
    let (block, _) = workload.run().acknowledged.into_iter().next().unwrap_or_default();
    node.disk("vdb")?.write(block * 4096, &[0; 4096])?;
    ensure!(workload.judge_disk(node.disk("vdb")?)?.lost == [block]);
    Ok(())
}

/// Names, addresses, time, random numbers, and what is on the disks: none of that is of the machine in the picture.
fn machines_that_go_on_from_one_picture_are_machines_of_their_own(cluster: &Cluster) -> Result<()> {
    let mut drawn = BTreeSet::new();
    for round in 0..3 {
        for node in cluster.nodes() {
            if round > 0 {
                node.kill9()?;
                // A partition of 1 MiB after the first MiB, in a table of the old kind.
                let mut table = [0; 512];
                table[446..462].copy_from_slice(&[0, 0, 2, 0, 0x83, 0, 2, 0, 0, 8, 0, 0, 0, 8, 0, 0]);
                table[510..].copy_from_slice(&[0x55, 0xaa]);
                node.disk("vdb")?.write(0, &table)?;
                node.boot()?;
                ensure!(node.sh("cat /sys/block/vdb/vdb1/size").ok()?.trim() == "2048");
            }
            let address = format!("hostname; ip -4 -o addr show eth1 | grep -c {}/24", node.ip_on(1));
            ensure!(node.sh(&address).ok()? == format!("{}\n1\n", node.name()));
            let drawing =
                "cat /proc/sys/kernel/random/boot_id /proc/sys/kernel/random/uuid; head -c 16 /dev/urandom | base64";
            for number in node.sh(drawing).ok()?.lines() {
                ensure!(drawn.insert(number.to_owned()), "{number} was drawn twice");
            }
            let there: u64 = node.sh("date +%s").ok()?.trim().parse()?;
            let here = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
            ensure!(there.abs_diff(here) < 60, "{there} and {here}");
        }
    }
    ensure!(drawn.len() == 3 * 3 * cluster.nodes().len(), "{drawn:?}");
    Ok(())
}

fn what_netraid_keeps_outlives_a_killed_machine(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(0);
    let places = "/var/lib/netraid/bitmap_data /etc/netraid/data.conf /etc/default/netraid";
    let id = node.sh("cat /etc/machine-id").ok()?;
    ensure!(id.trim().len() == 32 && id != cluster.node(1).sh("cat /etc/machine-id").ok()?);
    node.sh(&format!("for file in {places}; do echo kept > $file; sync $file; done"))
        .ok()?;
    node.kill9()?;
    node.boot()?;
    let found = node.sh(&format!("cat {places} /etc/machine-id")).ok()?;
    ensure!(found == format!("kept\nkept\nkept\n{id}"), "{found}");
    // The next test finds nothing of it.
    node.sh("umount /var/lib/netraid /etc/netraid /state").ok()?;
    node.forget()?;
    node.sh("netraid-guest state && netraid-guest state").ok()?;
    let left = node.sh("ls -A /var/lib/netraid/ /etc/netraid/ | grep -v :").run()?;
    ensure!(left.stdout.trim().is_empty(), "{left:?}");
    node.sh("test ! -e /etc/default/netraid").ok()?;
    Ok(())
}

fn a_kernel_warning_is_found_on_the_console(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(0);
    node.sh("echo '<4>WARNING: this is a test' > /dev/kmsg").ok()?;
    let found = node.complaints();
    ensure!(found.len() == 1 && found[0].contains("this is a test"), "{found:?}");
    node.mark_console();
    ensure!(node.complaints().is_empty());
    Ok(())
}
