// SPDX-License-Identifier: GPL-2.0
//! Text for people.
//!
//! The block of a mirror has a fixed layout: for each leg the direction, the state and the type, while it is brought
//! up to date also a bar and the speed; at the end one line for the bitmap, before it one for what is out of the
//! ordinary.

use std::fmt::{self, Write as _};

use netraid_core::meta::effective_async_limit;

use super::priority;
use crate::gen::{Congestion, Connection, DiskState, EventKind, OnIoError, Replication, Role, State};
use crate::model::{percent, rate_word, state_word, Leg, Mirror, Resync};

/// Width of the bar of a resync, characters between the brackets.
const BAR_WIDTH: usize = 20;

/// The block of one mirror.
///
/// `earlier` is an earlier look at the same mirror, from which the speed of a resync is taken.
#[must_use]
pub fn status(mirror: &Mirror, earlier: Option<&Mirror>) -> String {
    let mut text = String::new();
    for leg in &mirror.legs {
        let before = earlier.and_then(|earlier| earlier.legs.iter().find(|known| known.id == leg.id));
        push(
            &mut text,
            format_args!("{}", leg_block(mirror, leg, before.and_then(Leg::resync))),
        );
    }
    if mirror.legs.is_empty() {
        push(&mut text, format_args!("{}", alone(mirror)));
    }
    push(&mut text, format_args!("{}", standing(mirror)));
    push(&mut text, format_args!("{}", bad_disk(mirror)));
    if let Some(name) = mirror.source_name() {
        push(&mut text, format_args!("Name elsewhere: {name}\n"));
    }
    push(&mut text, format_args!("{}", priority::order(mirror)));
    if mirror.told.no_bitmap {
        push(&mut text, format_args!("Bitmap: none\n"));
    } else if let Some(bitmap) = mirror.bitmap() {
        let share = percent(bitmap.dirty, bitmap.chunks);
        push(
            &mut text,
            format_args!(
                "Bitmap: {} bits (chunks), {} dirty ({share:.1}%)\n",
                bitmap.chunks, bitmap.dirty
            ),
        );
    }
    text
}

/// What has to be known before the mirror is used, and the next step; nothing in ordinary times.
fn standing(mirror: &Mirror) -> String {
    let flags = mirror.flags();
    if flags.is_empty() {
        return String::new();
    }
    let name = &mirror.name;
    let next = if mirror.told.split_brain {
        format!("Next: `netraid-ctl resolve {name} --keep NODE` on both machines\n")
    } else if mirror.told.data_corrupt {
        format!(
            "Next: `netraid-ctl start {name}` once the other machine answers; `netraid-ctl force {name}` if this \
             machine was certainly the last source\n"
        )
    } else {
        String::new()
    };
    format!("Flags: {}\n{next}", flags.join(", "))
}

/// What the local disk could not read; nothing in ordinary times.
fn bad_disk(mirror: &Mirror) -> String {
    let told = &mirror.told;
    let disk = told.disk.as_deref().unwrap_or("?");
    if mirror.has_lost_disk() {
        return lost_disk(mirror, disk);
    }
    let (errors, remote) = (told.read_errors.unwrap_or(0), told.remote_reads.unwrap_or(0));
    if errors == 0 {
        return String::new();
    }
    let repaired = bytes(told.repaired_bytes.unwrap_or(0));
    let mut text =
        format!("Disk: {disk} failed {errors} reads, {remote} were read from the target, {repaired} repaired\n");
    match told.repair_errors.unwrap_or(0) {
        0 => {}
        failed => push(
            &mut text,
            format_args!("Next: replace {disk}, which also failed {failed} of the writes that were to repair it\n"),
        ),
    }
    text
}

/// A disk that was given up, in the manner of /proc/mdstat with (F), and the way back.
fn lost_disk(mirror: &Mirror, disk: &str) -> String {
    let name = &mirror.name;
    if mirror.told.disk_state == Some(DiskState::Lost) {
        return format!(
            "Disk: {disk}(F) failed and was given up; no target is in step, reads and writes fail\n\
             Next: `netraid-ctl stop {name} --force` here, then `netraid-ctl promote {name}` on the machine whose copy was \
             in step last\n"
        );
    }
    if mirror.told.disk_state == Some(DiskState::Rebuilding) {
        let (done, size) = (mirror.told.rebuilt_bytes.unwrap_or(0), mirror.told.size.unwrap_or(0));
        return format!(
            "Disk: {disk} is being filled from a target, {} of {} ({:.1}%)\n",
            bytes(done),
            bytes(size),
            percent(done, size)
        );
    }
    format!(
        "Disk: {disk}(F) failed and was given up; reads and writes go to the targets in step\n\
         Next: replace it and `netraid-ctl attach {name} --disk PATH`, or `netraid-ctl switchover {name}` on such a target\n"
    )
}

