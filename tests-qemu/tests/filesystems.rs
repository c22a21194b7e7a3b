// SPDX-License-Identifier: GPL-2.0
//! File systems on a mirror: what they wrote is whole on the target, also after the source died.

use anyhow::{ensure, Context as _, Result};
use tests_qemu::{Cluster, Node};

use crate::{
    harness::{case, Case, SOON},
    mirror::QUICK,
};

pub(crate) const CASES: &[Case] = &[
    case!(file_systems_are_clean_on_the_target),
    case!(files_made_durable_survive_the_loss_of_the_source).smoke(),
    case!(a_file_system_trims_and_punches_on_both_sides),
];

/// A file system and where it lives.
struct Kind {
    name: &'static str,
    disk: &'static str,
    port: u16,
    id: u8,
    make: &'static str,
    check: &'static str,
    /// What the kernel says when it replays the journal.
    replayed: &'static str,
}

const KINDS: [Kind; 2] = [
    Kind {
        name: "ext4",
        disk: "vdb",
        port: 7900,
        id: 0,
        make: "mkfs.ext4 -q",
        check: "e2fsck -fn",
        replayed: "recovery complete",
    },
    Kind {
        name: "xfs",
        disk: "vdc",
        port: 7901,
        id: 1,
        // It wants 300 MiB otherwise, which take long to mirror.
        make: "mkfs.xfs -q --unsupported",
        check: "xfs_repair -n",
        replayed: "Ending recovery",
    },
];

impl Kind {
    fn device(&self) -> String {
        format!("/dev/netraid{}", self.id)
    }

    /// Mirrors the disk, makes the file system and mounts it.
    fn mounted(&self, source: &Node, target: &Node) -> Result<()> {
        let Self {
            name,
            disk,
            port,
            id,
            make,
            ..
        } = self;
        source
            .ctl(&format!("create {name} --disk /dev/{disk} --id {id}"))
            .ok()?;
        target
            .ctl(&format!(
                "join {name} --disk /dev/{disk} --id {id} --yes --listen [::]:{port} {QUICK}"
            ))
            .ok()?;
        let to = target.ip();
        source
            .ctl(&format!("extend {name} --to {to}:{port} --yes {QUICK}"))
            .ok()?;
        let device = self.device();
        source
            .sh(&format!(
                "{make} {device} && mkdir -p /mnt/{name} && mount {device} /mnt/{name}"
            ))
            .timeout(2 * SOON)
            .ok()?;
        source
            .ctl(&format!("wait {name} --for fully-operational --timeout 90"))
            .timeout(3 * SOON)
            .ok()?;
        Ok(())
    }
}

/// Covers: S4, S5, S16.
fn file_systems_are_clean_on_the_target(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    for kind in &KINDS {
        let (name, device) = (kind.name, kind.device());
        kind.mounted(eve, adam)?;
        let script = format!(
            "cp -r /etc /mnt/{name}/ && cd /mnt/{name} && rm -r etc/[a-c]* && \
             find . -type f | sort | xargs sha256sum | sha256sum && cd / && umount /mnt/{name}"
        );
        let sums = eve.sh(&script).timeout(2 * SOON).ok()?;
        eve.ctl(&format!("stop {name}")).ok()?;
        adam.ctl(&format!("promote {name}")).ok()?;
        adam.sh(&format!("{} {device}", kind.check)).timeout(2 * SOON).ok()?;
        let script = format!(
            "mkdir -p /mnt/{name} && mount {device} /mnt/{name} && cd /mnt/{name} && \
             find . -type f | sort | xargs sha256sum | sha256sum"
        );
        let found = adam.sh(&script).timeout(2 * SOON).ok()?;
        ensure!(found == sums, "{name}: the files differ");
    }
    Ok(())
}

/// Writes files, makes each durable, and tells its number then.
const WRITER: &str = r#"
    perl -MIO::Handle -e '
        $| = 1;
        for my $number (1 .. 1000) {
            open my $file, ">", "/mnt/KIND/$number" or die $!;
            print $file "$number\n" x 2000;
            $file->flush or die $!;
            $file->sync or die $!;
            close $file or die $!;
            print "$number\n";
        }'
