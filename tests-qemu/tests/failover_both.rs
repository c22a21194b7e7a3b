// SPDX-License-Identifier: GPL-2.0
//! Both machines die, and one of them is back first.

use anyhow::{ensure, Result};
use tests_qemu::{workload::Plan, Chunks, Cluster, Node, Workload};

use crate::{
    harness::{case, Case, SOON},
    mirror::{refused, status, Mirror},
    persist::{
        self, boot, bytes_of, chunks, comes_back, copied, cut_power, differing, flag, metadata, stands, up,
        write_chunks, DEVICE,
    },
};

pub(crate) const CASES: &[Case] = &[
    case!(the_source_alone_is_not_brought_in_service_until_it_is_forced).smoke(),
    case!(a_source_without_an_answer_remembers_that_until_its_target_is_back),
    case!(the_target_alone_waits_for_the_source),
    case!(both_back_at_the_same_time_go_on_as_they_were),
    case!(after_a_failover_the_newer_one_of_two_last_sources_leads),
    case!(force_needs_to_be_meant),
    case!(force_is_refused_while_the_other_one_is_in_service),
];

/// Both machines lose power while the source writes; the chunks that differ, and those that are marked.
fn both_die(cluster: &Cluster, mirror: &Mirror<'_>, seed: u64) -> Result<(Workload, Chunks, Chunks)> {
    let workload = Workload::start(mirror.source, DEVICE, Plan::new(seed, 4096))?;
    workload.more(120, SOON)?;
    cut_power(cluster)?;
    let marked = metadata(mirror.source)?.after_crash();
    let differ = differing(mirror)?;
    ensure!(differ.is_subset(&marked), "{differ:?} are not all in {marked:?}");
    Ok((workload, differ, marked))
}

/// The machine is back, nobody answers it, and it does not go into service.
fn waits(node: &Node) -> Result<()> {
    let output = up(node)?;
    ensure!(output.code == 2, "{output:?}");
    ensure!(
        output.stderr.contains("data") && output.stderr.contains("force"),
        "{output:?}"
    );
    node.sh("test ! -e /dev/netraid0").ok()?;
    ensure!(
        flag(node, "data_corrupt")? && flag(node, "last_owner")?,
        "{}",
        status(node, "data")?
    );
    Ok(())
}

/// Scenario 3 of the manual, to its end.
///
/// Covers: S84, S92, S93, S94, S102.
fn the_source_alone_is_not_brought_in_service_until_it_is_forced(cluster: &Cluster) -> Result<()> {
    let mirror = persist::mapped(cluster)?;
    let (eve, adam) = cluster.pair();
    let (workload, differ, marked) = both_die(cluster, &mirror, 92)?;
    boot(eve)?;
    waits(eve)?;
    let shown = eve.ctl("status data --detail").ok()?;
    ensure!(shown.contains("corrupt") && shown.contains("owner"), "{shown}");
    // Asking again does not help, nor does a reboot.
    refused(eve, "start data", &["data", "force"])?;
    eve.sh("netraid-ctl down --all; rmmod netraid").ok()?;
    eve.insmod()?;
    waits(eve)?;
    // Nobody there to ask, and nobody meant it.
    ensure!(eve.ctl("force data").run()?.code != 0);
    waits(eve)?;
    eve.ctl("force data --yes").ok()?;
    stands(eve, "source", &["last_owner"])?;
    let verdict = workload.judge_device(eve, DEVICE)?;
    ensure!(verdict.good(), "{verdict:?}");
    write_chunks(eve, &[1000, 1001])?;
    let all = &marked | &chunks(&[1000, 1001]);
    ensure!(
        metadata(eve)?.after_crash() == all,
        "{:?}",
        metadata(eve)?.after_crash()
    );
    comes_back(adam)?;
    // What is only marked is compared.
    copied(&mirror, 0, bytes_of(&(&differ | &chunks(&[1000, 1001]))))?;
    stands(adam, "target", &[])
}

/// Covers: S83, S92.
fn a_source_without_an_answer_remembers_that_until_its_target_is_back(cluster: &Cluster) -> Result<()> {
    let mirror = persist::mapped(cluster)?;
    let (eve, adam) = cluster.pair();
    let (_, differ, _) = both_die(cluster, &mirror, 83)?;
    boot(eve)?;
    waits(eve)?;
    comes_back(adam)?;
    // Now there is somebody to ask, and nothing has to be forced.
    eve.ctl("start data").ok()?;
    stands(eve, "source", &["last_owner"])?;
    copied(&mirror, 0, bytes_of(&differ))
}

