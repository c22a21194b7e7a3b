// SPDX-License-Identifier: GPL-2.0
//! What most tests begin with: a mirror from one machine to another.

use anyhow::{ensure, Context as _, Result};
use serde_json::Value;
use tests_qemu::{Cluster, Node};

/// A mirror called `data` of /dev/vdb, from one machine to another.
pub(crate) struct Mirror<'a> {
    pub(crate) source: &'a Node,
    pub(crate) target: &'a Node,
}

impl<'a> Mirror<'a> {
    /// Made on both machines, not yet extended.
    pub(crate) fn create(source: &'a Node, target: &'a Node) -> Result<Self> {
        source.ctl("create data --disk /dev/vdb").ok()?;
        target.ctl("join data --disk /dev/vdb --yes").ok()?;
        Ok(Self { source, target })
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
        self.source.ctl(&format!("extend data --to {} --yes", self.target.ip())).ok()?;
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

    /// A number of the source's network leg.
    pub(crate) fn count(&self, name: &str) -> Result<u64> {
        let status = self.status()?;
        status["legs"][1][name].as_u64().with_context(|| format!("{name} in {status}"))
    }

    /// Both disks have the same content.
    pub(crate) fn same_disks(&self) -> Result<()> {
        let (one, other) = (self.source.disk("vdb")?, self.target.disk("vdb")?);
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
