// SPDX-License-Identifier: GPL-2.0
//! `resume`: go on after a pause.

use anyhow::Result;

use super::follow::listen;
use super::legs;
use super::pause::reach;
use super::support::{by_leg, look, EALREADY, EBUSY};
use crate::cli::PauseResume;
use crate::env::Env;
use crate::error::{refused, Status};
use crate::gen::{cmd, State};
use crate::model::state_word;

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
            Err(error) => {
                let close = "close what uses the block device on the target (umount), then resume again";
                return Err(refused(&action, error, |errno| {
                    (errno == EBUSY).then(|| close.to_owned())
                }));
            }
        }
    }
    reach(&asked, args, &action, &mut stream, env, |state| state != State::Paused)
}
