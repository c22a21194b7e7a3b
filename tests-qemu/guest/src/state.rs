// SPDX-License-Identifier: GPL-2.0
//! The disk that outlives the machine: what netraid keeps between two boots is on it.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{bail, Context as _, Result};
use netraid_guest::proto::{STATE_DIR, STATE_SERIAL};
use nix::{
    errno::Errno,
    mount::{mount, MsFlags},
};

/// Places on the root that lead to that disk, with their names there. The last one is a file.
const KEPT: [(&str, &str); 3] = [
    ("/var/lib/netraid", "lib"),
    ("/etc/netraid", "etc"),
    ("/etc/default/netraid", "default"),
];

/// Mounts the disk, if the machine has one, and leads the places of netraid to it; harmless when it is mounted.
pub(crate) fn mount_disk() -> Result<()> {
    let Some(disk) = find()? else { return Ok(()) };
    fs::create_dir_all(STATE_DIR).with_context(|| format!("make {STATE_DIR}"))?;
    let flags = MsFlags::MS_NOATIME;
    match mount(Some(&disk), STATE_DIR, Some("ext4"), flags, None::<&str>) {
        Ok(()) | Err(Errno::EBUSY) => {}
        Err(error) => return Err(error).with_context(|| format!("mount {} on {STATE_DIR}", disk.display())),
    }
    for (place, name) in KEPT {
        let there = Path::new(STATE_DIR).join(name);
        if name != "default" {
            fs::create_dir_all(&there).with_context(|| format!("make {}", there.display()))?;
        }
        match symlink(&there, place) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists && fs::read_link(place).is_ok() => {}
            Err(error) => bail!("{place} cannot lead to {}: {error}", there.display()),
        }
    }
    Ok(())
}

fn find() -> Result<Option<PathBuf>> {
    for entry in fs::read_dir("/sys/block").context("list the disks")? {
        let entry = entry?;
        let serial = fs::read_to_string(entry.path().join("serial")).unwrap_or_default();
        if serial.trim_end() == STATE_SERIAL {
            return Ok(Some(Path::new("/dev").join(entry.file_name())));
        }
    }
    Ok(None)
}
