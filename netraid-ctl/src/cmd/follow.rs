// SPDX-License-Identifier: GPL-2.0
//! Waiting for something to become true of a mirror, driven by its events.

use std::time::Duration;

use anyhow::Result;

use crate::env::Env;
use crate::error::refused;
use crate::gen::{self, EventKind};
use crate::model::Mirror;
use crate::nl::{EventStream, Item};

/// What a waiting command gets to see.
#[derive(Debug, Clone, Copy)]
pub(super) enum Seen<'a> {
    /// The mirror as it is now, or was right after an event.
    Mirror(&'a Mirror),
    /// A connection was refused, by this machine or the other one.
    Refused(&'a str),
    /// The mirror is no longer there.
    Gone,
}

/// Listens to the events of a mirror, for a command that completes "cannot `action`".
pub(super) fn listen(env: &Env<'_>, name: &str, action: &str) -> Result<EventStream> {
    EventStream::open(env.kernel, Some(name)).map_err(|error| refused(action, error, |_| None))
}

/// Shows `look` the mirror whenever something happens to it, until `look` has a result or the time is over.
///
/// # Errors
///
/// What `look` reports, and when the events break off.
pub(super) fn until<T>(
    env: &Env<'_>,
    name: &str,
    stream: &mut EventStream,
    limit: Duration,
    mut look: impl FnMut(Seen<'_>) -> Result<Option<T>>,
) -> Result<Option<T>> {
    let end = env.clock.now().saturating_add(limit);
    loop {
        let left = end.saturating_sub(env.clock.now());
        let found = match stream.next(left)? {
            Item::Snapshot(mirrors) => show(mirrors.into_iter().next(), &mut look)?,
            Item::Event(event) => show_event(*event, &mut look)?,
            Item::Lost(_) => None,
            Item::Quiet if env.clock.now() < end => None,
            // The last look does not depend on any event having come.
            Item::Quiet => return show(stream.client().find(name)?, &mut look),
        };
        if found.is_some() {
            return Ok(found);
        }
    }
}

fn show<T>(mirror: Option<gen::Mirror>, look: &mut impl FnMut(Seen<'_>) -> Result<Option<T>>) -> Result<Option<T>> {
    match mirror {
        Some(mirror) => look(Seen::Mirror(&Mirror::from(mirror))),
        None => look(Seen::Gone),
    }
}

fn show_event<T>(event: gen::Event, look: &mut impl FnMut(Seen<'_>) -> Result<Option<T>>) -> Result<Option<T>> {
    match event.kind {
        Some(EventKind::MirrorDeleted) => return look(Seen::Gone),
        Some(EventKind::Refused) => {
            let found = look(Seen::Refused(event.reason.as_deref().unwrap_or("it gave no reason")))?;
            if found.is_some() {
                return Ok(found);
            }
        }
        _ => {}
    }
    match event.mirror.map(Mirror::from) {
        Some(mirror) => look(Seen::Mirror(&mirror)),
        None => Ok(None),
    }
}
