// SPDX-License-Identifier: GPL-2.0

//! Histories: random ones, and those that are told again.

use super::bugs::Bugs;
use super::disk::CHUNKS;
use super::events::{End, Event};
use super::node::Active;
use super::plans::{plan, PLANS};
use super::rng::Rng;
use super::world::{Config, Counts, World};
use netraid_core::ownership::StartMode;
use std::collections::VecDeque;

/// How often things happen in a history: each once in so many events of all.
struct Climate {
    write: usize,
    network: usize,
    machine: usize,
    operator: usize,
    steps: usize,
    /// What someone has in mind.
    plan: usize,
    /// How many of eight times a thread is interrupted in the middle of what it does.
    slow: usize,
}

impl Climate {
    fn of(rng: &mut Rng) -> Self {
        let mut pick = |values: [usize; 3]| values[rng.below(3)];
        Self {
            write: pick([4, 6, 12]),
            network: pick([20, 60, 1000]),
            machine: pick([30, 80, 1000]),
            operator: pick([15, 40, 120]),
            steps: pick([80, 160, 400]),
            plan: pick([60, 150, 1000]),
            slow: pick([1, 3, 7]),
        }
    }
}

/// What came of a history.
pub(crate) struct Outcome {
    pub(crate) config: Config,
    pub(crate) events: Vec<Event>,
    pub(crate) failure: Option<String>,
    pub(crate) counts: Counts,
}

/// A history from a seed.
pub(crate) fn random(seed: u64, bugs: Bugs) -> Outcome {
    let mut rng = Rng::new(seed);
    let no_bitmap = rng.one_in(10);
    let config = Config {
        nodes: [2, 2, 2, 3, 4][rng.below(5)],
        new: !no_bitmap && rng.one_in(5),
        prepared: rng.one_in(6),
        no_bitmap,
        cacheless: [0, 0, 0b1111, rng.below(16) as u8][rng.below(4)],
        bugs,
    };
    let climate = Climate::of(&mut rng);
    let mut run = Run {
        world: World::new(config),
        rng,
        events: Vec::new(),
        possible: Vec::new(),
        slow: climate.slow,
        planned: VecDeque::new(),
    };
    run.happen(Event::Extend(0, 1));
    if !run.rng.one_in(3) {
        run.calm();
    }
    for _ in 0..climate.steps {
        if run.world.failure.is_some() {
            break;
        }
        run.step(&climate);
    }
    run.converge();
    Outcome {
        config,
        events: run.events,
        failure: run.world.failure,
        counts: Counts {
            histories: 1,
            ..run.world.counts
        },
    }
}

/// Whether something comes again and again, whatever comes of it.
pub(crate) fn is_vain(event: &Event) -> bool {
    matches!(event, Event::Attempt(_) | Event::Round(_))
}

pub(crate) struct Run {
    pub(crate) world: World,
    pub(crate) rng: Rng,
    pub(crate) events: Vec<Event>,
    possible: Vec<Event>,
    slow: usize,
    planned: VecDeque<Event>,
}

impl Run {
    pub(crate) fn happen(&mut self, event: Event) {
        if self.world.failure.is_none() {
            self.events.push(event);
            self.world.happen(event);
        }
    }

    fn step(&mut self, climate: &Climate) {
        if !self.planned.is_empty() && self.rng.one_in(8) {
            if let Some(event) = self.planned.pop_front() {
                self.happen(event);
            }
        } else if self.planned.is_empty() && self.rng.one_in(climate.plan) {
            self.intend();
        } else if self.rng.one_in(climate.write) {
            self.application();
        } else if self.rng.one_in(climate.network) {
            self.network();
        } else if self.rng.one_in(climate.machine) {
            self.machine();
        } else if self.rng.one_in(climate.operator) {
            self.operator();
        } else {
            self.nature(false);
        }
    }

    fn any(&mut self) -> usize {
        self.rng.below(self.world.nodes.len())
    }

    fn application(&mut self) {
        let open: Vec<usize> = (0..self.world.nodes.len())
            .filter(|&node| self.world.nodes[node].is_open())
            .collect();
        if open.is_empty() {
            return;
        }
        let node = open[self.rng.below(open.len())];
        let event = if self.rng.one_in(4) {
            Event::Flush(node)
        } else {
            // The same chunks again and again.
            let few = if self.rng.one_in(2) { 4 } else { CHUNKS };
            Event::Write(node, self.rng.below(few))
        };
        self.happen(event);
    }

