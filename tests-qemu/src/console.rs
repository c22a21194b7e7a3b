// SPDX-License-Identifier: GPL-2.0
//! What the kernel of a machine said.

use std::{fs, path::Path};

/// Words that never appear on the console of a healthy machine.
const COMPLAINTS: [&str; 38] = [
    "WARNING:",
    "BUG:",
    "BUG at",
    "Oops",
    "kernel panic",
    "Kernel panic",
    "general protection",
    "possible circular locking",
    "possible recursive locking",
    "possible deadlock",
    "inconsistent lock state",
    "irq lock inversion",
    "bad unlock balance",
    "held lock freed",
    "still has locks held",
    "lock held when returning",
    "Invalid wait context",
    "suspicious RCU usage",
    "sleeping function called",
    "scheduling while atomic",
    "blocked for more than",
    "detected stall",
    "self-detected stall",
    "lockup",
    "KASAN",
    "KCSAN",
    "UBSAN",
    "ODEBUG",
    "list_add corruption",
    "list_del corruption",
    "refcount_t",
    "unreferenced object",
    "suspected memory leaks",
    "leak detector disabled",
    "locking correctness validator",
    "lockdep is turned off",
    "Call Trace",
    "panicked at",
];

/// Complaints of the emulator, not of the kernel: under load on the host a virtual processor
/// can be late for the clock's watchdog.
const HARMLESS: [&str; 1] = ["clocksource: "];

/// Begins a report of a data race.
const RACE: &str = "BUG: KCSAN:";
/// Ends it.
const RACE_END: &str = "==================";

/// Whether one of the two accesses that race is the module's own. The kernel has races of its own, known and harmless,
/// and some of them are reached through the module.
fn races_here(report: &[&str]) -> bool {
    let accesses = report.windows(2).filter(|pair| pair[0].contains(" bytes by "));
    accesses.map(|pair| pair[1]).any(|frame| frame.contains("[netraid]"))
}

/// The complaints in a piece of console output, each with the lines that follow it.
#[must_use]
pub fn complaints(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        if line.contains(RACE) {
            let length = lines[at..].iter().position(|line| line.contains(RACE_END));
            let report = &lines[at..length.map_or(lines.len(), |length| at + length)];
            if races_here(report) {
                found.push(report.join("\n"));
            }
            at += report.len().max(1);
            continue;
        }
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
    fn races_of_the_kernel_with_itself_are_its_own_affair() {
        let report = |frame: &str| {
            format!(
                "==================================================================\n\
                 BUG: KCSAN: data-race in one / other\n\n\
                 write to 0xffff88800a0b0c18 of 8 bytes by task 71 on cpu 0:\n {frame}\n kthread+0x1/0x2\n\n\
                 read to 0xffff88800a0b0c18 of 8 bytes by task 72 on cpu 1:\n other+0x1/0x2\n send+0x3/0x4 [netraid]\n\n\
                 Reported by Kernel Concurrency Sanitizer on:\nCPU: 0 Comm: netraid_send\n\
                 ==================================================================\n[ 9.0] fine\n"
            )
        };
        assert!(complaints(&report("one+0x5/0x6")).is_empty());
        let found = complaints(&report("one+0x5/0x6 [netraid]"));
        assert!(found.len() == 1 && !found[0].contains("fine"), "{found:?}");
    }

    #[test]
    fn what_a_debug_kernel_reports_is_a_complaint() {
        for line in [
            "WARNING: possible circular locking dependency detected",
            "WARNING: possible recursive locking detected",
            "WARNING: inconsistent lock state",
            "WARNING: suspicious RCU usage",
            "WARNING: bad unlock balance detected!",
            "[ BUG: Invalid wait context ]",
            "BUG: sleeping function called from invalid context at mm/slab.h:401",
            "BUG: scheduling while atomic: netraid_desk/77/0x00000002",
            "BUG: KASAN: slab-use-after-free in netraid_free+0x12/0x40 [netraid]",
            "INFO: task netraid_send:99 blocked for more than 61 seconds.",
            "rcu: INFO: rcu_preempt self-detected stall on CPU",
            "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
            "watchdog: BUG: soft lockup - CPU#1 stuck for 22s!",
            "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
            "unreferenced object 0xffff888003b9c000 (size 512):",
            "kmemleak: Kernel memory leak detector disabled",
            "UBSAN: shift-out-of-bounds in block/bio.c:1:2",
            "list_del corruption. prev->next should be ffff8880, but was 0",
            "refcount_t: underflow; use-after-free.",
            "ODEBUG: free active (active state 0) object: ffff8880 object type: timer_list",
            "rust_kernel: panicked at kmod/src/volume/map.rs:7:9:",
            "INFO: lockdep is turned off.",
            "turning off the locking correctness validator.",
        ] {
            assert_eq!(complaints(&format!("[ 1.0] fine\n[ 2.0] {line}\n")).len(), 1, "{line}");
        }
    }

    #[test]
    fn a_debug_kernel_that_starts_complains_of_nothing() {
        for line in [
            "Lock dependency validator: Copyright (c) 2006 Red Hat, Inc., Ingo Molnar",
            "kasan: KernelAddressSanitizer initialized (generic)",
            "kmemleak: Kernel memory leak detector initialized (mem pool available: 15762)",
            "rcu: \tRCU lockdep checking is enabled.",
            "Running RCU self tests",
        ] {
            assert!(complaints(line).is_empty(), "{line}");
        }
    }

    #[test]
    fn ordinary_messages_are_no_complaint() {
        assert!(complaints("[ 1.0] netraid: mirror vol: leg 1 connected\n").is_empty());
        assert!(complaints("clocksource: WARNING: tsc read-back delay\n").is_empty());
    }
}
