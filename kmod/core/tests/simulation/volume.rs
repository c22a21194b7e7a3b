// SPDX-License-Identifier: GPL-2.0

//! The data path of a machine, as `kmod/src/volume` has it: requests, what waits for the metadata, and the queue of
//! the leg. A request is a whole chunk, or a flush; two on the same chunk are never under way together, since the order
//! of those is another subject.

use super::bugs::Bugs;
use super::disk::{Disk, Mask, Version};
use super::meta::{Map, Maps, Meta, Which};
use netraid_core::{
    marks::BlockWords,
    request::{flush_is_moot, Part},
    wire::Kind,
};
use std::collections::VecDeque;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Apart,
    Together,
    Parting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Application,
    Copy,
    Round,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Write(usize, Version),
    Flush,
}

/// One request under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) id: u64,
    pub(crate) origin: Origin,
    pub(crate) work: Work,
    /// The local disk is at work: what its end needs.
    pub(crate) local: Option<u64>,
    pub(crate) remote: Part,
    pub(crate) seq: u64,
    pub(crate) parked: bool,
    waiting: bool,
    /// What was confirmed before a flush was asked for.
    pub(crate) confirmed: usize,
}

impl Request {
    pub(crate) fn chunk(&self) -> Option<usize> {
        match self.work {
            Work::Write(chunk, _) => Some(chunk),
            Work::Flush => None,
        }
    }

    pub(crate) fn mask(&self) -> Mask {
        self.chunk().map_or(0, |chunk| 1 << chunk)
    }
}

/// A request that has ended well.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) work: Work,
    pub(crate) confirmed: usize,
}

/// How the flush of a round stands on the leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RoundFlush {
    Idle,
    Running,
    Done,
    Lost,
}

/// How far a round is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    Idle,
    /// The local disk is being flushed: what it had done by then.
    Local(u64, u64),
    /// The leg is to be flushed.
    Leg(u64),
    Waiting(u64),
    End(u64),
}

/// What the journal is doing.
#[derive(Debug)]
pub(crate) enum Task {
    Part,
    Parted(u64),
    Block(Which, Box<BlockWords>),
}

/// What the target is told of its copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Announcement {
    pub(crate) generation: u64,
    pub(crate) resync: bool,
    /// What it holds.
    pub(crate) theirs: u64,
    /// It differs at most where it is marked, and is complete.
    pub(crate) covered: bool,
}

/// A message that waits to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outgoing {
    Control(Kind, u64),
    Request(u64),
}

#[derive(Debug)]
pub(crate) struct Volume {
    pub(crate) maps: Maps,
    pub(crate) requests: Vec<Request>,
    pub(crate) waiting: VecDeque<u64>,
    pub(crate) parked: VecDeque<u64>,
    pub(crate) step: Step,
    /// How those stand that this machine does not know.
    pub(crate) others: Step,
    /// The target has still to note the generation; nothing is written before.
    pub(crate) follows: bool,
    pub(crate) flush: RoundFlush,
    pub(crate) round: Round,
    pub(crate) lazily: Option<(Which, u64)>,
    pub(crate) task: Option<Task>,
    pub(crate) live: bool,
    /// What the target confirms is on stable storage.
    pub(crate) durable: bool,
    /// Flushes that were not sent for that.
    pub(crate) moot: u64,
    pub(crate) draining: bool,
    pub(crate) every_chunk: bool,
    pub(crate) bugs: Bugs,
    /// The generation that this disk has.
    pub(crate) generation: u64,
    /// How often writes began or ceased to go to the target.
    pub(crate) changes: u64,
    /// How many connections were given up.
    pub(crate) connection: u64,
    pub(crate) queue: VecDeque<u64>,
    pub(crate) control: Vec<Kind>,
    pub(crate) outstanding: u32,
    next: u64,
    pub(crate) announced: Announcement,
    pub(crate) copies: u32,
    /// What applications were told is done.
    pub(crate) confirmed: Vec<(usize, Version)>,
    pub(crate) ended: Vec<Ended>,
}

impl Volume {
    pub(crate) fn new(meta: &Meta) -> Self {
        Self {
            maps: Maps::load(meta),
            requests: Vec::new(),
            waiting: VecDeque::new(),
            parked: VecDeque::new(),
            step: Step::Apart,
            others: Step::Apart,
            follows: false,
            flush: RoundFlush::Idle,
            round: Round::Idle,
            lazily: None,
            task: None,
            live: false,
            durable: false,
            moot: 0,
            draining: false,
            every_chunk: !meta.has_maps(),
            bugs: meta.bugs,
            generation: meta.sb().current,
            changes: 0,
            connection: 0,
            queue: VecDeque::new(),
            control: Vec::new(),
            outstanding: 0,
            next: 1,
            announced: Announcement::default(),
            copies: 0,
            confirmed: Vec::new(),
            ended: Vec::new(),
        }
    }

    pub(crate) fn dirty(&self) -> Mask {
        self.maps.dirty.map().word(0)
    }

