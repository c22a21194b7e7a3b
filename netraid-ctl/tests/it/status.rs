// SPDX-License-Identifier: GPL-2.0
//! `status`: the fixed layout, the JSON, the exit status.

use netraid_ctl::gen::{self, Connection, Replication, Role, State};
use netraid_ctl::model::{Mirror, Resync};
use netraid_ctl::output::{progress, text};
use serde_json::Value;

use crate::fake::Fake;
use crate::machine::run;
use crate::mirrors::{leg, source, target};

fn resyncing(percent: u64) -> gen::Leg {
    gen::Leg {
        state: Some(State::Resyncing),
        resync_total: Some(100 << 20),
        resync_done: Some(percent << 20),
        resync_elapsed_ms: Some(1000),
        ..leg(1)
    }
}

/// Covers: S42, S45, S47.
#[test]
fn an_asynchronous_leg_says_how_far_its_target_is_behind() {
    let behind = |oldest_ms| gen::Leg {
        replication: Some(Replication::Asynchronous),
        // With copies, and what makes the target durable.
        in_flight: Some(5),
        unconfirmed: Some(3),
        unconfirmed_bytes: Some(12_288),
        oldest_ms,
        sync_fallbacks: Some(7),
        ..leg(1)
    };
    let shown = |leg: gen::Leg, options: &str| {
        let mirror = gen::Mirror {
            leg: vec![leg],
            ..source("data")
        };
        run(&Fake::new(vec![mirror]), &format!("status data {options}")).out
    };
    let line = "\tType: Asynchronous\n\tUnconfirmed: 3 operations, 12K, the oldest for 41 ms; 7 fallbacks\n";
    assert!(shown(behind(Some(41)), "").contains(line));
    assert!(shown(behind(None), "").contains("3 operations, 12K; 7 fallbacks\n"));
    let json: Value = serde_json::from_str(&shown(behind(Some(41)), "--json")).unwrap();
    let told = &json["mirrors"][0]["legs"][1];
    assert_eq!(
        (&told["unconfirmed_bytes"], &told["oldest_ms"], &told["sync_fallbacks"]),
        (&12_288.into(), &41.into(), &7.into())
    );
    // What a target does not know, and what is ordinary on a synchronous leg, is no line.
    let unknown = gen::Leg {
        unconfirmed_bytes: None,
        ..behind(None)
    };
    let together = gen::Leg {
        replication: Some(Replication::Synchronous),
        ..behind(None)
    };
    for leg in [unknown, together] {
        assert!(!shown(leg, "").contains("Unconfirmed"));
    }
}

/// The layout to the character, for a paused and a resynchronizing target.
///
/// Covers: S63, S215, S216, S217, S222.
#[test]
fn the_text_has_the_documented_layout() {
    let paused = gen::Leg {
        state: Some(State::Paused),
        replication: Some(Replication::Asynchronous),
        dirty_chunks: Some(4895),
        ..leg(1)
    };
    let busy = gen::Leg {
        id: Some(2),
        peer_name: Some("pluto".to_owned()),
        resync_done: Some(11 * 1_610_752),
        resync_total: Some(100 * 1_610_752),
        resync_elapsed_ms: Some(11_000),
        ..resyncing(0)
    };
    let mirror = gen::Mirror {
        leg: vec![paused, busy],
        ..source("data")
    };
    let ran = run(&Fake::new(vec![mirror]), "status data");
    assert_eq!(
        ran.out,
        "[-] eve -> adam\n\
         \tStatus: Paused\n\
         \tType: Asynchronous\n\
         [-] eve -> pluto\n\
         \tStatus: Resynchronizing\n\
         \tType: Synchronous\n\
         \t[=>                  ] 11%\n\
         \tResync Speed: 1573K/sec\n\
         Bitmap: 4895 bits (chunks), 4895 dirty (100.0%)\n"
    );
    assert_eq!((ran.status, ran.err.as_str()), (0, ""));
}

/// Covers: S214.
#[test]
fn the_four_states_have_their_words() {
    let words = [
        (State::FullyOperational, "Fully Operational"),
        (State::Paused, "Paused"),
        (State::Resyncing, "Resynchronizing"),
        (State::OutOfSync, "Out Of Sync"),
    ];
    for (state, word) in words {
        let leg = gen::Leg {
            state: Some(state),
            ..resyncing(50)
        };
        let ran = run(
            &Fake::new(vec![gen::Mirror {
                leg: vec![leg],
                ..source("data")
            }]),
            "status data",
        );
        assert!(ran.out.contains(&format!("\tStatus: {word}\n")), "{}", ran.out);
        assert_eq!(ran.out.contains("Resync Speed"), state == State::Resyncing);
    }
}

