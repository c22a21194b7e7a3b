// SPDX-License-Identifier: GPL-2.0
//! `attach`: put a disk in where the one of a source was given up.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{anyhow, Context as _, Result};

use super::load::block_at;
use super::support::{by_name, confirm, look, usable_disk};
use crate::cli::Attach;
use crate::config::{MirrorConfig, Store};
use crate::disk::{identity, Table};
use crate::env::Env;
use crate::error::{refused, Status};
use crate::gen::{self, cmd};
use crate::nl::Client;
use crate::place;

pub(super) fn run(args: &Attach, env: &mut Env<'_>) -> Result<Status> {
    let name = &args.mirror.name;
    let action = format!("put a disk in for mirror {name}");
    let mut client = Client::open(env.kernel)?;
    let before = look(&mut client, name, &action)?;
    let present = before.told.disk.clone().unwrap_or_default();
    // The disk in use is its own; any other one has to be free.
    let other = args.disk.as_deref().filter(|disk| *disk != Path::new(&present));
    let disk = match other {
        Some(disk) => {
            let disk = usable_disk(disk, &mut client, env, &action)?;
            place::check_disk(&disk, name, env).with_context(|| format!("cannot {action}"))?;
            disk
        }
        None => present,
    };
    confirm(
        &format!("the content of {disk} will be replaced by that of mirror {name}"),
        args.yes,
        env,
    )?;
    let request = gen::Mirror {
        disk: other.map(|_| disk.clone()),
        ..by_name(name)
    };
    let store = Store::new(env.paths);
    let kept = store.load(name).with_context(|| format!("cannot {action}"))?;
    // First: a machine that restarts in between must not take the old disk for the one that was filled.
    if let Some(config) = &kept {
        store
            .save(&moved(config, &disk, env))
            .with_context(|| format!("cannot {action}"))?;
    }
    if let Err(error) = client.request(cmd::MIRROR_ATTACH, &request) {
        let refusal = refused(&action, error, |_| None);
        let restored = kept.as_ref().map_or(Ok(()), |config| store.save(config));
        return Err(match restored {
            Ok(()) => refusal,
            Err(failed) => anyhow!("{refusal}; nor could its configuration be put back: {failed}"),
        });
    }
    writeln!(
        env.out,
        "{disk} is being filled with the data of mirror {name}; `netraid-ctl status {name}` shows how far it is."
    )?;
    Ok(Status::Done)
}

/// The configuration with another disk.
fn moved(config: &MirrorConfig, disk: &str, env: &Env<'_>) -> MirrorConfig {
    let table = Table::read(env.host, &HashMap::new());
    let disk_id = block_at(&table, disk, env).and_then(|block| identity(env.host, &table, block));
    let mut config = config.clone();
    config.disk = disk.to_owned();
    config.disk_id = disk_id;
    config
}
