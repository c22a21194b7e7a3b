// SPDX-License-Identifier: GPL-2.0
//! `mirror_action`: pause, resume, force and fullresync with the machines named, as other tools write it.

use std::time::Duration;

use anyhow::{anyhow, Result};

use super::support::look;
use super::{force, fullresync, pause, resume};
use crate::cli::{Action, Force, FullResync, MirrorAction, PauseResume};
use crate::env::Env;
use crate::error::Status;
use crate::gen::Role;
use crate::model::{Leg, Mirror};
use crate::nl::Client;
use crate::node;

/// How long `pause` and `resume` wait.
const WAIT: Duration = Duration::from_secs(30);

pub(super) fn run(args: &MirrorAction, env: &mut Env<'_>) -> Result<Status> {
    let name = &args.mirror.name;
    let here = node::name(env.host).unwrap_or_default();
    let action = format!("act on mirror {name}");
    if args.source != here {
        return Err(anyhow!(
            "cannot {action}: this machine is {here}, and the source is said to be {}; run it there",
            args.source
        ));
    }
    if args.action == Action::Force {
        let mirror = args.mirror.clone();
        let (override_, yes) = (false, args.yes);
        return force::run(&Force { mirror, override_, yes }, env);
    }
    let mirror = look(&mut Client::open(env.kernel)?, name, &action)?;
    if mirror.role != Role::Source {
        return Err(anyhow!(
            "cannot {action}: {here} is not its source, its role is {}; name the source and run it there",
            mirror.role
        ));
    }
    for leg in legs(&mirror, &args.targets, &action)? {
        one(args, leg, env)?;
    }
    Ok(Status::Done)
}

/// The legs to the machines that were named; of none, all at once.
fn legs(mirror: &Mirror, targets: &[String], action: &str) -> Result<Vec<Option<u32>>> {
    if targets.is_empty() {
        return Ok(vec![None]);
    }
    let leg = |target: &String| {
        let found = mirror.legs.iter().find(|leg| leg.peer() == *target);
        found.map(|leg| Some(leg.id)).ok_or_else(|| {
            let known: Vec<String> = mirror.legs.iter().map(Leg::peer).collect();
            anyhow!(
                "cannot {action}: {target} is no target of it; the targets are: {}",
                known.join(", ")
            )
        })
    };
    targets.iter().map(leg).collect()
}

fn one(args: &MirrorAction, leg: Option<u32>, env: &mut Env<'_>) -> Result<Status> {
    let mirror = args.mirror.clone();
    let waits = |mirror| PauseResume {
        mirror,
        leg,
        timeout: WAIT,
    };
    match args.action {
        Action::Pause => pause::run(&waits(mirror), env),
        Action::Resume => resume::run(&waits(mirror), env),
        Action::Force | Action::Fullresync => {
            let yes = args.yes;
            fullresync::run(&FullResync { mirror, leg, yes }, env)
        }
    }
}
