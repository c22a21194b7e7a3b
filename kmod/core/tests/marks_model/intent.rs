// SPDX-License-Identifier: GPL-2.0

//! The intent log together with the map of a leg: every chunk on which the two disks could differ after a crash is
//! marked in one of them, at any moment.

use super::disk::{Kept, MapDisk};
use super::history::{step, Step, USED};
use netraid_core::intent::IntentLog;
use netraid_core::marks::{Marks, BLOCK_WORDS};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

/// Chunks, in two words.
const CHUNKS: u64 = 70;

/// Those that are used, around the edge of the words.
const FIRST: u64 = 60;

type Set = u16;

struct Request {
    chunks: Set,
    /// Both disks are at work; else it waits for a mark.
    runs: bool,
}

/// A round under way.
struct Round {
    began: u32,
    /// How often the leg had been lost by then.
    losses: u32,
    /// The leg is flushed, too.
    live: bool,
}

/// When chunks were last written to a disk's cache, and were not made durable since; 0 for never.
type Cache = [u32; 8];

struct Model {
    intent: IntentLog<Vec<u64>>,
    intent_disk: MapDisk,
    dirty: Kept,
    requests: Vec<Request>,
    /// The copy under way.
    copying: Option<u64>,
    live: bool,
    /// Chunks that the leg misses.
    missed: Set,
    local: Cache,
    leg: Cache,
    now: u32,
    round: Option<Round>,
    losses: u32,
}

fn log(marks: Marks<Vec<u64>>) -> IntentLog<Vec<u64>> {
    IntentLog::new(marks, vec![u64::MAX; 2], vec![u64::MAX; 2]).unwrap()
}

impl Model {
    fn new() -> Self {
        let intent_disk = MapDisk::new(0, CHUNKS);
        Self {
            intent: log(intent_disk.load()),
            intent_disk,
            dirty: Kept::new(1, CHUNKS),
            requests: Vec::new(),
            copying: None,
            live: true,
            missed: 0,
            local: Cache::default(),
            leg: Cache::default(),
            now: 0,
            round: None,
            losses: 0,
        }
    }

    fn apply(&mut self, step: &Step) {
        self.now += 1;
        match *step {
            Step::Submit { first, len } => self.submit(first, len),
            Step::Complete(which) => self.complete(which),
            Step::BeginBlock { lazily, dirty_first } => self.begin_block(lazily, dirty_first),
            Step::EndBlock => self.end_block(),
            Step::Propose => self.propose(),
            Step::EndRound { flushed } => self.end_round(flushed),
            Step::Lose => self.lose(),
            Step::Connect { restarted } => self.connect(restarted),
            Step::Copy(chunk) => self.copy(chunk),
            Step::Copied => self.copied(),
            Step::Crash(arrived) => self.crash(arrived),
        }
        self.check();
    }

    fn busy(&self) -> Set {
        let requests = self.requests.iter().fold(0, |all, it| all | it.chunks);
        requests | self.copying.map_or(0, |chunk| 1 << chunk)
    }

    fn submit(&mut self, first: u64, len: u64) {
        let chunks = (first..(first + len).min(USED)).fold(0, |all, it| all | 1 << it);
        // What overlaps waits elsewhere.
        if self.busy() & chunks == 0 {
            self.requests.push(Request { chunks, runs: false });
            self.admit();
        }
    }

    /// Begins the requests whose marks are on the disk.
    fn admit(&mut self) {
        for it in self.requests.iter_mut().filter(|it| !it.runs) {
            let range = range(it.chunks);
            it.runs = if self.live {
                self.intent.touch(range)
            } else {
                self.dirty.marks.set(range.clone());
                self.dirty.marks.is_kept(range)
            };
            if it.runs && !self.live {
                self.missed |= it.chunks;
            }
        }
    }

    fn complete(&mut self, which: usize) {
        let running: Vec<_> = (0..self.requests.len()).filter(|&it| self.requests[it].runs).collect();
        let Some(&number) = running.get(which % running.len().max(1)) else {
            return;
        };
        let it = self.requests.remove(number);
        let now = self.now;
        let note = |cache: &mut Cache, chunks: Set| {
            let written = cache
                .iter_mut()
                .enumerate()
                .filter(|(chunk, _)| chunks >> chunk & 1 == 1);
            written.for_each(|(_, at)| *at = now);
        };
        note(&mut self.local, it.chunks);
        note(&mut self.leg, it.chunks & !self.missed);
    }

