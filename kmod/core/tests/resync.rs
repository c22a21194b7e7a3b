// SPDX-License-Identifier: GPL-2.0

//! The resync cursor: everything marked is copied, once a pass, and nothing else.

#![allow(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says all it means in one place"
)]

use netraid_core::bitmap::Bitmap;
use netraid_core::chunk::Geometry;
use netraid_core::resync::{eta_ms, is_shared, Cursor, Extent, Progress, Step};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

const CHUNK: u32 = 4096;

fn map(geometry: &Geometry, marked: &[u64]) -> Bitmap<Vec<u64>> {
    let mut map = Bitmap::new(vec![0; geometry.words()], geometry.chunks()).unwrap();
    for &chunk in marked {
        map.set(chunk);
    }
    map
}

/// What the target may well hold comes one by one, to be compared; the rest as ever. Covers: S56.
#[test]
fn doubtful_chunks_come_alone() {
    let geometry = Geometry::new(10 * u64::from(CHUNK), CHUNK).unwrap();
    let mut dirty = Bitmap::new(vec![0_u64; 1], 10).unwrap();
    dirty.set_range(0..8);
    let mut cursor = Cursor::new();
    let mut found = Vec::new();
    while let Step::Copy(extent) = cursor.next_with(
        &dirty,
        |chunk| chunk == 2 || chunk == 3,
        |_| None,
        &geometry,
        8 * CHUNK,
        1,
    ) {
        found.push((extent.chunks, extent.compare));
    }
    assert_eq!(found, [(0..2, false), (2..3, true), (3..4, true), (4..8, false)]);
}

/// What is on its way for another leg's sake is neither copied twice nor forgotten. Covers: S56, S106.
#[test]
fn what_is_under_way_already_is_left_out() {
    let geometry = Geometry::new(10 * u64::from(CHUNK), CHUNK).unwrap();
    let mut dirty = Bitmap::new(vec![0_u64; 1], 10).unwrap();
    dirty.set_range(0..10);
    let under_way = |chunk: u64| (3..5).contains(&chunk).then_some(5);
    let (mut cursor, mut found) = (Cursor::new(), Vec::new());
    loop {
        match cursor.next_with(&dirty, |_| false, under_way, &geometry, 8 * CHUNK, 1) {
            Step::Copy(extent) => found.push(extent.chunks),
            Step::Continue => {}
            step => break assert_eq!(step, Step::Wait),
        }
    }
    assert_eq!(found, [0..3, 5..10]);
}

/// A copy is good for another leg if it brings exactly what that one lacks, in the way it wants it. Covers: S106.
#[test]
fn a_copy_is_shared_where_another_leg_lacks_all_of_it() {
    let mut dirty = Bitmap::new(vec![0_u64; 1], 10).unwrap();
    dirty.set_range(2..6);
    let doubtful = |chunk: u64| chunk == 5;
    assert!(is_shared(&dirty, doubtful, 2..5, false));
    assert!(is_shared(&dirty, doubtful, 5..6, true));
    assert!(!is_shared(&dirty, doubtful, 2..5, true), "it wants no comparison");
    assert!(!is_shared(&dirty, doubtful, 4..6, false), "a part is to be compared");
    assert!(!is_shared(&dirty, doubtful, 1..3, false), "a part is not missing");
    assert!(!is_shared(&dirty, doubtful, 3..3, false), "nothing clears no mark");
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    /// Copies fail at random and keep their marks; in the end every chunk that was marked, and no
    /// other, was copied. In one pass none is copied twice.
    #[test]
    fn everything_marked_is_copied_and_nothing_else(
        chunks in 1u64..400,
        short in 0u64..8,
        marked in prop::collection::btree_set(0u64..400, 0..200),
        max_bytes in 0u32..5 * CHUNK,
        max_words in 0usize..5,
        failures in prop::collection::vec(any::<bool>(), 0..40),
    ) {
        let geometry = Geometry::new(chunks * u64::from(CHUNK) - short.min(7) * 512, CHUNK).unwrap();
        let marked: Vec<u64> = marked.into_iter().filter(|&chunk| chunk < chunks).collect();
        let mut dirty = map(&geometry, &marked);
        let mut failures = failures.into_iter();
        let mut cursor = Cursor::new();
        let (mut copied, mut in_pass) = (vec![false; chunks as usize], vec![false; chunks as usize]);
        // The copies of a pass end only when it is over: their marks stay until then.
        let mut done: Vec<Extent> = Vec::new();
        for _ in 0..10_000 {
            match cursor.next(&dirty, &geometry, max_bytes, max_words) {
                Step::Copy(extent) => {
                    let first = extent.chunks.start * u64::from(CHUNK);
                    let end = (extent.chunks.end * u64::from(CHUNK)).min(geometry.size());
                    prop_assert_eq!((extent.offset, extent.len), (first, end - first));
                    prop_assert!(extent.len <= u64::from(max_bytes.max(CHUNK)));
                    for chunk in extent.chunks.clone() {
                        prop_assert!(!std::mem::replace(&mut in_pass[chunk as usize], true), "once a pass");
                        prop_assert!(dirty.get(chunk));
                    }
                    if !failures.next().unwrap_or(false) {
                        done.push(extent);
                    }
                }
                Step::Continue => {}
                Step::Wait => {
                    for extent in done.drain(..) {
                        dirty.clear_range(extent.chunks.clone());
                        extent.chunks.for_each(|chunk| copied[chunk as usize] = true);
                    }
                    in_pass.fill(false);
                }
                Step::End => break,
            }
        }
        prop_assert_eq!(dirty.ones(), 0, "it ends");
        let copied: Vec<u64> = (0..chunks).filter(|&chunk| copied[chunk as usize]).collect();
        prop_assert_eq!(copied, marked);
    }
}

