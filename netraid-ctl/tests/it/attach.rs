// SPDX-License-Identifier: GPL-2.0
//! `attach`: a disk in the place of one that was given up.

use netraid_ctl::gen::{self, cmd};

use crate::fake::Fake;
use crate::machine::{run_on, Machine};
use crate::making::made;

/// Covers: S175.
#[test]
fn a_disk_is_put_in_and_remembered_unless_the_kernel_refuses() {
    let (machine, fake) = (Machine::default(), Fake::new(vec![]));
    let (_, request) = made(&machine, &fake, "create data --disk /dev/vdb --on-io-error pass-on");
    assert_eq!(request.on_io_error, Some(gen::OnIoError::PassOn));
    let config = || machine.config("data").unwrap();
    let ran = run_on(&machine, &fake, "attach data --disk /dev/vdc2");
    assert_eq!(ran.status, 1, "{}", ran.err);
    assert!(
        ran.err
            .contains("the content of /dev/vdc2 will be replaced by that of mirror data"),
        "{}",
        ran.err
    );
    assert!(config().contains("disk = \"/dev/vdb\""), "{}", config());
    let ran = run_on(&machine, &fake, "attach data --disk /dev/vdf --yes");
    assert_eq!(ran.status, 2, "{}", ran.err);
    assert!(ran.err.contains("the disk /dev/vdf cannot be used"), "{}", ran.err);
    fake.on_request(|_, command, _| {
        (command == cmd::MIRROR_ATTACH).then_some(Err((16, "the disk of mirror 'data' is in use")))
    });
    let ran = run_on(&machine, &fake, "attach data --disk /dev/vdc2 --yes");
    assert_eq!(ran.status, 2, "{}", ran.err);
    assert!(ran.err.contains("the disk of mirror 'data' is in use"), "{}", ran.err);
    assert!(config().contains("disk = \"/dev/vdb\""), "{}", config());
    fake.on_request(|_, _, _| None);
    // The one there is needs no name, and is not looked at: it is its own.
    for line in ["attach data --yes", "attach data --disk /dev/vdb --yes"] {
        let (out, request) = made(&machine, &fake, line);
        assert!(
            out.starts_with("/dev/vdb is being filled with the data of mirror data;"),
            "{out}"
        );
        assert_eq!(request.disk, None);
    }
    let (_, request) = made(&machine, &fake, "attach data --disk /dev/vdc2 --yes");
    assert_eq!(request.disk.as_deref(), Some("/dev/vdc2"));
    assert!(config().contains("disk = \"/dev/vdc2\""), "{}", config());
}
