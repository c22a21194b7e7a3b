// SPDX-License-Identifier: GPL-2.0
//! Two ways to set up a distant target without sending everything over the distance: a shipped image of the disk, and
//! a shipped machine.

use anyhow::{ensure, Result};
use tests_qemu::{Cluster, Node};

use crate::{
    harness::{case, Case},
    mirror::{Mirror, QUICK},
    persist::{boot, copied, number, until, write_chunks, CHUNK, DEVICE, SIZE},
};

pub(crate) const CASES: &[Case] = &[
    case!(a_shipped_image_is_completed_by_what_changed_meanwhile),
    case!(a_shipped_image_counts_only_where_both_sides_say_so),
    case!(a_shipped_machine_is_still_paused_and_gets_what_changed_meanwhile),
];

/// The chunks written while the image is on its way.
const MEANWHILE: [u64; 20] = [
    0, 1, 2, 3, 50, 51, 77, 100, 101, 200, 300, 301, 302, 500, 600, 700, 800, 900, 1022, 1023,
];

fn says(node: &Node, setting: &str) -> Result<()> {
    node.sh(&format!(
        "mkdir -p /etc/default && echo {setting} > /etc/default/netraid"
    ))
    .ok()?;
    Ok(())
}

/// A disk that holds something, as it is before anybody thinks of a mirror.
fn in_use(node: &Node) -> Result<()> {
    node.sh("mkfs.ext4 -q /dev/vdb && mount /dev/vdb /mnt && cp -a /usr/share/zoneinfo/Europe /mnt && umount /mnt")
        .ok()?;
    Ok(())
}

/// Steps 1 to 11 of Method 1, up to the image on a disk of another name; the mirror as it is then.
fn image_shipped<'a>(cluster: &'a Cluster, bitmap: &str) -> Result<Mirror<'a>> {
    let (eve, adam) = cluster.pair();
    eve.ctl(&format!(
        "create data --disk /dev/vdb --existing --bitmap {bitmap} {QUICK}"
    ))
    .ok()?;
    eve.ctl("stop data").ok()?;
    // The disk is free, and begins where it always did.
    let image = "dd if=/dev/vdb bs=65536 status=none | sha256sum";
    eve.sh("python3 -c \"import os; os.close(os.open('/dev/vdb', os.O_RDWR | os.O_EXCL))\" && fsck.ext4 -fn /dev/vdb")
        .ok()?;
    let sum = eve.sh(image).ok()?;
    let bytes = eve.disk("vdb")?.read(0, SIZE)?;
    eve.ctl(&format!("bitmap -c {bitmap} --yes")).ok()?;
    let examined = eve.ctl(&format!("bitmap -X {bitmap}")).ok()?;
    ensure!(examined.contains("1024 bits (chunks), 0 dirty (0.0%)"), "{examined}");
    eve.ctl("start data").ok()?;
    write_chunks(eve, &MEANWHILE)?;
    ensure!(number(eve, "dirty_chunks")? == 20);
    adam.disk("vdc")?.write(0, &bytes)?;
    adam.sh("blockdev --flushbufs /dev/vdc").ok()?;
    let there = adam.sh(&image.replace("vdb", "vdc")).ok()?;
    ensure!(there == sum, "{there} {sum}");
    Ok(Mirror {
        source: eve,
        target: adam,
        disk: "vdb",
    })
}

fn same(mirror: &Mirror<'_>) -> Result<()> {
    let (one, other) = (mirror.source.disk("vdb")?, mirror.target.disk("vdc")?);
    let differ = one.differences(other, SIZE, CHUNK)?;
    ensure!(differ.is_empty(), "these chunks differ: {differ:?}");
    Ok(())
}

/// Method 1, step by step.
///
/// Covers: S263, S264, S265, S266, S267, S268, S269, S270, S271.
fn a_shipped_image_is_completed_by_what_changed_meanwhile(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    in_use(eve)?;
    // Both spellings that the manual has.
    says(eve, "LKDR_NO_FULL_SYNC=1")?;
    let mirror = image_shipped(cluster, "/var/lib/netraid/bitmap_data")?;
    says(adam, "LKDR_NOFULL_SYNC=1")?;
    adam.ctl(&format!("join data --disk /dev/vdc --yes {QUICK}")).ok()?;
    mirror.extend_with(QUICK)?;
    mirror.wait("fully-operational")?;
    let leg = mirror.leg()?;
    ensure!(
        leg["resynced_bytes"] == 20 * CHUNK && leg["resync_full"] == false,
        "{leg}"
    );
    same(&mirror)?;
    // It is an ordinary mirror from here on.
    cluster.cut(eve, adam);
    mirror.wait("out-of-sync")?;
    write_chunks(eve, &[5])?;
    cluster.restore_links();
    mirror.wait("fully-operational")?;
    ensure!(mirror.count("resynced_bytes")? == 21 * CHUNK);
    same(&mirror)
}

