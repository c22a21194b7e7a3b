// SPDX-License-Identifier: GPL-2.0
//! Requests to the kernel past netraid-ctl, which finds many faults before it asks: what the
//! kernel says then is its own refusal.

use anyhow::{ensure, Context as _, Result};
use serde::Deserialize;
use serde_json::{json, Value};
use tests_qemu::Node;

const PROGRAM: &str = include_str!("bypass.py");
const PLACE: &str = "/tmp/bypass.py";

/// The answer to one request.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    /// The error number, 0 where the kernel obeyed.
    pub(crate) errno: i32,
    /// What it said.
    pub(crate) sentence: Option<String>,
}

impl Answer {
    /// The request was refused with this number, in a sentence with all of `parts`.
    pub(crate) fn is_refusal(&self, errno: i32, parts: &[&str]) -> Result<()> {
        let sentence = self.sentence.as_deref().unwrap_or_default();
        ensure!(
            self.errno == errno && parts.iter().all(|part| sentence.contains(part)),
            "expected error {errno} in a sentence with {parts:?}, got {self:?}"
        );
        Ok(())
    }
}

/// Sends requests, each an operation and its attributes, and returns their answers.
pub(crate) fn ask(node: &Node, requests: &[(&str, Value)]) -> Result<Vec<Answer>> {
    node.write_file(PLACE, PROGRAM.as_bytes(), 0o644)?;
    let lines = requests.iter().map(|request| json!(request).to_string() + "\n");
    let text = node
        .command(&["python3", PLACE])
        .stdin(lines.collect::<String>())
        .ok()?;
    let answers: Result<Vec<Answer>, _> = text.lines().map(serde_json::from_str).collect();
    let answers = answers.with_context(|| format!("parse what {PLACE} printed: {text}"))?;
    ensure!(
        answers.len() == requests.len(),
        "{} answers to {requests:?}",
        answers.len()
    );
    Ok(answers)
}

/// The attributes of a new source.
pub(crate) fn source(name: &str, disk: &str) -> Value {
    json!({"name": name, "disk": disk, "role": "source"})
}

/// The attributes of a new target that listens on every address.
pub(crate) fn target(name: &str, disk: &str, port: u16) -> Value {
    json!({"name": name, "disk": disk, "role": "target", "address": "00000000", "port": port})
}
