// SPDX-License-Identifier: GPL-2.0

//! The maps of a mirror in memory, as the metadata holds them.

use super::Store;
use kernel::prelude::*;
use netraid_core::{
    bitmap::{words_for, Bitmap},
    chunk::Geometry,
    intent::IntentLog,
    marks::{blocks_for, Marks, Memory},
    meta::{map_of_peer, MetaFlags, MAP_INTENT, MAP_WRITTEN},
};

/// A map with its persistence.
pub(crate) type Map = Marks<KVVec<u64>>;

/// The intent log of a volume.
pub(crate) type Intents = IntentLog<KVVec<u64>>;

/// The peer slot of the only network leg in this version.
pub(crate) const PEER: usize = 0;

/// The maps of a volume.
pub(crate) struct Maps {
    /// Chunks in use.
    pub(crate) intent: Intents,
    /// Chunks that the leg misses, or the next one will.
    pub(crate) dirty: Map,
    /// Chunks ever written, where those that never were need no copy.
    pub(crate) written: Option<Map>,
    /// Chunks that are dirty for no other reason than that they may have been written to when this machine lost power.
    pub(crate) doubtful: Bitmap<KVVec<u64>>,
}

impl Maps {
    /// Reads the maps; what was in use when the machine stopped is dirty then. Sectors of the metadata that cannot be
    /// read count as marked. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn load(store: &Store, geometry: &Geometry) -> Result<Self> {
        let bits = geometry.chunks();
        let kept = store.has_maps();
        let words = || KVVec::from_elem(0_u64, geometry.words(), GFP_KERNEL);
        let read = |map: usize| -> Result<KVVec<u64>> {
            let mut words = words()?;
            if kept {
                let damaged = store.read_map(map, &mut words)?;
                if damaged > 0 {
                    pr_warn!("{damaged} damaged sectors in map {map} of the metadata; their chunks count as marked\n");
                }
            }
            Ok(words)
        };
        let map = |first: KVVec<u64>| -> Result<Map> {
            let blocks = || KVVec::from_elem(0_u64, words_for(blocks_for(bits)), GFP_KERNEL);
            let memory = Memory {
                maps: [first, words()?],
                blocks: [blocks()?, blocks()?],
            };
            Marks::new(memory, bits, kept).ok_or(EINVAL)
        };
        let intent = map(read(MAP_INTENT)?)?;
        let mut dirty = map(read(map_of_peer(PEER))?)?;
        let flags = store.with(|sb| sb.flags);
        let mut written = if flags.contains(MetaFlags::NEW) {
            Some(map(read(MAP_WRITTEN)?)?)
        } else {
            None
        };
        let in_use = || (0..intent.map().words()).map(|index| intent.map().word(index));
        let mut doubtful = Bitmap::new(words()?, bits).ok_or(EINVAL)?;
        let known = |index: usize| intent.map().word(index) & !dirty.map().word(index);
        doubtful.merge(0, (0..intent.map().words()).map(known));
        dirty.merge(0, in_use());
        if let Some(written) = &mut written {
            written.merge(0, in_use());
        }
        if flags.contains(MetaFlags::NO_BITMAP) {
            dirty.set_all();
        }
        let intent = IntentLog::new(intent, words()?, words()?).ok_or(EINVAL)?;
        Ok(Self {
            intent,
            dirty,
            written,
            doubtful,
        })
    }
}
