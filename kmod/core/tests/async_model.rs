// SPDX-License-Identifier: GPL-2.0

//! An asynchronous leg in small: a source with its table and queue, a connection, a target whose disk ends what is
//! under way in any order. From the moment the target counts as consistent it never holds a write without one that
//! was acknowledged before that began. Covers: S38, S39.
//!
//! Without barriers, or with copies that do not wait for what was acknowledged early, it does, and the model notices.

use netraid_core::epoch::{Gate, Pass};
use netraid_core::inflight::{Entry, Inflight, Slot};
use netraid_core::lag::Lag;
use netraid_core::legs::{LegNumber, LegSet};
use netraid_core::request::{Due, Part, Parts, Standing};
use std::collections::VecDeque;

/// Blocks of the disk; few, so that writes meet.
const BLOCKS: usize = 6;
const RUNS: u64 = 4000;
const STEPS: usize = 400;

/// What the source does as it should.
#[derive(Clone, Copy)]
struct Rules {
    barriers: bool,
    fence: bool,
    copies_wait: bool,
}

const RIGHT: Rules = Rules {
    barriers: true,
    fence: true,
    copies_wait: true,
};

/// A write of the application; its number is its place in the list of all.
struct Write {
    block: usize,
    slot: Slot,
    seq: u64,
    begun: Option<u64>,
    acknowledged: Option<u64>,
    barrier: bool,
    standing: Standing,
}

/// What a table entry is for.
#[derive(Clone, Copy, PartialEq)]
enum Who {
    Write(usize),
    Copy(usize),
}

/// A message, with what the target's disk holds after it.
#[derive(Clone, Copy, PartialEq)]
enum Message {
    Write(usize),
    Copy { block: usize, value: usize },
    Done,
}

struct World {
    rules: Rules,
    clock: u64,
    table: Inflight<Vec<Entry>>,
    who: Vec<Option<Who>>,
    writes: Vec<Write>,
    lag: Lag,
    next_seq: u64,
    /// The number of the write that a block holds last, counted from 1.
    local: [usize; BLOCKS],
    target: [usize; BLOCKS],
    dirty: [bool; BLOCKS],
    copying: [bool; BLOCKS],
    unsent: VecDeque<Message>,
    wire: VecDeque<Message>,
    gate: Gate,
    under_way: Vec<Message>,
    acks: Vec<Message>,
    finishing: bool,
    done: bool,
    consistent: bool,
}

struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap_or(0) % most.max(1)
    }
}

impl World {
    /// Some blocks were written before the target was there.
    fn new(rules: Rules, random: &mut Random) -> Self {
        let mut lag = Lag::default();
        lag.set_limit(Some(8));
        lag.connect();
        let mut world = Self {
            rules,
            clock: 0,
            table: Inflight::new(vec![Entry::default(); 32]),
            who: vec![None; 32],
            writes: Vec::new(),
            lag,
            next_seq: 1,
            local: [0; BLOCKS],
            target: [0; BLOCKS],
            dirty: [false; BLOCKS],
            copying: [false; BLOCKS],
            unsent: VecDeque::new(),
            wire: VecDeque::new(),
            gate: Gate::NEW,
            under_way: Vec::new(),
            acks: Vec::new(),
            finishing: false,
            done: false,
            consistent: false,
        };
        for _ in 0..random.below(5) {
            let block = random.below(BLOCKS);
            world.writes.push(Write {
                block,
                slot: Slot::from_number(0),
                seq: 0,
                begun: Some(world.clock),
                acknowledged: Some(world.clock + 1),
                barrier: false,
                standing: Standing {
                    told: true,
                    ..Standing::default()
                },
            });
            world.clock += 2;
            world.local[block] = world.writes.len();
            world.dirty[block] = true;
        }
        world
    }

    fn step(&mut self, random: &mut Random) {
        self.clock += 1;
        match random.below(13) {
            0 => self.write(random.below(BLOCKS)),
            1 | 2 => self.local_end(random),
            3 => self.copy(random.below(BLOCKS)),
            4 => self.finish(),
            5 | 6 => self.wire.extend(self.unsent.pop_front()),
            7 | 8 => self.deliver(),
            9 | 10 => self.target_end(random),
            _ => self.confirm(random),
        }
        while let Some(slot) = self.table.pop_ready() {
            self.start(slot);
        }
    }

