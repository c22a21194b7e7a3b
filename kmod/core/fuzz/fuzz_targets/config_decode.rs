// SPDX-License-Identifier: GPL-2.0

//! Any text is the configuration of a mirror or an error with a sentence, and so are the settings of a machine; what is
//! understood is written as it was read.

#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use netraid_ctl::config::{MirrorConfig, Store};
use netraid_ctl::defaults::Defaults;
use netraid_ctl::env::Paths;

/// In memory, since every input becomes a file.
static PLACE: LazyLock<PathBuf> = LazyLock::new(|| {
    let place = PathBuf::from(format!("/dev/shm/netraid-config-{}", std::process::id()));
    fs::create_dir_all(place.join("mirrors")).unwrap();
    place
});

fuzz_target!(|data: &[u8]| {
    let Ok(text) = core::str::from_utf8(data) else { return };
    if let Err((_, sentence)) = Defaults::parse(text) {
        assert!(!sentence.is_empty());
    }
    if let Ok(config) = toml::from_str::<MirrorConfig>(text) {
        let again = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<MirrorConfig>(&again).unwrap(), config);
        let _ = config.metadata().path();
    }
    let store = Store::new(&Paths {
        config: PLACE.clone(),
        state: PLACE.clone(),
        defaults: PLACE.join("defaults"),
    });
    fs::write(store.path("data"), text).unwrap();
    match store.load("data") {
        Ok(config) => assert_eq!(config.unwrap().name, "data"),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
