// SPDX-License-Identifier: GPL-2.0
//! `force`: bring a mirror into service as source though nobody answers.

use anyhow::{anyhow, Result};

use super::load::{loaded, start, Start};
use super::peers::Peers;
use super::promote::tell_source;
use super::support::confirm;
use crate::cli::Force;
use crate::env::Env;
use crate::error::{refused, Status};
use crate::gen::{Role, StartMode};
use crate::model::Mirror;
use crate::nl::Client;

pub(super) fn run(args: &Force, env: &mut Env<'_>) -> Result<Status> {
    let name = &args.mirror.name;
    let action = format!("force mirror {name}");
    let mut client = Client::open(env.kernel)?;
    let before = loaded(name, &mut client, env, &action)?;
    if before.role == Role::Source {
        writeln!(env.out, "This machine is already the source of mirror {name}.")?;
        return Ok(Status::Done);
    }
    explain(&before, env)?;
    if !before.told.last_owner && !args.override_ {
        let others = match Peers::of(&before).names.as_slice() {
            [] => "another machine".to_owned(),
            names => names.join(" or "),
        };
        return Err(anyhow!(
            "cannot {action}: this machine was not its last source as far as it knows, so that its data may be older \
             than that of {others}; start the mirror where it was last in service, or say --override if that machine \
             is lost"
        ));
    }
    confirm(
        &format!(
            "the data of this machine is taken for the newest of mirror {name}, and what only another machine holds \
             will be overwritten there; be certain that this machine was the last source"
        ),
        args.yes,
        env,
    )?;
    if !before.told.last_owner {
        let loss = format!(
            "this machine was NOT the last source of mirror {name}: writes that were acknowledged elsewhere since then \
             are lost"
        );
        confirm(&loss, args.yes, env)?;
    }
    let how = Start {
        override_: args.override_,
        ..Start::new(StartMode::Force)
    };
    start(&before, how, &mut client).map_err(|error| refused(&action, error, |_| None))?;
    tell_source(name, &action, &mut client, env)
}

/// Shows what speaks for this machine, and what against it.
fn explain(mirror: &Mirror, env: &mut Env<'_>) -> Result<()> {
    let yes_no = |yes| if yes { "yes" } else { "no" };
    env.note(&format!(
        "mirror {} on {}: last owner: {}, data corrupt: {}",
        mirror.name,
        mirror.node(),
        yes_no(mirror.told.last_owner),
        yes_no(mirror.told.data_corrupt)
    ))?;
    Ok(())
}
