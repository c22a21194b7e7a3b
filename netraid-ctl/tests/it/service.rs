// SPDX-License-Identifier: GPL-2.0
//! `up`, `down`, `start`, `stop`: into service and out of it, with what is kept of each mirror.

use std::fs;

use netraid_ctl::gen::{self, cmd, Role, StartMode};

use crate::fake::Fake;
use crate::machine::{run, run_on, Machine, Ran};
use crate::making::made;
use crate::mirrors::{source, target};

/// A machine after a restart: mirrors are configured, and the kernel knows none of them.
pub(crate) fn restarted(names: &[(&str, &str)]) -> (Machine, Fake) {
    let (machine, fake) = (Machine::default(), Fake::new(vec![]));
    for (name, disk) in names {
        made(&machine, &fake, &format!("create {name} --disk {disk}"));
    }
    let mut world = fake.0.borrow_mut();
    world.mirrors.clear();
    world.requests.clear();
    drop(world);
    (machine, fake)
}

/// What the metadata of each mirror says when it is loaded.
pub(crate) fn remembers(fake: &Fake, metadata: impl Fn(&mut gen::Mirror) + 'static) {
    fake.on_request(move |world, command, asked| {
        if command != cmd::MIRROR_NEW || !asked.attach {
            return None;
        }
        let mut mirror = gen::Mirror {
            name: asked.name.clone(),
            id: asked.id,
            address: asked.address.clone(),
            port: asked.port,
            role: Some(Role::Stopped),
            device_present: false,
            last_owner: true,
            leg: vec![],
            ..source("")
        };
        mirror.name.clone_from(&asked.name);
        metadata(&mut mirror);
        world.mirrors.push(mirror);
        Some(Ok(()))
    });
}

fn commands(fake: &Fake) -> Vec<u8> {
    fake.requests().into_iter().map(|(command, _)| command).collect()
}

pub(crate) fn said(ran: &Ran, status: u8, out: &str) {
    assert_eq!((ran.status, ran.out.as_str()), (status, out), "{}", ran.err);
}

/// What is remembered of a disk does not hold for another one at the same path, be it of the same size.
#[test]
fn a_disk_that_was_replaced_is_not_taken_for_the_old_one() {
    let (mut machine, fake) = (Machine::default(), Fake::new(vec![]));
    machine.file("/sys/class/block/vdb/serial", "ONE\n");
    made(&machine, &fake, "create data --disk /dev/vdb");
    assert!(machine.config("data").unwrap().contains("disk-id = \"serial:ONE\""));
    let mut world = fake.0.borrow_mut();
    world.mirrors.clear();
    world.requests.clear();
    drop(world);
    remembers(&fake, |_| {});
    machine.file("/sys/class/block/vdb/serial", "TWO\n");
    let ran = run_on(&machine, &fake, "up data");
    assert_eq!(ran.status, 2, "{}", ran.err);
    for part in [
        "/dev/vdb is not the disk it was: serial:ONE was given to mirror data, this is serial:TWO",
        "netraid-ctl delete data",
        "remove `disk-id`",
    ] {
        assert!(ran.err.contains(part), "{part} in {}", ran.err);
    }
    assert!(commands(&fake).is_empty(), "the kernel was asked");
    // It has another path now.
    machine.file("/sys/class/block/vdd/serial", "ONE\n");
    let ran = run_on(&machine, &fake, "up data");
    assert!(ran.err.contains("that one is /dev/vdd now"), "{}", ran.err);
    machine.file("/sys/class/block/vdb/serial", "ONE\n");
    assert_eq!(run_on(&machine, &fake, "up data").status, 0);
}