    /// Begins to write a block of either map; which one is first does not matter.
    fn begin_block(&mut self, lazily: bool, dirty_first: bool) {
        if self.intent_disk.writing().is_some() || self.dirty.disk.writing().is_some() {
            return;
        }
        let next = |marks: &Marks<Vec<u64>>| {
            if lazily {
                marks.next_lazy(0)
            } else {
                marks.next_urgent()
            }
        };
        let (intent, dirty) = (next(self.intent.marks()), next(&self.dirty.marks));
        match (intent, dirty) {
            (_, Some(block)) if dirty_first || intent.is_none() => {
                let intent = self.intent.marks();
                let hold = |index: usize| intent.map().word(index) & !intent.kept_word(index);
                self.dirty.begin(block, hold);
            }
            (Some(block), _) => {
                let mut words = [0; BLOCK_WORDS];
                self.intent.marks_mut().begin(block, |_| 0, &mut words);
                self.intent_disk.begin(block, &words);
            }
            _ => {}
        }
    }

    fn end_block(&mut self) {
        if let Some((block, words)) = self.intent_disk.end(u8::MAX) {
            self.intent.marks_mut().end(block, &words, true);
        }
        self.dirty.end(true, 0);
        self.admit();
    }

    fn propose(&mut self) {
        self.intent.begin_round();
        for it in &self.requests {
            self.intent.exclude(range(it.chunks));
        }
        if let Some(chunk) = self.copying {
            self.intent.exclude(range(1 << chunk));
        }
        self.round = Some(Round {
            began: self.now,
            losses: self.losses,
            live: self.live,
        });
    }

    fn end_round(&mut self, flushed: bool) {
        let Some(round) = self.round.take().filter(|_| flushed) else {
            return;
        };
        let flush = |cache: &mut Cache| {
            let durable = cache.iter_mut().filter(|at| **at <= round.began);
            durable.for_each(|at| *at = 0);
        };
        flush(&mut self.local);
        if self.losses != round.losses {
            return;
        }
        if round.live {
            flush(&mut self.leg);
        }
        // A leg that came meanwhile was not flushed.
        let (live, dirty) = (round.live, &self.dirty.marks);
        self.intent.end_round(|index| {
            let missed = dirty.map().word(index);
            (missed & dirty.kept_word(index)) | if live { !missed } else { 0 }
        });
    }

    fn lose(&mut self) {
        if !self.live {
            return;
        }
        self.live = false;
        self.losses += 1;
        self.copying = None;
        for it in self.requests.iter().filter(|it| it.runs) {
            self.dirty.marks.set(range(it.chunks));
            self.missed |= it.chunks;
        }
        self.admit();
    }

    fn connect(&mut self, restarted: bool) {
        if self.live {
            return;
        }
        if restarted {
            let words: Vec<_> = (0..2).map(|index| self.intent.marks().map().word(index)).collect();
            self.dirty.marks.merge(0, words.into_iter());
            self.missed |= volatile(&self.leg);
            self.leg = Cache::default();
            // On record before anything is sent.
            self.end_block();
            while !self.live && self.dirty.marks.next_urgent().is_some() {
                self.begin_block(false, true);
                self.end_block();
            }
        }
        self.live = true;
        self.admit();
    }

    fn copy(&mut self, chunk: u64) {
        let wanted = self.dirty.marks.map().get(FIRST + chunk) && self.busy() >> chunk & 1 == 0;
        if self.live && self.copying.is_none() && wanted {
            self.copying = Some(chunk);
        }
    }

    /// A copy is confirmed: the target may have it in its cache alone as yet.
    fn copied(&mut self) {
        let Some(chunk) = self.copying.take() else { return };
        self.intent.note(range(1 << chunk));
        self.dirty.marks.clear(range(1 << chunk));
        self.missed &= !(1 << chunk);
        self.leg[usize::try_from(chunk).unwrap()] = self.now;
    }

