// SPDX-License-Identifier: GPL-2.0
//! `extend`: add a target to a mirror.

use std::time::Duration;

use anyhow::{anyhow, Context as _, Result};

use super::follow::{listen, until, Seen};
use super::support::{by_name, confirm, look};
use crate::addr;
use crate::cli::{Congestion, Extend, Replication};
use crate::defaults::Defaults;
use crate::env::Env;
use crate::error::{refused, Failure, Status};
use crate::gen::{self, cmd};
use crate::model::{state_word, Endpoint};
use crate::nl::{Client, EventStream};
use crate::output::progress::Progress;

pub(super) fn run(args: &Extend, env: &mut Env<'_>) -> Result<Status> {
    let name = &args.mirror.name;
    let target = addr::target(env.host, &args.to)?;
    let action = format!("extend mirror {name} to {target}");
    // Before anything is asked: a mistyped name.
    let later = look(&mut Client::open(env.kernel)?, name, &action)?.role == gen::Role::Target;
    if later && args.wait.is_some() {
        return Err(anyhow!(
            "cannot {action}: this machine is a target of mirror {name}, and copies nothing there before it is the \
             source; leave --wait out"
        ));
    }
    let defaults = Defaults::read(env).with_context(|| format!("cannot {action}"))?;
    let no_full_sync = args.no_full_sync || defaults.no_full_sync;
    let given = format!("the content of the disk that {target} gave to mirror {name}");
    let loss = if no_full_sync {
        format!("{given} is taken for a copy where it was joined so, and replaced else")
    } else {
        format!("{given} will be replaced")
    };
    confirm(&loss, args.yes, env)?;
    // Whoever waits listens before the leg is there, so that nothing is missed.
    let mut stream = listen(env, name, &action)?;
    let request = gen::Mirror {
        leg: vec![leg(args, &target)],
        no_full_sync,
        ..by_name(name)
    };
    let answer = stream.client().request(cmd::LEG_NEW, &request);
    let answer = answer.map_err(|error| refused(&action, error, |_| None))?;
    let id = answer.and_then(|mirror| mirror.leg.first()?.id).unwrap_or(1);
    let then = if later {
        "it is connected when this machine becomes the source"
    } else {
        "what it misses is copied there once it is connected"
    };
    writeln!(env.out, "Mirror {name} has leg {id}, to {target}; {then}.")?;
    match args.wait {
        Some(limit) => wait_for_copy(name, id, limit, &mut stream, env),
        None => Ok(Status::Done),
    }
}

fn leg(args: &Extend, target: &Endpoint) -> gen::Leg {
    let replication = match args.replication {
        Replication::Synchronous => gen::Replication::Synchronous,
        Replication::Asynchronous => gen::Replication::Asynchronous,
    };
    let congestion = match args.congestion {
        // What a leg does unless it is told otherwise.
        Congestion::Block => None,
        Congestion::Behind => Some(gen::Congestion::Behind),
    };
    gen::Leg {
        address: Some(target.address()),
        port: Some(u32::from(target.port)),
        scope_id: target.scope_id(),
        replication: Some(replication),
        congestion,
        heartbeat_ms: args.liveness.heartbeat,
        timeout_ms: args.liveness.timeout,
        no_checksums: args.no_checksums,
        priority: args.priority,
        ..gen::Leg::default()
    }
}

fn wait_for_copy(name: &str, id: u32, limit: Duration, stream: &mut EventStream, env: &mut Env<'_>) -> Result<Status> {
    let mut progress = Progress::new(env.terminals.error);
    let mut last = String::new();
    let reached = until(env, name, stream, limit, |seen| match seen {
        Seen::Mirror(mirror) => {
            progress.show(mirror);
            // The snapshot from before the request does not have the leg yet.
            let Some(leg) = mirror.legs.iter().find(|leg| leg.id == id) else {
                return Ok(None);
            };
            last = format!("it is {}", state_word(leg.state));
            if let Some(reason) = leg.reason() {
                last = format!("{last}: {reason}");
            }
            Ok(leg.is_operational().then(|| leg.clone()))
        }
        // The kernel tries again by itself, and the target may be there by then.
        Seen::Refused(reason) => {
            last = reason.to_owned();
            Ok(None)
        }
        Seen::Gone => Err(anyhow!("mirror {name} was deleted while its new leg was waited for")),
    });
    progress.clear();
    match reached? {
        Some(leg) => {
            writeln!(
                env.out,
                "Leg {id} of mirror {name} ({}): {}.",
                leg.peer(),
                state_word(leg.state)
            )?;
            Ok(Status::Done)
        }
        None => Err(anyhow!(Failure::Timeout(format!(
            "leg {id} of mirror {name} is not fully operational after {} seconds ({last}); it goes on by itself, \
             `netraid-ctl status {name}` shows how it stands",
            limit.as_secs_f64()
        )))),
    }
}
