// SPDX-License-Identifier: GPL-2.0
//! `disks`: list the disks and partitions that a mirror could use.

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::support::disks_of_mirrors;
use crate::cli::Disks;
use crate::disk::{by_device, Block, Table, Use};
use crate::env::Env;
use crate::error::Status;
use crate::nl::{Client, NlError};
use crate::output::json::VERSION;
use crate::output::text::bytes;

/// What `--json` prints.
#[derive(Serialize)]
struct Document {
    version: u32,
    disks: Vec<Disk>,
    others: Vec<Disk>,
}

#[derive(Serialize)]
struct Disk {
    path: String,
    kind: &'static str,
    size: u64,
    eligible: bool,
    reason: Option<String>,
}

pub(super) fn run(args: &Disks, env: &mut Env<'_>) -> Result<Status> {
    // Without the module there are no mirrors that could use a disk, and the list is as good.
    let mirrors = match Client::open(env.kernel) {
        Ok(mut client) => disks_of_mirrors(&mut client, "list the mirrors")?,
        Err(NlError::NotLoaded) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let mut table = Table::read(env.host, &by_device(env.host, &mirrors));
    table.find_claims(env.host);
    let (disks, others): (Vec<Disk>, Vec<Disk>) = table
        .iter()
        .map(|(block, verdict)| disk(block, verdict))
        .partition(|disk| disk.eligible);
    if args.json {
        let document = Document {
            version: VERSION,
            disks,
            others,
        };
        let text = serde_json::to_string_pretty(&document).context("the disks cannot be written as JSON")?;
        writeln!(env.out, "{text}")?;
        return Ok(Status::Done);
    }
    show(&disks, env)?;
    if disks.is_empty() {
        env.note("no disk or partition of this machine can be used by a mirror")?;
    }
    if args.all {
        show(&others, env)?;
    } else if !others.is_empty() {
        env.note(&format!(
            "{} others cannot be used; `netraid-ctl disks --all` says why",
            others.len()
        ))?;
    }
    Ok(Status::Done)
}

fn disk(block: &Block, verdict: Option<Use>) -> Disk {
    Disk {
        path: block.path(),
        kind: if block.whole.is_some() { "partition" } else { "disk" },
        size: block.size,
        eligible: verdict.is_none(),
        reason: verdict.map(|reason| reason.to_string()),
    }
}

fn show(disks: &[Disk], env: &mut Env<'_>) -> Result<()> {
    let width = disks.iter().map(|disk| disk.path.len()).max().unwrap_or_default();
    for disk in disks {
        let reason = disk
            .reason
            .as_ref()
            .map(|reason| format!("  {reason}"))
            .unwrap_or_default();
        writeln!(
            env.out,
            "{:<width$}  {:<9}  {:>8}{reason}",
            disk.path,
            disk.kind,
            bytes(disk.size)
        )?;
    }
    Ok(())
}
