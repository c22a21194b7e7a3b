// SPDX-License-Identifier: GPL-2.0
//! `wait`, `pause`, `resume` and `extend --wait`: driven by events, with an end.

use std::time::Duration;

use netraid_ctl::gen::{self, cmd, Connection, EventKind, Role, State};

use crate::fake::{Delivery, Fake};
use crate::machine::run;
use crate::mirrors::{leg, source, target};

const SECOND: Duration = Duration::from_secs(1);

fn in_state(state: State) -> gen::Mirror {
    gen::Mirror {
        leg: vec![gen::Leg {
            state: Some(state),
            ..leg(1)
        }],
        ..source("data")
    }
}

#[test]
fn a_state_that_holds_already_is_not_waited_for() {
    let cases = [
        ("fully-operational", in_state(State::FullyOperational)),
        ("paused", in_state(State::Paused)),
        ("resyncing", in_state(State::Resyncing)),
        ("out-of-sync", in_state(State::OutOfSync)),
        ("connected", in_state(State::Paused)),
        (
            "disconnected",
            gen::Mirror {
                leg: vec![],
                ..target("data")
            },
        ),
        ("source", source("data")),
        ("target", target("data")),
        (
            "stopped",
            gen::Mirror {
                role: Some(Role::Stopped),
                ..source("data")
            },
        ),
        ("deleted", source("another")),
        ("paused,fully-operational", in_state(State::FullyOperational)),
    ];
    for (state, mirror) in cases {
        let fake = Fake::new(vec![mirror]);
        let ran = run(&fake, &format!("wait data --for {state}"));
        assert_eq!(
            (ran.status, fake.0.borrow().now),
            (0, Duration::ZERO),
            "{state}: {}",
            ran.err
        );
        assert!(ran.out.starts_with("Mirror data is "), "{}", ran.out);
    }
}

#[test]
fn an_event_ends_the_wait_at_once() {
    let fake = Fake::new(vec![in_state(State::Resyncing)]);
    fake.leg_changes(2 * SECOND, |leg| leg.dirty_chunks = Some(7));
    fake.leg_changes(3 * SECOND, |leg| leg.state = Some(State::FullyOperational));
    let ran = run(&fake, "wait data --for fully-operational --timeout 10");
    assert_eq!(
        (ran.status, ran.out.as_str()),
        (0, "Mirror data is fully-operational.\n")
    );
    assert_eq!(fake.0.borrow().now, 3 * SECOND);
}

#[test]
fn the_end_of_the_time_is_exit_status_4_and_says_how_things_stand() {
    let reason = "nothing was heard for 5000 ms".to_owned();
    let leg = gen::Leg {
        state: Some(State::OutOfSync),
        connection: Some(Connection::Waiting),
        reason: Some(reason),
        ..leg(1)
    };
    let fake = Fake::new(vec![gen::Mirror {
        leg: vec![leg],
        ..source("data")
    }]);
    let ran = run(&fake, "wait data --for paused,fully-operational --timeout 2.5");
    assert_eq!(ran.status, 4);
    assert_eq!(
        ran.err,
        "netraid-ctl: mirror data is not paused or fully-operational after 2.5 seconds; this machine's role is source, \
         leg 1 is Out Of Sync and waiting (nothing was heard for 5000 ms)\n"
    );
    assert_eq!(fake.0.borrow().now, Duration::from_millis(2500));
}

#[test]
fn the_last_look_does_not_need_an_event() {
    let fake = Fake::new(vec![in_state(State::Resyncing)]);
    fake.later(SECOND, |world| {
        world.mirrors[0].leg[0].state = Some(State::FullyOperational);
        Delivery::Nothing
    });
    assert_eq!(run(&fake, "wait data --for fully-operational --timeout 5").status, 0);
}

#[test]
fn events_that_were_lost_are_made_up_for_by_a_new_look() {
    let fake = Fake::new(vec![in_state(State::Resyncing)]);
    fake.later(SECOND, |world| {
        world.mirrors[0].leg[0].state = Some(State::FullyOperational);
        world.last_seq += 5;
        Delivery::Overflow
    });
    assert_eq!(run(&fake, "wait data --for fully-operational --timeout 5").status, 0);
    assert_eq!(fake.0.borrow().now, SECOND);
}

