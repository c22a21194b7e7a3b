// SPDX-License-Identifier: GPL-2.0
//! What a machine is made of.

use std::path::{Path, PathBuf};

use netraid_guest::proto::{Config, Nic, ACK_PORT, MODULES_SERIAL, ROOT_SERIAL, RPC_PORT};

use super::{ClusterSpec, NAMES};
use crate::{
    artifacts::Artifacts,
    clock,
    disk::Disk,
    node::{ipv4, ipv6},
    picture::Begin,
    qemu,
    switch::{hardware_address, Switch},
};

/// Without `no_timer_check` a kernel gives up at boot when the emulated timer is late, as it is on a busy host. With
/// `norandmaps` the emulator finds each program where it was before, and its translation with it: one starts five times as
/// fast.
const KERNEL_OPTIONS: &str = "console=ttyS0 loglevel=5 panic=-1 mitigations=off tsc=reliable no_timer_check \
     random.trust_cpu=on nokaslr norandmaps init_on_alloc=0 8250.nr_uarts=1";
/// Devices that nobody needs, each of which costs the debug kernel some time at boot.
const DEBUG_OPTIONS: &str = " pty.legacy_count=0 nbd.nbds_max=0 brd.rd_nr=0";
/// A thread that is watched for races waits in the middle of what it does for longer than a tick of the clock, so that
/// another one comes to run meanwhile even where all processors share a thread.
const RACES_OPTIONS: &str = " kcsan.udelay_task=5000 kcsan.skip_watch=20000";

/// What the agent in machine `index` is told.
pub(super) fn config(artifacts: &Artifacts, spec: &ClusterSpec, index: usize, disks: &[Disk], begin: &Begin) -> Config {
    let nics = (0..spec.networks).map(|net| Nic {
        name: format!("eth{net}"),
        mac: hardware_address(net, index),
        mtu: spec.mtu,
        addresses: vec![format!("{}/24", ipv4(net, index)), format!("{}/64", ipv6(net, index))],
    });
    let machines = NAMES.iter().enumerate().take(spec.machines.len());
    Config {
        hostname: NAMES[index].to_owned(),
        machine_id: format!("7e7a1d{:026x}", index + 1),
        kver: artifacts.kver.clone(),
        modules: Vec::new(),
        nics: nics.collect(),
        disks: disks.iter().map(|disk| disk.name().to_owned()).collect(),
        hosts: machines
            .map(|(node, name)| format!("{} {name}", ipv4(0, node)))
            .collect(),
        waits: matches!(begin, Begin::Pose(_)),
    }
}

/// An idle processor looks for work instead of sleeping.
const MEASURED_OPTIONS: &str = " idle=poll";

fn kernel_options(artifacts: &Artifacts, measured: bool) -> String {
    let speed = clock::tsc_khz().map(|khz| format!(" tsc_early_khz={khz}"));
    let more = if artifacts.debug { DEBUG_OPTIONS } else { "" };
    let races = if artifacts.races { RACES_OPTIONS } else { "" };
    let awake = if measured { MEASURED_OPTIONS } else { "" };
    format!("{KERNEL_OPTIONS}{more}{races}{awake}{}", speed.unwrap_or_default())
}

/// QEMU's options for machine `index`, whose files are in `dir`.
pub(super) fn options(
    artifacts: &Artifacts,
    spec: &ClusterSpec,
    index: usize,
    dir: &Path,
    disks: &[Disk],
    images: &[PathBuf; 2],
    switches: &[Switch],
) -> Vec<String> {
    let mut options: Vec<String> = Vec::new();
    let mut add = |words: &[&str]| options.extend(words.iter().map(|&word| word.to_owned()));
    add(&["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    let (processors, memory) = spec.complete(artifacts);
    add(qemu::accelerator(processors, spec.measured));
    add(&["-smp", &processors.to_string(), "-m", &memory.to_string()]);
    add(&[
        "-kernel",
        &artifacts.vmlinux.display().to_string(),
        "-append",
        &kernel_options(artifacts, spec.measured),
    ]);
    // The disks get a thread of their own, beside the one of the emulated processors.
    add(&["-object", "iothread,id=io"]);
    // Without an event descriptor QEMU passes a line on before the kernel that sent it goes on: what the verified writer
    // has reported is known here, even if the machine is killed with the next write under way.
    add(&["-device", "virtio-serial-pci,ioeventfd=off"]);
    for (name, port) in [("rpc", RPC_PORT), ("ack", ACK_PORT)] {
        let chardev = format!("socket,id={name},path={}", dir.join(name).display());
        add(&["-chardev", &chardev]);
        add(&["-device", &format!("virtserialport,chardev={name},name={port}")]);
    }
    // The root may be written; what is written goes with the machine.
    let image = |serial: &str, path: &Path, how: &str| {
        let path = path.display();
        let drive = format!("if=none,id={serial},file={path},format=raw,cache=unsafe,{how}");
        let device = format!("virtio-blk-pci,drive={serial},serial={serial},iothread=io");
        ["-drive".to_owned(), drive, "-device".to_owned(), device]
    };
    options.extend(image(ROOT_SERIAL, &images[0], "snapshot=on"));
    // The kernel names disks in the order in which they stand here.
    for disk in disks {
        options.extend(disk.options());
    }
    options.extend(image(MODULES_SERIAL, &images[1], "read-only=on"));
    for (net, switch) in switches.iter().enumerate() {
        let id = format!("net{net}");
        let mac = hardware_address(net, index);
        let device = format!("virtio-net-pci,netdev={id},mac={mac},host_mtu={},romfile=", spec.mtu);
        options.extend(["-netdev".into(), switch.netdev(index, &id), "-device".into(), device]);
    }
    options
}
