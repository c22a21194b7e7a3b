// SPDX-License-Identifier: GPL-2.0
//! What an operator does, while or between operations.

use anyhow::{ensure, Result};
use tests_qemu::patience::scaled;
use tests_qemu::Node;

use super::super::dice::Dice;
use super::super::pair::{Pair, CHUNKS, DEVICE, LIMIT};

/// Writes to some chunks of the device of a paused target; that is put back on resuming.
pub(super) fn scribble(target: &Node, dice: &mut Dice) -> Result<()> {
    let chunks: Vec<_> = (0..dice.of(0..6)).map(|_| dice.of(0..CHUNKS).to_string()).collect();
    target
        .sh(&format!("netraid-guest scatter {DEVICE} {}", chunks.join(" ")))
        .ok()?;
    Ok(())
}

/// Ends a pause.
pub(super) fn resume(pair: &Pair<'_>) -> Result<()> {
    let seconds = scaled(LIMIT).as_secs();
    pair.source()
        .ctl(&format!("resume data --timeout {seconds}"))
        .timeout(LIMIT + LIMIT)
        .ok()?;
    Ok(())
}

pub(super) fn pause(pair: &mut Pair<'_>, dice: &mut Dice) -> Result<String> {
    let source = pair.source();
    source.ctl("pause data").ok()?;
    pair.load(dice.some(0..40))?;
    scribble(pair.target(), dice)?;
    let cut = dice.once_in(3);
    if cut {
        pair.cut();
        pair.wait(source, "disconnected")?;
        pair.load(dice.some(0..20))?;
        pair.cluster.restore_links();
        pair.wait(source, "connected")?;
    }
    pair.load(dice.some(0..20))?;
    resume(pair)?;
    Ok(format!(
        "with writes on both sides{}",
        if cut { " and a cut link" } else { "" }
    ))
}

pub(super) fn switchover(pair: &mut Pair<'_>) -> Result<String> {
    pair.operational()?;
    pair.halt()?;
    pair.operational()?;
    let seconds = scaled(LIMIT).as_secs();
    pair.target()
        .ctl(&format!("switchover data --timeout {seconds}"))
        .timeout(LIMIT + LIMIT)
        .ok()?;
    pair.turn();
    Ok(format!("{} leads", pair.source().name()))
}

/// Out of service, and into service on the same machine or on the other one.
pub(super) fn stop_start(pair: &mut Pair<'_>, dice: &mut Dice) -> Result<String> {
    pair.operational()?;
    pair.halt()?;
    pair.operational()?;
    let (source, target) = (pair.source(), pair.target());
    source.ctl("stop data").ok()?;
    if dice.once_in(2) {
        source.ctl("start data").timeout(LIMIT).ok()?;
        pair.new_leg();
        return Ok("on the same machine".to_owned());
    }
    target.ctl("start data").timeout(LIMIT).ok()?;
    pair.turn();
    pair.load(dice.some(1..20))?;
    source.ctl("up data").timeout(LIMIT).ok()?;
    Ok("on the other machine".to_owned())
}

pub(super) fn stop_force(pair: &mut Pair<'_>, dice: &mut Dice) -> Result<String> {
    let source = pair.source();
    let cut = dice.once_in(3);
    if cut {
        pair.cut();
    }
    source.ctl("stop data --force").timeout(LIMIT).ok()?;
    let refused = pair.abandon()?;
    pair.cluster.restore_links();
    // Whoever held the device is gone, and the machine that was the source is asked first.
    pair.until("it to come into service", || {
        Ok(source.ctl("start data").timeout(LIMIT).run()?.code == 0)
    })?;
    pair.new_leg();
    Ok(format!(
        "{refused} operations were refused{}",
        if cut { ", the link was cut" } else { "" }
    ))
}

fn unload(node: &Node) -> Result<()> {
    node.ctl("down --all").timeout(LIMIT).ok()?;
    node.sh("rmmod netraid").ok()?;
    Ok(())
}

pub(super) fn reload_source(pair: &mut Pair<'_>, dice: &mut Dice) -> Result<String> {
    pair.halt()?;
    let source = pair.source();
    unload(source)?;
    source.insmod()?;
    pair.up(source)?;
    pair.new_leg();
    pair.load(dice.some(1..20))?;
    let state = pair.status(source)?;
    ensure!(state["role"] == "source", "it was to be the source again: {state}");
    Ok("it is the source again".to_owned())
}

pub(super) fn reload_target(pair: &mut Pair<'_>, dice: &mut Dice) -> Result<String> {
    let target = pair.target();
    unload(target)?;
    pair.load(dice.some(0..40))?;
    target.insmod()?;
    pair.up(target)?;
    Ok("under load".to_owned())
}

pub(super) fn reboot(pair: &mut Pair<'_>, dice: &mut Dice) -> Result<String> {
    let node = if dice.once_in(2) {
        pair.halt()?;
        pair.source()
    } else {
        pair.target()
    };
    node.ctl("down --all").timeout(LIMIT).ok()?;
    node.power_off()?;
    pair.boot(node)?;
    pair.up(node)?;
    if node.name() == pair.source().name() {
        pair.new_leg();
    }
    pair.load(dice.some(1..20))?;
    Ok(node.name().to_owned())
}

pub(super) fn unextend(pair: &mut Pair<'_>, dice: &mut Dice) -> Result<String> {
    pair.source().ctl("unextend data").ok()?;
    pair.load(dice.some(0..30))?;
    pair.extend()?;
    pair.new_leg();
    pair.load(dice.some(0..20))?;
    Ok("and extended again".to_owned())
}

pub(super) fn full_resync(pair: &mut Pair<'_>, dice: &mut Dice) -> Result<String> {
    pair.source().ctl("fullresync data --yes").ok()?;
    pair.load(dice.some(1..40))?;
    Ok("under load".to_owned())
}