    /// Chunks on which the disks could differ.
    fn differing(&self) -> Set {
        let running = self.requests.iter().filter(|it| it.runs);
        running.fold(self.missed, |all, it| all | it.chunks) | volatile(&self.local) | volatile(&self.leg)
    }

    fn crash(&mut self, arrived: u8) {
        let differing = self.differing();
        self.intent_disk.end(arrived);
        self.intent = log(self.intent_disk.load());
        self.dirty.crash(arrived);
        let words: Vec<_> = (0..2).map(|index| self.intent.marks().map().word(index)).collect();
        self.dirty.marks.merge(0, words.into_iter());
        (self.requests, self.copying, self.round) = (Vec::new(), None, None);
        (self.local, self.leg) = (Cache::default(), Cache::default());
        (self.live, self.missed) = (false, differing);
    }

    fn check(&self) {
        let unmarked = |chunk: &u64| {
            let bit = FIRST + chunk;
            let index = usize::try_from(bit / 64).unwrap();
            let sure = self.intent_disk.sure(index) | self.dirty.disk.sure(index);
            sure >> (bit % 64) & 1 == 0
        };
        let differing = self.differing();
        let lost: Vec<_> = (0..USED)
            .filter(|chunk| differing >> chunk & 1 == 1)
            .filter(unmarked)
            .collect();
        assert!(
            lost.is_empty(),
            "chunks {lost:?} may differ, and nothing on the disk says so"
        );
    }

    /// Writes everything there is to write, which is soon done: each map has one block.
    fn write_blocks(&mut self) {
        for lazily in [false, true] {
            for _ in 0..4 {
                self.end_block();
                self.begin_block(lazily, false);
                self.check();
            }
            assert!(self.intent_disk.writing().is_none() && self.dirty.disk.writing().is_none());
        }
    }

    /// Everything ends well: then nothing is marked any more.
    fn settle(&mut self) {
        self.connect(true);
        self.write_blocks();
        assert!(self.requests.iter().all(|it| it.runs), "nobody waits for ever");
        while !self.requests.is_empty() {
            self.complete(0);
        }
        self.copied();
        for chunk in 0..USED {
            self.now += 1;
            self.copy(chunk);
            self.copied();
            self.check();
        }
        // Of the others in their groups, which never change, nothing is left to do after a look.
        let bits = self.dirty.marks.map().bits();
        self.dirty.marks.clear(0..FIRST);
        self.dirty.marks.clear(FIRST + USED..bits);
        for _ in 0..2 {
            self.now += 1;
            self.propose();
            self.end_round(true);
            self.write_blocks();
            self.check();
        }
        assert_eq!(self.differing(), 0);
        for index in 0..2 {
            assert_eq!(self.intent_disk.sure(index) | self.dirty.disk.sure(index), 0);
        }
        assert!(!self.intent.has_proposals());
    }
}

/// The chunks of a set, which are next to each other.
fn range(chunks: Set) -> core::ops::Range<u64> {
    let first = FIRST + u64::from(chunks.trailing_zeros());
    first..first + u64::from(chunks.count_ones())
}

fn volatile(cache: &Cache) -> Set {
    (0..)
        .zip(cache)
        .fold(0, |all, (chunk, at)| all | Set::from(*at != 0) << chunk)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1024,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    /// Covers: S40, S50, S56.
    #[test]
    fn whatever_may_differ_is_marked_on_the_disk(steps in prop::collection::vec(step(), 1..120)) {
        let mut model = Model::new();
        for step in &steps {
            model.apply(step);
        }
        model.settle();
    }
}

/// Covers: S40.
#[test]
fn a_chunk_that_is_written_all_the_time_costs_no_metadata() {
    let mut model = Model::new();
    model.apply(&Step::Submit { first: 0, len: 1 });
    model.write_blocks();
    let before = model.intent.marks().map().ones();
    for _ in 0..100 {
        model.apply(&Step::Complete(0));
        model.apply(&Step::Submit { first: 0, len: 1 });
        assert!(model.requests[0].runs, "it begins at once");
        model.apply(&Step::Propose);
        model.apply(&Step::EndRound { flushed: true });
        let marks = model.intent.marks();
        assert_eq!(
            (marks.next_urgent(), marks.next_lazy(0), marks.map().ones()),
            (None, None, before)
        );
    }
    assert_eq!(before, 1);
}
