// SPDX-License-Identifier: GPL-2.0
//! `start` and `promote`: make this machine the source.
//!
//! The kernel refuses that while the present source is connected. When that source has just died, its connection
//! stands for some seconds more; so a refusal is taken as final only when the source is heard of again.

use std::time::Duration;

use anyhow::{anyhow, Result};

use super::follow::listen;
use super::load::{self, loaded, start};
use super::support::look;
use crate::cli::Start;
use crate::env::Env;
use crate::error::{refused, Failure, Status};
use crate::gen::{Role, StartMode};
use crate::model::{device_path, Leg};
use crate::nl::{Client, EventStream, NlError};

/// A source silent for longer than this, milliseconds, may be dead; with a slow heartbeat, 1.5 times that.
const SILENT_MS: u64 = 1500;
/// How much two looks at the same silence may differ by the time the looks take, milliseconds.
const SLACK_MS: u64 = 500;

/// `promote`: the mirror of a target is loaded.
pub(super) fn run(args: &Start, env: &mut Env<'_>) -> Result<Status> {
    become_source(args, &format!("promote mirror {}", args.mirror.name), env)
}

/// `start`: a mirror that is configured is loaded first.
pub(super) fn run_start(args: &Start, env: &mut Env<'_>) -> Result<Status> {
    let name = &args.mirror.name;
    let action = format!("start mirror {name}");
    loaded(name, &mut Client::open(env.kernel)?, env, &action)?;
    become_source(args, &action, env)
}

fn become_source(args: &Start, action: &str, env: &mut Env<'_>) -> Result<Status> {
    let name = &args.mirror.name;
    let mut stream = listen(env, name, action)?;
    let before = look(stream.client(), name, action)?;
    if before.role == Role::Source {
        let device = before
            .device()
            .map(|device| format!(", as {device}"))
            .unwrap_or_default();
        writeln!(env.out, "This machine is already the source of mirror {name}{device}.")?;
        return Ok(Status::Done);
    }
    let end = env.clock.now().saturating_add(args.wait);
    let mut retried = false;
    // Without a connection that could go, the refusal is final.
    let connected = before.legs.iter().any(Leg::is_connected);
    while let Err(error) = start(&before, load::Start::new(StartMode::Source), stream.client()) {
        let NlError::Refused(refusal) = error else {
            return Err(refused(action, error, |_| None));
        };
        let silence = if connected {
            outlast(name, action, &mut stream, env, end)?
        } else {
            Silence::Pointless
        };
        match silence {
            Silence::Over if !std::mem::replace(&mut retried, true) => {}
            Silence::TooLong => {
                return Err(anyhow!(Failure::Timeout(format!(
                "cannot {action}: {refusal}; its connection still stood after {} seconds, give it longer with --wait",
                args.wait.as_secs_f64()
            ))))
            }
            Silence::Over | Silence::Pointless => return Err(refused(action, NlError::Refused(refusal), |_| None)),
        }
    }
    tell_source(name, action, stream.client(), env)
}

/// Says that this machine is the source now.
pub(super) fn tell_source(name: &str, action: &str, client: &mut Client, env: &mut Env<'_>) -> Result<Status> {
    let mirror = look(client, name, action)?;
    let device = mirror
        .told
        .id
        .map_or_else(|| "its block device".to_owned(), device_path);
    writeln!(env.out, "This machine is the source of mirror {name} now: {device}.")?;
    Ok(Status::Done)
}

/// How waiting for the source's connection to be given up went.
enum Silence {
    /// There is no connection any more: try again.
    Over,
    /// The source is alive, or is not what the refusal was about.
    Pointless,
    /// The time ran out.
    TooLong,
}

/// Waits while the source may be dead and its connection still stands.
fn outlast(name: &str, action: &str, stream: &mut EventStream, env: &mut Env<'_>, end: Duration) -> Result<Silence> {
    let mut first = None;
    let mut told = false;
    loop {
        let mirror = look(stream.client(), name, action)?;
        if mirror.role != Role::Target || mirror.told.inconsistent {
            return Ok(Silence::Pointless);
        }
        let Some(leg) = mirror.legs.iter().find(|leg| leg.is_connected()) else {
            return Ok(Silence::Over);
        };
        let (heard, limit) = (leg.told.heard_ms.unwrap_or_default(), silent_limit(leg));
        let now = env.clock.now();
        let &mut (then, before) = first.get_or_insert((now, heard));
        let unheard = milliseconds(now.saturating_sub(then)).saturating_add(before);
        if heard.saturating_add(SLACK_MS) < unheard {
            return Ok(Silence::Pointless);
        }
        let silent = heard > limit;
        if now >= end {
            return Ok(if silent { Silence::TooLong } else { Silence::Pointless });
        }
        if silent && !std::mem::replace(&mut told, true) {
            env.note(&format!(
                "the source was last heard {heard} ms ago; waiting for its connection to be given up"
            ))?;
        }
        let left = end.saturating_sub(now);
        let until_silent = Duration::from_millis(limit.saturating_sub(heard).saturating_add(SLACK_MS / 5));
        stream.next(if silent { left } else { left.min(until_silent) })?;
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn silent_limit(leg: &Leg) -> u64 {
    let heartbeat = u64::from(leg.told.heartbeat_ms.unwrap_or_default());
    SILENT_MS.max(heartbeat.saturating_add(heartbeat / 2))
}
