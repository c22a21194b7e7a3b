// SPDX-License-Identifier: GPL-2.0
//! What is refused.

use std::fs;
use std::os::unix::fs::symlink;

use clap::Parser as _;
use netraid_ctl::cli::Cli;
use netraid_ctl::gen;

use super::{superblock, Bench, LEN};
use crate::fake::Fake;
use crate::machine::{run_on, Machine};

/// Covers: S69.
#[test]
fn what_is_no_metadata_is_refused_with_a_sentence() {
    let bench = Bench::new(&superblock());
    let whole = bench.bytes();
    let expect = |content: &[u8], sentence: &str| {
        fs::write(bench.path(), content).unwrap();
        for action in ["-X", "-d", "-c --yes", "-a"] {
            let error = bench.error(action);
            assert!(error.starts_with("netraid-ctl: cannot "), "{error}");
            assert!(error.contains(&format!("DIR/bitmap_data: {sentence}")), "{error}");
            assert_eq!(fs::read(bench.path()).unwrap(), content);
        }
    };
    expect(b"", "it is empty");
    expect(b"hello", "it has 5 bytes, too few for metadata of a mirror");
    expect(&[0; LEN], "there is no metadata of a mirror, only zeroes");
    expect(&[0x5a; LEN], "what is there is not metadata of a mirror");
    expect(&whole[..LEN - 1], "it is truncated: it has 73727 of 73728 bytes");
    let mut newer = whole.clone();
    newer[4] = 2;
    let checksum = netraid_core::crc32c::crc32c(0, &newer[..508]).to_le_bytes();
    newer[508..512].copy_from_slice(&checksum);
    expect(
        &newer,
        "the metadata was written by a newer version of netraid (its format is 2, this one knows 1)",
    );
    fs::remove_file(bench.path()).unwrap();
    assert!(bench.error("-X").contains("it does not exist"));
    fs::create_dir(bench.path()).unwrap();
    assert!(bench
        .error("-X")
        .contains("it is a directory, not a file or a block device"));
}

/// Covers: S69.
#[test]
fn exactly_one_action_and_one_file_are_needed() {
    let parse = |line: &str| {
        let words = ["netraid-ctl", "bitmap"].into_iter().chain(line.split_whitespace());
        Cli::try_parse_from(words).map_err(|error| error.to_string())
    };
    for line in [
        "",
        "FILE",
        "-X",
        "-c -d FILE",
        "-X -a FILE",
        "-X 1 2 FILE",
        "-d --json FILE",
        "-X --yes FILE",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
    for line in [
        "-X FILE",
        "-a FILE",
        "-a 1000 FILE",
        "-c --yes FILE",
        "-d --internal FILE",
        "-X --json FILE",
    ] {
        assert!(parse(line).is_ok(), "{line}");
    }
    let bench = Bench::new(&superblock());
    let ran = bench.run("-X 5");
    assert_eq!(ran.status, 1);
    assert!(ran.err.contains("one FILE is enough"), "{}", ran.err);
    let ran = bench.run("-a many");
    assert_eq!(ran.status, 1);
    assert!(ran.err.contains("`many` is no number of operations"), "{}", ran.err);
}

/// Covers: S71.
#[test]
fn nothing_is_changed_while_a_mirror_is_in_service_with_it() {
    let bench = Bench::new(&superblock());
    let link = bench.folder.path().join("link");
    symlink(bench.path(), &link).unwrap();
    let before = bench.bytes();
    for role in [gen::Role::Source, gen::Role::Target] {
        for path in [bench.path(), link.clone()] {
            bench.load(path.to_str().unwrap(), role);
            for action in ["-d", "-c --yes", "-a"] {
                let error = bench.error(action);
                assert!(error.contains("mirror data is in service with it"), "{error}");
                assert!(error.contains("`netraid-ctl stop data` first"), "{error}");
                assert_eq!(bench.bytes(), before);
            }
        }
    }
    assert!(bench.run("-X").out.contains("\tState: in use by mirror data, "));
    // One that is stopped reads it again when it is started; another mirror has nothing to do with it.
    bench.load(link.to_str().unwrap(), gen::Role::Stopped);
    assert_eq!(bench.run("-d").status, 0);
    bench.load("/dev/null", gen::Role::Source);
    assert_eq!(bench.run("-d").status, 0);
}

#[test]
fn nothing_is_changed_when_the_kernel_cannot_be_asked() {
    let bench = Bench::new(&superblock());
    bench.load("/elsewhere", gen::Role::Source);
    bench.kernel.0.borrow_mut().dump_flags = [crate::fake::NLM_F_DUMP_INTR; 99].into();
    let before = bench.bytes();
    let error = bench.error("-d");
    assert!(error.contains("it is not known whether a mirror uses it"), "{error}");
    assert_eq!(bench.bytes(), before);
    assert_eq!(bench.run("-X").status, 0);
}

#[test]
fn an_option_like_word_is_no_file() {
    let ran = run_on(&Machine::default(), &Fake::default(), "bitmap -X ./--internal");
    assert_eq!(ran.status, 2);
    assert!(ran.err.contains("./--internal: it does not exist"), "{}", ran.err);
}
