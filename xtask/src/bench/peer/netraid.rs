// SPDX-License-Identifier: GPL-2.0
//! netraid, alone and with its target on the same machine.

use super::{Family, Kind, Peer, Sides, SOURCE, SOURCE_MAP, TARGET, TARGET_MAP};

/// Where netraid keeps the roles of mirrors without a bitmap.
const ROLES: [&str; 2] = ["none:/run/bench-source", "none:/run/bench-target"];
/// Where it keeps its bitmaps, as its peers do on disks that are no slower than those they mirror.
const BITMAPS: [&str; 2] = [SOURCE_MAP, TARGET_MAP];

/// Patterns of the threads, by what `kmod/src` names them.
const SIDES: Sides = Sides {
    source: &[
        "netraid_io",
        "netraid_leg",
        "netraid_send",
        "netraid_resync",
        "netraid_meta",
        "netraid_round",
    ],
    target: &["netraid_recv", "netraid_ack", "netraid_zero", "netraid_target"],
};

/// One way of setting a mirror up.
struct Way {
    name: &'static str,
    kind: Kind,
    bitmaps: [&'static str; 2],
    /// Options of `extend`.
    extend: &'static str,
}

const WAYS: [Way; 6] = [
    Way {
        name: "netraid sync",
        kind: Kind::Sync,
        bitmaps: BITMAPS,
        extend: "",
    },
    Way {
        name: "netraid async",
        kind: Kind::Async,
        bitmaps: BITMAPS,
        extend: "--type async",
    },
    Way {
        name: "netraid sync, no checksums",
        kind: Kind::Sync,
        bitmaps: BITMAPS,
        extend: "--no-checksums",
    },
    Way {
        name: "netraid async, no checksums",
        kind: Kind::Async,
        bitmaps: BITMAPS,
        extend: "--type async --no-checksums",
    },
    Way {
        name: "netraid sync, no bitmap",
        kind: Kind::Sync,
        bitmaps: ROLES,
        extend: "",
    },
    Way {
        name: "netraid async, no bitmap",
        kind: Kind::Async,
        bitmaps: ROLES,
        extend: "--type async",
    },
];

fn create(bitmap: &str, options: &str) -> String {
    format!(
        "set -e; dd if=/dev/zero of={SOURCE_MAP} bs=1M count=8 status=none; \
         netraid-ctl create bench --disk {SOURCE} --bitmap {bitmap} {options}"
    )
}

fn tear_down() -> String {
    "netraid-ctl delete bench --force; netraid-ctl delete bench-copy --force; rm -f /run/bench-*; \
     [ ! -e /dev/netraid0 ] && [ -z \"$(netraid-ctl list)\" ]"
        .to_owned()
}

/// A disk behind the device, and no target.
pub(super) fn local() -> Vec<Peer> {
    let one = |name, bitmap| Peer {
        name,
        family: Family::Netraid,
        kind: Kind::Local,
        device: "/dev/netraid0",
        set_up: create(bitmap, ""),
        copy: None,
        part: None,
        rejoin: None,
        tear_down: tear_down(),
        sides: Some(SIDES),
    };
    vec![
        one("netraid local", BITMAPS[0]),
        one("netraid local, no bitmap", ROLES[0]),
    ]
}

/// With a target.
pub(super) fn mirrors() -> Vec<Peer> {
    WAYS.iter().map(mirror).collect()
}

fn mirror(way: &Way) -> Peer {
    let [source, target] = way.bitmaps;
    let permitted = if way.kind == Kind::Async { "--async" } else { "" };
    let create = create(source, permitted);
    let wait = "netraid-ctl wait bench --for fully-operational --timeout 120";
    Peer {
        name: way.name,
        family: Family::Netraid,
        kind: way.kind,
        device: "/dev/netraid0",
        set_up: format!(
            "{create}; dd if=/dev/zero of={TARGET_MAP} bs=1M count=8 status=none; \
             netraid-ctl join bench-copy --of bench --same-machine --disk {TARGET} --bitmap {target} --yes"
        ),
        copy: Some(format!(
            "netraid-ctl extend bench --to 127.0.0.1 --yes {} && {wait}",
            way.extend
        )),
        part: Some("netraid-ctl pause bench".to_owned()),
        rejoin: Some(format!("netraid-ctl resume bench && {wait}")),
        tear_down: tear_down(),
        sides: Some(SIDES),
    }
}
