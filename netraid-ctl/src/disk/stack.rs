// SPDX-License-Identifier: GPL-2.0
//! What a block device stands on: the disk of a partition, the parts of a device-mapper device or a RAID, the file
//! behind a loop device.

use std::path::Path;

use super::host::{Device, Host};
use super::table::{source_of, Block, Table};

/// A device and all that carry it, each once; of a file system without a disk there are none.
#[must_use]
pub fn carriers(host: &dyn Host, table: &Table, device: Device) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut next = vec![device];
    while let Some(device) = next.pop() {
        // A file system such as btrfs has a number of its own, and its disk is known by the mount only.
        let block = table
            .find(device)
            .or_else(|| source_of(host, device).and_then(|source| table.find(source)));
        let Some(block) = block else { continue };
        if found.iter().any(|known| known.name == block.name) {
            continue;
        }
        found.push(block.clone());
        next.extend(below(host, table, block));
    }
    found
}

/// What carries a device directly.
fn below(host: &dyn Host, table: &Table, block: &Block) -> Vec<Device> {
    let folder = Path::new("/sys/class/block").join(&block.name);
    let mut names = host.list(&folder.join("slaves")).unwrap_or_default();
    names.extend(block.whole.clone());
    let mut devices: Vec<Device> = names
        .iter()
        .filter_map(|name| table.named(name))
        .map(|block| block.device)
        .collect();
    if let Ok(file) = host.read(&folder.join("loop/backing_file")) {
        devices.extend(host.file_system(Path::new(file.trim_end_matches('\n'))));
    }
    devices
}