#[test]
fn after_a_restart_a_mirror_comes_up_in_the_role_it_had() {
    let (machine, fake) = restarted(&[("data", "/dev/vdb")]);
    remembers(&fake, |_| {});
    let ran = run_on(&machine, &fake, "up data");
    said(&ran, 0, "Mirror data is up: source, /dev/netraid0.\n");
    let requests = fake.requests();
    assert_eq!(commands(&fake), [cmd::MIRROR_NEW, cmd::MIRROR_START]);
    let load = &requests[0].1;
    assert!(load.attach && load.role.is_none() && !load.no_full_sync && !load.fresh);
    assert_eq!(load.disk.as_deref(), Some("/dev/vdb"));
    assert_eq!(load.meta_path.as_deref(), Some(machine.state("bitmap_data").as_str()));
    assert_eq!((load.id, load.port), (Some(0), Some(7900)));
    assert!(load.node_uuid.is_some());
    assert_eq!(requests[1].1.mode, Some(StartMode::Auto));

    let again = run_on(&machine, &fake, "up data");
    said(&again, 0, "Mirror data is up already: source, /dev/netraid0.\n");
}

#[test]
fn a_target_that_comes_up_says_where_it_waits() {
    let (machine, fake) = (Machine::default(), Fake::new(vec![]));
    made(
        &machine,
        &fake,
        "join data --disk /dev/vdb --yes --listen 10.0.0.1:8000 --timeout 900",
    );
    fake.0.borrow_mut().mirrors.clear();
    remembers(&fake, |mirror| mirror.last_owner = false);
    let ran = run_on(&machine, &fake, "up --all");
    said(&ran, 0, "Mirror data is up: target, listening on 10.0.0.1:8000.\n");
    let load = &fake.requests()[1].1;
    assert_eq!((load.port, load.timeout_ms), (Some(8000), Some(900)));
}

#[test]
fn with_all_a_refusal_does_not_keep_the_others_down() {
    let (machine, fake) = restarted(&[("a", "/dev/vdb"), ("b", "/dev/vdc2")]);
    remembers(&fake, |_| {});
    {
        let mut world = fake.0.borrow_mut();
        let mut loads = world.take_handler().unwrap();
        drop(world);
        fake.on_request(move |world, command, asked| {
            if command == cmd::MIRROR_START && asked.name.as_deref() == Some("a") {
                return Some(Err((16, "could not ask adam how it stands; force mirror 'a'")));
            }
            loads(world, command, asked)
        });
    }
    let ran = run_on(&machine, &fake, "up --all");
    said(&ran, 2, "Mirror b is up: source, /dev/netraid0.\n");
    assert_eq!(
        ran.err,
        "netraid-ctl: cannot bring mirror a up: could not ask adam how it stands; force mirror 'a'\n"
    );
    // When the other machine answers at last, the same command brings the rest up.
    remembers(&fake, |_| {});
    let ran = run_on(&machine, &fake, "up --all");
    said(
        &ran,
        0,
        "Mirror a is up: source, /dev/netraid0.\nMirror b is up already: source, /dev/netraid0.\n",
    );
}

#[test]
fn what_an_operator_stopped_stays_so_until_it_is_named() {
    let (machine, fake) = restarted(&[("data", "/dev/vdb")]);
    remembers(&fake, |mirror| mirror.stopped = true);
    let ran = run_on(&machine, &fake, "up --all");
    said(
        &ran,
        0,
        "Mirror data was stopped by an operator and stays so; `netraid-ctl up data` brings it up.\n",
    );
    assert_eq!(commands(&fake), [cmd::MIRROR_NEW]);
    let ran = run_on(&machine, &fake, "up data");
    said(&ran, 0, "Mirror data is up: source, /dev/netraid0.\n");
    let start = fake.requests().pop().unwrap().1;
    assert_eq!((start.mode, start.override_), (Some(StartMode::Auto), true));
}

