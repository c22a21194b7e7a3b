// SPDX-License-Identifier: GPL-2.0
//! Logs that are as they must be, and logs that must not be.

use super::*;
use netraid_core::{
    chunk::Geometry,
    meta::{encode_map_block, map_of_peer, Layout, Place, Superblock, BLOCK_LEN, BLOCK_WORDS, MAPS, MAP_INTENT},
    name::Name,
    state::Role,
};

const PARTS: Parts = Parts {
    data: 1 << 20,
    meta: 1 << 18,
    chunk: 16 << 10,
};

fn superblock() -> Superblock {
    Superblock {
        size: PARTS.data,
        chunk_size: 16 << 10,
        role: Role::Source,
        sequence: 1,
        set: 7,
        name: Name::truncated("data"),
        mirror_uuid: [1; 16],
        node_uuid: [2; 16],
        current: 1,
        ..Superblock::default()
    }
}

fn write(offset: u64, data: Vec<u8>, fua: bool) -> Entry {
    Entry {
        offset,
        what: What::Write(data),
        flush: false,
        fua,
    }
}

fn flush() -> Entry {
    Entry {
        flush: true,
        ..write(0, Vec::new(), false)
    }
}

fn mark(words: &str) -> Entry {
    Entry {
        what: What::Mark(words.into()),
        ..write(0, Vec::new(), false)
    }
}

/// A block of a map with one word.
fn map(map: usize, chunks: &[u64]) -> Entry {
    let layout = Layout::new(Place::Start, Geometry::new(PARTS.data, 16 << 10).ok()).unwrap();
    let (mut block, mut words) = ([0; BLOCK_LEN], [0; BLOCK_WORDS]);
    words[0] = chunks.iter().map(|chunk| 1 << chunk).sum();
    encode_map_block(&mut block, 7, u16::try_from(map).unwrap(), 0, &words);
    write(PARTS.data + layout.map_block_offset(map, 0), block.to_vec(), true)
}

fn intent(chunks: &[u64]) -> Entry {
    map(MAP_INTENT, chunks)
}

fn data(chunk: u64, fua: bool) -> Entry {
    write(chunk * PARTS.chunk + 512, vec![0xaa; 2048], fua)
}

/// What making a mirror writes, and then this.
fn log(then: &[Entry]) -> Log {
    let mut block = [0; BLOCK_LEN];
    superblock().encode(&mut block);
    let mut entries: Vec<_> = (0..MAPS).map(|number| map(number, &[])).collect();
    entries.extend([0, 4096].map(|at| write(PARTS.data + at, block.to_vec(), true)));
    entries.push(mark("created"));
    entries.extend_from_slice(then);
    Log::of(entries)
}

/// Looks at it with each sector lost as a number's bits say, whatever the number.
fn outcome(then: &[Entry]) -> Result<Seen> {
    outcome_with(then, &[])
}

/// The same with a target that holds these when the link is cut.
fn outcome_with(then: &[Entry], there: &[Entry]) -> Result<Seen> {
    let (log, mut state) = (log(then), 1_u64);
    let coin = || {
        state = state
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        state >> 63 == 0
    };
    let mut target = Replay::new(vec![0; usize::try_from(PARTS.data)?]);
    for entry in there {
        target.apply(entry)?;
    }
    let proof = Proof::new(&log, PARTS, vec![target.bytes().to_vec()], coin)?;
    let (seen, _disk) = proof.run()?;
    Ok(seen)
}

fn wrong(then: &[Entry], how: &str) {
    let error = outcome(then).map_err(|error| format!("{error:#}"));
    assert!(matches!(&error, Err(text) if text.contains(how)), "{error:?}");
}

#[test]
fn marks_in_time_and_not_too_short_are_fine() {
    let then = [
        intent(&[5]),
        data(5, true),
        data(5, false),
        flush(),
        intent(&[]),
        mark("cut"),
        map(map_of_peer(0), &[9]),
        data(9, false),
        flush(),
        mark("restored"),
    ];
    let seen = outcome_with(&then, &[data(5, true)]);
    let seen = seen.unwrap();
    assert_eq!((seen.live, seen.alone, seen.cleared), (2, 1, 1), "{seen:?}");
    assert!(seen.torn >= 9 && seen.partial >= 9 && seen.differing > 0, "{seen:?}");
}

#[test]
fn a_write_before_its_mark_is_noticed() {
    wrong(&[data(5, true), intent(&[5])], "written to and not marked: 1 chunks: 5");
    wrong(&[intent(&[4]), data(5, true)], "written to and not marked: 1 chunks: 5");
}

#[test]
fn a_mark_that_goes_before_what_it_marks_is_durable_is_noticed() {
    let then = [intent(&[5]), intent(&[]), data(5, false), flush()];
    wrong(&then, "written to and not marked: 1 chunks: 5");
}

#[test]
fn a_mark_that_goes_although_the_target_misses_the_chunk_is_noticed() {
    let then = [intent(&[5]), data(5, true), mark("cut"), intent(&[])];
    wrong(&then, "they differ and are not marked: 1 chunks: 5");
    // The other map has it, but only later.
    let late = [then.as_slice(), &[map(map_of_peer(0), &[5])]].concat();
    wrong(&late, "they differ and are not marked: 1 chunks: 5");
    let in_time = [
        intent(&[5]),
        data(5, true),
        mark("cut"),
        map(map_of_peer(0), &[5]),
        intent(&[]),
    ];
    assert!(outcome(&in_time).is_ok());
}

#[test]
fn metadata_that_is_no_more_is_noticed() {
    let nothing = |at| write(PARTS.data + at, vec![0; 4096], true);
    wrong(&[nothing(0), nothing(4096)], "when it is written");
    assert!(outcome(&[nothing(0)]).is_ok());
}
