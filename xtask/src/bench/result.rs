// SPDX-License-Identifier: GPL-2.0
//! What was measured, as it is kept in the file of `--json`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::case::{Case, Unit};
use super::echo::Echo;
use super::fio::Sample;
use super::peer::{Family, Kind, Peer};
use super::stats::{median, ratio};

/// Grows when something in the file goes or changes its meaning.
pub(super) const VERSION: u32 = 1;

/// The whole file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Report {
    /// Version of this format.
    pub(super) version: u32,
    /// Kernel release.
    pub(super) kernel: String,
    /// Whether the machine was emulated.
    pub(super) emulated: bool,
    /// Only few loads, for a short time.
    pub(super) quick: bool,
    /// How long each load lasted, milliseconds.
    pub(super) milliseconds: u32,
    /// Rounds, of which medians are taken.
    pub(super) rounds: u32,
    /// Names of the loads, in their order.
    pub(super) cases: Vec<String>,
    /// What the machine can do where nothing is stored: the limit of every mirror over this way.
    pub(super) floor: Vec<Echo>,
    /// What was measured, in the order of the rounds.
    pub(super) peers: Vec<Outcome>,
}

/// What came of one peer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Outcome {
    /// Its name.
    pub(super) name: String,
    /// Whose it is.
    pub(super) family: Family,
    /// When a write counts as written.
    pub(super) kind: Kind,
    /// What it gave in each round in which it could be set up.
    pub(super) rounds: Vec<Round>,
    /// Why it could not be set up or measured, where that happened.
    pub(super) failures: Vec<String>,
}

/// What one peer gave in one round.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Round {
    /// By the name of the load.
    pub(super) loads: BTreeMap<String, Load>,
    /// The first copy of the whole disk.
    pub(super) full: Option<Copy>,
    /// What was brought up to date after 1 % of the disk had been written to, in scattered places.
    pub(super) partial: Option<Copy>,
    /// Bytes of memory that were gone when it was set up.
    pub(super) memory: Option<i64>,
}

/// What one load gave.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Load {
    /// What fio says.
    #[serde(flatten)]
    pub(super) sample: Sample,
    /// Processor time of everything in the machine, in seconds.
    pub(super) cpu: f64,
    /// That of the threads of the source, where they are known.
    pub(super) cpu_source: Option<f64>,
    /// That of the threads of the target, where they are known.
    pub(super) cpu_target: Option<f64>,
}

/// How long a copy took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Copy {
    /// Bytes that had to be brought to the target at least.
    pub(super) bytes: u64,
    /// From the command to the target being in step.
    pub(super) seconds: f64,
}

impl Copy {
    /// Millions of bytes a second.
    #[must_use]
    pub(super) fn megabytes(&self) -> f64 {
        megabytes(self.bytes) / self.seconds
    }
}

/// Bytes in millions; exact below 2^53 bytes.
#[expect(clippy::cast_precision_loss, reason = "nothing measured here has 2^53 bytes")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

