// SPDX-License-Identifier: GPL-2.0

//! Events: numbered without a gap, each with the mirror as it was right after.

use super::{encode, mirror::Mirror, registry};
use crate::{
    leg::Report,
    sys::{
        bind as uapi,
        genl::{Message, Writer},
        misc,
    },
};
use kernel::prelude::*;
use netraid_core::name::{Name, Text};

crate::module_mutex! {
    /// The number of the last event. Held while an event is sent, so that they leave in order.
    static LAST: Mutex<u64> = 0;
    prepare_lock
}

/// See [`prepare_lock`].
pub(crate) fn prepare_events() {
    prepare_lock();
}

/// The number of the last event.
pub(super) fn last() -> u64 {
    *LAST.lock()
}

/// Tells the listeners what happened to a mirror. May sleep; no lock of a mirror or a leg may be held.
pub(super) fn tell(mirror: &Mirror, kind: u32, leg_id: Option<u32>, reason: &Text) {
    let mut last = LAST.lock();
    let seq = last.wrapping_add(1);
    // Without memory the event is lost; those who listen notice the gap with the next one.
    let Ok(view) = mirror.view() else { return };
    let sent = send(seq, kind, leg_id, reason, |msg| encode::mirror(msg, mirror, &view, seq));
    if sent.is_ok() {
        *last = seq;
    }
}

/// Tells the listeners that a mirror is gone.
pub(super) fn tell_deleted(id: u32, name: &Name) {
    let mut last = LAST.lock();
    let seq = last.wrapping_add(1);
    let kind = uapi::NETRAID_EVENT_KIND_MIRROR_DELETED;
    let sent = send(seq, kind, None, &Text::EMPTY, |msg| {
        msg.text(uapi::NETRAID_A_MIRROR_NAME, name.as_str())?;
        msg.u32(uapi::NETRAID_A_MIRROR_ID, id)
    });
    if sent.is_ok() {
        *last = seq;
    }
}

fn send(
    seq: u64,
    kind: u32,
    leg_id: Option<u32>,
    reason: &Text,
    mirror: impl FnOnce(&mut Message) -> Result,
) -> Result {
    Message::multicast(uapi::NETRAID_CMD_EVENT, 0, |msg| {
        msg.uint(uapi::NETRAID_A_EVENT_SEQ, seq)?;
        msg.u32(uapi::NETRAID_A_EVENT_KIND, kind)?;
        msg.uint(uapi::NETRAID_A_EVENT_TIME_MS, misc::wall_ms())?;
        msg.nest(uapi::NETRAID_A_EVENT_MIRROR, mirror)?;
        if let Some(leg_id) = leg_id {
            msg.u32(uapi::NETRAID_A_EVENT_LEG_ID, leg_id)?;
        }
        if !reason.is_empty() {
            msg.text(uapi::NETRAID_A_EVENT_REASON, reason.as_str())?;
        }
        Ok(())
    })
}

/// What legs report to, see [`crate::leg::Observer`].
pub(super) fn observe(mirror_id: u32, leg_id: u32, report: Report) {
    let Some(mirror) = registry::by_id(mirror_id) else {
        return;
    };
    let (kind, reason) = match report {
        Report::Changed(reason) => (uapi::NETRAID_EVENT_KIND_LEG_CHANGED, reason),
        Report::Progress => (uapi::NETRAID_EVENT_KIND_RESYNC_PROGRESS, Text::EMPTY),
        Report::Done => (uapi::NETRAID_EVENT_KIND_RESYNC_DONE, Text::EMPTY),
        Report::Refused(reason) => (uapi::NETRAID_EVENT_KIND_REFUSED, reason),
        Report::Standing(reason) => (uapi::NETRAID_EVENT_KIND_STANDING_CHANGED, reason),
    };
    if !reason.is_empty() {
        mirror.log_rarely(&reason);
    }
    tell(&mirror, kind, Some(leg_id), &reason);
}
