// SPDX-License-Identifier: GPL-2.0
//! `demote`: make this machine a target.

use anyhow::Result;

use super::support::{by_name, listen_step, look, with_listen};
use crate::addr::{self, DEFAULT_PORT};
use crate::cli::Demote;
use crate::config::Store;
use crate::env::Env;
use crate::error::{errno::EALREADY, refused, Status};
use crate::gen::{cmd, Role};
use crate::model::Endpoint;
use crate::nl::Client;

pub(super) fn run(args: &Demote, env: &mut Env<'_>) -> Result<Status> {
    let name = &args.mirror.name;
    let action = format!("demote mirror {name}");
    let told = args
        .listen
        .as_ref()
        .map(|text| addr::listen(env.host, text))
        .transpose()?;
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
    let listen = told
        .or_else(|| before.listen())
        .unwrap_or(Endpoint::everywhere(DEFAULT_PORT));
    let request = with_listen(by_name(name), &listen, &args.liveness);
    client.request(cmd::MIRROR_DEMOTE, &request).map_err(|error| {
        refused(&action, error, |errno| match errno {
            EALREADY => Some(format!("`netraid-ctl delete {name}`, then join makes it a target")),
            _ => listen_step(errno).map(str::to_owned),
        })
    })?;
    remember(args, &listen, env)?;
    writeln!(
        env.out,
        "Mirror {name} is a target here and waits for the source on {listen}."
    )?;
    Ok(Status::Done)
}

/// Keeps where the mirror listens now for the time after a restart.
fn remember(args: &Demote, listen: &Endpoint, env: &mut Env<'_>) -> Result<()> {
    let store = Store::new(env.paths);
    let kept = store.load(&args.mirror.name).and_then(|config| {
        let Some(mut config) = config else { return Ok(()) };
        config.listen = Some(listen.to_string());
        config.heartbeat = args.liveness.heartbeat.or(config.heartbeat);
        config.timeout = args.liveness.timeout.or(config.timeout);
        store.save(&config)
    });
    // The mirror is a target already; only its next life is concerned.
    if let Err(error) = kept {
        env.note(&format!("warning: where it listens is not kept: {error}"))?;
    }
    Ok(())
}
