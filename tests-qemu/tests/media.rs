// SPDX-License-Identifier: GPL-2.0
//! A local disk that cannot read some of its sectors: the target has them, the application sees no error, and the disk is
//! written there anew.

use anyhow::{ensure, Context as _, Result};
use serde_json::Value;
use tests_qemu::{workload::Plan, Cluster, Node, Workload, MIB};

use crate::{
    checksums::{damage_next, Hit, HEADER},
    dice::Dice,
    harness::{case, Case, SOON},
    mirror::{Mirror, QUICK},
    persist::{boot, number, until, DEVICE},
};

pub(crate) const CASES: &[Case] = &[
    case!(what_the_disk_cannot_read_is_read_from_the_target_and_repaired)
        .smoke()
        .debug(),
    case!(a_disk_that_takes_no_repair_is_named_and_reads_go_on),
    case!(what_neither_disk_can_read_is_an_error),
    case!(only_a_target_in_step_is_asked),
    case!(a_target_that_goes_silent_with_a_question_costs_a_timeout),
    case!(a_damaged_answer_is_not_given_to_the_application),
    case!(repairs_race_with_writes_and_nothing_is_lost),
    case!(a_source_that_loses_power_in_its_repairs_loses_nothing),
];

/// The disk of the mirror, with a table that tests change.
const DISK: &str = "/dev/mapper/medium";
/// Sectors of `vdb`.
const SECTORS: u64 = 64 * MIB / 512;
/// The bad sectors, of which some begin within a page.
const BAD: (u64, u64) = (4 * MIB / 512 + 3, 2048);

/// What the bad sectors do.
#[derive(Clone, Copy)]
enum Medium {
    Good,
    /// They cannot be read, but written.
    Unreadable,
    /// They can be neither read nor written.
    Dead,
}

fn table(medium: Medium) -> String {
    let (first, count) = BAD;
    let after = first + count;
    let middle = match medium {
        Medium::Good => format!("linear /dev/vdb {first}"),
        Medium::Unreadable => format!("flakey /dev/vdb {first} 0 3600 1 error_reads"),
        Medium::Dead => "error".to_owned(),
    };
    format!(
        "0 {first} linear /dev/vdb 0\n{first} {count} {middle}\n{after} {} linear /dev/vdb {after}\n",
        SECTORS - after
    )
}

fn make(node: &Node) -> Result<()> {
    node.sh("modprobe dm-mod && modprobe dm-flakey && dmsetup create medium && dmsetup mknodes medium")
        .stdin(table(Medium::Good))
        .ok()?;
    Ok(())
}

/// Has the bad sectors behave otherwise from now on.
fn turn(node: &Node, medium: Medium) -> Result<()> {
    node.sh("dmsetup reload medium && dmsetup suspend medium && dmsetup resume medium")
        .stdin(table(medium))
        .ok()?;
    Ok(())
}

/// A mirror in sync whose disks can be made bad, filled with something.
fn begin(cluster: &Cluster) -> Result<Mirror<'_>> {
    let (source, target) = cluster.pair();
    cluster.on_all(make)?;
    source.sh("head -c 8M /dev/urandom > /dev/mapper/medium; sync").ok()?;
    source
        .ctl(&format!("create data --disk {DISK} --bitmap /dev/vdf {QUICK}"))
        .ok()?;
    target.ctl(&format!("join data --disk {DISK} --yes {QUICK}")).ok()?;
    let mirror = Mirror {
        source,
        target,
        disk: "vdb",
    };
    mirror.extend_with(QUICK)?;
    mirror.wait("fully-operational")?;
    Ok(mirror)
}

fn end(cluster: &Cluster) -> Result<()> {
    cluster.on_all(|node| {
        node.ctl("delete data --force").ok()?;
        node.sh("dmsetup remove medium").ok()?;
        Ok(())
    })
}

/// What the bad sectors should read as.
fn wanted(node: &Node) -> Result<Vec<u8>> {
    node.disk("vdb")?.read(BAD.0 * 512, BAD.1 * 512)
}

