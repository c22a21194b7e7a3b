// SPDX-License-Identifier: GPL-2.0
//! Lets a fault befall the mirror, and sees to it that it gets where it can be fully operational again.
//!
//! Whatever a fault does, it leaves both machines on, the link whole and the mirror in service, or on the way there; the
//! check that follows waits for the rest.

mod link;
mod orders;
mod power;

use anyhow::Result;

use super::dice::Dice;
use super::fault::Fault;
use super::pair::Pair;

/// Lets it happen; the result says how it went.
pub(super) fn befall(pair: &mut Pair<'_>, fault: Fault, dice: &mut Dice) -> Result<String> {
    pair.load(dice.some(5..60))?;
    match fault {
        Fault::SourcePower => power::source(pair, dice),
        Fault::Failover => power::failover(pair, dice),
        Fault::TargetPower => power::target(pair, dice),
        Fault::BothPower => power::both(pair, dice),
        Fault::DegradedPower => power::degraded(pair, dice),
        Fault::ResyncPower => power::in_resync(pair, dice),
        Fault::PausePower => power::in_pause(pair, dice),
        Fault::LinkCut => link::cut(pair, dice),
        Fault::OneWay => link::one_way(pair, dice),
        Fault::LinkFlaps => link::flaps(pair, dice),
        Fault::Loss => link::loss(pair, dice),
        Fault::Delay => link::delay(pair, dice),
        Fault::SourceHangs => link::source_hangs(pair, dice),
        Fault::TargetHangs => link::target_hangs(pair, dice),
        Fault::Pause => orders::pause(pair, dice),
        Fault::Switchover => orders::switchover(pair),
        Fault::StopStart => orders::stop_start(pair, dice),
        Fault::StopForce => orders::stop_force(pair, dice),
        Fault::SourceReload => orders::reload_source(pair, dice),
        Fault::TargetReload => orders::reload_target(pair, dice),
        Fault::Reboot => orders::reboot(pair, dice),
        Fault::Unextend => orders::unextend(pair, dice),
        Fault::FullResync => orders::full_resync(pair, dice),
    }
}
