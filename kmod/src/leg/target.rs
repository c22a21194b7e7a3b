// SPDX-License-Identifier: GPL-2.0

//! The target's end of a leg: the disk that was given to a mirror, and the one source it listens to.

use super::{
    accept::{self, Lobby},
    reception::Place,
    target_apply::Serving,
    target_pause::Paused,
    target_takeover::Takeover,
    LegStatus, Node, Observer, Report, ResyncStatus, Timing,
};
use crate::meta::{maps::PEER, Store};
use crate::sys::{
    block::LowerDisk,
    misc,
    net::{Address, NetNs},
    sync::Event,
    thread::KThread,
};
use kernel::{
    prelude::*,
    sync::{new_mutex, Arc, Mutex},
};
use netraid_core::{
    meta::{MetaFlags, PeerFlags, HISTORY},
    name::{Name, Text},
    recent::Recent,
    resync::Progress,
    state::{Connection, LegState, Replication, Role},
    wire::{features, Id},
};

/// What a target was sent of late.
pub(crate) type RecentMap = Recent<KVVec<u64>>;

/// The number of a target's only leg.
pub(crate) const LEG: u32 = 1;

/// What a new target is given.
pub(crate) struct TargetConfig {
    pub(crate) node: Node,
    pub(crate) address: Address,
    pub(crate) timing: Timing,
    pub(crate) net: NetNs,
    pub(crate) observer: Observer,
    /// Bytes of the disk that are there for the mirror.
    pub(crate) room: u64,
}

/// What the leg's mutex protects.
pub(super) struct Inner {
    /// The connection, until it is reaped or replaced.
    pub(super) serving: Option<Serving>,
    /// Both sides agreed, and neither has noticed an end.
    pub(super) connected: bool,
    /// The source says that nothing is missing on this connection.
    pub(super) in_sync: bool,
    /// A resync has begun on this disk and is not complete, on this connection or an earlier one.
    pub(super) resyncing: bool,
    /// The last connection was in sync until it broke: the copy here is the newest there is.
    pub(super) warm: bool,
    /// The generation of the source that is connected, and those before it, as it greeted, until they are taken over.
    pub(super) source_past: Option<(u64, [u64; HISTORY])>,
    /// The source that is connected is to be told what others wrote here of late.
    pub(super) tells_recent: bool,
    /// The source asked for a pause.
    pub(super) pause: bool,
    /// The device of the pause, and what was written to it.
    pub(super) paused: Option<Paused>,
    pub(super) reason: Text,
    pub(super) progress: Option<Progress>,
    pub(super) last_resync: ResyncStatus,
    pub(super) resynced_bytes: u64,
    pub(super) connects: u64,
    pub(super) past_traffic: (u64, u64),
    pub(super) stopping: bool,
    /// This machine is about to become the source: no other one is accepted until that is decided.
    pub(super) promoting: bool,
    /// What came of asking the source to give way.
    pub(super) takeover: Option<Takeover>,
}

/// A target. Its threads and its owner share it.
#[pin_data]
pub(crate) struct TargetLeg {
    pub(super) config: TargetConfig,
    pub(crate) lower: Arc<LowerDisk>,
    /// What is remembered of the mirror.
    pub(super) store: Arc<Store>,
    /// Where sources wait.
    pub(super) lobby: Arc<Lobby>,
    #[pin]
    pub(super) inner: Mutex<Inner>,
    /// What sources wrote here of late; none before the first one has connected, or where there was no memory for it.
    #[pin]
    pub(super) recent: Mutex<Option<RecentMap>>,
    /// Raised when the source answered.
    #[pin]
    pub(super) answered: Event,
}

impl TargetLeg {
    /// Reports with no lock held.
    pub(super) fn report(&self, report: Report) {
        self.lobby.tell(report);
    }

    /// Changes something under the lock, then tells the listeners.
    pub(super) fn change(&self, change: impl FnOnce(&mut Inner)) {
        let reason = {
            let mut inner = self.inner.lock();
            change(&mut inner);
            inner.shown_reason()
        };
        self.report(Report::Changed(reason));
    }

    /// Does something with what was written here of late, if that is known.
    pub(super) fn with_recent<R: Default>(&self, run: impl FnOnce(&mut RecentMap) -> R) -> R {
        (*self.recent.lock()).as_mut().map_or_else(R::default, run)
    }

    /// Whether the disk holds no usable copy.
    pub(crate) fn is_unusable(&self) -> bool {
        self.store
            .with(|sb| sb.current == 0 || sb.flags.contains(MetaFlags::INCONSISTENT))
    }

