// SPDX-License-Identifier: GPL-2.0
//! Mirrors whose disk several machines share.

use std::fs;

use netraid_ctl::disk::Device;

use crate::fake::Fake;
use crate::machine::{run_on, Machine};
use crate::making::{made, refused};

/// A machine with three partitions on a disk of the storage network, and a file system on another one.
fn machine() -> Machine {
    let mut machine = Machine::default();
    machine.disk("vdg", 112, None);
    for (minor, name) in [(113, "vdg1"), (114, "vdg2"), (115, "vdg3")] {
        machine.disk(name, minor, Some("vdg"));
    }
    // The file the metadata is written to is a real one, wherever the machine believes it to be.
    let folder = machine.real.path().join("san");
    fs::create_dir(&folder).unwrap();
    machine.file_systems.insert(folder, Device { major: 254, minor: 16 });
    machine.file_systems.insert("/".into(), Device { major: 254, minor: 1 });
    machine
}

fn on_san(machine: &Machine, file: &str) -> String {
    machine.real.path().join("san").join(file).display().to_string()
}

/// Covers: S279.
#[test]
fn the_bitmaps_of_shared_mirrors_are_on_devices_of_their_own() {
    let (machine, fake) = (machine(), Fake::new(vec![]));
    let first = format!("--bitmap {}", on_san(&machine, "first"));
    made(
        &machine,
        &fake,
        &format!("create data --disk /dev/vdg1 --shared-disk {first}"),
    );
    let config = machine.config("data").unwrap();
    assert!(config.contains("shared = true"), "{config}");
    // Whichever of the two is the shared one.
    for shared in ["--shared-disk ", ""] {
        let line = format!(
            "create logs --disk /dev/vdg2 {shared}--bitmap {}",
            on_san(&machine, "second")
        );
        let told = refused(&machine, &line);
        for part in ["logs", "the bitmap of mirror data is on /dev/vdb, too", "--bitmap"] {
            assert!(told.contains(part), "{told}");
        }
    }
    // Elsewhere there is room for one that is not shared.
    made(&machine, &fake, "create logs --disk /dev/vdc2");
    assert!(!machine.config("logs").unwrap().contains("shared"));
}

/// Partitions of one disk are one device of the storage network, and the end of a disk is a part of it. Covers: S279.
#[test]
fn partitions_of_one_disk_do_not_move_one_by_one() {
    let (machine, fake) = (machine(), Fake::new(vec![]));
    made(
        &machine,
        &fake,
        "create data --disk /dev/vdg1 --new --shared-disk --bitmap internal",
    );
    let told = refused(
        &machine,
        "create logs --disk /dev/vdg2 --new --shared-disk --bitmap internal",
    );
    assert!(told.contains("the bitmap of mirror data is on /dev/vdg, too"), "{told}");
}

/// Covers: S281, S282.
#[test]
fn what_cannot_move_with_a_shared_disk_is_refused() {
    let mut machine = machine();
    let usual = "create data --disk /dev/vdg1 --shared-disk";
    let told = refused(&machine, usual);
    assert!(told.contains("/lib, which each machine has for itself"), "{told}");
    assert!(told.contains("shared storage with --bitmap"), "{told}");
    let elsewhere = format!("{usual} --bitmap {}", machine.real.path().join("bitmap").display());
    let told = refused(&machine, &elsewhere);
    assert!(
        told.contains("on /dev/vda, which carries the root file system of this machine"),
        "{told}"
    );
    let memory = Device { major: 0, minor: 50 };
    machine.file_systems.insert(machine.real.path().into(), memory);
    let told = refused(&machine, &elsewhere);
    assert!(told.contains("this one would be on no disk"), "{told}");
    machine.disk("vda2", 2, Some("vda"));
    let line = format!(
        "create data --disk /dev/vda2 --shared-disk --bitmap {}",
        on_san(&machine, "bitmap")
    );
    let told = refused(&machine, &line);
    assert!(told.contains("the disk /dev/vda2 is not shared: /dev/vda"), "{told}");
}

#[test]
fn a_shared_mirror_is_brought_up_by_name_only() {
    let (machine, fake) = (machine(), Fake::new(vec![]));
    let line = format!(
        "create data --disk /dev/vdg1 --shared-disk --bitmap {}",
        on_san(&machine, "bitmap")
    );
    made(&machine, &fake, &line);
    let fake = Fake::new(vec![]);
    let ran = run_on(&machine, &fake, "up --all");
    assert_eq!(ran.status, 0, "{}", ran.err);
    assert!(
        ran.out.contains("Mirror data is on a shared disk and left to"),
        "{}",
        ran.out
    );
    assert_eq!(fake.requests().len(), 0);
    let ran = run_on(&machine, &fake, "up data");
    assert_eq!(ran.status, 0, "{}", ran.err);
    assert_ne!(fake.requests().len(), 0);
}
