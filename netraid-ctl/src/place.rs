// SPDX-License-Identifier: GPL-2.0
//! Where the metadata of a mirror may be.
//!
//! The kernel refuses metadata on the mirror itself and metadata that is in use; what is here sees further, down to
//! what carries a file system, and across mirrors that are not loaded, and says what to do.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, Context as _, Result};

use crate::cli::values::Bitmap;
use crate::config::{Metadata, Store};
use crate::disk::{carriers, Block, Device, Kind, Table};
use crate::env::Env;

/// The place that was chosen on the command line, as an absolute path without links.
///
/// # Errors
///
/// When the directory does not exist, or the path is not UTF-8.
pub fn choose(name: &str, choice: Option<&Bitmap>, env: &Env<'_>) -> Result<Metadata> {
    Ok(match choice {
        None => Metadata::Path(usual(&format!("bitmap_{name}"), env)?),
        Some(Bitmap::Internal) => Metadata::Internal,
        Some(Bitmap::None(None)) => Metadata::NoBitmap(usual(&format!("state_{name}"), env)?),
        Some(Bitmap::None(Some(path))) => Metadata::NoBitmap(resolve(path, env)?),
        Some(Bitmap::Path(path)) => Metadata::Path(resolve(path, env)?),
    })
}

fn text(path: PathBuf) -> Result<String> {
    path.into_os_string().into_string().map_err(|path| {
        anyhow!(
            "the path of the bitmap {} is not UTF-8; choose another",
            path.to_string_lossy()
        )
    })
}

/// A file in the directory of bitmaps, which need not exist yet.
fn usual(file: &str, env: &Env<'_>) -> Result<String> {
    let folder = &env.paths.state;
    text(env.host.canonical(folder).unwrap_or_else(|_| folder.clone()).join(file))
}

/// Absolute and without links; the last part need not exist.
fn resolve(path: &Path, env: &Env<'_>) -> Result<String> {
    let absolute = env.host.current_dir().map(|here| here.join(path));
    let absolute = absolute.context("the current directory is gone")?;
    if let Ok(real) = env.host.canonical(&absolute) {
        return text(real);
    }
    let (Some(folder), Some(file)) = (absolute.parent(), absolute.file_name()) else {
        return Err(anyhow!("the path of the bitmap {} names no file", path.display()));
    };
    if folder == env.paths.state {
        // It is made when it is needed.
        return text(absolute);
    }
    let real = env.host.canonical(folder).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => anyhow!(
            "the directory of the bitmap {} does not exist; make it, or choose another place with --bitmap",
            absolute.display()
        ),
        _ => anyhow!(
            "the directory {} for the bitmap cannot be used: {error}",
            folder.display()
        ),
    })?;
    text(real.join(file))
}

/// Where a path leads, and the number of the device that is looked at for it.
pub(crate) struct Spot {
    /// The number of the device at the path, or of the file system it lies on.
    pub(crate) device: Device,
    /// The path is that of a block device.
    is_device: bool,
}

/// Whether the metadata of mirror `name`, on the disk at `disk`, may be at `path`.
///
/// `loaded` has the mirrors of the kernel, name and path of the metadata.
///
/// # Errors
///
/// The reason why not, and what to do.
pub fn check(path: &str, name: &str, disk: &str, loaded: &[(String, String)], env: &Env<'_>) -> Result<()> {
    let table = Table::read(env.host, &std::collections::HashMap::new());
    let spot = spot(Path::new(path), env)?;
    if let Some(other) = owner(path, &spot, name, loaded, env)? {
        return Err(anyhow!(
            "the bitmap {path} belongs to mirror {other}, and two mirrors cannot share one; choose another path with \
             --bitmap"
        ));
    }
    let carriers = carriers(env.host, &table, spot.device);
    if let Some(mirror) = carriers.iter().find(|block| is_own(block)) {
        return Err(anyhow!(
            "the bitmap {path} would lie on {}, a mirror's block device, which cannot be written before its bitmap \
             is; choose a path on another disk with --bitmap",
            mirror.path()
        ));
    }
    if !spot.is_device {
        return Ok(());
    }
    let block = table.find(spot.device);
    if block.is_some_and(|block| overlaps(block, disk, &table, env)) {
        return Err(anyhow!(
            "the bitmap {path} is on the disk {disk} itself; choose another path, or `--bitmap internal` for a new \
             mirror"
        ));
    }
    match block.and_then(|block| table.verdict(block)) {
        Some(used) => Err(anyhow!("the block device {path} cannot hold the bitmap: {used}")),
        None => Ok(()),
    }
}

