// SPDX-License-Identifier: GPL-2.0
//! `stop`: take a mirror out of service on this machine.

use anyhow::Result;

use super::support::{by_name, look};
use crate::cli::Stop;
use crate::env::Env;
use crate::error::{refused, Status};
use crate::gen::{cmd, Mirror, Role};
use crate::nl::Client;

pub(super) fn run(args: &Stop, env: &mut Env<'_>) -> Result<Status> {
    let name = &args.mirror.name;
    let action = format!("stop mirror {name}");
    let mut client = Client::open(env.kernel)?;
    let before = look(&mut client, name, &action)?;
    if before.role == Role::Stopped {
        writeln!(env.out, "Mirror {name} is already stopped.")?;
        return Ok(Status::Done);
    }
    let request = Mirror {
        force: args.force,
        ..by_name(name)
    };
    client
        .request(cmd::MIRROR_STOP, &request)
        .map_err(|error| refused(&action, error, |_| None))?;
    // A target that is started is a second source; nobody should be led to that by a hint.
    let next = if before.role == Role::Target {
        format!("`netraid-ctl up {name}` lets it receive the copy again")
    } else {
        format!("`netraid-ctl start {name}` puts it in service again")
    };
    writeln!(env.out, "Mirror {name} is stopped; {next}.")?;
    if before.role == Role::Source && !before.legs.is_empty() {
        writeln!(
            env.out,
            "To stop mirroring for a while and go on with the device, use `netraid-ctl pause {name}` instead."
        )?;
    }
    Ok(Status::Done)
}