/// Scenario 4 of the manual.
///
/// Covers: S83, S95.
fn the_target_alone_waits_for_the_source(cluster: &Cluster) -> Result<()> {
    let mirror = persist::mapped(cluster)?;
    let (eve, adam) = cluster.pair();
    let (workload, differ, _) = both_die(cluster, &mirror, 95)?;
    comes_back(adam)?;
    stands(adam, "target", &[])?;
    adam.sh("test ! -e /dev/netraid0").ok()?;
    for command in ["start data", "promote data"] {
        refused(adam, command, &["can't be asked", "force"])?;
    }
    stands(adam, "target", &[])?;
    comes_back(eve)?;
    stands(eve, "source", &["last_owner"])?;
    copied(&mirror, 0, bytes_of(&differ))?;
    for node in [eve, adam] {
        let verdict = workload.judge_disk(node.disk("vdb")?)?;
        ensure!(verdict.good(), "{}: {verdict:?}", node.name());
    }
    Ok(())
}

/// Covers: S83.
fn both_back_at_the_same_time_go_on_as_they_were(cluster: &Cluster) -> Result<()> {
    let mirror = persist::mapped(cluster)?;
    let (eve, adam) = cluster.pair();
    let (_, differ, _) = both_die(cluster, &mirror, 84)?;
    cluster.on_all(boot)?;
    // The source may ask before the target is there; then it is asked once more.
    let mut jobs = [eve.ctl("up --all").spawn()?, adam.ctl("up --all").spawn()?];
    let codes = [jobs[0].wait(SOON)?, jobs[1].wait(SOON)?];
    ensure!(codes[1].0 == 0, "{codes:?}");
    if codes[0].0 != 0 {
        eve.ctl("up --all").ok()?;
    }
    stands(eve, "source", &["last_owner"])?;
    copied(&mirror, 0, bytes_of(&differ))
}

/// Each was the source when it died, and only one of them is right; who is back first does not matter.
///
/// Covers: S83, S89, S90.
fn after_a_failover_the_newer_one_of_two_last_sources_leads(cluster: &Cluster) -> Result<()> {
    let mirror = persist::mapped(cluster)?;
    let (eve, adam) = cluster.pair();
    eve.kill9()?;
    adam.ctl("promote data").ok()?;
    write_chunks(adam, &[5, 6])?;
    adam.kill9()?;
    let union = &metadata(eve)?.after_crash() | &metadata(adam)?.after_crash();
    cluster.on_all(boot)?;
    for node in [eve, adam] {
        ensure!(up(node)?.code == 0 || flag(node, "last_owner")?, "{}", node.name());
    }
    // The first one had nobody to ask yet; it is asked now, or asks again.
    persist::until("the newer one to lead", || {
        up(adam)?;
        up(eve)?;
        Ok(status(adam, "data")?["role"] == "source")
    })?;
    let back = persist::turned(&mirror);
    copied(&back, 0, bytes_of(&union))?;
    stands(adam, "source", &["last_owner"])?;
    stands(eve, "target", &[])
}

/// Covers: S94.
fn force_needs_to_be_meant(cluster: &Cluster) -> Result<()> {
    let mirror = persist::persistent(cluster)?;
    let (eve, adam) = cluster.pair();
    write_chunks(eve, &[1])?;
    cut_power(cluster)?;
    comes_back(adam)?;
    // This one was never the source.
    refused(adam, "force data --yes", &["data", "--override"])?;
    stands(adam, "target", &[])?;
    adam.ctl("force data --yes --override").ok()?;
    stands(adam, "source", &["last_owner"])?;
    write_chunks(adam, &[2])?;
    // The old source finds out and gives way.
    comes_back(eve)?;
    let back = persist::turned(&mirror);
    back.wait("fully-operational")?;
    stands(eve, "target", &[])?;
    back.same_disks()
}

/// Covers: S96.
fn force_is_refused_while_the_other_one_is_in_service(cluster: &Cluster) -> Result<()> {
    let mirror = persist::persistent(cluster)?;
    let (eve, adam) = cluster.pair();
    refused(adam, "force data --yes", &["data"])?;
    stands(adam, "target", &[])?;
    mirror.wait("fully-operational")?;
    eve.kill9()?;
    adam.ctl("promote data").ok()?;
    boot(eve)?;
    // Loaded, not in service, and the other one is.
    let output = eve.ctl("force data --yes").exits(2)?;
    ensure!(output.stderr.contains("adam"), "{output:?}");
    eve.sh("test ! -e /dev/netraid0").ok()?;
    eve.ctl("up --all").ok()?;
    let back = persist::turned(&mirror);
    back.wait("fully-operational")?;
    stands(eve, "target", &[])?;
    back.same_disks()
}
