// SPDX-License-Identifier: GPL-2.0
//! `fullresync`: copy everything to a target again.

use anyhow::{anyhow, Result};

use super::legs;
use super::support::{by_leg, confirm, look};
use crate::cli::FullResync;
use crate::env::Env;
use crate::error::{refused, Status};
use crate::gen::{cmd, Role};
use crate::nl::Client;

pub(super) fn run(args: &FullResync, env: &mut Env<'_>) -> Result<Status> {
    let name = &args.mirror.name;
    let action = format!("copy mirror {name} again");
    let mut client = Client::open(env.kernel)?;
    let mirror = look(&mut client, name, &action)?;
    if mirror.role != Role::Source {
        return Err(anyhow!(
            "cannot {action}: this machine is not its source, its role is {}; run it on the source",
            mirror.role
        ));
    }
    let legs = legs::chosen(&mirror, args.leg, &action)?;
    let peers: Vec<String> = legs.iter().map(crate::model::Leg::peer).collect();
    let loss = format!(
        "everything of mirror {name} will be copied to {} again, and the copy there is not usable until that is \
         complete",
        peers.join(" and ")
    );
    confirm(&loss, args.yes, env)?;
    for leg in legs {
        client
            .request(cmd::LEG_FULL, &by_leg(name, leg.id))
            .map_err(|error| refused(&action, error, |_| None))?;
        writeln!(
            env.out,
            "Leg {} of mirror {name} ({}): everything is copied again.",
            leg.id,
            leg.peer()
        )?;
    }
    Ok(Status::Done)
}
