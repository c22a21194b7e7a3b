// SPDX-License-Identifier: GPL-2.0
//! `demote`: make this machine a target.

use anyhow::Result;

use super::support::{by_name, listen_step, look, with_listen};
use crate::addr;
use crate::cli::Demote;
use crate::env::Env;
use crate::error::{errno::EALREADY, refused, Status};
use crate::gen::{cmd, Role};
use crate::nl::Client;

pub(super) fn run(args: &Demote, env: &mut Env<'_>) -> Result<Status> {
    let name = &args.mirror.name;
    let action = format!("demote mirror {name}");
    let listen = addr::listen(env.host, &args.listen)?;
    let mut client = Client::open(env.kernel)?;
    let before = look(&mut client, name, &action)?;
    if before.role == Role::Target {
        let place = before
            .listen()
            .map(|place| format!(" and listens on {place}"))
            .unwrap_or_default();
        writeln!(env.out, "Mirror {name} is already a target here{place}.")?;
        return Ok(Status::Done);
    }
    let request = with_listen(by_name(name), &listen, &args.liveness);
    client.request(cmd::MIRROR_DEMOTE, &request).map_err(|error| {
        refused(&action, error, |errno| match errno {
            EALREADY => Some(format!("`netraid-ctl delete {name}`, then join makes it a target")),
            _ => listen_step(errno).map(str::to_owned),
        })
    })?;
    writeln!(
        env.out,
        "Mirror {name} is a target here and waits for the source on {listen}."
    )?;
    Ok(Status::Done)
}
