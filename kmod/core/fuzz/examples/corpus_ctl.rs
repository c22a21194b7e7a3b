// SPDX-License-Identifier: GPL-2.0

//! Makes the corpus of the fuzz targets over netraid-ctl: `cargo run --features ctl --example corpus_ctl`.

use std::{fs, io, path::Path};

use netraid_ctl::gen;
use netraid_ctl::nl::wire::{AttrWriter, Message};

/// A configuration as netraid-ctl writes it.
const CONFIG: &str = r#"version = 1
name = "data"
id = 3
disk = "/dev/vdb"
role = "target"
bitmap = "none"
state = "/var/lib/netraid/state_data"
made-file = true
listen = "0.0.0.0:7900"
heartbeat = 200
timeout = 1000
chunk-size = 65536
created = "2026-11-21T09:52:03Z"
"#;

/// A mirror with a leg, as attributes and in a datagram.
fn netlink() -> io::Result<Vec<(&'static str, Vec<u8>)>> {
    let mirror = gen::Mirror {
        name: Some("data".into()),
        id: Some(3),
        uuid: Some([1; 16]),
        disk: Some("/dev/vdb".into()),
        size: Some(64 << 20),
        address: Some(vec![10, 0, 0, 1]),
        leg: vec![gen::Leg {
            id: Some(1),
            port: Some(7900),
            reason: Some("because".into()),
            ..gen::Leg::default()
        }],
        ..gen::Mirror::default()
    };
    let mut attributes = AttrWriter::default();
    mirror.encode(&mut attributes).map_err(io::Error::other)?;
    let attributes = attributes.into_bytes();
    let datagram = Message {
        kind: 0x20,
        flags: 2,
        seq: 1,
        payload: [vec![1, 1, 0, 0], attributes.clone()].concat(),
    };
    let datagram = datagram.to_bytes().map_err(io::Error::other)?;
    Ok(vec![("attributes", attributes), ("datagram", datagram)])
}

/// Puts seeds where the fuzzer of a target finds them.
fn keep(target: &str, seeds: &[(&str, Vec<u8>)]) -> io::Result<()> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&dir)?;
    seeds
        .iter()
        .try_for_each(|(name, bytes)| fs::write(dir.join(name), bytes))
}

fn main() -> io::Result<()> {
    let settings = b"NO_FULL_SYNC=1\n# no\nexport ASYNC_LIMIT='3'\n".to_vec();
    keep("netlink_decode", &netlink()?)?;
    keep("config_decode", &[("target", CONFIG.into()), ("defaults", settings)])
}
