// SPDX-License-Identifier: GPL-2.0
//! `force`, `resolve`, `switchover`, `fullresync`: what an operator does when things went wrong, or are to change.

use std::time::Duration;

use netraid_core::meta::{MetaFlags, Superblock};
use netraid_core::name::Name;
use netraid_ctl::gen::{self, cmd, EventKind, Role, StartMode, State};

use crate::fake::{Delivery, Fake};
use crate::machine::{run, run_on, run_with, Machine};
use crate::mirrors::{leg, source, target};
use crate::service::{remembers, restarted};

/// A source that came back and could not ask its target.
fn in_doubt() -> gen::Mirror {
    gen::Mirror {
        role: Some(Role::Stopped),
        last_owner: true,
        data_corrupt: true,
        device_present: false,
        ..source("data")
    }
}

fn modes(fake: &Fake) -> Vec<(Option<StartMode>, bool)> {
    let starts = fake.requests().into_iter();
    starts
        .filter(|(command, _)| *command == cmd::MIRROR_START)
        .map(|(_, asked)| (asked.mode, asked.override_))
        .collect()
}

/// Covers: S84, S93, S94, S102.
#[test]
fn the_last_owner_is_forced_after_one_question() {
    let fake = Fake::new(vec![in_doubt()]);
    let machine = Machine::default();
    let ran = run_on(&machine, &fake, "force data");
    assert_eq!((ran.status, fake.requests().len()), (1, 0));
    assert!(ran.err.contains("say --yes"), "{}", ran.err);

    let ran = run_with(&machine, &fake, "force data", Some("no\n"));
    assert_eq!((ran.status, fake.requests().len()), (1, 0));
    assert!(
        ran.err
            .contains("mirror data on eve: last owner: yes, data corrupt: yes"),
        "{}",
        ran.err
    );
    assert!(
        ran.err
            .contains("be certain that this machine was the last source. Go on? [y/N]"),
        "{}",
        ran.err
    );

    let ran = run_with(&machine, &fake, "force data", Some("y\n"));
    assert_eq!(
        (ran.status, ran.out.as_str()),
        (0, "This machine is the source of mirror data now: /dev/netraid0.\n")
    );
    assert_eq!(modes(&fake), [(Some(StartMode::Force), false)]);
    let ran = run_on(&machine, &fake, "force data --yes");
    assert!(ran.out.contains("already the source"), "{}", ran.out);
}

/// Covers: S94.
#[test]
fn a_machine_that_was_not_the_last_owner_is_forced_only_with_override_and_a_second_question() {
    let other = || gen::Mirror {
        last_owner: false,
        ..in_doubt()
    };
    let fake = Fake::new(vec![other()]);
    let machine = Machine::default();
    let ran = run_on(&machine, &fake, "force data --yes");
    assert_eq!((ran.status, fake.requests().len()), (2, 0));
    assert!(
        ran.err
            .contains("may be older than that of adam; start the mirror where it was last")
            && ran.err.contains("say --override"),
        "{}",
        ran.err
    );
    let ran = run_with(&machine, &fake, "force data --override", Some("yes\nno\n"));
    assert_eq!((ran.status, fake.requests().len()), (1, 0));
    assert!(ran.err.contains("was NOT the last source"), "{}", ran.err);
    for answers in [Some("yes\nyes\n"), None] {
        let fake = Fake::new(vec![other()]);
        let line = format!("force data --override{}", if answers.is_none() { " --yes" } else { "" });
        assert_eq!(run_with(&machine, &fake, &line, answers).status, 0);
        assert_eq!(modes(&fake), [(Some(StartMode::Force), true)]);
    }
}

/// Covers: S102.
#[test]
fn after_both_machines_failed_the_first_one_back_is_forced_from_what_is_kept() {
    let (machine, fake) = restarted(&[("data", "/dev/vdb")]);
    remembers(&fake, |mirror| mirror.data_corrupt = true);
    let ran = run_on(&machine, &fake, "force data --yes");
    assert_eq!(ran.status, 0, "{}", ran.err);
    let commands: Vec<u8> = fake.requests().iter().map(|(command, _)| *command).collect();
    assert_eq!(commands, [cmd::MIRROR_NEW, cmd::MIRROR_START]);
}

