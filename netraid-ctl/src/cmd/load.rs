// SPDX-License-Identifier: GPL-2.0
//! Bringing a mirror that is configured back into the kernel, and into service there.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{anyhow, Context as _, Result};

use super::peers::Peers;
use super::support::{by_name, look, new_step, with_node};
use crate::addr;
use crate::config::{Metadata, MirrorConfig, Store};
use crate::disk::{identity, Block, Kind, Table};
use crate::env::Env;
use crate::error::refused;
use crate::gen::{self, cmd, Role, StartMode};
use crate::model::Mirror;
use crate::nl::{Client, NlError};

/// How long the kernel may take to start a mirror, apart from what its other machines take to answer.
const START: Duration = Duration::from_secs(60);

/// How a mirror is started.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    /// See the spec.
    pub(super) mode: StartMode,
    /// See the spec.
    pub(super) override_: bool,
    /// Although the block device is open.
    pub(super) force: bool,
}

impl Start {
    /// A start in this mode, and nothing special.
    pub(super) const fn new(mode: StartMode) -> Self {
        Self {
            mode,
            override_: false,
            force: false,
        }
    }
}

/// The mirror, which is loaded from its metadata if it is configured and not in the kernel.
///
/// # Errors
///
/// Says why it cannot be loaded; `action` completes "cannot ...".
pub(super) fn loaded(name: &str, client: &mut Client, env: &mut Env<'_>, action: &str) -> Result<Mirror> {
    let found = client.find(name).map_err(|error| refused(action, error, |_| None))?;
    let found = found.map(Mirror::from);
    if let Some(mirror) = found.as_ref().filter(|mirror| in_service(mirror)) {
        return Ok(mirror.clone());
    }
    let store = Store::new(env.paths);
    let config = store.load(name);
    if let Some(mirror) = found {
        // Its disk was released, and may be another one by now.
        if let Ok(Some(config)) = config {
            is_same_disk(&config, &store, env).with_context(|| format!("cannot {action}"))?;
        }
        return Ok(mirror);
    }
    let Some(config) = config.with_context(|| format!("cannot {action}"))? else {
        return Err(anyhow!(
            "cannot {action}: there is no mirror {name} on this machine; `netraid-ctl list` lists those there are"
        ));
    };
    is_same_disk(&config, &store, env).with_context(|| format!("cannot {action}"))?;
    let request = attach(&config, env).with_context(|| format!("cannot {action}"))?;
    let bitmap = match config.metadata() {
        Metadata::Path(path) | Metadata::NoBitmap(path) => path,
        Metadata::Internal => format!("at the end of {}", config.disk),
    };
    client.request(cmd::MIRROR_NEW, &request).map_err(|error| {
        let action = format!("{action} with the bitmap {bitmap}");
        refused(&action, error, |errno| new_step(errno).map(str::to_owned))
    })?;
    look(client, name, action)
}

/// The disk or partition at a path.
pub(super) fn block_at<'a>(table: &'a Table, path: &str, env: &Env<'_>) -> Option<&'a Block> {
    match env.host.stat(Path::new(path)) {
        Ok(Kind::Block(device)) => table.find(device),
        _ => None,
    }
}

/// Whether the disk of a mirror is the one it was made of. What is remembered of the content of one does not hold for
/// another. A disk that is not there is left to the kernel.
fn is_same_disk(config: &MirrorConfig, store: &Store, env: &Env<'_>) -> Result<()> {
    let Some(known) = &config.disk_id else { return Ok(()) };
    let table = Table::read(env.host, &HashMap::new());
    let Some(block) = block_at(&table, &config.disk, env) else {
        return Ok(());
    };
    let now = identity(env.host, &table, block);
    if now.as_ref() == Some(known) {
        return Ok(());
    }
    let (name, disk, path) = (&config.name, &config.disk, store.path(&config.name));
    let now = now.unwrap_or_else(|| "one without a number".to_owned());
    let moved = table
        .iter()
        .find(|(block, _)| identity(env.host, &table, block).as_ref() == Some(known));
    let next = match moved {
        Some((there, _)) => format!(
            "that one is {} now; write that into {}, or better a path below /dev/disk/by-id",
            there.path(),
            path.display()
        ),
        None => format!(
            "put the old one back; to go on with this one, `netraid-ctl delete {name}` and make the mirror anew, which \
             copies everything. If it is the same disk with another number, remove `disk-id` from {}",
            path.display()
        ),
    };
    Err(anyhow!(
        "{disk} is not the disk it was: {known} was given to mirror {name}, this is {now}; {next}"
    ))
}

/// The request that loads a mirror from its metadata.
fn attach(config: &MirrorConfig, env: &mut Env<'_>) -> Result<gen::Mirror> {
    let metadata = config.metadata();
    let listen = config.listen.as_ref().map(|text| addr::listen(env.host, text));
    let listen = listen.transpose()?;
    let request = gen::Mirror {
        id: config.id,
        disk: Some(config.disk.clone()),
        meta_path: metadata.path().map(str::to_owned),
        meta_internal: metadata == Metadata::Internal,
        attach: true,
        address: listen.map(|place| place.address()),
        port: listen.map(|place| u32::from(place.port)),
        scope_id: listen.and_then(|place| place.scope_id()),
        heartbeat_ms: config.heartbeat,
        timeout_ms: config.timeout,
        ..by_name(&config.name)
    };
    with_node(request, env)
}

/// Asks the kernel to start a mirror, as `before` shows it, and waits as long as asking the other machines may take.
///
/// # Errors
///
/// What the kernel says.
pub(super) fn start(before: &Mirror, how: Start, client: &mut Client) -> Result<(), NlError> {
    let request = gen::Mirror {
        mode: Some(how.mode),
        override_: how.override_,
        force: how.force,
        ..by_name(&before.name)
    };
    let limit = START.saturating_add(Peers::of(before).patience);
    client.request_within(cmd::MIRROR_START, &request, limit).map(|_| ())
}

/// Whether a mirror is in service.
pub(super) const fn in_service(mirror: &Mirror) -> bool {
    matches!(mirror.role, Role::Source | Role::Target)
}

/// What a mirror in service is, `source, /dev/netraid0`.
pub(super) fn describe(mirror: &Mirror) -> String {
    let device = mirror.device().map(|device| format!(", {device}"));
    let listen = || mirror.listen().map(|place| format!(", listening on {place}"));
    let more = match mirror.role {
        Role::Source => device,
        Role::Target => device.or_else(listen),
        _ => None,
    };
    format!("{}{}", mirror.role, more.unwrap_or_default())
}
