// SPDX-License-Identifier: GPL-2.0
//! `status`: what outlives a restart, and what is out of the ordinary.

use netraid_ctl::gen::{self, Role};
use serde_json::Value;

use crate::fake::Fake;
use crate::machine::run;
use crate::mirrors::{leg, source, target};

fn status(mirror: gen::Mirror, options: &str) -> String {
    run(&Fake::new(vec![mirror]), &format!("status data {options}")).out
}

/// Covers: S94.
#[test]
fn a_mirror_in_doubt_shows_both_flags_and_the_next_step() {
    let text = status(
        gen::Mirror {
            role: Some(Role::Stopped),
            last_owner: true,
            data_corrupt: true,
            leg: vec![],
            ..source("data")
        },
        "",
    );
    assert_eq!(
        text,
        "[-] eve\n\tStatus: Stopped, out of service\nFlags: DATA CORRUPT, last owner\n\
         Next: `netraid-ctl start data` once the other machine answers; `netraid-ctl force data` if this machine was \
         certainly the last source\n"
    );
}

#[test]
fn a_split_brain_shows_how_to_end_it() {
    let text = status(
        gen::Mirror {
            split_brain: true,
            yielded: true,
            stopped: true,
            ..source("data")
        },
        "",
    );
    assert!(
        text.contains(
            "Flags: SPLIT BRAIN, yielded, stopped by an operator\n\
             Next: `netraid-ctl resolve data --keep NODE` on both machines\nBitmap: "
        ),
        "{text}"
    );
}

#[test]
fn in_ordinary_times_there_is_no_line_of_flags() {
    let ordinary = gen::Mirror {
        last_owner: true,
        ..source("data")
    };
    assert!(!status(ordinary.clone(), "").contains("Flags"));
    assert!(status(ordinary, "--detail").contains("\tLast owner: yes\n"));
    assert!(!status(target("data"), "").contains("Flags"));
}

/// Covers: S63, S218.
#[test]
fn the_bitmap_line_is_there_once_for_the_mirror() {
    let mirror = gen::Mirror {
        chunks: Some(4895),
        dirty_chunks: Some(180),
        leg: vec![],
        ..source("data")
    };
    let text = status(mirror.clone(), "");
    assert!(
        text.ends_with("Bitmap: 4895 bits (chunks), 180 dirty (3.7%)\n"),
        "{text}"
    );
    let none = gen::Mirror {
        no_bitmap: true,
        ..mirror.clone()
    };
    assert!(status(none, "").ends_with("Bitmap: none\n"));
    // Out of service nobody looks at it.
    let stopped = gen::Mirror {
        role: Some(Role::Stopped),
        dirty_chunks: None,
        ..mirror
    };
    assert!(!status(stopped, "").contains("Bitmap"));
}

#[test]
fn what_a_known_target_misses_is_not_everything_after_a_restart() {
    let known = gen::Leg {
        state: Some(gen::State::OutOfSync),
        connects: Some(0),
        dirty_chunks: Some(6),
        peer_uuid: Some([7; 16]),
        ..leg(1)
    };
    let text = status(
        gen::Mirror {
            leg: vec![known],
            ..source("data")
        },
        "",
    );
    assert!(text.ends_with("Bitmap: 4895 bits (chunks), 6 dirty (0.1%)\n"), "{text}");
}

/// Covers: S57.
#[test]
fn the_details_tell_where_the_metadata_is_and_what_it_says() {
    let leg = gen::Leg {
        skipped_bytes: Some(3 << 20),
        zeroed_bytes: Some(64 << 10),
        ..leg(1)
    };
    let mirror = gen::Mirror {
        meta_path: Some("/opt/x/bitmap_ext3".to_owned()),
        meta_writes: Some(12),
        generation: Some(0xabc),
        intent_chunks: Some(5),
        leg: vec![leg],
        ..source("data")
    };
    let text = status(mirror.clone(), "--detail");
    for line in [
        "\tChunk: 64K\n",
        "\tBitmap kept in: /opt/x/bitmap_ext3\n",
        "\tMetadata writes: 12\n",
        "\tGeneration: 0000000000000abc\n",
        "\tChunks in flight: 5\n",
        "\t\tSkipped, the same: 3M\n",
        "\t\tSent as zeroes: 64K\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let internal = gen::Mirror {
        meta_path: None,
        meta_internal: true,
        ..mirror
    };
    assert!(status(internal, "--detail").contains("\tBitmap kept in: at the end of /dev/vdb\n"));
}

