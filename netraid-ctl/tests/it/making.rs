// SPDX-License-Identifier: GPL-2.0
//! `create`, `join` and `delete`: metadata, configuration and kernel, all of them or none.

use std::fs;
use std::path::Path;

use netraid_ctl::gen::{self, cmd, Replication, Role};

use crate::fake::Fake;
use crate::machine::{run_on, run_with, Machine};
use crate::mirrors::source;

/// Runs a line that has to work, and gives what it printed and the last request.
pub(crate) fn made(machine: &Machine, fake: &Fake, line: &str) -> (String, gen::Mirror) {
    let ran = run_on(machine, fake, line);
    assert_eq!(ran.status, 0, "{}", ran.err);
    (ran.out, fake.requests().pop().unwrap().1)
}

/// Runs a line that has to be refused before the kernel is asked, and gives the reason.
pub(crate) fn refused(machine: &Machine, line: &str) -> String {
    let fake = Fake::new(vec![]);
    let ran = run_on(machine, &fake, line);
    assert_ne!(ran.status, 0, "{}", ran.out);
    assert_eq!(fake.requests().len(), 0, "{}", ran.err);
    ran.err
}

/// Nothing is left of a mirror that was not made.
fn assert_nothing_left(machine: &Machine, name: &str) {
    assert_eq!(machine.config(name), None);
    let files = fs::read_dir(&machine.paths.state).map(Iterator::count);
    assert_eq!(files.unwrap_or(0), 0);
}

/// Covers: S57, S68.
#[test]
fn the_bitmap_is_a_file_at_the_usual_path_which_is_printed() {
    let (machine, fake) = (Machine::default(), Fake::new(vec![]));
    let (out, request) = made(&machine, &fake, "create data --disk /dev/vdb");
    let path = machine.state("bitmap_data");
    assert!(out.contains(&format!("Its bitmap is {path}.")), "{out}");
    assert_eq!(request.meta_path.as_deref(), Some(path.as_str()));
    assert!(!request.meta_internal && !request.no_bitmap && !request.fresh && !request.attach);
    // A disk of 1 GiB has 16384 chunks, and there is room for all maps.
    assert!(fs::metadata(&path).unwrap().len() > 16 * 16384 / 8);
    let config = machine.config("data").unwrap();
    for line in [
        "version = 1",
        "name = \"data\"",
        "id = 0",
        "disk = \"/dev/vdb\"",
        "role = \"source\"",
        &format!("bitmap = \"{path}\""),
        "made-file = true",
        "listen = \"[::]:7900\"",
    ] {
        assert!(config.contains(line), "{line}: {config}");
    }
}

/// Covers: S57.
#[test]
fn each_machine_has_the_bitmap_where_its_operator_wants_it() {
    let (machine, fake) = (Machine::default(), Fake::new(vec![]));
    let path = machine.real.path().join("bitmap_ext3");
    let line = format!("join data --disk /dev/vdb --yes --bitmap {}", path.display());
    let (out, request) = made(&machine, &fake, &line);
    assert!(out.contains(&format!("Its bitmap is {}.", path.display())), "{out}");
    assert_eq!(request.meta_path.as_deref(), path.to_str());
    assert_eq!(request.role, Some(Role::Target));
    assert!(path.is_file());
    assert!(machine.config("data").unwrap().contains("role = \"target\""));
    let ran = run_on(&machine, &fake, "status data --detail");
    assert!(
        ran.out.contains(&format!("\tBitmap kept in: {}\n", path.display())),
        "{}",
        ran.out
    );
}

/// Covers: S105.
#[test]
fn a_mirror_may_be_called_otherwise_than_on_the_source() {
    let (machine, fake) = (Machine::default(), Fake::new(vec![]));
    let (out, request) = made(&machine, &fake, "join copy --of data --disk /dev/vdb --yes");
    assert!(
        out.contains("given to mirror copy") && out.contains("`netraid-ctl extend data --to ADDR`"),
        "{out}"
    );
    assert_eq!(
        (request.name.as_deref(), request.source_name.as_deref()),
        (Some("copy"), Some("data"))
    );
    assert!(!request.same_machine);
    assert!(run_on(&machine, &fake, "status copy")
        .out
        .contains("\nName elsewhere: data\n"));
    assert!(run_on(&machine, &fake, "status copy --detail")
        .out
        .contains("\tName elsewhere: data\n"));
    let json = run_on(&machine, &fake, "status copy --json").out;
    assert!(
        json.contains("\"source_name\": \"data\"") || json.contains("\"source_name\":\"data\""),
        "{json}"
    );
    // The same name is none of its own.
    let (_, request) = made(&machine, &fake, "join logs --of logs --disk /dev/vdc2 --yes");
    assert_eq!(request.source_name, None);
    assert!(!run_on(&machine, &fake, "status logs").out.contains("elsewhere"));
}

