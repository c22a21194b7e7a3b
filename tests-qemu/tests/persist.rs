// SPDX-License-Identifier: GPL-2.0
//! What tests of mirrors that outlive their machines begin with.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{ensure, Context as _, Result};
use nix::poll::{poll, PollTimeout};
use serde_json::Value;
use tests_qemu::{patience::scaled, Chunks, Cluster, Metadata, Node, Output};

use crate::{
    harness::SOON,
    mirror::{status, Mirror, QUICK},
};

/// Bytes that one bit of the maps stands for where nothing else is asked for.
pub(crate) const CHUNK: u64 = 65536;
/// Bytes of `vdb`.
pub(crate) const SIZE: u64 = 64 << 20;
/// The block device of the mirror.
pub(crate) const DEVICE: &str = "/dev/netraid0";
/// Options of `create` and `join` that keep the metadata where the host can read it.
pub(crate) const MAPPED: &str = "--bitmap /dev/vdf";

/// A mirror in sync with its metadata where `netraid-ctl` puts it.
pub(crate) fn persistent(cluster: &Cluster) -> Result<Mirror<'_>> {
    in_sync(cluster, "")
}

/// A mirror in sync with its metadata on a disk that the host can read, and nothing marked there.
pub(crate) fn mapped(cluster: &Cluster) -> Result<Mirror<'_>> {
    let mirror = in_sync(cluster, MAPPED)?;
    settled(mirror.source)?;
    Ok(mirror)
}

/// Waits until nothing is marked on the metadata disk: what was copied or written is durable on both sides.
pub(crate) fn settled(node: &Node) -> Result<()> {
    until("the marks to go", || Ok(metadata(node)?.after_crash().is_empty()))
}

/// A mirror in sync, made with these options on both machines, which notices the loss of its link after a second.
pub(crate) fn in_sync<'a>(cluster: &'a Cluster, options: &str) -> Result<Mirror<'a>> {
    let (source, target) = cluster.pair();
    let options = format!("{options} {QUICK}");
    let mirror = Mirror::create_on(source, target, "vdb", &options, &options)?;
    mirror.extend_with(QUICK)?;
    mirror.wait("fully-operational")?;
    Ok(mirror)
}

/// The same mirror with the roles swapped.
pub(crate) fn turned<'a>(mirror: &Mirror<'a>) -> Mirror<'a> {
    Mirror {
        source: mirror.target,
        target: mirror.source,
        disk: mirror.disk,
    }
}

/// Switches a machine on and loads the module.
pub(crate) fn boot(node: &Node) -> Result<()> {
    node.boot()?;
    node.insmod()
}

/// Brings up what a machine had, as is done when it has booted; the outcome may be a refusal.
#[track_caller]
pub(crate) fn up(node: &Node) -> Result<Output> {
    let output = node.ctl("up --all").run()?;
    ensure!(
        !output.timed_out && [0, 2].contains(&output.code),
        "{}: {output:?}",
        node.name()
    );
    Ok(output)
}

/// Switches a machine on; its mirrors must come into service.
#[track_caller]
pub(crate) fn comes_back(node: &Node) -> Result<()> {
    boot(node)?;
    node.ctl("up --all").ok()?;
    Ok(())
}

/// Takes the module and its mirrors down and up again, as a reboot in order does, only quicker.
pub(crate) fn reload(node: &Node) -> Result<()> {
    node.sh("netraid-ctl down --all && rmmod netraid").ok()?;
    node.insmod()?;
    node.ctl("up --all").ok()?;
    Ok(())
}

/// Both machines lose power at the same time.
pub(crate) fn cut_power(cluster: &Cluster) -> Result<()> {
    cluster.on_all(Node::kill9)
}

/// What is on the metadata disk of a machine.
pub(crate) fn metadata(node: &Node) -> Result<Metadata> {
    Metadata::read(node.disk("vdf")?).with_context(|| format!("metadata of {}", node.name()))
}