/// Whether a disk that nobody uses now is free: not the disk, nor the bitmap, of another mirror that is out of service.
///
/// # Errors
///
/// Names that mirror.
pub fn check_disk(disk: &str, name: &str, env: &Env<'_>) -> Result<()> {
    let table = Table::read(env.host, &std::collections::HashMap::new());
    let block = |path: &str| match env.host.stat(Path::new(path)) {
        Ok(Kind::Block(device)) => table.find(device),
        _ => None,
    };
    let store = Store::new(env.paths);
    for other in store.names()?.into_iter().filter(|other| other != name) {
        let Ok(Some(config)) = store.load(&other) else { continue };
        let metadata = config.metadata();
        let places = [
            (config.disk.as_str(), "disk"),
            (metadata.path().unwrap_or_default(), "bitmap"),
        ];
        for (path, what) in places {
            if block(path).is_some_and(|block| overlaps(block, disk, &table, env)) {
                return Err(anyhow!(
                    "the disk {disk} is the {what} of mirror {other}, which is out of service; choose another disk, \
                     or `netraid-ctl delete {other}` forgets that mirror"
                ));
            }
        }
    }
    Ok(())
}

fn is_own(block: &Block) -> bool {
    block.name.starts_with("netraid")
}

/// Whether a device and the disk have bytes in common.
fn overlaps(block: &Block, disk: &str, table: &Table, env: &Env<'_>) -> bool {
    let Ok(Kind::Block(device)) = env.host.stat(Path::new(disk)) else {
        return false;
    };
    let of_disk = table.find(device);
    block.device == device
        || of_disk.is_some_and(|disk| disk.whole.as_ref() == Some(&block.name))
        || of_disk.is_some_and(|disk| block.whole.as_ref() == Some(&disk.name))
}

pub(crate) fn spot(path: &Path, env: &Env<'_>) -> Result<Spot> {
    // Of what does not exist yet, the nearest directory that does.
    let file = || {
        let device = path.ancestors().find_map(|path| env.host.file_system(path).ok());
        let device = device.ok_or_else(|| anyhow!("the place of the bitmap {} cannot be examined", path.display()))?;
        Ok(Spot {
            device,
            is_device: false,
        })
    };
    let wrong = |what| {
        Err(anyhow!(
            "the bitmap cannot be at {}: it is {what}; choose a file or a block device with --bitmap",
            path.display()
        ))
    };
    match env.host.stat(path) {
        Ok(Kind::Block(device)) => Ok(Spot {
            device,
            is_device: true,
        }),
        Ok(Kind::File) => file(),
        Ok(Kind::Directory) => wrong("a directory"),
        Ok(Kind::Character) => wrong("a character device"),
        Ok(Kind::Other) => wrong("a special file"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => file(),
        Err(error) => Err(error).with_context(|| format!("the bitmap {} cannot be examined", path.display())),
    }
}

/// The other mirror that has its metadata there.
fn owner(path: &str, spot: &Spot, name: &str, loaded: &[(String, String)], env: &Env<'_>) -> Result<Option<String>> {
    let same = |other: &str| {
        let device = || match env.host.stat(Path::new(other)) {
            Ok(Kind::Block(device)) => Some(device),
            _ => None,
        };
        other == path || spot.is_device && device() == Some(spot.device)
    };
    let store = Store::new(env.paths);
    let mut known = loaded.to_vec();
    for other in store.names()? {
        // Who has broken a configuration is told so by the commands that need it.
        let Ok(Some(config)) = store.load(&other) else { continue };
        known.extend(config.metadata().path().map(|path| (other, path.to_owned())));
    }
    let found = known.into_iter().find(|(other, path)| other != name && same(path));
    Ok(found.map(|(other, _)| other))
}