    pub(crate) fn intent(&self) -> Mask {
        self.maps.intent.marks().map().word(0)
    }

    pub(crate) fn request(&mut self, id: u64) -> Option<&mut Request> {
        self.requests.iter_mut().find(|it| it.id == id)
    }

    /// Whether a request is under way on a chunk.
    pub(crate) fn is_locked(&self, chunk: usize) -> bool {
        self.requests.iter().any(|it| it.chunk() == Some(chunk))
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.requests.iter().all(|it| it.origin != Origin::Application)
    }

    pub(crate) fn map(&mut self, which: Which) -> Option<&mut Map> {
        match which {
            Which::Written => self.maps.written.as_mut(),
            Which::Intent => Some(self.maps.intent.marks_mut()),
            Which::Dirty => Some(&mut self.maps.dirty),
        }
    }

    pub(crate) fn add(&mut self, origin: Origin, work: Work) -> u64 {
        self.next += 1;
        self.requests.push(Request {
            id: self.next,
            origin,
            work,
            local: None,
            remote: Part::Done,
            seq: 0,
            parked: false,
            waiting: false,
            confirmed: self.confirmed.len(),
        });
        self.next
    }

    /// An application writes or flushes.
    pub(crate) fn submit(&mut self, work: Work, disk: &mut Disk) {
        let id = self.add(Origin::Application, work);
        self.begin(id, disk);
    }

    /// As `State::begin`.
    pub(crate) fn begin(&mut self, id: u64, disk: &mut Disk) {
        let live = self.live;
        let Some(work) = self.request(id).map(|it| it.work) else {
            return;
        };
        let admitted = match work {
            Work::Write(chunk, _) => self.admits(chunk),
            Work::Flush => self.admits_flush(),
        };
        if !admitted {
            self.waiting.push_back(id);
            self.request(id).unwrap().waiting = true;
            return;
        }
        let local = match work {
            Work::Write(chunk, version) => disk.start(chunk, version),
            Work::Flush => disk.now(),
        };
        let request = self.request(id).unwrap();
        request.waiting = false;
        request.local = Some(local);
        let moot = work == Work::Flush && flush_is_moot(true, self.durable);
        if live && !moot {
            self.queue(id);
        }
        self.moot += u64::from(live && moot);
    }

    /// A flush that the leg does not take part in may end once that is on record, unless everything is durable there.
    fn admits_flush(&mut self) -> bool {
        if self.bugs.has(Bugs::FLUSH_ALONE) || self.live || self.intent() == 0 {
            return true;
        }
        if self.step == Step::Together {
            self.step = Step::Parting;
        }
        self.step == Step::Apart
    }

    /// As `Log::admits`.
    fn admits(&mut self, chunk: usize) -> bool {
        let chunks = chunk as u64..chunk as u64 + 1;
        if self.others == Step::Together {
            self.others = Step::Parting;
        }
        let settled = self.others == Step::Apart && !self.follows;
        if self.live {
            if let Some(written) = &mut self.maps.written {
                written.set_lazily(chunks.clone());
            }
            return self.maps.intent.touch(chunks) && settled;
        }
        if self.step == Step::Together {
            self.step = Step::Parting;
        }
        self.maps.dirty.set(chunks.clone());
        let mut kept = self.maps.dirty.is_kept(chunks.clone());
        if let Some(written) = &mut self.maps.written {
            written.set(chunks.clone());
            kept &= written.is_kept(chunks);
        }
        kept && settled && self.step == Step::Apart
    }

    pub(crate) fn queue(&mut self, id: u64) {
        self.next += 1;
        let seq = self.next;
        let request = self.request(id).unwrap();
        request.remote = Part::Queued;
        request.seq = seq;
        self.queue.push_back(id);
        self.outstanding += 1;
    }

    /// The local disk is done with a request.
    pub(crate) fn local_done(&mut self, id: u64, disk: &mut Disk) {
        let live = self.live;
        let request = self.request(id).unwrap();
        let Some(local) = request.local.take() else { return };
        match (request.origin, request.work) {
            // It was read.
            (Origin::Copy, Work::Write(chunk, _)) => {
                request.work = Work::Write(chunk, disk.visible(chunk));
                if live {
                    self.queue(id);
                }
            }
            (_, Work::Write(..)) => disk.finish(local),
            (_, Work::Flush) => disk.flush(local),
        }
        self.finish_if_done(id);
    }

    pub(crate) fn finish_if_done(&mut self, id: u64) {
        let Some(at) = self.requests.iter().position(|it| it.id == id) else {
            return;
        };
        let it = self.requests[at];
        if it.local.is_some() || it.parked || it.waiting || it.remote.is_pending() {
            return;
        }
        self.requests.remove(at);
        match it.origin {
            Origin::Application => {
                if let Work::Write(chunk, version) = it.work {
                    self.confirmed.push((chunk, version));
                }
                self.ended.push(Ended {
                    work: it.work,
                    confirmed: it.confirmed,
                });
            }
            Origin::Copy => self.copies -= 1,
            Origin::Round => {}
        }
    }
}
