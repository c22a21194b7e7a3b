// SPDX-License-Identifier: GPL-2.0
//! `stop`: take a mirror out of service on this machine.

use anyhow::Result;

use super::support::{by_name, look};
use crate::cli::Stop;
use crate::env::Env;
use crate::error::{errno::EBUSY, refused, Status};
use crate::gen::{cmd, Mirror, Role};
use crate::nl::Client;

pub(super) fn run(args: &Stop, env: &mut Env<'_>) -> Result<Status> {
    let name = &args.mirror.name;
    let action = format!("stop mirror {name}");
    let mut client = Client::open(env.kernel)?;
    if look(&mut client, name, &action)?.role == Role::Stopped {
        writeln!(env.out, "Mirror {name} is already stopped.")?;
        return Ok(Status::Done);
    }
    let request = Mirror {
        force: args.force,
        ..by_name(name)
    };
    client.request(cmd::MIRROR_STOP, &request).map_err(|error| {
        let close = "close what uses the block device (umount), or say --force";
        refused(&action, error, |errno| {
            (errno == EBUSY && !args.force).then(|| close.to_owned())
        })
    })?;
    writeln!(
        env.out,
        "Mirror {name} is stopped; `netraid-ctl promote {name}` puts it in service again."
    )?;
    Ok(Status::Done)
}
