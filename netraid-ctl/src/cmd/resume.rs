// SPDX-License-Identifier: GPL-2.0
//! `resume`: go on after a pause.

use anyhow::{anyhow, Result};

use super::follow::listen;
use super::legs;
use super::pause::reach;
use super::support::{by_leg, look};
use crate::cli::PauseResume;
use crate::env::Env;
use crate::error::{errno::EALREADY, refused, Status};
use crate::gen::{cmd, State};
use crate::model::{state_word, Leg};

pub(super) fn run(args: &PauseResume, env: &mut Env<'_>) -> Result<Status> {
    let name = &args.mirror.name;
    let action = format!("resume mirror {name}");
    let mut stream = listen(env, name, &action)?;
    let mirror = look(stream.client(), name, &action)?;
    let mut asked = Vec::new();
    for leg in legs::chosen(&mirror, args.leg, &action)? {
        if leg.state != State::Paused {
            let (peer, word) = (leg.peer(), state_word(leg.state));
            writeln!(
                env.out,
                "Leg {} of mirror {name} ({peer}) is already resumed: {word}.",
                leg.id
            )?;
            continue;
        }
        match stream.client().request(cmd::LEG_RESUME, &by_leg(name, leg.id)) {
            Ok(_) => asked.push(leg),
            Err(error) if error.errno() == Some(EALREADY) => asked.push(leg),
            Err(error) => return Err(refused(&action, error, |_| None)),
        }
    }
    // Of what comes before, nothing tells an answer to this from the pause as it was.
    stream.renew().map_err(|error| refused(&action, error, |_| None))?;
    reach(&asked, args, &action, &mut stream, env, |leg| is_resumed(leg, &action))
}

/// Whether a leg that was told to goes on; an error when the target refused.
///
/// On a live connection the target is asked first, and until it has answered the leg is out of sync. A leg that is
/// paused then was refused. Without a connection there is nobody to ask, and the leg goes on when it is back.
fn is_resumed(leg: &Leg, action: &str) -> Result<bool> {
    match leg.state {
        State::Paused if leg.is_connected() => {
            let reason = leg
                .reason()
                .unwrap_or("the target refused; its log may say why")
                .trim_end_matches('.');
            // The target's sentence names the device, and says what to do.
            Err(anyhow!("cannot {action}: {reason}"))
        }
        State::Paused => Ok(false),
        State::OutOfSync => Ok(!leg.is_connected()),
        _ => Ok(true),
    }
}
