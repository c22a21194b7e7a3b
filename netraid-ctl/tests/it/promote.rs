// SPDX-License-Identifier: GPL-2.0
//! `promote`: patience with a source that has just died, and none with one that lives.

use std::time::Duration;

use netraid_ctl::gen::{self, cmd, Connection, Role, State};

use crate::fake::Fake;
use crate::machine::run;
use crate::mirrors::{source, target};

const SENTENCE: &str = "the source adam is connected, last heard 300 ms ago";

/// A target that refuses while its source is connected, last heard 300 ms ago.
fn connected() -> Fake {
    let fake = Fake::new(vec![target("data")]);
    fake.0.borrow_mut().now = Duration::from_millis(300);
    fake.0.borrow_mut().heard_at = Some(Duration::ZERO);
    fake.on_request(|world, command, _| {
        let stands = world.mirrors[0]
            .leg
            .first()
            .is_some_and(|leg| leg.connection == Some(Connection::Connected));
        (command == cmd::MIRROR_START && stands).then_some(Err((16, SENTENCE)))
    });
    fake
}

/// Covers: S86.
#[test]
fn a_target_becomes_the_source() {
    let fake = Fake::new(vec![gen::Mirror {
        leg: vec![],
        ..target("data")
    }]);
    let ran = run(&fake, "promote data");
    assert_eq!(
        (ran.status, ran.out.as_str()),
        (0, "This machine is the source of mirror data now: /dev/netraid0.\n")
    );
    let again = run(&fake, "promote data");
    assert_eq!(again.status, 0);
    assert!(
        again
            .out
            .starts_with("This machine is already the source of mirror data"),
        "{}",
        again.out
    );
}

#[test]
fn a_stopped_mirror_is_put_in_service() {
    let fake = Fake::new(vec![gen::Mirror {
        role: Some(Role::Stopped),
        leg: vec![],
        ..source("data")
    }]);
    assert_eq!(run(&fake, "promote data").status, 0);
}

/// Covers: S86.
#[test]
fn a_dead_source_is_waited_for_until_its_connection_is_given_up() {
    let fake = connected();
    fake.leg_changes(Duration::from_millis(5000), |leg| {
        leg.connection = Some(Connection::Disconnected)
    });
    let ran = run(&fake, "promote data");
    assert_eq!(ran.status, 0, "{}", ran.err);
    assert!(
        ran.err.contains("waiting for its connection to be given up"),
        "{}",
        ran.err
    );
    assert_eq!(fake.0.borrow().now, Duration::from_millis(5000), "not a moment longer");
}

#[test]
fn a_source_that_is_heard_of_again_ends_the_wait_at_once() {
    let fake = connected();
    fake.later(Duration::from_millis(1000), |world| {
        world.heard_at = Some(Duration::from_millis(1000));
        crate::fake::Delivery::Nothing
    });
    let ran = run(&fake, "promote data");
    assert_eq!(
        (ran.status, ran.err.as_str()),
        (
            2,
            format!("netraid-ctl: cannot promote mirror data: {SENTENCE}\n").as_str()
        )
    );
    assert!(fake.0.borrow().now < Duration::from_millis(2000));
}

#[test]
fn a_connection_that_outlives_the_wait_is_a_timeout() {
    let fake = connected();
    let ran = run(&fake, "promote data --wait 3");
    assert_eq!(ran.status, 4);
    assert!(
        ran.err
            .contains("still stood after 3 seconds, give it longer with --wait"),
        "{}",
        ran.err
    );
    assert_eq!(fake.0.borrow().now, Duration::from_millis(3300));
}

#[test]
fn without_a_wait_the_refusal_is_final() {
    let fake = connected();
    assert_eq!(run(&fake, "promote data --wait 0").status, 2);
    assert_eq!(fake.0.borrow().now, Duration::from_millis(300));
}

#[test]
fn an_inconsistent_disk_is_refused_at_once() {
    let leg = gen::Leg {
        state: Some(State::Resyncing),
        ..crate::mirrors::leg(1)
    };
    let fake = Fake::new(vec![gen::Mirror {
        inconsistent: true,
        leg: vec![leg],
        ..target("data")
    }]);
    fake.refuse(16, "the disk /dev/vdb is in the middle of a resync");
    let ran = run(&fake, "promote data");
    assert_eq!(ran.status, 2);
    assert!(ran.err.contains("in the middle of a resync"), "{}", ran.err);
    assert_eq!((fake.requests().len(), fake.0.borrow().now), (1, Duration::ZERO));
}

#[test]
fn a_refusal_without_a_connection_is_final() {
    let alone = gen::Mirror {
        leg: vec![gen::Leg {
            connection: Some(Connection::Disconnected),
            ..crate::mirrors::leg(1)
        }],
        ..target("data")
    };
    for command in ["promote data", "start data"] {
        let fake = Fake::new(vec![alone.clone()]);
        fake.refuse(
            16,
            "could not ask adam how it stands; `netraid-ctl force data` goes on without it",
        );
        let ran = run(&fake, command);
        assert_eq!((ran.status, fake.requests().len()), (2, 1));
        assert!(ran.err.contains("could not ask adam"), "{}", ran.err);
    }
}
