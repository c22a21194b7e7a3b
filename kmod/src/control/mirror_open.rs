// SPDX-License-Identifier: GPL-2.0

//! Bringing a mirror into service: its disk, its device, its listener. Every failure is a sentence.

use super::{
    mirror::{Active, Legs, Mirror, Settle, Source, Target},
    notify::observe,
    registry,
};
use crate::sys::errno::{EADDRINUSE, EADDRNOTAVAIL, EOPNOTSUPP};
use crate::{
    leg::{DiskFacts, Door, DoorConfig, Paused, RecentMap, TargetConfig, TargetHandle},
    meta::maps::{LegMaps, PEER},
    sys::{
        block::LowerDisk,
        genl::{display, Request},
        misc::ModuleRef,
        net::{Address, NetNs},
    },
    volume::{device_name, FrontDisk, Running, Step, Volume},
};
use kernel::{prelude::*, str::CStr, sync::Arc};
use netraid_core::{
    legs::{LegNumber, LegSet},
    meta::{map_of_peer, places, MetaFlags, PeerFlags, Superblock},
    state::Role,
};

/// Of which targets the maps on record say what they miss.
#[derive(Clone, Copy)]
pub(super) enum Maps<'a> {
    /// All of them.
    All,
    /// That in the first place: this machine was a target itself. The others miss at most what they were sent of late, and
    /// what this machine was, if it knows that.
    One(Option<&'a RecentMap>),
}

/// Adds the legs of whose targets the maps on record say nothing.
fn add_legs(volume: &Volume, known: Maps<'_>, legs: LegSet) -> Result {
    let (store, geometry) = (&volume.store, &volume.geometry);
    let recent = match known {
        Maps::One(recent) => recent.filter(|it| it.chunks() == geometry.chunks() && store.has_maps()),
        Maps::All => None,
    };
    let new: LegSet = legs.iter().filter(|leg| !volume.has_leg(*leg)).collect();
    for leg in new.iter() {
        let maps = match recent {
            Some(recent) => LegMaps::at_most(store, geometry, recent)?,
            None => LegMaps::unknown(store, geometry)?,
        };
        // On record when this returns.
        volume.add_leg(leg, maps)?;
    }
    if recent.is_none() || new.is_empty() {
        return Ok(());
    }
    store.change(|sb| {
        let current = sb.current;
        for leg in new.iter() {
            if let Some(peer) = sb.peers.get_mut(leg.index()) {
                peer.base = current;
                peer.flags = peer.flags.without(PeerFlags::UNKNOWN).with(PeerFlags::RECENT, true);
            }
        }
    })
}

impl Mirror {
    /// Claims the disk.
    pub(super) fn claim(&self, request: &Request<'_>) -> Result<Arc<LowerDisk>> {
        claim(request, &self.disk())
    }
}

/// Claims a disk.
pub(super) fn claim(request: &Request<'_>, path: &CStr) -> Result<Arc<LowerDisk>> {
    let disk = LowerDisk::open(path).map_err(|error| refuse_disk(request, path, error))?;
    let path = display(path);
    if disk.is_read_only() {
        return Err(request.refuse(
            EROFS,
            format_args!("{path} is write-protected; make it writable with `blockdev --setrw`"),
        ));
    }
    if disk.is_zoned() {
        return Err(request.refuse(
            EOPNOTSUPP,
            format_args!("{path} has zones that must be written in order; use a disk without"),
        ));
    }
    if disk.size() == 0 {
        return Err(request.refuse(ENODEV, format_args!("{path} has no size; is there a medium in it?")));
    }
    Ok(Arc::new(disk, GFP_KERNEL)?)
}

fn refuse_disk(request: &Request<'_>, disk: &CStr, error: Error) -> Error {
    let path = display(disk);
    if error == EBUSY {
        let other = LowerDisk::number_at(disk).ok().and_then(registry::by_disk);
        if let Some(other) = other {
            return request.refuse(
                EBUSY,
                format_args!("{path} is already used by mirror '{}'; choose another disk", other.name),
            );
        }
        return request.refuse(
            EBUSY,
            format_args!("{path} is in use: mounted, swap, or part of another device; release it first"),
        );
    }
    if error == ENOENT {
        return request.refuse(error, format_args!("there is no {path}; check the path"));
    }
    if error == ENOTBLK {
        return request.refuse(
            error,
            format_args!("{path} is not a disk or partition; give the path of one"),
        );
    }
    if error == EROFS || error == EACCES {
        return request.refuse(
            error,
            format_args!("{path} is write-protected; make it writable with `blockdev --setrw`"),
        );
    }
    let errno = -error.to_errno();
    request.refuse(
        error,
        format_args!("{path} can't be opened (error {errno}); look at the kernel log"),
    )
}

