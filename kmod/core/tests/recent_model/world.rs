// SPDX-License-Identifier: GPL-2.0

//! Three machines: a source and its targets.

use std::collections::VecDeque;

use netraid_core::bitmap::Bitmap;
use netraid_core::recent::{may_settle, Marker, Recent, Standing};

use crate::{Dice, Mistake};

const CHUNKS: usize = 3;
const NODES: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Message {
    Write { number: u64, chunk: usize, version: u32 },
    Mark { number: u64, settled: u64 },
    Note(u64),
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    Stored(u64),
    Noted(u64),
}

struct Write {
    number: u64,
    chunk: usize,
    version: u32,
    local: bool,
    /// By node: it has still to say that it has it.
    waits: [bool; NODES],
}

/// What a source knows of a target; `base` and `following` are on record.
#[derive(Default)]
struct Leg {
    live: bool,
    in_step: bool,
    marks: [bool; CHUNKS],
    base: Option<u64>,
    following: bool,
    marker: Marker,
    /// A mark waits to be sent; how many had been entered when it was put in line.
    mark: Option<u64>,
    note: Option<u64>,
    unsent: VecDeque<Message>,
    stream: VecDeque<Message>,
    answers: VecDeque<Answer>,
}

struct Node {
    data: [u32; CHUNKS],
    generation: u64,
    recent: Recent<Vec<u64>>,
}

pub(crate) struct World {
    mistake: Mistake,
    nodes: Vec<Node>,
    source: usize,
    up: bool,
    legs: Vec<Leg>,
    writes: Vec<Write>,
    /// A generation begins before the next write.
    shared: bool,
    entered: u64,
    version: u32,
    fresh: u64,
}

fn recent() -> Recent<Vec<u64>> {
    let map = || Bitmap::new(vec![0; 1], CHUNKS as u64).unwrap();
    Recent::new(map(), map())
}

impl World {
    pub(crate) fn new(mistake: Mistake) -> Self {
        let node = || Node {
            data: [0; CHUNKS],
            generation: 1,
            recent: recent(),
        };
        Self {
            mistake,
            nodes: (0..NODES).map(|_| node()).collect(),
            source: 0,
            up: true,
            legs: (0..NODES).map(|_| Leg::default()).collect(),
            writes: Vec::new(),
            shared: false,
            entered: 0,
            version: 0,
            fresh: 1,
        }
    }

    fn targets(&self) -> impl Iterator<Item = usize> {
        let source = self.source;
        (0..NODES).filter(move |node| *node != source)
    }

    fn settles(&self) -> bool {
        !self
            .targets()
            .any(|node| self.legs[node].live && self.legs[node].following)
    }

    /// Records that those who are not connected and not behind are behind from now on; those in step are told.
    fn begin_generation(&mut self) {
        let old = self.nodes[self.source].generation;
        self.fresh += 1;
        self.nodes[self.source].generation = self.fresh;
        self.shared = false;
        for node in self.targets() {
            let leg = &mut self.legs[node];
            if leg.base.is_none() {
                leg.base = Some(old);
            }
            leg.following = leg.live;
            if leg.live {
                leg.note = Some(self.fresh);
            }
        }
    }

    fn must_begin(&self) -> bool {
        let missed = |node: usize| !self.legs[node].live && self.legs[node].base.is_none();
        self.shared || self.targets().any(missed)
    }

    fn write(&mut self, chunk: usize) {
        if !self.settles() || self.writes.iter().any(|write| write.chunk == chunk) {
            return;
        }
        if self.must_begin() {
            return self.begin_generation();
        }
        self.entered += 1;
        self.version += 1;
        let mut waits = [false; NODES];
        for node in self.targets() {
            let leg = &mut self.legs[node];
            waits[node] = leg.live;
            if leg.live {
                leg.unsent.push_back(Message::Write {
                    number: self.entered,
                    chunk,
                    version: self.version,
                });
            } else {
                leg.marks[chunk] = true;
            }
        }
        self.writes.push(Write {
            number: self.entered,
            chunk,
            version: self.version,
            local: true,
            waits,
        });
    }

    fn local(&mut self, index: usize) {
        let write = &mut self.writes[index];
        write.local = false;
        self.nodes[self.source].data[write.chunk] = write.version;
    }

    /// Ends what everybody has, or whose loss is on record.
    fn end(&mut self) {
        if self.settles() {
            self.writes.retain(|write| write.local || write.waits.contains(&true));
        }
    }

