// SPDX-License-Identifier: GPL-2.0
//! What metadata tells, for people and for programs.
//!
//! The JSON is `{"version":1,"path":PATH,...}` with the names of `status --json` where it has the same values.
//! Generations are hexadecimal texts, since a JSON number cannot hold each of them everywhere; what is not known is
//! `null`.

use std::fmt::Display;

use anyhow::{Context as _, Result};
use netraid_core::meta::{effective_async_limit, MetaFlags, Peer, VERSION};
use netraid_core::priority::Priority;
use netraid_core::state::{Replication, Role};
use netraid_core::wire::{Id, NO_ID};
use serde::Serialize;

use super::examine::{peers, Finding, Marks};
use crate::model::{device_path, percent, Endpoint, Uuid};
use crate::output::json;
use crate::output::priority::word;
use crate::output::text::bytes;

/// The whole text.
pub(super) fn text(finding: &Finding) -> String {
    let superblock = finding.file.superblock();
    let mut lines = vec![format!("Metadata in {}:", finding.file.path().display())];
    let mut line = |name: &str, value: &dyn Display| lines.push(format!("\t{name}: {value}"));
    line("Format", &VERSION);
    line("Mirror", &superblock.name);
    if !superblock.source_name.is_empty() {
        line("Name Elsewhere", &superblock.source_name);
    }
    line(
        "UUID",
        &uuid(superblock.mirror_uuid).map_or_else(not_known, |id| id.to_string()),
    );
    line(
        "Node",
        &uuid(superblock.node_uuid).map_or_else(not_known, |id| id.to_string()),
    );
    line("Priority", &priority_words(superblock.priority));
    line("Device", &device_path(superblock.device_id));
    line("Role", &superblock.role);
    line("Flags", &flag_words(superblock.flags));
    line("State", &state(finding));
    line("Generation", &generation_words(superblock.current));
    line("Older Generations", &or(history(&superblock.history).join(" "), "none"));
    line("Events", &superblock.sequence);
    line("Superblocks", &superblocks(finding));
    line("Device Size", &size_words(superblock.size));
    line("Chunk", &chunk_words(superblock.chunk_size));
    line("Async Limit", &async_words(superblock.async_limit));
    line("Resync Rate", &rate_words(superblock.resync_rate));
    for (slot, peer) in peers(superblock) {
        lines.extend(peer_lines(slot, peer, finding.marks.as_ref()));
    }
    match &finding.marks {
        Some(marks) => {
            lines.push(format!("\tIn Use: {} chunks when last written", marks.intent));
            if let (damaged @ 1.., all) = marks.damaged {
                lines.push(format!(
                    "\tDamaged: {damaged} of {all} sectors of the bitmap; their chunks count as dirty"
                ));
            }
            lines.push(bitmap_line(marks));
        }
        None if superblock.flags.contains(MetaFlags::NO_BITMAP) => {
            lines.push("Bitmap: none, every resync copies everything".to_owned());
        }
        None => lines.push("Bitmap: none yet, the size of the mirror is not known here".to_owned()),
    }
    lines.push(String::new());
    lines.join("\n")
}

/// The line with the bits, as `status` has it.
pub(super) fn bitmap_line(marks: &Marks) -> String {
    let chunks = marks.geometry.chunks();
    format!(
        "Bitmap: {chunks} bits (chunks), {} dirty ({:.1}%)",
        marks.dirty,
        percent(marks.dirty, chunks)
    )
}

fn peer_lines(slot: usize, peer: &Peer, marks: Option<&Marks>) -> Vec<String> {
    let name = if peer.name.is_empty() { "?" } else { peer.name.as_str() };
    let mut lines = vec![format!("\tPeer {}: {name}", slot + 1)];
    let mut line = |name: &str, value: &dyn Display| lines.push(format!("\t\t{name}: {value}"));
    line("Node", &Uuid(peer.uuid));
    line(
        "Address",
        &endpoint(peer).map_or_else(not_known, |place| place.to_string()),
    );
    line("Priority", &priority_words(peer.priority));
    line("Type", &peer.replication);
    line(
        "Base",
        &match peer.base {
            0 => "none, in step".to_owned(),
            base => hex(base),
        },
    );
    if peer.flags.words().next().is_some() {
        line("Flags", &peer.flags.words().collect::<Vec<_>>().join(", "));
    }
    if let Some(dirty) = missing(slot, marks) {
        line("Dirty", &format!("{dirty} chunks"));
    }
    lines
}

