// SPDX-License-Identifier: GPL-2.0
//! The block devices of the machine, and who uses each.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use super::host::{Device, Host, Kind};
use super::Use;

const SECTOR: u64 = 512;

/// A disk or a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Name in /sys/class/block.
    pub name: String,
    /// Number of the device.
    pub device: Device,
    /// Capacity in bytes.
    pub size: u64,
    /// The disk it is a partition of.
    pub whole: Option<String>,
    /// What uses it directly.
    used: Option<Use>,
}

impl Block {
    /// The usual path of the device node.
    #[must_use]
    pub fn path(&self) -> String {
        // The kernel writes `!` for a slash in a name.
        format!("/dev/{}", self.name.replace('!', "/"))
    }
}

/// All block devices.
#[derive(Debug, Clone, Default)]
pub struct Table {
    blocks: Vec<Block>,
}

/// Users of block devices that are known by the number of the device.
#[derive(Default)]
struct Users {
    mounts: HashMap<Device, String>,
    swaps: Vec<Device>,
}

impl Table {
    /// Reads the table from /sys and /proc; `mirrors` has the mirrors in service by the number of their disk.
    ///
    /// What cannot be read is passed over: the kernel has the last word anyway.
    #[must_use]
    pub fn read(host: &dyn Host, mirrors: &HashMap<Device, String>) -> Self {
        let users = Users {
            mounts: mounts(host),
            swaps: swaps(host),
        };
        let names = host.list(Path::new("/sys/class/block")).unwrap_or_default();
        let wholes = host.list(Path::new("/sys/block")).unwrap_or_default();
        let mut table = Self::default();
        for name in names {
            let Some(mut block) = read_block(host, &name, &wholes) else {
                continue;
            };
            block.used = direct_use(host, &block, &users, mirrors);
            table.blocks.push(block);
        }
        table
    }

    /// The devices with the reason why a mirror cannot use them, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&Block, Option<Use>)> {
        self.blocks.iter().map(|block| (block, self.verdict(block)))
    }

    /// The device with a number.
    #[must_use]
    pub fn find(&self, device: Device) -> Option<&Block> {
        self.blocks.iter().find(|block| block.device == device)
    }

    /// The device with a name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Block> {
        self.blocks.iter().find(|block| block.name == name)
    }

    /// Why a mirror cannot use a device: it, a partition of it, or the disk it is a partition of is in use.
    #[must_use]
    pub fn verdict(&self, block: &Block) -> Option<Use> {
        if let Some(used) = &block.used {
            return Some(used.clone());
        }
        for other in &self.blocks {
            let Some(used) = &other.used else { continue };
            // A read-only or empty neighbour is in nobody's way.
            if matches!(used, Use::ReadOnly | Use::Empty) {
                continue;
            }
            if other.whole.as_ref() == Some(&block.name) {
                return Some(Use::Partition(other.name.clone(), Box::new(used.clone())));
            }
            if block.whole.as_ref() == Some(&other.name) {
                return Some(Use::Whole(other.name.clone(), Box::new(used.clone())));
            }
        }
        None
    }

    /// Asks the kernel about each device that nobody seems to use.
    ///
    /// Asking claims the device for a moment, so this is for those who want to know about all of them.
    pub fn find_claims(&mut self, host: &dyn Host) {
        for at in 0..self.blocks.len() {
            self.find_claim(host, at);
        }
    }

    fn find_claim(&mut self, host: &dyn Host, at: usize) {
        let Some(block) = self.blocks.get(at) else { return };
        if self.verdict(block).is_some() {
            return;
        }
        let busy = is_claimed(host, Path::new(&block.path()));
        if let (true, Some(block)) = (busy, self.blocks.get_mut(at)) {
            block.used = Some(Use::Claimed);
        }
    }
}

/// Whether somebody has claimed a device exclusively.
pub(super) fn is_claimed(host: &dyn Host, path: &Path) -> bool {
    let refused = host.claimable(path).err();
    refused.is_some_and(|error| error.kind() == io::ErrorKind::ResourceBusy)
}

