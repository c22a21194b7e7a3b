// SPDX-License-Identifier: GPL-2.0
//! `create`: make a mirror of a local disk.

use anyhow::{anyhow, Result};

use super::making::Plan;
use crate::addr;
use crate::cli::values::Bitmap;
use crate::cli::{Create, OnIoError};
use crate::config::MadeAs;
use crate::env::Env;
use crate::error::{Failure, Status};
use crate::model::device_path;
use crate::nl::Client;

pub(super) fn run(args: &Create, env: &mut Env<'_>) -> Result<Status> {
    let name = &args.mirror.name;
    if args.place.bitmap == Some(Bitmap::Internal) && !args.new {
        return Err(anyhow!(Failure::Usage(format!(
            "cannot create mirror {name}: `--bitmap internal` takes the end of the disk, which may belong to what it \
             holds already; it goes with --new only, for a disk whose content is not wanted"
        ))));
    }
    let listen = addr::listen(env.host, &args.listen)?;
    let mut client = Client::open(env.kernel)?;
    let mut plan = Plan::new(name, MadeAs::Source, &args.disk, &args.place, &mut client, env)?;
    plan.listen = listen;
    plan.fresh = args.new;
    plan.permit_asynchronous(args.asynchronous);
    plan.on_io_error = (args.on_io_error != OnIoError::Detach).then(|| args.on_io_error.into());
    plan.config.chunk_size = args.chunk_size;
    plan.priority = args.priority;
    let config = plan.config.clone();
    if args.new {
        env.note(&format!(
            "what {} holds is given up: only what is written from now on is copied to targets",
            config.disk
        ))?;
    }
    let made = plan.carry_out(&args.place, &mut client, env)?;
    let device = made.id.map_or_else(|| "a block device".to_owned(), device_path);
    writeln!(
        env.out,
        "Mirror {name} is {device}, on {} alone; `netraid-ctl extend {name} --to ADDR` adds a target.",
        config.disk
    )?;
    super::making::tell_metadata(&config, env)?;
    Ok(Status::Done)
}