    fn send(&mut self, node: usize) {
        let leg = &mut self.legs[node];
        let overtakes = self.mistake == Mistake::Overtaken && !leg.unsent.is_empty();
        if let Some(generation) = leg.note.take() {
            leg.stream.push_back(Message::Note(generation));
        } else if let Some(entered) = leg.mark.take_if(|_| !overtakes) {
            let late = self.mistake == Mistake::Overtaken;
            let (number, settled) = leg.marker.send(if late { entered } else { self.entered });
            leg.stream.push_back(Message::Mark { number, settled });
        } else if let Some(data) = leg.unsent.pop_front() {
            leg.stream.push_back(data);
        }
    }

    fn deliver(&mut self, node: usize) {
        let Some(message) = self.legs[node].stream.pop_front() else {
            return;
        };
        let target = &mut self.nodes[node];
        match message {
            Message::Write { number, chunk, version } => {
                target.recent.touch(chunk as u64..chunk as u64 + 1);
                target.data[chunk] = version;
                self.legs[node].answers.push_back(Answer::Stored(number));
            }
            Message::Mark { number, settled } => {
                if self.mistake == Mistake::OneMark {
                    target.recent.mark(number, 0);
                    target.recent.mark(number, number);
                }
                target.recent.mark(number, settled);
            }
            Message::Note(generation) => {
                target.generation = generation;
                self.legs[node].answers.push_back(Answer::Noted(generation));
            }
        }
    }

    fn hear(&mut self, node: usize) {
        match self.legs[node].answers.pop_front() {
            Some(Answer::Stored(number)) => {
                if let Some(write) = self.writes.iter_mut().find(|write| write.number == number) {
                    write.waits[node] = false;
                }
            }
            Some(Answer::Noted(generation)) if generation == self.nodes[self.source].generation => {
                self.legs[node].following = false;
                self.legs[node].base = None;
            }
            Some(Answer::Noted(_)) | None => {}
        }
        self.end();
    }

    /// The source tells who is in step what is settled.
    fn tell(&mut self) {
        let mistake = self.mistake;
        if !self.settles() || self.shared {
            return;
        }
        let standing = |node: usize| {
            let leg = &self.legs[node];
            Standing {
                in_step: leg.live && leg.in_step,
                is_behind: !leg.live && leg.base.is_some() && (!leg.following || mistake == Mistake::Following),
            }
        };
        if !may_settle(self.targets().map(standing)) && mistake != Mistake::UnknownLegs {
            return;
        }
        let oldest = self.writes.iter().map(|write| write.number).min();
        let oldest = oldest.filter(|_| mistake != Mistake::TooEarly);
        for node in self.targets() {
            let leg = &mut self.legs[node];
            if leg.live && leg.in_step && leg.marker.is_due(self.entered, oldest) {
                leg.mark.get_or_insert(self.entered);
            }
        }
    }

    fn lose(&mut self, node: usize) {
        let leg = &mut self.legs[node];
        leg.live = false;
        leg.in_step = false;
        leg.mark = None;
        leg.note = None;
        leg.unsent.clear();
        leg.stream.clear();
        leg.answers.clear();
        let mut missed = false;
        for write in &mut self.writes {
            missed |= write.waits[node];
            leg.marks[write.chunk] |= write.waits[node];
            write.waits[node] = false;
        }
        if missed && self.must_begin() {
            self.begin_generation();
        }
        self.end();
    }

    /// A target connects, and is brought up to date at once.
    fn connect(&mut self, node: usize) {
        let source = self.source;
        let busy = |chunk: usize| self.writes.iter().any(|write| write.chunk == chunk);
        if self.legs[node].live || !self.settles() || (0..CHUNKS).any(busy) {
            return;
        }
        if self.shared {
            self.begin_generation();
        }
        let generation = self.nodes[source].generation;
        let data = self.nodes[source].data;
        let leg = &mut self.legs[node];
        let target = &mut self.nodes[node];
        let known = leg.base.unwrap_or(generation);
        // One that is further than what is known of it is compared as a whole, as one of which nothing is known.
        let whole = target.generation != known && target.generation != generation;
        target.recent.connect();
        if self.mistake == Mistake::Connect {
            target.recent = recent();
            target.recent.mark(1, 0);
            target.recent.mark(2, 1);
            target.recent.connect();
        }
        let marks = leg.marks;
        for chunk in (0..CHUNKS).filter(|chunk| whole || marks[*chunk]) {
            target.recent.touch(chunk as u64..chunk as u64 + 1);
            target.data[chunk] = data[chunk];
        }
        target.generation = generation;
        *leg = Leg {
            live: true,
            in_step: true,
            ..Leg::default()
        };
        assert_eq!(
            target.data, data,
            "a target that is in step differs: {:?}",
            self.mistake
        );
    }

