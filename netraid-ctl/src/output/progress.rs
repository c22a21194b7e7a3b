// SPDX-License-Identifier: GPL-2.0
//! A bar for those who wait for a resync: on the terminal's stderr, nowhere else.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::model::{Leg, Mirror, Resync};
use crate::output::text::bytes;

/// The bar of a resync; does nothing where stderr is no terminal.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    shown: bool,
    last: Option<Resync>,
}

impl Progress {
    /// A bar that is drawn when `visible`.
    #[must_use]
    pub fn new(visible: bool) -> Self {
        let bar = visible.then(|| {
            let bar = ProgressBar::with_draw_target(Some(100), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{prefix} [{bar:20}] {percent}% {msg}");
            bar.set_style(
                style
                    .unwrap_or_else(|_| ProgressStyle::default_bar())
                    .progress_chars("=> "),
            );
            bar
        });
        Self {
            bar,
            shown: false,
            last: None,
        }
    }

    /// Shows how far the resync of a mirror is, and nothing while none runs.
    pub fn show(&mut self, mirror: &Mirror) {
        let Some(bar) = &self.bar else { return };
        match mirror.legs.iter().find_map(Leg::resync) {
            Some(resync) => {
                bar.set_prefix(format!("resync of {}", mirror.name));
                bar.set_length(resync.total);
                bar.set_message(figures(&resync, self.last.as_ref()));
                bar.set_position(resync.done);
                self.shown = true;
                self.last = Some(resync);
            }
            None => self.clear(),
        }
    }

    /// Takes the bar away.
    pub fn clear(&mut self) {
        if let (Some(bar), true) = (&self.bar, self.shown) {
            bar.finish_and_clear();
            bar.reset();
            self.shown = false;
        }
        self.last = None;
    }
}

/// Done and total, speed, and the time left at that speed.
#[must_use]
pub fn figures(resync: &Resync, earlier: Option<&Resync>) -> String {
    let speed = resync.speed_since(earlier);
    let amount = format!(
        "{} of {}, {}K/sec",
        bytes(resync.done),
        bytes(resync.total),
        speed / 1024
    );
    match resync.total.saturating_sub(resync.done).checked_div(speed) {
        Some(seconds) => format!("{amount}, {} left", time(Duration::from_secs(seconds))),
        None => amount,
    }
}

/// A duration as `1:05` or `2:00:07`.
fn time(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}
