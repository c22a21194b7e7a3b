// SPDX-License-Identifier: GPL-2.0
//! Commands that change something: what they ask the kernel for, and how they tell what it said.

use netraid_ctl::gen::{self, cmd, Replication, Role};

use crate::fake::Fake;
use crate::machine::{run, run_on, run_with, Machine};
use crate::mirrors::{source, target};

fn only_request(fake: &Fake) -> (u8, gen::Mirror) {
    let mut requests = fake.requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    requests.remove(0)
}

fn named(name: &str) -> gen::Mirror {
    gen::Mirror {
        name: Some(name.to_owned()),
        ..gen::Mirror::default()
    }
}

/// Covers: S118.
#[test]
fn create_names_disk_number_chunk_and_this_machine() {
    let (fake, machine) = (Fake::new(vec![]), Machine::default());
    let line = "create data --disk /dev/vdc2 --id 4 --chunk-size 1M";
    let ran = run_on(&machine, &fake, line);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""));
    assert!(
        ran.out.starts_with("Mirror data is /dev/netraid4, on /dev/vdc2 alone"),
        "{}",
        ran.out
    );
    let (command, mut request) = only_request(&fake);
    assert_eq!(command, cmd::MIRROR_NEW);
    let uuid = request.node_uuid.take().unwrap();
    assert_eq!((uuid[6] >> 4, uuid[8] >> 6), (4, 2), "a UUID of version 4");
    let wanted = gen::Mirror {
        id: Some(4),
        role: Some(Role::Source),
        disk: Some("/dev/vdc2".to_owned()),
        chunk_size: Some(1 << 20),
        node_name: Some("eve".to_owned()),
        address: Some(vec![0; 16]),
        port: Some(7900),
        meta_path: Some(machine.state("bitmap_data")),
        ..named("data")
    };
    assert_eq!(request, wanted);
}

#[test]
fn a_relative_path_reaches_the_kernel_as_an_absolute_one() {
    let fake = Fake::new(vec![]);
    assert_eq!(run(&fake, "create data --disk vdb").status, 0);
    assert_eq!(only_request(&fake).1.disk.as_deref(), Some("/work/vdb"));
}

#[test]
fn the_identity_of_the_machine_is_stable_and_is_not_its_machine_id() {
    let uuid = |machine: &Machine| {
        let fake = Fake::new(vec![]);
        let ran = run_on(machine, &fake, "create data --disk /dev/vdb");
        let request = only_request(&fake).1;
        assert_eq!(run_on(machine, &fake, "delete data").status, 0);
        (request.node_uuid, ran.err)
    };
    let mut machine = Machine::default();
    let (first, _) = uuid(&machine);
    assert_eq!(first, uuid(&machine).0);
    assert_ne!(
        first.unwrap(),
        [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]
    );
    machine.file("/etc/machine-id", "uninitialized\n");
    let (none, told) = uuid(&machine);
    assert_eq!(none, None);
    assert!(told.contains("/etc/machine-id holds no id"), "{told}");
}

#[test]
fn a_name_that_is_taken_is_refused_before_anything_is_made() {
    let fake = Fake::new(vec![source("data")]);
    let ran = run(&fake, "create data --disk /dev/vdc2");
    assert_eq!((ran.status, fake.requests().len()), (2, 0));
    assert_eq!(
        ran.err,
        "netraid-ctl: cannot create mirror data: there is a mirror 'data' on this machine already; \
         choose another name, or `netraid-ctl delete data` forgets it\n"
    );
}

#[test]
fn an_ordinary_user_is_told_who_may_do_it() {
    let fake = Fake::new(vec![]);
    fake.refuse(1, "");
    let ran = run(&fake, "create data --disk /dev/vdb");
    assert_eq!(ran.status, 2);
    assert!(
        ran.err
            .contains("only root may do this (CAP_NET_ADMIN and CAP_SYS_ADMIN are needed)"),
        "{}",
        ran.err
    );
}

#[test]
fn a_refusal_without_a_sentence_still_has_one() {
    let fake = Fake::new(vec![]);
    fake.refuse(28, "");
    let ran = run(&fake, "create data --disk /dev/vdb");
    assert!(
        ran.err
            .starts_with("netraid-ctl: cannot create mirror data: No space left on device"),
        "{}",
        ran.err
    );
}