#[test]
fn the_status_names_a_disk_that_fails_and_what_the_target_did_about_it() {
    assert!(!status(source("data"), "").contains("Disk:"));
    let failing = gen::Mirror {
        read_errors: Some(3),
        remote_reads: Some(2),
        repaired_bytes: Some(8192),
        repair_errors: Some(0),
        ..source("data")
    };
    let text = status(failing.clone(), "");
    let line = "Disk: /dev/vdb failed 3 reads, 2 were read from the target, 8K repaired\n";
    assert!(text.contains(line) && !text.contains("replace"), "{text}");
    let text = status(failing.clone(), "--detail");
    for line in [
        "\tFailed reads: 3\n",
        "\tRead from the target: 2\n",
        "\tRepaired: 8K\n",
        "\tFailed repairs: 0\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let worse = gen::Mirror {
        repair_errors: Some(1),
        ..failing
    };
    let text = status(worse.clone(), "");
    let next = "Next: replace /dev/vdb, which also failed 1 of the writes that were to repair it\n";
    assert!(text.contains(next), "{text}");
    let json: Value = serde_json::from_str(&status(worse, "--json")).unwrap();
    let mirror = &json["mirrors"][0];
    for (name, count) in [
        ("read_errors", 3),
        ("remote_reads", 2),
        ("repaired_bytes", 8192),
        ("repair_errors", 1),
    ] {
        assert_eq!(mirror[name], count, "{name}");
    }
}

/// Covers: S175.
#[test]
fn the_status_shows_a_disk_that_was_given_up_and_the_way_back() {
    let mirror = |state| gen::Mirror {
        read_errors: Some(3),
        size: Some(4 << 20),
        rebuilt_bytes: Some(1 << 20),
        on_io_error: Some(gen::OnIoError::Detach),
        disk_state: Some(state),
        ..source("data")
    };
    let text = status(mirror(gen::DiskState::Detached), "");
    assert!(
        text.contains(
            "Disk: /dev/vdb(F) failed and was given up; reads and writes go to the targets in step\n\
             Next: replace it and `netraid-ctl attach data --disk PATH`, or `netraid-ctl switchover data` on such a \
             target\n"
        ),
        "{text}"
    );
    let text = status(mirror(gen::DiskState::Detached), "--detail");
    assert!(
        text.contains("[_U]") && text.contains("\tOn I/O error: the disk is given up\n"),
        "{text}"
    );
    let text = status(mirror(gen::DiskState::Lost), "");
    assert!(
        text.contains("no target is in step, reads and writes fail\nNext: `netraid-ctl stop data --force`"),
        "{text}"
    );
    let text = status(mirror(gen::DiskState::Rebuilding), "");
    assert!(
        text.contains("Disk: /dev/vdb is being filled from a target, 1M of 4M (25.0%)\n"),
        "{text}"
    );
    for state in [
        gen::DiskState::Detached,
        gen::DiskState::Rebuilding,
        gen::DiskState::Lost,
    ] {
        let json: Value = serde_json::from_str(&status(mirror(state), "--json")).unwrap();
        let mirror = &json["mirrors"][0];
        assert_eq!(
            (&mirror["disk_state"], &mirror["on_io_error"], &mirror["operational"]),
            (&state.name().into(), &"detach".into(), &false.into())
        );
        assert_eq!(mirror["legs"][0]["state"], "out-of-sync");
    }
    let text = status(mirror(gen::DiskState::Attached), "");
    assert!(
        text.contains("Disk: /dev/vdb failed 3 reads") && !text.contains("(F)"),
        "{text}"
    );
}

