// SPDX-License-Identifier: GPL-2.0

//! All mirrors of this machine.

use super::mirror::Mirror;
use crate::meta::MetaIdentity;
use kernel::{prelude::*, sync::Arc};

/// The mirrors, in the order of their numbers, and how often that list changed.
pub(crate) struct Registry {
    mirrors: KVec<Arc<Mirror>>,
    generation: u64,
}

crate::module_mutex! {
    /// The mirrors of this machine.
    static REGISTRY: Mutex<Registry> = Registry { mirrors: KVec::new(), generation: 1 };
    prepare_lock
}

/// See [`prepare_lock`].
pub(crate) fn prepare_registry() {
    prepare_lock();
}

/// Why a mirror can't be added.
pub(super) enum Taken {
    Name,
    Id,
    Memory,
}

/// The mirror with this name.
pub(super) fn by_name(name: &str) -> Option<Arc<Mirror>> {
    find(|mirror| mirror.name.as_str() == name)
}

/// The mirror with this number.
pub(super) fn by_id(id: u32) -> Option<Arc<Mirror>> {
    find(|mirror| mirror.id == id)
}

/// The mirror that uses the disk with this device number.
pub(super) fn by_disk(number: u32) -> Option<Arc<Mirror>> {
    find(|mirror| mirror.disk_number() == Some(number))
}

/// Another mirror than number `id` that keeps its metadata there.
pub(super) fn by_metadata(identity: &MetaIdentity, id: u32) -> Option<Arc<Mirror>> {
    find(|mirror| mirror.id != id && mirror.store().is_at(identity))
}

fn find(matches: impl Fn(&Mirror) -> bool) -> Option<Arc<Mirror>> {
    REGISTRY.lock().mirrors.iter().find(|mirror| matches(mirror)).cloned()
}

/// The first mirror whose number is at least `id`, and the generation of the list.
pub(super) fn from_id(id: u64) -> (Option<Arc<Mirror>>, u64) {
    let registry = REGISTRY.lock();
    let next = registry
        .mirrors
        .iter()
        .find(|mirror| u64::from(mirror.id) >= id)
        .cloned();
    (next, registry.generation)
}

/// Adds the mirror that `make` makes of a number: `wanted`, or the lowest that is free.
pub(super) fn add(
    name: &str,
    wanted: Option<u32>,
    make: impl FnOnce(u32) -> Result<Arc<Mirror>>,
) -> core::result::Result<Arc<Mirror>, Taken> {
    let mut registry = REGISTRY.lock();
    if registry.mirrors.iter().any(|mirror| mirror.name.as_str() == name) {
        return Err(Taken::Name);
    }
    let id = match wanted {
        Some(id) if registry.mirrors.iter().any(|mirror| mirror.id == id) => return Err(Taken::Id),
        Some(id) => id,
        None => lowest_free(&registry.mirrors),
    };
    let mirror = make(id).map_err(|_| Taken::Memory)?;
    let place = registry.mirrors.iter().position(|mirror| mirror.id > id);
    let place = place.unwrap_or(registry.mirrors.len());
    registry
        .mirrors
        .push(mirror.clone(), GFP_KERNEL)
        .map_err(|_| Taken::Memory)?;
    if let Some(tail) = registry.mirrors.get_mut(place..) {
        tail.rotate_right(1);
    }
    registry.generation = registry.generation.wrapping_add(1);
    Ok(mirror)
}

/// The list is sorted, so the first gap is where number and place differ.
fn lowest_free(mirrors: &[Arc<Mirror>]) -> u32 {
    (0..)
        .zip(mirrors)
        .find(|(id, mirror)| mirror.id != *id)
        .map_or(mirrors.len() as u32, |it| it.0)
}

/// Takes a mirror out of the list.
pub(super) fn remove(id: u32) {
    let removed = {
        let mut registry = REGISTRY.lock();
        let Some(place) = registry.mirrors.iter().position(|mirror| mirror.id == id) else {
            return;
        };
        registry.generation = registry.generation.wrapping_add(1);
        registry.mirrors.remove(place).ok()
    };
    drop(removed);
}

/// Forgets all mirrors. Called when the module ends, when all of them are stopped.
pub(crate) fn clear() {
    let mirrors = {
        let mut registry = REGISTRY.lock();
        core::mem::replace(&mut registry.mirrors, KVec::new())
    };
    drop(mirrors);
}
