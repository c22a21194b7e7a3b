// SPDX-License-Identifier: GPL-2.0

//! What a leg does next: the state machine of a source's leg.
//!
//! The machine is a table: [`Machine::on_event`] has one arm for every state,
//! and in it one for every event. It owns no clock, no socket and no map; it
//! returns [`Action`]s, each of which has exactly one executor in the module.

mod machine;
mod table;

pub use machine::{Machine, State};
pub use table::{Action, Actions, Event, Greeting, ALL_EVENTS, ALL_GREETINGS, ALL_STATES};