/// Writing to a `String` cannot fail.
fn push(text: &mut String, what: fmt::Arguments<'_>) {
    let _infallible = text.write_fmt(what);
}

fn leg_block(mirror: &Mirror, leg: &Leg, earlier: Option<Resync>) -> String {
    let mut text = format!(
        "{}\n\tStatus: {}\n\tType: {}\n",
        direction(mirror, leg),
        state_word(leg.state),
        type_word(leg.replication)
    );
    push(&mut text, format_args!("{}", unconfirmed(leg)));
    if let Some(resync) = leg.resync() {
        let speed = resync.speed_since(earlier.as_ref()) / 1024;
        push(
            &mut text,
            format_args!("\t{}\n\tResync Speed: {speed}K/sec\n", bar(resync.percent())),
        );
    }
    if leg.state == State::OutOfSync {
        if let Some(reason) = leg.reason() {
            push(&mut text, format_args!("\tReason: {reason}\n"));
        }
    }
    text
}

/// How far an asynchronous target is behind; the source alone knows.
fn unconfirmed(leg: &Leg) -> String {
    let told = &leg.told;
    let Some(amount) = told
        .unconfirmed_bytes
        .filter(|_| leg.replication == Replication::Asynchronous)
    else {
        return String::new();
    };
    let count = told.unconfirmed.unwrap_or(0);
    let oldest = told.oldest_ms.map(|ms| format!(", the oldest for {ms} ms"));
    let fallbacks = told.sync_fallbacks.unwrap_or(0);
    format!(
        "\tUnconfirmed: {count} operations, {}{}; {fallbacks} fallbacks\n",
        bytes(amount),
        oldest.unwrap_or_default()
    )
}

/// How often a leg fell behind, where it may.
fn falls(leg: &Leg) -> Option<String> {
    let may = leg.told.congestion == Some(Congestion::Behind);
    may.then(|| match leg.told.falls.unwrap_or(0) {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        more => format!("{more} times"),
    })
}

/// The direction of a leg, `[-] source -> target`.
fn direction(mirror: &Mirror, leg: &Leg) -> String {
    match mirror.role {
        Role::Target => format!("[-] {} -> {}", leg.peer(), mirror.node()),
        _ => format!("[-] {} -> {}", mirror.node(), leg.peer()),
    }
}

/// The block of a mirror without a leg.
fn alone(mirror: &Mirror) -> String {
    let node = mirror.node();
    match mirror.role {
        Role::Source => format!("[-] {node} -> (no target)\n\tStatus: Degraded, on the local disk only\n"),
        Role::Target => {
            let place = mirror
                .listen()
                .map(|listen| format!(" on {listen}"))
                .unwrap_or_default();
            let state = state_word(State::OutOfSync);
            format!("[-] ? -> {node}\n\tStatus: {state}\n\tReason: waiting for the source{place}\n")
        }
        Role::Stopped | Role::Unknown(_) => format!("[-] {node}\n\tStatus: Stopped, out of service\n"),
    }
}

fn type_word(replication: Replication) -> &'static str {
    match replication {
        Replication::Synchronous => "Synchronous",
        Replication::Asynchronous => "Asynchronous",
        Replication::Unknown(_) => "Unknown",
    }
}

/// The word for a connection in texts.
#[must_use]
pub fn connection_word(connection: Connection) -> &'static str {
    match connection {
        Connection::Disconnected => "Disconnected",
        Connection::Waiting => "Waiting for the next attempt",
        Connection::Connecting => "Connecting",
        Connection::Handshake => "Handshake",
        Connection::Connected => "Connected",
        Connection::Unknown(_) => "Unknown",
    }
}

