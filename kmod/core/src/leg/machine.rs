// SPDX-License-Identifier: GPL-2.0

//! The transition table of a source's leg.

use super::table::{
    Action::{self, *},
    Actions,
    Event::{self, *},
    Greeting,
};
use crate::state::{Connection, LegState};

/// Where a leg stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not in service.
    Idle,
    /// Between two connection attempts.
    Waiting,
    /// A TCP connection is being made.
    Connecting,
    /// Greetings are being exchanged.
    Handshake,
    /// The target's own map is being received and added to the dirty map.
    Merging,
    /// Writes are about to go to the target; see [`Action::GoLive`].
    Starting,
    /// Marked chunks are being copied while the application writes.
    Resyncing,
    /// Every chunk is copied; the target makes that durable.
    Finishing,
    /// Both copies are the same.
    Synced,
    /// A pause was asked for; what was sent is still being confirmed.
    Pausing,
    /// The target was told of the pause.
    PauseSent,
    /// The pause stands on both sides.
    Paused,
    /// The target was asked to give its device up.
    Resuming,
}

impl State {
    /// Whether both sides have agreed and the connection is in use.
    pub const fn is_connected(self) -> bool {
        !matches!(self, Self::Idle | Self::Waiting | Self::Connecting | Self::Handshake)
    }
}

/// The state machine of one leg on the source.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    state: State,
    paused: bool,
    copying: bool,
    /// The pause that is being agreed on ends a replication; otherwise it only goes on after a connection was lost.
    ends_replication: bool,
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

impl Machine {
    /// A leg that is not yet in service.
    pub const fn new() -> Self {
        Self {
            state: State::Idle,
            paused: false,
            copying: false,
            ends_replication: false,
        }
    }

    /// A leg in any state, for exhaustive tests.
    pub const fn in_state(state: State, paused: bool) -> Self {
        Self {
            state,
            paused,
            copying: matches!(state, State::Resyncing | State::Finishing),
            ends_replication: matches!(state, State::Pausing | State::PauseSent),
        }
    }

    /// Where the leg stands.
    pub const fn state(&self) -> State {
        self.state
    }

    /// Whether an operator wants a pause.
    pub const fn pause_wanted(&self) -> bool {
        self.paused
    }

    /// The word an operator sees for the copy.
    pub const fn view(&self) -> LegState {
        match self.state {
            State::Synced => LegState::FullyOperational,
            State::Resyncing | State::Finishing => LegState::Resyncing,
            State::Paused => LegState::Paused,
            // Not yet a pause that both sides stand by.
            State::Pausing | State::PauseSent if self.ends_replication => LegState::OutOfSync,
            // A pause outlives a lost connection: the operator asked for it and has to end it.
            _ if self.paused => LegState::Paused,
            _ => LegState::OutOfSync,
        }
    }

    /// The word an operator sees for the connection.
    pub const fn connection(&self) -> Connection {
        match self.state {
            State::Idle => Connection::Disconnected,
            State::Waiting => Connection::Waiting,
            State::Connecting => Connection::Connecting,
            State::Handshake => Connection::Handshake,
            _ => Connection::Connected,
        }
    }

    /// Takes in one event and says what has to be done.
    ///
    /// An event that means nothing in a state (an answer that arrives after the connection it belongs
    /// to was lost, a second request for what already holds) changes nothing and asks for nothing. An
    /// answer nobody asked for, on a live connection, breaks the protocol and ends the connection.
    pub fn on_event(&mut self, event: Event) -> Actions {
        let mut out = Actions::default();
        match event {
            Stop => return self.stop(),
            Lost if self.state.is_connected() || self.state == State::Handshake => {
                self.lose(&mut out);
                return out;
            }
            Pause => self.paused = true,
            Resume => self.paused = false,
            _ => {}
        }
        match self.state {
            State::Idle => self.idle(event, &mut out),
            State::Waiting | State::Connecting | State::Handshake => {
                self.unconnected(event, &mut out);
            }
            State::Merging => self.merging(event, &mut out),
            State::Starting => self.starting(event, &mut out),
            State::Resyncing => self.resyncing(event, &mut out),
            State::Finishing => self.finishing(event, &mut out),
            State::Synced => self.synced(event, &mut out),
            State::Pausing => self.pausing(event, &mut out),
            State::PauseSent => self.pause_sent(event, &mut out),
            State::Paused => self.in_pause(event, &mut out),
            State::Resuming => self.resuming(event, &mut out),
        }
        out
    }

