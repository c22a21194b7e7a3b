// SPDX-License-Identifier: GPL-2.0
//! `set`: change a setting of a mirror.

use anyhow::Result;
use netraid_core::meta::effective_async_limit;

use super::support::by_name;
use crate::cli::{OnIoError, Set, Setting};
use crate::env::Env;
use crate::error::{refused, Status};
use crate::gen::{cmd, Mirror};
use crate::model::rate_word;
use crate::nl::Client;

pub(super) fn run(args: &Set, env: &mut Env<'_>) -> Result<Status> {
    let name = &args.mirror.name;
    let (request, told) = match args.setting {
        Setting::ResyncRate { rate } => (
            Mirror {
                resync_rate: Some(rate),
                ..by_name(name)
            },
            format!("The resync rate of mirror {name} is {}.", rate_word(rate)),
        ),
        Setting::AsyncLimit { limit } => (
            Mirror {
                async_limit: Some(limit),
                ..by_name(name)
            },
            format!(
                "An asynchronous target of mirror {name} may have {} operations outstanding.",
                effective_async_limit(limit)
            ),
        ),
        Setting::OnIoError { policy } => (
            Mirror {
                on_io_error: Some(policy.into()),
                ..by_name(name)
            },
            match policy {
                OnIoError::Detach => {
                    format!("A disk of mirror {name} that fails is given up while a target is in step.")
                }
                OnIoError::PassOn => {
                    format!("What a disk of mirror {name} fails to write is an error for the application.")
                }
            },
        ),
    };
    Client::open(env.kernel)?
        .request(cmd::MIRROR_SET, &request)
        .map_err(|error| refused(&format!("change mirror {name}"), error, |_| None))?;
    writeln!(env.out, "{told}")?;
    Ok(Status::Done)
}
