// SPDX-License-Identifier: GPL-2.0

//! A mirror on this machine: its role, and what it owns in that role.

use super::{
    metadata::MetaPlace,
    view::{Standing, View},
};
use crate::{
    leg::{Door, Node, SourceHandle, SourceLeg, TargetHandle, TargetLeg, Timing},
    meta::Store,
    sys::{
        misc::{self, ModuleRef},
        net::Address,
    },
    volume::{FrontDisk, Running, VolumeRef},
};
use kernel::{
    prelude::*,
    str::CString,
    sync::{new_mutex, Arc, Mutex},
};
use netraid_core::{
    handshake::{instance, Mark},
    legs::{LegNumber, MAX_LEGS},
    meta::Superblock,
    name::{Name, Text},
    state::Role,
    wire::Id,
};

/// A mirror that is in service as source. Dropped from top to bottom: the device goes, so that nothing new is written;
/// what is under way ends on both sides, and nothing is in use any more; then the leg goes, and what is behind it. In
/// any other order a write could be acknowledged that an orderly stop keeps from the target.
pub(super) struct Source {
    /// Answers whoever asks for the source.
    pub(super) _door: Option<Door>,
    pub(super) front: FrontDisk,
    pub(super) _settle: Settle,
    pub(super) legs: Legs,
    pub(super) running: Running,
    pub(super) _module: ModuleRef,
}

/// The legs of a source. They end one after the other when this is dropped.
#[derive(Default)]
pub(super) struct Legs([Option<SourceHandle>; MAX_LEGS]);

impl Legs {
    /// One of them.
    pub(super) fn get(&self, leg: LegNumber) -> Option<&Arc<SourceLeg>> {
        self.0.get(leg.index())?.as_ref().map(|handle| &handle.leg)
    }

    /// Each of them, in the order of their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<SourceLeg>> {
        self.0.iter().flatten().map(|handle| &handle.leg)
    }

    /// Puts one into its place, or takes it out. What was there is to be dropped with no lock held.
    pub(super) fn put(&mut self, leg: LegNumber, handle: Option<SourceHandle>) -> Option<SourceHandle> {
        let place = self.0.get_mut(leg.index())?;
        core::mem::replace(place, handle)
    }
}

/// Waits, when it is dropped, until no application's request is under way on a volume any more, nor one that an
/// asynchronous leg has still to confirm. Requests that wait for a target end when the leg gives it up, after its timeout.
pub(super) struct Settle(pub(super) VolumeRef);

impl Drop for Settle {
    fn drop(&mut self) {
        if !self.0.wait_idle() {
            if self.0.is_behind() {
                // The leg gives them up as it goes, and they are marked then.
                pr_warn!(
                    "the target has not confirmed everything in time; it gets the rest when it is connected again\n"
                );
                return;
            }
            pr_warn!("a disk has not completed all writes; the mirror goes out of service without them\n");
        } else if self.0.settle().is_err() {
            pr_warn!("the metadata could not be brought up to date; more than necessary will be copied next time\n");
        }
    }
}

/// A mirror that is in service as target.
pub(super) struct Target {
    pub(super) handle: TargetHandle,
    pub(super) _module: ModuleRef,
}

/// What a mirror owns.
pub(super) enum Active {
    Source(Source),
    Target(Target),
    /// What the disk holds is in the metadata.
    Stopped,
}

/// What the short lock protects.
pub(super) struct State {
    pub(super) active: Active,
    /// What is remembered of the mirror.
    pub(super) store: Arc<Store>,
    /// Path of the disk.
    pub(super) disk: Arc<CString>,
    /// Size of the disk in bytes, less the metadata at its end.
    pub(super) size: u64,
    pub(super) disk_number: Option<u32>,
    /// Where it listens, as target and as source.
    pub(super) listen: Option<(Address, Timing)>,
    /// Answers those who ask while the mirror is out of service and wants to be in it.
    pub(super) door: Option<Door>,
}

/// A mirror.
#[pin_data]
pub(crate) struct Mirror {
    /// Number of the device.
    pub(super) id: u32,
    pub(super) name: Name,
    /// Where the metadata is.
    pub(super) meta: MetaPlace,
    pub(super) node_name: Name,
    pub(super) node_uuid: Id,
    /// By which it knows itself when it calls its own machine.
    mark: Mark,
    /// Held for a whole operation; what it protects is whether the mirror was deleted meanwhile.
    #[pin]
    pub(super) operation: Mutex<Deleted>,
    #[pin]
    pub(super) state: Mutex<State>,
    #[pin]
    logged: Mutex<Logged>,
}

/// Whether a mirror was deleted while an operation waited for its turn.
#[derive(PartialEq, Eq)]
pub(super) struct Deleted(pub(super) bool);