    /// So many bytes were marked and are the same here.
    pub(super) fn count_equal(&self, bytes: u64) {
        if let Some(progress) = self.inner.lock().progress.as_mut() {
            progress.add_done(bytes);
        }
    }

    /// Whether a source is connected.
    pub(crate) fn is_connected(&self) -> bool {
        self.inner.lock().connected
    }

    /// Whether this machine was in step with its source until that died or was stopped, and has been up since.
    pub(crate) fn is_warm(&self) -> bool {
        self.inner.lock().warm
    }

    /// Name and identity of the source.
    pub(super) fn source(&self) -> Option<(Name, Id)> {
        self.store.with(|sb| {
            sb.peers
                .get(PEER)
                .filter(|peer| !peer.is_free())
                .map(|peer| (peer.name, peer.uuid))
        })
    }

    /// From now on no source is accepted, until the guard is dropped: this machine is about to decide whether it is to
    /// be the source itself, by how the mirror stands now.
    ///
    /// # Errors
    ///
    /// The source that is connected, and for how many milliseconds it has been silent.
    pub(crate) fn begin_promotion(self: &Arc<Self>) -> core::result::Result<Promotion, (Name, u64)> {
        let (name, _) = self.source().unwrap_or_default();
        let mut inner = self.inner.lock();
        if let Some(serving) = inner.serving.as_ref().filter(|_| inner.connected) {
            return Err((name, serving.conn.link.silence_ms()));
        }
        inner.promoting = true;
        Ok(Promotion(self.clone()))
    }

    /// How many have the device of a pause open; `None` where there is none.
    pub(crate) fn device_opens(&self) -> Option<u32> {
        self.inner.lock().paused.as_ref().and_then(Paused::opens)
    }

    /// Forbids new opens of the device of a pause, see [`crate::volume::FrontDisk::close`].
    pub(crate) fn close_device(&self, force: bool) -> core::result::Result<(), u32> {
        let inner = self.inner.lock();
        let front = inner.paused.as_ref().and_then(|paused| paused.front.as_ref());
        front.map_or(Ok(()), |front| front.close(force))
    }

    /// How far the resync is that makes the disk unusable, percent.
    pub(crate) fn resync_percent(&self) -> u32 {
        let inner = self.inner.lock();
        inner.progress.map_or(0, |progress| progress.percent())
    }

    /// What the operator is shown.
    pub(crate) fn status(&self) -> LegStatus {
        let now = misc::now_ms();
        let source = self.source();
        let (chunks, replication, priority) = self.store.with(|sb| {
            let peer = sb.peers.get(PEER);
            (
                sb.geometry().map_or(0, |geometry| geometry.chunks()),
                peer.map_or(Replication::Synchronous, |peer| peer.replication),
                peer.and_then(|peer| peer.priority),
            )
        });
        let inner = self.inner.lock();
        let serving = inner.serving.as_ref();
        let traffic = serving.map_or((0, 0), |serving| serving.conn.link.traffic());
        let peer = serving.filter(|_| inner.connected).and_then(|it| it.conn.link.peer());
        LegStatus {
            id: LEG,
            address: peer,
            peer_name: source.map_or(Name::EMPTY, |(name, _)| name),
            peer_uuid: source.map(|(_, uuid)| uuid),
            state: inner.view(),
            connection: if inner.connected {
                Connection::Connected
            } else {
                Connection::Disconnected
            },
            timing: self.config.timing,
            reason: inner.shown_reason(),
            chunks,
            dirty_chunks: inner.paused.as_ref().map_or(0, Paused::written_chunks),
            resync: inner.resync_status(now),
            resynced_bytes: inner.resynced_bytes,
            replicated_bytes: serving.map_or(0, |serving| serving.conn.applied_bytes()),
            sent_bytes: inner.past_traffic.0.saturating_add(traffic.0),
            received_bytes: inner.past_traffic.1.saturating_add(traffic.1),
            connects: inner.connects,
            attempts: 0,
            heard_ms: serving.filter(|_| inner.connected).map(|it| it.conn.link.silence_ms()),
            retry_ms: None,
            skipped_bytes: 0,
            zeroed_bytes: 0,
            checksums: serving
                .filter(|_| inner.connected)
                .is_some_and(|it| it.conn.link.has(features::PAYLOAD_CHECKSUM)),
            no_checksums: false,
            in_flight: serving.map_or(0, |serving| serving.conn.outstanding()),
            replication,
            unconfirmed: None,
            priority,
        }
    }
}

/// While it lives, a target accepts no source.
pub(crate) struct Promotion(Arc<TargetLeg>);

impl Drop for Promotion {
    fn drop(&mut self) {
        self.0.inner.lock().promoting = false;
    }
}

