// SPDX-License-Identifier: GPL-2.0
//! `list`, and what `status` says of mirrors that are not loaded.

use std::fs;

use crate::machine::run_on;
use crate::mirrors::{source, target};
use crate::service::{restarted, said};

/// Covers: S301.
#[test]
fn the_list_has_every_mirror_of_this_machine_with_its_role() {
    let (machine, fake) = restarted(&[("away", "/dev/vdb")]);
    fake.0.borrow_mut().mirrors = vec![target("logs"), source("data")];
    let ran = run_on(&machine, &fake, "list");
    said(
        &ran,
        0,
        "away  not loaded  -               /dev/vdb\n\
         data  source      /dev/netraid0   /dev/vdb\n\
         logs  target      -               /dev/vdb\n",
    );
    let json: serde_json::Value = serde_json::from_str(&run_on(&machine, &fake, "list --json").out).unwrap();
    assert_eq!(json["version"], 1);
    let away = &json["mirrors"][0];
    assert_eq!(
        (&away["name"], &away["loaded"], &away["configured"]),
        (&"away".into(), &false.into(), &true.into())
    );
    assert_eq!(away["role"], serde_json::Value::Null);
    assert_eq!(json["mirrors"][1]["configured"], false);

    // Also without the module, and a broken configuration does not hide the rest.
    fake.0.borrow_mut().loaded = false;
    fs::write(machine.paths.config.join("mirrors/bad.toml"), "version = 9\n").unwrap();
    let ran = run_on(&machine, &fake, "list");
    assert!(ran.out.starts_with("away  not loaded"), "{}", ran.out);
    assert!(ran.err.contains("bad.toml cannot be used"), "{}", ran.err);
}

#[test]
fn status_tells_of_mirrors_that_are_configured_and_not_loaded() {
    let (machine, fake) = restarted(&[("data", "/dev/vdb")]);
    let ran = run_on(&machine, &fake, "status");
    assert_eq!(ran.status, 0);
    assert_eq!(
        ran.err,
        "netraid-ctl: not loaded: data; `netraid-ctl up --all` brings up what is configured\n"
    );
    let ran = run_on(&machine, &fake, "status data");
    assert_eq!(
        (ran.status, ran.err.as_str()),
        (
            2,
            "netraid-ctl: mirror data is not loaded; `netraid-ctl up data` brings it up\n"
        )
    );
}
