// SPDX-License-Identifier: GPL-2.0
//! What is damaged on its way, in a manner that TCP does not notice, is noticed, is never written, and is sent again.

use std::sync::{
    atomic::{AtomicBool, Ordering},
    Arc,
};

use anyhow::{ensure, Result};
use tests_qemu::{
    packet::{damage, Packet},
    switch::{Traffic, Way},
    workload::Plan,
    Cluster, Workload,
};

use crate::{
    harness::{case, Case, SOON},
    mirror::{status, Mirror, QUICK},
    persist,
};

pub(crate) const CASES: &[Case] = &[
    case!(a_damaged_write_is_not_written_and_is_copied_again).smoke(),
    case!(damage_of_a_write_costs_the_application_nothing),
    case!(damage_of_a_header_is_noticed_wherever_it_is),
    case!(a_damaged_confirmation_confirms_nothing),
    case!(a_damaged_copy_of_a_resync_is_copied_again),
    case!(a_damaged_greeting_is_tried_again),
    case!(without_checksums_nobody_notices_the_same_damage),
    case!(a_mirror_whose_operator_wants_no_checksums_has_none_in_either_direction),
    case!(a_link_that_damages_packets_carries_a_mirror),
];

const DEVICE: &str = "/dev/netraid0";
pub(crate) const HEADER: usize = 48;
const HELLO: u8 = 1;
const WELCOME: u8 = 2;
const WRITE: u8 = 4;
const ACK: u8 = 8;
/// In the flags of a write.
const RESYNC: u8 = 4;

/// The message that is to be damaged, and where.
#[derive(Clone, Copy)]
pub(crate) struct Hit {
    pub(crate) kind: u8,
    pub(crate) resync: bool,
    /// Byte from the beginning of the header on.
    pub(crate) at: usize,
}

impl Hit {
    /// A byte of an application's write, counted from the header.
    const fn of_write(at: usize) -> Self {
        Self {
            kind: WRITE,
            resync: false,
            at,
        }
    }
}

/// Damages the next such message that passes, and no other; the flag says that it has happened.
pub(crate) fn damage_next(way: Way<'_>, hit: Hit) -> Arc<AtomicBool> {
    let done = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&done);
    way.alter(move |frame| {
        if seen.load(Ordering::SeqCst) {
            return false;
        }
        let payload = Packet::new(frame).payload().unwrap_or_default();
        let begin = payload.windows(HEADER).position(|header| {
            header.starts_with(b"NRD1") && header[4] == hit.kind && (header[5] & RESYNC != 0) == hit.resync
        });
        let hit = begin.is_some_and(|begin| damage(frame, begin + hit.at, 0x10));
        seen.store(hit, Ordering::SeqCst);
        hit
    });
    done
}

/// Waits until something was damaged since `before`.
fn await_damage(way: Way<'_>, before: Traffic) -> Result<()> {
    way.wait_for(SOON, |now| now.altered > before.altered)?;
    Ok(())
}

fn a_damaged_write_is_not_written_and_is_copied_again(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::quick(cluster)?;
    let (eve, adam) = cluster.pair();
    for node in [eve, adam] {
        let leg = &status(node, "data")?["legs"][1];
        ensure!(leg["checksums"] == true && leg["no_checksums"] == false, "{leg}");
    }
    eve.sh(&format!(
        "yes old | dd of={DEVICE} bs=4096 count=1 seek=5 oflag=direct iflag=fullblock"
    ))
    .ok()?;
    let old = adam.disk("vdb")?.read(5 * 4096, 4096)?;
    ensure!(old.starts_with(b"old\n"));
    let (mut here, mut there) = (eve.events()?, adam.events()?);
    let way = cluster.network().way(0, 1);
    let before = way.traffic();
    let done = damage_next(way, Hit::of_write(HEADER + 77));
    // What follows the damaged packet does not arrive: the disk stays as that packet left it.
    way.filter(move |_| !done.load(Ordering::SeqCst));
    let write = format!("yes new | dd of={DEVICE} bs=4096 count=1 seek=5 oflag=direct iflag=fullblock");
    let mut write = eve.sh(&write).spawn()?;
    await_damage(way, before)?;
    let words = ["data was damaged on its way", "Write at offset 20480 does not match"];
    there.wait_for_reason(&["the connection of eve was lost", words[0], words[1]], SOON)?;
    here.wait_for_reason(&["adam gave the connection up", words[0], words[1]], SOON)?;
    ensure!(adam.disk("vdb")?.read(5 * 4096, 4096)? == old, "something was written");
    cluster.restore_links();
    let (code, lines) = write.wait(SOON)?;
    ensure!(code == 0, "{lines:?}");
    mirror.wait("fully-operational")?;
    ensure!(adam.disk("vdb")?.read(5 * 4096, 4096)?.starts_with(b"new\n"));
    mirror.same_disks()
}