/// Reads sectors of the device past the cache, with requests of so many sectors.
fn read(node: &Node, first: u64, count: u64, at_once: u64) -> Result<i32> {
    let script = format!(
        "dd if={DEVICE} of=/tmp/read iflag=direct,skip_bytes,count_bytes bs={} skip={} count={}",
        at_once * 512,
        first * 512,
        count * 512
    );
    Ok(node.sh(&script).run()?.code)
}

/// The whole bad range is read well, in requests of so many sectors, and is what it should be.
fn reads_well(node: &Node, wanted: &[u8], at_once: u64) -> Result<()> {
    let code = read(node, BAD.0, BAD.1, at_once)?;
    ensure!(code == 0, "the bad sectors cannot be read");
    let got = node.read_file("/tmp/read")?;
    ensure!(got == wanted, "other data was read than is on the target");
    Ok(())
}

fn refuses(node: &Node, first: u64, count: u64) -> Result<()> {
    let before = number(node, "read_errors")?;
    ensure!(read(node, first, count, count)? != 0, "what nobody has was read");
    ensure!(number(node, "read_errors")? > before, "the error is not counted");
    Ok(())
}

fn counts(mirror: &Mirror<'_>, name: &str, so: impl Fn(u64) -> bool) -> Result<()> {
    let status: Value = mirror.status()?;
    let count = status[name].as_u64().with_context(|| format!("{name} in {status}"))?;
    ensure!(so(count), "{name} is {count}: {status}");
    Ok(())
}

fn what_the_disk_cannot_read_is_read_from_the_target_and_repaired(cluster: &Cluster) -> Result<()> {
    let mirror = begin(cluster)?;
    let eve = mirror.source;
    let wanted = wanted(mirror.target)?;
    ensure!(wanted == self::wanted(eve)?, "the copies differ");
    counts(&mirror, "read_errors", |count| count == 0)?;
    turn(eve, Medium::Unreadable)?;
    // What a repair changes is to be seen.
    let stale = format!(
        "dd if=/dev/zero of=/dev/vdb bs=512 seek={} count={} oflag=direct conv=notrunc",
        BAD.0, BAD.1
    );
    eve.sh(&stale).ok()?;
    ensure!(self::wanted(eve)?.iter().all(|&byte| byte == 0), "nothing is stale");
    reads_well(eve, &wanted, 2048)?;
    until("the repair", || Ok(number(eve, "repaired_bytes")? >= BAD.1 * 512))?;
    ensure!(self::wanted(eve)? == wanted, "the disk was not repaired");
    counts(&mirror, "read_errors", |count| count > 0)?;
    counts(&mirror, "remote_reads", |count| count > 0)?;
    counts(&mirror, "repair_errors", |count| count == 0)?;
    let log = eve.sh("dmesg").ok()?;
    ensure!(
        log.contains("netraid: mirror data: the disk of this machine can't read ") && log.contains("; adam had them"),
        "{log}"
    );
    let told = eve.ctl("status data").ok()?;
    ensure!(told.contains("Disk: /dev/mapper/medium failed "), "{told}");
    // Small requests, and through the cache, which reads ahead.
    reads_well(eve, &wanted, 4)?;
    eve.sh("echo 3 > /proc/sys/vm/drop_caches").ok()?;
    let all = format!("cmp -n {} {DEVICE} /dev/vdb && sync", 8 * MIB);
    eve.sh(&all).ok()?;
    // More at once than a message carries, good and bad sectors together.
    ensure!(read(eve, 0, 6 * 2048, 3 * 2048)? == 0, "a large read failed");
    ensure!(eve.read_file("/tmp/read")? == eve.disk("vdb")?.read(0, 6 * MIB)?);
    ensure!(mirror.count("connects")? == 1, "{}", mirror.leg()?);
    turn(eve, Medium::Good)?;
    reads_well(eve, &wanted, 2048)?;
    mirror.same_disks()?;
    end(cluster)
}