fn split(role: Role) -> gen::Mirror {
    gen::Mirror {
        role: Some(role),
        split_brain: true,
        ..source("data")
    }
}

/// Covers: S97, S98.
#[test]
fn a_split_brain_is_resolved_for_this_machine_with_the_step_for_the_other() {
    let fake = Fake::new(vec![split(Role::Stopped)]);
    let ran = run(&fake, "resolve data --keep eve");
    assert_eq!(
        ran.out,
        "This machine is the source of mirror data now: /dev/netraid0.\n\
         Run `netraid-ctl resolve data --keep eve` on adam, too; what was written there alone is given up then.\n"
    );
    assert_eq!(modes(&fake), [(Some(StartMode::Keep), false)]);
}

/// Covers: S97, S98.
#[test]
fn a_split_brain_is_resolved_for_the_other_machine_after_a_question() {
    for role in [Role::Source, Role::Target, Role::Stopped] {
        let fake = Fake::new(vec![split(role)]);
        let ran = run(&fake, "resolve data --keep adam");
        assert_eq!((ran.status, fake.requests().len()), (1, 0));
        assert!(
            ran.err
                .contains("what this machine wrote to mirror data since it was last in step with adam is given up"),
            "{}",
            ran.err
        );
        let ran = run(&fake, "resolve data --keep adam --yes");
        assert_eq!(ran.status, 0, "{}", ran.err);
        assert!(
            ran.out.starts_with("Mirror data is a target here and waits for adam"),
            "{}",
            ran.out
        );
        assert_eq!(modes(&fake), [(Some(StartMode::Yield), false)]);
        let stops = fake
            .requests()
            .iter()
            .filter(|(command, _)| *command == cmd::MIRROR_STOP)
            .count();
        assert_eq!(stops, usize::from(role == Role::Source));
    }
}

#[test]
fn a_device_in_use_is_not_given_up_without_force() {
    let open = || gen::Mirror {
        open_count: Some(1),
        ..split(Role::Source)
    };
    let fake = Fake::new(vec![open()]);
    let ran = run(&fake, "resolve data --keep adam --yes");
    assert_eq!((ran.status, fake.requests().len()), (2, 0));
    assert!(
        ran.err
            .contains("/dev/netraid0 is in use (1 open); unmount it first, or say --force"),
        "{}",
        ran.err
    );
    assert_eq!(run(&fake, "resolve data --keep adam --yes --force").status, 0);
    assert!(fake.requests().iter().all(|(_, asked)| asked.force));
}

#[test]
fn an_unknown_machine_resolves_nothing() {
    let fake = Fake::new(vec![split(Role::Stopped)]);
    let ran = run(&fake, "resolve data --keep pluto --yes");
    assert_eq!((ran.status, fake.requests().len()), (2, 0));
    assert!(
        ran.err
            .contains("there is no machine `pluto` in it; the machines are eve (this one), adam"),
        "{}",
        ran.err
    );
}

#[test]
fn a_switchover_ends_when_this_machine_is_the_source() {
    let fake = Fake::new(vec![target("data")]);
    fake.on_request(|_, command, _| (command == cmd::MIRROR_SWITCHOVER).then_some(Ok(())));
    fake.later(Duration::from_secs(2), |world| {
        world.mirrors[0].role = Some(Role::Source);
        Delivery::Event(world.event(EventKind::RoleChanged))
    });
    let ran = run(&fake, "switchover data");
    assert_eq!(
        (ran.status, ran.out.as_str()),
        (
            0,
            "Mirror data is switched over: eve is the source now, /dev/netraid0, adam its target.\n"
        )
    );
    assert_eq!(fake.0.borrow().now, Duration::from_secs(2));
    let again = run(&fake, "switchover data");
    assert_eq!(again.status, 0);
    assert!(
        again.out.contains("is the source of mirror data already"),
        "{}",
        again.out
    );
}

#[test]
fn a_switchover_that_does_not_come_is_a_timeout() {
    let fake = Fake::new(vec![target("data")]);
    fake.on_request(|_, _, _| Some(Ok(())));
    let ran = run(&fake, "switchover data --timeout 3");
    assert_eq!(ran.status, 4);
    assert!(ran.err.contains("not switched over after 3 seconds"), "{}", ran.err);
}

