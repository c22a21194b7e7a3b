// SPDX-License-Identifier: GPL-2.0
//! Verified writes: what was acknowledged is known here, whatever becomes of the machine.

use std::{collections::HashMap, time::Duration};

use anyhow::{bail, ensure, Context as _, Result};
use netraid_guest::blocks::{check, choices, Found, BLOCK};

use crate::{
    acks::{Acks, Run, Verdict},
    disk::Disk,
    node::Node,
    program::Job,
};

/// What the writer is to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Names the run; take another for each.
    pub seed: u64,
    /// First block (of 4096 bytes) to use.
    pub first: u64,
    /// How many blocks to use, at random.
    pub blocks: u64,
    /// Writes in flight.
    pub threads: u64,
    /// End after so many writes; 0 goes on until stopped.
    pub count: u64,
}

impl Plan {
    /// Random writes without end over the first `blocks` blocks, four in flight.
    #[must_use]
    pub fn new(seed: u64, blocks: u64) -> Self {
        Self {
            seed,
            first: 0,
            blocks,
            threads: 4,
            count: 0,
        }
    }

    /// The same with an end after `count` writes.
    #[must_use]
    pub fn count(self, count: u64) -> Self {
        Self { count, ..self }
    }

    /// The same with so many writes in flight.
    #[must_use]
    pub fn threads(self, threads: u64) -> Self {
        Self { threads, ..self }
    }

    /// The same from block `first` on.
    #[must_use]
    pub fn first(self, first: u64) -> Self {
        Self { first, ..self }
    }
}

/// A writer running in a machine. Dropping it kills the writer.
#[derive(Debug)]
pub struct Workload {
    plan: Plan,
    acks: Acks,
    job: Job,
}

impl Workload {
    /// Starts writing to `device` in the machine.
    ///
    /// # Errors
    ///
    /// When the writer cannot be started.
    #[track_caller]
    pub fn start(node: &Node, device: &str, plan: Plan) -> Result<Self> {
        let Plan {
            seed,
            first,
            blocks,
            threads,
            count,
        } = plan;
        let script = format!(
            "netraid-guest write {device} --seed {seed} --first {first} --blocks {blocks} \
             --threads {threads} --count {count}"
        );
        let argv: Vec<&str> = script.split(' ').collect();
        // The machine and its reports are handed from test to test.
        node.acks().forget(seed);
        let job = node.command(&argv).spawn_with(true)?;
        Ok(Self {
            plan,
            acks: node.acks().clone(),
            job,
        })
    }

    /// What was reported so far.
    #[must_use]
    pub fn run(&self) -> Run {
        self.acks.run(self.plan.seed)
    }

    /// Waits until `count` more writes than now are acknowledged.
    ///
    /// # Errors
    ///
    /// When that takes longer than `timeout`.
    pub fn more(&self, count: u64, timeout: Duration) -> Result<()> {
        let wanted = self.run().writes + count;
        self.acks.wait_for(self.plan.seed, timeout, |run| {
            run.writes >= wanted || !run.errors.is_empty()
        })?;
        let run = self.run();
        ensure!(run.writes >= wanted, "the device refused writes: {:?}", run.errors);
        Ok(())
    }

    /// Waits until the writer has come to its end, which must be a good one.
    ///
    /// # Errors
    ///
    /// When it does not within `timeout`, or the device refused a write.
    pub fn finish(&mut self, timeout: Duration) -> Result<Run> {
        let (code, lines) = self.job.wait(timeout)?;
        ensure!(code == 0, "the verified writer failed: {}", lines.join("\n"));
        // The last report can take another way than the news of the end.
        self.acks.wait_for(self.plan.seed, timeout, |run| run.ended)?;
        Ok(self.run())
    }

    /// Kills the writer in the middle of its work and waits for its end.
    ///
    /// # Errors
    ///
    /// When it does not end, for instance because a write hangs.
    pub fn stop(&mut self) -> Result<Run> {
        self.job.signal(nix::sys::signal::Signal::SIGKILL)?;
        self.job
            .wait(Duration::from_secs(30))
            .context("wait for the killed writer")?;
        Ok(self.run())
    }

    /// Reads `device` in a machine and judges it by what was acknowledged.
    ///
    /// # Errors
    ///
    /// When the device cannot be read.
    #[track_caller]
    pub fn judge_device(&self, node: &Node, device: &str) -> Result<Verdict> {
        let Plan {
            seed, first, blocks, ..
        } = self.plan;
        let script = format!("netraid-guest verify {device} --seed {seed} --first {first} --blocks {blocks}");
        let text = node.sh(&script).timeout(Duration::from_secs(120)).ok()?;
        let found: Found = serde_json::from_str(&text).context("parse what the verifier found")?;
        Ok(self.run().judge(&found, self.plan.threads))
    }

    /// After how many of its writes a disk was as this one is, which was written with one write in flight: each was
    /// acknowledged before the next began. The last one may have been on its way.
    ///
    /// # Errors
    ///
    /// When there was no such moment, or the image cannot be read.
    pub fn moment(&self, disk: &Disk) -> Result<u64> {
        let Plan {
            seed, first, blocks, ..
        } = self.plan;
        ensure!(self.plan.threads == 1, "several writes in flight have no order");
        let mut found = Found::default();
        for number in first..first + blocks {
            let block = disk.read(number * BLOCK as u64, BLOCK as u64)?;
            found.add(number, check(&block, seed, number));
        }
        ensure!(found.bad.is_empty(), "not written by this run: {:?}", found.bad);
        let held: HashMap<u64, u64> = found.versions.into_iter().collect();
        let mut then: HashMap<u64, u64> = HashMap::new();
        let mut differ = held.values().filter(|&&version| version != 0).count();
        let begun = self.run().writes + 1;
        let mut writes = choices(seed, 0, blocks);
        for moment in 0..=begun {
            if differ == 0 {
                return Ok(moment);
            }
            let Some(index) = writes.next() else { break };
            let (block, version) = (first + index, then.entry(first + index).or_default());
            let holds = held.get(&block).copied().unwrap_or(0);
            let before = holds != *version;
            *version += 1;
            differ = differ + usize::from(holds != *version) - usize::from(before);
        }
        bail!("after none of {begun} writes a disk was as this one is: {held:?}")
    }

    /// Reads a disk image on the host and judges it by what was acknowledged.
    ///
    /// # Errors
    ///
    /// When the image cannot be read.
    pub fn judge_disk(&self, disk: &Disk) -> Result<Verdict> {
        let mut found = Found::default();
        for number in self.plan.first..self.plan.first + self.plan.blocks {
            let block = disk.read(number * BLOCK as u64, BLOCK as u64)?;
            found.add(number, check(&block, self.plan.seed, number));
        }
        Ok(self.run().judge(&found, self.plan.threads))
    }
}
