// SPDX-License-Identifier: GPL-2.0

//! Marks alone: what was once said to be kept is on the disk until it is cleared.

use super::disk::{to_index, Kept};
use netraid_core::bitmap::Bitmap;
use netraid_core::marks::{BLOCK_BITS, BLOCK_WORDS};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use std::ops::Range;

/// Two blocks and a bit of a third one.
const BITS: u64 = 2 * BLOCK_BITS + 70;

/// Bits in a sector, the smallest piece that arrives as a whole.
const SECTOR_BITS: u64 = 3840;

/// What a caller does, or what happens to the disk.
#[derive(Clone, Debug)]
enum Step {
    Set(Range<u64>),
    SetLazily(Range<u64>),
    SetAll,
    Clear(Range<u64>),
    ClearInWord(usize, u64),
    Merge(usize, Vec<u64>),
    BeginUrgent(u64),
    BeginLazy(u64),
    End,
    Fail(u8),
    Crash(u8),
}

/// Ranges where something could go wrong: around the edges of words, sectors and blocks.
fn range() -> impl Strategy<Value = Range<u64>> {
    let edges = vec![
        0,
        64,
        SECTOR_BITS,
        BLOCK_BITS,
        BLOCK_BITS + SECTOR_BITS,
        2 * BLOCK_BITS,
        BITS,
    ];
    let len = prop_oneof![8 => 1u64..4, 2 => 1u64..200, 1 => 1..BITS, 1 => Just(0)];
    (prop::sample::select(edges), 0u64..6, len).prop_map(|(edge, before, len)| {
        let start = edge.saturating_sub(before).min(BITS);
        start..(start + len).min(BITS)
    })
}

/// Which bits a write of another map holds back: none, all, or every other one.
fn hold() -> impl Strategy<Value = u64> {
    prop::sample::select(vec![0, 0, u64::MAX, 0x5555_5555_5555_5555])
}

fn step() -> impl Strategy<Value = Step> {
    let word = 0usize..to_index(BITS.div_ceil(64));
    prop_oneof![
        8 => range().prop_map(Step::Set),
        3 => range().prop_map(Step::SetLazily),
        1 => Just(Step::SetAll),
        6 => range().prop_map(Step::Clear),
        2 => (range(), any::<u64>()).prop_map(|(at, bits)| Step::ClearInWord(to_index(at.start / 64), bits)),
        1 => (word, prop::collection::vec(any::<u64>(), 1..4)).prop_map(|(first, words)| Step::Merge(first, words)),
        8 => hold().prop_map(Step::BeginUrgent),
        5 => hold().prop_map(Step::BeginLazy),
        12 => Just(Step::End),
        2 => any::<u8>().prop_map(Step::Fail),
        1 => any::<u8>().prop_map(Step::Crash),
    ]
}

/// The map under test, and what is known of it.
struct Model {
    kept: Kept,
    /// Bits of which it was said that they are kept, and that were not cleared since.
    promised: Bitmap<Vec<u64>>,
    /// Bits that somebody set and waits for.
    awaited: Bitmap<Vec<u64>>,
}

impl Model {
    fn new() -> Self {
        let kept = Kept::new(3, BITS);
        let words = kept.disk.words();
        Self {
            promised: Bitmap::new(vec![0; words], BITS).unwrap(),
            awaited: Bitmap::new(vec![0; words], BITS).unwrap(),
            kept,
        }
    }

    fn apply(&mut self, step: &Step) {
        let marks = &mut self.kept.marks;
        match step {
            Step::Set(range) => self.set(range.clone()),
            Step::SetLazily(range) => drop(marks.set_lazily(range.clone())),
            Step::SetAll => {
                marks.set_all();
                self.awaited.set_all();
            }
            Step::Clear(range) => {
                marks.clear(range.clone());
                self.awaited.clear_range(range.clone());
                self.promised.clear_range(range.clone());
            }
            Step::ClearInWord(index, bits) => {
                marks.clear_in_word(*index, *bits);
                self.awaited.intersect(*index, [!bits].into_iter());
                self.promised.intersect(*index, [!bits].into_iter());
            }
            Step::Merge(first, words) => {
                let fresh = (*first..)
                    .zip(words)
                    .map(|(index, word)| word & !marks.map().word(index));
                let fresh: Vec<_> = fresh.collect();
                marks.merge(*first, words.iter().copied());
                self.awaited.merge(*first, fresh.into_iter());
            }
            Step::BeginUrgent(hold) => self.begin(self.kept.marks.next_urgent(), *hold),
            Step::BeginLazy(hold) => self.begin(self.kept.marks.next_lazy(0), *hold),
            Step::End => self.kept.end(true, 0),
            Step::Fail(arrived) => self.kept.end(false, *arrived),
            Step::Crash(arrived) => {
                self.kept.crash(*arrived);
                self.awaited.clear_all();
            }
        }
        self.check();
    }

