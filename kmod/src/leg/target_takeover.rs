// SPDX-License-Identifier: GPL-2.0

//! Changing places, the target's side: the question, and the wait until the source has given way.

use super::{
    link_error::{LinkError, LinkResult},
    target::TargetLeg,
    target_apply::Conn,
};
use crate::sys::misc;
use netraid_core::{
    name::Text,
    wire::{Header, Kind, Reply, ReplyStatus, REPLY_MAX_LEN},
};

/// What came of asking the source to give way.
#[derive(Clone, Copy)]
pub(super) enum Takeover {
    /// Asked, not yet answered.
    Asked,
    /// It gives way; its goodbye follows.
    Granted,
    /// It does not, for this reason.
    Denied(Text),
}

impl TargetLeg {
    /// Asks the source to give way, and waits until it has; at most `ms` milliseconds. May sleep.
    ///
    /// # Errors
    ///
    /// A sentence that says why the source is still the source.
    pub(crate) fn take_over(&self, ms: u64) -> core::result::Result<(), Text> {
        let link = {
            let mut inner = self.inner.lock();
            let serving = inner.serving.as_ref().filter(|_| inner.connected && inner.in_sync);
            let Some(link) = serving.map(|serving| serving.conn.link.clone()) else {
                return Err(Text::truncated(
                    "the mirror is not fully operational; wait until it is, or start it here once its source is gone",
                ));
            };
            inner.takeover = Some(Takeover::Asked);
            link
        };
        if link.send_plain(&Header::new(Kind::Takeover)).is_err() {
            return Err(Text::truncated(
                "the source can't be asked, its connection has just been lost",
            ));
        }
        let until = misc::now_ms().saturating_add(ms);
        loop {
            let (takeover, connected) = {
                let inner = self.inner.lock();
                (inner.takeover, inner.connected)
            };
            match takeover {
                Some(Takeover::Denied(reason)) => return Err(reason),
                Some(Takeover::Granted) if !connected => return Ok(()),
                Some(Takeover::Asked) | None if !connected => {
                    return Err(Text::truncated("the connection was lost before the source answered"));
                }
                _ if misc::now_ms() > until => {
                    return Err(Text::truncated(
                        "the source has not answered in time; look at its kernel log",
                    ));
                }
                _ => {
                    self.answered.wait(200);
                }
            }
        }
    }
}

/// The source answers.
pub(super) fn answered(leg: &TargetLeg, conn: &Conn, header: &Header) -> LinkResult {
    let mut buffer = [0; REPLY_MAX_LEN];
    let reply = Reply::decode(conn.link.read_data(header, &mut buffer)?)?;
    let asked = u8::try_from(header.handle).ok().and_then(Kind::from_number);
    if asked != Some(Kind::Takeover) || leg.inner.lock().takeover.is_none() {
        return Err(LinkError::Unexpected(Kind::Reply));
    }
    leg.inner.lock().takeover = Some(if reply.status == ReplyStatus::Ok {
        Takeover::Granted
    } else {
        Takeover::Denied(reply.reason)
    });
    leg.answered.raise();
    Ok(())
}
