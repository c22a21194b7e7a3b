// SPDX-License-Identifier: GPL-2.0

//! The source's end of a leg: what it holds, and how decisions become deeds.

use super::{
    link::Link,
    source_status::{NOTHING_TO_COPY, WAITS},
    Node, Observer, Report, ResyncStatus, Timing,
};
use crate::{
    sys::{
        misc,
        net::{Address, NetNs},
        sync::Event as Wake,
    },
    volume::VolumeRef,
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        new_mutex, Arc, Mutex,
    },
};
use netraid_core::{
    backoff::Backoff,
    behind::Behind,
    handshake::source_features,
    leg::{Action, Event, Machine},
    legs::LegNumber,
    meta::{Peer, PeerFlags, Superblock},
    name::{Name, Text},
    resync::Progress,
    state::{Congestion, Replication},
    wire::{Id, Kind, NO_ID},
};

/// What a new leg is given.
pub(crate) struct SourceConfig {
    pub(crate) number: LegNumber,
    pub(crate) node: Node,
    /// Where this machine listens, told to the target; 0 for nowhere.
    pub(crate) listen_port: u16,
    pub(crate) address: Address,
    pub(crate) timing: Timing,
    /// An operator does not want checksums of the data.
    pub(crate) no_checksums: bool,
    /// When a write counts as done.
    pub(crate) replication: Replication,
    /// What happens at the limit of an asynchronous leg.
    pub(crate) congestion: Congestion,
    pub(crate) net: NetNs,
    pub(crate) observer: Observer,
    /// Told that the target asks to change places; answered by [`SourceLeg::answer_takeover`].
    pub(crate) handover: fn(mirror_id: u32, leg: LegNumber),
}

/// What the leg's mutex protects.
pub(super) struct Inner {
    pub(super) machine: Machine,
    pub(super) backoff: Backoff,
    pub(super) behind: Behind,
    /// The leg fell behind, and has not greeted since.
    pub(super) fell: bool,
    pub(super) retry_at: u64,
    /// The connection, or the attempt to make one.
    pub(super) link: Option<Arc<Link>>,
    pub(super) peer: Name,
    /// Bytes that resyncs did not have to copy.
    pub(super) skipped_bytes: u64,
    pub(super) reason: Text,
    /// Why the running resync became necessary.
    pub(super) cause: Text,
    /// A target that is resumed as part of the greeting has another cause than that.
    pub(super) cause_stands: bool,
    pub(super) progress: Option<Progress>,
    pub(super) last_resync: ResyncStatus,
    pub(super) marked_all: bool,
    pub(super) copying: bool,
    /// Others are copied before.
    pub(super) waits: bool,
    pub(super) copied_before: u64,
    /// Which of [`SourceLeg::full_copies`] the greeting of this connection took in.
    pub(super) full_copy: u32,
    pub(super) connects: u64,
    pub(super) attempts: u64,
    /// Traffic of connections that have ended.
    pub(super) past_traffic: (u64, u64),
    pub(super) stopping: bool,
}

/// A leg of a source. Its threads and its owner share it.
#[pin_data]
pub(crate) struct SourceLeg {
    pub(super) config: SourceConfig,
    pub(crate) volume: VolumeRef,
    #[pin]
    pub(super) inner: Mutex<Inner>,
    /// Raised when the connecting thread has something to do.
    #[pin]
    pub(super) wake: Wake,
    /// How often an operator asked for a full copy; changed and compared only while the superblock is being changed.
    pub(super) full_copies: Atomic<u32>,
    /// Whoever waits for the target does not want to wait for long; see [`SourceLeg::hurry`].
    hurried: Atomic<bool>,
}

impl SourceLeg {
    pub(super) fn new(config: SourceConfig, volume: VolumeRef) -> Result<Arc<Self>> {
        let inner = Inner {
            machine: Machine::new(),
            backoff: Backoff::new(),
            behind: Behind::NEW,
            fell: false,
            retry_at: 0,
            link: None,
            peer: Name::EMPTY,
            skipped_bytes: 0,
            reason: Text::truncated("the target has not been reached yet"),
            cause: Text::EMPTY,
            cause_stands: false,
            progress: None,
            last_resync: ResyncStatus::default(),
            marked_all: false,
            copying: false,
            waits: false,
            copied_before: 0,
            full_copy: 0,
            connects: 0,
            attempts: 0,
            past_traffic: (0, 0),
            stopping: false,
        };
        Arc::pin_init(
            pin_init!(Self {
                config,
                volume,
                inner <- new_mutex!(inner, "netraid_leg"),
                wake <- Wake::new(),
                full_copies: Atomic::new(0),
                hurried: Atomic::new(false),
            }),
            GFP_KERNEL,
        )
    }

    /// Takes in an event; `reason` explains it to the operator. May sleep. No lock may be held.
    pub(crate) fn fire(&self, event: Event, reason: Option<Text>) {
        let mut inner = self.inner.lock();
        self.fire_locked(&mut inner, event, reason).report(self, inner);
    }