/// A bar of fixed width with the percentage behind it, `[=>   ] 11%`.
#[must_use]
pub fn bar(percent: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a percentage is 0 to 100"
    )]
    let whole = percent.clamp(0.0, 100.0) as usize;
    let filled = BAR_WIDTH * whole / 100;
    let head = if filled < BAR_WIDTH { ">" } else { "=" };
    let body = "=".repeat(filled.saturating_sub(1));
    let done = if filled == 0 {
        String::new()
    } else {
        format!("{body}{head}")
    };
    format!("[{done:<BAR_WIDTH$}] {whole}%")
}

/// One line for a mirror when several are shown.
#[must_use]
pub fn heading(mirror: &Mirror) -> String {
    let device = mirror.device().map(|device| format!(", {device}")).unwrap_or_default();
    format!("Mirror {} ({}{device}):", mirror.name, mirror.role)
}

/// Everything known of a mirror.
#[must_use]
pub fn detail(mirror: &Mirror) -> String {
    let mut text = format!("{}\n", heading(mirror));
    let told = &mirror.told;
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            push(&mut text, format_args!("\t{name}: {value}\n"));
        }
    };
    line("Size", told.size.map(|size| format!("{size} bytes ({})", bytes(size))));
    line("Chunk", told.chunk_size.map(|size| bytes(u64::from(size))));
    line("Node", told.node_name.clone());
    line("Priority", Some(priority::word(told.priority)));
    line("Listening on", mirror.listen().map(|listen| listen.to_string()));
    line("Open count", told.open_count.map(|count| count.to_string()));
    line(
        "Consistent",
        (mirror.role == Role::Target).then(|| yes_no(!told.inconsistent)),
    );
    line("Copies", Some(copies(mirror)));
    for (name, value) in metadata_details(mirror) {
        line(name, Some(value));
    }
    line(
        "Leg 0",
        Some(format!("{} (local)", told.disk.as_deref().unwrap_or("?"))),
    );
    for leg in &mirror.legs {
        let place = leg
            .endpoint()
            .map_or_else(|| "?".to_owned(), |endpoint| endpoint.to_string());
        line(&format!("Leg {}", leg.id), Some(format!("{place} (network)")));
        for (name, value) in leg_details(leg) {
            line(&format!("\t{name}"), Some(value));
        }
    }
    text
}

