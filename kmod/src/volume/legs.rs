// SPDX-License-Identifier: GPL-2.0

//! The legs of a volume.

use super::{log::Step, remote::Remote, Volume};
use crate::meta::maps::LegMaps;
use kernel::prelude::*;
use netraid_core::{
    legs::{LegNumber, LegSet, MAX_LEGS},
    meta::map_of_peer,
};

/// What the data path knows of each leg. A mirror without any has one that nobody is connected to: what is missed
/// nowhere is marked there for the leg that it will get.
pub(super) struct Remotes([Option<KBox<Remote>>; MAX_LEGS]);

impl Remotes {
    /// None yet.
    pub(super) const fn new() -> Self {
        Self([const { None }; MAX_LEGS])
    }

    /// Puts a leg into its place, or takes the one there out; what was there is to be dropped outside the lock.
    pub(super) fn put(&mut self, leg: LegNumber, remote: Option<KBox<Remote>>) -> Option<KBox<Remote>> {
        let place = self.0.get_mut(leg.index())?;
        core::mem::replace(place, remote)
    }

    pub(super) fn get(&self, leg: LegNumber) -> Option<&Remote> {
        self.0.get(leg.index())?.as_deref()
    }

    pub(super) fn get_mut(&mut self, leg: LegNumber) -> Option<&mut Remote> {
        self.0.get_mut(leg.index())?.as_deref_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (LegNumber, &Remote)> {
        LegNumber::all().filter_map(|leg| Some((leg, self.get(leg)?)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (LegNumber, &mut Remote)> {
        LegNumber::all()
            .zip(self.0.iter_mut())
            .filter_map(|(leg, remote)| Some((leg, remote.as_deref_mut()?)))
    }

    /// The legs for which something holds.
    pub(super) fn those(&self, holds: impl Fn(&Remote) -> bool) -> LegSet {
        self.iter()
            .filter(|(_, remote)| holds(remote))
            .map(|(leg, _)| leg)
            .collect()
    }

    /// The legs that get the application's writes.
    pub(super) fn live(&self) -> LegSet {
        self.those(|remote| remote.live)
    }

    /// Counts how often writes began or ceased to go to a target.
    pub(super) fn changes(&self) -> u64 {
        self.iter().fold(0, |sum, (_, remote)| sum.wrapping_add(remote.changes))
    }
}

impl Volume {
    /// Makes room for a leg whose maps these are; from now on what it misses is marked. The place has to be free, or that
    /// of the leg of a mirror without any. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and those of [`Volume::keep_marks`]: what it may miss is on record when this returns.
    pub(crate) fn add_leg(&self, leg: LegNumber, maps: KBox<LegMaps>) -> Result {
        let capacity = self.state.lock().requests.len();
        let remote = Remote::new(maps, capacity, self.every_chunk())?;
        let old = {
            let mut state = self.state.lock();
            state.changes = state.changes.wrapping_add(1);
            state.log.set_step(leg, Step::Apart);
            state.remotes.put(leg, Some(remote))
        };
        drop(old);
        self.keep_marks()
    }

    /// Forgets a leg that is not connected any more. The last one leaves a place for the next. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`Volume::keep_marks`].
    pub(crate) fn remove_leg(&self, leg: LegNumber) -> Result {
        let others = self.state.lock().remotes.iter().any(|(other, _)| other != leg);
        if !others {
            if leg == LegNumber::FIRST {
                return Ok(());
            }
            let maps = LegMaps::unknown(&self.store, &self.geometry)?;
            self.add_leg(LegNumber::FIRST, maps)?;
        }
        let old = {
            let mut state = self.state.lock();
            // The count as a whole only ever grows.
            let gone = state.remotes.get(leg).map_or(0, |remote| remote.changes);
            state.changes = state.changes.wrapping_add(gone).wrapping_add(1);
            state.log.set_step(leg, Step::Apart);
            state.remotes.put(leg, None)
        };
        drop(old);
        Ok(())
    }

    /// What one leg missed according to the metadata counts as missed by another one, too. May sleep.
    ///
    /// # Errors
    ///
    /// Those of reading the map.
    pub(crate) fn take_in(&self, into: LegNumber, from: LegNumber) -> Result {
        let mut words = KVVec::from_elem(0_u64, self.geometry.words(), GFP_KERNEL)?;
        // Sectors that can't be read count as marked.
        let _damaged = self.store.read_map(map_of_peer(from.index()), &mut words)?;
        if let Some(remote) = self.state.lock().remotes.get_mut(into) {
            remote.dirty.merge(0, words.iter().copied());
        }
        Ok(())
    }

    /// Whether a place is taken, be it by the leg of a mirror without any.
    pub(crate) fn has_leg(&self, leg: LegNumber) -> bool {
        self.state.lock().remotes.get(leg).is_some()
    }
}