    /// As [`SourceLeg::fire`], unless the connection is not `link` any more: a thread that was slow to notice the end
    /// of one must not end the next.
    pub(crate) fn fire_on(&self, link: &Arc<Link>, event: Event, reason: Option<Text>) {
        let mut inner = self.inner.lock();
        if inner.link.as_ref().is_some_and(|now| Arc::ptr_eq(now, link)) {
            self.fire_locked(&mut inner, event, reason).report(self, inner);
        }
    }

    pub(super) fn fire_locked(&self, inner: &mut Inner, event: Event, reason: Option<Text>) -> Reports {
        let mut reports = Reports::default();
        if let Some(reason) = reason {
            inner.reason = reason;
        }
        let mut next = Some(event);
        while let Some(event) = next.take() {
            for action in inner.machine.on_event(event).iter() {
                if let Some(follows) = self.execute(inner, action, &mut reports) {
                    next = Some(follows);
                }
            }
            if event == Event::Refused {
                reports.refused = true;
            }
        }
        reports
    }

    /// Does one thing, and says what follows at once from it.
    fn execute(&self, inner: &mut Inner, action: Action, reports: &mut Reports) -> Option<Event> {
        let now = misc::now_ms();
        match action {
            Action::ArmBackoff => {
                let ms = inner.backoff.next(misc::random_u32());
                inner.retry_at = now.saturating_add(u64::from(ms));
            }
            Action::ArmSlow => {
                let ms = inner.backoff.slow(misc::random_u32());
                inner.retry_at = now.saturating_add(u64::from(ms));
            }
            Action::ArmBehind => {
                let ms = inner.behind.fall(now);
                inner.retry_at = now.saturating_add(u64::from(ms));
                inner.fell = true;
                inner.reason = Text::format(format_args!(
                    "{} can't keep up with the application; it catches up by a resync in {} s",
                    inner.peer,
                    ms / 1000
                ));
            }
            Action::ResetBackoff => {
                inner.backoff.reset();
                inner.behind.caught_up(now);
            }
            Action::Close => inner.close(),
            Action::GoLive => {
                return Some(match self.volume.go_live(self.number()) {
                    Some(true) => Event::LiveClean,
                    Some(false) => Event::LiveDirty,
                    None => {
                        inner.reason = Text::truncated(NOTHING_TO_COPY);
                        Event::Lost
                    }
                });
            }
            Action::Cut => return self.volume.cut(self.number()).then_some(Event::Drained),
            Action::Abandon => self.volume.abandon(self.number()),
            // Marked, and on record, before the greeting was answered.
            Action::MarkAll => inner.marked_all = true,
            Action::StartResync => self.start_resync(inner, now),
            Action::StopResync => self.stop_resync(inner, now),
            Action::SendResyncDone => self.volume.send_control(self.number(), Kind::ResyncDone),
            Action::SendPause => self.volume.send_control(self.number(), Kind::Pause),
            Action::SendResume => self.volume.send_control(self.number(), Kind::Resume),
            Action::Notify => reports.changed = true,
            Action::NotifyDone => {
                reports.changed = true;
                reports.done = true;
            }
        }
        None
    }

    fn start_resync(&self, inner: &mut Inner, now: u64) {
        let counters = self.volume.counters(self.number());
        let asked = core::mem::take(&mut inner.marked_all);
        let full = asked || counters.dirty_bytes >= self.volume.geometry.size();
        inner.progress = Some(Progress::start(now, counters.dirty_bytes));
        inner.last_resync.count = inner.last_resync.count.saturating_add(1);
        inner.last_resync.full = full;
        let unmarked = self.volume.geometry.size().saturating_sub(counters.dirty_bytes);
        inner.skipped_bytes = inner.skipped_bytes.saturating_add(unmarked);
        inner.copied_before = counters.resynced();
        inner.copying = true;
        self.volume.raise_copied(self.number());
        self.volume.raise_outgoing(self.number());
    }

    fn stop_resync(&self, inner: &mut Inner, now: u64) {
        inner.copying = false;
        inner.waits = false;
        if inner.progress.is_some() {
            let copied = self.volume.counters(self.number()).resynced();
            inner.last_resync = inner.resync_status(now, copied);
            inner.progress = None;
        }
    }

    /// Which of the legs it is.
    pub(crate) fn number(&self) -> LegNumber {
        self.config.number
    }

