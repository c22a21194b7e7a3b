// SPDX-License-Identifier: GPL-2.0
//! What `netraid-ctl events --json` tells while a test runs.

use std::time::{Duration, Instant};

use anyhow::{bail, Context as _, Result};
use serde_json::Value;

use crate::{node::Node, patience::scaled, program::Job};

/// A subscription to the events of a machine.
#[derive(Debug)]
pub struct Events {
    job: Job,
    seen: Vec<Value>,
    /// How many of those seen a wait has already taken.
    taken: usize,
}

impl Events {
    /// Subscribes. What comes first is the state at that time, then what changes.
    ///
    /// # Errors
    ///
    /// When the program cannot be started.
    #[track_caller]
    pub fn subscribe(node: &Node) -> Result<Self> {
        Ok(Self {
            job: node.ctl("events --json").spawn()?,
            seen: Vec::new(),
            taken: 0,
        })
    }

    /// Everything told so far.
    #[must_use]
    pub fn seen(&self) -> &[Value] {
        &self.seen
    }

    /// Waits for an event for which `wanted` holds, among those no wait has taken yet.
    ///
    /// # Errors
    ///
    /// When none comes within `timeout`; the error shows the last events.
    pub fn wait_for(&mut self, what: &str, timeout: Duration, mut wanted: impl FnMut(&Value) -> bool) -> Result<Value> {
        let until = Instant::now() + scaled(timeout);
        loop {
            while let Some(event) = self.seen.get(self.taken) {
                self.taken += 1;
                if wanted(event) {
                    return Ok(event.clone());
                }
            }
            let line = self.job.line_until(until).with_context(|| {
                let last = self.seen.len().saturating_sub(5);
                let last: Vec<_> = self.seen[last..].iter().map(Value::to_string).collect();
                format!(
                    "wait {timeout:?} for the event: {what}; the last ones: {}",
                    last.join("\n")
                )
            })?;
            let Some(line) = line else {
                bail!("the stream of events ended before: {what}");
            };
            let event = serde_json::from_str(&line).with_context(|| format!("an event is no JSON: {line}"))?;
            self.seen.push(event);
        }
    }
}