/// The direction on the target names the source first.
///
/// Covers: S217.
#[test]
fn a_target_shows_where_the_writes_come_from() {
    let ran = run(&Fake::new(vec![target("data")]), "status data");
    assert!(ran.out.starts_with("[-] adam -> eve\n"), "{}", ran.out);
}

#[test]
fn a_mirror_without_a_leg_says_so_and_still_has_its_bitmap() {
    let alone = |role| gen::Mirror {
        role: Some(role),
        leg: vec![],
        port: Some(7900),
        ..source("data")
    };
    let text = |mirror| text::status(&Mirror::from(mirror), None);
    assert_eq!(
        text(alone(Role::Source)),
        "[-] eve -> (no target)\n\tStatus: Degraded, on the local disk only\n\
         Bitmap: 4895 bits (chunks), 0 dirty (0.0%)\n"
    );
    let listening = gen::Mirror {
        address: Some(vec![0; 16]),
        ..alone(Role::Target)
    };
    assert!(text(listening)
        .starts_with("[-] ? -> eve\n\tStatus: Out Of Sync\n\tReason: waiting for the source on [::]:7900\n"));
    assert!(text(alone(Role::Stopped)).starts_with("[-] eve\n\tStatus: Stopped, out of service\n"));
}

#[test]
fn the_bitmap_does_not_pretend_to_know_what_is_missed() {
    let of = |mirror: gen::Mirror, leg: gen::Leg| {
        Mirror::from(gen::Mirror {
            leg: vec![leg],
            ..mirror
        })
        .bitmap()
    };
    let out = |connects| gen::Leg {
        state: Some(State::OutOfSync),
        connects: Some(connects),
        dirty_chunks: Some(7),
        ..leg(1)
    };
    let dirty = |connects| of(source("data"), out(connects)).map(|bitmap| bitmap.dirty);
    // A target that was never reached misses everything; later the map says what.
    assert_eq!((dirty(0), dirty(1)), (Some(4895), Some(7)));
    // What a target misses is known to its source alone.
    assert_eq!(of(target("data"), out(1)), None);
    assert!(of(target("data"), leg(1)).is_some());
}

#[test]
fn a_leg_out_of_sync_says_why() {
    let leg = gen::Leg {
        state: Some(State::OutOfSync),
        connection: Some(Connection::Waiting),
        peer_name: None,
        reason: Some("nothing was heard for 5000 ms".to_owned()),
        ..leg(1)
    };
    let ran = run(
        &Fake::new(vec![gen::Mirror {
            leg: vec![leg],
            ..source("data")
        }]),
        "status data",
    );
    assert!(ran.out.starts_with("[-] eve -> 10.0.0.2:7900\n"), "{}", ran.out);
    assert!(
        ran.out.contains("\tReason: nothing was heard for 5000 ms\n"),
        "{}",
        ran.out
    );
}

/// Covers: S15, S224.
#[test]
fn the_details_list_the_local_disk_as_leg_0_and_the_network_as_leg_1() {
    let ran = run(&Fake::new(vec![source("data")]), "status data --detail");
    assert!(
        ran.out
            .contains("\tLeg 0: /dev/vdb (local)\n\tLeg 1: 10.0.0.2:7900 (network)\n"),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("\tCopies: [2/2] [UU]\n"), "{}", ran.out);
}

/// Covers: S15.
#[test]
fn json_has_real_numbers_the_names_of_the_spec_and_leg_0_first() {
    let mirror = gen::Mirror {
        leg: vec![gen::Leg {
            dirty_chunks: Some(1224),
            ..resyncing(11)
        }],
        ..source("data")
    };
    let ran = run(&Fake::new(vec![mirror]), "status --json");
    let json: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(json["version"], 1);
    let mirror = &json["mirrors"][0];
    assert_eq!(mirror["uuid"], "abababab-abab-abab-abab-abababababab");
    assert_eq!(mirror["role"], "source");
    assert_eq!(mirror["device"], "/dev/netraid0");
    assert_eq!(mirror["chunk_size"], 65536);
    assert_eq!(mirror["bitmap"]["percent"], 25.0);
    assert_eq!(mirror["legs"].as_array().unwrap().len(), 2);
    assert_eq!(mirror["legs"][0]["id"], 0);
    assert_eq!(
        (&mirror["legs"][0]["kind"], &mirror["legs"][0]["disk"]),
        (&"local".into(), &"/dev/vdb".into())
    );
    let leg = &mirror["legs"][1];
    assert_eq!((&leg["id"], &leg["kind"]), (&1.into(), &"network".into()));
    assert_eq!(leg["address"], "10.0.0.2");
    assert_eq!(leg["state"], "resyncing");
    assert_eq!(leg["percent"], 11.0);
    assert_eq!(leg["speed"], 11 << 20);
    assert_eq!(leg["reason"], Value::Null);
}

