// SPDX-License-Identifier: GPL-2.0

//! What a target hears.

use super::{
    link::{LinkError, LinkResult},
    target::TargetLeg,
    target_apply::{self, Conn, ConnRef, Slow},
    target_pause, Report,
};
use crate::sys::misc;
use kernel::sync::Arc;
use netraid_core::{
    name::Text,
    wire::{Ack, AckStatus, Flags, Header, Kind, Reply, REPLY_MAX_LEN},
};

/// How often the listeners are told of the progress of a resync.
const REPORT_MS: u64 = 1000;

/// The receiving thread's body.
pub(super) fn run(leg: &Arc<TargetLeg>, conn: &ConnRef) {
    if !conn.wait_begun() {
        return;
    }
    let mut reported = misc::now_ms();
    let error = loop {
        match receive(leg, conn, &mut reported) {
            Ok(()) => {}
            Err(error) => break error,
        }
    };
    conn.end();
    leg.change(|inner| {
        // Only if no other connection has taken the place.
        let mine = inner.serving.as_ref().is_some_and(|it| Arc::ptr_eq(&it.conn, conn));
        if mine {
            inner.connected = false;
            inner.in_sync = false;
            inner.end_resync();
            let source = inner.knows.source;
            inner.reason = Text::format(format_args!("the connection of {source} was lost: {error}"));
        }
    });
}

fn receive(leg: &TargetLeg, conn: &ConnRef, reported: &mut u64) -> LinkResult {
    let header = conn.link.read_header()?;
    let ack = Ack {
        handle: header.handle,
        status: AckStatus::Ok,
        seq: header.seq,
    };
    match header.kind {
        Kind::Write => write(leg, conn, &header, ack, reported),
        Kind::Flush => {
            admit(conn, 0)?;
            target_apply::flush(conn, ack).map_err(LinkError::Io)
        }
        Kind::Discard | Kind::Zeroes => slow(conn, &header, ack),
        Kind::Ping | Kind::Pong => Ok(()),
        Kind::ResyncStart => {
            let mut dropped = None;
            leg.change(|inner| {
                inner.begin_resync(header.span);
                inner.pause = false;
                // The source has merged what was written here.
                dropped = inner.paused.take();
            });
            drop(dropped);
            Ok(())
        }
        Kind::ResyncDone => resync_done(leg, conn, header.offset),
        Kind::Pause => target_pause::pause(leg, conn),
        Kind::Resume => target_pause::resume(leg, conn),
        Kind::Bye => Err(LinkError::Goodbye),
        other => Err(LinkError::Unexpected(other)),
    }
}

fn admit(conn: &Conn, bytes: u64) -> LinkResult {
    if conn.admit(bytes) {
        Ok(())
    } else {
        Err(LinkError::Closed)
    }
}

fn write(leg: &TargetLeg, conn: &ConnRef, header: &Header, ack: Ack, reported: &mut u64) -> LinkResult {
    header.check_bounds(conn.geometry.size())?;
    admit(conn, u64::from(header.len))?;
    let pages = conn.buffer(header.offset, header.len).map_err(LinkError::Io)?;
    conn.link.read_pages(&pages)?;
    if header.flags.contains(Flags::RESYNC) {
        progress(leg, header.span, reported);
    }
    target_apply::write(conn, pages, header, ack).map_err(LinkError::Io)
}

fn progress(leg: &TargetLeg, bytes: u64, reported: &mut u64) {
    {
        let mut inner = leg.inner.lock();
        inner.resynced_bytes = inner.resynced_bytes.saturating_add(bytes);
        if let Some(progress) = inner.progress.as_mut() {
            progress.add_done(bytes);
        }
    }
    let now = misc::now_ms();
    if now.saturating_sub(*reported) >= REPORT_MS {
        *reported = now;
        leg.tell(Report::Progress);
    }
}

fn slow(conn: &Conn, header: &Header, ack: Ack) -> LinkResult {
    header.check_bounds(conn.geometry.size())?;
    admit(conn, 0)?;
    let slow = Slow {
        kind: header.kind,
        flags: header.flags,
        offset: header.offset,
        span: header.span,
        ack,
    };
    // There is a place for each request admitted.
    let queued = conn.flow.lock().slow.push(slow);
    conn.slow.raise();
    if queued {
        Ok(())
    } else {
        Err(LinkError::Unexpected(header.kind))
    }
}

fn resync_done(leg: &TargetLeg, conn: &Conn, generation: u64) -> LinkResult {
    if let Err(error) = conn.lower.flush() {
        let errno = -error.to_errno();
        let reason = Text::format(format_args!("the disk could not be flushed (error {errno})"));
        return reply(conn, Kind::ResyncDone, &Reply::refused(reason));
    }
    let (mut resynced, mut dropped) = (false, None);
    leg.change(|inner| {
        resynced = inner.complete(generation);
        inner.pause = false;
        dropped = inner.paused.take();
    });
    drop(dropped);
    if resynced {
        leg.tell(Report::Done);
    }
    reply(conn, Kind::ResyncDone, &Reply::OK)
}

/// Answers a message without data.
pub(super) fn reply(conn: &Conn, to: Kind, reply: &Reply) -> LinkResult {
    let mut header = Header::new(Kind::Reply);
    header.handle = u32::from(to.number());
    let mut buffer = [0; REPLY_MAX_LEN];
    conn.link.send_bytes(header, reply.encode(&mut buffer))
}
