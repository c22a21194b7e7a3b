// SPDX-License-Identifier: GPL-2.0
//! `events` and `status --watch`: a snapshot, then the stream, with nothing lost unnoticed.

use std::time::Duration;

use netraid_ctl::gen::{self, EventKind, State};
use serde_json::Value;

use crate::fake::{Delivery, Fake, World};
use crate::machine::run;
use crate::mirrors::source;

const SECOND: Duration = Duration::from_secs(1);

fn delete(world: &mut World) -> Delivery {
    let gone = world.mirrors.remove(0);
    let named = gen::Mirror {
        name: gone.name,
        id: gone.id,
        ..gen::Mirror::default()
    };
    Delivery::Event(world.event_of(EventKind::MirrorDeleted, Some(named)))
}

fn lines(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn json_lines_begin_with_a_snapshot_and_are_numbered() {
    let fake = Fake::new(vec![source("data")]);
    fake.0.borrow_mut().last_seq = 41;
    fake.leg_changes(SECOND, |leg| leg.state = Some(State::Paused));
    fake.later(2 * SECOND, delete);
    let ran = run(&fake, "events data --json");
    assert_eq!(ran.status, 0, "{}", ran.err);
    let lines = lines(&ran.out);
    assert_eq!(lines.len(), 3);
    assert_eq!((&lines[0]["event"], &lines[0]["seq"]), (&"snapshot".into(), &41.into()));
    assert_eq!(lines[0]["mirrors"][0]["legs"][1]["state"], "fully-operational");
    assert_eq!(
        (&lines[1]["event"], &lines[1]["seq"]),
        (&"leg-changed".into(), &42.into())
    );
    assert_eq!(
        (&lines[1]["leg_id"], &lines[1]["time_ms"]),
        (&1.into(), &1_795_248_000_123_u64.into())
    );
    assert_eq!(lines[1]["mirror"]["legs"][1]["state"], "paused");
    assert_eq!(
        (&lines[2]["event"], &lines[2]["mirror"]["name"]),
        (&"mirror-deleted".into(), &"data".into())
    );
}

#[test]
fn text_lines_have_time_number_and_reason() {
    let fake = Fake::new(vec![source("data")]);
    fake.later(SECOND, |world| {
        let mut event = world.event(EventKind::Refused);
        event.reason = Some("no mirror data there".to_owned());
        Delivery::Event(event)
    });
    fake.later(2 * SECOND, delete);
    assert_eq!(
        run(&fake, "events data").out,
        "snapshot: data (source), leg 1 -> adam, Fully Operational, Connected\n\
         2026-11-21T08:00:00.123Z #1 connection refused: data (source), leg 1 -> adam, Fully Operational, Connected: \
         no mirror data there\n\
         2026-11-21T08:00:00.123Z #2 mirror deleted: data\n"
    );
}

#[test]
fn what_the_snapshot_contains_is_not_told_again() {
    let fake = Fake::new(vec![source("data")]);
    let old = {
        let mut world = fake.0.borrow_mut();
        world.last_seq = 6;
        world.event(EventKind::LegChanged)
    };
    fake.later(SECOND, |_| Delivery::Event(old));
    fake.later(2 * SECOND, delete);
    let lines = lines(&run(&fake, "events data --json").out);
    let kinds: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["snapshot", "mirror-deleted"]);
}

#[test]
fn a_gap_is_reported_and_followed_by_a_new_snapshot() {
    let fake = Fake::new(vec![source("data")]);
    fake.leg_changes(SECOND, |leg| leg.state = Some(State::Paused));
    fake.later(2 * SECOND, |world| {
        world.last_seq += 3;
        Delivery::Event(world.event(EventKind::LegChanged))
    });
    fake.later(3 * SECOND, |_| Delivery::Overflow);
    fake.later(4 * SECOND, delete);
    let lines = lines(&run(&fake, "events data --json").out);
    let kinds: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        [
            "snapshot",
            "leg-changed",
            "lost",
            "snapshot",
            "lost",
            "snapshot",
            "mirror-deleted"
        ]
    );
    assert_eq!((&lines[2]["expected_seq"], &lines[2]["seq"]), (&2.into(), &5.into()));
    assert_eq!(lines[3]["seq"], 5);
    assert_eq!(lines[4]["seq"], Value::Null);
}

#[test]
fn events_of_another_mirror_are_neither_shown_nor_missed() {
    let fake = Fake::new(vec![source("data")]);
    fake.later(SECOND, |world| {
        Delivery::Event(world.event_of(EventKind::MirrorAdded, Some(source("logs"))))
    });
    fake.later(2 * SECOND, delete);
    let lines = lines(&run(&fake, "events data --json").out);
    assert_eq!(lines.len(), 2, "{lines:?}");
}

#[test]
fn without_any_mirror_the_first_event_is_shown() {
    let fake = Fake::new(vec![]);
    fake.0.borrow_mut().last_seq = 8;
    fake.later(SECOND, |world| {
        world.mirrors.push(source("data"));
        Delivery::Event(world.event(EventKind::MirrorAdded))
    });
    fake.later(2 * SECOND, |_| Delivery::Broken);
    let ran = run(&fake, "events --json");
    let lines = lines(&ran.out);
    assert_eq!(lines[0]["mirrors"], Value::Array(vec![]));
    assert_eq!(
        (&lines[1]["event"], &lines[1]["seq"]),
        (&"mirror-added".into(), &9.into())
    );
    assert_eq!((lines.len(), ran.status), (2, 2));
    assert!(
        ran.err
            .contains("the netlink socket failed (receive events): Input/output error"),
        "{}",
        ran.err
    );
}

#[test]
fn an_unknown_mirror_has_no_events() {
    let ran = run(&Fake::new(vec![]), "events data");
    assert_eq!(ran.status, 2);
    assert!(
        ran.err
            .contains("cannot show the events of mirror data: there is no mirror of that name"),
        "{}",
        ran.err
    );
}

#[test]
fn watch_prints_the_status_again_when_it_changes() {
    let fake = Fake::new(vec![source("data")]);
    fake.leg_changes(SECOND, |leg| leg.state = Some(State::Paused));
    // An event that changes nothing that is shown.
    fake.leg_changes(2 * SECOND, |leg| leg.heard_ms = Some(1));
    fake.later(3 * SECOND, delete);
    let out = run(&fake, "status data --watch").out;
    let states: Vec<&str> = out.lines().filter(|line| line.contains("Status: ")).collect();
    assert_eq!(states, ["\tStatus: Fully Operational", "\tStatus: Paused"]);
    assert!(out.contains("There are no mirrors"), "{out}");
    assert!(!out.contains('\x1b'), "no terminal, no control characters");
}

#[test]
fn a_change_of_the_flags_is_told_with_the_flags() {
    let fake = Fake::new(vec![source("data")]);
    for (at, corrupt) in [(1, true), (2, false)] {
        fake.later(at * SECOND, move |world| {
            world.mirrors[0].data_corrupt = corrupt;
            Delivery::Event(world.event(EventKind::StandingChanged))
        });
    }
    fake.later(3 * SECOND, delete);
    let out = run(&fake, "events data").out;
    assert!(
        out.contains("#1 standing changed: data (source), DATA CORRUPT\n")
            && out.contains("#2 standing changed: data (source), in order\n"),
        "{out}"
    );
}
