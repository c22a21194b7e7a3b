// SPDX-License-Identifier: GPL-2.0
//! `up` and `down`: all mirrors of a machine, or some, into service and out of it, as a machine starts and stops.
//!
//! With several mirrors, one that is refused does not keep the others from their service.

use anyhow::{anyhow, Result};

use super::load::{describe, in_service, loaded, start, Start};
use super::support::{by_name, look};
use crate::cli::{Down, Up};
use crate::config::Store;
use crate::env::Env;
use crate::error::{refused, Status};
use crate::gen::{self, cmd, StartMode};
use crate::model::Mirror;
use crate::nl::{Client, NlError};

pub(super) fn up(args: &Up, env: &mut Env<'_>) -> Result<Status> {
    let mut client = Client::open(env.kernel)?;
    let names = if args.all {
        everything(&mut client, env)?
    } else {
        args.names.clone()
    };
    if names.is_empty() {
        writeln!(
            env.out,
            "There are no mirrors on this machine; `netraid-ctl create NAME --disk PATH` makes one."
        )?;
    }
    each(&names, env, |name, env| up_one(name, args.all, &mut client, env))
}

/// The mirrors that are configured, and those that are in the kernel.
fn everything(client: &mut Client, env: &Env<'_>) -> Result<Vec<String>> {
    let mut names = Store::new(env.paths).names()?;
    names.extend(client.mirrors()?.into_iter().filter_map(|mirror| mirror.name));
    names.sort();
    names.dedup();
    Ok(names)
}

/// Does something to each mirror; one failure is that of the command, several are told one by one.
fn each(
    names: &[String],
    env: &mut Env<'_>,
    mut one: impl FnMut(&str, &mut Env<'_>) -> Result<String>,
) -> Result<Status> {
    let mut status = Status::Done;
    for name in names {
        match one(name, env) {
            Ok(line) => writeln!(env.out, "{line}")?,
            Err(error) if names.len() == 1 => return Err(error),
            Err(error) => {
                env.note(&format!("{error:#}"))?;
                status = Status::Refused;
            }
        }
    }
    Ok(status)
}

/// Whether other machines may have it in service. What is wrong with a configuration is told by who needs it.
fn is_shared(name: &str, env: &Env<'_>) -> bool {
    let config = Store::new(env.paths).load(name);
    matches!(config, Ok(Some(config)) if config.shared)
}

fn up_one(name: &str, all: bool, client: &mut Client, env: &mut Env<'_>) -> Result<String> {
    let action = format!("bring mirror {name} up");
    if all && is_shared(name, env) && !client.find(name)?.map(Mirror::from).as_ref().is_some_and(in_service) {
        return Ok(format!(
            "Mirror {name} is on a shared disk and left to whoever knows which machine is to have it; `netraid-ctl up {name}` \
             brings it up."
        ));
    }
    let before = loaded(name, client, env, &action)?;
    if in_service(&before) {
        return Ok(format!("Mirror {name} is up already: {}.", describe(&before)));
    }
    if all && before.told.stopped {
        return Ok(format!(
            "Mirror {name} was stopped by an operator and stays so; `netraid-ctl up {name}` brings it up."
        ));
    }
    let how = Start {
        // Who names a mirror wants it, whoever stopped it.
        override_: !all,
        ..Start::new(StartMode::Auto)
    };
    start(&before, how, client).map_err(|error| refused(&action, error, |_| None))?;
    let mirror = look(client, name, &action)?;
    Ok(format!("Mirror {name} is up: {}.", describe(&mirror)))
}

pub(super) fn down(args: &Down, env: &mut Env<'_>) -> Result<Status> {
    let mut client = match Client::open(env.kernel) {
        // Without the module no mirror is in service.
        Err(NlError::NotLoaded) if args.all => {
            writeln!(env.out, "No mirror is up; the netraid module is not loaded.")?;
            return Ok(Status::Done);
        }
        other => other?,
    };
    let names = if args.all {
        let all = client.mirrors()?.into_iter().map(Mirror::from);
        all.filter(in_service).map(|mirror| mirror.name).collect()
    } else {
        args.names.clone()
    };
    if names.is_empty() {
        writeln!(env.out, "No mirror is up.")?;
    }
    each(&names, env, |name, env| down_one(name, args.force, &mut client, env))
}

fn down_one(name: &str, force: bool, client: &mut Client, env: &Env<'_>) -> Result<String> {
    let action = format!("take mirror {name} down");
    let found = client.find(name).map_err(|error| refused(&action, error, |_| None))?;
    let already = || Ok(format!("Mirror {name} is down already."));
    let Some(mirror) = found.map(Mirror::from) else {
        if Store::new(env.paths).names()?.iter().any(|known| known == name) {
            return already();
        }
        return Err(anyhow!(
            "cannot {action}: there is no mirror {name} on this machine; `netraid-ctl list` lists those there are"
        ));
    };
    if !in_service(&mirror) {
        return already();
    }
    let request = gen::Mirror {
        force,
        keep_role: true,
        ..by_name(name)
    };
    client
        .request(cmd::MIRROR_STOP, &request)
        .map_err(|error| refused(&action, error, |_| None))?;
    Ok(format!(
        "Mirror {name} is down; it was {} and comes up so again.",
        mirror.role
    ))
}