#[test]
fn both_copies_on_one_machine_are_warned_of() {
    let (machine, fake) = (Machine::default(), Fake::new(vec![]));
    let ran = run_on(
        &machine,
        &fake,
        "join copy --of data --same-machine --disk /dev/vdb --yes",
    );
    assert_eq!(ran.status, 0, "{}", ran.err);
    assert!(
        ran.err.contains("when memory is short the machine may wait for itself"),
        "{}",
        ran.err
    );
    assert!(fake.requests().pop().unwrap().1.same_machine);
}

/// Covers: S58, S218.
#[test]
fn without_a_bitmap_the_roles_are_kept_and_every_resync_is_full() {
    let (machine, fake) = (Machine::default(), Fake::new(vec![]));
    let (out, request) = made(&machine, &fake, "create data --disk /dev/vdb --bitmap none");
    assert!(
        out.contains("no bitmap, so that every resync copies everything") && out.contains("its role is kept in"),
        "{out}"
    );
    let path = machine.state("state_data");
    assert!(request.no_bitmap);
    assert_eq!(request.meta_path.as_deref(), Some(path.as_str()));
    assert!(fs::metadata(&path).unwrap().len() < 65536);
    let ran = run_on(&machine, &fake, "status data");
    assert!(ran.out.ends_with("Bitmap: none\n"), "{}", ran.out);

    let elsewhere = machine.real.path().join("roles");
    let line = format!("create logs --disk /dev/vdc2 --bitmap none:{}", elsewhere.display());
    let (_, request) = made(&machine, &fake, &line);
    assert_eq!(request.meta_path.as_deref(), elsewhere.to_str());
}

#[test]
fn the_end_of_the_disk_is_taken_of_a_new_mirror_only() {
    let (machine, fake) = (Machine::default(), Fake::new(vec![]));
    for line in [
        "create data --disk /dev/vdb --bitmap internal",
        "create data --disk /dev/vdb --bitmap internal --existing",
    ] {
        let told = refused(&machine, line);
        assert!(told.contains("may belong to what it holds already"), "{told}");
    }
    let (out, request) = made(&machine, &fake, "create data --disk /dev/vdb --bitmap internal --new");
    assert!(out.contains("Its bitmap is at the end of /dev/vdb."), "{out}");
    assert!(request.meta_internal && request.fresh && request.meta_path.is_none());
    let (_, request) = made(&machine, &fake, "join logs --disk /dev/vdc2 --bitmap internal --yes");
    assert!(request.meta_internal && !request.fresh);
}

/// Covers: S118.
#[test]
fn new_sources_share_the_usual_port_unless_told_otherwise() {
    let (machine, fake) = (Machine::default(), Fake::new(vec![]));
    for (name, disk) in [("data", "/dev/vdb"), ("more", "/dev/vdc2")] {
        let (_, request) = made(&machine, &fake, &format!("create {name} --disk {disk}"));
        assert_eq!((request.address, request.port), (Some(vec![0; 16]), Some(7900)));
        assert!(machine.config(name).unwrap().contains("listen = \"[::]:7900\""));
    }
    let (machine, fake) = (Machine::default(), Fake::new(vec![]));
    let (_, request) = made(&machine, &fake, "create logs --disk /dev/vdb --listen 10.0.0.1:7901");
    assert_eq!((request.address, request.port), (Some(vec![10, 0, 0, 1]), Some(7901)));
}

/// Covers: S187.
#[test]
fn what_the_kernel_refuses_leaves_no_trace() {
    let (machine, fake) = (Machine::default(), Fake::new(vec![]));
    fake.refuse(16, "the disk /dev/vdb is in use");
    let ran = run_on(&machine, &fake, "create data --disk /dev/vdb");
    assert_eq!(ran.status, 2);
    assert!(ran.err.contains("the disk /dev/vdb is in use"), "{}", ran.err);
    assert_nothing_left(&machine, "data");
}

/// Covers: S187, S190.
#[test]
fn who_says_no_to_the_question_of_join_has_changed_nothing() {
    let (machine, fake) = (Machine::default(), Fake::new(vec![]));
    for answer in [Some("n\n"), Some(""), None] {
        let ran = run_with(&machine, &fake, "join data --disk /dev/vdb", answer);
        assert_eq!((ran.status, fake.requests().len()), (1, 0), "{}", ran.err);
        assert_nothing_left(&machine, "data");
    }
}

