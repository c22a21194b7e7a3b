// SPDX-License-Identifier: GPL-2.0

//! What a source's leg has to see by itself, since nobody can tell it: the data path decides it under its lock.

use super::source::SourceLeg;
use netraid_core::{
    leg::{Event, State},
    name::Text,
};

impl SourceLeg {
    /// Looks after all of it; the copying thread does, which is woken for that. May sleep.
    pub(crate) fn look_around(&self) {
        self.look_for_congestion();
        self.look_for_disk();
        for news in self.volume.take_news().into_iter().flatten() {
            self.report_standing(news);
        }
    }

    /// Gives the leg up for a while if it can't keep up and its operator wants that.
    fn look_for_congestion(&self) {
        // What is all there is is waited for.
        if self.volume.take_congested(self.number()) && !self.volume.is_disk_gone() {
            self.fire(Event::Congested, None);
        }
    }

    /// A resync whose end was not sent before the local disk was given up does not end any more.
    fn look_for_disk(&self) {
        let finishing = || self.inner.lock().machine.state() == State::Finishing;
        if self.volume.is_disk_gone() && finishing() && self.volume.is_cut_off(self.number()) {
            let reason = "the disk of this machine was given up before the target had all of it; put another one in with `netraid-ctl attach`";
            self.fire(Event::Lost, Some(Text::truncated(reason)));
        }
    }
}
