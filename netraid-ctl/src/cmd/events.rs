// SPDX-License-Identifier: GPL-2.0
//! `events`: show the mirrors, then everything that happens to them.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};

use crate::cli::Events;
use crate::env::Env;
use crate::error::{refused, Status};
use crate::gen::{self, EventKind, Role};
use crate::model::{state_word, Leg, Mirror};
use crate::nl::{EventStream, Item};
use crate::output::json::EventLine;
use crate::output::text::{connection_word, event_word};

/// How long to wait for an event before waiting again.
const WAIT: Duration = Duration::from_secs(60);

pub(super) fn run(args: &Events, env: &mut Env<'_>) -> Result<Status> {
    let mut stream = EventStream::open(env.kernel, args.name.as_deref()).map_err(|error| {
        let what = args
            .name
            .as_ref()
            .map(|name| format!(" of mirror {name}"))
            .unwrap_or_default();
        refused(&format!("show the events{what}"), error, |_| None)
    })?;
    loop {
        let item = stream.next(WAIT)?;
        let deleted = matches!(&item, Item::Event(event) if event.kind == Some(EventKind::MirrorDeleted));
        let gone = matches!(&item, Item::Snapshot(mirrors) if mirrors.is_empty());
        let text = if args.json { json(item)? } else { plain(item) };
        env.out.write_all(text.as_bytes())?;
        env.out.flush()?;
        if args.name.is_some() && (deleted || gone) {
            return Ok(Status::Done);
        }
    }
}

fn json(item: Item) -> Result<String> {
    let line = match item {
        Item::Snapshot(told) => EventLine::snapshot(&models(told)),
        Item::Event(event) => EventLine::event(*event),
        Item::Lost(numbers) => EventLine::lost(numbers),
        Item::Quiet => return Ok(String::new()),
    };
    Ok(format!(
        "{}\n",
        serde_json::to_string(&line).context("an event cannot be written as JSON")?
    ))
}

fn models(told: Vec<gen::Mirror>) -> Vec<Mirror> {
    told.into_iter().map(Mirror::from).collect()
}

fn plain(item: Item) -> String {
    match item {
        Item::Snapshot(told) if told.is_empty() => "snapshot: no mirrors\n".to_owned(),
        Item::Snapshot(told) => models(told)
            .iter()
            .map(|mirror| format!("snapshot: {}\n", line(mirror, None)))
            .collect(),
        Item::Event(event) => format!("{}\n", event_line(*event)),
        Item::Lost(Some((due, seq))) => format!("lost: event {seq} came where {due} was due; a new snapshot follows\n"),
        Item::Lost(None) => "lost: events came faster than they were read; a new snapshot follows\n".to_owned(),
        Item::Quiet => String::new(),
    }
}

fn event_line(event: gen::Event) -> String {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(event.time_ms.unwrap_or_default()));
    let time = time
        .map(|time| humantime::format_rfc3339_millis(time).to_string())
        .unwrap_or_default();
    let kind = event.kind.unwrap_or(EventKind::Unknown(0));
    let deleted = kind == EventKind::MirrorDeleted;
    let mirror = event.mirror.map(Mirror::from);
    let what = match &mirror {
        Some(mirror) if deleted => mirror.name.clone(),
        Some(mirror) if kind == EventKind::StandingChanged => standing(mirror),
        Some(mirror) => line(mirror, event.leg_id),
        None => String::new(),
    };
    let reason = event
        .reason
        .filter(|reason| !reason.is_empty())
        .map(|reason| format!(": {reason}"));
    format!(
        "{time} #{} {}: {what}{}",
        event.seq.unwrap_or_default(),
        event_word(kind),
        reason.unwrap_or_default()
    )
}

/// A mirror with what is out of the ordinary about it.
fn standing(mirror: &Mirror) -> String {
    let mut flags = mirror.flags();
    flags.extend(mirror.told.inconsistent.then_some("inconsistent"));
    let flags = if flags.is_empty() {
        "in order".to_owned()
    } else {
        flags.join(", ")
    };
    format!("{} ({}), {flags}", mirror.name, mirror.role)
}

/// A mirror, or one leg of it, in one line.
fn line(mirror: &Mirror, leg: Option<u32>) -> String {
    let mut text = format!("{} ({})", mirror.name, mirror.role);
    for leg in mirror.legs.iter().filter(|known| leg.is_none_or(|leg| leg == known.id)) {
        text = format!("{text}, {}", leg_line(mirror, leg));
    }
    text
}

fn leg_line(mirror: &Mirror, leg: &Leg) -> String {
    let arrow = if mirror.role == Role::Target { "<-" } else { "->" };
    let share = leg
        .resync()
        .map(|resync| format!(" {:.1}%", resync.percent()))
        .unwrap_or_default();
    format!(
        "leg {} {arrow} {}, {}{share}, {}",
        leg.id,
        leg.peer(),
        state_word(leg.state),
        connection_word(leg.connection)
    )
}
