// SPDX-License-Identifier: GPL-2.0
//! Tells what goes on: lines on standard output, and bars on a terminal.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::progress::seconds;

const TICK: Duration = Duration::from_millis(120);

/// The running story.
pub(super) struct Story {
    began: Instant,
    terminal: bool,
}

impl Story {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            terminal: std::io::stderr().is_terminal(),
        }
    }

    /// Time since the story began.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// One sentence, with the time it was told at.
    pub(super) fn tell(&self, sentence: &str) {
        println!("{:>6.1} s  {sentence}", self.elapsed().as_secs_f64());
    }

    /// Does something that takes a while; `what` says what while it runs, the sentence it returns what came of it.
    pub(super) fn step<T>(&self, what: &str, work: impl FnOnce(&ProgressBar) -> Result<(T, String)>) -> Result<T> {
        let bar = self.bar("{spinner} {msg} ({elapsed})");
        bar.set_message(what.to_owned());
        let began = Instant::now();
        let outcome = work(&bar);
        bar.finish_and_clear();
        let (value, sentence) = outcome?;
        self.tell(&format!("{sentence} ({})", seconds(began.elapsed())));
        Ok(value)
    }

    /// A bar of bytes for `what`; set its length when that is known.
    pub(super) fn bytes(&self, what: &str) -> ProgressBar {
        let bar = self.bar("{spinner} {msg:<28} [{bar:30}] {bytes:>11} of {total_bytes}  {bytes_per_sec}  {eta} left");
        bar.set_message(what.to_owned());
        bar
    }

    fn bar(&self, template: &str) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(Some(0), self.target());
        // The templates are constants; if one were wrong the default style is as good.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        if self.terminal {
            bar.enable_steady_tick(TICK);
        }
        bar
    }

    fn target(&self) -> ProgressDrawTarget {
        if self.terminal {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        }
    }
}
