// SPDX-License-Identifier: GPL-2.0
//! The figures as a picture: for each load the bars of everybody, the longer the better.

use std::path::Path;

use anyhow::{anyhow, Context as _, Result};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::case::{Case, Unit};
use super::peer::{Family, Kind};
use super::result::{Outcome, Report};

/// What every file of the project begins with.
const LICENCE: &str = "<!-- SPDX-License-Identifier: GPL-2.0 -->\n";

const WIDTH: u32 = 1200;
/// Height of a bar with the space below it.
const BAR: i32 = 17;
/// Height of the title of a panel, and of the whole picture.
const TITLE: i32 = 26;
const HEAD: i32 = 40;
/// Loads beside each other.
const COLUMNS: usize = 2;
/// Where the bars begin, and room for the number behind the longest.
const NAMES: i32 = 235;
const NUMBERS: i32 = 75;
const FONT: &str = "sans-serif";

const INK: RGBColor = RGBColor(0x24, 0x29, 0x2f);
const PAPER: RGBColor = RGBColor(0xff, 0xff, 0xff);

/// Colours that are told apart also by those who see few.
const fn colour(family: Family) -> RGBColor {
    match family {
        Family::Disk => RGBColor(0xb0, 0xb7, 0xbf),
        Family::Remap | Family::Raid => RGBColor(0x80, 0x87, 0x8f),
        Family::Netraid => RGBColor(0xd5, 0x5e, 0x00),
        Family::Drbd => RGBColor(0x00, 0x72, 0xb2),
        Family::RaidNvme => RGBColor(0x00, 0x9e, 0x73),
        Family::RaidNbd => RGBColor(0x56, 0xb4, 0xe9),
    }
}

/// Draws the figures into `file`.
///
/// # Errors
///
/// When it cannot be written.
pub(super) fn draw(report: &Report, cases: &[Case], file: &Path) -> Result<()> {
    let mut picture = LICENCE.to_owned();
    paint(report, cases, &mut picture)
        .map_err(|error| anyhow!("the picture {} cannot be drawn: {error}", file.display()))?;
    std::fs::write(file, picture).with_context(|| format!("cannot write the picture {}", file.display()))
}

fn paint(report: &Report, cases: &[Case], picture: &mut String) -> Result<()> {
    let peers: Vec<&Outcome> = shown(report);
    let bars = i32::try_from(peers.len())?;
    let rows = i32::try_from(cases.len().div_ceil(COLUMNS))?;
    let panel = TITLE + bars * BAR + 10;
    let height = u32::try_from(HEAD + rows * panel)?;
    let root = SVGBackend::with_string(picture, (WIDTH, height)).into_drawing_area();
    root.fill(&PAPER)?;
    let how = format!(
        "netraid and its peers, both ends in one {} of two processors, kernel {}; {}",
        if report.emulated {
            "emulated machine"
        } else {
            "virtual machine"
        },
        report.kernel,
        if report.rounds == 1 {
            "one round".to_owned()
        } else {
            format!("medians of {} rounds", report.rounds)
        }
    );
    root.draw(&Text::new(how, (10, 12), style(16, HPos::Left)))?;
    let width = i32::try_from(WIDTH)? / i32::try_from(COLUMNS)?;
    for (number, case) in cases.iter().enumerate() {
        let column = i32::try_from(number % COLUMNS)?;
        let row = i32::try_from(number / COLUMNS)?;
        let corner = (column * width, HEAD + row * panel);
        for shape in shapes(case, &peers, corner, width) {
            match shape {
                Shape::Bar(from, to, colour) => root.draw(&Rectangle::new([from, to], colour.filled())),
                Shape::Word(at, word, side, size) => root.draw(&Text::new(word, at, style(size, side))),
            }?;
        }
    }
    root.present()?;
    Ok(())
}

fn style(size: u32, side: HPos) -> TextStyle<'static> {
    TextStyle::from((FONT, size).into_font())
        .color(&INK)
        .pos(Pos::new(side, VPos::Top))
}

