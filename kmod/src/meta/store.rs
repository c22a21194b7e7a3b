// SPDX-License-Identifier: GPL-2.0

//! The metadata of a mirror: what it says, and changes of it that are durable when they are done.
//!
//! # Locks
//!
//! `changing`, then `maps`, then `current`. The first two are held over I/O, the last one only for the moment it takes
//! to look: whoever asks what the metadata says never waits for a disk. All of them may sleep, so none is taken while
//! an [`IrqLock`](crate::sys::sync::IrqLock) is held, and none in the completion of I/O.

use super::{map_blocks::MapBlocks, place::MetaIo, MetaIdentity, MetaRefusal};
use crate::sys::{
    errno::ENODATA,
    file::{Block, Durable, BLOCK_SIZE},
    misc,
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        new_mutex, Arc, Mutex,
    },
};
use netraid_core::{
    chunk::Geometry,
    marks::{blocks_for, BlockWords, BLOCK_WORDS},
    meta::{choose, Layout, MetaError, MetaFlags, Place, Superblock},
};

/// The metadata of a mirror.
#[pin_data]
pub(crate) struct Store {
    /// None: nothing is kept.
    io: Option<MetaIo>,
    #[pin]
    current: Mutex<KBox<Superblock>>,
    #[pin]
    changing: Mutex<Changing>,
    #[pin]
    maps: Mutex<MapBlocks>,
    with_maps: bool,
    broken: Atomic<bool>,
    /// What can't be written is kept in memory alone, rather than being an error.
    may_be_lost: Atomic<bool>,
    /// That has happened: nothing is written any more.
    lost: Atomic<bool>,
    writes: Atomic<u64>,
}

/// What a change needs.
struct Changing {
    /// The superblock that is being made; otherwise without meaning.
    next: KBox<Superblock>,
    /// The place of the current one, 0 or 1.
    slot: usize,
    block: Block,
}

