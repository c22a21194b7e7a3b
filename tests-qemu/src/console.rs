// SPDX-License-Identifier: GPL-2.0
//! What the kernel of a machine said.

use std::{fs, path::Path};

/// Words that never appear on the console of a healthy machine.
const COMPLAINTS: [&str; 19] = [
    "WARNING:",
    "BUG:",
    "BUG at",
    "Oops",
    "kernel panic",
    "Kernel panic",
    "general protection",
    "possible circular locking",
    "possible recursive locking",
    "inconsistent lock state",
    "suspicious RCU usage",
    "blocked for more than",
    "detected stall",
    "self-detected stall",
    "KASAN",
    "refcount_t",
    "unreferenced object",
    "Call Trace",
    "rust_kernel: panicked",
];

/// Complaints of the emulator, not of the kernel: under load on the host a virtual processor
/// can be late for the clock's watchdog.
const HARMLESS: [&str; 1] = ["clocksource: "];

/// The complaints in a piece of console output, each with the lines that follow it.
#[must_use]
pub fn complaints(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        let bad = COMPLAINTS.iter().any(|word| line.contains(word));
        if bad && !HARMLESS.iter().any(|word| line.contains(word)) {
            // The lines before say what the machine was doing, those after where.
            let end = (at + 40).min(lines.len());
            found.push(lines[at.saturating_sub(3)..end].join("\n"));
            at = end;
        } else {
            at += 1;
        }
    }
    found
}

/// The text of a console log; bytes that are no text are shown as such.
#[must_use]
pub fn read(path: &Path) -> String {
    // A machine that never started has no console yet.
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).replace('\r', "")
}

/// The last `count` lines of a console log.
#[must_use]
pub fn tail(path: &Path, count: usize) -> String {
    let text = read(path);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_a_complaint_and_comes_with_its_trace() {
        let text = "[ 1.0] fine\n[ 2.0] WARNING: CPU: 0 at x.c:1\n[ 2.0] Call Trace:\n[ 2.0] f\n";
        let found = complaints(text);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("fine") && found[0].ends_with('f'));
    }

    #[test]
    fn ordinary_messages_are_no_complaint() {
        assert!(complaints("[ 1.0] netraid: mirror vol: leg 1 connected\n").is_empty());
        assert!(complaints("clocksource: WARNING: tsc read-back delay\n").is_empty());
    }
}
