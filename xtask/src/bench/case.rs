// SPDX-License-Identifier: GPL-2.0
//! The loads that are put on a device.

/// What counts of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Operations a second.
    Operations,
    /// Millions of bytes a second.
    Megabytes,
}

/// A load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Case {
    /// Short, for tables, files and the command line.
    pub(super) name: &'static str,
    /// In words.
    pub(super) title: &'static str,
    /// What counts.
    pub(super) unit: Unit,
    /// Whether anything is written.
    pub(super) writes: bool,
    /// What [fio] is told of it.
    ///
    /// [fio]: super::fio
    pub(super) fio: &'static [&'static str],
    /// It is among the few of `--quick`.
    pub(super) quick: bool,
}

/// All loads, in the order in which they are put on.
pub(super) const CASES: &[Case] = &[
    Case {
        name: "w4k-1",
        title: "random writes of 4 KiB, one at a time",
        unit: Unit::Operations,
        writes: true,
        fio: &["--rw=randwrite", "--bs=4k", "--iodepth=1"],
        quick: true,
    },
    Case {
        name: "w4k-8",
        title: "random writes of 4 KiB, 8 at a time",
        unit: Unit::Operations,
        writes: true,
        fio: &["--rw=randwrite", "--bs=4k", "--iodepth=8"],
        quick: false,
    },
    Case {
        name: "w4k-32",
        title: "random writes of 4 KiB, 32 at a time",
        unit: Unit::Operations,
        writes: true,
        fio: &["--rw=randwrite", "--bs=4k", "--iodepth=32"],
        quick: true,
    },
    Case {
        name: "w4k-4x8",
        title: "random writes of 4 KiB by 4 processes, 8 at a time each",
        unit: Unit::Operations,
        writes: true,
        fio: &["--rw=randwrite", "--bs=4k", "--iodepth=8", "--numjobs=4"],
        quick: false,
    },
    Case {
        name: "w128k-8",
        title: "writes of 128 KiB one after the other, 8 at a time",
        unit: Unit::Megabytes,
        writes: true,
        fio: &["--rw=write", "--bs=128k", "--iodepth=8"],
        quick: true,
    },
    Case {
        name: "w1m-8",
        title: "writes of 1 MiB one after the other, 8 at a time",
        unit: Unit::Megabytes,
        writes: true,
        fio: &["--rw=write", "--bs=1m", "--iodepth=8"],
        quick: false,
    },
    Case {
        name: "fsync",
        title: "random writes of 4 KiB, each made durable",
        unit: Unit::Operations,
        writes: true,
        fio: &["--rw=randwrite", "--bs=4k", "--iodepth=1", "--fsync=1"],
        quick: false,
    },
    Case {
        name: "mixed",
        title: "70 % random reads and 30 % random writes of 4 KiB, 8 at a time",
        unit: Unit::Operations,
        writes: true,
        fio: &["--rw=randrw", "--rwmixread=70", "--bs=4k", "--iodepth=8"],
        quick: false,
    },
    Case {
        name: "r4k-1",
        title: "random reads of 4 KiB, one at a time",
        unit: Unit::Operations,
        writes: false,
        fio: &["--rw=randread", "--bs=4k", "--iodepth=1"],
        quick: false,
    },
    Case {
        name: "r4k-32",
        title: "random reads of 4 KiB, 32 at a time",
        unit: Unit::Operations,
        writes: false,
        fio: &["--rw=randread", "--bs=4k", "--iodepth=32"],
        quick: true,
    },
];

/// The loads of a measurement.
#[must_use]
pub(super) fn cases(quick: bool) -> Vec<Case> {
    CASES.iter().copied().filter(|case| case.quick || !quick).collect()
}

#[cfg(test)]
mod tests {
    use super::{cases, CASES};

    #[test]
    fn names_are_unique_and_titles_tell_them_apart() {
        for (at, case) in CASES.iter().enumerate() {
            assert!(CASES[..at]
                .iter()
                .all(|other| other.name != case.name && other.title != case.title && other.fio != case.fio));
            let reads_only = case.fio[0] == "--rw=randread";
            assert_eq!(case.writes, !reads_only, "{}", case.name);
        }
    }

    #[test]
    fn the_quick_ones_are_few_and_of_each_sort() {
        let quick = cases(true);
        assert!(quick.len() < CASES.len() / 2 + 1);
        assert!(quick.iter().any(|case| case.writes) && quick.iter().any(|case| !case.writes));
        assert_eq!(cases(false).len(), CASES.len());
    }
}
