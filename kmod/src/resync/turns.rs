// SPDX-License-Identifier: GPL-2.0

//! The line in which mirrors wait for their turn to be resynchronized; [`netraid_core::turns`] says who is next.

use crate::leg::SourceLeg;
use kernel::{prelude::*, sync::Arc};
use netraid_core::turns::{Turns, DEFAULT};

/// The turns, and the legs that wait, in the order in which they came.
struct Line {
    turns: Turns,
    waiting: KVec<Arc<SourceLeg>>,
}

crate::module_mutex! {
    /// The line of this machine.
    static LINE: Mutex<Line> = Line { turns: Turns::new(DEFAULT), waiting: KVec::new() };
    prepare_line
}

/// Called once, first thing when the module is loaded; `most` mirrors have a turn at a time.
pub(crate) fn prepare(most: u32) {
    prepare_line();
    LINE.lock().turns = Turns::new(most);
}

/// A leg's place in the line. It leaves it when this is dropped.
pub(super) struct Place<'a> {
    leg: &'a Arc<SourceLeg>,
    waits: bool,
}

impl<'a> Place<'a> {
    /// Not in the line.
    pub(super) fn new(leg: &'a Arc<SourceLeg>) -> Self {
        Self { leg, waits: false }
    }

    /// Begins if it is the leg's turn, and lines up otherwise: the thread of its resync is woken when it may be. May
    /// sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: it is not in the line.
    pub(super) fn begin(&mut self) -> Result<Option<Turn<'a>>> {
        let mut line = LINE.lock();
        let before = line.waiting.first();
        let first = before.is_none_or(|before| Arc::ptr_eq(before, self.leg));
        if line.turns.begin(self.leg.mirror_id(), first) {
            self.leave_locked(&mut line);
            // There may be a turn for the next one, too, or it is of the same mirror.
            line.wake();
            return Ok(Some(Turn(self.leg)));
        }
        if !self.waits {
            line.waiting.push(self.leg.clone(), GFP_KERNEL)?;
            self.waits = true;
        }
        Ok(None)
    }

    /// Leaves the line.
    pub(super) fn leave(&mut self) {
        if self.waits {
            let mut line = LINE.lock();
            self.leave_locked(&mut line);
            line.wake();
        }
    }

    fn leave_locked(&mut self, line: &mut Line) {
        if core::mem::take(&mut self.waits) {
            line.waiting.retain(|leg| !Arc::ptr_eq(leg, self.leg));
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// A leg's resync that is at work.
pub(super) struct Turn<'a>(&'a Arc<SourceLeg>);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut line = LINE.lock();
        line.turns.end(self.0.mirror_id());
        line.wake();
    }
}

impl Line {
    /// Has the first one look up.
    fn wake(&self) {
        if let Some(leg) = self.waiting.first() {
            leg.volume.raise_copied(leg.number());
        }
    }
}
