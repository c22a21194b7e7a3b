// SPDX-License-Identifier: GPL-2.0
//! Disks made of disks by the device mapper: they do on command what real ones do when they break.

use anyhow::Result;
use tests_qemu::Node;

/// A device at `/dev/mapper/<name>`. It outlives this value: the harness removes it.
pub(crate) struct Mapped<'a> {
    node: &'a Node,
    name: &'static str,
}

impl<'a> Mapped<'a> {
    /// Makes it of this table. Targets of any kind can be in it; their modules are loaded.
    #[track_caller]
    pub(crate) fn make(node: &'a Node, name: &'static str, table: &str) -> Result<Self> {
        let kind = table.split(' ').nth(2).unwrap_or_default();
        // There is no udev in the machines, which would make the path.
        node.sh(&format!(
            "set -e; modprobe dm-mod; modprobe -a dm-{kind} 2>/dev/null || true; mkdir -p /dev/mapper
             dmsetup create {name} --table '{table}'
             ln -sfn /dev/dm-$(dmsetup info -c --noheadings -o minor {name}) /dev/mapper/{name}"
        ))
        .ok()?;
        Ok(Self { node, name })
    }

    /// Its name.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Puts another table in the place of the present one; what is under way is finished with whichever it meets.
    #[track_caller]
    pub(crate) fn becomes(&self, table: &str) -> Result<()> {
        let (name, kind) = (self.name, table.split(' ').nth(2).unwrap_or_default());
        self.node
            .sh(&format!(
                "modprobe -a dm-{kind} 2>/dev/null; dmsetup load {name} --table '{table}' &&
                 dmsetup suspend --nolockfs --noflush {name} && dmsetup resume {name}"
            ))
            .ok()?;
        Ok(())
    }

    /// From now on nothing that is asked of it ends, until [`Mapped::goes_on`].
    #[track_caller]
    pub(crate) fn hangs(&self) -> Result<()> {
        self.dmsetup("suspend --nolockfs --noflush")
    }

    /// Takes [`Mapped::hangs`] back.
    #[track_caller]
    pub(crate) fn goes_on(&self) -> Result<()> {
        self.dmsetup("resume")
    }

    /// Sends a message to the target of its table.
    #[track_caller]
    pub(crate) fn message(&self, words: &str) -> Result<()> {
        self.node.command(&["dmsetup", "message", self.name, "0", words]).ok()?;
        Ok(())
    }

    /// Removes it; nobody may use it any more.
    #[track_caller]
    pub(crate) fn remove(self) -> Result<()> {
        self.dmsetup("remove")
    }

    #[track_caller]
    fn dmsetup(&self, words: &str) -> Result<()> {
        self.node.sh(&format!("dmsetup {words} {}", self.name)).ok()?;
        Ok(())
    }
}