impl Outcome {
    /// Nothing as yet.
    #[must_use]
    pub(super) fn new(peer: &Peer) -> Self {
        Self {
            name: peer.name.to_owned(),
            family: peer.family,
            kind: peer.kind,
            rounds: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// The median of a value over the rounds that have it.
    fn median(&self, value: impl Fn(&Round) -> Option<f64>) -> Option<f64> {
        median(self.rounds.iter().filter_map(value))
    }

    /// The median of a value of a load.
    pub(super) fn of(&self, case: &str, value: impl Fn(&Load) -> f64) -> Option<f64> {
        self.median(|round| round.loads.get(case).map(&value))
    }

    /// What counts of a load.
    #[must_use]
    pub(super) fn score(&self, case: &Case) -> Option<f64> {
        self.of(case.name, |load| match case.unit {
            Unit::Operations => load.sample.iops,
            Unit::Megabytes => load.sample.bytes_per_second / 1e6,
        })
    }

    /// Processor seconds for each billion bytes written under a load: of everything, the source, the target.
    #[must_use]
    pub(super) fn cpu(&self, case: &str) -> [Option<f64>; 3] {
        let of = |seconds: fn(&Load) -> Option<f64>| {
            self.median(|round| {
                let load = round.loads.get(case)?;
                ratio(seconds(load)?, load.sample.bytes_written / 1e9)
            })
        };
        [
            of(|load| Some(load.cpu)),
            of(|load| load.cpu_source),
            of(|load| load.cpu_target),
        ]
    }

    /// Speed of the first copy in millions of bytes a second.
    #[must_use]
    pub(super) fn full(&self) -> Option<f64> {
        self.median(|round| round.full.map(|copy| copy.megabytes()))
    }

    /// Seconds of the copy of 1 %.
    #[must_use]
    pub(super) fn partial(&self) -> Option<f64> {
        self.median(|round| round.partial.map(|copy| copy.seconds))
    }

    /// Memory in millions of bytes.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "memory of a machine is below 2^53 bytes")]
    pub(super) fn memory(&self) -> Option<f64> {
        self.median(|round| round.memory.map(|bytes| bytes as f64 / 1e6))
    }

    /// Whether there is any figure.
    #[must_use]
    pub(super) fn is_measured(&self) -> bool {
        !self.rounds.is_empty()
    }
}

impl Report {
    /// The raw disk.
    #[must_use]
    pub(super) fn raw(&self) -> Option<&Outcome> {
        self.peers.iter().find(|peer| peer.kind == Kind::Raw)
    }

    /// The best of the others of the same kind by a score: who, and how much.
    pub(super) fn best_of_others(
        &self,
        kind: Kind,
        score: impl Fn(&Outcome) -> Option<f64>,
    ) -> Option<(&Outcome, f64)> {
        let others = self
            .peers
            .iter()
            .filter(|peer| peer.kind == kind && peer.family != Family::Netraid);
        others
            .filter_map(|peer| Some((peer, score(peer)?)))
            .max_by(|one, other| one.1.total_cmp(&other.1))
    }

    /// Writes the file.
    ///
    /// # Errors
    ///
    /// When that is not possible.
    pub(super) fn write(&self, file: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self).context("write the figures as JSON")?;
        text.push('\n');
        fs::write(file, text).with_context(|| format!("write the figures to {}", file.display()))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::case::CASES;
    use super::super::peer::all;
    use super::{Copy, Load, Outcome, Report, Round, Sample, VERSION};

    /// A round in which every load gave `iops`.
    pub(crate) fn round(iops: f64) -> Round {
        let load = Load {
            sample: Sample {
                iops,
                bytes_per_second: iops * 4096.0,
                bytes_written: 2e9,
                p50_us: 10.0,
                p99_us: 20.0,
                p999_us: 30.0,
            },
            cpu: 3.0,
            cpu_source: Some(1.0),
            cpu_target: None,
        };
        Round {
            loads: CASES.iter().map(|case| (case.name.to_owned(), load)).collect(),
            full: Some(Copy {
                bytes: 256_000_000,
                seconds: 2.0,
            }),
            partial: None,
            memory: Some(-1_000_000),
        }
    }

    /// Everybody; the later in the list the faster.
    pub(crate) fn report() -> Report {
        let mut peers: Vec<Outcome> = all().iter().map(Outcome::new).collect();
        for (peer, speed) in peers.iter_mut().zip(1_u32..) {
            peer.rounds = vec![round(f64::from(speed) * 100.0); 3];
        }
        Report {
            version: VERSION,
            kernel: "7.3.4".to_owned(),
            emulated: true,
            quick: false,
            milliseconds: 4000,
            rounds: 3,
            cases: CASES.iter().map(|case| case.name.to_owned()).collect(),
            floor: Vec::new(),
            peers,
        }
    }

    #[test]
    fn medians_are_taken_over_the_rounds_that_there_are() {
        let mut outcome = Outcome::new(&all()[0]);
        assert_eq!(outcome.score(&CASES[0]), None);
        outcome.rounds = vec![round(100.0), round(300.0), round(200.0)];
        assert_eq!(outcome.score(&CASES[0]), Some(200.0));
        outcome.rounds[0].loads.clear();
        assert_eq!(outcome.score(&CASES[0]), Some(250.0));
        assert_eq!(outcome.cpu("w4k-1"), [Some(1.5), Some(0.5), None]);
        assert_eq!((outcome.full(), outcome.partial()), (Some(128.0), None));
        assert_eq!(outcome.memory(), Some(-1.0));
    }

    #[test]
    fn ours_are_not_among_the_others() {
        let report = report();
        for peer in report.peers.iter().filter(|peer| peer.kind >= super::Kind::Local) {
            let (best, score) = report.best_of_others(peer.kind, |peer| peer.score(&CASES[0])).unwrap();
            assert!(best.kind == peer.kind && best.family != super::Family::Netraid);
            assert!(report
                .peers
                .iter()
                .filter(|other| other.kind == peer.kind && other.family != super::Family::Netraid)
                .all(|other| other.score(&CASES[0]).unwrap() <= score));
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        let report = report();
        let text = serde_json::to_string(&report).unwrap();
        let read: Report = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
    }
}
