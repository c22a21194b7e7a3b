// SPDX-License-Identifier: GPL-2.0
//! `list`: the mirrors of this machine, loaded or not.

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::cli::List;
use crate::config::Store;
use crate::env::Env;
use crate::error::Status;
use crate::model::Mirror;
use crate::nl::{Client, NlError};
use crate::output::json::VERSION;

/// What `--json` prints.
#[derive(Serialize)]
struct Document {
    version: u32,
    mirrors: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    name: String,
    /// Its role in the kernel, `null` when it is not loaded there.
    role: Option<&'static str>,
    device: Option<String>,
    disk: Option<String>,
    loaded: bool,
    configured: bool,
    /// Why its configuration cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
}

pub(super) fn run(args: &List, env: &mut Env<'_>) -> Result<Status> {
    let loaded = match Client::open(env.kernel) {
        Ok(mut client) => client.mirrors()?,
        // Without the module nothing is loaded.
        Err(NlError::NotLoaded) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let entries = entries(loaded.into_iter().map(Mirror::from).collect(), &Store::new(env.paths))?;
    if args.json {
        let document = Document {
            version: VERSION,
            mirrors: entries,
        };
        let text = serde_json::to_string_pretty(&document).context("the list cannot be written as JSON")?;
        writeln!(env.out, "{text}")?;
        return Ok(Status::Done);
    }
    if entries.is_empty() {
        env.note("there are no mirrors on this machine")?;
    }
    let width = entries.iter().map(|entry| entry.name.len()).max().unwrap_or_default();
    for entry in &entries {
        let role = entry.role.unwrap_or("not loaded");
        let place = entry.device.as_deref().unwrap_or("-");
        let disk = entry.disk.as_deref().unwrap_or("-");
        writeln!(env.out, "{:<width$}  {role:<10}  {place:<14}  {disk}", entry.name)?;
        if let Some(fault) = &entry.fault {
            env.note(&format!("warning: {fault}"))?;
        }
    }
    Ok(Status::Done)
}

fn entries(loaded: Vec<Mirror>, store: &Store) -> Result<Vec<Entry>> {
    let configured = store.names()?;
    let mut entries: Vec<Entry> = loaded
        .iter()
        .map(|mirror| Entry {
            name: mirror.name.clone(),
            role: Some(mirror.role.name()),
            device: mirror.device(),
            disk: mirror.told.disk.clone(),
            loaded: true,
            configured: configured.contains(&mirror.name),
            fault: None,
        })
        .collect();
    for name in configured {
        if loaded.iter().any(|mirror| mirror.name == name) {
            continue;
        }
        let (disk, fault) = match store.load(&name) {
            Ok(config) => (config.map(|config| config.disk), None),
            Err(error) => (None, Some(error.to_string())),
        };
        entries.push(Entry {
            name,
            role: None,
            device: None,
            disk,
            loaded: false,
            configured: true,
            fault,
        });
    }
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(entries)
}