/// Where the metadata is, what it says, and the settings that are in it.
fn metadata_details(mirror: &Mirror) -> Vec<(&'static str, String)> {
    let told = &mirror.told;
    let place = if told.meta_internal {
        Some(format!("at the end of {}", told.disk.as_deref().unwrap_or("the disk")))
    } else {
        told.meta_path.clone()
    };
    let name = if told.no_bitmap {
        "Roles kept in"
    } else {
        "Bitmap kept in"
    };
    let flag = |set: bool, name| set.then(|| (name, "yes".to_owned()));
    [
        place.map(|place| (name, place)),
        told.meta_writes.map(|writes| ("Metadata writes", writes.to_string())),
        told.generation.map(|number| ("Generation", format!("{number:016x}"))),
        flag(told.last_owner, "Last owner"),
        flag(told.data_corrupt, "Data corrupt"),
        flag(told.split_brain, "Split brain"),
        flag(told.yielded, "Yielded"),
        flag(told.stopped, "Stopped by an operator"),
        told.intent_chunks
            .map(|chunks| ("Chunks in flight", chunks.to_string())),
        told.read_errors.map(|count| ("Failed reads", count.to_string())),
        told.remote_reads
            .map(|count| ("Read from the target", count.to_string())),
        told.repaired_bytes.map(|count| ("Repaired", bytes(count))),
        told.repair_errors.map(|count| ("Failed repairs", count.to_string())),
        told.on_io_error.map(|policy| {
            let word = match policy {
                OnIoError::Detach => "the disk is given up",
                OnIoError::PassOn => "the application gets the error",
                OnIoError::Unknown(_) => "unknown",
            };
            ("On I/O error", word.to_owned())
        }),
        told.resync_rate.map(|rate| ("Resync rate", rate_word(rate))),
        told.async_limit
            .map(|limit| ("Async limit", effective_async_limit(limit).to_string())),
        flag(told.async_permitted, "Async targets permitted"),
        mirror.source_name().map(|name| ("Name elsewhere", name.to_owned())),
        flag(told.same_machine, "Same machine permitted"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn yes_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

/// The copies in the manner of /proc/mdstat: how many of how many are good, and which, `[1/2] [U_]`.
fn copies(mirror: &Mirror) -> String {
    let local = !mirror.told.inconsistent && !mirror.has_lost_disk() && mirror.role != Role::Stopped;
    let all: Vec<bool> = std::iter::once(local)
        .chain(mirror.legs.iter().map(Leg::is_operational))
        .collect();
    let marks: String = all.iter().map(|&good| if good { 'U' } else { '_' }).collect();
    format!("[{}/{}] [{marks}]", all.len(), all.iter().filter(|&&good| good).count())
}

/// Whether damage on the way is noticed.
fn checksums(leg: &Leg) -> &'static str {
    match (leg.told.checksums, leg.told.no_checksums) {
        (true, _) => "in use",
        (false, true) => "not wanted",
        (false, false) if leg.connection == Connection::Connected => "not agreed on",
        (false, false) => "not in use",
    }
}

fn leg_details(leg: &Leg) -> Vec<(&'static str, String)> {
    let told = &leg.told;
    let count = |name, value: Option<u64>| value.map(|value| (name, value.to_string()));
    let amount = |name, value: Option<u64>| value.map(|value| (name, bytes(value)));
    let milliseconds = |name, value: Option<u64>| value.map(|value| (name, format!("{value} ms")));
    [
        leg.peer_name().map(|name| ("Peer", name.to_owned())),
        Some(("Priority", priority::word(told.priority))),
        Some(("Status", state_word(leg.state).to_owned())),
        Some(("Type", type_word(leg.replication).to_owned())),
        Some(("Connection", connection_word(leg.connection).to_owned())),
        leg.reason().map(|reason| ("Reason", reason.to_owned())),
        milliseconds("Last heard", told.heard_ms),
        milliseconds("Next attempt in", told.retry_ms),
        milliseconds("Heartbeat", told.heartbeat_ms.map(u64::from)),
        milliseconds("Timeout", told.timeout_ms.map(u64::from)),
        Some(("Checksums", checksums(leg).to_owned())),
        count("Dirty chunks", told.dirty_chunks),
        count("Resyncs", told.resyncs),
        amount("Resynchronized", told.resynced_bytes),
        amount("Skipped, the same", told.skipped_bytes),
        amount("Sent as zeroes", told.zeroed_bytes),
        amount("Replicated", told.replicated_bytes),
        amount("Sent", told.sent_bytes),
        amount("Received", told.received_bytes),
        count("Connected", told.connects),
        count("Requests in flight", told.in_flight.map(u64::from)),
        count("Unconfirmed requests", told.unconfirmed.map(u64::from)),
        amount("Unconfirmed", told.unconfirmed_bytes),
        milliseconds("Oldest unconfirmed", told.oldest_ms),
        count("Synchronous fallbacks", told.sync_fallbacks),
        falls(leg).map(|falls| ("Fell behind", falls)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A number of bytes for people: `64K`, `1.5G`.
#[must_use]
pub fn bytes(number: u64) -> String {
    const UNITS: [(u32, &str); 5] = [(50, "P"), (40, "T"), (30, "G"), (20, "M"), (10, "K")];
    for (shift, unit) in UNITS {
        if number >> shift > 0 {
            let tenths = (u128::from(number) * 10) >> shift;
            let (whole, tenth) = (tenths / 10, tenths % 10);
            return if tenth == 0 {
                format!("{whole}{unit}")
            } else {
                format!("{whole}.{tenth}{unit}")
            };
        }
    }
    format!("{number}")
}

/// What happened, in words.
#[must_use]
pub fn event_word(kind: EventKind) -> &'static str {
    match kind {
        EventKind::MirrorAdded => "mirror added",
        EventKind::MirrorDeleted => "mirror deleted",
        EventKind::RoleChanged => "role changed",
        EventKind::LegAdded => "leg added",
        EventKind::LegDeleted => "leg deleted",
        EventKind::LegChanged => "leg changed",
        EventKind::ResyncProgress => "resync goes on",
        EventKind::ResyncDone => "resync done",
        EventKind::Refused => "connection refused",
        EventKind::StandingChanged => "standing changed",
        EventKind::Unknown(_) => "unknown event",
    }
}
