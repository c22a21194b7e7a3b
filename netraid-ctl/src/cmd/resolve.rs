// SPDX-License-Identifier: GPL-2.0
//! `resolve`: end a split brain in one step on each machine, whatever state the mirror is in.

use anyhow::{anyhow, Result};

use super::load::{loaded, start, Start};
use super::peers::Peers;
use super::promote::tell_source;
use super::support::{by_name, confirm, look};
use crate::cli::Resolve;
use crate::env::Env;
use crate::error::{refused, Status};
use crate::gen::{self, cmd, Role, StartMode};
use crate::model::Mirror;
use crate::nl::Client;
use crate::node;

pub(super) fn run(args: &Resolve, env: &mut Env<'_>) -> Result<Status> {
    let name = &args.mirror.name;
    let action = format!("resolve mirror {name}");
    let mut client = Client::open(env.kernel)?;
    let mirror = loaded(name, &mut client, env, &action)?;
    let here = mirror.told.node_name.clone().or_else(|| node::name(env.host));
    let here = here.unwrap_or_else(|| "this machine".to_owned());
    let others = Peers::of(&mirror).names;
    if args.keep == here {
        return keep(args, &mirror, &others, &mut client, env);
    }
    if others.contains(&args.keep) {
        return give_up(args, &mirror, &mut client, env);
    }
    let known: Vec<String> = std::iter::once(format!("{here} (this one)")).chain(others).collect();
    Err(anyhow!(
        "cannot {action}: there is no machine `{}` in it; the machines are {}",
        args.keep,
        known.join(", ")
    ))
}

/// The data of this machine stays.
fn keep(args: &Resolve, mirror: &Mirror, others: &[String], client: &mut Client, env: &mut Env<'_>) -> Result<Status> {
    let name = &mirror.name;
    let action = format!("resolve mirror {name}");
    start(mirror, Start::new(StartMode::Keep), client).map_err(|error| refused(&action, error, |_| None))?;
    tell_source(name, &action, client, env)?;
    let there = if others.is_empty() {
        "the other machine".to_owned()
    } else {
        others.join(" and ")
    };
    writeln!(
        env.out,
        "Run `netraid-ctl resolve {name} --keep {}` on {there}, too; what was written there alone is given up then.",
        args.keep
    )?;
    Ok(Status::Done)
}

/// The data of another machine stays, and what this one wrote alone goes.
fn give_up(args: &Resolve, mirror: &Mirror, client: &mut Client, env: &mut Env<'_>) -> Result<Status> {
    let name = &mirror.name;
    let action = format!("resolve mirror {name}");
    let open = mirror.told.open_count.unwrap_or_default();
    if open > 0 && !args.force {
        let device = mirror.device().unwrap_or_else(|| "its block device".to_owned());
        return Err(anyhow!(
            "cannot {action}: {device} is in use ({open} open); unmount it first, or say --force"
        ));
    }
    let loss = format!(
        "what this machine wrote to mirror {name} since it was last in step with {} is given up",
        args.keep
    );
    confirm(&loss, args.yes, env)?;
    if mirror.role == Role::Source {
        let request = gen::Mirror {
            force: args.force,
            keep_role: true,
            ..by_name(name)
        };
        client
            .request(cmd::MIRROR_STOP, &request)
            .map_err(|error| refused(&action, error, |_| None))?;
    }
    let how = Start {
        force: args.force,
        ..Start::new(StartMode::Yield)
    };
    start(mirror, how, client).map_err(|error| refused(&action, error, |_| None))?;
    let after = look(client, name, &action)?;
    let place = after.listen().map(|place| format!(" on {place}")).unwrap_or_default();
    writeln!(
        env.out,
        "Mirror {name} is a target here and waits for {}{place}; it becomes its copy once {} is the source, for which \
         `netraid-ctl resolve {name} --keep {}` is run there.",
        args.keep, args.keep, args.keep
    )?;
    Ok(Status::Done)
}
