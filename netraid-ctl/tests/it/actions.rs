// SPDX-License-Identifier: GPL-2.0
//! `mirror_action` and the other names the program answers to.

use std::ffi::OsString;

use clap::Parser as _;
use netraid_ctl::cli::{dispatch, Cli, Command};
use netraid_ctl::gen::{self, cmd, Role, State};

use crate::fake::Fake;
use crate::machine::run;
use crate::mirrors::{leg, source, target};

fn with_two_targets(state: State) -> Fake {
    let to = |id, peer: &str| gen::Leg {
        peer_name: Some(peer.to_owned()),
        state: Some(state),
        ..leg(id)
    };
    let fake = Fake::new(vec![gen::Mirror {
        leg: vec![to(1, "adam"), to(2, "pluto")],
        ..source("data")
    }]);
    fake.on_request(|world, command, asked| {
        let state = match command {
            cmd::LEG_PAUSE => State::Paused,
            cmd::LEG_RESUME => State::FullyOperational,
            _ => return None,
        };
        let leg = world.mirrors[0].leg.iter_mut().find(|leg| leg.id == asked.leg[0].id)?;
        leg.state = Some(state);
        Some(Ok(()))
    });
    fake
}

/// Covers: S232.
#[test]
fn an_action_concerns_the_targets_that_are_named_or_all() {
    for (line, state, command, legs) in [
        ("pause eve", State::FullyOperational, cmd::LEG_PAUSE, vec![1, 2]),
        ("pause eve pluto", State::FullyOperational, cmd::LEG_PAUSE, vec![2]),
        ("resume eve adam pluto", State::Paused, cmd::LEG_RESUME, vec![1, 2]),
        ("fullresync eve adam --yes", State::Paused, cmd::LEG_FULL, vec![1]),
    ] {
        let fake = with_two_targets(state);
        let ran = run(&fake, &format!("mirror_action data {line}"));
        assert_eq!(ran.status, 0, "{line}: {}", ran.err);
        let asked: Vec<(u8, u32)> = fake
            .requests()
            .into_iter()
            .map(|(command, asked)| (command, asked.leg[0].id.unwrap()))
            .collect();
        let wanted: Vec<(u8, u32)> = legs.into_iter().map(|leg| (command, leg)).collect();
        assert_eq!(asked, wanted, "{line}");
    }
    let unknown = Cli::try_parse_from(["netraid-ctl", "mirror_action", "data", "explode", "eve"]);
    assert!(unknown.is_err_and(|error| error.use_stderr()));
}

/// Covers: S93, S234.
#[test]
fn force_takes_this_machine_as_the_source() {
    let fake = Fake::new(vec![gen::Mirror {
        role: Some(Role::Stopped),
        last_owner: true,
        data_corrupt: true,
        ..source("data")
    }]);
    let ran = run(&fake, "mirror_action data force eve --yes");
    assert_eq!(ran.status, 0, "{}", ran.err);
    assert_eq!(fake.requests()[0].0, cmd::MIRROR_START);
}

/// Covers: S236.
#[test]
fn an_action_that_names_the_wrong_machines_is_refused() {
    for (mirror, line, why) in [
        (
            source("data"),
            "pause adam",
            "this machine is eve, and the source is said to be adam",
        ),
        (target("data"), "pause eve", "eve is not its source, its role is target"),
        (
            source("data"),
            "pause eve mars",
            "mars is no target of it; the targets are: adam",
        ),
    ] {
        let fake = Fake::new(vec![mirror]);
        let ran = run(&fake, &format!("mirror_action data {line}"));
        assert_eq!((ran.status, fake.requests().len()), (2, 0));
        assert!(ran.err.contains(why), "{}", ran.err);
    }
}

/// Covers: S299.
#[test]
fn links_with_other_names_lead_to_the_sub_commands() {
    let words = |line: &str| -> Vec<OsString> { line.split(' ').map(OsString::from).collect() };
    for (line, wanted) in [
        ("/usr/sbin/mirror_status data", "netraid-ctl status data"),
        (
            "mirror_action data pause eve",
            "netraid-ctl mirror_action data pause eve",
        ),
        (
            "./bitmap -X /var/lib/netraid/bitmap_data",
            "netraid-ctl bitmap -X /var/lib/netraid/bitmap_data",
        ),
        ("netraid-ctl status", "netraid-ctl status"),
    ] {
        assert_eq!(dispatch(words(line)), words(wanted));
    }
    let cli = Cli::try_parse_from(dispatch(words("mirror_status data"))).unwrap();
    assert!(matches!(cli.command, Command::Status(_)));
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::TempDir::new().unwrap();
    let ran = run(&Fake::default(), &format!("man {}", folder.path().display()));
    assert_eq!(ran.status, 0, "{}", ran.err);
    let page = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert!(page("netraid-ctl.8").contains("Control mirrors"));
    let create = page("netraid-ctl-create.8");
    assert!(
        create.contains(".TH netraid-ctl-create 8") && create.contains("netraid\\-ctl create"),
        "{create}"
    );
    assert!(!folder.path().join("netraid-ctl-man.8").exists());
}
