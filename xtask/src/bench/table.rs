// SPDX-License-Identifier: GPL-2.0
//! The figures as tables for a terminal.

use super::case::{Case, Unit};
use super::peer::Kind;
use super::result::{Outcome, Report};
use super::stats::ratio;

/// Rows of cells; the first cell of a row is at the left, the others at the right of their columns.
#[derive(Debug, Default)]
struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    fn row(&mut self, name: impl Into<String>, cells: impl IntoIterator<Item = String>) {
        let mut row = vec![name.into()];
        row.extend(cells);
        self.rows.push(row);
    }

    fn show(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                line += &if column == 0 {
                    format!("{cell:<width$}")
                } else {
                    format!("  {cell:>width$}")
                };
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

/// Everything.
#[must_use]
pub(super) fn show(report: &Report, cases: &[Case]) -> String {
    let mut parts = vec![scores(report, cases), times(report, cases), rest(report, cases)];
    let failures: Vec<String> = report
        .peers
        .iter()
        .flat_map(|peer| peer.failures.iter().map(move |why| format!("{}: {why}", peer.name)))
        .collect();
    if !failures.is_empty() {
        parts.push(format!("Not measured:\n{}\n", failures.join("\n")));
    }
    parts.join("\n")
}

fn heads(cases: &[Case]) -> impl Iterator<Item = String> + '_ {
    cases.iter().map(|case| case.name.to_owned())
}

/// What counts of each load, with the ratios that netraid is judged by.
fn scores(report: &Report, cases: &[Case]) -> String {
    let mut table = Table::default();
    let unit = |case: &Case| match case.unit {
        Unit::Operations => "IOPS",
        Unit::Megabytes => "MB/s",
    };
    table.row("", heads(cases));
    table.row("", cases.iter().map(|case| unit(case).to_owned()));
    for (name, cells) in floor(report, cases) {
        table.row(name, cells);
    }
    for kind in [Kind::Raw, Kind::Local, Kind::Sync, Kind::Async] {
        let peers = report.peers.iter().filter(|peer| peer.kind == kind);
        for (number, peer) in peers.enumerate() {
            if number == 0 {
                table.row(format!("--- {}", kind.word()), []);
            }
            if !peer.is_measured() {
                table.row(peer.name.as_str(), ["not measured, see below".to_owned()]);
                continue;
            }
            table.row(
                peer.name.as_str(),
                cases.iter().map(|case| cell(peer.score(case), whole)),
            );
            for (name, ratios) in ratios(report, peer, cases) {
                table.row(format!("  {name}"), ratios.into_iter().map(|it| cell(it, times_word)));
            }
        }
    }
    table.show()
}

/// The limits, beside the loads they are the limits of.
fn floor(report: &Report, cases: &[Case]) -> Vec<(String, Vec<String>)> {
    let of = |lent: bool| {
        let cells = cases.iter().map(|case| {
            let echo = report.floor.iter().find(|echo| {
                echo.case == case.name && echo.name.starts_with(if lent { "pages lent" } else { "pages copied" })
            });
            cell(
                echo.map(|echo| match case.unit {
                    Unit::Operations => echo.operations_per_second,
                    Unit::Megabytes => echo.megabytes(),
                }),
                whole,
            )
        });
        cells.collect()
    };
    if report.floor.is_empty() {
        return Vec::new();
    }
    vec![
        ("loopback alone, pages lent".to_owned(), of(true)),
        ("loopback alone, pages copied".to_owned(), of(false)),
    ]
}

