// SPDX-License-Identifier: GPL-2.0
//! `create`: make a mirror of a local disk.

use anyhow::Result;

use super::support::{by_name, new_step, usable_disk, with_node};
use crate::cli::Create;
use crate::env::Env;
use crate::error::{refused, Status};
use crate::gen::{cmd, Mirror, Role};
use crate::model::device_path;
use crate::nl::Client;

pub(super) fn run(args: &Create, env: &mut Env<'_>) -> Result<Status> {
    let name = &args.mirror.name;
    let action = format!("create mirror {name}");
    let mut client = Client::open(env.kernel)?;
    let disk = usable_disk(&args.disk, &mut client, env, &action)?;
    let request = Mirror {
        id: args.id,
        role: Some(Role::Source),
        disk: Some(disk.clone()),
        chunk_size: args.chunk_size,
        ..by_name(name)
    };
    let request = with_node(request, env)?;
    let answer = client
        .request(cmd::MIRROR_NEW, &request)
        .map_err(|error| refused(&action, error, |errno| new_step(errno).map(str::to_owned)))?;
    let device = answer
        .and_then(|mirror| mirror.id)
        .map_or_else(|| "a block device".to_owned(), device_path);
    writeln!(
        env.out,
        "Mirror {name} is {device}, on {disk} alone; `netraid-ctl extend {name} --to ADDR` adds a target."
    )?;
    Ok(Status::Done)
}
