// SPDX-License-Identifier: GPL-2.0

//! What a target hears.

use super::{
    link_error::{LinkError, LinkResult},
    target::TargetLeg,
    target_apply::{Conn, ConnRef, Slow},
    target_compare, target_confirm, target_fetch, target_io,
    target_pause::{self, Paused},
    target_takeover, Report,
};
use crate::sys::misc;
use kernel::sync::Arc;
use netraid_core::{
    generation,
    meta::{places, MetaFlags},
    name::{Name, Text},
    wire::{Ack, AckStatus, Flags, Header, Kind, Reply, WireError, HEADER_LEN, NO_ID, REPLY_MAX_LEN},
};

/// Writes that are confirmed together at most: more would be of no use to the network, and the source waits.
const TOGETHER: usize = 16;

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
    // The thread that confirms may have been the first to notice.
    let error = conn.keeps_word().err().unwrap_or(error);
    tell(conn, &error);
    conn.stop();
    let source = leg.source().map_or(Name::EMPTY, |(name, _)| name);
    leg.change(|inner| {
        // Only if no other connection has taken the place.
        let mine = inner.serving.as_ref().is_some_and(|it| Arc::ptr_eq(&it.conn, conn));
        if mine {
            // Whether it died or was stopped: it asks here before it comes into service again.
            inner.warm = inner.in_sync;
            inner.connected = false;
            inner.in_sync = false;
            inner.end_resync();
            inner.reason = Text::format(format_args!("the connection of {source} was lost: {error}"));
        }
    });
    // After that: a source that sees the end comes again at once, and what became of this connection would not be told.
    conn.end();
}

/// The source only sees the end of the connection, and its operator wants to know why. Where that does not reach it, it
/// has lost no more than the reason.
pub(super) fn tell(conn: &Conn, error: &LinkError) {
    let kind = match error {
        LinkError::Wire(WireError::BadPayloadChecksum { kind, .. }) => *kind,
        LinkError::Cached => Kind::Flush,
        _ => return,
    };
    let reason = Text::format(format_args!("{error}"));
    let _ = reply(conn, kind, &Reply::refused(reason));
}