impl Mirror {
    /// Brings the device up over `disk`; `paused` is what a target had already.
    pub(super) fn open_source(
        &self,
        request: &Request<'_>,
        disk: Arc<LowerDisk>,
        paused: Option<Paused>,
        known: Maps<'_>,
    ) -> Result<Source> {
        self.serve_as_source(&request.net()?, disk, paused, known)
            .map_err(|error| {
                let (name, errno) = (device_name(self.id), -error.to_errno());
                request.refuse(error, format_args!("/dev/{name} can't be made (error {errno})"))
            })
    }

    /// The same for somebody who can't be told why not.
    pub(super) fn serve_as_source(
        &self,
        net: &NetNs,
        disk: Arc<LowerDisk>,
        paused: Option<Paused>,
        known: Maps<'_>,
    ) -> Result<Source> {
        let store = self.store();
        let geometry = store.with(Superblock::geometry).ok_or(EINVAL)?;
        let legs = store.with(|sb| places::taken(&sb.peers));
        let first = LegSet::of(LegNumber::FIRST);
        let (front, running) = match paused {
            Some(paused) => (paused.front, paused.running),
            None => {
                let mapped = if matches!(known, Maps::All) && !legs.is_empty() {
                    legs
                } else {
                    first
                };
                (
                    None,
                    Running::start(Volume::new(disk, geometry, store.clone(), mapped)?)?,
                )
            }
        };
        let volume = &running.volume;
        add_legs(volume, known, legs)?;
        if !legs.is_empty() && !legs.contains(LegNumber::FIRST) {
            volume.remove_leg(LegNumber::FIRST)?;
        }
        // In step with a target, or as good as it: the first write it misses is a new generation.
        for leg in legs.iter() {
            let base = store.with(|sb| sb.peers.get(leg.index()).map(|peer| (peer.is_free(), peer.base)));
            let together = base == Some((false, 0));
            volume.set_step(leg, if together { Step::Together } else { Step::Apart });
        }
        volume.set_shared(store.with(|sb| sb.flags.contains(MetaFlags::SHARED)));
        let front = match front {
            Some(front) => front,
            None => FrontDisk::new(device_name(self.id).as_str(), running.volume.clone())?,
        };
        Ok(Source {
            _door: self.open_door(
                net,
                Role::Source,
                DiskFacts::of(running.volume.lower(), geometry.size()),
            ),
            _settle: Settle(running.volume.clone()),
            front,
            legs: Legs::default(),
            running,
            _module: ModuleRef::take(),
        })
    }

    /// Answers those who ask this machine. A source works without: only those who ask do not learn of it.
    fn open_door(&self, net: &NetNs, role: Role, disk: DiskFacts) -> Option<Door> {
        let (address, timing) = self.state.lock().listen?;
        let config = DoorConfig {
            node: self.node(),
            timing,
            observer: observe,
            role,
            store: self.store(),
            disk,
        };
        let opened = Door::open(net, &address, config);
        if let Err(error) = &opened {
            let errno = -error.to_errno();
            let port = address.port;
            pr_warn!(
                "mirror {}: nobody can ask it at port {port} (error {errno}); give it a port of its own\n",
                self.name.as_str()
            );
        }
        opened.ok()
    }

    /// Out of service for want of an answer: others who ask are answered all the same, or two that wait for each other
    /// would do so for ever.
    pub(super) fn wait_at_door(&self, net: &NetNs, disk: &LowerDisk) {
        let facts = DiskFacts::of(disk, self.room(disk));
        let door = self.open_door(net, Role::Stopped, facts);
        let old = core::mem::replace(&mut self.state.lock().door, door);
        drop(old);
    }

    /// Nobody is answered any more.
    pub(super) fn close_door(&self) {
        let old = self.state.lock().door.take();
        drop(old);
    }

