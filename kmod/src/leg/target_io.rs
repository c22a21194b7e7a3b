// SPDX-License-Identifier: GPL-2.0

//! Writes and flushes that a target's disk is at work on.

use super::target_apply::Conn;
use crate::sys::{
    block::{Done, IoResult, Op, PagedBio, PagedDone},
    sync::{Busy, Guarded},
};
use core::ops::Deref;
use kernel::prelude::*;
use netraid_core::wire::{Ack, Flags, Header};

/// A connection as a request holds it that the disk has begun and not ended.
pub(super) struct Applying(Busy<Conn>);

impl Applying {
    /// The disk is about to begin one.
    ///
    /// # Errors
    ///
    /// `ENODEV` where the connection is being dropped.
    pub(super) fn begin(conn: &Guarded<Conn>) -> Result<Self> {
        let busy = conn.enter().ok_or(ENODEV)?;
        busy.note_begin();
        Ok(Self(busy))
    }
}

impl Deref for Applying {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.0
    }
}

impl Drop for Applying {
    fn drop(&mut self) {
        self.0.note_end();
    }
}

/// Starts a flush of the disk; may sleep.
pub(super) fn flush(conn: &Guarded<Conn>, ack: Ack) -> Result {
    let conn = Applying::begin(conn)?;
    conn.flushes.flush(&conn.lower)?.submit(Flush { ack, conn });
    Ok(())
}

/// Starts a write whose data is in place; may sleep.
pub(super) fn write(conn: &Guarded<Conn>, pages: PagedBio<Write>, header: &Header, ack: Ack) -> Result {
    let conn = Applying::begin(conn)?;
    let (fua, preflush) = (
        header.flags.contains(Flags::FUA),
        header.flags.contains(Flags::PREFLUSH),
    );
    let resync = header.flags.contains(Flags::RESYNC);
    pages.submit(Op::Write, fua, preflush, Write { ack, resync, conn });
    Ok(())
}

/// A write under way.
pub(super) struct Write {
    ack: Ack,
    resync: bool,
    conn: Applying,
}

impl PagedDone for Write {
    fn done(self, pages: PagedBio<Self>, result: IoResult) {
        let bytes = u64::from(pages.len());
        // The pages go back before the room they took is given to the next.
        drop(pages);
        self.conn.settle(self.ack, bytes, self.resync, result);
    }
}

/// A flush under way.
pub(super) struct Flush {
    ack: Ack,
    conn: Applying,
}

impl Done for Flush {
    fn done(self, result: IoResult) {
        self.conn.settle(self.ack, 0, false, result);
    }
}
