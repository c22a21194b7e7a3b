// SPDX-License-Identifier: GPL-2.0

//! Comparing on the target: a chunk that may well be the same is read here, and its digest says whether it is.
//!
//! The source holds the range meanwhile, so that nothing is written to it. The read ends in an interrupt, where there is
//! no time for a digest; the thread for what takes long does that.

use super::{
    link_error::{LinkError, LinkResult},
    target::TargetLeg,
    target_apply::{Conn, ConnRef},
};
use crate::sys::{
    block::{IoResult, Op, PagedBio, PagedDone},
    sync::Busy,
};
use netraid_core::wire::{Ack, AckStatus, Header, DIGEST_LEN};

/// A read under way.
pub(super) struct Reading {
    digest: [u8; DIGEST_LEN],
    ack: Ack,
    conn: Busy<Conn>,
}

/// What was read, and what it is to be.
pub(super) struct Compared {
    pages: PagedBio<Reading>,
    digest: [u8; DIGEST_LEN],
    ack: Ack,
}

/// Starts to compare; the request is admitted. May sleep.
pub(super) fn start(conn: &ConnRef, header: &Header, ack: Ack) -> LinkResult {
    let mut digest = [0; DIGEST_LEN];
    conn.link.read_exact(header, &mut digest)?;
    // A message of this kind is never longer than one with data.
    let len = u32::try_from(header.span).map_err(|_| LinkError::Unexpected(header.kind))?;
    let pages = PagedBio::new(&conn.reads, &conn.pool, &conn.lower, header.offset, len).map_err(LinkError::Io)?;
    let busy = conn.enter().ok_or(LinkError::Closed)?;
    pages.submit(
        Op::Read,
        false,
        false,
        Reading {
            digest,
            ack,
            conn: busy,
        },
    );
    Ok(())
}

impl PagedDone for Reading {
    fn done(self, pages: PagedBio<Self>, result: IoResult) {
        let bytes = u64::from(pages.len());
        if result.is_err() {
            drop(pages);
            return self.conn.settle(self.ack, bytes, true, result);
        }
        let compared = Compared {
            pages,
            digest: self.digest,
            ack: self.ack,
        };
        // There is a place for each request admitted; what finds none goes back when this function ends.
        let _room = self.conn.flow.lock().compared.push_within_capacity(compared);
        self.conn.slow.raise();
    }
}

/// Finishes one that was read; false where there is none. May sleep.
pub(super) fn finish(leg: &TargetLeg, conn: &Conn) -> bool {
    let Some(compared) = conn.flow.lock().compared.pop() else {
        return false;
    };
    let Compared { pages, digest, ack } = compared;
    let bytes = u64::from(pages.len());
    let same = pages.digest() == digest;
    // The pages go back before the room they took is given to the next.
    drop(pages);
    let status = if same { AckStatus::Ok } else { AckStatus::Differs };
    if same {
        leg.count_equal(bytes);
    }
    conn.answer(Ack { status, ..ack }, bytes);
    true
}
