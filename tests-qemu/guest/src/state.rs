// SPDX-License-Identifier: GPL-2.0
//! The disk that outlives the machine: what netraid keeps between two boots is on it.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use netraid_guest::proto::{STATE_DIR, STATE_SERIAL};
use nix::{
    errno::Errno,
    mount::{mount, MsFlags},
};

/// Folders of netraid that are kept, with their names on that disk.
const FOLDERS: [(&str, &str); 2] = [("/var/lib/netraid", "lib"), ("/etc/netraid", "etc")];
/// A file that is kept; it need not be there.
const FILE: (&str, &str) = ("/etc/default/netraid", "default");

/// Mounts the disk, if the machine has one, and leads the places of netraid to it; harmless when it is mounted.
pub(crate) fn mount_disk() -> Result<()> {
    let Some(disk) = find()? else { return Ok(()) };
    fs::create_dir_all(STATE_DIR).with_context(|| format!("make {STATE_DIR}"))?;
    match mount(Some(&disk), STATE_DIR, Some("ext4"), MsFlags::MS_NOATIME, None::<&str>) {
        Ok(()) => {}
        Err(Errno::EBUSY) => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("mount {} on {STATE_DIR}", disk.display())),
    }
    for (place, name) in FOLDERS {
        let there = Path::new(STATE_DIR).join(name);
        for folder in [Path::new(place), &there] {
            fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        }
        let none = None::<&str>;
        mount(Some(&there), place, none, MsFlags::MS_BIND, none)
            .with_context(|| format!("mount {} on {place}", there.display()))?;
    }
    let there = Path::new(STATE_DIR).join(FILE.1);
    match symlink(&there, FILE.0) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("lead {} to {}", FILE.0, there.display()))
        }
        _ => Ok(()),
    }
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
