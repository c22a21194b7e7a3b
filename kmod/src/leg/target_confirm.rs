// SPDX-License-Identifier: GPL-2.0

//! What a target tells: confirmations, many in one message, data that was asked for, and heartbeats. And the thread for
//! what takes long.

use super::{
    link_error::LinkResult,
    target::TargetLeg,
    target_apply::{Conn, ConnRef, Slow},
    target_compare, target_fetch,
    target_io::Applying,
    target_receive,
};
use kernel::prelude::*;
use netraid_core::wire::{Flags, Header, Kind, ACKS_MAX, ACK_LEN};

/// How often the confirming thread looks at the clock.
const TICK_MS: u32 = 200;

/// The confirming thread's body.
pub(super) fn run(conn: &ConnRef) {
    while !conn.has_ended() {
        conn.confirmable.wait(TICK_MS);
        loop {
            match confirm(conn) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    target_receive::tell(conn, &error);
                    return conn.end();
                }
            }
        }
        if target_fetch::answer(conn).is_err() {
            return conn.end();
        }
        if conn.link.wants_heartbeat() && conn.link.send_plain(&Header::new(Kind::Ping)).is_err() {
            return conn.end();
        }
    }
}

/// The receiving thread is about to wait: confirms what it has left unconfirmed so far, and leaves it to the other thread
/// from then on. False where it did so before.
pub(super) fn catch_up(conn: &Conn) -> LinkResult<bool> {
    loop {
        {
            let mut flow = conn.flow.lock();
            if !flow.attended {
                return Ok(false);
            }
            if flow.acks.is_empty() {
                flow.attended = false;
                return Ok(true);
            }
        }
        confirm(conn)?;
    }
}

/// Sends one message with what can be confirmed now, if there is anything; whether there was.
fn confirm(conn: &Conn) -> LinkResult<bool> {
    let mut buffer = [0; ACKS_MAX * ACK_LEN];
    let len = collect(conn, &mut buffer);
    let Some(acks) = buffer.get(..len).filter(|acks| !acks.is_empty()) else {
        return Ok(false);
    };
    // After it has ended on the disk: whatever the disk does from now on, this is where it was promised to be.
    conn.keeps_word()?;
    conn.link.send_bytes(Header::new(Kind::Ack), acks)?;
    Ok(true)
}

/// Encodes what can be confirmed now; returns the number of bytes.
fn collect(conn: &Conn, buffer: &mut [u8; ACKS_MAX * ACK_LEN]) -> usize {
    let mut flow = conn.flow.lock();
    let mut len = 0;
    for place in buffer.chunks_exact_mut(ACK_LEN) {
        let Some(ack) = conn.next_ack(&mut flow) else { break };
        place.copy_from_slice(&ack.encode());
        len += ACK_LEN;
        flow.outstanding = flow.outstanding.saturating_sub(1);
    }
    len
}

/// The body of the thread for discards, zeroes and what is compared.
pub(super) fn run_slow(leg: &TargetLeg, conn: &ConnRef) {
    while !conn.has_ended() {
        conn.slow.wait(TICK_MS);
        loop {
            let Some(slow) = next(conn) else { break };
            let result = Applying::begin(conn).and_then(|conn| apply(&conn, &slow));
            conn.settle(slow.ack, 0, false, result);
        }
        while target_compare::finish(leg, conn) {}
    }
}

/// What is to be done next; nothing is begun any more when the connection has ended.
fn next(conn: &Conn) -> Option<Slow> {
    let mut flow = conn.flow.lock();
    if flow.ended {
        None
    } else {
        flow.slow.pop()
    }
}

/// A disk that cannot discard writes zeroes: what a discard leaves is for the reader to find, zeroes are the honest form.
fn apply(conn: &Conn, slow: &Slow) -> Result {
    let (sector, sectors) = (slow.offset / 512, slow.span / 512);
    if slow.kind == Kind::Discard && conn.lower.can_discard() {
        return conn.lower.discard(sector, sectors);
    }
    conn.lower
        .zero_out(sector, sectors, slow.flags.contains(Flags::NOUNMAP))
}
