// SPDX-License-Identifier: GPL-2.0
//! What is measured: netraid, and what else mirrors a disk over TCP, each with both ends on one machine.
//!
//! All of them mirror [`SOURCE`] to [`TARGET`]. A peer is described by the scripts of its life, in the order in which
//! they run; each ends by itself, or is ended by the time it is given.

mod drbd;
mod netraid;
mod raid;

use serde::{Deserialize, Serialize};

/// The disk that applications write to.
pub(super) const SOURCE: &str = "/dev/ram0";
/// The disk of the other side.
pub(super) const TARGET: &str = "/dev/ram1";
/// A disk of its own, for measurements without any mirror.
pub(super) const RAW: &str = "/dev/ram2";
/// Where the source keeps what it has to remember, for those that need a place.
pub(super) const SOURCE_MAP: &str = "/dev/ram3";
/// The same of the other side.
pub(super) const TARGET_MAP: &str = "/dev/ram4";

/// When a write counts as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// There is nothing but a disk.
    Raw,
    /// When the local disk has it; there is no other.
    Local,
    /// When both disks have it.
    Sync,
    /// When the local disk has it.
    Async,
}

impl Kind {
    /// The word for it.
    #[must_use]
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Raw => "raw disk",
            Self::Local => "local",
            Self::Sync => "synchronous",
            Self::Async => "asynchronous",
        }
    }
}

/// Whose it is; of one family are the ways of setting the same thing up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Family {
    /// A disk.
    Disk,
    /// What is measured here.
    Netraid,
    /// The kernel's device mapper, which passes everything on as it is: what any device on top of another one costs.
    Remap,
    /// The kernel's RAID 1 without a second disk.
    Raid,
    /// The kernel's DRBD 8.4.
    Drbd,
    /// The kernel's RAID 1, with a disk of another machine by NVMe over TCP.
    RaidNvme,
    /// The same by the network block device.
    RaidNbd,
}

/// Patterns of the names of threads that do the work of one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sides {
    /// Beginnings of names on the source.
    pub(super) source: &'static [&'static str],
    /// Beginnings of names on the target.
    pub(super) target: &'static [&'static str],
}

/// Something that is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Peer {
    /// Its name, in tables and on the command line.
    pub(super) name: &'static str,
    /// Whose it is.
    pub(super) family: Family,
    /// When a write counts as written.
    pub(super) kind: Kind,
    /// The device to put loads on.
    pub(super) device: &'static str,
    /// Makes it, with nothing copied yet.
    pub(super) set_up: String,
    /// Begins the first copy of the whole disk and waits for its end.
    pub(super) copy: Option<String>,
    /// Takes the target away in order, with the device in service.
    pub(super) part: Option<String>,
    /// Brings it back, and waits until it has what was written meanwhile.
    pub(super) rejoin: Option<String>,
    /// Takes it away, also where `set_up` failed half way; the last command says whether both disks are free.
    pub(super) tear_down: String,
    /// Whose threads are whose, where they can be told from each other.
    pub(super) sides: Option<Sides>,
}

/// All of them, in the order in which they take turns in a round.
#[must_use]
pub(super) fn all() -> Vec<Peer> {
    let mut all = vec![raw()];
    all.push(linear());
    all.extend(netraid::local());
    all.push(raid::local());
    let ours = netraid::mirrors();
    let mut theirs: Vec<Peer> = drbd::all();
    theirs.extend(raid::all());
    // In turn, so that a time in which the host is busy does not fall on one of them alone.
    let mut theirs = theirs.into_iter();
    for one in ours {
        all.push(one);
        all.extend(theirs.next());
    }
    all.extend(theirs);
    all
}

/// Those whose names contain one of `words`, in whatever case; all without words. What they are compared with stays.
#[must_use]
pub(super) fn chosen(words: &[String]) -> Vec<Peer> {
    let has = |peer: &Peer, word: &String| peer.name.to_lowercase().contains(&word.to_lowercase());
    let wanted = |peer: &Peer| words.is_empty() || words.iter().any(|word| has(peer, word));
    all()
        .into_iter()
        .filter(|peer| peer.kind == Kind::Raw || wanted(peer))
        .collect()
}

fn raw() -> Peer {
    Peer {
        name: "raw",
        family: Family::Disk,
        kind: Kind::Raw,
        device: RAW,
        set_up: "true".to_owned(),
        copy: None,
        part: None,
        rejoin: None,
        tear_down: "true".to_owned(),
        sides: None,
    }
}

fn linear() -> Peer {
    Peer {
        name: "dm-linear",
        family: Family::Remap,
        kind: Kind::Local,
        // Without udev there is no other name.
        device: "/dev/dm-0",
        set_up: format!(
            "dmsetup create bench-linear --noudevsync --table \"0 $(blockdev --getsz {SOURCE}) linear {SOURCE} 0\" && \
             [ -b /dev/dm-0 ]"
        ),
        copy: None,
        part: None,
        rejoin: None,
        tear_down: "dmsetup remove --retry --noudevsync bench-linear".to_owned(),
        sides: None,
    }
}

/// Waits until a command succeeds.
fn until(command: &str) -> String {
    format!("until {command}; do sleep 0.02; done")
}

#[cfg(test)]
mod tests {
    use super::{all, chosen, Family, Kind, Peer};

    fn is_ours(peer: &Peer) -> bool {
        peer.family == Family::Netraid
    }

    #[test]
    fn names_are_unique_and_each_mirror_can_do_everything() {
        let all = all();
        for (at, peer) in all.iter().enumerate() {
            assert!(all[..at].iter().all(|other| other.name != peer.name), "{}", peer.name);
            let mirror = matches!(peer.kind, Kind::Sync | Kind::Async);
            let scripts = [&peer.copy, &peer.part, &peer.rejoin];
            assert!(scripts.iter().all(|script| script.is_some() == mirror), "{}", peer.name);
        }
    }

    #[test]
    fn each_of_ours_has_somebody_of_its_kind_to_stand_beside() {
        let all = all();
        for kind in [Kind::Sync, Kind::Async] {
            assert!(all.iter().any(|peer| is_ours(peer) && peer.kind == kind));
            assert!(all.iter().any(|peer| !is_ours(peer) && peer.kind == kind));
        }
    }

    #[test]
    fn some_can_be_chosen_and_the_raw_disk_is_always_there() {
        let some = chosen(&["drbd".to_owned()]);
        assert!(some.len() > 1 && some.len() < all().len());
        assert!(some.iter().all(|peer| peer.name == "raw" || peer.name.contains("DRBD")));
        assert_eq!(chosen(&[]).len(), all().len());
    }
}
