// SPDX-License-Identifier: GPL-2.0
//! `status`: show mirrors.

use std::time::Duration;

use anyhow::{anyhow, Context as _, Result};

use crate::cli::Status as Args;
use crate::config::Store;
use crate::env::Env;
use crate::error::{errno::ENOENT, refused, Status};
use crate::gen;
use crate::model::Mirror;
use crate::nl::{Client, EventStream, Item, NlError};
use crate::output::json::StatusDocument;
use crate::output::text;

/// How long to watch before asking again without any event.
const WATCH: Duration = Duration::from_secs(60);
/// Cursor to the upper left corner, and everything from there on cleared.
const CLEAR: &str = "\x1b[H\x1b[2J";

pub(super) fn run(args: &Args, env: &mut Env<'_>) -> Result<Status> {
    if args.watch {
        return watch(args, env);
    }
    let asked = ask(&mut Client::open(env.kernel)?, args.name.as_deref());
    let mirrors = asked.map_err(|error| match (&args.name, error.errno()) {
        (Some(name), Some(ENOENT)) if configured(env).contains(name) => {
            anyhow!("mirror {name} is not loaded; `netraid-ctl up {name}` brings it up")
        }
        _ => unknown(args, error),
    })?;
    let text = render(args, &mirrors, &[])?;
    env.out.write_all(text.as_bytes())?;
    let names = configured(env);
    let missing = |name: &&String| !mirrors.iter().any(|mirror| mirror.name == **name);
    let missing: Vec<&str> = names.iter().filter(missing).map(String::as_str).collect();
    if args.name.is_none() && !missing.is_empty() {
        env.note(&format!(
            "not loaded: {}; `netraid-ctl up --all` brings up what is configured",
            missing.join(", ")
        ))?;
    }
    let degraded = args.check && !mirrors.iter().all(Mirror::is_operational);
    Ok(if degraded { Status::Degraded } else { Status::Done })
}

/// The mirrors that are configured; of a directory that cannot be read, none.
fn configured(env: &Env<'_>) -> Vec<String> {
    Store::new(env.paths).names().unwrap_or_default()
}

fn unknown(args: &Args, error: NlError) -> anyhow::Error {
    let what = args
        .name
        .as_ref()
        .map(|name| format!(" of mirror {name}"))
        .unwrap_or_default();
    refused(&format!("show the status{what}"), error, |_| None)
}

fn ask(client: &mut Client, name: Option<&str>) -> Result<Vec<Mirror>, NlError> {
    let told = match name {
        Some(name) => vec![client.mirror(name)?],
        None => client.mirrors()?,
    };
    Ok(models(told))
}

fn models(told: Vec<gen::Mirror>) -> Vec<Mirror> {
    told.into_iter().map(Mirror::from).collect()
}

fn render(args: &Args, mirrors: &[Mirror], earlier: &[Mirror]) -> Result<String> {
    if args.json {
        let document = StatusDocument::new(mirrors);
        let text = if args.watch {
            serde_json::to_string(&document)
        } else {
            serde_json::to_string_pretty(&document)
        };
        return Ok(format!("{}\n", text.context("the status cannot be written as JSON")?));
    }
    if mirrors.is_empty() {
        let hint = "`netraid-ctl create NAME --disk PATH` makes one, `netraid-ctl disks` lists the disks";
        return Ok(format!("There are no mirrors on this machine; {hint}.\n"));
    }
    let blocks: Vec<String> = mirrors.iter().map(|mirror| block(args, mirror, earlier)).collect();
    Ok(blocks.join("\n"))
}

fn block(args: &Args, mirror: &Mirror, earlier: &[Mirror]) -> String {
    let before = earlier.iter().find(|known| known.name == mirror.name);
    let status = text::status(mirror, before);
    if args.detail {
        format!("{}{status}", text::detail(mirror))
    } else if args.name.is_none() {
        format!("{}\n{status}", text::heading(mirror))
    } else {
        status
    }
}

/// Shows the status again whenever an event says that it changed.
fn watch(args: &Args, env: &mut Env<'_>) -> Result<Status> {
    let opened = EventStream::open(env.kernel, args.name.as_deref());
    let mut stream = opened.map_err(|error| unknown(args, error))?;
    let (mut earlier, mut shown) = (Vec::new(), String::new());
    loop {
        let mirrors = match stream.next(WATCH)? {
            Item::Snapshot(told) => models(told),
            Item::Event(_) | Item::Quiet => match ask(stream.client(), args.name.as_deref()) {
                Err(error) if args.name.is_some() && error.errno() == Some(ENOENT) => Vec::new(),
                other => other.map_err(|error| unknown(args, error))?,
            },
            Item::Lost(_) => continue,
        };
        let text = render(args, &mirrors, &earlier)?;
        if text != shown {
            let screen = env.terminals.output && !args.json;
            let (before, after) = if screen {
                (CLEAR, "")
            } else {
                ("", if args.json { "" } else { "\n" })
            };
            write!(env.out, "{before}{text}{after}")?;
            env.out.flush()?;
            shown = text;
        }
        if args.name.is_some() && mirrors.is_empty() {
            return Ok(Status::Done);
        }
        earlier = mirrors;
    }
}
