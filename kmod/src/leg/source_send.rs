// SPDX-License-Identifier: GPL-2.0

//! The sending thread of a source's leg: writes, heartbeats, and an eye on what stays unconfirmed.

use super::{
    link::{Data, Link},
    link_error::{LinkError, LinkResult},
    source::SourceLeg,
};
use crate::volume::{Courier, Outgoing, Payload};
use kernel::sync::Arc;
use netraid_core::{
    leg::{Event, State},
    meta::PeerFlags,
    name::Text,
    wire::{Header, Kind},
};

/// The thread's body.
pub(super) fn run(leg: &Arc<SourceLeg>) {
    let tick = leg.config.timing.tick_ms();
    while !leg.is_stopping() {
        let woken = leg.volume.wait_outgoing(leg.number(), tick);
        // First: what is taken out for this connection must not go to the link of another.
        let connection = leg.volume.connection(leg.number());
        let link = leg.connected();
        if let Some(mut turn) = leg.volume.turn(leg.number()) {
            match &link {
                Some(link) => turn.connect(connection, || link.clone()),
                None => turn.disconnect(),
            }
        }
        let Some(link) = link else { continue };
        if let Err(reason) = work(leg, &link, connection, woken) {
            leg.fire_on(&link, Event::Lost, Some(reason));
        }
        if leg.volume.connection(leg.number()) != connection {
            // There may be something for the next one already.
            leg.volume.raise_outgoing(leg.number());
        }
    }
    if let Some(mut turn) = leg.volume.turn(leg.number()) {
        turn.disconnect();
    }
}

fn lost(error: LinkError) -> Text {
    Text::format(format_args!("sending to the target failed: {error}"))
}

fn work(leg: &SourceLeg, link: &Arc<Link>, connection: u64, woken: bool) -> Result<(), Text> {
    let mut kept = false;
    let mut sent = None;
    let mut turn = leg.volume.turn(leg.number());
    if let Some(reason) = turn.as_mut().and_then(|turn| turn.take_failure()) {
        return Err(reason);
    }
    while let Some(outgoing) = leg.volume.next_outgoing(leg.number(), connection, sent.take()) {
        if let Some(given) = outgoing.ends_resync {
            if core::mem::take(&mut kept) {
                link.push();
            }
            together(leg, given)?;
        }
        kept = outgoing.more;
        if let Err(error) = send(link, &outgoing) {
            // The pages go back in any case; they are marked when the connection is given up.
            leg.volume.sent(leg.number(), outgoing);
            return Err(lost(error));
        }
        sent = Some(outgoing);
    }
    if kept {
        link.push();
    }
    drop(turn);
    if leg.volume.is_drained(leg.number()) && leg.inner.lock().machine.state() == State::Pausing {
        leg.fire_on(link, Event::Drained, None);
    }
    // Whatever it was woken for, the other side may have heard nothing of it.
    if link.wants_heartbeat() {
        link.send_plain(&Header::new(Kind::Ping)).map_err(lost)?;
    }
    if woken {
        return Ok(());
    }
    let stalled = leg.volume.stalled_ms(leg.number());
    if stalled > leg.confirm_ms() {
        return Err(Text::format(format_args!(
            "the target has confirmed nothing for {stalled} ms; look at its disk and its kernel log"
        )));
    }
    Ok(())
}

/// At the end of a resync both have the same generation. On record before the target is told; where another generation
/// began meanwhile, that is the record.
fn together(leg: &SourceLeg, given: u64) -> Result<(), Text> {
    let changed = leg.volume.store.change(|sb| {
        let same = sb.current == given;
        if let Some(peer) = leg.note(sb).filter(|_| same) {
            peer.base = 0;
            peer.flags.set(PeerFlags::FOLLOWING, false);
        }
    });
    changed.map_err(|error| {
        let errno = -error.to_errno();
        Text::format(format_args!(
            "the metadata can't be written (error {errno}); look at the disk it is on"
        ))
    })
}

impl Courier for Link {
    fn has_room(&self, bytes: u32) -> bool {
        self.takes(bytes)
    }

    fn send(&self, outgoing: &Outgoing) -> Result<(), Text> {
        send(self, outgoing).map_err(lost)
    }
}

fn send(link: &Link, outgoing: &Outgoing) -> LinkResult {
    match &outgoing.payload {
        Payload::None => link.send_in_row(outgoing.header, &Data::<()>::None, outgoing.more),
        Payload::Bio(bio) => link.send_in_row(outgoing.header, &Data::<()>::Bio(bio), outgoing.more),
        Payload::Shadow(pages) => link.send_in_row(outgoing.header, &Data::Pages(pages), outgoing.more),
        Payload::Copy(pages) => link.send_in_row(outgoing.header, &Data::Pages(pages), outgoing.more),
        Payload::Digest(pages) => link.send_bytes(outgoing.header, &pages.digest()),
    }
}