/// Covers: S270.
fn a_shipped_image_counts_only_where_both_sides_say_so(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    for (there, here) in [("--no-full-sync", ""), ("", "--no-full-sync"), ("", "")] {
        let bitmap = "/var/lib/netraid/bitmap_data";
        eve.ctl(&format!("create data --disk /dev/vdb {QUICK} {there}")).ok()?;
        eve.ctl("stop data").ok()?;
        eve.ctl(&format!("bitmap -c {bitmap} --yes")).ok()?;
        eve.ctl("start data").ok()?;
        write_chunks(eve, &[1])?;
        adam.ctl(&format!("join data --disk /dev/vdc --yes {QUICK} {here}"))
            .ok()?;
        let mirror = Mirror {
            source: eve,
            target: adam,
            disk: "vdb",
        };
        mirror.extend_with(QUICK)?;
        mirror.wait("fully-operational")?;
        let leg = mirror.leg()?;
        ensure!(
            leg["resynced_bytes"] == SIZE && leg["resync_full"] == true,
            "source {there}, target {here}: {leg}"
        );
        same(&mirror)?;
        for node in [eve, adam] {
            node.ctl("delete data").ok()?;
        }
    }
    Ok(())
}

/// Where the two machines are reached in the end; these addresses stay, whatever the way between them.
const EVE: &str = "10.99.1.1";
const ADAM: &str = "10.99.2.1";

/// Routes to the other machine over network `net`.
fn route(node: &Node, own: &str, other: &str, by: &Node, net: usize) -> Result<()> {
    node.sh(&format!(
        "ip addr replace {own}/32 dev lo && ip route replace {other} via {} src {own}",
        by.ip_on(net)
    ))
    .ok()?;
    Ok(())
}

/// Method 2: the first copy is made on a local network, then the target is shipped; the pause outlives that.
///
/// Covers: S272, S273, S274, S275, S276.
fn a_shipped_machine_is_still_paused_and_gets_what_changed_meanwhile(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    in_use(eve)?;
    route(eve, EVE, ADAM, adam, 1)?;
    route(adam, ADAM, EVE, eve, 1)?;
    eve.ctl(&format!("create data --disk /dev/vdb {QUICK}")).ok()?;
    adam.ctl(&format!("join data --disk /dev/vdb --yes {QUICK}")).ok()?;
    let far = cluster.network().way(0, 1).traffic().bytes;
    eve.ctl(&format!("extend data --to {ADAM} --yes {QUICK}")).ok()?;
    let mirror = Mirror {
        source: eve,
        target: adam,
        disk: "vdb",
    };
    copied(&mirror, 0, SIZE)?;
    let spent = cluster.network().way(0, 1).traffic().bytes - far;
    ensure!(spent < CHUNK, "{spent} bytes went the long way");
    until("the copy to be durable", || Ok(number(eve, "intent_chunks")? == 0))?;
    eve.ctl("pause data").ok()?;
    write_chunks(eve, &MEANWHILE[..5])?;
    // The target travels; its network is another one afterwards.
    adam.power_off()?;
    eve.ctl("wait data --for disconnected").ok()?;
    write_chunks(eve, &MEANWHILE[5..])?;
    eve.sh(&format!("ip route del {ADAM}")).ok()?;
    boot(adam)?;
    route(adam, ADAM, EVE, eve, 0)?;
    route(eve, EVE, ADAM, adam, 0)?;
    adam.ctl("up --all").ok()?;
    eve.ctl("wait data --for connected").ok()?;
    // The pause has never ended on the source, while the target learns of it from the connection.
    let state = mirror.leg()?;
    ensure!(state["state"] == "paused", "{state}");
    adam.ctl("wait data --for paused").ok()?;
    ensure!(
        mirror.count("dirty_chunks")? == 20 && mirror.count("resynced_bytes")? == SIZE,
        "{}",
        mirror.leg()?
    );
    let near = cluster.network_at(1).way(0, 1).traffic().bytes;
    eve.ctl("resume data").ok()?;
    copied(&mirror, SIZE, 20 * CHUNK)?;
    let spent = cluster.network_at(1).way(0, 1).traffic().bytes - near;
    ensure!(spent < CHUNK, "{spent} bytes went the short way");
    ensure!(eve.sh(&format!("test -b {DEVICE}")).run()?.code == 0);
    Ok(())
}
