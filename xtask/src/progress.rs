// SPDX-License-Identifier: GPL-2.0
//! Shows what goes on: a spinner for each running step on a terminal, plain lines elsewhere; what each step cost.

use std::io::IsTerminal as _;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{anyhow, Result};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The running steps of one command. Steps may run in several threads at once.
pub struct Progress {
    bars: MultiProgress,
    terminal: bool,
}

impl Progress {
    /// Shows on standard error, so that standard output stays free for results.
    #[must_use]
    pub fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        Self {
            bars: MultiProgress::with_draw_target(target),
            terminal,
        }
    }

    /// Runs `work` as a step: announces `what`, and says afterwards how long it took.
    ///
    /// # Errors
    ///
    /// Whatever `work` fails with.
    pub fn step<T>(&self, what: &str, work: impl FnOnce(&Step) -> Result<T>) -> Result<T> {
        let step = Step { bar: self.bar(what) };
        if !self.terminal {
            eprintln!("[    ] {what}");
        }
        let begin = Instant::now();
        let result = work(&step);
        step.bar.finish_and_clear();
        let mark = if result.is_ok() { " ok " } else { "FAIL" };
        self.line(&format!("[{mark}] {what} ({})", seconds(begin.elapsed())));
        result
    }

    /// Prints a line above the running steps.
    pub fn line(&self, text: &str) {
        if self.terminal {
            self.bars.suspend(|| eprintln!("{text}"));
        } else {
            eprintln!("{text}");
        }
    }

    fn bar(&self, what: &str) -> ProgressBar {
        let bar = self.bars.add(ProgressBar::new_spinner());
        // The template is a constant; if it were wrong the default style is as good.
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} ({elapsed}) {wide_msg:.dim}") {
            bar.set_style(style);
        }
        bar.set_prefix(what.to_owned());
        if self.terminal {
            bar.enable_steady_tick(Duration::from_millis(120));
        }
        bar
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

/// One running step.
pub struct Step {
    bar: ProgressBar,
}

impl Step {
    /// Shows beside the step what it is busy with; only on a terminal.
    pub fn say(&self, text: &str) {
        self.bar.set_message(text.trim().to_owned());
    }

    /// A step nobody sees, for commands that belong to no step.
    #[must_use]
    pub fn silent() -> Self {
        Self {
            bar: ProgressBar::hidden(),
        }
    }
}

/// The result of a thread that was started for a part of the work.
///
/// # Errors
///
/// The thread's own; and when it panicked, which the program shows by itself.
pub fn joined<T>(result: thread::Result<Result<T>>) -> Result<T> {
    result.unwrap_or_else(|_| Err(anyhow!("a part of the work broke off; its message is above")))
}

/// Time as people read it: `0.4 s`, `52 s`, `1 min 16 s`.
#[must_use]
pub fn seconds(time: Duration) -> String {
    let whole = time.as_secs();
    match whole {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{whole} s"),
        _ => format!("{} min {} s", whole / 60, whole % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::{seconds, Duration};

    #[test]
    fn time_is_readable() {
        assert_eq!(seconds(Duration::from_millis(430)), "0.4 s");
        assert_eq!(seconds(Duration::from_secs(52)), "52 s");
        assert_eq!(seconds(Duration::from_secs(76)), "1 min 16 s");
    }
}