#[test]
fn adjacent_chunks_go_together_up_to_the_limit() {
    let geometry = Geometry::new(10 * u64::from(CHUNK), CHUNK).unwrap();
    let dirty = map(&geometry, &[1, 2, 3, 4, 6]);
    let mut cursor = Cursor::new();
    let mut chunks = || match cursor.next(&dirty, &geometry, 3 * CHUNK, 1) {
        Step::Copy(extent) => Some(extent.chunks),
        _ => None,
    };
    assert_eq!(chunks(), Some(1..4));
    assert_eq!(chunks(), Some(4..5));
    assert_eq!(chunks(), Some(6..7));
    assert_eq!(chunks(), None);
    assert_eq!(cursor.position(), 0, "the next pass begins at the start");
}

#[test]
fn a_chunk_larger_than_a_message_goes_in_pieces() {
    let geometry = Geometry::new((1 << 20) + 512, 1 << 20).unwrap();
    let dirty = map(&geometry, &[0, 1]);
    let mut cursor = Cursor::new();
    let Step::Copy(extent) = cursor.next(&dirty, &geometry, 400_000, 1) else {
        panic!("nothing to copy")
    };
    assert_eq!((extent.offset, extent.len), (0, 1 << 20));
    let limit = 400_000 & !511;
    assert_eq!(extent.piece(0, 400_000), Some((0, limit)));
    let second = u64::from(limit);
    assert_eq!(extent.piece(second, 400_000), Some((second, limit)));
    assert_eq!(
        extent.piece(2 * second, 400_000),
        Some((2 * second, (1 << 20) - 2 * limit))
    );
    assert_eq!(extent.piece(1 << 20, 400_000), None);
    assert_eq!(extent.piece(u64::MAX, 400_000), None);
    assert_eq!(extent.piece(0, 0), Some((0, 512)), "it gets on whatever the limit");
    let Step::Copy(last) = cursor.next(&dirty, &geometry, 400_000, 1) else {
        panic!("nothing to copy")
    };
    assert_eq!((last.offset, last.len), (1 << 20, 512), "the last chunk is short");
}

#[test]
fn marks_made_behind_the_cursor_are_found_in_the_next_pass() {
    let geometry = Geometry::new(100 * u64::from(CHUNK), CHUNK).unwrap();
    let mut dirty = map(&geometry, &[50]);
    let mut cursor = Cursor::new();
    assert!(matches!(cursor.next(&dirty, &geometry, CHUNK, 9), Step::Copy(_)));
    dirty.clear(50);
    dirty.set(3);
    assert_eq!(cursor.next(&dirty, &geometry, CHUNK, 9), Step::Wait);
    assert!(matches!(cursor.next(&dirty, &geometry, CHUNK, 9), Step::Copy(extent) if extent.chunks == (3..4)));
    dirty.clear(3);
    assert_eq!(cursor.next(&dirty, &geometry, CHUNK, 9), Step::End);
}

#[test]
fn progress_speed_and_time_left() {
    let mut progress = Progress::start(1000, 1000);
    assert_eq!(
        (
            progress.percent(),
            progress.eta_ms(1500),
            progress.bytes_per_second(1000)
        ),
        (0, None, 0)
    );
    progress.add_done(250);
    assert_eq!(progress.percent(), 25);
    assert_eq!(progress.bytes_per_second(1500), 500);
    assert_eq!(progress.eta_ms(1500), Some(1500));
    progress.add_done(749);
    assert_eq!(progress.percent(), 99, "100 is for the end");
    progress.add_done(1);
    assert_eq!((progress.percent(), progress.eta_ms(9000)), (100, Some(0)));
    progress.add_done(5);
    assert_eq!(
        (progress.total(), progress.done()),
        (1005, 1005),
        "what is copied twice counts twice"
    );
    progress.add_total(995);
    assert_eq!((progress.total(), progress.percent()), (2000, 50));
    assert_eq!(progress.elapsed_ms(0), 0, "a clock before the start is no time");
}

#[test]
fn nothing_to_copy_is_done_at_once() {
    assert_eq!(Progress::start(0, 0).percent(), 100);
    assert_eq!(eta_ms(0, 0, 0), Some(0));
}

#[test]
fn figures_of_any_size_do_not_overflow() {
    let mut progress = Progress::start(0, u64::MAX);
    progress.add_done(u64::MAX - 1);
    progress.add_total(u64::MAX);
    assert_eq!(progress.percent(), 99);
    assert!(progress.bytes_per_second(1000) >= u64::MAX / 1000 * 999);
    assert!(progress.eta_ms(u64::MAX).is_some());
    assert_eq!(eta_ms(u64::MAX, 1, u64::MAX), Some(u64::MAX));
}
