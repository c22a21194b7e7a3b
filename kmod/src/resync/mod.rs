// SPDX-License-Identifier: GPL-2.0

//! The resync: copies marked chunks to the target while the application goes on. Its thread, idle on a leg that is in
//! step, is also the one that gives up a leg that can't keep up, as the sender may be stuck in the socket then, and that
//! tells what happened to the local disk, which happens where nobody can be told.

mod turns;

pub(crate) use turns::prepare as prepare_turns;

use turns::Place;

use crate::{
    leg::{Link, SourceLeg},
    sys::misc,
    volume::{copy_part, Copied, CopyPart},
};
use kernel::{prelude::*, sync::Arc};
use netraid_core::{
    leg::Event,
    name::Text,
    pace::Pace,
    resync::{Cursor, Extent, Step},
};

/// Bytes of one copy: large enough that its cost is the data's, small enough that a write to the same place does not
/// wait for long.
const COPY_BYTES: u32 = 256 << 10;

/// Why a resync is given up for now.
const DISK_FAILED: &str = "the local disk failed a read or a write; look at the kernel log";

/// How often the thread looks up when nothing wakes it.
const NAP_MS: u32 = 500;

/// How often the listeners are told of the progress.
const REPORT_MS: u64 = 1000;

/// Which marks the confirmation of a copy clears.
#[derive(Clone, Copy)]
pub(crate) enum Clears {
    /// Those of the chunks the copy covers.
    Covered,
    /// Those of a range whose other parts were confirmed before: offset and length.
    Chunk(u64, u64),
    /// None.
    Nothing,
}

/// The thread's body.
pub(crate) fn run(leg: &Arc<SourceLeg>) {
    let mut place = Place::new(leg);
    while !leg.is_stopping() {
        leg.look_around();
        let Some(link) = leg.copying_over() else {
            place.leave();
            leg.volume.wait_copied(leg.number(), NAP_MS);
            continue;
        };
        match place.begin() {
            Ok(Some(turn)) => {
                leg.has_turn();
                Pass::new(leg, link).run();
                drop(turn);
            }
            Ok(None) => {
                leg.waits_for_turn();
                leg.volume.wait_copied(leg.number(), NAP_MS);
            }
            // No memory for a place in the line.
            Err(_) => {
                leg.volume.wait_copied(leg.number(), NAP_MS);
            }
        }
    }
}

/// The copying of what is marked over one connection. What it says of that means nothing for the next one.
struct Pass<'a> {
    leg: &'a SourceLeg,
    link: Arc<Link>,
    pace: Pace,
    reported: u64,
}

impl<'a> Pass<'a> {
    fn new(leg: &'a SourceLeg, link: Arc<Link>) -> Self {
        let now = misc::now_ms();
        Self {
            leg,
            link,
            pace: Pace::new(now),
            reported: now,
        }
    }

    fn goes_on(&self) -> bool {
        self.leg.is_copying_over(&self.link)
    }

    /// Copies until no mark is left or copying is to stop.
    fn run(mut self) {
        // What failed before this pass is none of its business: its marks are set.
        self.copied_so_far();
        self.copy_all();
        // What other legs' copies would bring is none of theirs any more.
        self.leg.volume.copied_so_far(self.leg.number(), 0);
    }

    /// Small ones count for what they are: what is compared comes chunk by chunk.
    fn window(&self) -> u64 {
        u64::from(self.pace.window()).saturating_mul(u64::from(COPY_BYTES))
    }

    fn copied_so_far(&mut self) -> Copied {
        let copied = self.leg.volume.copied_so_far(self.leg.number(), self.window());
        self.pace.charge(copied.shared_bytes);
        copied
    }

    fn copy_all(&mut self) {
        let (volume, leg) = (&self.leg.volume, self.leg.number());
        let mut cursor = Cursor::new();
        let mut draining = false;
        while self.goes_on() {
            self.report();
            let Copied {
                under_way,
                bytes,
                failed,
                busy,
                ..
            } = self.copied_so_far();
            if failed {
                return self.lose(Text::truncated(DISK_FAILED));
            }
            if bytes >= self.window() || (draining && under_way > 0) {
                if volume.wait_copied(leg, NAP_MS) {
                    self.pace.observe(busy);
                }
                continue;
            }
            draining = false;
            match volume.next_copy(leg, &mut cursor, COPY_BYTES) {
                Step::Copy(extent) => {
                    if let Err(error) = self.copy(&extent) {
                        let errno = -error.to_errno();
                        return self.lose(Text::format(format_args!(
                            "a chunk could not be copied (error {errno})"
                        )));
                    }
                }
                Step::Continue => {}
                Step::Wait => draining = true,
                Step::End if under_way == 0 => return self.leg.fire_on(&self.link, Event::Clean, None),
                Step::End => draining = true,
            }
        }
    }

    fn report(&mut self) {
        let now = misc::now_ms();
        if now.saturating_sub(self.reported) >= REPORT_MS {
            self.reported = now;
            self.leg.report_progress();
        }
    }

    /// Waits as long as the rate asks for; false when copying is to stop.
    fn may_copy(&mut self, bytes: u64) -> bool {
        while self.goes_on() {
            let rate = self.leg.volume.store.with(|sb| sb.resync_rate);
            match self.pace.take(misc::now_ms(), bytes, rate) {
                0 => return true,
                ms => misc::sleep_ms(u32::try_from(ms).unwrap_or(1000)),
            }
        }
        false
    }

    fn lose(&self, reason: Text) {
        self.leg.fire_on(&self.link, Event::Lost, Some(reason));
    }

    /// Starts the copies of an extent. One that is larger than a copy, a single large chunk, is done piece after piece;
    /// only its last piece clears the mark, and only after all others were confirmed.
    fn copy(&mut self, extent: &Extent) -> Result {
        if extent.len <= u64::from(COPY_BYTES) {
            let len = u32::try_from(extent.len).map_err(|_| EINVAL)?;
            return self.enter(extent.offset, len, extent.compare, Clears::Covered);
        }
        let mut done = 0;
        while let Some((offset, len)) = extent.piece(done, COPY_BYTES) {
            done += u64::from(len);
            let last = done >= extent.len;
            if last && !self.settle() {
                return Ok(());
            }
            let clears = if last {
                Clears::Chunk(extent.offset, extent.len)
            } else {
                Clears::Nothing
            };
            self.enter(offset, len, extent.compare, clears)?;
            if last {
                self.settle();
            }
        }
        Ok(())
    }

    fn enter(&mut self, offset: u64, len: u32, compare: bool, clears: Clears) -> Result {
        if !self.may_copy(u64::from(len)) {
            return Ok(());
        }
        while self.goes_on() {
            let part = CopyPart {
                leg: self.leg.number(),
                offset,
                len,
                compare,
                clears,
            };
            if copy_part(&self.leg.volume, part)? {
                break;
            }
            // The table is full of the application's requests; they come first.
            self.leg.volume.wait_copied(self.leg.number(), 10);
        }
        Ok(())
    }

    /// Waits until no copy is under way; false when copying is to stop or a copy failed.
    fn settle(&mut self) -> bool {
        while self.goes_on() {
            let Copied { under_way, failed, .. } = self.copied_so_far();
            if failed {
                self.lose(Text::truncated(DISK_FAILED));
                return false;
            }
            if under_way == 0 {
                return true;
            }
            self.leg.volume.wait_copied(self.leg.number(), NAP_MS);
        }
        false
    }
}
