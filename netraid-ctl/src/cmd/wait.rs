// SPDX-License-Identifier: GPL-2.0
//! `wait`: wait until a mirror is in a state.

use anyhow::{anyhow, Result};
use clap::ValueEnum as _;

use super::follow::{listen, until, Seen};
use crate::cli::{Wait, WaitFor};
use crate::env::Env;
use crate::error::{Failure, Status};
use crate::gen::{Role, State};
use crate::model::{state_word, Leg, Mirror};
use crate::nl::{Client, EventStream};
use crate::output::progress::Progress;

pub(super) fn run(args: &Wait, env: &mut Env<'_>) -> Result<Status> {
    let name = &args.mirror.name;
    let action = format!("wait for mirror {name}");
    let may_be_gone = args.states.contains(&WaitFor::Deleted);
    if may_be_gone && Client::open(env.kernel)?.find(name)?.is_none() {
        return done(name, WaitFor::Deleted, env);
    }
    let mut stream: EventStream = listen(env, name, &action)?;
    let mut progress = Progress::new(env.terminals.error);
    let mut last = String::new();
    let reached = until(env, name, &mut stream, args.timeout, |seen| match seen {
        Seen::Mirror(mirror) => {
            progress.show(mirror);
            last = describe(mirror);
            Ok(args
                .states
                .iter()
                .copied()
                .find(|&state| holds(mirror, args.leg, state)))
        }
        Seen::Refused(_) => Ok(None),
        Seen::Gone if may_be_gone => Ok(Some(WaitFor::Deleted)),
        Seen::Gone => Err(anyhow!("mirror {name} was deleted while it was waited for")),
    });
    progress.clear();
    match reached? {
        Some(state) => done(name, state, env),
        None => {
            let wanted: Vec<String> = args.states.iter().map(|&state| word(state)).collect();
            Err(anyhow!(Failure::Timeout(format!(
                "mirror {name} is not {} after {} seconds; {last}",
                wanted.join(" or "),
                args.timeout.as_secs_f64()
            ))))
        }
    }
}

fn done(name: &str, state: WaitFor, env: &mut Env<'_>) -> Result<Status> {
    writeln!(env.out, "Mirror {name} is {}.", word(state))?;
    Ok(Status::Done)
}

/// The state as it is written on the command line.
fn word(state: WaitFor) -> String {
    state
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}

/// Whether a mirror, or one leg of it, is in a state.
fn holds(mirror: &Mirror, leg: Option<u32>, state: WaitFor) -> bool {
    let legs: Vec<&Leg> = mirror
        .legs
        .iter()
        .filter(|known| leg.is_none_or(|leg| leg == known.id))
        .collect();
    let any = |state| legs.iter().any(|leg| leg.state == state);
    match state {
        WaitFor::FullyOperational => !legs.is_empty() && legs.iter().all(|leg| leg.is_operational()),
        WaitFor::Paused => any(State::Paused),
        WaitFor::Resyncing => any(State::Resyncing),
        WaitFor::OutOfSync => any(State::OutOfSync) || legs.is_empty() && mirror.role == Role::Target,
        WaitFor::Connected => !legs.is_empty() && legs.iter().all(|leg| leg.is_connected()),
        WaitFor::Disconnected => !legs.iter().all(|leg| leg.is_connected()) || legs.is_empty(),
        WaitFor::Source => mirror.role == Role::Source,
        WaitFor::Target => mirror.role == Role::Target,
        WaitFor::Stopped => mirror.role == Role::Stopped,
        // A mirror that is seen is there.
        WaitFor::Deleted => false,
    }
}

/// How a mirror stands, for the message when the time is over.
fn describe(mirror: &Mirror) -> String {
    let legs: Vec<String> = mirror
        .legs
        .iter()
        .map(|leg| {
            let reason = leg.reason().map(|reason| format!(" ({reason})")).unwrap_or_default();
            format!(
                ", leg {} is {} and {}{reason}",
                leg.id,
                state_word(leg.state),
                leg.connection
            )
        })
        .collect();
    let none = if legs.is_empty() { ", it has no leg" } else { "" };
    format!("this machine's role is {}{}{none}", mirror.role, legs.concat())
}
