// SPDX-License-Identifier: GPL-2.0

//! The leg's state machine: every state with every event, and the promises that hold along every path.

use netraid_core::leg::{Action, Event, Greeting, Machine, State, ALL_EVENTS, ALL_GREETINGS, ALL_STATES};
use netraid_core::state::LegState;
use proptest::prelude::*;

fn replay(events: &[Event]) -> Machine {
    let mut machine = Machine::new();
    for event in events {
        machine.on_event(*event);
    }
    machine
}

const HELLO: Event = Event::Welcomed(Greeting {
    full: false,
    target_paused: false,
});

/// Any event in any state leaves a state from the list, and a connection that ends always gives up what was
/// outstanding, so that no request waits for an answer that can't come. Covers: S24.
#[test]
fn every_connection_that_ends_abandons_what_was_outstanding() {
    for state in ALL_STATES {
        for paused in [false, true] {
            for event in ALL_EVENTS {
                let mut machine = Machine::in_state(state, paused);
                let actions = machine.on_event(event);
                assert!(ALL_STATES.contains(&machine.state()));
                if state.is_connected() && !machine.state().is_connected() {
                    assert!(actions.contains(Action::Abandon), "{state:?} {event:?}");
                    assert!(actions.contains(Action::Close), "{state:?} {event:?}");
                    assert!(actions.contains(Action::StopResync), "{state:?} {event:?}");
                }
            }
        }
    }
}

/// No state keeps a leg for ever: from each one a lost connection leads to another attempt, and a stop ends it.
#[test]
fn every_state_can_be_left_by_stop_and_leads_back_to_an_attempt_after_a_loss() {
    for state in ALL_STATES {
        let mut machine = Machine::in_state(state, false);
        machine.on_event(Event::Stop);
        assert_eq!(machine.state(), State::Idle);
        let mut machine = Machine::in_state(state, false);
        let actions = machine.on_event(Event::Lost);
        if state.is_connected() || state == State::Handshake {
            assert_eq!(machine.state(), State::Waiting);
            assert!(actions.contains(Action::ArmBackoff));
        } else {
            assert_eq!(machine.state(), state, "a late loss must not disturb {state:?}");
        }
    }
}

/// Only a leg that is in step can fall behind: in any other state nobody waits for it, or the resync has to come to its
/// end first. The attempt to catch up follows by the timer, and ends in step. Covers: S45.
#[test]
fn only_a_leg_in_step_falls_behind_and_it_catches_up() {
    for state in ALL_STATES {
        for paused in [false, true] {
            let mut machine = Machine::in_state(state, paused);
            let actions = machine.on_event(Event::Congested);
            if state == State::Synced {
                assert_eq!(machine.state(), State::Waiting);
                let wanted = [
                    Action::StopResync,
                    Action::Close,
                    Action::Abandon,
                    Action::ArmBehind,
                    Action::Notify,
                ];
                assert!(actions.iter().eq(wanted));
            } else {
                assert_eq!(machine.state(), state);
                assert_eq!(actions.iter().count(), 0, "{state:?}");
            }
        }
    }
    let mut machine = Machine::in_state(State::Synced, false);
    let back = [
        Event::Congested,
        Event::Timer,
        Event::Connected,
        HELLO,
        Event::LiveDirty,
        Event::Clean,
        Event::DoneAcked,
    ];
    for event in back {
        machine.on_event(event);
    }
    assert_eq!(machine.view(), LegState::FullyOperational);
}

/// A fresh leg connects, copies and is then in sync. Covers: S20, S23.
#[test]
fn a_fresh_leg_marks_everything_and_ends_fully_operational() {
    let mut machine = replay(&[Event::Start, Event::Connected]);
    let actions = machine.on_event(Event::Welcomed(Greeting {
        full: true,
        target_paused: false,
    }));
    let order: Vec<_> = actions.iter().collect();
    assert_eq!(order, [Action::MarkAll, Action::GoLive]);
    machine.on_event(Event::LiveDirty);
    assert_eq!(machine.view(), LegState::Resyncing);
    assert!(machine.on_event(Event::Clean).contains(Action::SendResyncDone));
    assert_eq!(
        machine.view(),
        LegState::Resyncing,
        "not usable before the target says so"
    );
    assert!(machine.on_event(Event::DoneAcked).contains(Action::NotifyDone));
    assert_eq!(machine.view(), LegState::FullyOperational);
}

/// A reconnect with nothing marked copies nothing and never calls the target's copy unusable. Covers: S25.
#[test]
fn a_reconnect_with_nothing_marked_starts_no_resync() {
    let mut machine = replay(&[Event::Start, Event::Connected, HELLO]);
    let actions = machine.on_event(Event::LiveClean);
    assert!(actions.contains(Action::SendResyncDone));
    assert!(!actions.contains(Action::StartResync));
    assert!(!machine.on_event(Event::DoneAcked).contains(Action::NotifyDone));
}

