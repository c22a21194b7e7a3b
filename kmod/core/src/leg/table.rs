// SPDX-License-Identifier: GPL-2.0

//! The words of the leg's state machine: events, actions, and lists of all of them for tests.

use super::State;

/// What the handshake found out about the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// What the target holds is not known: everything has to be copied.
    pub full: bool,
    /// The target is in a pause: its device exists there and its own writes are tracked.
    pub target_paused: bool,
}

/// Something that happened to a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The leg was made or its mirror came into service.
    Start,
    /// The delay before the next connection attempt is over.
    Timer,
    /// The TCP connection stands.
    Connected,
    /// The TCP connection could not be made.
    ConnectFailed,
    /// The target agreed to mirror.
    Welcomed(Greeting),
    /// The target, or this side on reading its answer, refused.
    Refused,
    /// The connection broke, fell silent, or broke the protocol.
    Lost,
    /// The target's own map has arrived whole.
    MapDone,
    /// Answer to [`Action::GoLive`]: no chunk was marked at that moment.
    LiveClean,
    /// Answer to [`Action::GoLive`]: chunks were marked, and the target was told so first.
    LiveDirty,
    /// A resync found no dirty chunk left and none of its copies in flight.
    Clean,
    /// The target confirmed the end of the resync.
    DoneAcked,
    /// An operator wants replication to stop for a while.
    Pause,
    /// An operator wants replication to go on.
    Resume,
    /// No request is outstanding on this leg any more.
    Drained,
    /// The target confirmed the pause.
    PauseAcked,
    /// The target gave its device up; it sends its map next.
    ResumeAcked,
    /// The target's device is in use, so the pause goes on.
    ResumeRefused,
    /// So much is outstanding that a write would have to wait, and the operator does not want that; see
    /// [`behind`](crate::behind).
    Congested,
    /// The leg is being removed or its mirror goes out of service.
    Stop,
}

/// Every event, for exhaustive tests.
pub const ALL_EVENTS: [Event; 23] = [
    Event::Start,
    Event::Timer,
    Event::Connected,
    Event::ConnectFailed,
    Event::Welcomed(ALL_GREETINGS[0]),
    Event::Welcomed(ALL_GREETINGS[1]),
    Event::Welcomed(ALL_GREETINGS[2]),
    Event::Welcomed(ALL_GREETINGS[3]),
    Event::Refused,
    Event::Lost,
    Event::MapDone,
    Event::LiveClean,
    Event::LiveDirty,
    Event::Clean,
    Event::DoneAcked,
    Event::Pause,
    Event::Resume,
    Event::Drained,
    Event::PauseAcked,
    Event::ResumeAcked,
    Event::ResumeRefused,
    Event::Congested,
    Event::Stop,
];

/// Every greeting, for exhaustive tests.
pub const ALL_GREETINGS: [Greeting; 4] = [
    Greeting {
        full: false,
        target_paused: false,
    },
    Greeting {
        full: false,
        target_paused: true,
    },
    Greeting {
        full: true,
        target_paused: false,
    },
    Greeting {
        full: true,
        target_paused: true,
    },
];

/// Every state, for exhaustive tests.
pub const ALL_STATES: [State; 13] = [
    State::Idle,
    State::Waiting,
    State::Connecting,
    State::Handshake,
    State::Merging,
    State::Starting,
    State::Resyncing,
    State::Finishing,
    State::Synced,
    State::Pausing,
    State::PauseSent,
    State::Paused,
    State::Resuming,
];

/// Something the module has to do now. None of them waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Set the timer for the next attempt after a lost or failed connection.
    ArmBackoff,
    /// Set the timer for the next attempt after a refusal: it is rarely cured within seconds.
    ArmSlow,
    /// Set the timer for catching up after the leg fell behind.
    ArmBehind,
    /// A connection proved its worth: the next delay starts small again.
    ResetBackoff,
    /// Shut the socket down.
    Close,
    /// From now on application writes go to the target as well. In the same critical section see
    /// whether a chunk is marked; if so, queue a resync-start ahead of the first such write, so that
    /// the target knows its copy is unusable before it changes. Answer with `LiveClean` or `LiveDirty`.
    GoLive,
    /// From now on application writes only mark the dirty map; what was sent runs on.
    Cut,
    /// Give up on what is outstanding: mark it in the dirty map, then release it.
    Abandon,
    /// Mark every chunk.
    MarkAll,
    /// Count a new resync and start copying marked chunks.
    StartResync,
    /// Stop copying marked chunks.
    StopResync,
    /// Ask the target to make what it has durable and to call its copy usable.
    SendResyncDone,
    /// Ask the target to open its device while nothing is sent.
    SendPause,
    /// Ask the target to give its device up.
    SendResume,
    /// Tell the listeners of events that the leg changed.
    Notify,
    /// Tell the listeners of events that a resync is complete.
    NotifyDone,
}

/// Up to eight actions, in the order in which they are to be done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Actions {
    items: [Option<Action>; 8],
    len: usize,
}

impl Actions {
    /// Appends an action; the table never asks for more than eight.
    pub(super) fn push(&mut self, action: Action) {
        if let Some(slot) = self.items.get_mut(self.len) {
            *slot = Some(action);
            self.len = self.len.saturating_add(1);
        } else {
            debug_assert!(false, "more than eight actions for one event");
        }
    }

    /// Appends several actions.
    pub(super) fn extend(&mut self, actions: &[Action]) {
        for action in actions {
            self.push(*action);
        }
    }

    /// The actions in order.
    pub fn iter(&self) -> impl Iterator<Item = Action> + '_ {
        self.items.iter().filter_map(|item| *item)
    }

    /// Whether `action` is among them.
    pub fn contains(&self, action: Action) -> bool {
        self.iter().any(|item| item == action)
    }
}
