// SPDX-License-Identifier: GPL-2.0
//! A mirror that is called otherwise on the target: for two sources that chose the same name, and for both copies on one
//! machine.

use anyhow::{ensure, Context as _, Result};
use serde_json::Value;
use tests_qemu::{workload::Plan, Cluster, Node, Workload};

use crate::{
    harness::{case, Case, SOON},
    mirror::{refused, status, QUICK},
    persist::{boot, reload, until, until_within, CHUNK, DEVICE, SIZE},
    several::QUARTER,
};

pub(crate) const CASES: &[Case] = &[
    case!(a_target_may_call_the_mirror_otherwise).smoke(),
    case!(two_sources_with_one_name_share_a_target_machine).three(),
    case!(both_copies_may_be_on_one_machine),
    case!(a_copy_on_one_machine_has_to_be_meant),
];

fn in_step(node: &Node, name: &str) -> Result<()> {
    node.ctl(&format!("wait {name} --for fully-operational --timeout 60"))
        .ok()?;
    Ok(())
}

/// Waits until the network leg of a source says all of this.
fn says(node: &Node, name: &str, parts: &[&str]) -> Result<()> {
    until_within(2 * SOON, "the reason", || {
        let leg = &status(node, name)?["legs"][1];
        let reason = leg["reason"].as_str().unwrap_or_default();
        Ok(parts.iter().all(|part| reason.contains(part)))
    })
    .with_context(|| format!("{:?}", status(node, name)))
}

fn role(node: &Node, name: &str) -> Result<Value> {
    Ok(status(node, name)?["role"].clone())
}

fn same(one: (&Node, &str), other: (&Node, &str)) -> Result<()> {
    let (disk, there) = (one.0.disk(one.1)?, other.0.disk(other.1)?);
    let differ = disk.differences(there, disk.size(), CHUNK)?;
    ensure!(differ.is_empty(), "these chunks differ: {differ:?}");
    Ok(())
}

/// Writes to a quarter of the device of its own.
fn some_writes(node: &Node, device: &str, seed: u64) -> Result<Workload> {
    let plan = Plan::new(seed, QUARTER).first(seed % 4 * QUARTER);
    let mut workload = Workload::start(node, device, plan.count(200))?;
    let run = workload.finish(SOON)?;
    ensure!(run.errors.is_empty() && run.writes == 200, "{run:?}");
    Ok(workload)
}

/// The name elsewhere is kept over a reload, shown, and used when the target has become the source.
fn a_target_may_call_the_mirror_otherwise(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    eve.ctl(&format!("create data --disk /dev/vdb {QUICK}")).ok()?;
    refused_usage(adam, "join copy --of a/b --disk /dev/vdb --yes", "`/` is none of them")?;
    let told = adam
        .ctl(&format!("join copy --of data --disk /dev/vdb --yes {QUICK}"))
        .ok()?;
    ensure!(told.contains("`netraid-ctl extend data --to ADDR`"), "{told}");
    eve.ctl(&format!("extend data --to {} --yes --wait {QUICK}", adam.ip()))
        .ok()?;
    let workload = some_writes(eve, DEVICE, 801)?;
    same((eve, "vdb"), (adam, "vdb"))?;
    let named = || -> Result<()> {
        ensure!(status(adam, "copy")?["source_name"] == "data");
        ensure!(status(eve, "data")?["source_name"].is_null());
        let told = adam.ctl("status copy").ok()?;
        ensure!(told.contains("\nName elsewhere: data\n"), "{told}");
        Ok(())
    };
    named()?;
    reload(adam)?;
    in_step(eve, "data")?;
    named()?;
    let told = adam.ctl("bitmap -X /var/lib/netraid/bitmap_copy").ok()?;
    ensure!(told.contains("\tMirror: copy\n\tName Elsewhere: data\n"), "{told}");

    eve.kill9()?;
    adam.ctl("promote copy").ok()?;
    let more = some_writes(adam, DEVICE, 802)?;
    boot(eve)?;
    eve.ctl("up --all").ok()?;
    in_step(adam, "copy")?;
    ensure!(role(eve, "data")? == "target" && role(adam, "copy")? == "source");
    for written in [&workload, &more] {
        ensure!(written.judge_disk(eve.disk("vdb")?)?.lost.is_empty());
    }
    same((adam, "vdb"), (eve, "vdb"))?;
    eve.ctl("switchover data").ok()?;
    in_step(eve, "data")?;
    ensure!(role(eve, "data")? == "source" && role(adam, "copy")? == "target");
    named()
}

fn refused_usage(node: &Node, arguments: &str, part: &str) -> Result<()> {
    let output = node.ctl(arguments).exits(1)?;
    ensure!(output.stderr.contains(part), "{}", output.stderr);
    Ok(())
}

