// SPDX-License-Identifier: GPL-2.0
//! `pause`: stop replication for a while.

use anyhow::{anyhow, Result};

use super::follow::{listen, until, Seen};
use super::legs;
use super::support::{by_leg, look};
use crate::cli::PauseResume;
use crate::env::Env;
use crate::error::{errno::EALREADY, refused, Failure, Status};
use crate::gen::{cmd, State};
use crate::model::{state_word, Leg, Mirror};
use crate::nl::EventStream;

pub(super) fn run(args: &PauseResume, env: &mut Env<'_>) -> Result<Status> {
    let name = &args.mirror.name;
    let action = format!("pause mirror {name}");
    let mut stream = listen(env, name, &action)?;
    let mirror = look(stream.client(), name, &action)?;
    let mut asked = Vec::new();
    for leg in legs::chosen(&mirror, args.leg, &action)? {
        if leg.state == State::Paused {
            writeln!(
                env.out,
                "Leg {} of mirror {name} ({}) is already paused.",
                leg.id,
                leg.peer()
            )?;
            continue;
        }
        match stream.client().request(cmd::LEG_PAUSE, &by_leg(name, leg.id)) {
            Ok(_) => asked.push(leg),
            Err(error) if error.errno() == Some(EALREADY) => asked.push(leg),
            Err(error) => return Err(refused(&action, error, |_| None)),
        }
    }
    reach(&asked, args, &action, &mut stream, env, |leg| {
        Ok(leg.state == State::Paused)
    })
}

/// Waits until each leg is as `wanted` says, which may end the wait with an error, and tells how it is then.
pub(super) fn reach(
    asked: &[Leg],
    args: &PauseResume,
    action: &str,
    stream: &mut EventStream,
    env: &mut Env<'_>,
    wanted: impl Fn(&Leg) -> Result<bool>,
) -> Result<Status> {
    if asked.is_empty() {
        return Ok(Status::Done);
    }
    let name = &args.mirror.name;
    let ours = |mirror: &Mirror| -> Vec<Leg> {
        let ours = |leg: &&Leg| asked.iter().any(|asked| asked.id == leg.id);
        mirror.legs.iter().filter(ours).cloned().collect()
    };
    let mut last = None;
    let mut judge = |mirror: &Mirror| {
        let legs = ours(mirror);
        if legs.is_empty() {
            return Err(anyhow!("cannot {action}: the leg was removed meanwhile"));
        }
        last = legs.iter().find_map(|leg| leg.reason().map(str::to_owned));
        for leg in &legs {
            if !wanted(leg)? {
                return Ok(None);
            }
        }
        Ok(Some(legs))
    };
    let reached = until(env, name, stream, args.timeout, |seen| match seen {
        Seen::Mirror(mirror) => judge(mirror),
        // A connection that was refused does not concern those who pause; it is tried again.
        Seen::Refused(_) => Ok(None),
        Seen::Gone => Err(anyhow!("cannot {action}: the mirror was deleted meanwhile")),
    })?;
    let Some(legs) = reached else {
        let why = last.map(|reason| format!(": {reason}")).unwrap_or_default();
        return Err(anyhow!(Failure::Timeout(format!(
            "cannot {action}: not done after {} seconds{why}; `netraid-ctl status {name}` shows how it stands",
            args.timeout.as_secs_f64()
        ))));
    };
    for leg in legs {
        writeln!(
            env.out,
            "Leg {} of mirror {name} ({}): {}.",
            leg.id,
            leg.peer(),
            state_word(leg.state)
        )?;
    }
    Ok(Status::Done)
}