fn a_disk_that_takes_no_repair_is_named_and_reads_go_on(cluster: &Cluster) -> Result<()> {
    let mirror = begin(cluster)?;
    let eve = mirror.source;
    let wanted = wanted(mirror.target)?;
    eve.ctl("set data on-io-error pass-on").ok()?;
    turn(eve, Medium::Dead)?;
    reads_well(eve, &wanted, 2048)?;
    reads_well(eve, &wanted, 8)?;
    until("the repairs to fail", || {
        Ok(number(eve, "repair_errors")? >= number(eve, "remote_reads")?)
    })?;
    counts(&mirror, "repaired_bytes", |count| count == 0)?;
    let told = eve.ctl("status data").ok()?;
    ensure!(told.contains("Next: replace /dev/mapper/medium"), "{told}");
    let log = eve.sh("dmesg").ok()?;
    ensure!(
        log.contains("netraid: mirror data: the disk of this machine can't be repaired"),
        "{log}"
    );
    mirror.wait("fully-operational")?;
    turn(eve, Medium::Good)?;
    reads_well(eve, &wanted, 2048)?;
    mirror.same_disks()?;
    end(cluster)
}

fn what_neither_disk_can_read_is_an_error(cluster: &Cluster) -> Result<()> {
    let mirror = begin(cluster)?;
    let (eve, adam) = cluster.pair();
    let wanted = wanted(adam)?;
    turn(eve, Medium::Unreadable)?;
    turn(adam, Medium::Dead)?;
    refuses(eve, BAD.0, 8)?;
    counts(&mirror, "remote_reads", |count| count == 0)?;
    // A target that cannot read is a target all the same.
    ensure!(mirror.count("connects")? == 1, "{}", mirror.leg()?);
    mirror.wait("fully-operational")?;
    turn(adam, Medium::Good)?;
    reads_well(eve, &wanted, 256)?;
    turn(eve, Medium::Good)?;
    mirror.same_disks()?;
    end(cluster)
}

fn only_a_target_in_step_is_asked(cluster: &Cluster) -> Result<()> {
    let mirror = begin(cluster)?;
    let (eve, adam) = cluster.pair();
    let wanted = wanted(adam)?;
    turn(eve, Medium::Unreadable)?;
    eve.ctl("pause data").ok()?;
    mirror.wait("paused")?;
    refuses(eve, BAD.0, 8)?;
    eve.ctl("resume data").ok()?;
    mirror.wait("fully-operational")?;
    reads_well(eve, &wanted, 64)?;
    cluster.cut(eve, adam);
    mirror.wait("out-of-sync")?;
    refuses(eve, BAD.0, 8)?;
    cluster.restore_links();
    mirror.wait("fully-operational")?;
    reads_well(eve, &wanted, 64)?;
    eve.ctl("unextend data").ok()?;
    refuses(eve, BAD.0, 8)?;
    turn(eve, Medium::Good)?;
    end(cluster)
}

fn a_target_that_goes_silent_with_a_question_costs_a_timeout(cluster: &Cluster) -> Result<()> {
    let mirror = begin(cluster)?;
    let (eve, adam) = cluster.pair();
    let wanted = wanted(adam)?;
    turn(eve, Medium::Unreadable)?;
    adam.freeze()?;
    refuses(eve, BAD.0, 8)?;
    counts(&mirror, "remote_reads", |count| count == 0)?;
    adam.thaw()?;
    mirror.wait("fully-operational")?;
    // A question marks nothing as different.
    ensure!(mirror.count("dirty_chunks")? == 0, "{}", mirror.leg()?);
    reads_well(eve, &wanted, 64)?;
    turn(eve, Medium::Good)?;
    mirror.same_disks()?;
    end(cluster)
}