    fn go(&mut self, state: State, actions: &[Action], out: &mut Actions) {
        if state == State::Pausing {
            self.ends_replication = true;
        } else if state != State::PauseSent {
            self.ends_replication = false;
        }
        self.state = state;
        out.extend(actions);
    }

    fn stop(&mut self) -> Actions {
        let mut out = Actions::default();
        if self.state != State::Idle {
            self.copying = false;
            self.go(State::Idle, &[StopResync, Close, Abandon, Notify], &mut out);
        }
        out
    }

    fn lose(&mut self, out: &mut Actions) {
        self.copying = false;
        self.go(State::Waiting, &[StopResync, Close, Abandon, ArmBackoff, Notify], out);
    }

    /// An answer that was not asked for, on a live connection.
    fn violate(&mut self, out: &mut Actions) {
        self.lose(out);
    }

    fn idle(&mut self, event: Event, out: &mut Actions) {
        match event {
            Start => self.go(State::Connecting, &[Notify], out),
            Pause | Resume => out.push(Notify),
            Timer | Connected | ConnectFailed | Welcomed(_) | Refused | Lost | MapDone | LiveClean | LiveDirty
            | Clean | DoneAcked | Drained | PauseAcked | ResumeAcked | ResumeRefused | Stop | Congested => {}
        }
    }

    fn unconnected(&mut self, event: Event, out: &mut Actions) {
        match (self.state, event) {
            (_, Pause | Resume) => out.push(Notify),
            (State::Waiting, Timer) => self.go(State::Connecting, &[Notify], out),
            (State::Connecting, Connected) => self.go(State::Handshake, &[Notify], out),
            (State::Connecting, ConnectFailed) => {
                self.go(State::Waiting, &[Close, ArmBackoff, Notify], out);
            }
            (State::Handshake, Welcomed(greeting)) => self.welcomed(greeting, out),
            (State::Handshake, Refused) => {
                self.go(State::Waiting, &[Close, ArmSlow, Notify], out);
            }
            // Late answers of a connection that is gone.
            (_, _) => {}
        }
    }

    fn welcomed(&mut self, greeting: Greeting, out: &mut Actions) {
        if greeting.full {
            out.push(MarkAll);
        }
        match (self.paused, greeting.target_paused) {
            (true, _) => self.go(State::PauseSent, &[SendPause, Notify], out),
            (false, true) => self.go(State::Resuming, &[SendResume, Notify], out),
            (false, false) => self.go(State::Starting, &[GoLive], out),
        }
    }

    fn merging(&mut self, event: Event, out: &mut Actions) {
        match event {
            MapDone if self.paused => self.go(State::PauseSent, &[SendPause, Notify], out),
            MapDone => self.go(State::Starting, &[GoLive], out),
            DoneAcked | PauseAcked | ResumeAcked | ResumeRefused => self.violate(out),
            // A pause takes effect when the map is whole.
            Pause | Resume | Start | Timer | Connected | ConnectFailed | Welcomed(_) | Refused | Lost | LiveClean
            | LiveDirty | Clean | Drained | Stop | Congested => {}
        }
    }

    fn starting(&mut self, event: Event, out: &mut Actions) {
        match event {
            LiveClean => self.go(State::Finishing, &[SendResyncDone, Notify], out),
            LiveDirty => {
                self.copying = true;
                self.go(State::Resyncing, &[StartResync, Notify], out);
            }
            Pause => self.go(State::Pausing, &[Cut, Notify], out),
            MapDone | DoneAcked | PauseAcked | ResumeAcked | ResumeRefused => self.violate(out),
            Resume | Start | Timer | Connected | ConnectFailed | Welcomed(_) | Refused | Lost | Clean | Drained
            | Stop | Congested => {}
        }
    }

