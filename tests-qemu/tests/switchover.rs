// SPDX-License-Identifier: GPL-2.0
//! The roles are swapped in one step, and only where nothing can be lost by it.

use anyhow::{ensure, Context as _, Result};
use nix::sys::signal::Signal;
use tests_qemu::{workload::Plan, Cluster, Node, Workload};

use crate::{
    harness::{case, Case, SOON},
    mirror::{refused, Mirror},
    persist::{self, comes_back, copied, persistent, reload, stands, turned, write_chunks, DEVICE},
};

pub(crate) const CASES: &[Case] = &[
    case!(a_switchover_swaps_the_roles_and_loses_nothing).smoke().debug(),
    case!(a_switchover_is_refused_unless_both_copies_are_the_same),
    case!(a_switchover_is_refused_while_the_device_is_open),
    case!(ten_switchovers_under_a_file_system_copy_nothing),
    case!(the_new_roles_outlive_reboots_of_both),
];

/// Covers: S81, S211, S212.
fn a_switchover_swaps_the_roles_and_loses_nothing(cluster: &Cluster) -> Result<()> {
    let mirror = persistent(cluster)?;
    let (eve, adam) = cluster.pair();
    let mut workload = Workload::start(eve, DEVICE, Plan::new(211, 4096).count(200))?;
    workload.finish(SOON)?;
    let mut events = eve.events()?;
    let told = adam.ctl("switchover data").ok()?;
    ensure!(told.contains("adam") && told.contains(DEVICE), "{told}");
    eve.sh("test ! -e /dev/netraid0").ok()?;
    ensure!(workload.judge_device(adam, DEVICE)?.good());
    copied(&turned(&mirror), 0, 0)?;
    stands(adam, "source", &["last_owner"])?;
    stands(eve, "target", &[])?;
    let change = events.wait_for("the change", SOON, |event| event["event"] == "role-changed")?;
    ensure!(
        change["mirror"]["role"] == "target" || change["mirror"]["role"] == "stopped",
        "{change}"
    );
    // There already.
    let again = adam.ctl("switchover data").ok()?;
    ensure!(again.contains("already"), "{again}");
    write_chunks(adam, &[1])?;
    mirror.same_disks()
}

/// Covers: S81.
fn a_switchover_is_refused_unless_both_copies_are_the_same(cluster: &Cluster) -> Result<()> {
    let mirror = persistent(cluster)?;
    let (eve, adam) = cluster.pair();
    let unchanged = || -> Result<()> {
        stands(eve, "source", &["last_owner"])?;
        stands(adam, "target", &[])
    };
    eve.ctl("pause data").ok()?;
    refused(adam, "switchover data", &["data"])?;
    unchanged()?;
    eve.ctl("resume data").ok()?;
    mirror.wait("fully-operational")?;
    cluster.cut(eve, adam);
    mirror.wait("out-of-sync")?;
    adam.ctl("wait data --for disconnected").ok()?;
    refused(adam, "switchover data", &["data"])?;
    unchanged()?;
    cluster.restore_links();
    mirror.wait("fully-operational")?;
    // In the middle of a resync.
    let way = cluster.network().way(0, 1);
    way.delay(std::time::Duration::from_millis(250));
    eve.ctl("fullresync data --yes").ok()?;
    adam.ctl("wait data --for resyncing").ok()?;
    refused(adam, "switchover data", &["data"])?;
    stands(eve, "source", &["last_owner"])?;
    cluster.restore_links();
    mirror.wait("fully-operational")?;
    // On the source there is nothing to switch to, out of service neither.
    let here = eve.ctl("switchover data").ok()?;
    ensure!(here.contains("source of mirror data already"), "{here}");
    unchanged()?;
    adam.ctl("stop data").ok()?;
    refused(adam, "switchover data", &["out of service"])
}

/// Covers: S211.
fn a_switchover_is_refused_while_the_device_is_open(cluster: &Cluster) -> Result<()> {
    let mirror = persistent(cluster)?;
    let (eve, adam) = cluster.pair();
    let mut holder = eve
        .sh("exec 3<>/dev/netraid0 && echo open && exec cat /dev/zero > /dev/null")
        .spawn()?;
    ensure!(holder.line(SOON)?.as_deref() == Some("open"));
    refused(adam, "switchover data", &["/dev/netraid0", "in use", "eve"])?;
    mirror.wait("fully-operational")?;
    stands(eve, "source", &["last_owner"])?;
    stands(adam, "target", &[])?;
    // Who has it open goes on.
    write_chunks(eve, &[3])?;
    holder.signal(Signal::SIGKILL)?;
    holder.wait(SOON)?;
    adam.ctl("switchover data").ok()?;
    stands(adam, "source", &["last_owner"])
}

/// Covers: S212.
fn ten_switchovers_under_a_file_system_copy_nothing(cluster: &Cluster) -> Result<()> {
    let mirror = persistent(cluster)?;
    let (eve, adam) = cluster.pair();
    eve.sh(&format!("mkfs.ext4 -q -E nodiscard {DEVICE}")).ok()?;
    let mut order = [eve, adam];
    for round in 0..10 {
        let [from, to]: [&Node; 2] = order;
        from.sh(&format!(
            "mount {DEVICE} /mnt && echo {round} > /mnt/{round} && umount /mnt"
        ))
        .ok()?;
        to.ctl("switchover data").ok()?;
        order = [to, from];
        let now = Mirror {
            source: to,
            target: from,
            disk: "vdb",
        };
        copied(&now, 0, 0).with_context(|| format!("round {round}"))?;
    }
    eve.sh(&format!(
        "fsck.ext4 -fn {DEVICE} && mount {DEVICE} /mnt && ls /mnt | grep -c '^[0-9]$' | grep -qx 10"
    ))
    .ok()?;
    mirror.same_disks()
}

/// Covers: S89, S90, S211.
fn the_new_roles_outlive_reboots_of_both(cluster: &Cluster) -> Result<()> {
    let mirror = persistent(cluster)?;
    let (eve, adam) = cluster.pair();
    adam.ctl("switchover data").ok()?;
    let back = turned(&mirror);
    back.wait("fully-operational")?;
    write_chunks(adam, &[4])?;
    persist::cut_power(cluster)?;
    comes_back(eve)?;
    stands(eve, "target", &[])?;
    comes_back(adam)?;
    stands(adam, "source", &["last_owner"])?;
    back.wait("fully-operational")?;
    ensure!(back.leg()?["resync_full"] == false, "{}", back.leg()?);
    for node in [eve, adam] {
        reload(node)?;
    }
    back.wait("fully-operational")?;
    stands(eve, "target", &[])?;
    stands(adam, "source", &["last_owner"])?;
    back.same_disks()
}
