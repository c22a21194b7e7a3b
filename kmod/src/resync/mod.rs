// SPDX-License-Identifier: GPL-2.0

//! The resync: copies marked chunks to the target while the application goes on.

use crate::{
    leg::SourceLeg,
    sys::misc,
    volume::{copy_range, Copied},
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

/// The thread's body.
pub(crate) fn run(leg: &Arc<SourceLeg>) {
    while !leg.is_stopping() {
        if leg.is_copying() {
            pass(leg);
        } else {
            leg.volume.copied.wait(NAP_MS);
        }
    }
}

/// Copies until no mark is left or copying is to stop.
fn pass(leg: &SourceLeg) {
    let volume = &leg.volume;
    let mut cursor = Cursor::new();
    let mut reported = misc::now_ms();
    let mut draining = false;
    let mut pace = Pace::new(reported);
    // What failed before this pass is none of its business: its marks are set.
    let _ = volume.copied_so_far();
    while leg.is_copying() {
        let now = misc::now_ms();
        if now.saturating_sub(reported) >= REPORT_MS {
            reported = now;
            leg.report_progress();
        }
        let Copied {
            under_way,
            failed,
            busy,
        } = volume.copied_so_far();
        if failed {
            return lose(leg, DISK_FAILED);
        }
        if under_way >= pace.window() || (draining && under_way > 0) {
            if volume.copied.wait(NAP_MS) {
                pace.observe(busy);
            }
            continue;
        }
        draining = false;
        match volume.next_copy(&mut cursor, COPY_BYTES) {
            Step::Copy(extent) => {
                if let Err(error) = copy(leg, &extent, &mut pace) {
                    let errno = -error.to_errno();
                    return lose_for(leg, errno);
                }
            }
            Step::Continue => {}
            Step::Wait => draining = true,
            Step::End if under_way == 0 => return leg.fire(Event::Clean, None),
            Step::End => draining = true,
        }
    }
}

/// Waits as long as the rate asks for; false when copying is to stop.
fn may_copy(leg: &SourceLeg, bytes: u64, pace: &mut Pace) -> bool {
    while leg.is_copying() {
        let rate = leg.volume.store.with(|sb| sb.resync_rate);
        match pace.take(misc::now_ms(), bytes, rate) {
            0 => return true,
            ms => misc::sleep_ms(u32::try_from(ms).unwrap_or(1000)),
        }
    }
    false
}

fn lose(leg: &SourceLeg, reason: &str) {
    leg.fire(Event::Lost, Some(Text::truncated(reason)));
}

fn lose_for(leg: &SourceLeg, errno: i32) {
    let reason = Text::format(format_args!("a chunk could not be copied (error {errno})"));
    leg.fire(Event::Lost, Some(reason));
}

/// Starts the copies of an extent. One that is larger than a copy, a single large chunk, is done piece after piece;
/// only its last piece clears the mark, and only after all others were confirmed.
fn copy(leg: &SourceLeg, extent: &Extent, pace: &mut Pace) -> Result {
    if extent.len <= u64::from(COPY_BYTES) {
        let len = u32::try_from(extent.len).map_err(|_| EINVAL)?;
        return enter(leg, extent.offset, len, Clears::Covered, pace);
    }
    let mut done = 0;
    while let Some((offset, len)) = extent.piece(done, COPY_BYTES) {
        done += u64::from(len);
        let last = done >= extent.len;
        if last && !settle(leg) {
            return Ok(());
        }
        let clears = if last {
            Clears::Chunk(extent.offset, extent.len)
        } else {
            Clears::Nothing
        };
        enter(leg, offset, len, clears, pace)?;
        if last {
            settle(leg);
        }
    }
    Ok(())
}

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

fn enter(leg: &SourceLeg, offset: u64, len: u32, clears: Clears, pace: &mut Pace) -> Result {
    if !may_copy(leg, u64::from(len), pace) {
        return Ok(());
    }
    while leg.is_copying() {
        if copy_range(&leg.volume, offset, len, clears)? {
            break;
        }
        // The table is full of the application's requests; they come first.
        leg.volume.copied.wait(10);
    }
    Ok(())
}

/// Waits until no copy is under way; false when copying is to stop or a copy failed.
fn settle(leg: &SourceLeg) -> bool {
    while leg.is_copying() {
        let Copied { under_way, failed, .. } = leg.volume.copied_so_far();
        if failed {
            lose(leg, DISK_FAILED);
            return false;
        }
        if under_way == 0 {
            return true;
        }
        leg.volume.copied.wait(NAP_MS);
    }
    false
}