    /// Sets marks; those that are kept already cost nothing.
    fn set(&mut self, range: Range<u64>) {
        let marks = &self.kept.marks;
        let hot = marks.is_kept(range.clone()) && marks.map().all(range.clone());
        let pending = (marks.next_urgent(), self.kept.lazy());
        self.kept.marks.set(range.clone());
        self.awaited.set_range(range);
        if hot {
            assert_eq!((self.kept.marks.next_urgent(), self.kept.lazy()), pending);
        }
    }

    fn begin(&mut self, block: Option<u64>, hold: u64) {
        let Some(block) = block.filter(|_| self.kept.disk.writing().is_none()) else {
            return;
        };
        let words = self.words_of(block);
        let before: Vec<_> = words.clone().map(|index| self.kept.marks.kept_word(index)).collect();
        self.kept.begin(block, |_| hold);
        let mut held = false;
        for (index, before) in words.zip(before) {
            let (wanted, coming) = (self.kept.wanted(index), self.kept.disk.coming(index));
            assert_eq!(coming, wanted | (before & hold), "word {index}");
            held |= coming != wanted;
        }
        assert!(
            !held || self.kept.lazy().contains(&block),
            "what is held is written again"
        );
    }

    fn words_of(&self, block: u64) -> Range<usize> {
        let first = to_index(block) * BLOCK_WORDS;
        first..(first + BLOCK_WORDS).min(self.kept.disk.words())
    }

    fn check(&mut self) {
        let Self {
            kept,
            promised,
            awaited,
        } = self;
        let lazy = kept.lazy();
        let urgent = |block: u64| kept.marks.next_urgent().is_some_and(|first| first <= block);
        for index in 0..kept.disk.words() {
            let (wanted, on_disk) = (kept.wanted(index), kept.marks.kept_word(index));
            promised.merge(index, [on_disk & wanted].into_iter());
            let sure = kept.disk.sure(index);
            assert_eq!(
                promised.word(index) & !sure,
                0,
                "word {index}: kept, and not on the disk"
            );
            assert_eq!(on_disk & !sure, 0, "word {index}: taken to be on the disk");
            let block = index as u64 * 64 / BLOCK_BITS;
            if wanted != kept.disk.coming(index) {
                assert!(
                    urgent(block) || lazy.contains(&block),
                    "word {index}: nobody will write it"
                );
            }
            let late = awaited.word(index) & !on_disk;
            let under_way = kept.disk.writing() == Some(block) && late & !kept.disk.coming(index) == 0;
            assert!(
                late == 0 || under_way || urgent(block),
                "word {index}: somebody waits for ever"
            );
        }
        assert_eq!(kept.marks.is_writing(), kept.disk.writing().is_some());
    }

    /// Writes what is left; then disk and memory are the same.
    fn settle(&mut self) {
        self.kept.end(true, 0);
        let mut writes = 0;
        while let Some(block) = self.kept.marks.next_urgent().or_else(|| self.kept.marks.next_lazy(0)) {
            self.begin(Some(block), 0);
            self.kept.end(true, 0);
            self.check();
            writes += 1;
            assert!(writes <= 2 * 3, "{writes} writes of three blocks");
        }
        for index in 0..self.kept.disk.words() {
            assert_eq!(self.kept.disk.sure(index), self.kept.wanted(index), "word {index}");
        }
        assert!(self.kept.marks.is_kept(0..0) && self.kept.marks.is_settled());
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    /// Covers: S56.
    #[test]
    fn what_is_kept_outlives_a_crash_at_any_moment(steps in prop::collection::vec(step(), 1..60)) {
        let mut model = Model::new();
        for step in &steps {
            model.apply(step);
        }
        model.settle();
    }
}

#[test]
fn a_hot_chunk_costs_one_write_ever() {
    let mut model = Model::new();
    let mut writes = 0;
    for _ in 0..1000 {
        model.set(7..8);
        while let Some(block) = model.kept.marks.next_urgent().or_else(|| model.kept.marks.next_lazy(0)) {
            model.begin(Some(block), 0);
            model.kept.end(true, 0);
            writes += 1;
            assert_eq!(writes, 1);
        }
    }
}
