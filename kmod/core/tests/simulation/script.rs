// SPDX-License-Identifier: GPL-2.0

//! Histories that are written down.

use super::events::{End, Event};
use super::world::{Config, World};

/// Two machines whose copies are equal, so that the first resync is over soon.
pub(crate) const EQUAL: Config = Config {
    prepared: true,
    ..Config::PAIR
};

/// A connection, until the source knows what is to be copied.
pub(crate) const GREET: [Event; 8] = [
    Event::Attempt(0),
    Event::Deliver(0, 1, 0, End::Target),
    Event::Deliver(0, 1, 0, End::Source),
    Event::Journal(0),
    Event::Journal(0),
    Event::Journal(0),
    Event::Prepare(0),
    Event::Prepare(0),
];

/// A luck with which everything that a disk had not made durable is lost.
pub(crate) const ALL_LOST: u64 = 0;

/// Events, one after the other.
pub(crate) fn happen(world: &mut World, events: &[Event]) {
    for &event in events {
        world.happen(event);
        // Shown where the test fails.
        println!("{event:?}\n{}", world.trace());
    }
}

/// Everything that comes of itself, until nothing is left to do, but for rounds of the intent log that nobody waits for.
pub(crate) fn calm(world: &mut World) {
    let (mut possible, mut attempts) = (Vec::new(), 0);
    for _ in 0..2000 {
        world.possible(&mut possible);
        possible.retain(|event| match event {
            Event::Round(node) => world.nodes[*node].op.is_some(),
            Event::Attempt(_) => attempts < 8,
            _ => true,
        });
        let useful = possible.iter().find(|event| !matches!(event, Event::Attempt(_)));
        let Some(&event) = useful.or(possible.first()) else {
            return;
        };
        attempts += usize::from(matches!(event, Event::Attempt(_)));
        world.happen(event);
    }
}

/// Events, and after them everything that comes of itself.
macro_rules! then_calm {
    ($world:expr => $($event:expr),* $(,)?) => {{
        $crate::simulation::script::happen($world, &[$($event),*]);
        $crate::simulation::script::calm($world);
    }};
}

/// Events and nothing else.
macro_rules! tell {
    ($world:expr => $($event:expr),* $(,)?) => {
        $crate::simulation::script::happen($world, &[$($event),*])
    };
}

pub(crate) use {tell, then_calm};
