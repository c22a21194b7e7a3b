// SPDX-License-Identifier: GPL-2.0
//! The link goes, or a machine hangs.

use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::super::dice::Dice;
use super::super::pair::Pair;

pub(super) fn cut(pair: &mut Pair<'_>, dice: &mut Dice) -> Result<String> {
    pair.cut();
    pair.wait(pair.source(), "disconnected")?;
    let (first, second) = (dice.some(0..60), dice.some(0..40));
    pair.load(first)?;
    let after = if dice.once_in(3) {
        // A machine that reboots while it cannot be reached finds its way back too.
        pair.kill_target()?;
        pair.boot(pair.target())?;
        pair.up(pair.target())?;
        "; the target lost power meanwhile"
    } else {
        ""
    };
    pair.load(second)?;
    pair.cluster.restore_links();
    pair.wait(pair.source(), "connected")?;
    Ok(format!("{} operations without the target{after}", first + second))
}

pub(super) fn one_way(pair: &mut Pair<'_>, dice: &mut Dice) -> Result<String> {
    let forth = dice.once_in(2);
    let (from, to) = match (forth, pair.source().name() == pair.cluster.node(0).name()) {
        (true, true) | (false, false) => (0, 1),
        _ => (1, 0),
    };
    pair.cut_way(from, to);
    pair.wait(pair.source(), "disconnected")?;
    pair.load(dice.some(0..40))?;
    pair.cluster.restore_links();
    Ok(if forth { "to the target" } else { "to the source" }.to_owned())
}

pub(super) fn flaps(pair: &mut Pair<'_>, dice: &mut Dice) -> Result<String> {
    let times = dice.of(2..7);
    for _ in 0..times {
        pair.cut();
        if dice.once_in(2) {
            thread::sleep(Duration::from_millis(dice.of(1..3000)));
        } else {
            pair.wait(pair.source(), "disconnected")?;
        }
        pair.cluster.restore_links();
        if dice.once_in(2) {
            pair.wait(pair.source(), "connected")?;
        }
        pair.load(dice.some(0..8))?;
    }
    Ok(format!("{times} times"))
}

pub(super) fn loss(pair: &mut Pair<'_>, dice: &mut Dice) -> Result<String> {
    // From one in fifty to one in five.
    let percent = u8::try_from(dice.of(2..20)).unwrap_or(2);
    for (from, to) in [(0, 1), (1, 0)] {
        let way = pair.cluster.network().way(from, to);
        way.lose(f64::from(percent) / 100.0, dice.next());
    }
    let outcome = pair.load(dice.some(10..40));
    pair.cluster.restore_links();
    outcome?;
    Ok(format!("{percent} % either way"))
}

pub(super) fn delay(pair: &mut Pair<'_>, dice: &mut Dice) -> Result<String> {
    let delay = Duration::from_millis(dice.of(5..80));
    for (from, to) in [(0, 1), (1, 0)] {
        pair.cluster.network().way(from, to).delay(delay);
    }
    let outcome = pair.load(dice.some(10..40));
    pair.cluster.restore_links();
    outcome?;
    Ok(format!("{delay:?} either way"))
}

/// A time that is noticed, or one that is not.
fn while_it_hangs(dice: &mut Dice) -> Duration {
    let limit = if dice.once_in(2) { 1500 } else { 8000 };
    Duration::from_millis(dice.of(100..limit))
}

pub(super) fn source_hangs(pair: &mut Pair<'_>, dice: &mut Dice) -> Result<String> {
    let time = while_it_hangs(dice);
    pair.source().freeze()?;
    thread::sleep(time);
    pair.source().thaw()?;
    pair.load(dice.some(1..30))?;
    Ok(format!("for {time:?}"))
}

pub(super) fn target_hangs(pair: &mut Pair<'_>, dice: &mut Dice) -> Result<String> {
    let time = while_it_hangs(dice);
    pair.target().freeze()?;
    thread::sleep(time);
    if dice.once_in(3) {
        // The source notices for certain, and goes on alone.
        pair.wait(pair.source(), "disconnected")?;
        pair.load(dice.some(1..30))?;
    }
    pair.target().thaw()?;
    pair.load(dice.some(1..30))?;
    Ok(format!("for {time:?}"))
}