#[test]
fn the_details_tell_whether_checksums_are_in_use() {
    let told = |connection, checksums, no_checksums| {
        let leg = gen::Leg {
            connection: Some(connection),
            checksums,
            no_checksums,
            ..leg(1)
        };
        let mirror = gen::Mirror {
            leg: vec![leg],
            ..source("data")
        };
        let json: Value = serde_json::from_str(&status(mirror.clone(), "--json")).unwrap();
        let leg = &json["mirrors"][0]["legs"][1];
        assert_eq!(
            (&leg["checksums"], &leg["no_checksums"]),
            (&checksums.into(), &no_checksums.into())
        );
        status(mirror, "--detail")
    };
    let (connected, waiting) = (gen::Connection::Connected, gen::Connection::Waiting);
    for (text, words) in [
        (told(connected, true, false), "in use"),
        (told(connected, false, true), "not wanted"),
        (told(connected, false, false), "not agreed on"),
        (told(waiting, false, true), "not wanted"),
        (told(waiting, false, false), "not in use"),
    ] {
        assert!(text.contains(&format!("\t\tChecksums: {words}\n")), "{words}: {text}");
    }
}

#[test]
fn it_is_told_how_often_a_leg_fell_behind_that_may() {
    let told = |congestion, falls| {
        let leg = gen::Leg {
            congestion: Some(congestion),
            falls: Some(falls),
            ..leg(1)
        };
        let mirror = gen::Mirror {
            leg: vec![leg],
            ..source("data")
        };
        let json: Value = serde_json::from_str(&status(mirror.clone(), "--json")).unwrap();
        let leg = &json["mirrors"][0]["legs"][1];
        assert_eq!(leg["falls"], falls);
        (leg["congestion"].clone(), status(mirror, "--detail"))
    };
    let (word, text) = told(gen::Congestion::Behind, 3);
    assert_eq!(word, "behind");
    assert!(text.contains("\t\tFell behind: 3 times\n"), "{text}");
    let (word, text) = told(gen::Congestion::Block, 0);
    assert_eq!(word, "block");
    assert!(!text.contains("Fell behind"), "{text}");
}

#[test]
fn json_has_what_outlives_a_restart_under_the_names_of_the_spec() {
    let leg = gen::Leg {
        skipped_bytes: Some(1),
        zeroed_bytes: Some(2),
        ..leg(1)
    };
    let mirror = gen::Mirror {
        meta_path: Some("/x".to_owned()),
        meta_writes: Some(12),
        generation: Some(u64::MAX),
        resync_rate: Some(0),
        async_limit: Some(256),
        chunks: Some(4895),
        no_bitmap: true,
        data_corrupt: true,
        last_owner: true,
        leg: vec![leg],
        ..source("data")
    };
    let json: Value = serde_json::from_str(&status(mirror, "--json")).unwrap();
    let mirror = &json["mirrors"][0];
    assert_eq!(mirror["generation"], u64::MAX);
    assert_eq!(
        (&mirror["meta_path"], &mirror["meta_writes"]),
        (&"/x".into(), &12.into())
    );
    assert_eq!(
        (&mirror["resync_rate"], &mirror["async_limit"]),
        (&0.into(), &256.into())
    );
    assert_eq!(mirror["chunks"], 4895);
    assert_eq!(mirror["bitmap"], Value::Null);
    for (flag, set) in [
        ("no_bitmap", true),
        ("data_corrupt", true),
        ("last_owner", true),
        ("split_brain", false),
        ("yielded", false),
        ("stopped", false),
        ("meta_internal", false),
        ("operational", false),
    ] {
        assert_eq!(mirror[flag], set, "{flag}");
    }
    assert_eq!(
        (&mirror["legs"][1]["skipped_bytes"], &mirror["legs"][1]["zeroed_bytes"]),
        (&1.into(), &2.into())
    );
}

#[test]
fn check_does_not_take_a_mirror_in_doubt_for_whole() {
    let check = |mirror| run(&Fake::new(vec![mirror]), "status --check").status;
    assert_eq!(check(source("data")), 0);
    let corrupt = gen::Mirror {
        data_corrupt: true,
        ..source("data")
    };
    let split = gen::Mirror {
        split_brain: true,
        ..source("data")
    };
    assert_eq!((check(corrupt), check(split)), (3, 3));
}
