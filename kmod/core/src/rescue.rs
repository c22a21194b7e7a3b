// SPDX-License-Identifier: GPL-2.0

//! Reads that the local disk failed, and that the target serves.
//!
//! ```text
//!  local disk fails ─► waits ─► asks the target ─┬─► data: the read ends well ─► the local disk is repaired ─► over
//!                        │ no leg that is in step └─► none, or the connection ends ─┐
//!                        └──────────────────────────────────────────────────────────┴─► the read ends with the error
//! ```
//!
//! From the question to the end of the repair such a read is among the requests in flight
//! ([`Inflight`](crate::inflight::Inflight)), as a write is. So it is not asked for before an earlier write of the same
//! bytes is on both disks, and no later write begins before the repair is over: what is repaired is never older than
//! what it replaces. Nothing has to be marked, since a repair makes the disk hold what both held.

use crate::wire::{Header, Kind};

/// Reads that a source may have asked for and not got an answer to. Each answer takes memory for its data on both
/// sides, at most that of the largest message.
pub const MOST: usize = 16;

/// How often something of one kind is written to the log, milliseconds.
const LOG_MS: u64 = 5000;

/// How the leg stands when a read is about to be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Writes go to the target.
    pub live: bool,
    /// The target was told on this connection that it misses nothing, and has noted it.
    pub in_step: bool,
    /// Both sides know how to ask and to answer.
    pub known: bool,
    /// Some chunk of the range may differ.
    pub marked: bool,
}

impl Standing {
    /// Whether the target certainly holds what the local disk should give.
    #[must_use]
    pub const fn may_ask(&self) -> bool {
        self.live && self.in_step && self.known && !self.marked
    }
}

/// A read that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Names it in its answer.
    pub handle: u32,
    /// Its sequence number.
    pub seq: u64,
    /// First byte on the device.
    pub offset: u64,
    /// Number of bytes.
    pub len: u64,
}

/// What an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The data follows.
    Data,
    /// The target could not read it either.
    Failed,
    /// It answers something else: the other side breaks the protocol.
    Unexpected,
}

impl Asked {
    /// The question.
    #[must_use]
    pub const fn header(&self) -> Header {
        Header {
            handle: self.handle,
            seq: self.seq,
            offset: self.offset,
            span: self.len,
            ..Header::new(Kind::Read)
        }
    }

    /// The answer to a question, of which `len` bytes of data are a part: all of them or none.
    #[must_use]
    pub const fn reply(question: &Header, len: u32) -> Header {
        Header {
            len,
            handle: question.handle,
            seq: question.seq,
            offset: question.offset,
            span: question.span,
            ..Header::new(Kind::ReadReply)
        }
    }

    /// What a message is to this question.
    #[must_use]
    pub fn answer(&self, header: &Header) -> Answer {
        let same = header.kind == Kind::ReadReply
            && header.handle == self.handle
            && header.seq == self.seq
            && header.offset == self.offset
            && header.span == self.len;
        match u64::from(header.len) {
            _ if !same => Answer::Unexpected,
            0 => Answer::Failed,
            len if len == self.len => Answer::Data,
            _ => Answer::Unexpected,
        }
    }
}

/// Keeps a log readable when the same happens over and over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quiet {
    /// When something was last let through.
    at_ms: Option<u64>,
    kept: u64,
}

impl Quiet {
    /// Nothing has happened yet.
    pub const NEW: Self = Self { at_ms: None, kept: 0 };

    /// Something happened: how many before it were not told, where it is to be told; `now_ms` is any clock that goes
    /// forward.
    pub fn tell(&mut self, now_ms: u64) -> Option<u64> {
        let early = self.at_ms.is_some_and(|at| now_ms.saturating_sub(at) < LOG_MS);
        if early {
            self.kept = self.kept.saturating_add(1);
            return None;
        }
        self.at_ms = Some(now_ms);
        Some(core::mem::take(&mut self.kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_leg_in_every_respect_in_step_is_asked() {
        for bits in 0u8..16 {
            let standing = Standing {
                live: bits & 1 != 0,
                in_step: bits & 2 != 0,
                known: bits & 4 != 0,
                marked: bits & 8 != 0,
            };
            assert_eq!(standing.may_ask(), bits == 7, "{standing:?}");
        }
    }

    const ASKED: Asked = Asked {
        handle: 3,
        seq: 77,
        offset: 1 << 20,
        len: 4096,
    };

    #[test]
    fn question_and_answer_pass_the_rules_of_the_wire() {
        let question = Header::decode(&ASKED.header().encode()).unwrap();
        assert_eq!(question, ASKED.header());
        for (len, answer) in [(4096, Answer::Data), (0, Answer::Failed)] {
            let reply = Asked::reply(&question, len);
            assert_eq!(Header::decode(&reply.encode()), Ok(reply));
            assert_eq!(ASKED.answer(&reply), answer);
        }
    }

    #[test]
    fn an_answer_to_something_else_is_none() {
        let good = Asked::reply(&ASKED.header(), 4096);
        let wrong: [fn(&mut Header); 7] = [
            |header| header.kind = Kind::Write,
            |header| header.handle = 4,
            |header| header.seq = 78,
            |header| header.offset += 512,
            |header| header.span = 512,
            |header| header.len = 512,
            |header| header.len = 8192,
        ];
        for change in wrong {
            let mut header = good;
            change(&mut header);
            assert_eq!(ASKED.answer(&header), Answer::Unexpected, "{header:?}");
        }
    }

    #[test]
    fn a_log_is_told_the_first_and_then_how_many_were_left_out() {
        let mut quiet = Quiet::default();
        assert_eq!(quiet.tell(0), Some(0));
        assert_eq!(quiet.tell(1), None);
        assert_eq!(quiet.tell(LOG_MS - 1), None);
        assert_eq!(quiet.tell(LOG_MS), Some(2));
        assert_eq!(quiet.tell(LOG_MS + 1), None);
        assert_eq!(quiet.tell(3 * LOG_MS), Some(1));
        // A clock that goes back lets nothing through, and breaks nothing.
        assert_eq!(quiet.tell(0), None);
    }
}