#[test]
fn a_mirror_nobody_knows_is_refused_with_where_to_look() {
    let fake = Fake::new(vec![]);
    for command in [
        "up date",
        "down date",
        "start date",
        "force date --yes",
        "resolve date --keep eve",
    ] {
        let ran = run(&fake, command);
        assert_eq!(ran.status, 2, "{command}");
        assert!(
            ran.err
                .contains("there is no mirror date on this machine; `netraid-ctl list` lists"),
            "{command}: {}",
            ran.err
        );
    }
    let ran = run(&fake, "up --all");
    assert_eq!(ran.status, 0);
    assert!(ran.out.starts_with("There are no mirrors"), "{}", ran.out);
}

#[test]
fn a_configuration_with_a_mistake_is_refused_with_file_and_line() {
    for (text, why) in [
        (
            "version = 1\nname = \"data\"\ncolour = \"red\"\n",
            "line 3: unknown field `colour`",
        ),
        ("version = 2\n", "it is of version 2, this netraid-ctl knows 1"),
        ("name = \"data\"\n", "it has no version"),
        ("version = 1\nname =\n", "line 2"),
        ("version = 1\nname = \"data\"\n", "line 1: missing field `disk`"),
    ] {
        let (machine, fake) = restarted(&[("data", "/dev/vdb")]);
        let path = machine.paths.config.join("mirrors/data.toml");
        fs::write(&path, text).unwrap();
        let ran = run_on(&machine, &fake, "up --all");
        assert_eq!((ran.status, fake.requests().len()), (2, 0));
        let sentence = format!("the configuration {} cannot be used: {why}", path.display());
        assert!(ran.err.contains(&sentence), "{}", ran.err);
    }
}

#[test]
fn a_configuration_under_another_name_is_refused() {
    let (machine, fake) = restarted(&[("data", "/dev/vdb")]);
    let folder = machine.paths.config.join("mirrors");
    fs::rename(folder.join("data.toml"), folder.join("copy.toml")).unwrap();
    let ran = run_on(&machine, &fake, "up copy");
    assert!(ran.err.contains("it says that it is of mirror data"), "{}", ran.err);
}

#[test]
fn down_keeps_the_roles_and_goes_on_after_a_refusal() {
    let fake = Fake::new(vec![
        source("a"),
        target("b"),
        gen::Mirror {
            role: Some(Role::Stopped),
            ..source("c")
        },
    ]);
    fake.on_request(|_, _, asked| {
        (asked.name.as_deref() == Some("a") && !asked.force).then_some(Err((16, "/dev/netraid0 is in use (1 open)")))
    });
    let ran = run(&fake, "down --all");
    said(&ran, 2, "Mirror b is down; it was target and comes up so again.\n");
    assert!(
        ran.err
            .contains("cannot take mirror a down: /dev/netraid0 is in use (1 open)"),
        "{}",
        ran.err
    );
    let ran = run(&fake, "down --all --force");
    said(&ran, 0, "Mirror a is down; it was source and comes up so again.\n");
    let stop = fake.requests().pop().unwrap();
    assert_eq!(stop.0, cmd::MIRROR_STOP);
    assert!(stop.1.keep_role && stop.1.force);
    said(
        &run(&fake, "down a c"),
        0,
        "Mirror a is down already.\nMirror c is down already.\n",
    );
    said(&run(&fake, "down --all"), 0, "No mirror is up.\n");
}

#[test]
fn without_the_module_everything_is_down() {
    let ran = run(&Fake::default(), "down --all");
    said(&ran, 0, "No mirror is up; the netraid module is not loaded.\n");
    assert_eq!(run(&Fake::default(), "up --all").status, 2);
}

/// Covers: S84.
#[test]
fn start_loads_a_mirror_and_makes_this_machine_the_source() {
    let (machine, fake) = restarted(&[("data", "/dev/vdb")]);
    remembers(&fake, |mirror| mirror.stopped = true);
    let ran = run_on(&machine, &fake, "start data");
    said(
        &ran,
        0,
        "This machine is the source of mirror data now: /dev/netraid0.\n",
    );
    assert_eq!(commands(&fake), [cmd::MIRROR_NEW, cmd::MIRROR_START]);
    let start = fake.requests().pop().unwrap().1;
    assert_eq!((start.mode, start.override_), (Some(StartMode::Source), false));
    let again = run_on(&machine, &fake, "start data");
    said(
        &again,
        0,
        "This machine is already the source of mirror data, as /dev/netraid0.\n",
    );
}