#[test]
fn a_mirror_that_goes_away_ends_the_wait() {
    let deleted = |world: &mut crate::fake::World| {
        let gone = world.mirrors.remove(0);
        let named = gen::Mirror {
            name: gone.name,
            id: gone.id,
            ..gen::Mirror::default()
        };
        Delivery::Event(world.event_of(EventKind::MirrorDeleted, Some(named)))
    };
    let fake = Fake::new(vec![source("data")]);
    fake.later(SECOND, deleted);
    let ran = run(&fake, "wait data --for paused");
    assert_eq!(ran.status, 2);
    assert!(
        ran.err.contains("mirror data was deleted while it was waited for"),
        "{}",
        ran.err
    );

    let fake = Fake::new(vec![source("data")]);
    fake.later(SECOND, deleted);
    assert_eq!(run(&fake, "wait data --for deleted").status, 0);
    assert_eq!(
        run(&fake, "wait data --for paused").status,
        2,
        "a mirror that never was"
    );
}

/// Covers: S228.
#[test]
fn pause_returns_when_the_leg_is_paused() {
    let fake = Fake::new(vec![source("data")]);
    fake.leg_changes(SECOND, |leg| leg.state = Some(State::Paused));
    let ran = run(&fake, "pause data");
    assert_eq!(
        (ran.status, ran.out.as_str()),
        (0, "Leg 1 of mirror data (adam): Paused.\n")
    );
    let asked = gen::Leg {
        id: Some(1),
        ..gen::Leg::default()
    };
    let name = Some("data".to_owned());
    assert_eq!(
        fake.requests(),
        [(
            cmd::LEG_PAUSE,
            gen::Mirror {
                name,
                leg: vec![asked],
                ..gen::Mirror::default()
            }
        )]
    );

    let again = run(&fake, "pause data");
    assert_eq!(
        (again.status, again.out.as_str()),
        (0, "Leg 1 of mirror data (adam) is already paused.\n")
    );
    assert_eq!(fake.requests().len(), 1);
}

#[test]
fn pause_gives_up_when_its_time_is_over() {
    let ran = run(&Fake::new(vec![source("data")]), "pause data --timeout 3");
    assert_eq!(ran.status, 4);
    assert!(
        ran.err.contains("cannot pause mirror data: not done after 3 seconds"),
        "{}",
        ran.err
    );
}

/// As the kernel does: a leg that is to go on is not paused any more while the target is asked.
fn resumes(fake: &Fake) {
    fake.on_request(|world, command, _| {
        (command == cmd::LEG_RESUME).then(|| {
            world.mirrors[0].leg[0].state = Some(State::OutOfSync);
            Ok(())
        })
    });
}

/// Covers: S230.
#[test]
fn resume_returns_when_the_leg_is_no_longer_paused() {
    let fake = Fake::new(vec![in_state(State::Paused)]);
    resumes(&fake);
    fake.leg_changes(SECOND, |leg| leg.state = Some(State::Resyncing));
    let ran = run(&fake, "resume data --leg 1");
    assert_eq!(
        (ran.status, ran.out.as_str()),
        (0, "Leg 1 of mirror data (adam): Resynchronizing.\n")
    );
    let again = run(&fake, "resume data");
    assert_eq!((again.status, fake.requests().len()), (0, 1));
    assert!(
        again.out.contains("is already resumed: Resynchronizing"),
        "{}",
        again.out
    );
}

/// The pause had been agreed on anew just before. Covers: S230.
#[test]
fn resume_takes_no_notice_of_what_happened_before_it() {
    let fake = Fake::new(vec![in_state(State::Paused)]);
    fake.on_request(|world, command, _| {
        (command == cmd::LEG_RESUME).then(|| {
            let before = world.event(EventKind::LegChanged);
            world.later.push_front((SECOND, Box::new(|_| Delivery::Event(before))));
            world.mirrors[0].leg[0].state = Some(State::OutOfSync);
            Ok(())
        })
    });
    fake.leg_changes(2 * SECOND, |leg| leg.state = Some(State::FullyOperational));
    let ran = run(&fake, "resume data");
    assert_eq!(
        (ran.status, ran.out.as_str()),
        (0, "Leg 1 of mirror data (adam): Fully Operational.\n"),
        "{}",
        ran.err
    );
}