    /// A machine that is a target is restarted, and forgets what it was sent.
    fn restart(&mut self, node: usize) {
        self.nodes[node].recent = recent();
        if self.mistake == Mistake::AtOnce {
            self.nodes[node].recent.mark(1, 0);
            self.nodes[node].recent.mark(2, 1);
        }
        if self.up {
            self.lose(node);
        }
    }

    fn disconnect_all(&mut self) {
        for leg in &mut self.legs {
            *leg = Leg {
                marks: leg.marks,
                base: leg.base,
                following: leg.following,
                ..Leg::default()
            };
        }
    }

    fn die(&mut self) {
        // What was under way is on record as in use.
        for write in core::mem::take(&mut self.writes) {
            for leg in &mut self.legs {
                leg.marks[write.chunk] = true;
            }
        }
        self.disconnect_all();
        self.up = false;
    }

    fn come_back(&mut self) {
        self.up = true;
        self.entered = 0;
    }

    /// A target takes the place of a source that is dead; whoever held its generation is looked at where the two may differ.
    fn promote(&mut self, node: usize) {
        let generation = self.nodes[node].generation;
        let old = self.source;
        self.source = node;
        self.up = true;
        self.shared = true;
        self.entered = 0;
        for other in self.targets() {
            let mine = &self.nodes[node];
            let theirs = &self.nodes[other];
            let both = mine.recent.counts() && theirs.recent.counts();
            let partial = other != old && both && theirs.generation == generation;
            let looked_at = |chunk: usize| {
                let hers = if self.mistake == Mistake::OneSide {
                    0
                } else {
                    theirs.recent.word(0)
                };
                !partial || (mine.recent.word(0) | hers) & (1 << chunk) != 0
            };
            self.legs[other] = Leg {
                marks: core::array::from_fn(looked_at),
                base: Some(generation).filter(|_| theirs.generation == generation),
                ..Leg::default()
            };
        }
        // As target it begins anew.
        self.nodes[node].recent = recent();
        // What the old source holds is marked as a whole; it is no target of its own.
        self.nodes[old].recent = recent();
    }

    /// A target goes on for a while, undisturbed.
    fn flow(&mut self, node: usize, dice: &mut Dice) {
        for _ in 0..dice.below(8) {
            self.tell();
            self.send(node);
            self.deliver(node);
            self.hear(node);
        }
    }

    /// If the source died now.
    pub(crate) fn check(&self) {
        for one in self.targets() {
            for other in self.targets().filter(|other| *other > one) {
                let (one, other) = (&self.nodes[one], &self.nodes[other]);
                let promised = one.recent.counts() && other.recent.counts() && one.generation == other.generation;
                let recent = one.recent.word(0) | other.recent.word(0);
                for chunk in (0..CHUNKS).filter(|chunk| promised && recent & (1 << chunk) == 0) {
                    assert_eq!(one.data[chunk], other.data[chunk], "chunk {chunk}");
                }
            }
        }
    }

    pub(crate) fn step(&mut self, dice: &mut Dice) {
        let node = dice.below(NODES);
        if !self.up {
            match dice.below(4) {
                0 => self.come_back(),
                1 if node != self.source => self.promote(node),
                2 if node != self.source => self.restart(node),
                _ => {}
            }
            return;
        }
        match dice.below(40) {
            0 => self.die(),
            1 | 39 if node != self.source => self.lose(node),
            2 if node != self.source && dice.below(4) == 0 => self.restart(node),
            3..=6 if node != self.source => self.connect(node),
            7..=11 => self.write(dice.below(CHUNKS)),
            12..=16 if !self.writes.is_empty() => {
                let index = dice.below(self.writes.len());
                self.local(index);
                self.end();
            }
            17..=19 => self.tell(),
            20 if node != self.source => self.flow(node, dice),
            21..=26 if node != self.source => self.send(node),
            27..=33 if node != self.source => self.deliver(node),
            34..=38 if node != self.source => self.hear(node),
            _ => {}
        }
    }
}
