// SPDX-License-Identifier: GPL-2.0
//! `switchover`: swap the roles of this machine, a target, and the source.

use anyhow::{anyhow, Result};

use super::follow::{listen, until, Seen};
use super::load::in_service;
use super::support::{by_name, look};
use crate::cli::Switchover;
use crate::env::Env;
use crate::error::{refused, Failure, Status};
use crate::gen::{cmd, Role};
use crate::model::device_path;

pub(super) fn run(args: &Switchover, env: &mut Env<'_>) -> Result<Status> {
    let name = &args.mirror.name;
    let action = format!("switch mirror {name} over");
    let mut stream = listen(env, name, &action)?;
    let before = look(stream.client(), name, &action)?;
    if before.role == Role::Source {
        writeln!(
            env.out,
            "This machine is the source of mirror {name} already; the target that shall be the source switches over."
        )?;
        return Ok(Status::Done);
    }
    if !in_service(&before) {
        return Err(anyhow!(
            "cannot {action}: it is out of service on this machine; `netraid-ctl up {name}` brings it up"
        ));
    }
    let other = before
        .legs
        .first()
        .map_or_else(|| "the source".to_owned(), |leg| leg.peer());
    stream
        .client()
        .request_within(cmd::MIRROR_SWITCHOVER, &by_name(name), args.timeout)
        .map_err(|error| refused(&action, error, |_| None))?;
    let mut role = before.role;
    let reached = until(env, name, &mut stream, args.timeout, |seen| match seen {
        Seen::Mirror(mirror) => {
            role = mirror.role;
            Ok((role == Role::Source).then(|| mirror.clone()))
        }
        Seen::Refused(_) => Ok(None),
        Seen::Gone => Err(anyhow!("cannot {action}: the mirror was deleted meanwhile")),
    })?;
    let Some(mirror) = reached else {
        return Err(anyhow!(Failure::Timeout(format!(
            "mirror {name} is not switched over after {} seconds, this machine's role is {role}; `netraid-ctl status \
             {name}` on both machines shows how it stands",
            args.timeout.as_secs_f64()
        ))));
    };
    let device = mirror
        .told
        .id
        .map(|id| format!(", {}", device_path(id)))
        .unwrap_or_default();
    writeln!(
        env.out,
        "Mirror {name} is switched over: {} is the source now{device}, {other} its target.",
        mirror.node()
    )?;
    Ok(Status::Done)
}