#[test]
fn without_mirrors_there_is_a_friendly_line_and_an_empty_list() {
    let ran = run(&Fake::new(vec![]), "status");
    assert!(
        ran.out.starts_with("There are no mirrors on this machine"),
        "{}",
        ran.out
    );
    assert_eq!(run(&Fake::new(vec![]), "status --check").status, 0);
    let json: Value = serde_json::from_str(&run(&Fake::new(vec![]), "status --json").out).unwrap();
    assert_eq!(json["mirrors"], Value::Array(vec![]));
}

/// Covers: S221.
#[test]
fn an_unknown_mirror_is_a_refusal_with_a_next_step() {
    let ran = run(&Fake::new(vec![source("data")]), "status date");
    assert_eq!((ran.status, ran.out.as_str()), (2, ""));
    assert_eq!(
        ran.err,
        "netraid-ctl: cannot show the status of mirror date: there is no mirror of that name; \
         `netraid-ctl status` lists the mirrors of this machine\n"
    );
}

#[test]
fn check_tells_by_its_exit_status_whether_all_is_well() {
    assert_eq!(
        run(&Fake::new(vec![source("data"), target("logs")]), "status --check").status,
        0
    );
    let worse = [
        gen::Mirror {
            leg: vec![],
            ..source("data")
        },
        gen::Mirror {
            leg: vec![resyncing(3)],
            ..source("data")
        },
        gen::Mirror {
            inconsistent: true,
            ..target("data")
        },
        gen::Mirror {
            role: Some(Role::Stopped),
            ..source("data")
        },
    ];
    for mirror in worse {
        let ran = run(&Fake::new(vec![source("good"), mirror]), "status --check");
        assert_eq!(ran.status, 3, "{}", ran.out);
    }
}

#[test]
fn several_mirrors_have_headings() {
    let ran = run(&Fake::new(vec![source("data"), target("logs")]), "status");
    assert!(
        ran.out
            .starts_with("Mirror data (source, /dev/netraid0):\n[-] eve -> adam\n"),
        "{}",
        ran.out
    );
    assert!(
        ran.out.contains("\n\nMirror logs (target):\n[-] adam -> eve\n"),
        "{}",
        ran.out
    );
}

/// Covers: S223.
#[test]
fn the_speed_is_that_since_the_last_look() {
    let first = Resync {
        total: 1 << 30,
        done: 100 << 20,
        elapsed_ms: 10_000,
    };
    let second = Resync {
        done: 101 << 20,
        elapsed_ms: 11_000,
        ..first
    };
    assert_eq!(first.speed() / 1024, 10 * 1024);
    assert_eq!(second.speed_since(Some(&first)), 1 << 20);
    // Another resync began meanwhile: its own average counts.
    let fresh = Resync {
        done: 1 << 20,
        elapsed_ms: 500,
        ..first
    };
    assert_eq!(fresh.speed_since(Some(&first)), 2 << 20);
    assert_eq!(
        progress::figures(&second, Some(&first)),
        "101M of 1G, 1024K/sec, 15:23 left"
    );
    assert_eq!(
        Resync {
            total: 0,
            done: 0,
            elapsed_ms: 0
        }
        .speed(),
        0
    );
}

#[test]
fn the_bar_is_full_only_at_the_end() {
    assert_eq!(text::bar(0.0), "[                    ] 0%");
    assert_eq!(text::bar(99.99), "[==================> ] 99%");
    assert_eq!(text::bar(100.0), "[====================] 100%");
}

#[test]
fn a_list_that_changes_while_it_is_read_is_read_again() {
    let fake = Fake::new(vec![source("data")]);
    fake.0
        .borrow_mut()
        .dump_flags
        .extend([crate::fake::NLM_F_DUMP_INTR, crate::fake::NLM_F_DUMP_INTR]);
    assert_eq!(run(&fake, "status").status, 0);
    fake.0
        .borrow_mut()
        .dump_flags
        .extend([crate::fake::NLM_F_DUMP_INTR; 20]);
    let ran = run(&fake, "status");
    assert_eq!(ran.status, 2);
    assert!(ran.err.contains("changed while it was read"), "{}", ran.err);
}

/// Covers: S120.
#[test]
fn without_the_module_every_command_says_how_to_load_it() {
    let commands = [
        "status",
        "status --watch",
        "create data --disk /dev/vdb",
        "join data --disk /dev/vdb --yes",
        "extend data --to adam --yes",
        "unextend data",
        "delete data",
        "stop data",
        "promote data",
        "demote data",
        "pause data",
        "resume data",
        "events",
        "wait data --for paused",
    ];
    for command in commands {
        let ran = run(&Fake::default(), command);
        assert_eq!(ran.status, 2, "{command}");
        assert_eq!(
            ran.err, "netraid-ctl: netraid module not loaded; load it with `modprobe netraid`\n",
            "{command}"
        );
    }
}