/// The leg is out of sync while the target is asked, and paused again when it said no.
#[test]
fn resume_reports_the_refusal_of_the_other_machine() {
    const REASON: &str = "adam does not resume: /dev/netraid0 is in use on adam (1 open); unmount it there";
    let fake = Fake::new(vec![in_state(State::Paused)]);
    resumes(&fake);
    fake.leg_changes(SECOND, |leg| leg.state = Some(State::OutOfSync));
    fake.leg_changes(2 * SECOND, |leg| {
        leg.state = Some(State::Paused);
        leg.reason = Some(REASON.to_owned());
    });
    let ran = run(&fake, "resume data");
    assert_eq!(ran.status, 2);
    assert_eq!(ran.err, format!("netraid-ctl: cannot resume mirror data: {REASON}\n"));
    assert_eq!(fake.0.borrow().now, 2 * SECOND);
}

#[test]
fn resume_waits_for_the_answer_of_a_connected_target() {
    let fake = Fake::new(vec![in_state(State::Paused)]);
    resumes(&fake);
    fake.leg_changes(SECOND, |leg| leg.state = Some(State::OutOfSync));
    fake.leg_changes(2 * SECOND, |leg| leg.state = Some(State::FullyOperational));
    assert_eq!(
        run(&fake, "resume data").out,
        "Leg 1 of mirror data (adam): Fully Operational.\n"
    );
}

#[test]
fn resume_without_a_connection_is_done_when_the_pause_is_lifted() {
    let leg = gen::Leg {
        state: Some(State::Paused),
        connection: Some(Connection::Waiting),
        ..leg(1)
    };
    let fake = Fake::new(vec![gen::Mirror {
        leg: vec![leg],
        ..source("data")
    }]);
    fake.leg_changes(SECOND, |leg| leg.connection = Some(Connection::Connecting));
    fake.leg_changes(2 * SECOND, |leg| leg.state = Some(State::OutOfSync));
    assert_eq!(
        run(&fake, "resume data").out,
        "Leg 1 of mirror data (adam): Out Of Sync.\n"
    );
}

#[test]
fn pause_takes_no_notice_of_a_refused_connection() {
    let fake = Fake::new(vec![source("data")]);
    fake.later(SECOND, |world| Delivery::Event(world.event(EventKind::Refused)));
    fake.leg_changes(2 * SECOND, |leg| leg.state = Some(State::Paused));
    assert_eq!(run(&fake, "pause data").status, 0);
}

#[test]
fn without_a_target_there_is_nothing_to_pause() {
    let ran = run(
        &Fake::new(vec![gen::Mirror {
            leg: vec![],
            ..source("data")
        }]),
        "pause data",
    );
    assert_eq!(ran.status, 2);
    assert!(
        ran.err
            .contains("mirror data has no target; `netraid-ctl extend data --to ADDR` adds one"),
        "{}",
        ran.err
    );
}

#[test]
fn extend_can_wait_until_the_copy_is_complete() {
    let fake = Fake::new(vec![gen::Mirror {
        leg: vec![],
        ..source("data")
    }]);
    fake.on_request(|world, command, _| {
        (command == cmd::LEG_NEW).then(|| {
            let leg = gen::Leg {
                state: Some(State::OutOfSync),
                ..leg(1)
            };
            world.mirrors[0].leg = vec![leg];
            Ok(())
        })
    });
    fake.leg_changes(SECOND, |leg| leg.state = Some(State::Resyncing));
    fake.leg_changes(9 * SECOND, |leg| leg.state = Some(State::FullyOperational));
    let ran = run(&fake, "extend data --to adam --yes --wait");
    assert_eq!(ran.status, 0, "{}", ran.err);
    assert!(
        ran.out.ends_with("Leg 1 of mirror data (adam): Fully Operational.\n"),
        "{}",
        ran.out
    );
    assert_eq!(fake.0.borrow().now, 9 * SECOND);
}

#[test]
fn extend_that_waits_in_vain_tells_the_last_reason() {
    let fake = Fake::new(vec![gen::Mirror {
        leg: vec![],
        ..source("data")
    }]);
    fake.on_request(|world, command, _| {
        (command == cmd::LEG_NEW).then(|| {
            let reason = Some("the target refused: no mirror data there".to_owned());
            world.mirrors[0].leg = vec![gen::Leg {
                state: Some(State::OutOfSync),
                reason,
                ..leg(1)
            }];
            Ok(())
        })
    });
    let ran = run(&fake, "extend data --to adam --yes --wait=5");
    assert_eq!(ran.status, 4);
    assert!(
        ran.err
            .contains("after 5 seconds (it is Out Of Sync: the target refused: no mirror data there)"),
        "{}",
        ran.err
    );
}
