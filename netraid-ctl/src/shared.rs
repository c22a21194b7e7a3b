// SPDX-License-Identifier: GPL-2.0
//! Mirrors whose disk several machines share.
//!
//! One machine at a time has such a mirror in service. What it needs goes with the disk: the bitmap is on shared storage,
//! too, on a device that holds no other mirror's, so that each mirror can move by itself.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, Result};

use crate::config::{MirrorConfig, Store};
use crate::disk::{carriers, Block, Device, Host, Kind, Table};
use crate::env::Env;
use crate::place;

/// Whether a new mirror gets on with its machine and the other mirrors there, if it or one of them is shared.
///
/// # Errors
///
/// The reason why not, and what to do.
pub fn check(new: &MirrorConfig, env: &Env<'_>) -> Result<()> {
    let machine = Machine {
        table: Table::read(env.host, &HashMap::new()),
        host: env.host,
        usual: env
            .host
            .canonical(&env.paths.state)
            .unwrap_or_else(|_| env.paths.state.clone()),
    };
    let bitmap = machine.under_bitmap(new, env);
    if new.shared {
        machine.moves(new, &bitmap)?;
    }
    let store = Store::new(env.paths);
    for other in store.names()?.into_iter().filter(|other| *other != new.name) {
        // Who has broken a configuration is told so by the commands that need it.
        let Ok(Some(other)) = store.load(&other) else { continue };
        if !new.shared && !other.shared {
            continue;
        }
        if let Some(device) = common(&bitmap, &machine.under_bitmap(&other, env)) {
            return Err(anyhow!(
                "the bitmap of mirror {} is on {device}, too, and one of the two mirrors is on a shared disk, so that it has \
                 to move without the other; choose a bitmap on another device with --bitmap",
                other.name
            ));
        }
    }
    Ok(())
}

struct Machine<'a> {
    table: Table,
    host: &'a dyn Host,
    /// Where bitmaps are of which nothing else is said.
    usual: PathBuf,
}

impl Machine<'_> {
    /// Whether what belongs to the mirror can move to another machine.
    fn moves(&self, new: &MirrorConfig, bitmap: &[Block]) -> Result<()> {
        let own = self.under(self.host.file_system(Path::new("/")).ok());
        let disk = self.under_device(&new.disk);
        if let Some(device) = common(&disk, &own) {
            return Err(anyhow!(
                "the disk {} is not shared: {device} also carries the root file system of this machine; choose another \
                 disk, or leave --shared-disk out",
                new.disk
            ));
        }
        let usual = |path: &str| Path::new(path).parent() == Some(&self.usual);
        let why = match common(bitmap, &own) {
            _ if new.metadata().path().is_some_and(usual) => {
                format!("in {}, which each machine has for itself", self.usual.display())
            }
            Some(device) => format!("on {device}, which carries the root file system of this machine"),
            None if bitmap.is_empty() => "on no disk".to_owned(),
            None => return Ok(()),
        };
        Err(anyhow!(
            "the bitmap of a mirror on a shared disk has to move with that, and this one would be {why}; choose a place on \
             shared storage with --bitmap, a device or a file on a file system that holds no other bitmap"
        ))
    }

    /// The devices that carry the bitmap of a mirror.
    fn under_bitmap(&self, config: &MirrorConfig, env: &Env<'_>) -> Vec<Block> {
        let metadata = config.metadata();
        let Some(path) = metadata.path() else {
            return self.under_device(&config.disk);
        };
        self.under(place::spot(Path::new(path), env).ok().map(|spot| spot.device))
    }

    fn under_device(&self, path: &str) -> Vec<Block> {
        self.under(self.block(path))
    }

    fn under(&self, device: Option<Device>) -> Vec<Block> {
        device.map_or_else(Vec::new, |device| carriers(self.host, &self.table, device))
    }

    fn block(&self, path: &str) -> Option<Device> {
        match self.host.stat(Path::new(path)) {
            Ok(Kind::Block(device)) => Some(device),
            _ => None,
        }
    }
}

/// A device that is among both.
fn common(some: &[Block], others: &[Block]) -> Option<String> {
    let mut both = some
        .iter()
        .filter(|block| others.iter().any(|it| it.device == block.device));
    // The lowest of them is the disk and not a partition of it.
    both.next_back().map(Block::path)
}