    fn intend(&mut self) {
        let of = |node: usize| {
            self.world
                .at_port(self.world.nodes[node].meta.peer().port)
                .map(|other| (node, other))
        };
        let is_source = |node: &usize| matches!(self.world.nodes[*node].active, Active::Source(_));
        let Some((source, target)) = (0..self.world.nodes.len()).filter(is_source).find_map(of) else {
            return;
        };
        let which = self.rng.below(PLANS);
        self.planned = plan(which, source, target, &mut self.rng).into();
    }

    fn network(&mut self) {
        let (a, b) = (self.any(), self.any());
        if a == b {
            return;
        }
        let event = if self.rng.one_in(3) {
            let end = if self.rng.one_in(2) { End::Source } else { End::Target };
            Event::Lose(a, b, self.rng.below(2), end)
        } else if self.world.is_cut(a, b) {
            Event::Heal(a, b)
        } else {
            Event::Cut(a, b)
        };
        self.happen(event);
    }

    fn machine(&mut self) {
        let node = self.any();
        let luck = self.rng.next() % 1000;
        let event = if !self.world.nodes[node].up {
            Event::Boot(node)
        } else if self.rng.one_in(8) {
            Event::Cache(node, self.rng.one_in(2))
        } else if self.rng.one_in(3) {
            Event::Fuse(node, self.rng.below(4) as u8, luck)
        } else {
            Event::Crash(node, luck)
        };
        self.happen(event);
    }

    fn operator(&mut self) {
        let node = self.any();
        let it = &self.world.nodes[node];
        let overridden = self.rng.one_in(3);
        let other = self.rng.below(self.world.nodes.len());
        let event = match &it.active {
            Active::Stopped => match self.rng.below(8) {
                0..=3 => Event::Start(node, StartMode::Auto, overridden),
                4 => Event::Start(node, StartMode::Force, overridden),
                5 => Event::Start(node, StartMode::Keep, overridden),
                6 => Event::Start(node, StartMode::Yield, false),
                _ => Event::Start(node, StartMode::Source, false),
            },
            Active::Target(_) => match self.rng.below(10) {
                0..=3 => Event::Start(node, StartMode::Source, false),
                4 => Event::Start(node, StartMode::Force, overridden),
                5 | 6 => Event::TakeOver(node),
                7 => Event::Start(node, StartMode::Yield, false),
                8 => Event::Down(node),
                _ => Event::Stop(node),
            },
            Active::Source(source) => match self.rng.below(14) {
                0..=4 if source.leg.is_none() => Event::Extend(node, other),
                0 | 1 => Event::Pause(node),
                2..=4 => Event::Resume(node),
                5 => Event::FullResync(node),
                6 => Event::Unextend(node),
                7 => Event::Stop(node),
                8 | 9 => Event::Down(node),
                10 | 11 => Event::Demote(node),
                12 => Event::Start(node, StartMode::Yield, false),
                _ => Event::Start(node, StartMode::Keep, false),
            },
        };
        self.happen(event);
    }

    /// Something that comes of itself; false where nothing would.
    pub(crate) fn nature(&mut self, useful: bool) -> bool {
        let mut possible = std::mem::take(&mut self.possible);
        self.world.possible(&mut possible);
        possible.retain(|event| !useful || !is_vain(event));
        let found = !possible.is_empty();
        if found {
            let event = possible[self.rng.below(possible.len())];
            let event = self.vary(event);
            self.happen(event);
        }
        self.possible = possible;
        found
    }

    /// Some events have other forms.
    fn vary(&mut self, event: Event) -> Event {
        let number = self.rng.below(8);
        match event {
            Event::Journal(node) if number < self.slow => Event::JournalStep(node),
            Event::Send(node) if number < self.slow => Event::SendStep(node),
            Event::LocalDone(node, _) => Event::LocalDone(node, number),
            Event::TargetDone(node, _) => Event::TargetDone(node, number),
            Event::Proceed(node, _) if self.rng.one_in(20) => Event::Proceed(node, false),
            other => other,
        }
    }
}
