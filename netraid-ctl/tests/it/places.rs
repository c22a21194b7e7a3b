// SPDX-License-Identifier: GPL-2.0
//! Where a bitmap may be, and where it may not.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use netraid_ctl::disk::{Device, Kind};
use netraid_ctl::gen;

use crate::fake::Fake;
use crate::machine::{run_on, Machine};
use crate::making::{made, refused};
use crate::mirrors::source;

/// Covers: S67.
#[test]
fn two_mirrors_cannot_share_a_bitmap() {
    let (mut machine, fake) = (Machine::default(), Fake::new(vec![]));
    let path = machine.real.path().join("shared");
    made(
        &machine,
        &fake,
        &format!("create data --disk /dev/vdb --bitmap {}", path.display()),
    );
    // A link to it is the same file, and the other mirror need not be loaded.
    let link = machine.real.path().join("link");
    symlink(&path, &link).unwrap();
    for other in [&path, &link] {
        let line = format!("create logs --disk /dev/vdc2 --bitmap {}", other.display());
        let told = refused(&machine, &line);
        assert!(
            told.contains("belongs to mirror data, and two mirrors cannot share one"),
            "{told}"
        );
    }
    // A block device has many names.
    machine
        .nodes
        .insert("/dev/disk/by-id/x".into(), machine.nodes[Path::new("/dev/vdb")]);
    let loaded = Fake::new(vec![gen::Mirror {
        disk: Some("/dev/vdd".to_owned()),
        meta_path: Some("/dev/vdb".to_owned()),
        ..source("other")
    }]);
    let ran = run_on(
        &machine,
        &loaded,
        "create logs --disk /dev/vdc2 --bitmap /dev/disk/by-id/x",
    );
    assert!(ran.err.contains("belongs to mirror other"), "{}", ran.err);
}

#[test]
fn a_bitmap_on_a_mirrors_own_device_is_refused_also_through_other_devices() {
    let mut machine = Machine::default();
    let netraid = Device { major: 254, minor: 96 };
    assert_eq!(machine.nodes[Path::new("/dev/netraid0")], Kind::Block(netraid));
    let told = refused(&machine, "create data --disk /dev/vdb --bitmap /dev/netraid0");
    assert!(told.contains("/dev/netraid0, a mirror's block device"), "{told}");

    // A file system on it.
    machine.nodes.insert("/mnt".into(), Kind::Directory);
    machine.file_systems.insert("/mnt".into(), netraid);
    let told = refused(&machine, "create data --disk /dev/vdb --bitmap /mnt/bitmap");
    assert!(told.contains("/mnt/bitmap would lie on /dev/netraid0"), "{told}");

    // A logical volume on it.
    machine.add_disk("dm-0", 200);
    machine.file("/sys/class/block/dm-0/slaves/netraid0", "");
    machine
        .file_systems
        .insert("/mnt".into(), Device { major: 254, minor: 200 });
    let told = refused(&machine, "create data --disk /dev/vdb --bitmap /mnt/bitmap");
    assert!(told.contains("would lie on /dev/netraid0"), "{told}");

    // A loop device on a file on that, and a file system with a number of its own on top.
    machine.add_disk("loop0", 300);
    machine.file("/sys/class/block/loop0/loop/backing_file", "/mnt/image\n");
    machine.nodes.insert("/srv".into(), Kind::Directory);
    machine
        .file_systems
        .insert("/srv".into(), Device { major: 0, minor: 77 });
    machine.file(
        "/proc/self/mountinfo",
        "40 1 0:77 / /srv rw - btrfs /dev/loop0 rw\n41 1 254:200 / /mnt rw - ext4 /dev/dm-0 rw\n",
    );
    let told = refused(&machine, "create data --disk /dev/vdb --bitmap /srv/bitmap");
    assert!(told.contains("would lie on /dev/netraid0"), "{told}");
}

#[test]
fn a_bitmap_on_the_disk_itself_is_refused() {
    let machine = Machine::default();
    for (disk, bitmap) in [("vdb", "vdb"), ("vdc2", "vdc")] {
        let told = refused(
            &machine,
            &format!("create data --disk /dev/{disk} --bitmap /dev/{bitmap}"),
        );
        assert!(told.contains("is on the disk"), "{told}");
    }
    let told = refused(&machine, "create data --disk /dev/vdb --bitmap /dev/vda1");
    assert!(told.contains("cannot hold the bitmap: it is mounted on /"), "{told}");
}

#[test]
fn a_path_that_can_be_no_bitmap_is_refused_with_the_reason() {
    let machine = Machine::default();
    for (path, why) in [
        ("/tmp", "it is a directory"),
        ("/dev/null", "it is a character device"),
        (
            "/nowhere/bitmap",
            "the directory of the bitmap /nowhere/bitmap does not exist",
        ),
    ] {
        let told = refused(&machine, &format!("create data --disk /dev/vdb --bitmap {path}"));
        assert!(told.contains(why), "{told}");
    }
    let full = machine.real.path().join("letters");
    fs::write(&full, "Dear ...").unwrap();
    let told = refused(
        &machine,
        &format!("create data --disk /dev/vdb --bitmap {}", full.display()),
    );
    assert!(told.contains("is not blank"), "{told}");
    assert_eq!(fs::read(&full).unwrap(), b"Dear ...");
}

#[test]
fn the_disk_of_a_mirror_that_is_out_of_service_is_not_free() {
    let (machine, fake) = (Machine::default(), Fake::new(vec![]));
    made(&machine, &fake, "create data --disk /dev/vdb");
    // Another name of the same disk, and nothing in the kernel.
    let told = refused(&machine, "join logs --disk /work/vdb --yes");
    assert!(
        told.contains("the disk /work/vdb is the disk of mirror data, which is out of service")
            && told.contains("`netraid-ctl delete data`"),
        "{told}"
    );
    let config = machine.config("data").unwrap();
    let elsewhere = config
        .replace("/dev/vdb", "/dev/vda")
        .replace(&machine.state("bitmap_data"), "/dev/vdc2");
    std::fs::write(machine.paths.config.join("mirrors/data.toml"), elsewhere).unwrap();
    let told = refused(&machine, "create logs --disk /dev/vdc2");
    assert!(told.contains("/dev/vdc2 is the bitmap of mirror data"), "{told}");
}
