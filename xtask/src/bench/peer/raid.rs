// SPDX-License-Identifier: GPL-2.0
//! The kernel's RAID 1 over a local disk and one that is reached over TCP.

use super::{until, Family, Kind, Peer, Sides, SOURCE, TARGET};

const DEVICE: &str = "/dev/md0";

/// How the disk of the other side is reached.
struct Way {
    family: Family,
    /// The disk as the source sees it.
    disk: &'static str,
    export: String,
    withdraw: &'static str,
    sides: Option<Sides>,
}

/// NVMe over TCP: the kernel's target and its initiator. The work of both is done by workers that belong to nobody.
fn nvme() -> Way {
    let disk = "/dev/nvme0n1";
    let ready = until(&format!("[ -b {disk} ]"));
    Way {
        family: Family::RaidNvme,
        disk,
        export: format!(
            "modprobe nvmet-tcp; modprobe nvme-tcp; \
             mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config; \
             cd /sys/kernel/config/nvmet; mkdir -p subsystems/bench/namespaces/1 ports/1; \
             echo 1 > subsystems/bench/attr_allow_any_host; \
             echo {TARGET} > subsystems/bench/namespaces/1/device_path; echo 1 > subsystems/bench/namespaces/1/enable; \
             echo tcp > ports/1/addr_trtype; echo ipv4 > ports/1/addr_adrfam; echo 127.0.0.1 > ports/1/addr_traddr; \
             echo 4420 > ports/1/addr_trsvcid; ln -s $PWD/subsystems/bench ports/1/subsystems/bench; cd /; \
             nvme connect --transport=tcp --nqn=bench --traddr=127.0.0.1 --trsvcid=4420; {ready}"
        ),
        withdraw: "nvme disconnect --nqn=bench; cd /sys/kernel/config/nvmet; rm -f ports/1/subsystems/bench; \
             rmdir ports/1 subsystems/bench/namespaces/1 subsystems/bench; cd /; ! [ -e /dev/nvme0n1 ]",
        sides: None,
    }
}

/// The network block device: the kernel's client and a server that is a program.
fn nbd() -> Way {
    let listening = until("ss -Hltn sport = :10809 | grep -q .");
    Way {
        family: Family::RaidNbd,
        disk: "/dev/nbd0",
        export: format!(
            "modprobe nbd nbds_max=1; \
             printf '[generic]\\nallowlist = true\\n[bench]\\nexportname = {TARGET}\\n' > /run/bench-nbd.conf; \
             nbd-server -C /run/bench-nbd.conf -p /run/bench-nbd.pid; {listening}; \
             nbd-client 127.0.0.1 10809 /dev/nbd0 -N bench"
        ),
        withdraw: "nbd-client -d /dev/nbd0; kill $(cat /run/bench-nbd.pid); \
             until rmmod nbd; do sleep 0.1; done; \
             while ss -Hltn sport = :10809 | grep -q .; do sleep 0.02; done; ! [ -e /sys/module/nbd ]",
        sides: Some(Sides {
            source: &["md0_raid1", "md0_resync"],
            target: &["nbd-server"],
        }),
    }
}

fn raid(name: &'static str, kind: Kind, way: &Way) -> Peer {
    let disk = way.disk;
    let behind = if kind == Kind::Async { "--write-behind=256" } else { "" };
    // The array is made in step with the first copy under way; mdadm waits for the one it sees.
    let in_step = "until [ \"$(cat /sys/block/md0/md/degraded)\" = 0 ] && \
         [ \"$(cat /sys/block/md0/md/sync_action)\" = idle ]; do mdadm --wait /dev/md0; done";
    Peer {
        name,
        family: way.family,
        kind,
        device: DEVICE,
        set_up: format!(
            "set -e; modprobe raid1; for l in min max; do echo 4000000 > /proc/sys/dev/raid/speed_limit_$l; done; \
             {}; wipefs -aq {SOURCE} {disk}",
            way.export
        ),
        copy: Some(format!(
            "mdadm --create {DEVICE} --run --level=1 --raid-devices=2 --bitmap=internal --metadata=1.2 {behind} \
             {SOURCE} --write-mostly {disk} && {in_step}"
        )),
        part: Some(format!(
            "mdadm {DEVICE} --fail {disk} && {}",
            until(&format!("mdadm {DEVICE} --remove {disk}"))
        )),
        rejoin: Some(format!("mdadm {DEVICE} --re-add {disk} && {in_step}")),
        tear_down: format!("mdadm --stop {DEVICE}; wipefs -aq {SOURCE} {disk}; {}", way.withdraw),
        sides: way.sides,
    }
}

/// One disk, with the bitmap that a second one would be brought up to date by.
pub(super) fn local() -> Peer {
    Peer {
        name: "md raid1 local",
        family: Family::Raid,
        kind: Kind::Local,
        device: DEVICE,
        set_up: format!(
            "modprobe raid1; wipefs -aq {SOURCE}; mdadm --create {DEVICE} --run --level=1 --raid-devices=2 \
             --bitmap=internal --metadata=1.2 {SOURCE} missing"
        ),
        copy: None,
        part: None,
        rejoin: None,
        tear_down: format!("mdadm --stop {DEVICE}; wipefs -aq {SOURCE}"),
        sides: None,
    }
}

pub(super) fn all() -> Vec<Peer> {
    let (nvme, nbd) = (nvme(), nbd());
    vec![
        raid("md raid1 + NVMe/TCP", Kind::Sync, &nvme),
        raid("md raid1 + NVMe/TCP, write-behind", Kind::Async, &nvme),
        raid("md raid1 + nbd", Kind::Sync, &nbd),
        raid("md raid1 + nbd, write-behind", Kind::Async, &nbd),
    ]
}
