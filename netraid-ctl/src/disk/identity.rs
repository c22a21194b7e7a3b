// SPDX-License-Identifier: GPL-2.0
//! Which disk it is, whatever its path: what its maker, or whoever put it together, gave it.
//!
//! The content of a mirror's disk is all the user's, so nothing on it says whose it is. A bitmap that is kept elsewhere
//! would be believed of whatever disk has the path.

use std::path::Path;

use super::host::Host;
use super::table::{Block, Table};

/// Files in a device's folder of /sys that name it, the most telling first: device mapper, md, SCSI and NVMe, virtio,
/// loop devices.
const NAMING: [&str; 7] = [
    "dm/uuid",
    "md/uuid",
    "wwid",
    "device/wwid",
    "serial",
    "device/serial",
    "loop/backing_file",
];

/// What tells `block` from every other disk, `serial:QM00001`; `None` where the system knows nothing of the kind.
#[must_use]
pub fn identity(host: &dyn Host, table: &Table, block: &Block) -> Option<String> {
    let folder = Path::new("/sys/class/block").join(&block.name);
    if let Some(whole) = &block.whole {
        let number = host.read(&folder.join("partition")).ok()?;
        let disk = identity(host, table, table.named(whole)?)?;
        return Some(format!("{disk}, partition {}", number.trim()));
    }
    NAMING.iter().find_map(|file| {
        let text = host.read(&folder.join(file)).ok()?;
        let value = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let what = file.rsplit('/').next().unwrap_or(file);
        (!value.is_empty()).then(|| format!("{what}:{value}"))
    })
}