impl Inner {
    /// The word for the copy.
    fn view(&self) -> LegState {
        if self.pause {
            LegState::Paused
        } else if self.connected && self.in_sync {
            LegState::FullyOperational
        } else if self.connected && self.resyncing {
            LegState::Resyncing
        } else {
            LegState::OutOfSync
        }
    }

    pub(super) fn shown_reason(&self) -> Text {
        match self.view() {
            LegState::FullyOperational | LegState::Resyncing => Text::EMPTY,
            LegState::Paused | LegState::OutOfSync => self.reason,
        }
    }

    fn resync_status(&self, now: u64) -> ResyncStatus {
        let Some(progress) = self.progress else {
            return self.last_resync;
        };
        ResyncStatus {
            total: progress.total(),
            done: progress.done().min(progress.total()),
            elapsed_ms: progress.elapsed_ms(now),
            ..self.last_resync
        }
    }

    /// A resync begins that has `total` bytes of `size` to copy.
    pub(super) fn begin_resync(&mut self, total: u64, size: u64) {
        self.resyncing = true;
        self.in_sync = false;
        self.last_resync.full = size <= total;
        self.last_resync.count = self.last_resync.count.saturating_add(1);
        self.progress = Some(Progress::start(misc::now_ms(), total));
    }

    /// Everything the source had to copy is here and durable; true when a resync ended with that.
    pub(super) fn complete(&mut self) -> bool {
        self.resyncing = false;
        self.in_sync = true;
        self.end_resync()
    }

    /// Freezes the figures of a resync that has ended, well or not.
    pub(super) fn end_resync(&mut self) -> bool {
        let status = self.resync_status(misc::now_ms());
        self.last_resync = status;
        self.progress.take().is_some()
    }
}

/// A target with its thread. Dropping it ends the thread and the connection.
pub(crate) struct TargetHandle {
    pub(crate) leg: Arc<TargetLeg>,
    /// `None` when it does not listen any more.
    place: Option<Place>,
    _thread: KThread,
}

impl TargetHandle {
    /// Listens.
    ///
    /// # Errors
    ///
    /// Those of [`Place::take`].
    pub(crate) fn start(
        config: TargetConfig,
        lower: Arc<LowerDisk>,
        store: Arc<Store>,
        own: Option<Paused>,
    ) -> Result<Self> {
        let lobby = Lobby::new(config.node, Role::Target, store.clone(), config.observer, LEG)?;
        let place = Place::take(&config.net, &config.address, &lobby)?;
        let (resyncing, pause) = store.with(|sb| {
            let paused = sb
                .peers
                .get(PEER)
                .is_some_and(|peer| peer.flags.contains(PeerFlags::PAUSED));
            (sb.flags.contains(MetaFlags::INCONSISTENT), paused)
        });
        let inner = Inner {
            serving: None,
            connected: false,
            in_sync: false,
            resyncing,
            warm: false,
            source_past: None,
            tells_recent: false,
            pause,
            paused: own,
            reason: Text::truncated("the source has not connected yet"),
            progress: None,
            last_resync: ResyncStatus::default(),
            resynced_bytes: 0,
            connects: 0,
            past_traffic: (0, 0),
            stopping: false,
            promoting: false,
            takeover: None,
        };
        let leg = Arc::pin_init(
            pin_init!(TargetLeg {
                config,
                lower,
                store,
                lobby,
                inner <- new_mutex!(inner, "netraid_target"),
                recent <- new_mutex!(None, "netraid_recent"),
                answered <- Event::new(),
            }),
            GFP_KERNEL,
        )?;
        let its = leg.clone();
        let thread = KThread::spawn(c"netraid_target", move || accept::run(&its))?;
        Ok(Self {
            leg,
            place: Some(place),
            _thread: thread,
        })
    }

    /// Ends the connection and the listening, and hands the device of a pause over, for a promotion; also what was written
    /// here of late, where others may lack that and nothing else.
    pub(crate) fn end(mut self) -> (Option<Paused>, Option<RecentMap>) {
        self.quiesce();
        let leg = self.leg.clone();
        drop(self);
        let paused = leg.inner.lock().paused.take();
        let recent = leg.recent.lock().take();
        (paused, recent.filter(RecentMap::counts))
    }

    fn quiesce(&mut self) {
        let serving = {
            let mut inner = self.leg.inner.lock();
            inner.stopping = true;
            inner.connected = false;
            inner.serving.take()
        };
        drop(self.place.take());
        self.leg.lobby.wake();
        // Waits for its threads and for the writes under way.
        if let Some(serving) = serving {
            serving.conn.link.say_goodbye();
        }
    }
}

impl Drop for TargetHandle {
    fn drop(&mut self) {
        self.quiesce();
    }
}
