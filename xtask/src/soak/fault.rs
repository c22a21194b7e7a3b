// SPDX-License-Identifier: GPL-2.0
//! What can happen to a mirror, and how often.

use anyhow::{ensure, Context as _, Result};

use super::dice::Dice;

/// A fault, or something an operator does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The source loses power and comes back.
    SourcePower,
    /// The source loses power and the target takes over.
    Failover,
    /// The target loses power and comes back.
    TargetPower,
    /// Both lose power and come back, in either order.
    BothPower,
    /// The source loses power after it had lost its target, and comes back.
    DegradedPower,
    /// One of them, or both, loses power in the middle of a resync.
    ResyncPower,
    /// One of them, or both, loses power in a pause.
    PausePower,
    /// The link is cut until it is noticed and beyond.
    LinkCut,
    /// The same in one direction.
    OneWay,
    /// The link is cut and restored, several times, whether noticed or not.
    LinkFlaps,
    /// Part of the packets is lost.
    Loss,
    /// Packets come late.
    Delay,
    /// The source hangs for a while.
    SourceHangs,
    /// The target hangs for a while.
    TargetHangs,
    /// A pause with writes on both sides, and its end.
    Pause,
    /// The machines change places.
    Switchover,
    /// Out of service and into service again, on either machine.
    StopStart,
    /// Out of service by force, under load.
    StopForce,
    /// The module is unloaded and loaded on the source.
    SourceReload,
    /// The module is unloaded and loaded on the target, under load.
    TargetReload,
    /// One of them reboots in order.
    Reboot,
    /// The mirror loses its target by command, and gets it again.
    Unextend,
    /// Everything is copied again.
    FullResync,
}

/// Every fault with its name and how often it comes.
const FAULTS: &[(Fault, &str, u64)] = &[
    (Fault::SourcePower, "source-power", 6),
    (Fault::Failover, "failover", 10),
    (Fault::TargetPower, "target-power", 6),
    (Fault::BothPower, "both-power", 5),
    (Fault::DegradedPower, "degraded-power", 4),
    (Fault::ResyncPower, "resync-power", 5),
    (Fault::PausePower, "pause-power", 3),
    (Fault::LinkCut, "link-cut", 6),
    (Fault::OneWay, "one-way-cut", 4),
    (Fault::LinkFlaps, "link-flaps", 5),
    (Fault::Loss, "packet-loss", 4),
    (Fault::Delay, "delay", 2),
    (Fault::SourceHangs, "source-hangs", 3),
    (Fault::TargetHangs, "target-hangs", 4),
    (Fault::Pause, "pause", 4),
    (Fault::Switchover, "switchover", 5),
    (Fault::StopStart, "stop-start", 4),
    (Fault::StopForce, "stop-force", 3),
    (Fault::SourceReload, "source-reload", 3),
    (Fault::TargetReload, "target-reload", 3),
    (Fault::Reboot, "reboot", 3),
    (Fault::Unextend, "unextend", 2),
    (Fault::FullResync, "full-resync", 2),
];

impl Fault {
    /// Its name in reports.
    pub(super) fn name(self) -> &'static str {
        let known = FAULTS.iter().find(|&&(fault, ..)| fault == self);
        known.map_or("unknown", |&(_, name, _)| name)
    }
}

/// The faults whose name contains one of these; all of them where none is given.
pub(super) fn chosen(names: &[String]) -> Result<Vec<Fault>> {
    for name in names {
        let known: Vec<_> = FAULTS.iter().map(|&(_, known, _)| known).collect();
        ensure!(
            known.iter().any(|known| known.contains(name.as_str())),
            "no fault is called {name}; there are {}",
            known.join(", ")
        );
    }
    let wanted = |fault: &str| names.is_empty() || names.iter().any(|name| fault.contains(name.as_str()));
    let faults = FAULTS.iter().filter(|&&(_, name, _)| wanted(name));
    Ok(faults.map(|&(fault, ..)| fault).collect())
}

/// One of `faults`, by how often each comes.
pub(super) fn draw(faults: &[Fault], dice: &mut Dice) -> Result<Fault> {
    let parts: Vec<_> = FAULTS.iter().filter(|&(fault, ..)| faults.contains(fault)).collect();
    let mut left = dice.of(0..parts.iter().map(|&&(.., part)| part).sum());
    for &&(fault, _, part) in &parts {
        match left.checked_sub(part) {
            Some(rest) => left = rest,
            None => return Ok(fault),
        }
    }
    parts
        .last()
        .map(|&&(fault, ..)| fault)
        .context("there is no fault to draw")
}

#[cfg(test)]
mod tests {
    use super::{chosen, draw, Dice, FAULTS};

    #[test]
    fn the_same_seed_draws_the_same_faults_and_in_time_every_one() {
        let all = chosen(&[]).unwrap();
        let sequence = |seed| -> Vec<&str> {
            let faults = (0..2000).map(|number| draw(&all, &mut Dice::new(seed, number)).unwrap().name());
            faults.collect()
        };
        let first = sequence(1);
        assert_eq!(first, sequence(1));
        assert_ne!(first, sequence(2));
        for (_, name, _) in FAULTS {
            assert!(first.contains(name), "{name}");
        }
    }

    #[test]
    fn faults_can_be_named_in_part() {
        let power = chosen(&["power".to_owned()]).unwrap();
        assert!(power.len() > 4 && power.iter().all(|fault| fault.name().contains("power")));
        assert!(chosen(&["nonsense".to_owned()]).is_err());
    }
}