/// Covers: S105.
fn two_sources_with_one_name_share_a_target_machine(cluster: &Cluster) -> Result<()> {
    let [eve, adam, abel] = cluster.nodes() else {
        unreachable!("three machines")
    };
    for source in [eve, adam] {
        source.ctl(&format!("create data --disk /dev/vdb {QUICK}")).ok()?;
    }
    let join = |name: &str, disk: &str| {
        abel.ctl(&format!("join {name} --of data --disk /dev/{disk} --yes {QUICK}"))
            .ok()
    };
    join("from-eve", "vdb")?;
    join("from-adam", "vdc")?;
    refused(
        abel,
        "join from-eve --of other --disk /dev/vde --yes",
        &["there is a mirror 'from-eve' on this machine already"],
    )?;
    let extend = |source: &Node| {
        source
            .ctl(&format!("extend data --to {} --yes {QUICK}", abel.ip()))
            .ok()
    };
    // Nobody guesses whose disk is whose.
    extend(eve)?;
    says(
        eve,
        "data",
        &["two mirrors on abel", "from-eve", "from-adam", "--listen"],
    )?;
    ensure!(status(abel, "from-eve")?["uuid"].is_null() && status(abel, "from-adam")?["uuid"].is_null());
    abel.ctl("delete from-adam").ok()?;
    in_step(eve, "data")?;
    // The first one is known now, the second is the only one left.
    join("from-adam", "vdc")?;
    extend(adam)?;
    in_step(adam, "data")?;
    let mine = some_writes(eve, DEVICE, 803)?;
    let theirs = some_writes(adam, DEVICE, 804)?;
    let apart = || -> Result<()> {
        for (source, name, disk) in [(eve, "from-eve", "vdb"), (adam, "from-adam", "vdc")] {
            ensure!(status(source, "data")?["uuid"] == status(abel, name)?["uuid"]);
            ensure!(status(abel, name)?["legs"][1]["peer_name"] == source.name());
            same((source, "vdb"), (abel, disk))?;
        }
        Ok(())
    };
    apart()?;
    reload(abel)?;
    in_step(eve, "data")?;
    in_step(adam, "data")?;
    apart()?;
    ensure!(mine.judge_disk(abel.disk("vdb")?)?.good() && theirs.judge_disk(abel.disk("vdc")?)?.good());
    // A third one of that name finds both taken.
    eve.ctl("create more --disk /dev/vdc").ok()?;
    abel.ctl("join more --of data --disk /dev/vde --yes").ok()?;
    eve.ctl(&format!("extend more --to {} --yes", abel.ip())).ok()?;
    says(eve, "more", &["no mirror more listens on abel"])
}

/// The roles go to and fro, in order and after the loss of one side, as on two machines.
fn both_copies_may_be_on_one_machine(cluster: &Cluster) -> Result<()> {
    let (eve, _) = cluster.pair();
    eve.ctl(&format!("create data --disk /dev/vdb {QUICK}")).ok()?;
    let output = eve
        .ctl(&format!(
            "join copy --of data --same-machine --disk /dev/vdc --yes {QUICK}"
        ))
        .exits(0)?;
    ensure!(output.stderr.contains("may wait for itself"), "{}", output.stderr);
    // At the same port: the source itself listens there, too.
    eve.ctl(&format!("extend data --to 127.0.0.1 --yes --wait {QUICK}"))
        .ok()?;
    let workload = some_writes(eve, DEVICE, 805)?;
    same((eve, "vdb"), (eve, "vdc"))?;
    ensure!(status(eve, "copy")?["same_machine"] == true && status(eve, "data")?["same_machine"] == true);
    ensure!(workload.judge_disk(eve.disk("vdc")?)?.good());

    eve.ctl("switchover copy").ok()?;
    in_step(eve, "copy")?;
    ensure!(role(eve, "data")? == "target" && role(eve, "copy")? == "source");
    ensure!(workload.judge_device(eve, "/dev/netraid1")?.good());
    let more = some_writes(eve, "/dev/netraid1", 806)?;
    same((eve, "vdb"), (eve, "vdc"))?;

    eve.ctl("down copy").ok()?;
    eve.ctl("promote data").ok()?;
    ensure!(more.judge_device(eve, DEVICE)?.good());
    some_writes(eve, DEVICE, 807)?;
    eve.ctl("up copy").ok()?;
    in_step(eve, "data")?;
    ensure!(role(eve, "data")? == "source" && role(eve, "copy")? == "target");
    same((eve, "vdb"), (eve, "vdc"))?;
    reload(eve)?;
    in_step(eve, "data")?;
    ensure!(role(eve, "data")? == "source" && role(eve, "copy")? == "target");
    same((eve, "vdb"), (eve, "vdc"))
}

/// Without the permission nothing is overwritten; a source that calls nobody but itself is told so.
fn a_copy_on_one_machine_has_to_be_meant(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    eve.ctl(&format!("create data --disk /dev/vdb {QUICK}")).ok()?;
    eve.sh("dd if=/dev/urandom of=/dev/vdc bs=1M count=4 oflag=direct status=none")
        .ok()?;
    let before = eve.disk("vdc")?.sha256(SIZE)?;
    eve.ctl(&format!("extend data --to 127.0.0.1 --yes {QUICK}")).ok()?;
    says(eve, "data", &["no mirror data listens on eve"])?;
    eve.ctl(&format!("join copy --of data --disk /dev/vdc --yes {QUICK}"))
        .ok()?;
    says(eve, "data", &["same machine id", "--same-machine"])?;
    ensure!(status(eve, "copy")?["uuid"].is_null());
    ensure!(eve.disk("vdc")?.sha256(SIZE)? == before, "the disk was written to");
    // The same where the machine is not the same, but a clone.
    eve.ctl("unextend data").ok()?;
    eve.ctl("delete copy").ok()?;
    let read = |node: &Node| anyhow::Ok(node.sh("cat /etc/machine-id").ok()?.trim().to_owned());
    let (id, own) = (read(eve)?, read(adam)?);
    adam.sh(&format!("echo {id} > /etc/machine-id")).ok()?;
    adam.ctl(&format!("join data --disk /dev/vdb --yes {QUICK}")).ok()?;
    eve.ctl(&format!("extend data --to {} --yes {QUICK}", adam.ip())).ok()?;
    says(eve, "data", &["same machine id", "a clone of the other"])?;
    until("the target to log it", || {
        Ok(adam.sh("dmesg").ok()?.contains("same machine id"))
    })?;
    // The machine is used for other tests, too.
    adam.sh(&format!("echo {own} > /etc/machine-id")).ok()?;
    Ok(())
}
