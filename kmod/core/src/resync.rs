// SPDX-License-Identifier: GPL-2.0

//! What a resync copies next, and how far it is.
//!
//! The dirty map of the leg is the work list: a chunk is marked until its copy is confirmed on the
//! target. The [`Cursor`] walks the map and names extents of adjacent marked chunks; the caller
//! copies them, several at a time, and clears the marks when the target has confirmed. Since a
//! mark outlives the copying, the cursor goes once through the map and then says [`Step::Wait`]:
//! when all copies under way are confirmed, the marks that are left (failed, or made meanwhile)
//! are the next pass. It ends when no mark is left.

use crate::bitmap::{Bitmap, Next};
use crate::chunk::Geometry;
use crate::units::mul_div;
use core::ops::{DerefMut, Range};

/// Adjacent chunks that are copied together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The chunks; their marks are cleared when all bytes are confirmed.
    pub chunks: Range<u64>,
    /// Where the bytes begin.
    pub offset: u64,
    /// How many there are. More than the limit only where a single chunk is larger than that.
    pub len: u64,
    /// The target may well hold them already: it is a single chunk, which is compared first.
    pub compare: bool,
}

impl Extent {
    /// Offset and length of the piece that begins `done` bytes into the extent and has at most
    /// `max` bytes (at least one sector); `None` where nothing is left.
    #[must_use]
    pub fn piece(&self, done: u64, max: u32) -> Option<(u64, u32)> {
        let left = self.len.checked_sub(done).filter(|&left| left > 0)?;
        let most = max.max(512) & !511;
        let len = u32::try_from(left).unwrap_or(u32::MAX).min(most);
        Some((self.offset.saturating_add(done), len))
    }
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Copy this extent.
    Copy(Extent),
    /// Nothing found within the bound on one scan; call again (after letting go of the lock).
    Continue,
    /// The pass is over and marks are left: wait until the copies under way have ended, then call
    /// again.
    Wait,
    /// No mark is left.
    End,
}

/// A place in the dirty map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    at: u64,
}

impl Cursor {
    /// At the start of the disk.
    #[must_use]
    pub const fn new() -> Self {
        Self { at: 0 }
    }

    /// The chunk at which the next scan begins.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.at
    }

    /// Starts the pass over.
    pub fn rewind(&mut self) {
        self.at = 0;
    }

    /// Looks for the next extent: marked chunks in a row, together at most `max_bytes` (but at
    /// least one chunk), looking at no more than `max_words` words of the map on the way to the
    /// first.
    pub fn next<S: DerefMut<Target = [u64]>>(
        &mut self,
        dirty: &Bitmap<S>,
        geometry: &Geometry,
        max_bytes: u32,
        max_words: usize,
    ) -> Step {
        self.next_with(dirty, |_| false, |_| None, geometry, max_bytes, max_words)
    }

    /// The same; chunks of which `doubtful` says that the target may well hold them already come one by one, to be
    /// compared. Those are left out that are on their way to the target although this cursor has not named them:
    /// `under_way` gives the first chunk after the copy that one belongs to.
    pub fn next_with<S: DerefMut<Target = [u64]>>(
        &mut self,
        dirty: &Bitmap<S>,
        doubtful: impl Fn(u64) -> bool,
        under_way: impl Fn(u64) -> Option<u64>,
        geometry: &Geometry,
        max_bytes: u32,
        max_words: usize,
    ) -> Step {
        if dirty.ones() == 0 {
            self.at = 0;
            return Step::End;
        }
        match dirty.next_one(self.at, max_words) {
            Next::Continue(at) => {
                self.at = at;
                Step::Continue
            }
            Next::End => {
                self.at = 0;
                Step::Wait
            }
            Next::Bit(first) => {
                if let Some(end) = under_way(first) {
                    self.at = end.max(first.saturating_add(1));
                    return Step::Continue;
                }
                let most = u64::from(max_bytes) >> geometry.chunk_shift();
                let compare = doubtful(first);
                let most = if compare { 1 } else { most.max(1) };
                let limit = first.saturating_add(most).min(dirty.bits());
                let mut end = first.saturating_add(1);
                while end < limit && dirty.get(end) && !doubtful(end) && under_way(end).is_none() {
                    end = end.saturating_add(1);
                }
                self.at = end;
                let (offset, len) = geometry.bytes_of_range(first..end);
                Step::Copy(Extent {
                    chunks: first..end,
                    offset,
                    len,
                    compare,
                })
            }
        }
    }
}

/// Whether a copy that is made for one leg brings another one exactly what it needs: the same chunks are marked there
/// (`dirty`), and are to be compared first (`doubtful`) there where they are here (`compare`). Then the disk is read once
/// for both.
#[must_use]
pub fn is_shared<S: DerefMut<Target = [u64]>>(
    dirty: &Bitmap<S>,
    doubtful: impl Fn(u64) -> bool,
    mut chunks: Range<u64>,
    compare: bool,
) -> bool {
    !chunks.is_empty() && chunks.all(|chunk| dirty.get(chunk) && doubtful(chunk) == compare)
}

/// How far a resync is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    total: u64,
    done: u64,
    started_ms: u64,
}

impl Progress {
    /// A resync of `total` bytes that begins now. Times are milliseconds of any clock that does
    /// not go back.
    #[must_use]
    pub const fn start(now_ms: u64, total: u64) -> Self {
        Self {
            total,
            done: 0,
            started_ms: now_ms,
        }
    }

    /// Bytes to be copied in all.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Bytes copied and confirmed.
    #[must_use]
    pub const fn done(&self) -> u64 {
        self.done
    }

    /// So many bytes more were confirmed.
    pub fn add_done(&mut self, bytes: u64) {
        self.done = self.done.saturating_add(bytes);
        // Chunks that were marked again meanwhile are copied twice; the whole grows with them.
        self.total = self.total.max(self.done);
    }

    /// So many bytes more are to be copied.
    pub fn add_total(&mut self, bytes: u64) {
        self.total = self.total.saturating_add(bytes);
    }

    /// Milliseconds since the start.
    #[must_use]
    pub const fn elapsed_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.started_ms)
    }

    /// Whole percent done, 100 only at the end.
    #[must_use]
    pub fn percent(&self) -> u32 {
        if self.done >= self.total {
            return 100;
        }
        u32::try_from(mul_div(self.done, 100, self.total))
            .unwrap_or(100)
            .min(99)
    }

    /// Bytes per second since the start, 0 where no time has passed.
    #[must_use]
    pub const fn bytes_per_second(&self, now_ms: u64) -> u64 {
        let elapsed = self.elapsed_ms(now_ms);
        if elapsed == 0 {
            return 0;
        }
        mul_div(self.done, 1000, elapsed)
    }

    /// Milliseconds until the end at the speed so far; `None` while there is nothing to judge by.
    #[must_use]
    pub fn eta_ms(&self, now_ms: u64) -> Option<u64> {
        eta_ms(self.total, self.done, self.elapsed_ms(now_ms))
    }
}

/// Milliseconds until `total` bytes are done, where `done` took `elapsed_ms`; 0 where all are,
/// `None` while nothing is done.
#[must_use]
pub fn eta_ms(total: u64, done: u64, elapsed_ms: u64) -> Option<u64> {
    let left = total.saturating_sub(done);
    match (left, done) {
        (0, _) => Some(0),
        (_, 0) => None,
        (left, done) => Some(mul_div(left, elapsed_ms, done)),
    }
}