    fn write(&mut self, block: usize) {
        let Some((slot, now)) = self.table.insert(block as u64, block as u64 + 1) else {
            return;
        };
        self.who[slot.index()] = Some(Who::Write(self.writes.len()));
        self.writes.push(Write {
            block,
            slot,
            seq: 0,
            begun: None,
            acknowledged: None,
            barrier: false,
            standing: Standing::default(),
        });
        if now {
            self.start(slot);
        }
    }

    fn copy(&mut self, block: usize) {
        if !self.dirty[block] || self.copying[block] || self.finishing {
            return;
        }
        let range = (block as u64, block as u64 + 1);
        let entered = if self.rules.copies_wait {
            self.table.insert_last(range.0, range.1)
        } else {
            self.table.insert(range.0, range.1)
        };
        let Some((slot, now)) = entered else { return };
        self.copying[block] = true;
        self.who[slot.index()] = Some(Who::Copy(block));
        if now {
            self.start(slot);
        }
    }

    fn start(&mut self, slot: Slot) {
        match self.who[slot.index()] {
            Some(Who::Write(number)) => {
                let begun = self.lag.begin(1, true);
                let write = &mut self.writes[number];
                write.begun = Some(self.clock);
                write.barrier = begun.barrier && self.rules.barriers;
                write.seq = self.next_seq;
                write.standing = Standing {
                    local: true,
                    remote: Parts::one(LegNumber::FIRST, Part::Queued),
                    early: if begun.early {
                        LegSet::of(LegNumber::FIRST)
                    } else {
                        LegSet::NONE
                    },
                    ..Standing::default()
                };
                self.next_seq += 1;
                self.unsent.push_back(Message::Write(number));
            }
            Some(Who::Copy(block)) => {
                let value = self.local[block];
                self.unsent.push_back(Message::Copy { block, value });
            }
            None => {}
        }
    }

    fn local_end(&mut self, random: &mut Random) {
        let under_way: Vec<usize> = (0..self.writes.len())
            .filter(|&number| self.writes[number].standing.local)
            .collect();
        if under_way.is_empty() {
            return;
        }
        let number = under_way[random.below(under_way.len())];
        self.writes[number].standing.local = false;
        self.local[self.writes[number].block] = number + 1;
        self.settle(number);
    }

    /// As the module does when a part of a request has ended.
    fn settle(&mut self, number: usize) {
        let write = &mut self.writes[number];
        let due = write.standing.due();
        if due == Due::Nothing {
            return;
        }
        if !write.standing.told {
            write.standing.told = true;
            write.acknowledged = Some(self.clock);
            self.lag.complete();
        }
        if due == Due::Tell {
            self.table.pass(write.slot);
        } else {
            self.who[write.slot.index()] = None;
            self.table.remove(write.slot);
        }
    }

    fn finish(&mut self) {
        let clean = !self.dirty.contains(&true) && !self.copying.contains(&true);
        if clean && !self.finishing {
            self.finishing = true;
            self.lag.put_fence(self.next_seq);
        }
        let fenced = self.lag.is_fenced() && self.rules.fence;
        if self.finishing && !self.done && !fenced {
            self.done = true;
            // Before the data that waits.
            self.wire.push_back(Message::Done);
        }
    }

    fn deliver(&mut self) {
        let Some(&message) = self.wire.front() else { return };
        let barrier = matches!(message, Message::Write(number) if self.writes[number].barrier);
        if message == Message::Done {
            self.consistent = true;
        } else {
            match self.gate.pass(barrier, !self.under_way.is_empty()) {
                Pass::Now => self.under_way.push(message),
                Pass::Wait => return,
                Pass::Never => unreachable!("nothing failed"),
            }
        }
        self.wire.pop_front();
    }