fn damage_of_a_write_costs_the_application_nothing(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::quick(cluster)?;
    let mut workload = Workload::start(mirror.source, DEVICE, Plan::new(401, 2048).threads(8))?;
    let way = cluster.network().way(0, 1);
    for at in [HEADER, HEADER + 1111, HEADER + 4095] {
        workload.more(30, SOON)?;
        let (before, connects) = (way.traffic(), mirror.count("connects")?);
        damage_next(way, Hit::of_write(at));
        await_damage(way, before)?;
        workload.more(30, SOON)?;
        mirror.wait("fully-operational")?;
        ensure!(mirror.count("connects")? > connects, "{}", mirror.leg()?);
    }
    workload.stop()?;
    mirror.same_disks()?;
    let verdict = workload.judge_disk(mirror.target.disk("vdb")?)?;
    ensure!(verdict.good(), "{verdict:?}");
    Ok(())
}

fn damage_of_a_header_is_noticed_wherever_it_is(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::quick(cluster)?;
    let mut there = mirror.target.events()?;
    let mut workload = Workload::start(mirror.source, DEVICE, Plan::new(402, 2048))?;
    let way = cluster.network().way(0, 1);
    // Magic, kind, flags, version, length, offset, checksum of the data, checksum of the header.
    for at in [0, 4, 5, 6, 10, 25, 40, 47] {
        let before = way.traffic();
        damage_next(way, Hit::of_write(at));
        await_damage(way, before)?;
        there.wait_for_reason(
            &["the connection of eve was lost: a message header was damaged on its way"],
            SOON,
        )?;
        mirror.wait("fully-operational")?;
        workload.more(20, SOON)?;
    }
    workload.stop()?;
    mirror.same_disks()?;
    let verdict = workload.judge_disk(mirror.target.disk("vdb")?)?;
    ensure!(verdict.good(), "{verdict:?}");
    Ok(())
}

fn a_damaged_confirmation_confirms_nothing(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::quick(cluster)?;
    let mut here = mirror.source.events()?;
    let mut workload = Workload::start(mirror.source, DEVICE, Plan::new(403, 2048))?;
    workload.more(20, SOON)?;
    let way = cluster.network().way(1, 0);
    let before = way.traffic();
    damage_next(
        way,
        Hit {
            kind: ACK,
            resync: false,
            at: HEADER,
        },
    );
    await_damage(way, before)?;
    here.wait_for_reason(
        &[
            "the connection to adam was lost: data was damaged on its way",
            "of kind Ack does not match",
        ],
        SOON,
    )?;
    workload.more(20, SOON)?;
    mirror.wait("fully-operational")?;
    workload.stop()?;
    mirror.same_disks()?;
    let verdict = workload.judge_disk(mirror.target.disk("vdb")?)?;
    ensure!(verdict.good(), "{verdict:?}");
    Ok(())
}

fn a_damaged_copy_of_a_resync_is_copied_again(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    eve.sh("head -c 8M /dev/urandom > /dev/vdb; sync").ok()?;
    let mirror = Mirror::create_on(eve, adam, "vdb", "", QUICK)?;
    let mut there = adam.events()?;
    let way = cluster.network().way(0, 1);
    let before = way.traffic();
    damage_next(
        way,
        Hit {
            kind: WRITE,
            resync: true,
            at: HEADER + 3,
        },
    );
    mirror.extend_with(QUICK)?;
    await_damage(way, before)?;
    there.wait_for_reason(
        &[
            "the connection of eve was lost: data was damaged on its way",
            "Write at offset",
            "does not match",
        ],
        SOON,
    )?;
    mirror.wait("fully-operational")?;
    ensure!(mirror.count("connects")? == 2, "{}", mirror.leg()?);
    mirror.same_disks()
}