/// Writes other data to one sector in the middle of each of these chunks.
#[track_caller]
pub(crate) fn write_chunks(node: &Node, chunks: &[u64]) -> Result<()> {
    let words: Vec<_> = chunks.iter().map(u64::to_string).collect();
    node.sh(&format!("netraid-guest scatter {DEVICE} {}", words.join(" ")))
        .ok()?;
    Ok(())
}

/// Chunks in which the disks of the two machines differ.
pub(crate) fn differing(mirror: &Mirror<'_>) -> Result<Chunks> {
    let (one, other) = (mirror.source.disk(mirror.disk)?, mirror.target.disk(mirror.disk)?);
    Ok(one.differences(other, one.size(), CHUNK)?.into_iter().collect())
}

/// These chunks as a set.
pub(crate) fn chunks(numbers: &[u64]) -> Chunks {
    numbers.iter().copied().collect()
}

/// Bytes of chunks, all of them whole.
pub(crate) fn bytes_of(chunks: &BTreeSet<u64>) -> u64 {
    chunks.len() as u64 * CHUNK
}

/// Waits until both copies are the same, and checks that so many bytes were copied since `before`, on a leg that
/// has copied that much before.
#[track_caller]
pub(crate) fn copied(mirror: &Mirror<'_>, before: u64, bytes: u64) -> Result<()> {
    mirror.wait("fully-operational")?;
    let leg = mirror.leg()?;
    let copied = leg["resynced_bytes"].as_u64().context("resynced_bytes")?;
    ensure!(
        copied - before == bytes,
        "{} chunks were copied, not {}: {leg}",
        (copied - before) / CHUNK,
        bytes / CHUNK
    );
    let full = bytes == SIZE;
    ensure!(leg["resync_full"] == full || bytes == 0, "full was to be {full}: {leg}");
    ensure!(leg["dirty_chunks"] == 0, "{leg}");
    mirror.same_disks()
}

/// A machine has this role, and exactly these of its lasting flags.
#[track_caller]
pub(crate) fn stands(node: &Node, role: &str, flags: &[&str]) -> Result<()> {
    let state = status(node, "data")?;
    ensure!(state["role"] == role, "{} was to be {role}: {state}", node.name());
    for flag in ["last_owner", "data_corrupt", "inconsistent", "split_brain", "yielded"] {
        ensure!(
            state[flag] == flags.contains(&flag),
            "{flag} on {} (expected {flags:?}): {state}",
            node.name()
        );
    }
    Ok(())
}

/// Whether a flag of a mirror is set.
pub(crate) fn flag(node: &Node, name: &str) -> Result<bool> {
    let state = status(node, "data")?;
    state[name].as_bool().with_context(|| format!("{name} in {state}"))
}

/// A number of a mirror.
pub(crate) fn number(node: &Node, name: &str) -> Result<u64> {
    let state: Value = status(node, "data")?;
    state[name].as_u64().with_context(|| format!("{name} in {state}"))
}

/// Asks again and again until it is so.
///
/// # Errors
///
/// When it is not so soon.
pub(crate) fn until(what: &str, so: impl FnMut() -> Result<bool>) -> Result<()> {
    until_within(SOON, what, so)
}

/// How long nobody looks whether what is waited for has come: the longer it has not, the longer.
const OFTEN: Duration = Duration::from_millis(20);
const RARELY: Duration = Duration::from_millis(300);

/// The same for something that takes longer: a resync, while others go on.
///
/// # Errors
///
/// When it is not so within that time.
pub(crate) fn until_within(limit: Duration, what: &str, mut so: impl FnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !so()? {
        let waited = began.elapsed();
        ensure!(waited < scaled(limit), "waited {limit:?} for {what}");
        // What is waited for happens in machines, which need the processor meanwhile: a look costs them as much as some of
        // their work.
        let pause = (waited / 4).clamp(OFTEN, RARELY);
        poll(&mut [], PollTimeout::try_from(pause)?)?;
    }
    Ok(())
}