/// Covers: S82.
#[test]
fn join_says_that_the_disk_is_lost_and_asks() {
    let machine = Machine::default();
    let line = "join data --disk /dev/vdb";
    let fake = Fake::new(vec![]);
    let ran = run_on(&machine, &fake, line);
    assert_eq!((ran.status, fake.requests().len()), (1, 0));
    assert!(
        ran.err
            .contains("the content of /dev/vdb will be replaced by that of mirror data"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("say --yes"), "{}", ran.err);

    let ran = run_with(&machine, &fake, line, Some("n\n"));
    assert_eq!((ran.status, fake.requests().len()), (1, 0));
    assert!(
        ran.err.contains("[y/N]") && ran.err.contains("nothing was changed"),
        "{}",
        ran.err
    );
    assert_eq!(run_with(&machine, &fake, line, Some("")).status, 1);

    assert_eq!(run_with(&machine, &fake, line, Some("yes\n")).status, 0);
    assert_eq!(fake.requests().len(), 1);
}

#[test]
fn join_listens_on_every_address_unless_told_otherwise() {
    let request = |options: &str| {
        let fake = Fake::new(vec![]);
        let ran = run(&fake, &format!("join data --disk /dev/vdb --yes {options}"));
        assert_eq!(ran.status, 0, "{}", ran.err);
        only_request(&fake).1
    };
    let plain = request("");
    assert_eq!(plain.role, Some(Role::Target));
    assert_eq!(
        (plain.address, plain.port, plain.scope_id),
        (Some(vec![0; 16]), Some(7900), None)
    );
    assert_eq!((plain.heartbeat_ms, plain.timeout_ms), (None, None));
    assert_eq!(plain.node_name.as_deref(), Some("eve"));

    let other = request("--listen 10.0.0.2:8000 --heartbeat 200 --timeout 900 --id 3");
    assert_eq!(
        (other.address, other.port, other.id),
        (Some(vec![10, 0, 0, 2]), Some(8000), Some(3))
    );
    assert_eq!((other.heartbeat_ms, other.timeout_ms), (Some(200), Some(900)));
}

#[test]
fn a_port_in_use_is_said_with_the_option_that_changes_it() {
    let fake = Fake::new(vec![]);
    fake.refuse(98, "port 7900 is in use");
    let ran = run(&fake, "join data --disk /dev/vdb --yes");
    assert_eq!(ran.status, 2);
    assert!(
        ran.err
            .contains("port 7900 is in use; choose another address or port with --listen"),
        "{}",
        ran.err
    );
}

#[test]
fn an_address_of_another_machine_is_said_with_where_to_find_ones_own() {
    let mirrors = [vec![], vec![source("data")]];
    for (mirrors, command) in mirrors
        .into_iter()
        .zip(["join data --disk /dev/vdb --yes", "demote data"])
    {
        let fake = Fake::new(mirrors);
        fake.refuse(
            99,
            "10.0.0.9:7900 is not an address of this machine; choose one of its own",
        );
        let ran = run(&fake, command);
        assert_eq!(ran.status, 2);
        let sentence =
            "is not an address of this machine; choose one of its own; `ip address` lists them, and --listen takes one";
        assert!(ran.err.contains(sentence), "{}", ran.err);
    }
}

/// Covers: S82.
#[test]
fn extend_sends_one_leg_and_says_what_is_lost() {
    let fake = Fake::new(vec![gen::Mirror {
        leg: vec![],
        ..source("data")
    }]);
    let ran = run(&fake, "extend data --to adam");
    assert_eq!((ran.status, fake.requests().len()), (1, 0));
    assert!(
        ran.err
            .contains("the content of the disk that 10.0.0.2:7900 gave to mirror data will be replaced"),
        "{}",
        ran.err
    );

    let ran = run(
        &fake,
        "extend data --to [fe80::2%eth1]:8000 --yes --heartbeat 100 --timeout 800",
    );
    assert_eq!(ran.status, 0, "{}", ran.err);
    let (command, request) = only_request(&fake);
    let leg = gen::Leg {
        address: Some("fe80::2".parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec()),
        port: Some(8000),
        scope_id: Some(3),
        replication: Some(Replication::Synchronous),
        heartbeat_ms: Some(100),
        timeout_ms: Some(800),
        ..gen::Leg::default()
    };
    assert_eq!(
        (command, request),
        (
            cmd::LEG_NEW,
            gen::Mirror {
                leg: vec![leg],
                ..named("data")
            }
        )
    );
}

/// Covers: S54, S110.
#[test]
fn a_target_notes_its_own_targets_for_later() {
    let fake = Fake::new(vec![target("data")]);
    let ran = run(&fake, "extend data --to adam --yes");
    assert_eq!(
        ran.out, "Mirror data has leg 1, to 10.0.0.2:7900; it is connected when this machine becomes the source.\n",
        "{}",
        ran.err
    );
    let ran = run(&fake, "extend data --to adam --yes --wait");
    assert_eq!(ran.status, 2);
    assert!(
        ran.err.contains("this machine is a target of mirror data"),
        "{}",
        ran.err
    );
    let fake = Fake::new(vec![target("data")]);
    let ran = run(&fake, "unextend data --leg 5");
    assert_eq!(ran.out, "Leg 5 of mirror data is forgotten.\n", "{}", ran.err);
    let (command, request) = only_request(&fake);
    assert_eq!((command, request.leg[0].id), (cmd::LEG_DEL, Some(5)));
}

#[test]
fn extend_of_a_mistyped_name_asks_nothing() {
    let ran = run(&Fake::new(vec![source("data")]), "extend date --to adam");
    assert_eq!(ran.status, 2);
    assert!(
        ran.err
            .contains("cannot extend mirror date to 10.0.0.2:7900: there is no mirror of that name"),
        "{}",
        ran.err
    );
}

#[test]
fn unextend_takes_the_only_leg_and_asks_for_a_number_otherwise() {
    let fake = Fake::new(vec![source("data")]);
    let ran = run(&fake, "unextend data");
    assert_eq!(
        ran.out,
        "Leg 1 of mirror data (adam) is gone; the copy there stays as it is.\n"
    );
    let leg = gen::Leg {
        id: Some(1),
        ..gen::Leg::default()
    };
    assert_eq!(
        only_request(&fake),
        (
            cmd::LEG_DEL,
            gen::Mirror {
                leg: vec![leg],
                ..named("data")
            }
        )
    );

    let ran = run(&fake, "unextend data");
    assert_eq!(ran.status, 2);
    assert!(ran.err.contains("mirror data has no target"), "{}", ran.err);

    let two = gen::Mirror {
        leg: vec![crate::mirrors::leg(1), crate::mirrors::leg(2)],
        ..source("data")
    };
    let fake = Fake::new(vec![two]);
    let ran = run(&fake, "unextend data");
    assert!(
        ran.err.contains("has leg 1 (adam), leg 2 (adam); say --leg N"),
        "{}",
        ran.err
    );
    assert!(run(&fake, "unextend data --leg 7").err.contains("has no such leg"));
    assert_eq!(run(&fake, "unextend data --leg 2").status, 0);
}

#[test]
fn stop_and_delete_pass_force_on_and_can_be_repeated() {
    let fake = Fake::new(vec![source("data")]);
    assert_eq!(run(&fake, "stop data --force").status, 0);
    assert_eq!(
        only_request(&fake),
        (
            cmd::MIRROR_STOP,
            gen::Mirror {
                force: true,
                ..named("data")
            }
        )
    );
    let again = run(&fake, "stop data");
    assert_eq!(
        (again.status, again.out.as_str()),
        (0, "Mirror data is already stopped.\n")
    );

    assert_eq!(run(&fake, "delete data").status, 0);
    assert_eq!(fake.requests().last().unwrap(), &(cmd::MIRROR_DEL, named("data")));
    let again = run(&fake, "delete data");
    assert_eq!(again.status, 2);
    assert!(again.err.contains("there is no mirror of that name"), "{}", again.err);
}

#[test]
fn a_device_in_use_is_refused_with_the_way_out() {
    let fake = Fake::new(vec![source("data")]);
    let sentence = "/dev/netraid0 is in use (1 open); unmount it first, or stop mirror 'data' with --force";
    fake.refuse(16, sentence);
    for command in ["stop", "delete"] {
        let ran = run(&fake, &format!("{command} data"));
        assert_eq!(ran.status, 2);
        assert_eq!(
            ran.err,
            format!("netraid-ctl: cannot {command} mirror data: {sentence}\n")
        );
    }
}

#[test]
fn who_stops_a_target_is_not_led_to_a_second_source() {
    let said = |mirror| run(&Fake::new(vec![mirror]), "stop data").out;
    let source = said(source("data"));
    assert!(
        source.contains("`netraid-ctl start data` puts it in service"),
        "{source}"
    );
    let target = said(target("data"));
    assert!(
        target.contains("`netraid-ctl up data` lets it receive the copy again") && !target.contains("start"),
        "{target}"
    );
}

#[test]
fn demote_listens_like_join_and_can_be_repeated() {
    let fake = Fake::new(vec![source("data")]);
    assert_eq!(run(&fake, "demote data --listen :8000").status, 0);
    let wanted = gen::Mirror {
        address: Some(vec![0; 16]),
        port: Some(8000),
        ..named("data")
    };
    assert_eq!(only_request(&fake), (cmd::MIRROR_DEMOTE, wanted));

    let ran = run(&Fake::new(vec![target("data")]), "demote data");
    assert_eq!(ran.status, 0);
    assert!(
        ran.out.starts_with("Mirror data is already a target here"),
        "{}",
        ran.out
    );
}

#[test]
fn completions_are_printed_for_each_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = run(&Fake::default(), &format!("completions {shell}"));
        assert_eq!(ran.status, 0);
        assert!(
            ran.out.contains("netraid-ctl") && ran.out.contains("unextend"),
            "{shell}"
        );
    }
}
