// SPDX-License-Identifier: GPL-2.0

//! Reads of the source from a target's disk: answered by the thread that confirms, as soon as the disk has done them.

use super::{
    link::Data,
    link_error::{LinkError, LinkResult},
    target::TargetLeg,
    target_apply::{Conn, ConnRef},
};
use crate::sys::{
    block::{IoResult, Op, PagedBio, PagedDone},
    sync::Busy,
};
use netraid_core::{
    rescue::{Asked, MOST},
    wire::{features, Header, Kind},
};

/// A read under way on the disk.
pub(super) struct Fetch {
    question: Header,
    conn: Busy<Conn>,
}

/// An answer that waits to be sent; without pages the disk could not read it.
pub(super) struct Answer {
    question: Header,
    pages: Option<PagedBio<Fetch>>,
}

/// The answers of a connection; there is a place for each read that a source may have asked for.
pub(super) struct Answers {
    places: [Option<Answer>; MOST],
    /// Reads that are not answered yet.
    asked: usize,
}

impl Answers {
    pub(super) const fn new() -> Self {
        Self {
            places: [const { None }; MOST],
            asked: 0,
        }
    }
}

/// The source asks for data. Only a copy that is complete has something to give.
pub(super) fn read(leg: &TargetLeg, conn: &ConnRef, question: &Header) -> LinkResult {
    if !conn.link.has(features::READ) || !admit(conn) {
        return Err(LinkError::Unexpected(Kind::Read));
    }
    question.check_bounds(conn.geometry.size())?;
    if !conn.admit(question.span) {
        return Err(LinkError::Closed);
    }
    let in_sync = leg.inner.lock().in_sync;
    let busy = conn.enter().filter(|_| in_sync);
    let Some(busy) = busy else {
        ready(conn, *question, None);
        return Ok(());
    };
    let len = u32::try_from(question.span).unwrap_or(0);
    let pages = conn.fetch_buffer(question.offset, len).map_err(LinkError::Io)?;
    let fetch = Fetch {
        question: *question,
        conn: busy,
    };
    pages.submit(Op::Read, false, false, fetch);
    Ok(())
}

/// Notes a read; false when the source has asked for more than it may.
fn admit(conn: &Conn) -> bool {
    let mut flow = conn.flow.lock();
    let room = flow.answers.asked < MOST;
    if room {
        flow.answers.asked = flow.answers.asked.saturating_add(1);
    }
    room
}

/// Hands an answer to the thread that sends it; any context.
fn ready(conn: &Conn, question: Header, pages: Option<PagedBio<Fetch>>) {
    {
        let mut flow = conn.flow.lock();
        if let Some(place) = flow.answers.places.iter_mut().find(|place| place.is_none()) {
            *place = Some(Answer { question, pages });
        }
    }
    conn.confirmable.raise();
}

impl PagedDone for Fetch {
    fn done(self, pages: PagedBio<Self>, result: IoResult) {
        ready(&self.conn, self.question, result.is_ok().then_some(pages));
    }
}

/// Sends the answers there are; may sleep.
pub(super) fn answer(conn: &Conn) -> LinkResult {
    loop {
        let next = conn.flow.lock().answers.places.iter_mut().find_map(Option::take);
        let Some(Answer { question, pages }) = next else {
            return Ok(());
        };
        match &pages {
            Some(pages) => conn
                .link
                .send(Asked::reply(&question, pages.len()), &Data::Pages(pages))?,
            None => conn.link.send_plain(&Asked::reply(&question, 0))?,
        }
        // The pages go back before the room they took is given to the next.
        drop(pages);
        {
            let mut flow = conn.flow.lock();
            flow.answers.asked = flow.answers.asked.saturating_sub(1);
            flow.leave(question.span);
        }
        conn.room.raise();
    }
}