    /// Listens for a source that writes to `disk`.
    pub(super) fn open_target(&self, request: &Request<'_>, disk: Arc<LowerDisk>) -> Result<Target> {
        let Some((address, _)) = self.state.lock().listen else {
            return Err(request.refuse(
                EINVAL,
                format_args!(
                    "where mirror '{}' listens is not known; give it an address and a port",
                    self.name
                ),
            ));
        };
        self.serve_as_target(request.net()?, disk)
            .map_err(|error| refuse_listening(request, &address, error))
    }

    /// The same for somebody who can't be told why not.
    pub(super) fn serve_as_target(&self, net: NetNs, disk: Arc<LowerDisk>) -> Result<Target> {
        let (address, timing) = self.state.lock().listen.ok_or(EINVAL)?;
        let config = TargetConfig {
            node: self.node(),
            address,
            timing,
            net,
            observer: observe,
            room: self.room(&disk),
        };
        let own = self.own_marks(disk.clone())?;
        let handle = TargetHandle::start(config, disk, self.store(), own)?;
        Ok(Target {
            handle,
            _module: ModuleRef::take(),
        })
    }

    /// What this machine wrote itself, for the source; `None` where it wrote nothing.
    pub(super) fn own_marks(&self, disk: Arc<LowerDisk>) -> Result<Option<Paused>> {
        let store = self.store();
        let Some(geometry) = store.with(Superblock::geometry) else {
            return Ok(None);
        };
        // Without a bitmap only one who may have written something has something to tell.
        let wrote = store.with(|sb| {
            let peer = sb.peers.get(PEER);
            sb.flags.contains(MetaFlags::LAST_OWNER)
                || sb.flags.contains(MetaFlags::YIELDED)
                || peer.is_some_and(|peer| peer.base != 0 || peer.flags.contains(PeerFlags::PAUSED))
        });
        let unmapped = wrote && store.with(|sb| sb.flags.contains(MetaFlags::NO_BITMAP));
        if !(store.has_maps() || unmapped) {
            return Ok(None);
        }
        let volume = Volume::new(disk, geometry, store.clone(), LegSet::of(LegNumber::FIRST))?;
        // As source it may have had several targets; whoever is the source now lacks at most what one of them did.
        let others = store
            .with(|sb| places::taken(&sb.peers))
            .without(LegSet::of(LegNumber::FIRST));
        for leg in others.iter().filter(|_| store.has_maps()) {
            volume.take_in(LegNumber::FIRST, leg)?;
        }
        let counters = volume.counters(LegNumber::FIRST);
        if counters.dirty_chunks == 0 && counters.intent_chunks == 0 {
            return Ok(None);
        }
        let running = Running::start(volume)?;
        if !others.is_empty() {
            running.volume.keep_marks()?;
            for leg in others.iter().filter(|_| store.has_maps()) {
                store.clear_map(map_of_peer(leg.index()), &geometry)?;
            }
        }
        Ok(Some(Paused { front: None, running }))
    }

    /// Puts a mirror into a role, and drops what it owned before, outside the lock.
    pub(super) fn switch(&self, active: Active, disk: Option<&LowerDisk>) {
        let old = {
            let mut state = self.state.lock();
            state.disk_number = disk.map(LowerDisk::device_number);
            if let Some(disk) = disk {
                state.size = disk.size();
            }
            core::mem::replace(&mut state.active, active)
        };
        drop(old);
    }

    /// Takes out what the mirror owns, leaving it stopped.
    pub(super) fn take(&self) -> Active {
        let mut state = self.state.lock();
        core::mem::replace(&mut state.active, Active::Stopped)
    }
}

/// Why a mirror can't listen.
pub(super) fn refuse_listening(request: &Request<'_>, address: &Address, error: Error) -> Error {
    if error == EADDRINUSE {
        let port = address.port;
        return request.refuse(
            error,
            format_args!("port {port} is in use on this machine; choose another with --listen"),
        );
    }
    if error == EADDRNOTAVAIL {
        return request.refuse(
            error,
            format_args!("{address} is not an address of this machine; choose one of its own"),
        );
    }
    let errno = -error.to_errno();
    request.refuse(error, format_args!("listening on {address} failed (error {errno})"))
}