fn a_damaged_greeting_is_tried_again(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let mirror = Mirror::create_on(eve, adam, "vdb", "", QUICK)?;
    let (mut here, mut there) = (eve.events()?, adam.events()?);
    let (to, back) = (cluster.network().way(0, 1), cluster.network().way(1, 0));
    let before = (to.traffic(), back.traffic());
    // In either, a byte of a number that would be believed.
    damage_next(
        to,
        Hit {
            kind: HELLO,
            resync: false,
            at: HEADER + 88,
        },
    );
    damage_next(
        back,
        Hit {
            kind: WELCOME,
            resync: false,
            at: HEADER + 80,
        },
    );
    mirror.extend_with(QUICK)?;
    await_damage(to, before.0)?;
    there.wait_for_reason(
        &[
            "is not accepted: data was damaged on its way",
            "of kind Hello does not match",
        ],
        SOON,
    )?;
    await_damage(back, before.1)?;
    here.wait_for_reason(
        &[
            "greeting 10.77.0.2:7900 failed: data was damaged on its way",
            "of kind Welcome does not match",
        ],
        SOON,
    )?;
    mirror.wait("fully-operational")?;
    mirror.same_disks()
}

/// The control: TCP does not notice what these tests do.
fn without_checksums_nobody_notices_the_same_damage(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let mirror = Mirror::create(eve, adam)?;
    mirror.extend_with("--no-checksums")?;
    mirror.wait("fully-operational")?;
    for node in [eve, adam] {
        let leg = &status(node, "data")?["legs"][1];
        ensure!(leg["checksums"] == false, "{leg}");
    }
    let way = cluster.network().way(0, 1);
    let before = way.traffic();
    damage_next(way, Hit::of_write(HEADER + 77));
    eve.sh(&format!(
        "yes new | dd of={DEVICE} bs=4096 count=1 seek=5 oflag=direct iflag=fullblock"
    ))
    .ok()?;
    await_damage(way, before)?;
    ensure!(mirror.count("connects")? == 1, "{}", mirror.leg()?);
    let (mut one, other) = (
        eve.disk("vdb")?.read(5 * 4096, 4096)?,
        adam.disk("vdb")?.read(5 * 4096, 4096)?,
    );
    ensure!(one != other, "nothing was damaged");
    one[77] ^= 0x10;
    ensure!(one == other, "more than one bit was damaged");
    Ok(())
}

fn a_mirror_whose_operator_wants_no_checksums_has_none_in_either_direction(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let mirror = Mirror::create(eve, adam)?;
    mirror.extend_with("--no-checksums")?;
    mirror.wait("fully-operational")?;
    let detail = eve.ctl("status data --detail").ok()?;
    ensure!(detail.contains("Checksums: not wanted"), "{detail}");
    adam.ctl("switchover data").ok()?;
    adam.ctl("wait data --for fully-operational --timeout 60").ok()?;
    let leg = &status(adam, "data")?["legs"][1];
    ensure!(leg["checksums"] == false && leg["no_checksums"] == true, "{leg}");
    // A leg that is made anew has what is the rule.
    let mirror = persist::turned(&mirror);
    mirror.source.ctl("unextend data").ok()?;
    mirror.extend()?;
    mirror.wait("fully-operational")?;
    let leg = mirror.leg()?;
    ensure!(leg["checksums"] == true && leg["no_checksums"] == false, "{leg}");
    Ok(())
}

fn a_link_that_damages_packets_carries_a_mirror(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::quick(cluster)?;
    let (eve, adam) = cluster.pair();
    for node in [eve, adam] {
        node.sh("modprobe sch_netem && tc qdisc add dev eth0 root netem corrupt 1%")
            .ok()?;
    }
    let mut workload = Workload::start(eve, DEVICE, Plan::new(404, 4096).threads(8).count(1500))?;
    let finished = workload.finish(2 * SOON);
    let errors = adam.sh("nstat -asz TcpInCsumErrors").ok();
    for node in [eve, adam] {
        node.sh("tc qdisc del dev eth0 root").ok()?;
    }
    finished?;
    let errors = errors?;
    let count: u64 = errors
        .lines()
        .filter_map(|line| line.strip_prefix("TcpInCsumErrors"))
        .filter_map(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .sum();
    ensure!(count > 0, "no packet was damaged, so nothing was shown: {errors}");
    mirror.wait("fully-operational")?;
    mirror.same_disks()?;
    let verdict = workload.judge_disk(adam.disk("vdb")?)?;
    ensure!(verdict.good(), "{verdict:?}");
    Ok(())
}