/// The last reason that went to the kernel log.
struct Logged {
    at_ms: u64,
    text: Text,
}

/// How often the same reason is written to the kernel log; each is an event in any case.
const LOG_MS: u64 = 60_000;

impl Mirror {
    /// A mirror out of service, with nothing remembered.
    pub(super) fn new(
        id: u32,
        name: Name,
        disk: CString,
        (node_name, node_uuid): (Name, Id),
        listen: Option<(Address, Timing)>,
        meta: MetaPlace,
    ) -> Result<Arc<Self>> {
        let state = State {
            active: Active::Stopped,
            store: Store::memory(Superblock {
                name,
                node_uuid,
                device_id: id,
                ..Superblock::default()
            })?,
            disk: Arc::new(disk, GFP_KERNEL)?,
            size: 0,
            disk_number: None,
            listen,
            door: None,
        };
        let logged = Logged {
            at_ms: 0,
            text: Text::EMPTY,
        };
        Arc::pin_init(
            pin_init!(Self {
                id,
                name,
                meta,
                node_name,
                node_uuid,
                mark: misc::random(),
                operation <- new_mutex!(Deleted(false), "netraid_operation"),
                state <- new_mutex!(state, "netraid_mirror"),
                logged <- new_mutex!(logged, "netraid_log"),
            }),
            GFP_KERNEL,
        )
    }

    /// This machine's part, for a new time in service.
    pub(super) fn node(&self) -> Node {
        Node {
            mirror_id: self.id,
            mirror: self.name,
            wire_name: self.store().with(Superblock::wire_name),
            name: self.node_name,
            uuid: self.node_uuid,
            instance: instance(misc::random(), self.mark),
        }
    }

    /// Path of the disk.
    pub(super) fn disk(&self) -> Arc<CString> {
        self.state.lock().disk.clone()
    }

    /// Device number of the disk while it is claimed.
    pub(super) fn disk_number(&self) -> Option<u32> {
        self.state.lock().disk_number
    }

    /// Writes a reason to the kernel log, unless the same was written a short time ago.
    pub(super) fn log_rarely(&self, text: &Text) {
        let now = misc::now_ms();
        {
            let mut logged = self.logged.lock();
            let recent = now.saturating_sub(logged.at_ms) < LOG_MS && logged.at_ms != 0;
            if recent && logged.text == *text {
                return;
            }
            *logged = Logged {
                at_ms: now,
                text: *text,
            };
        }
        pr_info!("mirror {}: {}\n", self.name.as_str(), text.as_str());
    }

    /// What is remembered of the mirror.
    pub(super) fn store(&self) -> Arc<Store> {
        self.state.lock().store.clone()
    }

    /// The mirror as it is now.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn view(&self) -> Result<View> {
        let state = self.state.lock();
        let standing = state.store.with(Standing::of);
        let mut view = View {
            id: self.id,
            name: self.name,
            role: Role::Stopped,
            size: standing.geometry.map_or(state.size, |geometry| geometry.size()),
            node_name: self.node_name,
            node_uuid: self.node_uuid,
            listen: state.listen,
            open_count: 0,
            device_present: false,
            dirty_chunks: None,
            intent_chunks: None,
            reads: None,
            disk_state: None,
            meta_writes: state.store.writes(),
            standing,
            legs: KVec::new(),
        };
        match &state.active {
            Active::Source(source) => {
                view.role = Role::Source;
                view.open_count = source.front.open_count();
                view.device_present = true;
                let volume = &source.running.volume;
                let counters = volume.counters(LegNumber::FIRST);
                view.dirty_chunks = Some(volume.most_dirty_chunks());
                view.intent_chunks = Some(counters.intent_chunks);
                view.reads = Some(counters.reads);
                view.disk_state = Some(volume.disk_state());
                for leg in source.legs.iter() {
                    view.legs.push(leg.status(), GFP_KERNEL)?;
                }
            }
            Active::Target(target) => {
                let opens = target.handle.leg.device_opens();
                view.role = Role::Target;
                view.open_count = opens.unwrap_or(0);
                view.device_present = opens.is_some();
                view.legs.push(target.handle.leg.status(), GFP_KERNEL)?;
            }
            Active::Stopped => {}
        }
        Ok(view)
    }

    /// The target this mirror is.
    pub(super) fn target(&self) -> Option<Arc<TargetLeg>> {
        match &self.state.lock().active {
            Active::Target(target) => Some(target.handle.leg.clone()),
            Active::Source(_) | Active::Stopped => None,
        }
    }

    /// Runs something on the source this mirror is, under the short lock.
    pub(super) fn with_source<R>(&self, run: impl FnOnce(&mut Source) -> R) -> Option<R> {
        match &mut self.state.lock().active {
            Active::Source(source) => Some(run(source)),
            Active::Target(_) | Active::Stopped => None,
        }
    }
}
