// SPDX-License-Identifier: GPL-2.0
//! What metadata tells, read once.

use anyhow::{Context as _, Result};
use netraid_core::bitmap::Bitmap;
use netraid_core::chunk::Geometry;
use netraid_core::meta::{map_of_peer, Peer, Superblock, MAP_INTENT};

use super::{in_service, show, Target};
use crate::env::Env;
use crate::meta::{Access, AccessError, MetaFile};

/// What completes "cannot ... FILE".
const ACTION: &str = "examine the bitmap";

/// What was found in metadata.
pub(super) struct Finding {
    pub(super) file: MetaFile,
    /// The marks; none where there are no maps.
    pub(super) marks: Option<Marks>,
    /// The loaded mirror that has it.
    pub(super) user: Option<User>,
}

/// A loaded mirror.
pub(super) struct User {
    pub(super) name: String,
    pub(super) in_service: bool,
}

/// The maps, summed up.
pub(super) struct Marks {
    pub(super) geometry: Geometry,
    /// Chunks in use when the map was written.
    pub(super) intent: u64,
    /// Chunks in use or missing on any peer.
    pub(super) dirty: u64,
    /// Chunks that each peer misses, with its slot.
    pub(super) missing: Vec<(usize, u64)>,
    /// Sectors of these maps that are damaged, and all sectors of them.
    pub(super) damaged: (u64, u64),
}

pub(super) fn run(target: &Target, json: bool, env: &mut Env<'_>) -> Result<()> {
    let finding = find(target, env)?;
    let text = if json {
        show::json(&finding)?
    } else {
        show::text(&finding)
    };
    env.out.write_all(text.as_bytes())?;
    Ok(())
}

/// Reads everything.
///
/// # Errors
///
/// Says why it is not usable.
pub(super) fn find(target: &Target, env: &Env<'_>) -> Result<Finding> {
    let file = target.open(Access::Read, ACTION)?;
    let marks = marks(&file).with_context(|| format!("cannot {ACTION} {}", target.path.display()))?;
    // Whoever cannot ask the kernel can look all the same.
    let user = target.user(env).unwrap_or_default().map(|mirror| User {
        in_service: in_service(&mirror),
        name: mirror.name.unwrap_or_default(),
    });
    Ok(Finding { file, marks, user })
}

fn marks(file: &MetaFile) -> Result<Option<Marks>, AccessError> {
    let (Some(geometry), Some(intent)) = (file.geometry(), file.read_map(MAP_INTENT)?) else {
        return Ok(None);
    };
    let mut marks = Marks {
        geometry,
        intent: intent.bits.ones(),
        dirty: 0,
        missing: Vec::new(),
        damaged: (intent.damaged_sectors, intent.sectors),
    };
    let mut all = intent.bits;
    for slot in dirty_slots(file.superblock()) {
        let Some(map) = file.read_map(map_of_peer(slot))? else {
            continue;
        };
        marks.damaged.0 += map.damaged_sectors;
        marks.damaged.1 += map.sectors;
        marks.missing.push((slot, map.bits.ones()));
        merge(&mut all, &map.bits);
    }
    marks.dirty = all.ones();
    Ok(Some(marks))
}

fn merge(all: &mut Bitmap<Vec<u64>>, more: &Bitmap<Vec<u64>>) {
    all.merge(0, (0..more.words()).map(|index| more.word(index)));
}

/// The slots whose dirty maps count: those of the peers, and without any the first, kept for the next target.
pub(super) fn dirty_slots(superblock: &Superblock) -> Vec<usize> {
    let taken: Vec<usize> = peers(superblock).map(|(slot, _)| slot).collect();
    if taken.is_empty() {
        vec![0]
    } else {
        taken
    }
}

/// The peers, with their slots.
pub(super) fn peers(superblock: &Superblock) -> impl Iterator<Item = (usize, &Peer)> {
    superblock.peers.iter().enumerate().filter(|(_, peer)| !peer.is_free())
}
