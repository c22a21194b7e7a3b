// SPDX-License-Identifier: GPL-2.0
//! `join`: give a disk to a mirror of another machine.

use anyhow::Result;

use super::making::{tell_metadata, Plan};
use super::support::confirm;
use crate::addr;
use crate::cli::Join;
use crate::config::MadeAs;
use crate::env::Env;
use crate::error::Status;
use crate::nl::Client;

pub(super) fn run(args: &Join, env: &mut Env<'_>) -> Result<Status> {
    let name = &args.mirror.name;
    let listen = addr::listen(env.host, &args.listen)?;
    let mut client = Client::open(env.kernel)?;
    let mut plan = Plan::new(name, MadeAs::Target, &args.disk, &args.place, &mut client, env)?;
    plan.listen = listen;
    plan.source_name = args.of.clone().filter(|of| of != name);
    plan.same_machine = args.same_machine;
    let there = args.of.as_ref().unwrap_or(name);
    if args.same_machine {
        env.note(
            "source and target may be this one machine: such a copy does not outlive it, and when memory is short the \
             machine may wait for itself",
        )?;
    }
    let config = plan.config.clone();
    let disk = &config.disk;
    let loss = if plan.no_full_sync {
        format!(
            "the content of {disk} is taken for a copy of that of mirror {name}, and replaced where the source was \
             written to"
        )
    } else {
        format!("the content of {disk} will be replaced by that of mirror {name}")
    };
    confirm(&loss, args.yes, env)?;
    plan.carry_out(&args.place, &mut client, env)?;
    writeln!(
        env.out,
        "The disk {disk} is given to mirror {name} and waits for the source on {listen}; on the source, \
         `netraid-ctl extend {there} --to ADDR` begins the copy."
    )?;
    tell_metadata(&config, env)?;
    Ok(Status::Done)
}
