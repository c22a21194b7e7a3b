// SPDX-License-Identifier: GPL-2.0
//! `delete`: forget a mirror.

use anyhow::Result;

use super::support::by_name;
use crate::cli::Delete;
use crate::env::Env;
use crate::error::{refused, Status};
use crate::gen::{cmd, Mirror};
use crate::nl::Client;

pub(super) fn run(args: &Delete, env: &mut Env<'_>) -> Result<Status> {
    let name = &args.mirror.name;
    let mut client = Client::open(env.kernel)?;
    let request = Mirror {
        force: args.force,
        ..by_name(name)
    };
    client
        .request(cmd::MIRROR_DEL, &request)
        .map_err(|error| refused(&format!("delete mirror {name}"), error, |_| None))?;
    writeln!(env.out, "Mirror {name} is forgotten; the content of its disk stays.")?;
    Ok(Status::Done)
}