impl Store {
    /// Metadata that is kept nowhere: it ends with the store. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn memory(superblock: Superblock) -> Result<Arc<Self>> {
        let none = Layout::superblocks_only(Place::Start).map_err(|_| EINVAL)?;
        let maps = MapBlocks::new(none, 0)?;
        Self::new(None, KBox::new(superblock, GFP_KERNEL)?, 0, maps)
    }

    /// Makes metadata on a blank place, with empty maps for `geometry` unless the superblock says that there are none;
    /// with `tracking_dirty`, the map for the next target begins full. What `superblock` says of sequence and set does
    /// not matter, nor what it says of the size where `geometry` is given. Durable when it returns; may sleep.
    ///
    /// # Errors
    ///
    /// A sentence when the place is not blank, too small, or can't be written.
    pub(crate) fn format(
        io: MetaIo,
        superblock: Superblock,
        geometry: Option<Geometry>,
        tracking_dirty: bool,
    ) -> Result<Arc<Self>, MetaRefusal> {
        let mut superblock = KBox::new(superblock, GFP_KERNEL)?;
        superblock.set = new_set();
        superblock.sequence = 0;
        let layout = Self::describe(&io, &mut superblock, geometry)?;
        let failed = |error| MetaRefusal::write(&io, error, layout.len());
        let mut maps = MapBlocks::new(layout, superblock.set).map_err(|_| MetaRefusal::memory())?;
        Self::check_blank(&io, &layout, &mut maps)?;
        let mut written = maps.fill(&io, tracking_dirty).map_err(failed)?;
        let mut block = Block::new().map_err(|_| MetaRefusal::memory())?;
        // Both places: were one left blank, damage to the other would look like no metadata at all.
        for slot in 0..2 {
            superblock.sequence = superblock.sequence.wrapping_add(1);
            superblock.encode(&mut block);
            io.write(layout.superblock_offset(slot), &block, Durable::Now)
                .map_err(failed)?;
            written = written.saturating_add(1);
        }
        let store = Self::new(Some(io), superblock, 1, maps).map_err(|_| MetaRefusal::memory())?;
        store.writes.store(written, Relaxed);
        Ok(store)
    }

    /// Reads metadata; may sleep.
    ///
    /// # Errors
    ///
    /// A sentence when there is none, or none that can be trusted.
    pub(crate) fn load(io: MetaIo) -> Result<Arc<Self>, MetaRefusal> {
        let places = Layout::superblocks_only(io.place()).map_err(MetaRefusal::layout)?;
        let (superblock, slot) = Self::read_superblock(&io, &places)?;
        let layout = Self::layout(&io, &superblock, superblock.geometry())?;
        io.check_whole(layout.len())?;
        let maps = MapBlocks::new(layout, superblock.set).map_err(|_| MetaRefusal::memory())?;
        Self::new(Some(io), superblock, slot, maps).map_err(|_| MetaRefusal::memory())
    }

    // A superblock is large for the stack on which a file system is to run, so what has one there is a function of its
    // own, here and below.
    #[inline(never)]
    fn new(io: Option<MetaIo>, superblock: KBox<Superblock>, slot: usize, maps: MapBlocks) -> Result<Arc<Self>> {
        let with_maps = io.is_some() && !superblock.flags.contains(MetaFlags::NO_BITMAP);
        let changing = Changing {
            next: KBox::new(Superblock::default(), GFP_KERNEL)?,
            slot,
            block: Block::new()?,
        };
        Arc::pin_init(
            pin_init!(Self {
                io,
                current <- new_mutex!(superblock, "netraid_superblock"),
                changing <- new_mutex!(changing, "netraid_change"),
                maps <- new_mutex!(maps, "netraid_maps"),
                with_maps,
                broken: Atomic::new(false),
                may_be_lost: Atomic::new(false),
                lost: Atomic::new(false),
                writes: Atomic::new(0),
            }),
            GFP_KERNEL,
        )
    }

    /// Looks at what the metadata says; may sleep, but not for I/O. `look` must not use the store.
    pub(crate) fn with<R>(&self, look: impl FnOnce(&Superblock) -> R) -> R {
        look(&self.current.lock())
    }

    /// Changes what the metadata says. It is durable when this returns; what changes nothing is not written. May sleep
    /// for I/O; `edit` may look at the store but not change it.
    ///
    /// # Errors
    ///
    /// That of the disk or file system. The metadata says what it said before, as far as the running module is
    /// concerned; which of the two the next one will find is not known. The store is broken from then on, except for
    /// `EINTR`, where the calling task is being killed and the next change makes good for this one.
    pub(crate) fn change<R>(&self, edit: impl FnOnce(&mut Superblock) -> R) -> Result<R> {
        let mut changing = self.changing.lock();
        let changing = &mut *changing;
        self.with(|current| changing.next.clone_from(current));
        let result = edit(&mut changing.next);
        if self.is_broken() || self.with(|current| *current != *changing.next) {
            self.persist(changing)?;
        }
        Ok(result)
    }

    /// Writes the next superblock to the place of the older one, makes it the current one, and then writes it to the
    /// other place, too: were that left older, damage to the newer one would bring the past back.
    fn persist(&self, changing: &mut Changing) -> Result {
        let Changing { next, slot, block } = changing;
        next.sequence = self.with(|current| current.sequence).wrapping_add(1);
        if let Some(io) = self.io.as_ref().filter(|_| !self.is_lost()) {
            let other = 1_usize.saturating_sub(*slot);
            next.encode(block);
            let layout = Layout::superblocks_only(io.place()).map_err(|_| ENOSPC)?;
            for place in [other, *slot] {
                let offset = layout.superblock_offset(place);
                self.wrote(1, io.write(offset, block, Durable::Now))?;
                if self.is_lost() {
                    break;
                }
            }
            *slot = other;
        }
        core::mem::swap(&mut *self.current.lock(), next);
        Ok(())
    }

    /// The size and the chunks of the mirror are known now: makes room for the maps and records both. Maps begin
    /// empty. Nothing happens where the same is recorded already. May sleep.
    ///
    /// # Errors
    ///
    /// A sentence when the place is too small or can't be written. Maps there were before count as full then.
    pub(crate) fn bind(&self, geometry: Geometry) -> Result<(), MetaRefusal> {
        let mut changing = self.changing.lock();
        let changing = &mut *changing;
        self.with(|current| changing.next.clone_from(current));
        if changing.next.geometry() == Some(geometry) {
            return Ok(());
        }
        changing.next.size = geometry.size();
        changing.next.chunk_size = geometry.chunk_size();
        let Some(io) = &self.io else {
            return self.persist(changing).map_err(|_| MetaRefusal::memory());
        };
        let layout = Self::describe(io, &mut changing.next, Some(geometry))?;
        let failed = |error| MetaRefusal::write(io, error, layout.len());
        let mut maps = self.maps.lock();
        // The superblock names a new set once the maps are there; until then, none of their sectors counts.
        changing.next.set = new_set();
        let mut next = MapBlocks::new(layout, changing.next.set).map_err(|_| MetaRefusal::memory())?;
        let filled = next.fill(io, false);
        let written = filled.as_ref().map_or(0, |blocks| *blocks);
        self.wrote(written, filled.map(drop)).map_err(failed)?;
        self.persist(changing).map_err(failed)?;
        *maps = next;
        Ok(())
    }

    /// Reads a whole map into `words`. What can't be read is all ones; the number of sectors of 3840 chunks for which
    /// that is so. May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` where nothing is kept.
    pub(crate) fn read_map(&self, map: usize, words: &mut [u64]) -> Result<u64> {
        let io = self.io.as_ref().ok_or(EINVAL)?;
        self.maps.lock().read(io, map, words)
    }

    /// Writes a block of a map; durable when this returns. May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` where there is no such block, else those of the disk or file system; the store is broken then, and
    /// what is in the block, not known.
    pub(crate) fn write_map_block(&self, map: usize, block: u64, words: &BlockWords) -> Result {
        let io = self.io.as_ref().ok_or(EINVAL)?;
        if self.is_lost() {
            return Ok(());
        }
        let result = self.maps.lock().write(io, map, block, words);
        self.wrote(1, result)
    }

    /// Clears a whole map; durable when this returns. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`Store::write_map_block`].
    pub(crate) fn clear_map(&self, map: usize, geometry: &Geometry) -> Result {
        let nothing = KBox::new([0_u64; BLOCK_WORDS], GFP_KERNEL)?;
        for block in 0..blocks_for(geometry.chunks()) {
            self.write_map_block(map, block, &nothing)?;
        }
        Ok(())
    }

    /// Whether the marks are kept: false where nothing is, or the superblock alone.
    pub(crate) fn has_maps(&self) -> bool {
        self.with_maps
    }

    /// Blocks written so far. Any context.
    pub(crate) fn writes(&self) -> u64 {
        self.writes.load(Relaxed)
    }

    /// Whether something could not be written, so that what is kept may be older than what is true. Any context.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Relaxed)
    }

    /// From now on what can't be written is no error: the disk of the mirror was given up, and the targets lead. What is
    /// written there after the first failure would be less than what was not. Any context.
    pub(crate) fn may_be_lost(&self) {
        self.may_be_lost.store(true, Relaxed);
    }

    /// Takes [`Store::may_be_lost`] back; false where something was lost already.
    pub(crate) fn must_be_kept(&self) -> bool {
        if self.is_lost() {
            return false;
        }
        self.may_be_lost.store(false, Relaxed);
        true
    }

    /// Whether it is kept in memory alone, since it could not be written. Any context.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Relaxed)
    }

    /// Whether it is at the end of the mirrored disk.
    pub(crate) fn is_on_disk(&self) -> bool {
        matches!(self.io, Some(MetaIo::Internal { .. }))
    }

    /// Whether it is kept in this file or device, so that nobody else may.
    pub(crate) fn is_at(&self, place: &MetaIdentity) -> bool {
        self.io.as_ref().is_some_and(|io| io.identity().is(place))
    }

    /// Notes the end of a write.
    fn wrote(&self, blocks: u64, result: Result) -> Result {
        match result {
            Ok(()) => {
                self.writes.fetch_add(blocks, Relaxed);
            }
            Err(error) if error != EINTR && self.may_be_lost.load(Relaxed) => {
                if !self.lost.xchg(true, Relaxed) {
                    let errno = -error.to_errno();
                    pr_warn!("the metadata of a mirror whose disk was given up can't be written either (error {errno}); it is kept in memory, and by the targets\n");
                }
                return Ok(());
            }
            Err(error) if error != EINTR => self.broken.store(true, Relaxed),
            Err(_) => {}
        }
        result
    }

    /// Puts a geometry into a superblock, and finds the places for both.
    fn describe(io: &MetaIo, superblock: &mut Superblock, geometry: Option<Geometry>) -> Result<Layout, MetaRefusal> {
        if let Some(geometry) = geometry {
            superblock.size = geometry.size();
            superblock.chunk_size = geometry.chunk_size();
        }
        Self::layout(io, superblock, geometry)
    }

    fn layout(io: &MetaIo, superblock: &Superblock, geometry: Option<Geometry>) -> Result<Layout, MetaRefusal> {
        let without = superblock.flags.contains(MetaFlags::NO_BITMAP);
        let layout = Layout::new(io.place(), geometry.filter(|_| !without)).map_err(MetaRefusal::layout)?;
        io.check_room(&layout, superblock.size)?;
        Ok(layout)
    }

    /// Refuses to write over what is there.
    fn check_blank(io: &MetaIo, layout: &Layout, maps: &mut MapBlocks) -> Result<(), MetaRefusal> {
        let mut block = Block::new().map_err(|_| MetaRefusal::memory())?;
        for slot in 0..2 {
            if !Self::read_some(io, layout.superblock_offset(slot), &mut block)? {
                continue;
            }
            match &*decode(&block)? {
                Err(MetaError::Blank) => {}
                Ok(other) => return Err(MetaRefusal::holds_mirror(io, other.name)),
                Err(error) => return Err(MetaRefusal::not_blank(io, *error)),
            }
        }
        // The maps of metadata whose superblocks were wiped are in nobody's way.
        for offset in io.foreign_area().step_by(BLOCK_SIZE) {
            if !Self::read_some(io, offset, &mut block)? {
                break;
            }
            if block.iter().any(|byte| *byte != 0) && !maps.is_map(&block) {
                return Err(MetaRefusal::not_blank(io, MetaError::NotMetadata));
            }
        }
        Ok(())
    }

    /// Reads a block; false beyond the end of a file that has yet to grow, or of a device.
    fn read_some(io: &MetaIo, offset: u64, block: &mut Block) -> Result<bool, MetaRefusal> {
        match io.read(offset, block) {
            Ok(()) => Ok(true),
            Err(error) if error == ENODATA => Ok(false),
            Err(error) => Err(MetaRefusal::read(io, error)),
        }
    }

    /// The superblock that counts, and its place.
    fn read_superblock(io: &MetaIo, layout: &Layout) -> Result<(KBox<Superblock>, usize), MetaRefusal> {
        let mut unreadable = None;
        let mut block = Block::new().map_err(|_| MetaRefusal::memory())?;
        let mut read = |slot: usize| match io.read(layout.superblock_offset(slot), &mut block) {
            Ok(()) => decode(&block),
            Err(error) if error == ENODATA => Ok(KBox::new(Err(MetaError::Blank), GFP_KERNEL)?),
            Err(error) => {
                unreadable = Some(error);
                Ok(KBox::new(Err(MetaError::Damaged), GFP_KERNEL)?)
            }
        };
        let (first, second) = (read(0)?, read(1)?);
        let (slot, chosen) = choose(&first, &second).map_err(|error| match (error, unreadable) {
            (MetaError::Damaged, Some(error)) => MetaRefusal::read(io, error),
            (error, _) => MetaRefusal::unusable(io, error),
        })?;
        let mut superblock = boxed(chosen)?;
        superblock.forget_lost_disk();
        if first.is_err() || second.is_err() {
            // The other one was being written when the machine stopped, or is damaged: not an orderly stop.
            superblock.flags.set(MetaFlags::CLEAN, false);
        }
        Ok((superblock, slot))
    }
}

type Decoded = KBox<core::result::Result<Superblock, MetaError>>;

#[inline(never)]
fn decode(block: &Block) -> Result<Decoded, MetaRefusal> {
    Ok(KBox::new(Superblock::decode(block), GFP_KERNEL)?)
}

#[inline(never)]
fn boxed(superblock: &Superblock) -> Result<KBox<Superblock>, MetaRefusal> {
    Ok(KBox::new(superblock.clone(), GFP_KERNEL)?)
}

fn new_set() -> u64 {
    u64::from_le_bytes(misc::random())
}
