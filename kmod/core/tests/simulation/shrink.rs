// SPDX-License-Identifier: GPL-2.0

//! Histories told again, and made shorter.

use super::converge::STUCK;
use super::events::Event;
use super::history::Outcome;
use super::world::{Config, World};

/// A list of events told again.
pub(crate) fn replay(config: Config, events: &[Event]) -> World {
    let mut world = World::new(config);
    for &event in events {
        world.happen(event);
    }
    world
}

/// Leaves out what is not needed for a failure of the same kind, and makes the rest plainer.
pub(crate) fn shrink(outcome: &Outcome) -> Vec<Event> {
    let wanted = outcome.failure.as_deref().map(kind_of);
    let fails = |events: &[Event]| replay(outcome.config, events).failure.as_deref().map(kind_of) == wanted;
    let mut events = outcome.events.clone();
    if !fails(&events) {
        return events;
    }
    loop {
        let before = events.clone();
        leave_out(&mut events, &fails);
        for at in 0..events.len() {
            let mut plainer = events.clone();
            plainer[at] = plain(plainer[at]);
            if plainer[at] != events[at] && fails(&plainer) {
                events = plainer;
            }
        }
        if events == before {
            return events;
        }
    }
}

fn leave_out(events: &mut Vec<Event>, fails: &impl Fn(&[Event]) -> bool) {
    let mut part = events.len() / 2;
    while part > 0 {
        let before = events.len();
        let mut at = 0;
        while at < events.len() {
            let mut fewer = events.clone();
            fewer.drain(at..(at + part).min(events.len()));
            if fails(&fewer) {
                *events = fewer;
            } else {
                at += part;
            }
        }
        if part > 1 || events.len() == before {
            part /= 2;
        }
    }
}

/// A simpler form of an event.
fn plain(event: Event) -> Event {
    match event {
        Event::JournalStep(node) => Event::Journal(node),
        Event::SendStep(node) => Event::Send(node),
        Event::LocalDone(node, _) => Event::LocalDone(node, 0),
        Event::TargetDone(node, _) => Event::TargetDone(node, 0),
        Event::Proceed(node, _) => Event::Proceed(node, true),
        Event::Crash(node, _) => Event::Crash(node, 0),
        other => other,
    }
}

/// The failure without numbers and names.
pub(crate) fn kind_of(failure: &str) -> String {
    if failure.starts_with(STUCK) {
        return STUCK.to_owned();
    }
    let words = failure.split(|c: char| !c.is_ascii_alphabetic());
    let names = ["adam", "berta", "carl", "dora", ""];
    words.filter(|word| !names.contains(word)).collect::<Vec<_>>().join(" ")
}
