// SPDX-License-Identifier: GPL-2.0
//! What most tests begin with: a mirror from one machine to another.

use std::fmt::Display;

use anyhow::{ensure, Context as _, Result};
use serde_json::Value;
use tests_qemu::{patience::LinkTiming, Cluster, Node};

/// Options of `join` and `extend` with which the loss of a link is noticed after a second.
pub(crate) const QUICK: LinkTiming = LinkTiming::new(200, 1000);

/// How the sentence begins that says so.
pub(crate) fn unheard() -> String {
    format!("nothing was heard for {}", QUICK.timeout().as_secs())
}

/// A mirror called `data`, of the same disk on both machines.
pub(crate) struct Mirror<'a> {
    pub(crate) source: &'a Node,
    pub(crate) target: &'a Node,
    /// Name of the disk, `vdb` in most tests.
    pub(crate) disk: &'static str,
}

impl<'a> Mirror<'a> {
    /// Made on both machines, not yet extended.
    pub(crate) fn create(source: &'a Node, target: &'a Node) -> Result<Self> {
        Self::create_on(source, target, "vdb", "", "")
    }

    /// The same on another disk or with more options of `create` and `join`.
    pub(crate) fn create_on(
        source: &'a Node,
        target: &'a Node,
        disk: &'static str,
        create: impl Display,
        join: impl Display,
    ) -> Result<Self> {
        source.ctl(&format!("create data --disk /dev/{disk} {create}")).ok()?;
        target.ctl(&format!("join data --disk /dev/{disk} --yes {join}")).ok()?;
        Ok(Self { source, target, disk })
    }

    /// As [`Mirror::in_sync`], and notices the loss of its link after a second.
    pub(crate) fn quick(cluster: &'a Cluster) -> Result<Self> {
        let (source, target) = cluster.pair();
        let mirror = Self::create_on(source, target, "vdb", "", QUICK)?;
        mirror.extend_with(QUICK)?;
        mirror.wait("fully-operational")?;
        Ok(mirror)
    }

    /// Made, extended, and both copies the same.
    pub(crate) fn in_sync(cluster: &'a Cluster) -> Result<Self> {
        let (source, target) = cluster.pair();
        let mirror = Self::create(source, target)?;
        mirror.extend()?;
        mirror.wait("fully-operational")?;
        Ok(mirror)
    }

    /// Extends it over the first network.
    pub(crate) fn extend(&self) -> Result<()> {
        self.extend_with("")
    }

    /// The same with more options of `extend`.
    pub(crate) fn extend_with(&self, options: impl Display) -> Result<()> {
        let to = self.target.ip();
        self.source
            .ctl(&format!("extend data --to {to} --yes {options}"))
            .ok()?;
        Ok(())
    }

    /// Waits on the source.
    pub(crate) fn wait(&self, state: &str) -> Result<()> {
        self.source.ctl(&format!("wait data --for {state} --timeout 60")).ok()?;
        Ok(())
    }

    /// The source's status.
    pub(crate) fn status(&self) -> Result<Value> {
        status(self.source, "data")
    }

    /// The source's network leg.
    pub(crate) fn leg(&self) -> Result<Value> {
        Ok(self.status()?["legs"][1].clone())
    }

    /// A number of the source's network leg.
    pub(crate) fn count(&self, name: &str) -> Result<u64> {
        let status = self.status()?;
        status["legs"][1][name]
            .as_u64()
            .with_context(|| format!("{name} in {status}"))
    }

    /// Both disks have the same content.
    pub(crate) fn same_disks(&self) -> Result<()> {
        let (one, other) = (self.source.disk(self.disk)?, self.target.disk(self.disk)?);
        let differ = one.differences(other, one.size(), 65536)?;
        ensure!(differ.is_empty(), "these chunks differ: {differ:?}");
        Ok(())
    }
}

/// A mirror in `netraid-ctl status --json`.
pub(crate) fn status(node: &Node, name: &str) -> Result<Value> {
    let status: Value = serde_json::from_str(&node.ctl(&format!("status {name} --json")).ok()?)?;
    Ok(status["mirrors"][0].clone())
}

/// A call of netraid-ctl is refused (exit code 2) with a sentence that has all these parts.
#[track_caller]
pub(crate) fn refused(node: &Node, arguments: &str, parts: &[&str]) -> Result<()> {
    let output = node.ctl(arguments).exits(2)?;
    for part in parts {
        let said = output.stderr.trim_end();
        ensure!(
            said.contains(part),
            "`{arguments}` was to be refused with `{part}`: {said}"
        );
    }
    Ok(())
}