fn receive(leg: &TargetLeg, conn: &ConnRef, reported: &mut u64) -> LinkResult {
    before_reading(conn, HEADER_LEN as u32)?;
    let header = conn.link.read_header()?;
    if header.kind != Kind::Write {
        // What follows may wait for something.
        target_confirm::catch_up(conn)?;
    }
    let ack = Ack {
        handle: header.handle,
        status: AckStatus::Ok,
        seq: header.seq,
    };
    match header.kind {
        Kind::Write => write(leg, conn, &header, ack, reported),
        Kind::Flush => {
            admit(conn, 0)?;
            if !conn.await_turn(&header, false)? {
                return fail(conn, ack, 0);
            }
            target_io::flush(conn, ack).map_err(LinkError::Io)
        }
        Kind::Compare => {
            header.check_bounds(conn.geometry.size())?;
            admit(conn, header.span)?;
            target_compare::start(conn, &header, ack)
        }
        Kind::Discard | Kind::Zeroes => slow(leg, conn, &header, ack, reported),
        Kind::Read => target_fetch::read(leg, conn, &header),
        Kind::Ping | Kind::Pong => Ok(()),
        Kind::ResyncStart => resync_start(leg, conn, &header),
        Kind::ResyncDone => resync_done(leg, conn, header.offset),
        Kind::Settled => {
            settled(leg, &header);
            Ok(())
        }
        Kind::Pause => target_pause::pause(leg, conn),
        Kind::Resume => target_pause::resume(leg, conn),
        Kind::Reply => target_takeover::answered(leg, conn, &header),
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

/// What an earlier one had to come before that failed is not begun; the source is told and gives the connection up.
fn fail(conn: &Conn, ack: Ack, bytes: u64) -> LinkResult {
    conn.settle(ack, bytes, false, Err(kernel::error::code::EIO));
    Ok(())
}

/// Notes that a range is about to be changed.
fn touch(leg: &TargetLeg, conn: &Conn, header: &Header) {
    leg.with_recent(|recent| recent.touch(conn.geometry.range(header.offset, header.span)));
}

fn settled(leg: &TargetLeg, header: &Header) {
    leg.with_recent(|recent| recent.mark(header.span, header.offset));
}

fn write(leg: &TargetLeg, conn: &ConnRef, header: &Header, ack: Ack, reported: &mut u64) -> LinkResult {
    header.check_bounds(conn.geometry.size())?;
    touch(leg, conn, header);
    admit(conn, u64::from(header.len))?;
    let pages = conn.buffer(header.offset, header.len).map_err(LinkError::Io)?;
    before_reading(conn, header.len)?;
    // Nothing damaged goes to the disk.
    conn.link.read_pages(header, &pages)?;
    if !conn.await_turn(header, true)? {
        drop(pages);
        return fail(conn, ack, u64::from(header.len));
    }
    if header.flags.contains(Flags::RESYNC) {
        progress(leg, header.span, reported);
    }
    target_io::write(conn, pages, header, ack).map_err(LinkError::Io)
}

/// Confirms what is left to confirm, unless there is so much to read at once.
fn before_reading(conn: &Conn, bytes: u32) -> LinkResult {
    if conn.link.readable() < bytes || conn.unconfirmed() >= TOGETHER {
        target_confirm::catch_up(conn)?;
    }
    Ok(())
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
        leg.report(Report::Progress);
    }
}

fn slow(leg: &TargetLeg, conn: &Conn, header: &Header, ack: Ack, reported: &mut u64) -> LinkResult {
    header.check_bounds(conn.geometry.size())?;
    touch(leg, conn, header);
    admit(conn, 0)?;
    if !conn.await_turn(header, false)? {
        return fail(conn, ack, 0);
    }
    if header.flags.contains(Flags::RESYNC) {
        progress(leg, header.span, reported);
    }
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

/// From now on the disk holds no usable copy. That is on record before the first byte of it changes.
fn resync_start(leg: &TargetLeg, conn: &Conn, header: &Header) -> LinkResult {
    let past = leg.inner.lock().source_past.take();
    let changed = leg.store.change(|sb| {
        let began = !sb.flags.contains(MetaFlags::INCONSISTENT);
        sb.flags.set(MetaFlags::INCONSISTENT, true);
        if header.offset != 0 {
            generation::take_over(&mut sb.current, &mut sb.history, past, header.offset);
        }
        places::in_step(&mut sb.peers);
        began
    });
    if changed.map_err(LinkError::Record)? {
        leg.report(Report::Standing(Text::truncated(
            "a resync has begun; the copy here can't be used until it is complete",
        )));
    }
    let mut dropped = None;
    leg.change(|inner| {
        inner.begin_resync(header.span, conn.geometry.size());
        inner.pause = false;
        inner.warm = false;
        dropped = inner.paused.take();
    });
    forget(dropped).map_err(LinkError::Record)
}

/// The source has on record what was written here.
fn forget(own: Option<Paused>) -> kernel::prelude::Result {
    if let Some(own) = own {
        own.running.volume.forget_marks();
        own.running.volume.keep_marks()?;
    }
    Ok(())
}

fn resync_done(leg: &TargetLeg, conn: &Conn, generation: u64) -> LinkResult {
    if let Err(error) = durable(leg, conn, generation) {
        let errno = -error.to_errno();
        let reason = Text::format(format_args!(
            "the end of the resync could not be made durable (error {errno}); look at the kernel log there"
        ));
        return reply(conn, Kind::ResyncDone, &Reply::refused(reason));
    }
    let source = leg.source().map_or(NO_ID, |(_, uuid)| uuid);
    leg.with_recent(|recent| recent.in_step(source));
    let (mut resynced, mut dropped) = (false, None);
    leg.change(|inner| {
        resynced = inner.complete();
        inner.pause = false;
        dropped = inner.paused.take();
    });
    forget(dropped).map_err(LinkError::Record)?;
    if resynced {
        leg.report(Report::Standing(Text::truncated("the copy here is complete")));
        leg.report(Report::Done);
    }
    reply(conn, Kind::ResyncDone, &Reply::OK)
}

fn durable(leg: &TargetLeg, conn: &Conn, generation: u64) -> kernel::prelude::Result {
    conn.lower.flush()?;
    let gone = MetaFlags::INCONSISTENT
        .with(MetaFlags::YIELDED, true)
        .with(MetaFlags::SPLIT_BRAIN, true)
        .with(MetaFlags::TOOK_OVER, true)
        .with(MetaFlags::PREPARED, true);
    let known = leg
        .store
        .with(|sb| sb.current == generation && places::is_in_step(&sb.peers) && sb.flags == sb.flags.without(gone));
    if known {
        return Ok(());
    }
    let past = leg.inner.lock().source_past.take();
    leg.store.change(|sb| {
        sb.flags = sb.flags.without(gone);
        generation::take_over(&mut sb.current, &mut sb.history, past, generation);
        places::in_step(&mut sb.peers);
    })
}

/// Answers a message without data.
pub(super) fn reply(conn: &Conn, to: Kind, reply: &Reply) -> LinkResult {
    let mut header = Header::new(Kind::Reply);
    header.handle = u32::from(to.number());
    let mut buffer = [0; REPLY_MAX_LEN];
    conn.link.send_bytes(header, reply.encode(&mut buffer))
}