fn missing(slot: usize, marks: Option<&Marks>) -> Option<u64> {
    let (_, dirty) = marks?.missing.iter().find(|(of, _)| *of == slot)?;
    Some(*dirty)
}

/// A text, or another one where it is empty.
fn or(text: String, other: &str) -> String {
    if text.is_empty() {
        other.to_owned()
    } else {
        text
    }
}

fn not_known() -> String {
    "not known".to_owned()
}

fn uuid(id: Id) -> Option<Uuid> {
    (id != NO_ID).then_some(Uuid(id))
}

fn hex(generation: u64) -> String {
    format!("{generation:016x}")
}

fn priority_words(priority: Option<Priority>) -> String {
    word(priority.map(|priority| u32::from(priority.number())))
}

fn generation_words(generation: u64) -> String {
    match generation {
        0 => "none, the disk holds no data of the mirror".to_owned(),
        generation => hex(generation),
    }
}

fn history(generations: &[u64]) -> Vec<String> {
    generations
        .iter()
        .filter(|&&old| old != 0)
        .map(|&old| hex(old))
        .collect()
}

fn flag_words(flags: MetaFlags) -> String {
    // What CLEAN says is the state.
    let shown = flags.without(MetaFlags::CLEAN);
    let known = MetaFlags::ALL.iter().fold(0, |known, (flag, _)| known | flag.bits());
    let mut words: Vec<String> = shown.words().map(str::to_owned).collect();
    match flags.bits() & !known {
        0 => {}
        unknown => words.push(format!("unknown {unknown:#x}")),
    }
    or(words.join(", "), "none")
}

/// The state in a word, for programs, and in words.
fn state_pair(finding: &Finding) -> (&'static str, String) {
    let clean = finding.file.superblock().flags.contains(MetaFlags::CLEAN);
    match &finding.user {
        Some(user) if user.in_service => (
            "in-use",
            format!("in use by mirror {}, what is shown changes all the time", user.name),
        ),
        _ if clean => ("clean", "clean".to_owned()),
        _ => (
            "dirty",
            "in use or stopped hard; chunks that were in use count as dirty".to_owned(),
        ),
    }
}

fn state(finding: &Finding) -> String {
    state_pair(finding).1
}

fn superblocks(finding: &Finding) -> String {
    let (current, other) = (finding.file.current(), finding.file.current() ^ 1);
    match finding.file.other() {
        None => format!("both good, {current} is the newer one"),
        Some(_) => format!("{current} is good, {other} is not"),
    }
}

fn size_words(size: u64) -> String {
    match size {
        0 => not_known(),
        size => format!("{size} bytes ({})", bytes(size)),
    }
}

fn chunk_words(size: u32) -> String {
    match size {
        0 => not_known(),
        size => bytes(u64::from(size)),
    }
}

fn async_words(stored: u32) -> String {
    match effective_async_limit(stored) {
        limit if limit == stored => limit.to_string(),
        limit => format!("{limit} (stored as {stored}, which means that)"),
    }
}

fn rate_words(rate: u64) -> String {
    match rate {
        0 => "no limit".to_owned(),
        rate => format!("{}/s", bytes(rate)),
    }
}

fn endpoint(peer: &Peer) -> Option<Endpoint> {
    let address = peer.ip.get(..usize::from(peer.ip_len))?;
    Endpoint::from_attributes(Some(address), Some(u32::from(peer.port)), Some(peer.scope_id))
}

/// What `--json` prints.
#[derive(Serialize)]
struct Document {
    version: u32,
    path: String,
    format: u16,
    name: String,
    source_name: Option<String>,
    uuid: Option<String>,
    node_uuid: Option<String>,
    priority: Option<u16>,
    id: u32,
    role: &'static str,
    state: &'static str,
    flags: Flags,
    generation: Option<String>,
    history: Vec<String>,
    sequence: u64,
    superblock: usize,
    superblocks_good: u32,
    size: Option<u64>,
    chunk_size: Option<u32>,
    async_limit: u32,
    resync_rate: u64,
    bitmap: Option<BitmapObject>,
    peers: Vec<PeerObject>,
}

#[derive(Serialize)]
struct Flags {
    last_owner: bool,
    data_corrupt: bool,
    inconsistent: bool,
    split_brain: bool,
    yielded: bool,
    no_bitmap: bool,
    new: bool,
    prepared: bool,
    clean: bool,
    stopped: bool,
    async_permitted: bool,
}

#[derive(Serialize)]
struct BitmapObject {
    chunks: u64,
    dirty: u64,
    percent: f64,
    in_use: u64,
    sectors: u64,
    damaged_sectors: u64,
}