/// Whoever has figures, sorts after each other.
fn shown(report: &Report) -> Vec<&Outcome> {
    let mut peers: Vec<&Outcome> = report.peers.iter().filter(|peer| peer.is_measured()).collect();
    peers.sort_by_key(|peer| (peer.kind, peer.family != Family::Netraid));
    peers
}

/// What a panel consists of.
#[derive(Clone)]
enum Shape {
    Bar((i32, i32), (i32, i32), RGBColor),
    Word((i32, i32), String, HPos, u32),
}

/// The panel of a load. The scale is that of the fastest mirror: bars of disks beyond it end there.
fn shapes(case: &Case, peers: &[&Outcome], (x, y): (i32, i32), width: i32) -> Vec<Shape> {
    let unit = match case.unit {
        Unit::Operations => "operations a second",
        Unit::Megabytes => "MB a second",
    };
    let title = format!("{}: {unit}", case.title);
    let mut shapes = vec![Shape::Word((x + 10, y), title, HPos::Left, 14)];
    let mirrors = peers.iter().filter(|peer| peer.kind > Kind::Local || !case.writes);
    let longest = mirrors.filter_map(|peer| peer.score(case)).fold(0.0, f64::max);
    for (peer, line) in peers.iter().zip(0..) {
        let top = y + TITLE + line * BAR;
        shapes.push(Shape::Word((x + NAMES - 6, top), peer.name.clone(), HPos::Right, 12));
        let Some(score) = peer.score(case) else {
            shapes.push(Shape::Word((x + NAMES, top), "-".to_owned(), HPos::Left, 12));
            continue;
        };
        let end = x + NAMES + length(score, longest, width - NAMES - NUMBERS);
        shapes.push(Shape::Bar((x + NAMES, top), (end, top + BAR - 4), colour(peer.family)));
        let beyond = if score > longest { "> " } else { "" };
        shapes.push(Shape::Word(
            (end + 5, top),
            format!("{beyond}{score:.0}"),
            HPos::Left,
            12,
        ));
    }
    shapes
}

/// Pixels of a bar.
fn length(score: f64, longest: f64, room: i32) -> i32 {
    let share = if longest > 0.0 {
        (score / longest).clamp(0.0, 1.0)
    } else {
        0.0
    };
    #[expect(clippy::cast_possible_truncation, reason = "at most the room there is")]
    let pixels = (share * f64::from(room)).round() as i32;
    pixels
}

#[cfg(test)]
mod tests {
    use super::super::case::CASES;
    use super::super::result::tests::report;
    use super::{draw, length, shapes, shown, Shape};

    #[test]
    fn bars_are_as_long_as_the_figures_say() {
        assert_eq!(length(50.0, 100.0, 300), 150);
        assert_eq!(length(500.0, 100.0, 300), 300);
        assert_eq!(length(1.0, 0.0, 300), 0);
    }

    #[test]
    fn everybody_has_a_bar_in_each_panel_and_none_leaves_it() {
        let report = report();
        let peers = shown(&report);
        assert_eq!(peers.len(), report.peers.len());
        for case in CASES {
            let shapes = shapes(case, &peers, (600, 40), 600);
            let ends: Vec<i32> = shapes
                .iter()
                .filter_map(|shape| match shape {
                    Shape::Bar(_, (end, _), _) => Some(*end),
                    Shape::Word(..) => None,
                })
                .collect();
            assert_eq!(ends.len(), peers.len());
            assert!(ends.iter().all(|end| (600..1200 - 70).contains(end)), "{ends:?}");
        }
    }

    #[test]
    fn a_picture_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("bench.svg");
        draw(&report(), CASES, &file).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with(super::LICENCE) && text.contains("\n<svg") && text.trim_end().ends_with("</svg>"));
        assert!(text.contains("DRBD 8.4, protocol C") && text.matches("<rect").count() > CASES.len() * 10);
        assert!(draw(&report(), CASES, &dir.path().join("none/bench.svg")).is_err());
    }
}