    fn resyncing(&mut self, event: Event, out: &mut Actions) {
        match event {
            Clean => self.go(State::Finishing, &[StopResync, SendResyncDone], out),
            Pause => self.pause(out),
            MapDone | DoneAcked | PauseAcked | ResumeAcked | ResumeRefused => self.violate(out),
            Resume | Start | Timer | Connected | ConnectFailed | Welcomed(_) | Refused | Lost | LiveClean
            | LiveDirty | Drained | Stop | Congested => {}
        }
    }

    fn finishing(&mut self, event: Event, out: &mut Actions) {
        match event {
            DoneAcked => {
                let done = if self.copying { NotifyDone } else { Notify };
                self.copying = false;
                // Not before: a target that greets and then breaks must not be asked ten times a second.
                self.go(State::Synced, &[ResetBackoff, done], out);
            }
            Pause => self.pause(out),
            MapDone | PauseAcked | ResumeAcked | ResumeRefused => self.violate(out),
            Resume | Start | Timer | Connected | ConnectFailed | Welcomed(_) | Refused | Lost | LiveClean
            | LiveDirty | Clean | Drained | Stop | Congested => {}
        }
    }

    fn synced(&mut self, event: Event, out: &mut Actions) {
        match event {
            Pause => self.pause(out),
            // As if the connection was lost: what is outstanding is marked, and nothing waits for the target any more.
            Congested => self.go(State::Waiting, &[StopResync, Close, Abandon, ArmBehind, Notify], out),
            MapDone | DoneAcked | PauseAcked | ResumeAcked | ResumeRefused => self.violate(out),
            Resume | Start | Timer | Connected | ConnectFailed | Welcomed(_) | Refused | Lost | LiveClean
            | LiveDirty | Clean | Drained | Stop => {}
        }
    }

    fn pause(&mut self, out: &mut Actions) {
        self.copying = false;
        self.go(State::Pausing, &[StopResync, Cut, Notify], out);
    }

    fn pausing(&mut self, event: Event, out: &mut Actions) {
        match event {
            Drained => self.go(State::PauseSent, &[SendPause], out),
            // The answer to a resync-done that was under way when the pause was asked for.
            DoneAcked => {}
            MapDone | PauseAcked | ResumeAcked | ResumeRefused => self.violate(out),
            // A resume takes effect when the target has confirmed the pause.
            Pause | Resume | Start | Timer | Connected | ConnectFailed | Welcomed(_) | Refused | Lost | LiveClean
            | LiveDirty | Clean | Stop | Congested => {}
        }
    }

    fn pause_sent(&mut self, event: Event, out: &mut Actions) {
        match event {
            PauseAcked if self.paused => self.go(State::Paused, &[ResetBackoff, Notify], out),
            PauseAcked => self.go(State::Resuming, &[SendResume, Notify], out),
            DoneAcked => {}
            MapDone | ResumeAcked | ResumeRefused => self.violate(out),
            Pause | Resume | Start | Timer | Connected | ConnectFailed | Welcomed(_) | Refused | Lost | LiveClean
            | LiveDirty | Clean | Drained | Stop | Congested => {}
        }
    }

    fn in_pause(&mut self, event: Event, out: &mut Actions) {
        match event {
            Resume => self.go(State::Resuming, &[SendResume, Notify], out),
            MapDone | DoneAcked | PauseAcked | ResumeAcked | ResumeRefused => self.violate(out),
            Pause | Start | Timer | Connected | ConnectFailed | Welcomed(_) | Refused | Lost | LiveClean
            | LiveDirty | Clean | Drained | Stop | Congested => {}
        }
    }

    fn resuming(&mut self, event: Event, out: &mut Actions) {
        match event {
            ResumeAcked => self.go(State::Merging, &[Notify], out),
            ResumeRefused => {
                self.paused = true;
                self.go(State::Paused, &[Notify], out);
            }
            MapDone | DoneAcked | PauseAcked => self.violate(out),
            // A new pause takes effect when the target has given its device up and sent its map.
            Pause | Resume | Start | Timer | Connected | ConnectFailed | Welcomed(_) | Refused | Lost | LiveClean
            | LiveDirty | Clean | Drained | Stop | Congested => {}
        }
    }
}
