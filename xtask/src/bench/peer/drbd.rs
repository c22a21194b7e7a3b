// SPDX-License-Identifier: GPL-2.0
//! DRBD 8.4, both nodes of it in one kernel: two resources that take each other for the same one on another machine.

use super::{until, Family, Kind, Peer, Sides, SOURCE, TARGET};

/// The program for this version; `drbdsetup` itself is that of version 9.
const SETUP: &str = "/usr/lib/drbd/drbdsetup-84";
/// Where each node listens.
const ENDS: [&str; 2] = ["ipv4:127.0.0.1:7789", "ipv4:127.0.0.1:7790"];
/// Lets a resync go as fast as it can, as it may here, where no other traffic is on the way.
const DISK_OPTIONS: &str = "--resync-rate=4194304 --c-max-rate=4194304 --c-min-rate=409600 --c-fill-target=2048";
const NET_OPTIONS: &str = "--max-buffers=8000 --sndbuf-size=0";

fn connect(node: usize, protocol: &str) -> String {
    format!(
        "{SETUP} connect bench{node} {} {} --protocol={protocol} {NET_OPTIONS}",
        ENDS[node],
        ENDS[1 - node]
    )
}

/// The status line of the source's device says this.
fn source_is(state: &str) -> String {
    until(&format!("grep -q '^ *0: .*{state}' /proc/drbd"))
}

/// Both nodes, without a connection.
fn set_up() -> String {
    // The program that the kernel asks before a resync knows nothing of resources without a file, and would forbid it.
    let mut script = "set -e; modprobe drbd usermode_helper=/bin/true; mkdir -p /run/lock /var/lib/drbd".to_owned();
    for (node, disk) in [SOURCE, TARGET].into_iter().enumerate() {
        script += &format!(
            "; drbdmeta --force {node} v08 {disk} internal create-md; {SETUP} new-resource bench{node}; \
             {SETUP} new-minor bench{node} {node} 0; {SETUP} attach {node} {disk} {disk} internal {DISK_OPTIONS}"
        );
    }
    script
}

fn protocol(name: &'static str, kind: Kind, protocol: &'static str) -> Peer {
    let connected = format!("{} && {}", connect(0, protocol), connect(1, protocol));
    let in_step = source_is("ds:UpToDate/UpToDate");
    Peer {
        name,
        family: Family::Drbd,
        kind,
        device: "/dev/drbd0",
        set_up: format!("{}; {connected}; {}", set_up(), source_is("cs:Connected")),
        copy: Some(format!("{SETUP} primary 0 --force && {in_step}")),
        part: Some(format!("{SETUP} disconnect {} {}", ENDS[0], ENDS[1])),
        rejoin: Some(format!(
            "{} && {}",
            connect(0, protocol),
            source_is("cs:Connected .*ds:UpToDate/UpToDate")
        )),
        tear_down: format!("for n in 0 1; do {SETUP} secondary $n; {SETUP} down bench$n; done; rmmod drbd"),
        sides: Some(Sides {
            source: &["drbd_w_bench0", "drbd_r_bench0", "drbd_a_bench0", "drbd_s_bench0"],
            target: &["drbd_w_bench1", "drbd_r_bench1", "drbd_a_bench1", "drbd_s_bench1"],
        }),
    }
}

pub(super) fn all() -> Vec<Peer> {
    vec![
        protocol("DRBD 8.4, protocol C", Kind::Sync, "C"),
        protocol("DRBD 8.4, protocol A", Kind::Async, "A"),
    ]
}