#[derive(Serialize)]
struct PeerObject {
    slot: usize,
    name: String,
    uuid: String,
    address: Option<String>,
    port: Option<u16>,
    scope_id: Option<u32>,
    priority: Option<u16>,
    replication: &'static str,
    base: Option<String>,
    paused: bool,
    full: bool,
    heartbeat_ms: u32,
    timeout_ms: u32,
    dirty_chunks: Option<u64>,
}

/// The whole document.
///
/// # Errors
///
/// None that can happen.
pub(super) fn json(finding: &Finding) -> Result<String> {
    let superblock = finding.file.superblock();
    let peers = peers(superblock).map(|(slot, peer)| peer_object(slot, peer, finding.marks.as_ref()));
    let document = Document {
        version: json::VERSION,
        path: finding.file.path().to_string_lossy().into_owned(),
        format: VERSION,
        name: superblock.name.as_str().to_owned(),
        source_name: Some(superblock.source_name.as_str().to_owned()).filter(|name| !name.is_empty()),
        uuid: uuid(superblock.mirror_uuid).map(|id| id.to_string()),
        node_uuid: uuid(superblock.node_uuid).map(|id| id.to_string()),
        priority: superblock.priority.map(Priority::number),
        id: superblock.device_id,
        role: match superblock.role {
            Role::Source => "source",
            Role::Target => "target",
            Role::Stopped => "stopped",
        },
        state: state_pair(finding).0,
        flags: flags(superblock.flags),
        generation: (superblock.current != 0).then(|| hex(superblock.current)),
        history: history(&superblock.history),
        sequence: superblock.sequence,
        superblock: finding.file.current(),
        superblocks_good: 1 + u32::from(finding.file.other().is_none()),
        size: (superblock.size != 0).then_some(superblock.size),
        chunk_size: (superblock.chunk_size != 0).then_some(superblock.chunk_size),
        async_limit: effective_async_limit(superblock.async_limit),
        resync_rate: superblock.resync_rate,
        bitmap: finding.marks.as_ref().map(bitmap_object),
        peers: peers.collect(),
    };
    let text = serde_json::to_string_pretty(&document).context("the metadata cannot be written as JSON")?;
    Ok(text + "\n")
}

fn flags(flags: MetaFlags) -> Flags {
    Flags {
        last_owner: flags.contains(MetaFlags::LAST_OWNER),
        data_corrupt: flags.contains(MetaFlags::DATA_CORRUPT),
        inconsistent: flags.contains(MetaFlags::INCONSISTENT),
        split_brain: flags.contains(MetaFlags::SPLIT_BRAIN),
        yielded: flags.contains(MetaFlags::YIELDED),
        no_bitmap: flags.contains(MetaFlags::NO_BITMAP),
        new: flags.contains(MetaFlags::NEW),
        prepared: flags.contains(MetaFlags::PREPARED),
        clean: flags.contains(MetaFlags::CLEAN),
        stopped: flags.contains(MetaFlags::STOPPED),
        async_permitted: flags.contains(MetaFlags::ASYNC),
    }
}

fn bitmap_object(marks: &Marks) -> BitmapObject {
    let chunks = marks.geometry.chunks();
    BitmapObject {
        chunks,
        dirty: marks.dirty,
        percent: percent(marks.dirty, chunks),
        in_use: marks.intent,
        sectors: marks.damaged.1,
        damaged_sectors: marks.damaged.0,
    }
}

fn peer_object(slot: usize, peer: &Peer, marks: Option<&Marks>) -> PeerObject {
    use netraid_core::meta::PeerFlags;
    let place = endpoint(peer);
    PeerObject {
        slot: slot + 1,
        name: peer.name.as_str().to_owned(),
        uuid: Uuid(peer.uuid).to_string(),
        address: place.as_ref().map(|place| place.ip.to_string()),
        port: place.as_ref().map(|place| place.port),
        scope_id: place.as_ref().and_then(Endpoint::scope_id),
        priority: peer.priority.map(Priority::number),
        replication: match peer.replication {
            Replication::Synchronous => "synchronous",
            Replication::Asynchronous => "asynchronous",
        },
        base: (peer.base != 0).then(|| hex(peer.base)),
        paused: peer.flags.contains(PeerFlags::PAUSED),
        full: peer.flags.contains(PeerFlags::FULL),
        heartbeat_ms: peer.heartbeat_ms,
        timeout_ms: peer.timeout_ms,
        dirty_chunks: missing(slot, marks),
    }
}