/// A pause first lets what was sent be confirmed, then tells the target. Covers: S228.
#[test]
fn a_pause_is_told_to_the_target_only_after_everything_sent_was_confirmed() {
    let mut machine = Machine::in_state(State::Synced, false);
    let actions = machine.on_event(Event::Pause);
    assert!(actions.contains(Action::Cut) && !actions.contains(Action::SendPause));
    assert!(machine.on_event(Event::Drained).contains(Action::SendPause));
    machine.on_event(Event::PauseAcked);
    assert_eq!(machine.view(), LegState::Paused);
}

/// A pause outlives a lost connection, in what the operator sees too. Covers: S228.
#[test]
fn a_pause_outlives_a_lost_connection() {
    let mut machine = replay(&[Event::Start, Event::Pause, Event::Connected]);
    assert_eq!(machine.view(), LegState::Paused);
    let actions = machine.on_event(HELLO);
    assert!(actions.contains(Action::SendPause) && !actions.contains(Action::GoLive));
    assert_eq!(machine.view(), LegState::Paused);
    machine.on_event(Event::PauseAcked);
    assert_eq!(machine.view(), LegState::Paused);
}

/// A pause that ends a replication is not shown before the target has confirmed it: its device can't be opened
/// earlier. Covers: S228.
#[test]
fn a_new_pause_is_shown_when_the_target_has_confirmed_it() {
    let mut machine = Machine::in_state(State::Resyncing, false);
    for event in [Event::Pause, Event::Drained] {
        machine.on_event(event);
        assert_eq!(machine.view(), LegState::OutOfSync, "{event:?}");
    }
    machine.on_event(Event::PauseAcked);
    assert_eq!(machine.view(), LegState::Paused);
}

/// What the target wrote in a pause is fetched before a write goes to it again. Covers: S60, S230.
#[test]
fn a_resume_merges_the_targets_map_before_it_goes_live() {
    let mut machine = Machine::in_state(State::Paused, true);
    assert!(machine.on_event(Event::Resume).contains(Action::SendResume));
    assert!(!machine.on_event(Event::ResumeAcked).contains(Action::GoLive));
    assert_eq!(machine.state(), State::Merging);
    assert!(machine.on_event(Event::MapDone).contains(Action::GoLive));
}

/// A target whose device is in use stays paused. Covers: S229.
#[test]
fn a_refused_resume_is_a_pause_again() {
    let mut machine = Machine::in_state(State::Resuming, false);
    machine.on_event(Event::ResumeRefused);
    assert_eq!(machine.view(), LegState::Paused);
    assert!(machine.pause_wanted());
}

/// A target found in a pause is never written to before it gave its device up. Covers: S230.
#[test]
fn a_target_found_in_a_pause_is_resumed_first() {
    for greeting in ALL_GREETINGS {
        let mut machine = Machine::in_state(State::Handshake, false);
        let actions = machine.on_event(Event::Welcomed(greeting));
        assert_eq!(actions.contains(Action::GoLive), !greeting.target_paused);
        assert_eq!(actions.contains(Action::MarkAll), greeting.full);
    }
}

proptest! {
    /// Along any path: writes are live only between GoLive and the next Cut or Abandon, and never
    /// while the target believes in a pause (it may have its device open then).
    #[test]
    fn writes_are_never_live_while_the_target_is_paused(path in prop::collection::vec(0..ALL_EVENTS.len(), 0..200)) {
        let mut machine = Machine::new();
        let (mut live, mut target_paused) = (false, false);
        for index in path {
            let event = ALL_EVENTS[index];
            if let Event::Welcomed(greeting) = event {
                // The target's own memory decides, not the greeting the test picked.
                if machine.state() == State::Handshake && greeting.target_paused != target_paused {
                    continue;
                }
            }
            if event == Event::ResumeAcked && machine.state() == State::Resuming {
                target_paused = false;
            }
            let before = machine.state();
            for action in machine.on_event(event).iter() {
                match action {
                    Action::GoLive => { prop_assert!(!live && !target_paused); live = true; }
                    Action::Cut | Action::Abandon => live = false,
                    Action::SendPause => { prop_assert!(!live); target_paused = true; }
                    Action::StartResync => prop_assert!(live),
                    _ => {}
                }
            }
            prop_assert!(!(live && target_paused), "{before:?} {event:?}");
        }
    }
}

/// A target that greets well and then breaks is not asked ten times a second: only a copy that is complete, or a pause
/// that stands, makes the next delay small again. Covers: S24.
#[test]
fn delays_start_small_again_only_after_a_connection_that_was_of_use() {
    for state in ALL_STATES {
        for event in ALL_EVENTS {
            let mut machine = Machine::in_state(state, true);
            let reset = machine.on_event(event).contains(Action::ResetBackoff);
            let of_use = matches!(
                (state, event),
                (State::Finishing, Event::DoneAcked) | (State::PauseSent, Event::PauseAcked)
            );
            assert_eq!(reset, of_use, "{state:?} {event:?}");
        }
    }
}