/// How netraid stands to the best of the others of its kind, and to the raw disk.
fn ratios<'a>(report: &Report, peer: &Outcome, cases: &'a [Case]) -> Vec<(&'static str, Vec<Option<f64>>)> {
    if peer.family != super::peer::Family::Netraid {
        return Vec::new();
    }
    let to = |other: &dyn Fn(&Case) -> Option<f64>| -> Vec<Option<f64>> {
        let each = cases.iter();
        each.map(|case: &'a Case| ratio(peer.score(case)?, other(case)?))
            .collect()
    };
    let mut all = Vec::new();
    let best = to(&|case| Some(report.best_of_others(peer.kind, |it| it.score(case))?.1));
    // Those without a target do different things.
    if peer.kind > Kind::Local && best.iter().any(Option::is_some) {
        all.push(("to the best other", best));
    }
    all.push(("to the raw disk", to(&|case| report.raw()?.score(case))));
    all
}

/// How long operations took.
fn times(report: &Report, cases: &[Case]) -> String {
    let mut table = Table::default();
    table.row("p50 / p99 / p99.9, microseconds", heads(cases));
    for peer in report.peers.iter().filter(|peer| peer.is_measured()) {
        table.row(
            peer.name.as_str(),
            cases.iter().map(|case| {
                let of =
                    |value: fn(&super::fio::Sample) -> f64| cell(peer.of(case.name, |load| value(&load.sample)), whole);
                format!(
                    "{}/{}/{}",
                    of(|sample| sample.p50_us),
                    of(|sample| sample.p99_us),
                    of(|sample| sample.p999_us)
                )
            }),
        );
    }
    table.show()
}

/// Copies, processors and memory.
fn rest(report: &Report, cases: &[Case]) -> String {
    let loads: Vec<&Case> = cases
        .iter()
        .filter(|case| matches!(case.name, "w4k-32" | "w128k-8"))
        .collect();
    let mut table = Table::default();
    let mut head = vec![
        "full copy MB/s".to_owned(),
        "copy of 1 % s".to_owned(),
        "memory MB".to_owned(),
    ];
    for case in &loads {
        head.push(format!("CPU s/GB {}", case.name));
        head.push("source".to_owned());
        head.push("target".to_owned());
    }
    table.row("", head);
    for peer in report.peers.iter().filter(|peer| peer.is_measured()) {
        let mut cells = vec![
            cell(peer.full(), whole),
            cell(peer.partial(), fine),
            cell(peer.memory(), tenth),
        ];
        for case in &loads {
            cells.extend(peer.cpu(case.name).map(|seconds| cell(seconds, tenth)));
        }
        table.row(peer.name.as_str(), cells);
    }
    table.show()
}

fn cell(value: Option<f64>, word: fn(f64) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), word)
}

/// A number of which only the first three or so digits mean anything.
fn whole(value: f64) -> String {
    if value.abs() < 10.0 {
        return tenth(value);
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 {
        text.insert(0, '-');
    }
    text
}

fn tenth(value: f64) -> String {
    format!("{value:.1}")
}

fn fine(value: f64) -> String {
    format!("{value:.2}")
}

fn times_word(value: f64) -> String {
    format!("x{value:.2}")
}

#[cfg(test)]
mod tests {
    use super::super::case::CASES;
    use super::super::result::tests::{report, round};
    use super::{show, whole, Table};

    #[test]
    fn columns_stand_below_each_other() {
        let mut table = Table::default();
        table.row("a", ["1".to_owned(), "22".to_owned()]);
        table.row("long", ["333".to_owned()]);
        assert_eq!(table.show(), "a       1  22\nlong  333\n");
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(whole(0.0), "0.0");
        assert_eq!(whole(9.96), "10.0");
        assert_eq!(whole(999.6), "1,000");
        assert_eq!(whole(1_234_567.0), "1,234,567");
        assert_eq!(whole(-1234.0), "-1,234");
    }

    #[test]
    fn ours_are_held_against_the_best_of_their_kind_and_the_raw_disk() {
        let mut report = report();
        for peer in &mut report.peers {
            let speed = match peer.name.as_str() {
                "raw" => 1000.0,
                "netraid sync" => 300.0,
                "DRBD 8.4, protocol C" => 200.0,
                "md raid1 + nbd" => 150.0,
                _ => 100.0,
            };
            peer.rounds = vec![round(speed)];
        }
        let text = show(&report, CASES);
        let lines: Vec<&str> = text.lines().collect();
        let at = lines.iter().position(|line| line.starts_with("netraid sync ")).unwrap();
        assert!(
            lines[at + 1].starts_with("  to the best other") && lines[at + 1].contains("x1.50"),
            "{text}"
        );
        assert!(
            lines[at + 2].starts_with("  to the raw disk") && lines[at + 2].contains("x0.30"),
            "{text}"
        );
    }

    #[test]
    fn who_could_not_be_measured_is_there_with_the_reason() {
        let mut report = report();
        let drbd = report
            .peers
            .iter_mut()
            .find(|peer| peer.name.starts_with("DRBD"))
            .unwrap();
        drbd.rounds.clear();
        drbd.failures.push("no module drbd".to_owned());
        let name = drbd.name.clone();
        let text = show(&report, CASES);
        assert!(text.contains(&format!("{name}: no module drbd")), "{text}");
        let line = text.lines().find(|line| line.starts_with(&name)).unwrap();
        assert!(line.contains("not measured"), "{line}");
    }
}