/// Covers: S187.
#[test]
fn a_mirror_that_cannot_be_kept_is_not_made() {
    let (machine, fake) = (Machine::default(), Fake::new(vec![]));
    fs::write(machine.real.path().join("etc"), "a file where a directory should be").unwrap();
    let told = refused(&machine, "create data --disk /dev/vdb");
    assert!(
        told.contains("the configuration") && told.contains("Not a directory"),
        "{told}"
    );

    // The directory goes away while the kernel works.
    fs::remove_file(machine.real.path().join("etc")).unwrap();
    let mirrors = machine.paths.config.join("mirrors");
    fake.on_request(move |_, command, _| {
        if command == cmd::MIRROR_NEW {
            fs::remove_dir_all(&mirrors).unwrap();
            fs::write(&mirrors, "").unwrap();
        }
        None
    });
    let ran = run_on(&machine, &fake, "create data --disk /dev/vdb");
    assert_eq!(ran.status, 2);
    assert!(ran.err.contains("the mirror is deleted again"), "{}", ran.err);
    assert!(fake.0.borrow().mirrors.is_empty());
    assert_nothing_left(&machine, "data");
}

#[test]
fn a_mirror_that_is_configured_is_not_made_again() {
    let (machine, fake) = (Machine::default(), Fake::new(vec![]));
    made(&machine, &fake, "create data --disk /dev/vdb");
    let told = refused(&machine, "join data --disk /dev/vdc2 --yes");
    assert!(
        told.contains("there is a mirror 'data' on this machine already, out of service")
            && told.contains("`netraid-ctl up data`")
            && told.contains("`netraid-ctl delete data`"),
        "{told}"
    );
}

#[test]
fn delete_forgets_the_mirror_and_the_bitmap_that_was_made_for_it() {
    let (machine, fake) = (Machine::default(), Fake::new(vec![]));
    made(&machine, &fake, "create data --disk /dev/vdb");
    fake.refuse(16, "/dev/netraid0 is in use (1 open)");
    assert_eq!(run_on(&machine, &fake, "delete data").status, 2);
    assert!(machine.config("data").is_some() && Path::new(&machine.state("bitmap_data")).exists());

    fake.on_request(|_, _, _| None);
    let ran = run_on(&machine, &fake, "delete data");
    assert_eq!(
        (ran.status, ran.out.as_str()),
        (0, "Mirror data is forgotten; the content of its disk stays.\n")
    );
    assert_nothing_left(&machine, "data");
    let again = run_on(&machine, &fake, "delete data");
    assert_eq!(again.status, 2);
    assert!(again.err.contains("there is no mirror of that name"), "{}", again.err);
}

#[test]
fn delete_keeps_a_bitmap_that_was_there_before() {
    let (machine, fake) = (Machine::default(), Fake::new(vec![]));
    let path = machine.real.path().join("mine");
    fs::write(&path, [0; 512]).unwrap();
    made(
        &machine,
        &fake,
        &format!("create data --disk /dev/vdb --bitmap {}", path.display()),
    );
    let ran = run_on(&machine, &fake, "delete data");
    assert!(ran.out.contains("was there before the mirror and stays"), "{}", ran.out);
    assert!(path.exists());
}

#[test]
fn a_mirror_that_is_not_loaded_can_be_forgotten_even_without_the_module() {
    for loaded in [true, false] {
        let (machine, fake) = (Machine::default(), Fake::new(vec![]));
        made(&machine, &fake, "create data --disk /dev/vdb");
        fake.0.borrow_mut().mirrors.clear();
        fake.0.borrow_mut().loaded = loaded;
        assert_eq!(run_on(&machine, &fake, "delete data").status, 0);
        assert_nothing_left(&machine, "data");
    }
}

/// Covers: S270.
#[test]
fn the_first_copy_is_left_out_where_an_option_or_the_defaults_say_so() {
    let fresh = |text: Option<&str>, options: &str| {
        let (mut machine, fake) = (Machine::default(), Fake::new(vec![]));
        if let Some(text) = text {
            machine.file("/etc/default/netraid", text);
        }
        made(&machine, &fake, &format!("join data --disk /dev/vdb --yes {options}")).1
    };
    assert!(!fresh(None, "").no_full_sync);
    assert!(fresh(None, "--no-full-sync").no_full_sync);
    for key in ["NO_FULL_SYNC", "LKDR_NO_FULL_SYNC", "LKDR_NOFULL_SYNC"] {
        assert!(fresh(Some(&format!("{key}=1\n")), "").no_full_sync, "{key}");
        assert!(!fresh(Some(&format!("{key}=0\n")), "").no_full_sync, "{key}");
    }
    assert_eq!(fresh(Some("LKDR_ASYNC_LIMIT=4096\n"), "").async_limit, Some(4096));
    assert_eq!(fresh(Some("ASYNC_LIMIT=2\n"), "").async_limit, None);
}