#[test]
fn start_tells_what_the_kernel_found_out() {
    let (machine, fake) = restarted(&[("data", "/dev/vdb")]);
    fake.on_request(|_, command, _| {
        let sentence = "adam is the source of mirror 'data'; stop it there first";
        (command == cmd::MIRROR_START).then_some(Err((16, sentence)))
    });
    let ran = run_on(&machine, &fake, "start data");
    assert_eq!(
        (ran.status, ran.err.as_str()),
        (
            2,
            "netraid-ctl: cannot start mirror data: adam is the source of mirror 'data'; stop it there first\n"
        )
    );
}

/// Covers: S208.
#[test]
fn who_stops_a_source_with_a_target_is_told_of_pause() {
    let hint = "To stop mirroring for a while and go on with the device, use `netraid-ctl pause data` instead.\n";
    assert!(run(&Fake::new(vec![source("data")]), "stop data").out.ends_with(hint));
    let alone = gen::Mirror {
        leg: vec![],
        ..source("data")
    };
    for mirror in [alone, target("data")] {
        let out = run(&Fake::new(vec![mirror]), "stop data").out;
        assert!(!out.contains("pause"), "{out}");
    }
}

#[test]
fn a_target_that_moves_to_another_port_is_found_there_after_a_restart() {
    let (machine, fake) = (Machine::default(), Fake::new(vec![]));
    made(&machine, &fake, "create data --disk /dev/vdb --listen 10.0.0.1:7901");
    assert_eq!(run_on(&machine, &fake, "demote data --heartbeat 200").status, 0);
    let demoted = fake.requests().pop().unwrap().1;
    assert_eq!(demoted.port, Some(7901), "where it listened as source");
    let config = machine.config("data").unwrap();
    assert!(
        config.contains("listen = \"10.0.0.1:7901\"") && config.contains("heartbeat = 200"),
        "{config}"
    );
    fake.0.borrow_mut().mirrors[0].role = Some(Role::Source);
    assert_eq!(run_on(&machine, &fake, "demote data --listen :8000").status, 0);
    assert!(machine.config("data").unwrap().contains("listen = \"[::]:8000\""));
}

#[test]
fn a_mirror_that_cannot_be_loaded_names_its_bitmap() {
    let (machine, fake) = restarted(&[("data", "/dev/vdb")]);
    fake.refuse(2, "it does not exist");
    let bitmap = machine.state("bitmap_data");
    for (command, action) in [
        ("up data", "bring mirror data up"),
        ("start data", "start mirror data"),
        ("force data --yes", "force mirror data"),
    ] {
        let ran = run_on(&machine, &fake, command);
        let sentence = format!("netraid-ctl: cannot {action} with the bitmap {bitmap}: it does not exist");
        assert!(ran.err.starts_with(&sentence), "{}", ran.err);
    }
}

/// Covers: S315.
#[test]
fn the_whole_life_of_a_mirror_needs_no_file_to_be_edited() {
    let (machine, fake) = (Machine::default(), Fake::new(vec![]));
    for line in [
        "disks",
        "create data --disk /dev/vdb",
        "extend data --to adam --yes",
        "set data resync-rate 10M",
        "status --detail",
        "list",
        "fullresync data --yes",
        "stop data",
        "start data",
        "down --all",
        "up --all",
        "unextend data",
        "demote data",
        "promote data",
        "delete data",
    ] {
        if line == "up --all" {
            fake.0.borrow_mut().mirrors[0].last_owner = true;
        }
        let ran = run_on(&machine, &fake, line);
        assert_eq!(ran.status, 0, "{line}: {}", ran.err);
    }
    assert_eq!(machine.config("data"), None);
}
