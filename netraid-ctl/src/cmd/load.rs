// SPDX-License-Identifier: GPL-2.0
//! Bringing a mirror that is configured back into the kernel, and into service there.

use std::time::Duration;

use anyhow::{anyhow, Context as _, Result};

use super::peers::Peers;
use super::support::{by_name, look, new_step, with_node};
use crate::addr;
use crate::config::{Metadata, MirrorConfig, Store};
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
    if let Some(mirror) = found {
        return Ok(Mirror::from(mirror));
    }
    let config = Store::new(env.paths)
        .load(name)
        .with_context(|| format!("cannot {action}"))?;
    let Some(config) = config else {
        return Err(anyhow!(
            "cannot {action}: there is no mirror {name} on this machine; `netraid-ctl list` lists those there are"
        ));
    };
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
