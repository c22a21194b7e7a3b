// SPDX-License-Identifier: GPL-2.0

//! The maps of a mirror in memory, as the metadata holds them.

use super::Store;
use kernel::prelude::*;
use netraid_core::{
    bitmap::{words_for, Bitmap},
    chunk::Geometry,
    intent::IntentLog,
    legs::{LegNumber, LegSet},
    marks::{blocks_for, Marks, Memory},
    meta::{map_of_peer, MetaFlags, MAP_INTENT, MAP_WRITTEN},
    recent::Recent,
};

/// A map with its persistence.
pub(crate) type Map = Marks<KVVec<u64>>;

/// The intent log of a volume.
pub(crate) type Intents = IntentLog<KVVec<u64>>;

/// The peer slot in which a target notes its source.
pub(crate) const PEER: usize = 0;

/// The maps of a volume.
pub(crate) struct Maps {
    /// Chunks in use.
    pub(crate) intent: Intents,
    /// Those of each leg. On the heap, as the stack has no room for seven.
    pub(crate) legs: KVec<(LegNumber, KBox<LegMaps>)>,
    /// Chunks ever written, where those that never were need no copy.
    pub(crate) written: Option<Map>,
}

/// What a leg misses, as the metadata holds it.
pub(crate) struct LegMaps {
    /// Chunks that the leg misses.
    pub(crate) dirty: Map,
    /// Those of them that it may well hold: they are marked for no other reason than that they may have been written to
    /// when this machine lost power, or that nothing is known.
    pub(crate) doubtful: Bitmap<KVVec<u64>>,
}

/// How maps are read.
struct Reader<'a> {
    store: &'a Store,
    geometry: &'a Geometry,
}

impl Reader<'_> {
    fn words(&self) -> Result<KVVec<u64>> {
        Ok(KVVec::from_elem(0_u64, self.geometry.words(), GFP_KERNEL)?)
    }

    /// A map as it is kept; nothing where none is. Sectors that cannot be read count as marked.
    fn read(&self, map: usize) -> Result<KVVec<u64>> {
        let mut words = self.words()?;
        if self.store.has_maps() {
            let damaged = self.store.read_map(map, &mut words)?;
            if damaged > 0 {
                pr_warn!("{damaged} damaged sectors in map {map} of the metadata; their chunks count as marked\n");
            }
        }
        Ok(words)
    }

    #[inline(never)]
    fn map(&self, map: usize) -> Result<Map> {
        let bits = self.geometry.chunks();
        let blocks = || KVVec::from_elem(0_u64, words_for(blocks_for(bits)), GFP_KERNEL);
        let memory = Memory {
            maps: [self.read(map)?, self.words()?],
            blocks: [blocks()?, blocks()?],
        };
        Marks::new(memory, bits, self.store.has_maps()).ok_or(EINVAL)
    }

    /// What a leg misses, and what was in use when the machine stopped.
    #[inline(never)]
    fn leg(&self, leg: LegNumber, in_use: &Bitmap<KVVec<u64>>) -> Result<KBox<LegMaps>> {
        let mut dirty = self.map(map_of_peer(leg.index()))?;
        let words = || (0..in_use.words()).map(|index| in_use.word(index));
        let mut doubtful = Bitmap::new(self.words()?, self.geometry.chunks()).ok_or(EINVAL)?;
        let known = |index: usize| in_use.word(index) & !dirty.map().word(index);
        doubtful.merge(0, (0..in_use.words()).map(known));
        dirty.merge(0, words());
        if self.store.with(|sb| sb.flags.contains(MetaFlags::NO_BITMAP)) {
            dirty.set_all();
        }
        Ok(KBox::new(LegMaps { dirty, doubtful }, GFP_KERNEL)?)
    }
}

impl LegMaps {
    /// Of a leg of which nothing is known: it may miss any chunk, and may hold any. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn unknown(store: &Store, geometry: &Geometry) -> Result<KBox<Self>> {
        let mut maps = Self::nothing(store, geometry)?;
        maps.dirty.set_all();
        maps.doubtful.set_range(0..geometry.chunks());
        Ok(maps)
    }

    /// Of one that may miss what is marked there, and may hold it. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn at_most(store: &Store, geometry: &Geometry, there: &Recent<KVVec<u64>>) -> Result<KBox<Self>> {
        let mut maps = Self::nothing(store, geometry)?;
        let words = || (0..geometry.words()).map(|index| there.word(index));
        maps.dirty.merge(0, words());
        maps.doubtful.merge(0, words());
        Ok(maps)
    }

    fn nothing(store: &Store, geometry: &Geometry) -> Result<KBox<Self>> {
        let reader = Reader { store, geometry };
        let bits = geometry.chunks();
        let blocks = || KVVec::from_elem(0_u64, words_for(blocks_for(bits)), GFP_KERNEL);
        let memory = Memory {
            maps: [reader.words()?, reader.words()?],
            blocks: [blocks()?, blocks()?],
        };
        let dirty = Marks::new(memory, bits, store.has_maps()).ok_or(EINVAL)?;
        let doubtful = Bitmap::new(reader.words()?, bits).ok_or(EINVAL)?;
        Ok(KBox::new(Self { dirty, doubtful }, GFP_KERNEL)?)
    }
}

impl Maps {
    /// Reads the maps of a volume with these legs; what was in use when the machine stopped is dirty then. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    #[inline(never)]
    pub(crate) fn load(store: &Store, geometry: &Geometry, legs: LegSet) -> Result<Self> {
        let reader = Reader { store, geometry };
        let intent = reader.map(MAP_INTENT)?;
        let mut written = if store.with(|sb| sb.flags.contains(MetaFlags::NEW)) {
            Some(reader.map(MAP_WRITTEN)?)
        } else {
            None
        };
        let in_use = intent.map();
        if let Some(written) = &mut written {
            written.merge(0, (0..in_use.words()).map(|index| in_use.word(index)));
        }
        let mut maps = KVec::new();
        for leg in legs.iter() {
            maps.push((leg, reader.leg(leg, in_use)?), GFP_KERNEL)?;
        }
        let intent = IntentLog::new(intent, reader.words()?, reader.words()?).ok_or(EINVAL)?;
        Ok(Self {
            intent,
            legs: maps,
            written,
        })
    }
}
