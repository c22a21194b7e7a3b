// SPDX-License-Identifier: GPL-2.0
//! The file of defaults: what a shell would read in it, and no more.

use netraid_ctl::defaults::Defaults;

fn read(text: &str) -> Defaults {
    Defaults::parse(text).unwrap()
}

/// Covers: S270.
#[test]
fn assignments_are_read_as_a_shell_does() {
    let set = Defaults {
        no_full_sync: true,
        async_limit: None,
    };
    for text in [
        "NO_FULL_SYNC=1",
        "export NO_FULL_SYNC=1\n",
        "  NO_FULL_SYNC=\"1\"  # both were copied by hand",
        "export\tNO_FULL_SYNC='1'",
        "NO_FULL_SYNC=0\nNO_FULL_SYNC=1\n",
        "# NO_FULL_SYNC=0\nPATH=\"$PATH:/opt/bin\"\nLKDR_NOFULL_SYNC=1\n",
        // Our own key counts more, wherever it is.
        "NO_FULL_SYNC=1\nLKDR_NO_FULL_SYNC=0\n",
    ] {
        assert_eq!(read(text), set, "{text}");
    }
    assert_eq!(read(""), Defaults::default());
    assert_eq!(read("NO_FULL_SYNC=\n"), Defaults::default());
}

/// Covers: S43, S44.
#[test]
fn the_limit_of_asynchronous_targets_counts_above_two() {
    let limit = |text: &str| read(text).async_limit;
    for small in ["0", "1", "2", ""] {
        assert_eq!(limit(&format!("ASYNC_LIMIT={small}")), None);
    }
    assert_eq!(limit("LKDR_ASYNC_LIMIT=3"), Some(3));
    assert_eq!(limit("LKDR_ASYNC_LIMIT=3\nASYNC_LIMIT='4096'"), Some(4096));
}

#[test]
fn a_mistake_is_told_with_its_line() {
    for (text, line, why) in [
        ("\nnonsense\n", 2, "assigns nothing"),
        ("NO_FULL_SYNC = 1", 1, "no blank is before the ="),
        ("1KEY=1", 1, "is no key"),
        ("ASYNC_LIMIT=many", 1, "is a number, and `many` is none"),
        ("ASYNC_LIMIT=-1", 1, "is a number"),
        ("ASYNC_LIMIT=4097", 1, "is at most 4096, and 4097 is more"),
        ("NO_FULL_SYNC=\"1", 1, "the quote \" is not closed"),
        ("NO_FULL_SYNC=1 2", 1, "follows the value"),
        ("NO_FULL_SYNC=$X", 1, "is not replaced here"),
        ("NO_FULL_SYNC=1; ASYNC_LIMIT=3", 1, "one line is one assignment"),
        ("NO_FULL_SYNC=yes", 1, "is 1 or 0, and `yes` is neither"),
    ] {
        let (at, told) = Defaults::parse(text).unwrap_err();
        assert_eq!(at, line, "{text}");
        assert!(told.contains(why), "{text}: {told}");
    }
}