fn a_damaged_answer_is_not_given_to_the_application(cluster: &Cluster) -> Result<()> {
    const READ_REPLY: u8 = 19;
    let mirror = begin(cluster)?;
    let (eve, adam) = cluster.pair();
    let wanted = wanted(adam)?;
    let mut here = eve.events()?;
    turn(eve, Medium::Unreadable)?;
    let way = cluster.network().way(1, 0);
    let before = way.traffic();
    damage_next(
        way,
        Hit {
            kind: READ_REPLY,
            resync: false,
            at: HEADER + 1000,
        },
    );
    refuses(eve, BAD.0, 8)?;
    ensure!(way.traffic().altered == before.altered + 1, "nothing was damaged");
    here.wait_for_reason(
        &[
            "the connection to adam was lost: data was damaged on its way",
            "of kind ReadReply at offset",
        ],
        SOON,
    )?;
    counts(&mirror, "remote_reads", |count| count == 0)?;
    counts(&mirror, "repaired_bytes", |count| count == 0)?;
    mirror.wait("fully-operational")?;
    reads_well(eve, &wanted, 64)?;
    turn(eve, Medium::Good)?;
    mirror.same_disks()?;
    end(cluster)
}

/// Reads the bad sectors and those around them for so many seconds, at random; ends with an error if a read fails.
fn readers(seed: u64, seconds: u64) -> String {
    format!(
        "fio --name=r --filename={DEVICE} --direct=1 --rw=randread --bsrange=4k-64k --offset={} --size={} \
         --ioengine=libaio --iodepth=8 --time_based --runtime={seconds} --randseed={seed} --minimal",
        2 * MIB,
        4 * MIB
    )
}

fn repairs_race_with_writes_and_nothing_is_lost(cluster: &Cluster) -> Result<()> {
    let mirror = begin(cluster)?;
    let eve = mirror.source;
    let mut dice = Dice::new()?;
    turn(eve, Medium::Unreadable)?;
    // All writes go to the bad sectors and their neighbours.
    let plan = Plan::new(501, 512).first(900).threads(8);
    let mut workload = Workload::start(eve, DEVICE, plan)?;
    let mut reading = eve.sh(&readers(dice.between(1, 1 << 20), 15)).spawn()?;
    workload.more(200, 2 * SOON)?;
    let (code, lines) = reading.wait(4 * SOON)?;
    ensure!(code == 0, "a read failed: {lines:?}");
    println!("{} reads were served by the target", number(eve, "remote_reads")?);
    counts(&mirror, "remote_reads", |count| count > 50)?;
    workload.more(50, 2 * SOON)?;
    workload.stop()?;
    until("the last repair", || {
        Ok(number(eve, "repaired_bytes")? > 0 && mirror.count("in_flight")? == 0)
    })?;
    counts(&mirror, "repair_errors", |count| count == 0)?;
    ensure!(mirror.count("connects")? == 1, "{}", mirror.leg()?);
    let verdict = workload.judge_device(eve, DEVICE)?;
    ensure!(verdict.good(), "{verdict:?}");
    turn(eve, Medium::Good)?;
    mirror.same_disks()?;
    for node in [eve, mirror.target] {
        let verdict = workload.judge_disk(node.disk("vdb")?)?;
        ensure!(verdict.good(), "{}: {verdict:?}", node.name());
    }
    end(cluster)
}

fn a_source_that_loses_power_in_its_repairs_loses_nothing(cluster: &Cluster) -> Result<()> {
    let mirror = begin(cluster)?;
    let eve = mirror.source;
    let mut dice = Dice::new()?;
    for round in 0..3 {
        turn(eve, Medium::Unreadable)?;
        let plan = Plan::new(510 + round, 512).first(900).threads(8);
        let workload = Workload::start(eve, DEVICE, plan)?;
        let reading = eve.sh(&readers(dice.between(1, 1 << 20), 600)).spawn()?;
        let served = number(eve, "remote_reads")?;
        until("reads", || Ok(number(eve, "remote_reads")? > served + 10))?;
        workload.more(dice.between(20, 200), 2 * SOON)?;
        eve.kill9()?;
        drop(reading);
        boot(eve)?;
        make(eve)?;
        eve.ctl("up --all").ok()?;
        mirror.wait("fully-operational")?;
        mirror.same_disks()?;
        for node in [eve, mirror.target] {
            let verdict = workload.judge_disk(node.disk("vdb")?)?;
            ensure!(verdict.lost.is_empty(), "{} lost {:?}", node.name(), verdict.lost);
        }
    }
    end(cluster)
}
