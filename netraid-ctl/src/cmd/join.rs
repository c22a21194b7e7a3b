// SPDX-License-Identifier: GPL-2.0
//! `join`: give a disk to a mirror of another machine.

use anyhow::Result;

use super::support::{by_name, confirm, new_step, usable_disk, with_listen, with_node};
use crate::addr;
use crate::cli::Join;
use crate::env::Env;
use crate::error::{refused, Status};
use crate::gen::{cmd, Mirror, Role};
use crate::nl::Client;

pub(super) fn run(args: &Join, env: &mut Env<'_>) -> Result<Status> {
    let name = &args.mirror.name;
    let action = format!("join mirror {name}");
    let listen = addr::listen(env.host, &args.listen)?;
    let mut client = Client::open(env.kernel)?;
    let disk = usable_disk(&args.disk, &mut client, env, &action)?;
    confirm(
        &format!("the content of {disk} will be replaced by that of mirror {name}"),
        args.yes,
        env,
    )?;
    let request = Mirror {
        id: args.id,
        role: Some(Role::Target),
        disk: Some(disk.clone()),
        ..by_name(name)
    };
    let request = with_listen(with_node(request, env)?, &listen, &args.liveness);
    client
        .request(cmd::MIRROR_NEW, &request)
        .map_err(|error| refused(&action, error, |errno| new_step(errno).map(str::to_owned)))?;
    writeln!(
        env.out,
        "The disk {disk} is given to mirror {name} and waits for the source on {listen}; on the source, \
         `netraid-ctl extend {name} --to ADDR` begins the copy."
    )?;
    Ok(Status::Done)
}
