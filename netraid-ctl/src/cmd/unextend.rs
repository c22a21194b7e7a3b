// SPDX-License-Identifier: GPL-2.0
//! `unextend`: end the mirroring to a target.

use anyhow::Result;

use super::legs;
use super::support::{by_leg, look};
use crate::cli::Unextend;
use crate::env::Env;
use crate::error::{refused, Status};
use crate::gen::{cmd, Role};
use crate::nl::Client;

pub(super) fn run(args: &Unextend, env: &mut Env<'_>) -> Result<Status> {
    let name = &args.mirror.name;
    let action = format!("unextend mirror {name}");
    let mut client = Client::open(env.kernel)?;
    let mirror = look(&mut client, name, &action)?;
    // What a target has noted for the time when it is the source is not among its legs.
    let noted = args
        .leg
        .filter(|id| mirror.role == Role::Target && mirror.legs.iter().all(|leg| leg.id != *id));
    if let Some(id) = noted {
        client
            .request(cmd::LEG_DEL, &by_leg(name, id))
            .map_err(|error| refused(&action, error, |_| None))?;
        writeln!(env.out, "Leg {id} of mirror {name} is forgotten.")?;
        return Ok(Status::Done);
    }
    let leg = legs::only(&mirror, args.leg, &action)?;
    client
        .request(cmd::LEG_DEL, &by_leg(name, leg.id))
        .map_err(|error| refused(&action, error, |_| None))?;
    writeln!(
        env.out,
        "Leg {} of mirror {name} ({}) is gone; the copy there stays as it is.",
        leg.id,
        leg.peer()
    )?;
    Ok(Status::Done)
}
