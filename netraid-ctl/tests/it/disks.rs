// SPDX-License-Identifier: GPL-2.0
//! Which disks can be used, and the reason why another one cannot.

use netraid_ctl::gen::{self, Role};
use serde_json::Value;

use crate::fake::Fake;
use crate::machine::run;
use crate::mirrors::source;

/// Covers: S123.
#[test]
fn only_disks_and_partitions_that_nobody_uses_are_listed() {
    let ran = run(&Fake::new(vec![]), "disks");
    assert_eq!(ran.status, 0);
    assert_eq!(
        ran.out,
        "/dev/vdb   disk             1G\n/dev/vdc2  partition        1G\n"
    );
    assert!(
        ran.err
            .contains("8 others cannot be used; `netraid-ctl disks --all` says why"),
        "{}",
        ran.err
    );
}

/// Covers: S123.
#[test]
fn the_others_are_listed_with_their_reason_on_request() {
    let out = run(&Fake::new(vec![source("data")]), "disks --all").out;
    for line in [
        "/dev/vda       disk             1G  its partition vda1 is in use: it is mounted on /; unmount it first\n",
        "/dev/vda1      partition        1G  it is mounted on /; unmount it first\n",
        "/dev/vdb       disk             1G  it is used by mirror data; `netraid-ctl stop data` releases it\n",
        "/dev/vdc       disk             1G  its partition vdc1 is in use: it is used as swap; `swapoff` it first\n",
        "/dev/vdc1      partition        1G  it is used as swap; `swapoff` it first\n",
        "/dev/vdd       disk             1G  it is held by RAID md127; take it out of there first\n",
        "/dev/vde       disk             1G  it is read-only; `blockdev --setrw` may change that\n",
        "/dev/vdf       disk             1G  another program or driver has claimed it exclusively\n",
        "/dev/netraid0  disk             1G  it is itself a mirror's block device\n",
    ] {
        assert!(out.contains(line), "{line} is missing in:\n{out}");
    }
}

/// Covers: S123.
#[test]
fn json_separates_the_usable_from_the_others() {
    let json: Value = serde_json::from_str(&run(&Fake::new(vec![]), "disks --json").out).unwrap();
    assert_eq!(json["version"], 1);
    assert_eq!(json["disks"][0]["path"], "/dev/vdb");
    assert_eq!(json["disks"][0]["size"], 1 << 30);
    assert_eq!(json["disks"][0]["eligible"], true);
    assert_eq!(json["disks"].as_array().unwrap().len(), 2);
    assert_eq!(json["others"].as_array().unwrap().len(), 8);
    assert_eq!(json["others"][0]["eligible"], false);
}

/// Covers: S123.
#[test]
fn each_unfit_disk_is_refused_with_its_own_reason_before_the_kernel_is_asked() {
    let cases = [
        ("/dev/nothing", "it does not exist"),
        ("/tmp", "it is a directory, not a disk"),
        ("/tmp/file", "it is a regular file, not a disk"),
        ("/dev/null", "it is a character device, not a disk"),
        ("/dev/vda1", "it is mounted on /"),
        ("/dev/vda", "its partition vda1 is in use"),
        ("/dev/vdb", "it is used by mirror logs"),
        ("/dev/vdc1", "it is used as swap"),
        ("/dev/vdd", "it is held by RAID md127"),
        ("/dev/vde", "it is read-only"),
        ("/dev/vdf", "another program or driver has claimed it"),
        ("/dev/netraid0", "it is itself a mirror's block device"),
    ];
    for (path, reason) in cases {
        for command in ["create data --disk", "join data --yes --disk"] {
            let fake = Fake::new(vec![source("logs")]);
            let ran = run(&fake, &format!("{command} {path}"));
            assert_eq!((ran.status, fake.requests().len()), (2, 0), "{command} {path}");
            assert!(
                ran.err.contains(&format!("the disk {path} cannot be used: {reason}")),
                "{}",
                ran.err
            );
        }
    }
}

#[test]
fn the_disk_of_a_stopped_mirror_is_free() {
    let fake = Fake::new(vec![gen::Mirror {
        role: Some(Role::Stopped),
        ..source("old")
    }]);
    assert_eq!(run(&fake, "create data --disk /dev/vdb").status, 0);
}

#[test]
fn the_kernel_has_the_last_word_on_a_disk() {
    let fake = Fake::new(vec![]);
    fake.refuse(16, "the disk /dev/vdb is in use");
    let ran = run(&fake, "create data --disk /dev/vdb");
    assert_eq!(
        (ran.status, ran.err.as_str()),
        (
            2,
            "netraid-ctl: cannot create mirror data: the disk /dev/vdb is in use; `netraid-ctl disks --all` may say who uses it\n"
        )
    );
}

#[test]
fn disks_can_be_listed_without_the_module() {
    assert_eq!(run(&Fake::default(), "disks").status, 0);
}
