// SPDX-License-Identifier: GPL-2.0
//! The power goes.

use anyhow::{ensure, Result};

use super::super::dice::Dice;
use super::super::pair::{Pair, LIMIT};

/// The source that has died comes back as it was.
fn source_returns(pair: &mut Pair<'_>) -> Result<()> {
    pair.boot(pair.source())?;
    pair.up(pair.source())?;
    let state = pair.status(pair.source())?;
    ensure!(state["role"] == "source", "it was to be the source again: {state}");
    Ok(())
}

pub(super) fn source(pair: &mut Pair<'_>, dice: &mut Dice) -> Result<String> {
    pair.kill_source()?;
    let marked = pair.all_marked(false)?;
    if pair.was_in_step()? {
        pair.check(pair.target())?;
    }
    source_returns(pair)?;
    pair.load(dice.some(1..30))?;
    Ok(format!("{marked}; it came back"))
}

pub(super) fn failover(pair: &mut Pair<'_>, dice: &mut Dice) -> Result<String> {
    pair.kill_source()?;
    let marked = pair.all_marked(false)?;
    if !pair.was_in_step()? {
        // On a busy host a link can be lost by itself; who takes over then gives writes up.
        source_returns(pair)?;
        return Ok(format!("{marked}; the target was not in step, so the source came back"));
    }
    let (old, new) = (pair.source(), pair.target());
    new.ctl("promote data --wait 60").timeout(LIMIT).ok()?;
    pair.check(new)?;
    pair.turn();
    pair.failed_over();
    pair.load(dice.some(1..40))?;
    let union = pair.all_marked(true)?;
    if dice.once_in(4) {
        // Now the new source is lost too, before the old one is back; only it can lead on.
        pair.kill_source()?;
        pair.boot(old)?;
        pair.boot(new)?;
        // The old source asks in vain, until the other one has somebody to answer.
        let asked = old.ctl("up data").timeout(LIMIT).run()?;
        pair.until("the newer one to lead", || {
            for node in [new, old] {
                node.ctl("up data").timeout(LIMIT).run()?;
            }
            Ok(pair.status(new)?["role"] == "source" && pair.status(old)?["role"] == "target")
        })?;
        pair.load(dice.some(1..20))?;
        return Ok(format!(
            "{marked}; promoted, then lost as well ({union}); the old source was told {}, the new one leads",
            asked.code
        ));
    }
    pair.boot(old)?;
    pair.up(old)?;
    pair.load(dice.some(1..20))?;
    Ok(format!(
        "{marked}; promoted; {union} on either side; the old source is its target"
    ))
}

pub(super) fn target(pair: &mut Pair<'_>, dice: &mut Dice) -> Result<String> {
    let target = pair.target();
    pair.kill_target()?;
    let noticed = dice.once_in(2);
    if noticed {
        pair.wait(pair.source(), "out-of-sync")?;
    }
    pair.load(dice.some(1..60))?;
    pair.boot(target)?;
    pair.up(target)?;
    pair.load(dice.some(1..20))?;
    Ok(format!(
        "it was{} waited for that it is noticed",
        if noticed { "" } else { " not" }
    ))
}

/// Both come back; in which order is chosen by `dice`.
fn both_return(pair: &mut Pair<'_>, dice: &mut Dice) -> Result<&'static str> {
    let (source, target) = (pair.source(), pair.target());
    if dice.once_in(2) {
        pair.boot(target)?;
        pair.up(target)?;
        pair.boot(source)?;
        pair.up(source)?;
        return Ok("the target first");
    }
    pair.boot(source)?;
    let asked = source.ctl("up data").timeout(LIMIT).run()?;
    ensure!(asked.code == 2, "it went into service unasked: {}", asked.text());
    pair.boot(target)?;
    pair.up(target)?;
    pair.up(source)?;
    Ok("the source first")
}

pub(super) fn both(pair: &mut Pair<'_>, dice: &mut Dice) -> Result<String> {
    if dice.once_in(2) {
        pair.kill_source()?;
        pair.kill_target()?;
    } else {
        pair.kill_target()?;
        if dice.once_in(2) {
            pair.load(dice.some(1..20))?;
        }
        pair.kill_source()?;
    }
    let marked = pair.all_marked(false)?;
    pair.check(pair.source())?;
    let first = both_return(pair, dice)?;
    pair.load(dice.some(1..30))?;
    Ok(format!("{marked}; {first}"))
}

pub(super) fn degraded(pair: &mut Pair<'_>, dice: &mut Dice) -> Result<String> {
    pair.cut();
    pair.wait(pair.source(), "out-of-sync")?;
    pair.load(dice.some(1..60))?;
    pair.kill_source()?;
    let marked = pair.all_marked(false)?;
    pair.check(pair.source())?;
    pair.cluster.restore_links();
    source_returns(pair)?;
    pair.load(dice.some(1..20))?;
    Ok(format!("{marked}; it came back"))
}

pub(super) fn in_resync(pair: &mut Pair<'_>, dice: &mut Dice) -> Result<String> {
    let (source, target) = (pair.source(), pair.target());
    source.ctl("set data resync-rate 4M").ok()?;
    source.ctl("fullresync data --yes").ok()?;
    pair.wait(source, "resyncing")?;
    pair.load(dice.some(1..20))?;
    let story = match dice.of(0..4) {
        0 => {
            pair.kill_target()?;
            pair.load(dice.some(1..30))?;
            pair.boot(target)?;
            pair.up(target)?;
            "the target, which came back".to_owned()
        }
        1 => {
            pair.kill_source()?;
            pair.kill_target()?;
            let first = both_return(pair, dice)?;
            format!("both; {first}")
        }
        2 => {
            pair.cut();
            pair.wait(source, "disconnected")?;
            pair.load(dice.some(1..20))?;
            pair.cluster.restore_links();
            "only the link".to_owned()
        }
        _ => {
            pair.kill_source()?;
            pair.wait(target, "disconnected")?;
            let refused = target.ctl("promote data --wait 20").timeout(LIMIT).run()?;
            ensure!(
                refused.code == 2 && refused.stderr.contains("resync"),
                "promoted in the middle of a resync: {refused:?}"
            );
            source_returns(pair)?;
            "the source; its target could not be promoted".to_owned()
        }
    };
    // A copy that began at that rate need not go on at it.
    pair.source().ctl("set data resync-rate 0").ok()?;
    pair.load(dice.some(1..20))?;
    Ok(format!("in the middle of a full copy: {story}"))
}

pub(super) fn in_pause(pair: &mut Pair<'_>, dice: &mut Dice) -> Result<String> {
    let (source, target) = (pair.source(), pair.target());
    source.ctl("pause data").ok()?;
    pair.load(dice.some(1..30))?;
    super::orders::scribble(target, dice)?;
    let who = match dice.of(0..3) {
        0 => {
            pair.kill_source()?;
            source_returns(pair)?;
            "the source"
        }
        1 => {
            pair.kill_target()?;
            pair.load(dice.some(1..30))?;
            pair.boot(target)?;
            pair.up(target)?;
            "the target"
        }
        _ => {
            pair.kill_source()?;
            pair.kill_target()?;
            both_return(pair, dice)?;
            "both"
        }
    };
    pair.wait(source, "connected")?;
    let leg = &pair.status(source)?["legs"][1];
    ensure!(leg["state"] == "paused", "the pause did not outlive it: {leg}");
    pair.load(dice.some(1..20))?;
    super::orders::resume(pair)?;
    Ok(format!("{who} in a pause, with writes on both sides"))
}
