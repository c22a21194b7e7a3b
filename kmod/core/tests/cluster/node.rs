// SPDX-License-Identifier: GPL-2.0

//! A machine: what is on its disks, what it does, and, for the observer, what its data contains.

use crate::disk::{Disk, Version};
use crate::recent::RecentMap;
use crate::store::Store;
use crate::volume::Volume;
use netraid_core::epoch::Gate;
use netraid_core::generation::Generations;
use netraid_core::leg::Machine;
use netraid_core::legs::LegNumber;
use netraid_core::meta::{MetaFlags, Peer, Superblock};
use netraid_core::state::Role;
use netraid_core::wire::Id;

/// First port; the machine with number `n` listens on `PORT + n`, at the address `ip(n)`.
const PORT: u16 = 100;

/// The source's end of a leg.
#[derive(Debug)]
pub struct Leg {
    pub machine: Machine,
    pub conn: Option<u32>,
    pub copying: bool,
    /// The copying has not looked yet at what failed before.
    pub begins: bool,
    /// The machine at the other end.
    pub to: usize,
}

#[derive(Debug)]
pub struct Source {
    pub volume: Volume,
    pub legs: Vec<(LegNumber, Leg)>,
}

impl Source {
    pub fn leg(&self, number: LegNumber) -> Option<&Leg> {
        self.legs.iter().find(|(leg, _)| *leg == number).map(|(_, leg)| leg)
    }

    pub fn leg_mut(&mut self, number: LegNumber) -> Option<&mut Leg> {
        self.legs.iter_mut().find(|(leg, _)| *leg == number).map(|(_, leg)| leg)
    }

    /// The leg to a machine.
    pub fn leg_to(&self, node: usize) -> Option<(LegNumber, &Leg)> {
        self.legs
            .iter()
            .find(|(_, leg)| leg.to == node)
            .map(|(number, leg)| (*number, leg))
    }
}

/// The device of a pause, and what was written to it.
#[derive(Debug)]
pub struct Own {
    pub volume: Volume,
    pub front: bool,
    pub open: bool,
}

/// A write that a target has begun.
#[derive(Clone, Copy, Debug)]
pub struct Arrived {
    pub id: u32,
    pub chunk: usize,
    pub version: Version,
    pub resync: bool,
}

#[derive(Debug, Default)]
pub struct Target {
    pub conn: Option<u32>,
    pub in_sync: bool,
    pub warm: bool,
    pub pause: bool,
    pub own: Option<Own>,
    /// Writes at which the disk works.
    pub under_way: Vec<Arrived>,
    pub gate: Gate,
    /// What it was sent of late; and whether it tells the source that.
    pub recent: Option<RecentMap>,
    pub tells_recent: bool,
    /// For the observer: the source that it was last in step with.
    pub life: u32,
    /// What the source held, and before, when it greeted; none once that was taken over.
    pub source_past: Option<(u64, [u64; 8])>,
}

#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "there are three of them")]
pub enum Active {
    Stopped,
    Source(Source),
    Target(Target),
}

/// What the observer knows and no machine does. Sets of writes have a bit for each number.
#[derive(Clone, Copy, Debug, Default)]
pub struct Truth {
    /// Writes that the disk contains, or that were overwritten there by somebody who had them.
    pub seen: u128,
    /// The same for writes in a pause, as long as nobody made this machine the source.
    pub paused: u128,
    /// The disk is half a copy.
    pub mixed: bool,
    /// Machines with which it was not in step since an operator made it the source; each has a bit.
    pub mandate: u8,
    /// An operator, or the rules, gave up what is here and not elsewhere.
    pub gave_up: bool,
}

#[derive(Debug)]
pub struct Node {
    pub uuid: Id,
    pub instance: Id,
    pub up: bool,
    /// It has not been told to bring its mirror up since it booted.
    pub booting: bool,
    /// It was told to come into service and may not yet; it answers those who ask.
    pub waiting: bool,
    pub disk: Disk,
    /// The disk fails every write.
    pub bad: bool,
    /// `None` until the disk is given to the mirror.
    pub store: Option<Store>,
    pub active: Active,
    pub truth: Truth,
}

impl Node {
    pub fn role(&self) -> Role {
        match self.active {
            Active::Stopped => Role::Stopped,
            Active::Source(_) => Role::Source,
            Active::Target(_) => Role::Target,
        }
    }

    pub fn source(&mut self) -> Option<&mut Source> {
        match &mut self.active {
            Active::Source(source) => Some(source),
            _ => None,
        }
    }

    pub fn as_source(&self) -> Option<&Source> {
        match &self.active {
            Active::Source(source) => Some(source),
            _ => None,
        }
    }

    pub fn target(&mut self) -> Option<&mut Target> {
        match &mut self.active {
            Active::Target(target) => Some(target),
            _ => None,
        }
    }

    pub fn as_target(&self) -> Option<&Target> {
        match &self.active {
            Active::Target(target) => Some(target),
            _ => None,
        }
    }

    pub fn has(&self, flag: MetaFlags) -> bool {
        self.store
            .as_ref()
            .is_some_and(|store| store.now.sb.flags.contains(flag))
    }

    /// Whether its disk holds a whole copy, by what is on record.
    pub fn is_usable(&self) -> bool {
        self.store.as_ref().is_some_and(|store| store.now.sb.current != 0) && !self.has(MetaFlags::INCONSISTENT)
    }

    /// The volume in use, if there is one, with what it works on.
    pub fn volume(&mut self) -> Option<(&mut Volume, &mut Disk, &mut Store)> {
        let volume = match &mut self.active {
            Active::Stopped => return None,
            Active::Source(source) => &mut source.volume,
            Active::Target(target) => &mut target.own.as_mut()?.volume,
        };
        Some((volume, &mut self.disk, self.store.as_mut()?))
    }
}

/// This machine's generations, as they relate to another one: a base belongs to the machine it was noted for.
pub fn generations(sb: &Superblock, other: &Id) -> Generations {
    let noted = sb.peers.iter().find(|peer| !peer.is_free() && peer.uuid == *other);
    Generations {
        current: sb.current,
        base: noted.map_or(0, |peer| peer.base),
        history: sb.history,
    }
}

/// The address of a machine.
pub fn ip(node: usize) -> [u8; 4] {
    [10, 0, 0, u8::try_from(node).unwrap()]
}

/// Notes where a machine is.
pub fn put_address(peer: &mut Peer, node: usize) {
    peer.ip = [0; 16];
    peer.ip[..4].copy_from_slice(&ip(node));
    peer.ip_len = 4;
    peer.port = port(node);
}

pub fn port(node: usize) -> u16 {
    PORT + u16::try_from(node).unwrap()
}

/// The machine that a peer is, if its address is known.
pub fn at(peer: &Peer) -> Option<usize> {
    peer.port.checked_sub(PORT).map(usize::from)
}