fn read_block(host: &dyn Host, name: &str, wholes: &[String]) -> Option<Block> {
    let folder = Path::new("/sys/class/block").join(name);
    let device = parse_device(host.read(&folder.join("dev")).ok()?.trim())?;
    let sectors: u64 = host.read(&folder.join("size")).ok()?.trim().parse().ok()?;
    let is_partition = host.read(&folder.join("partition")).is_ok();
    let contains = |whole: &&String| {
        let names = host
            .list(&Path::new("/sys/block").join(whole.as_str()))
            .unwrap_or_default();
        names.iter().any(|inner| inner == name)
    };
    let whole = is_partition.then(|| wholes.iter().find(contains).cloned()).flatten();
    Some(Block {
        name: name.to_owned(),
        device,
        size: sectors.saturating_mul(SECTOR),
        whole,
        used: None,
    })
}

fn direct_use(host: &dyn Host, block: &Block, users: &Users, mirrors: &HashMap<Device, String>) -> Option<Use> {
    let folder = Path::new("/sys/class/block").join(&block.name);
    if let Some(place) = users.mounts.get(&block.device) {
        return Some(Use::Mounted(place.clone()));
    }
    if users.swaps.contains(&block.device) {
        return Some(Use::Swap);
    }
    if let Some(mirror) = mirrors.get(&block.device) {
        return Some(Use::Mirror(mirror.clone()));
    }
    if let Some(holder) = host.list(&folder.join("holders")).unwrap_or_default().first() {
        return Some(Use::Held(describe_holder(host, holder)));
    }
    if block.name.starts_with("netraid") {
        return Some(Use::OwnDevice);
    }
    if block.size == 0 {
        return Some(Use::Empty);
    }
    let read_only = host.read(&folder.join("ro")).is_ok_and(|text| text.trim() == "1");
    read_only.then_some(Use::ReadOnly)
}

/// `md127 (RAID)`, or `dm-0 (vg-root)`.
fn describe_holder(host: &dyn Host, holder: &str) -> String {
    let folder = Path::new("/sys/class/block").join(holder);
    let mapped = host.read(&folder.join("dm/name"));
    match mapped {
        Ok(name) => format!("device mapper {holder} ({})", name.trim()),
        Err(_) if holder.starts_with("md") => format!("RAID {holder}"),
        Err(_) => holder.to_owned(),
    }
}

fn parse_device(text: &str) -> Option<Device> {
    let (major, minor) = text.split_once(':')?;
    Some(Device {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
    })
}

/// The block device of a file system that has a number of its own, as the table of mounts names it.
pub(super) fn source_of(host: &dyn Host, file_system: Device) -> Option<Device> {
    let text = host.read(Path::new("/proc/self/mountinfo")).ok()?;
    let line = text
        .lines()
        .find(|line| line.split(' ').nth(2).and_then(parse_device) == Some(file_system))?;
    let source = line.split_once(" - ")?.1.split(' ').nth(1)?;
    match host.stat(Path::new(&unescape(source))) {
        Ok(Kind::Block(device)) => Some(device),
        _ => None,
    }
}

/// The mount points by device; file systems without a device number of their own by the path they were mounted from.
fn mounts(host: &dyn Host) -> HashMap<Device, String> {
    let mut all = HashMap::new();
    let text = host.read(Path::new("/proc/self/mountinfo")).unwrap_or_default();
    for line in text.lines() {
        let mut fields = line.split(' ');
        let (device, place) = (fields.nth(2).and_then(parse_device), fields.nth(1));
        let source = line.split_once(" - ").and_then(|(_, rest)| rest.split(' ').nth(1));
        let Some(place) = place else { continue };
        let by_source = source.filter(|source| source.starts_with('/')).and_then(|source| {
            match host.stat(Path::new(&unescape(source))) {
                Ok(Kind::Block(device)) => Some(device),
                _ => None,
            }
        });
        for device in device.into_iter().chain(by_source) {
            all.entry(device).or_insert_with(|| unescape(place));
        }
    }
    all
}

fn swaps(host: &dyn Host) -> Vec<Device> {
    let text = host.read(Path::new("/proc/swaps")).unwrap_or_default();
    let path = |line: &str| line.split_whitespace().next().map(unescape);
    let device = |path: String| match host.stat(Path::new(&path)) {
        Ok(Kind::Block(device)) => Some(device),
        _ => None,
    };
    text.lines().skip(1).filter_map(path).filter_map(device).collect()
}

/// /proc writes blanks in paths as three octal digits after a backslash.
fn unescape(text: &str) -> String {
    let mut plain = text.to_owned();
    for (code, character) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        plain = plain.replace(code, character);
    }
    plain
}