"#;

/// Tells the numbers of the files that are whole.
const READER: &str = r#"
    cd /mnt/KIND && perl -e '
        local $/;
        for my $number (glob "*") {
            next unless $number =~ /^\d+$/;
            open my $file, "<", $number or die $!;
            print "$number\n" if <$file> eq "$number\n" x 2000;
        }'
"#;

/// Covers: S4, S5, S36.
fn files_made_durable_survive_the_loss_of_the_source(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let mut writers = Vec::new();
    for kind in &KINDS {
        kind.mounted(eve, adam)?;
    }
    for kind in &KINDS {
        writers.push(eve.sh(&WRITER.replace("KIND", kind.name)).spawn()?);
    }
    let mut durable = Vec::new();
    for writer in &mut writers {
        let mut numbers = Vec::new();
        while numbers.len() < 20 {
            let line = writer.line(SOON)?.context("the writer ended")?;
            numbers.push(line);
        }
        durable.push(numbers);
    }
    eve.kill9()?;
    // What it still had told before it died.
    for (writer, numbers) in writers.iter_mut().zip(&mut durable) {
        while let Ok(Some(line)) = writer.line(SOON) {
            numbers.push(line);
        }
    }
    for (kind, numbers) in KINDS.iter().zip(durable) {
        let (name, device) = (kind.name, kind.device());
        adam.ctl(&format!("promote {name} --wait 30")).timeout(2 * SOON).ok()?;
        adam.sh(&format!("mkdir -p /mnt/{name} && mount {device} /mnt/{name}"))
            .ok()?;
        let said = adam.sh("dmesg").ok()?;
        ensure!(said.contains(kind.replayed), "{name}: no journal was replayed");
        let whole = adam.sh(&READER.replace("KIND", name)).ok()?;
        let whole: Vec<_> = whole.lines().collect();
        for number in &numbers {
            ensure!(
                whole.contains(&number.as_str()),
                "{name}: file {number} was durable on the source and is not whole on the target; {} of {} are",
                whole.len(),
                numbers.len()
            );
        }
        adam.sh(&format!("umount /mnt/{name} && {} {device}", kind.check))
            .timeout(2 * SOON)
            .ok()?;
    }
    Ok(())
}

/// Covers: S4, S5.
fn a_file_system_trims_and_punches_on_both_sides(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let kind = &KINDS[0];
    kind.mounted(eve, adam)?;
    eve.sh("cd /mnt/ext4 && head -c 8M /dev/urandom > gone && head -c 8M /dev/urandom > kept && sync")
        .ok()?;
    let full = filled(adam)?;
    eve.sh("cd /mnt/ext4 && rm gone && fallocate -p -o 1M -l 2M kept && sync && fstrim /mnt/ext4")
        .ok()?;
    let sum = eve.sh("cd / && sha256sum < /mnt/ext4/kept && umount /mnt/ext4").ok()?;
    let rest = filled(adam)?;
    ensure!(
        rest + 150 < full,
        "{full} chunks of the target were filled before, {rest} after"
    );
    ensure!(eve
        .disk("vdb")?
        .differences(adam.disk("vdb")?, 64 << 20, 65536)?
        .is_empty());
    eve.ctl("stop ext4").ok()?;
    adam.ctl("promote ext4").ok()?;
    let found = adam.sh("mkdir -p /mnt/ext4 && mount /dev/netraid0 /mnt/ext4 && sha256sum < /mnt/ext4/kept");
    ensure!(found.ok()? == sum);
    Ok(())
}

/// How many chunks of the disk hold anything but zeroes.
fn filled(node: &Node) -> Result<usize> {
    let bytes = node.disk("vdb")?.read(0, 64 << 20)?;
    Ok(bytes
        .chunks(65536)
        .filter(|chunk| chunk.iter().any(|&byte| byte != 0))
        .count())
}