    /// What the metadata says of its target.
    pub(super) fn noted<'a>(&self, sb: &'a Superblock) -> Option<&'a Peer> {
        sb.peers.get(self.number().index())
    }

    /// The same, to be changed.
    pub(super) fn note<'a>(&self, sb: &'a mut Superblock) -> Option<&'a mut Peer> {
        sb.peers.get_mut(self.number().index())
    }

    /// The connection in use, when both sides have agreed.
    pub(super) fn connected(&self) -> Option<Arc<Link>> {
        let inner = self.inner.lock();
        if inner.machine.state().is_connected() {
            inner.link.clone()
        } else {
            None
        }
    }

    /// Begins to connect.
    pub(crate) fn begin(&self) {
        self.fire(Event::Start, None);
    }

    /// Ends: nothing is sent any more, and the threads end as soon as they look.
    pub(super) fn stop(&self) {
        self.inner.lock().stopping = true;
        self.fire(Event::Stop, None);
        self.volume.raise_outgoing(self.number());
        self.volume.raise_copied(self.number());
    }

    /// From now on a target that confirms nothing is given up as soon as one from which nothing is heard: an operator
    /// wants the mirror out of service by force, and whatever is missing there is marked.
    pub(crate) fn hurry(&self) {
        self.hurried.store(true, Relaxed);
    }

    /// For how long the target may confirm nothing, milliseconds.
    pub(super) fn confirm_ms(&self) -> u64 {
        if self.hurried.load(Relaxed) {
            u64::from(self.config.timing.timeout_ms)
        } else {
            self.config.timing.confirm_ms()
        }
    }

    /// The target's name and identity, once they are known.
    pub(super) fn peer(&self) -> (Name, Option<Id>) {
        self.volume.store.with(|sb| match self.noted(sb) {
            Some(peer) if peer.uuid != NO_ID => (peer.name, Some(peer.uuid)),
            _ => (Name::EMPTY, None),
        })
    }

    /// What the target is offered.
    pub(super) fn offered_features(&self) -> u64 {
        let asynchronous = self.config.replication == Replication::Asynchronous;
        source_features(!self.config.no_checksums, asynchronous)
    }

    /// The target's address.
    pub(crate) fn address(&self) -> Address {
        self.config.address
    }

    /// The name space its addresses are in.
    pub(crate) fn net(&self) -> NetNs {
        self.config.net.clone()
    }

    /// The connection over which marked chunks are to be copied now.
    pub(crate) fn copying_over(&self) -> Option<Arc<Link>> {
        let inner = self.inner.lock();
        inner.link.clone().filter(|_| inner.copying)
    }

    /// Whether marked chunks are still to be copied over this connection.
    pub(crate) fn is_copying_over(&self, link: &Arc<Link>) -> bool {
        let inner = self.inner.lock();
        inner.copying && inner.link.as_ref().is_some_and(|now| Arc::ptr_eq(now, link))
    }

    /// Puts on record that everything is to be copied, whatever the present connection is about to confirm; may sleep.
    pub(crate) fn ask_for_full_copy(&self) -> Result {
        self.volume.store.change(|sb| {
            self.full_copies.store(self.full_copies().wrapping_add(1), Relaxed);
            if let Some(peer) = self.note(sb) {
                peer.flags.set(PeerFlags::FULL, true);
                peer.flags.set(PeerFlags::PAUSED, false);
            }
        })
    }

    pub(super) fn full_copies(&self) -> u32 {
        self.full_copies.load(Relaxed)
    }

    /// Whether the leg is being taken away.
    pub(crate) fn is_stopping(&self) -> bool {
        self.inner.lock().stopping
    }
}

impl Inner {
    fn close(&mut self) {
        if let Some(link) = self.link.take() {
            let (sent, received) = link.traffic();
            self.past_traffic.0 = self.past_traffic.0.saturating_add(sent);
            self.past_traffic.1 = self.past_traffic.1.saturating_add(received);
            link.abort();
        }
    }

    pub(super) fn resync_status(&self, now: u64, copied: u64) -> ResyncStatus {
        let Some(progress) = self.progress else {
            return self.last_resync;
        };
        ResyncStatus {
            total: progress.total(),
            done: copied.saturating_sub(self.copied_before).min(progress.total()),
            elapsed_ms: progress.elapsed_ms(now),
            ..self.last_resync
        }
    }

    pub(super) fn shown_reason(&self) -> Text {
        use netraid_core::state::LegState::{FullyOperational, Resyncing};
        match self.machine.view() {
            FullyOperational => Text::EMPTY,
            Resyncing if self.waits => Text::truncated(WAITS),
            Resyncing => self.cause,
            _ => self.reason,
        }
    }

    pub(super) fn retry_in(&self, now: u64) -> Option<u64> {
        let waiting = self.machine.state() == netraid_core::leg::State::Waiting;
        waiting.then(|| self.retry_at.saturating_sub(now))
    }
}

/// What has to be told once no lock is held.
#[derive(Default)]
pub(super) struct Reports {
    changed: bool,
    done: bool,
    refused: bool,
}

impl Reports {
    /// Lets go of the leg's lock, then wakes its threads and tells the listeners.
    pub(super) fn report(self, leg: &SourceLeg, inner: kernel::sync::MutexGuard<'_, Inner>) {
        let reason = inner.shown_reason();
        let asked = inner.reason;
        drop(inner);
        leg.wake.raise();
        let (mirror, id) = (leg.config.node.mirror_id, leg.number().id());
        let tell = leg.config.observer;
        if self.refused {
            tell(mirror, id, Report::Refused(asked));
        }
        if self.changed {
            tell(mirror, id, Report::Changed(reason));
        }
        if self.done {
            tell(mirror, id, Report::Done);
        }
    }
}