/// Covers: S235.
#[test]
fn a_full_resync_asks_and_goes_to_every_target_or_to_one() {
    let two = || gen::Mirror {
        leg: vec![
            leg(1),
            gen::Leg {
                peer_name: Some("pluto".to_owned()),
                state: Some(State::Paused),
                ..leg(2)
            },
        ],
        ..source("data")
    };
    let fake = Fake::new(vec![two()]);
    let ran = run(&fake, "fullresync data");
    assert_eq!((ran.status, fake.requests().len()), (1, 0));
    assert!(
        ran.err
            .contains("everything of mirror data will be copied to adam and pluto again"),
        "{}",
        ran.err
    );
    let legs = |line: &str| -> Vec<(u8, Option<u32>)> {
        let fake = Fake::new(vec![two()]);
        assert_eq!(run(&fake, line).status, 0);
        let requests = fake.requests();
        requests
            .into_iter()
            .map(|(command, asked)| (command, asked.leg[0].id))
            .collect()
    };
    assert_eq!(
        legs("fullresync data --yes"),
        [(cmd::LEG_FULL, Some(1)), (cmd::LEG_FULL, Some(2))]
    );
    assert_eq!(legs("fullresync data --yes --leg 2"), [(cmd::LEG_FULL, Some(2))]);
}

#[test]
fn settings_are_changed_and_shown() {
    let fake = Fake::new(vec![source("data")]);
    let set = |line: &str| {
        let ran = run(&fake, line);
        assert_eq!(ran.status, 0, "{}", ran.err);
        ran.out
    };
    assert_eq!(
        set("set data resync-rate 10M"),
        "The resync rate of mirror data is limited to 10M a second.\n"
    );
    assert_eq!(
        set("set data async-limit 2"),
        "An asynchronous target of mirror data may have 256 operations outstanding.\n"
    );
    assert_eq!(
        set("set data on-io-error pass-on"),
        "What a disk of mirror data fails to write is an error for the application.\n"
    );
    assert_eq!(
        fake.requests().pop().unwrap().1.on_io_error,
        Some(gen::OnIoError::PassOn)
    );
    assert_eq!(
        set("set data on-io-error detach"),
        "A disk of mirror data that fails is given up while a target is in step.\n"
    );
    assert_eq!(
        fake.requests().pop().unwrap().1.on_io_error,
        Some(gen::OnIoError::Detach)
    );
    let detail = run(&fake, "status data --detail").out;
    assert!(
        detail.contains("\tResync rate: limited to 10M a second\n") && detail.contains("\tAsync limit: 256\n"),
        "{detail}"
    );
    assert_eq!(
        set("set data resync-rate 0"),
        "The resync rate of mirror data is not limited.\n"
    );
    let last = fake.requests().pop().unwrap();
    assert_eq!(
        (last.0, last.1.resync_rate, last.1.async_limit),
        (cmd::MIRROR_SET, Some(0), None)
    );
}

/// Covers: S97.
#[test]
fn out_of_service_the_machines_are_those_of_the_metadata() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("state_data");
    let mut superblock = Superblock {
        sequence: 1,
        set: 7,
        name: Name::new("data").unwrap(),
        flags: MetaFlags::NO_BITMAP,
        ..Superblock::default()
    };
    superblock.peers[0].uuid = [9; 16];
    superblock.peers[0].name = Name::new("adam").unwrap();
    let mut bytes = vec![0; 8192];
    superblock.encode((&mut bytes[..4096]).try_into().unwrap());
    std::fs::write(&path, bytes).unwrap();

    let down = || gen::Mirror {
        meta_path: path.to_str().map(str::to_owned),
        leg: vec![],
        ..split(Role::Stopped)
    };
    let ran = run(&Fake::new(vec![down()]), "resolve data --keep adam --yes");
    assert_eq!(ran.status, 0, "{}", ran.err);
    let ran = run(&Fake::new(vec![down()]), "resolve data --keep abel --yes");
    assert!(ran.err.contains("the machines are eve (this one), adam"), "{}", ran.err);
}
