// SPDX-License-Identifier: GPL-2.0
//! A bar for those who wait for a resync: on the terminal's stderr, nowhere else.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::model::{Leg, Mirror, Resync};
use crate::output::text::bytes;

/// The bar of a resync; does nothing where stderr is no terminal.
#[derive(Debug)]
pub struct Progress {
    visible: bool,
    bar: Option<ProgressBar>,
    last: Option<Resync>,
}

impl Progress {
    /// A bar that is drawn when `visible`.
    #[must_use]
    pub const fn new(visible: bool) -> Self {
        Self {
            visible,
            bar: None,
            last: None,
        }
    }

    /// Shows how far the resync of a mirror is, and nothing while none runs.
    pub fn show(&mut self, mirror: &Mirror) {
        if !self.visible {
            return;
        }
        let Some(resync) = mirror.legs.iter().find_map(Leg::resync) else {
            self.clear();
            return;
        };
        let bar = self.bar.get_or_insert_with(|| draw(&mirror.name));
        // The extent and the words are drawn together with the position.
        bar.update(|state| {
            state.set_len(resync.total);
            state.set_pos(resync.done);
        });
        bar.set_message(figures(&resync, self.last.as_ref()));
        self.last = Some(resync);
    }

    /// Takes the bar away.
    pub fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.last = None;
    }
}

fn draw(name: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} [{bar:20}] {percent}% {msg}");
    let style = style
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ");
    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
        .with_style(style)
        .with_prefix(format!("resync of {name}"))
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
