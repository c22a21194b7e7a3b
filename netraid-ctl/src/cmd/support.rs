// SPDX-License-Identifier: GPL-2.0
//! What several sub-commands share: requests by name, the disk and the identity of this machine, a question.

use std::path::{Path, PathBuf};

use anyhow::{anyhow, Context as _, Result};

use crate::cli::Liveness;
use crate::disk;
use crate::env::Env;
use crate::error::{errno, refused, Failure};
use crate::gen::{self, Role};
use crate::model::{Endpoint, Mirror};
use crate::nl::Client;
use crate::node;

/// A request that names a mirror and nothing else.
pub(super) fn by_name(name: &str) -> gen::Mirror {
    gen::Mirror {
        name: Some(name.to_owned()),
        ..gen::Mirror::default()
    }
}

/// A request that names a leg of a mirror.
pub(super) fn by_leg(name: &str, leg: u32) -> gen::Mirror {
    let leg = gen::Leg {
        id: Some(leg),
        ..gen::Leg::default()
    };
    gen::Mirror {
        leg: vec![leg],
        ..by_name(name)
    }
}

/// The mirror, as it is before a command changes it; `action` completes "cannot ...".
pub(super) fn look(client: &mut Client, name: &str, action: &str) -> Result<Mirror> {
    client
        .mirror(name)
        .map(Mirror::from)
        .map_err(|error| refused(action, error, |_| None))
}

/// A request with the identity of this machine filled in.
///
/// # Errors
///
/// When stderr cannot be written; a machine without an identity gets one from the kernel, with a word to the user.
pub(super) fn with_node(mut request: gen::Mirror, env: &mut Env<'_>) -> Result<gen::Mirror> {
    request.node_name = node::name(env.host);
    if request.node_name.is_none() {
        return Err(anyhow!(
            "this machine has no host name to tell the other side; set one with `hostname`"
        ));
    }
    request.node_uuid = node::uuid(env.host);
    if request.node_uuid.is_none() {
        env.note("warning: /etc/machine-id holds no id, so this machine is known by a random one until it restarts")?;
    }
    Ok(request)
}

/// A request with the place to listen filled in.
pub(super) fn with_listen(request: gen::Mirror, listen: &Endpoint, liveness: &Liveness) -> gen::Mirror {
    gen::Mirror {
        address: Some(listen.address()),
        port: Some(u32::from(listen.port)),
        scope_id: listen.scope_id(),
        heartbeat_ms: liveness.heartbeat,
        timeout_ms: liveness.timeout,
        ..request
    }
}

/// The disk as the kernel gets it: an absolute path to a disk nobody uses.
///
/// # Errors
///
/// Says why the disk cannot be used.
pub(super) fn usable_disk(path: &Path, client: &mut Client, env: &Env<'_>, action: &str) -> Result<String> {
    let absolute = if path.is_absolute() {
        path.to_owned()
    } else {
        env.host
            .current_dir()
            .context("the current directory is gone")?
            .join(path)
    };
    let mirrors = disks_of_mirrors(client, action)?;
    disk::check(env.host, &absolute, &mirrors)
        .map_err(|unfit| anyhow!("cannot {action}: the disk {} cannot be used: {unfit}", path.display()))?;
    path_text(absolute)
}

fn path_text(path: PathBuf) -> Result<String> {
    let text = path.into_os_string().into_string();
    text.map_err(|path| {
        anyhow!(
            "the path of the disk {} is not UTF-8; use another link to it",
            path.to_string_lossy()
        )
    })
}

/// The mirrors in service, name and disk.
///
/// # Errors
///
/// What the kernel reports.
pub(super) fn disks_of_mirrors(client: &mut Client, action: &str) -> Result<Vec<(String, String)>> {
    let mirrors = client.mirrors().map_err(|error| refused(action, error, |_| None))?;
    // A stopped mirror has released its disk.
    let in_service = mirrors.into_iter().filter(|mirror| mirror.role != Some(Role::Stopped));
    Ok(in_service
        .filter_map(|mirror| Some((mirror.name?, mirror.disk?)))
        .collect())
}

/// The next step when a new mirror was refused.
pub(super) fn new_step(number: i32) -> Option<&'static str> {
    match number {
        errno::EEXIST => Some("`netraid-ctl status` shows what there is"),
        errno::EADDRINUSE | errno::EADDRNOTAVAIL => listen_step(number),
        errno::EBUSY => Some("`netraid-ctl disks --all` may say who uses it"),
        errno::ENOENT => Some("`netraid-ctl disks` lists the disks that can be used"),
        _ => None,
    }
}

/// The next step when a place to listen was refused.
pub(super) fn listen_step(number: i32) -> Option<&'static str> {
    match number {
        errno::EADDRINUSE => Some("choose another address or port with --listen"),
        errno::EADDRNOTAVAIL => Some("`ip address` lists them, and --listen takes one"),
        _ => None,
    }
}

/// Asks before something is lost, unless the user has said yes already.
///
/// # Errors
///
/// When the answer is not yes, or there is nobody to ask.
pub(super) fn confirm(loss: &str, yes: bool, env: &mut Env<'_>) -> Result<()> {
    if yes {
        env.note(loss)?;
        return Ok(());
    }
    if !env.terminals.input {
        let text = format!("{loss}, and there is no terminal to ask on; say --yes if that is meant");
        return Err(anyhow!(Failure::Usage(text)));
    }
    write!(env.err, "{loss}. Go on? [y/N] ")?;
    env.err.flush()?;
    let mut answer = String::new();
    env.input.read_line(&mut answer).context("the answer cannot be read")?;
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        Ok(())
    } else {
        Err(anyhow!(Failure::Usage("not confirmed, nothing was changed".to_owned())))
    }
}