#[test]
fn the_question_of_join_says_what_is_lost_when_the_disk_holds_a_copy_already() {
    let machine = Machine::default();
    let told = refused(&machine, "join data --disk /dev/vdb --no-full-sync");
    assert!(told.contains("is taken for a copy of that of mirror data"), "{told}");
}

#[test]
fn defaults_with_a_mistake_are_refused_with_file_and_line() {
    let mut machine = Machine::default();
    machine.file("/etc/default/netraid", "# mirrors\n\nNO_FULL_SYNC=perhaps\n");
    let told = refused(&machine, "create data --disk /dev/vdb");
    assert_eq!(
        told,
        "netraid-ctl: cannot create mirror data: /etc/default/netraid, line 3: NO_FULL_SYNC is 1 or 0, and `perhaps` is \
         neither\n"
    );
}

/// Covers: S178.
#[test]
fn a_new_mirror_says_that_the_content_of_the_disk_is_given_up() {
    let (machine, fake) = (Machine::default(), Fake::new(vec![]));
    let ran = run_on(&machine, &fake, "create data --disk /dev/vdb --new");
    assert_eq!(ran.status, 0);
    assert!(ran.err.contains("what /dev/vdb holds is given up"), "{}", ran.err);
    assert!(fake.requests()[0].1.fresh);
}

/// Covers: S270.
#[test]
fn the_source_says_when_it_extends_that_the_target_has_a_copy() {
    let says = |text: &str, options: &str| {
        let mut machine = Machine::default();
        machine.file("/etc/default/netraid", text);
        let fake = Fake::new(vec![source("data")]);
        made(&machine, &fake, &format!("extend data --to adam --yes {options}"))
            .1
            .no_full_sync
    };
    assert!(!says("", ""));
    assert!(says("", "--no-full-sync"));
    assert!(says("LKDR_NO_FULL_SYNC=1\n", ""));
}

#[test]
fn extend_asks_for_no_checksums_only_when_told_so() {
    let says = |options: &str| {
        let (machine, fake) = (Machine::default(), Fake::new(vec![source("data")]));
        made(&machine, &fake, &format!("extend data --to adam --yes {options}"))
            .1
            .leg[0]
            .no_checksums
    };
    assert!(!says(""));
    assert!(says("--no-checksums"));
}

/// Covers: S45.
#[test]
fn extend_asks_for_a_leg_that_falls_behind_only_when_told_so() {
    let asks = |options: &str| {
        let (machine, fake) = (Machine::default(), Fake::new(vec![source("data")]));
        made(&machine, &fake, &format!("extend data --to adam --yes {options}"))
            .1
            .leg[0]
            .congestion
    };
    assert_eq!(asks(""), None);
    assert_eq!(asks("--type async --congestion block"), None);
    assert_eq!(asks("--type async --congestion behind"), Some(gen::Congestion::Behind));
}

/// Covers: S43, S44, S53.
#[test]
fn a_mirror_permits_asynchronous_targets_only_when_told_so() {
    let says = |text: &str, options: &str| {
        let (mut machine, fake) = (Machine::default(), Fake::new(vec![]));
        machine.file("/etc/default/netraid", text);
        let made = made(&machine, &fake, &format!("create data --disk /dev/vdb {options}")).1;
        (made.async_permitted, made.async_limit)
    };
    assert_eq!(says("", ""), (false, None));
    assert_eq!(says("", "--async"), (true, None));
    assert_eq!(says("", "--async=3"), (true, Some(3)));
    assert_eq!(says("", "--async=2"), (true, None));
    assert_eq!(says("LKDR_ASYNC_LIMIT=20\n", "--async"), (true, Some(20)));
    assert_eq!(says("LKDR_ASYNC_LIMIT=20\n", "--async=4096"), (true, Some(4096)));
}

/// Covers: S53.
#[test]
fn the_type_of_a_leg_is_chosen_where_it_is_made() {
    let says = |options: &str| {
        let (machine, fake) = (Machine::default(), Fake::new(vec![source("data")]));
        let asked = made(&machine, &fake, &format!("extend data --to adam --yes {options}")).1;
        asked.leg[0].replication
    };
    let (together, apart) = (Some(Replication::Synchronous), Some(Replication::Asynchronous));
    for (options, wanted) in [
        ("", together),
        ("--type sync", together),
        ("--type synchronous", together),
        ("--type async", apart),
        ("--type asynchronous", apart),
    ] {
        assert_eq!(says(options), wanted, "{options}");
    }
}