    /// The block a message goes to, and the number of the write that it then holds.
    fn content(&self, message: Message) -> (usize, usize) {
        match message {
            Message::Write(number) => (self.writes[number].block, number + 1),
            Message::Copy { block, value } => (block, value),
            Message::Done => unreachable!("that is no content"),
        }
    }

    fn target_end(&mut self, random: &mut Random) {
        if self.under_way.is_empty() {
            return;
        }
        let message = self.under_way.swap_remove(random.below(self.under_way.len()));
        let (block, value) = self.content(message);
        self.target[block] = value;
        self.gate.ended(true);
        self.acks.push(message);
    }

    fn confirm(&mut self, random: &mut Random) {
        if self.acks.is_empty() {
            return;
        }
        match self.acks.swap_remove(random.below(self.acks.len())) {
            Message::Write(number) => {
                let write = &mut self.writes[number];
                write.standing.remote = Parts::default();
                self.lag.end(write.seq, 1);
                self.settle(number);
            }
            Message::Copy { block, .. } => {
                self.dirty[block] = false;
                self.copying[block] = false;
                let place = self.who.iter().position(|&who| who == Some(Who::Copy(block)));
                if let Some(number) = place.and_then(|place| u16::try_from(place).ok()) {
                    self.who[usize::from(number)] = None;
                    self.table.remove(Slot::from_number(number));
                }
            }
            Message::Done => {}
        }
    }

    /// A write that the target may hold now, though it need not hold one that was acknowledged before it began.
    fn violation(&self) -> Option<(usize, usize)> {
        if !self.consistent {
            return None;
        }
        // What is under way may be on the disk or not.
        let may_hold = |number: usize| {
            let write = &self.writes[number];
            let under_way = self
                .under_way
                .iter()
                .any(|&message| self.content(message) == (write.block, number + 1));
            under_way || self.target[write.block] == number + 1
        };
        let holds = |number: usize| self.target[self.writes[number].block] > number;
        let all = 0..self.writes.len();
        all.clone().filter(|&later| may_hold(later)).find_map(|later| {
            let begun = self.writes[later].begun?;
            let before = |number: &usize| self.writes[*number].acknowledged.is_some_and(|at| at < begun);
            all.clone()
                .filter(before)
                .find(|&earlier| !holds(earlier))
                .map(|earlier| (earlier, later))
        })
    }

    /// Two writes of one block are under way on the target: it may end with either.
    fn meets(&self) -> bool {
        let mut blocks: Vec<usize> = self.under_way.iter().map(|&message| self.content(message).0).collect();
        blocks.sort_unstable();
        blocks.windows(2).any(|two| two[0] == two[1])
    }
}

/// How often something was wrong, and how often the resync came to its end.
fn run(rules: Rules) -> (u64, u64) {
    let (mut wrong, mut ended) = (0, 0);
    for seed in 1..=RUNS {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut world = World::new(rules, &mut random);
        for _ in 0..STEPS {
            world.step(&mut random);
            if world.meets() || world.violation().is_some() {
                wrong += 1;
                break;
            }
        }
        ended += u64::from(world.consistent);
    }
    (wrong, ended)
}

#[test]
fn a_consistent_target_holds_no_write_without_those_acknowledged_before_it() {
    let (wrong, ended) = run(RIGHT);
    assert_eq!(wrong, 0);
    assert!(ended > RUNS / 2, "only {ended} of {RUNS} resyncs came to their end");
}

#[test]
fn without_barriers_or_with_copies_that_wait_for_nothing_it_does() {
    for rules in [
        Rules {
            barriers: false,
            ..RIGHT
        },
        Rules {
            copies_wait: false,
            ..RIGHT
        },
    ] {
        let (wrong, _) = run(rules);
        assert!(wrong > 0, "{} {}", rules.barriers, rules.copies_wait);
    }
}

/// What a copy holds was confirmed, and so were all before it: the fence before the end of a resync says the same of
/// everything else.
#[test]
fn copies_that_wait_keep_the_order_also_without_the_fence() {
    assert_eq!(run(Rules { fence: false, ..RIGHT }).0, 0);
}
