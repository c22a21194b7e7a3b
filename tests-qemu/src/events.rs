// SPDX-License-Identifier: GPL-2.0
//! What `netraid-ctl events --json` tells while a test runs.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{node::Node, patience::scaled, program::Job};

/// How long a program may take to begin.
const FIRST: Duration = Duration::from_secs(30);

/// A subscription to the events of a machine.
#[derive(Debug)]
pub struct Events {
    job: Job,
    seen: Vec<Value>,
    /// How many of those seen a wait has already taken.
    taken: usize,
}

impl Events {
    /// Subscribes. What comes first is the state at that time, then what changes from now on.
    ///
    /// # Errors
    ///
    /// When the program cannot be started or tells nothing.
    #[track_caller]
    pub fn subscribe(node: &Node) -> Result<Self> {
        let mut events = Self {
            job: node.ctl("events --json").spawn()?,
            seen: Vec::new(),
            taken: 0,
        };
        // Whatever happens before it has subscribed is in its first line.
        events.next(Instant::now() + scaled(FIRST))?;
        Ok(events)
    }

    /// Waits for one more event.
    fn next(&mut self, until: Instant) -> Result<()> {
        let line = self.job.line_until(until)?;
        let line = line.context("the stream of events has ended")?;
        let event = serde_json::from_str(&line).with_context(|| format!("an event is no JSON: {line}"))?;
        self.seen.push(event);
        Ok(())
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
            self.next(until).with_context(|| {
                let last = self.seen.len().saturating_sub(5);
                let last: Vec<_> = self.seen[last..].iter().map(Value::to_string).collect();
                format!(
                    "wait {timeout:?} for the event: {what}; the last ones: {}",
                    last.join("\n")
                )
            })?;
        }
    }

    /// Waits for an event whose reason has all these words in it.
    ///
    /// # Errors
    ///
    /// As [`Events::wait_for`].
    pub fn wait_for_reason(&mut self, words: &[&str], timeout: Duration) -> Result<Value> {
        self.wait_for(&words.join(" ... "), timeout, |event| {
            let reason = event["reason"].as_str().unwrap_or_default();
            words.iter().all(|word| reason.contains(word))
        })
    }
}
