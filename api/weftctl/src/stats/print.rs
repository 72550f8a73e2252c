// SPDX-License-Identifier: Apache-2.0
//! Counters as lines of text, those that `vpp_get_stats` prints: `[index @ thread]: 5 packets name`. That all simple
//! counters are packets there, clocks among them, is part of what scripts know.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use weft_stats::Value;

use super::{
    Style, Values,
    rates::{Rate, Rates},
};
use crate::units::{self, printable};

/// What the figures of a cell are called.
type Units = &'static [&'static str];
const SIMPLE: Units = &["packets"];
const COMBINED: Units = &["packets", "bytes"];

/// One place of a counter vector: a figure for each of its units.
struct Cell {
    index: usize,
    thread: usize,
    totals: [u64; 2],
    rates: Option<[f64; 2]>,
}

pub fn names(out: &mut dyn Write, names: &[String]) -> io::Result<()> {
    names.iter().try_for_each(|name| writeln!(out, "{}", printable(name)))
}

pub fn values(out: &mut dyn Write, values: &Values, style: Style) -> io::Result<()> {
    values.iter().try_for_each(|(name, value)| entry(out, name, value, None, style))
}

/// A look of many: an empty line, then the values with their change per second.
pub fn look(out: &mut dyn Write, values: &Values, rates: &Rates<'_>, style: Style) -> io::Result<()> {
    writeln!(out)?;
    values.iter().try_for_each(|(name, value)| entry(out, name, value, Some(rates.of(name)), style))
}

fn entry(
    out: &mut dyn Write,
    name: &str,
    value: &Value,
    rate: Option<Rate<'_>>,
    style: Style,
) -> io::Result<()> {
    let name = printable(name);
    match value {
        Value::Scalar(0) if style.no_zeros => Ok(()),
        Value::Scalar(value) => {
            writeln!(out, "{value}{} {name}", per_second(rate.map(|rate| rate.scalar(*value))))
        }
        Value::Names(names) => {
            let mut names = names.iter().enumerate();
            names.try_for_each(|(index, text)| writeln!(out, "[{index}]: {} {name}", printable(text)))
        }
        Value::Simple(rows) => {
            let cells = rows.iter().enumerate().flat_map(|(thread, row)| {
                row.iter().enumerate().map(move |(index, &count)| simple(rate, thread, index, count))
            });
            lines(out, cells, SIMPLE, style, &name)
        }
        Value::SimpleColumn(column) => {
            let cells = column.iter().enumerate().map(|(thread, &count)| simple(rate, thread, 0, count));
            lines(out, cells, SIMPLE, style, &name)
        }
        Value::Combined(rows) => {
            let cells = rows.iter().enumerate().flat_map(|(thread, row)| {
                row.iter().enumerate().map(move |(index, &pair)| combined(rate, thread, index, pair))
            });
            lines(out, cells, COMBINED, style, &name)
        }
        Value::CombinedColumn(column) => {
            let cells = column.iter().enumerate().map(|(thread, &pair)| combined(rate, thread, 0, pair));
            lines(out, cells, COMBINED, style, &name)
        }
        // As its clients do with types that they do not know.
        Value::Other(_) => Ok(()),
    }
}

fn simple(rate: Option<Rate<'_>>, thread: usize, index: usize, count: u64) -> Cell {
    let rates = rate.map(|rate| [rate.simple(thread, index, count), 0.0]);
    Cell { index, thread, totals: [count, 0], rates }
}

fn combined(rate: Option<Rate<'_>>, thread: usize, index: usize, pair: weft_stats::Combined) -> Cell {
    let rates = rate.map(|rate| rate.combined(thread, index, pair));
    Cell { index, thread, totals: [pair.packets, pair.bytes], rates }
}

fn lines(
    out: &mut dyn Write,
    cells: impl Iterator<Item = Cell>,
    units: Units,
    style: Style,
    name: &str,
) -> io::Result<()> {
    let mut line = |place: &str, cell: &Cell| {
        if style.no_zeros && cell.totals == [0, 0] {
            return Ok(());
        }
        let figure = |(part, unit): (usize, &&str)| {
            format!("{} {unit}{}", cell.totals[part], per_second(cell.rates.map(|rates| rates[part])))
        };
        let figures: Vec<String> = units.iter().enumerate().map(figure).collect();
        writeln!(out, "[{place}]: {} {name}", figures.join(", "))
    };
    if !style.summary {
        return cells
            .into_iter()
            .try_for_each(|cell| line(&format!("{} @ {}", cell.index, cell.thread), &cell));
    }
    let mut sums: BTreeMap<usize, Cell> = BTreeMap::new();
    for cell in cells {
        let Some(sum) = sums.get_mut(&cell.index) else {
            sums.insert(cell.index, cell);
            continue;
        };
        for part in 0..units.len() {
            // Wraps around, as the counters do.
            sum.totals[part] = sum.totals[part].wrapping_add(cell.totals[part]);
            if let (Some(sum), Some(rates)) = (&mut sum.rates, cell.rates) {
                sum[part] += rates[part];
            }
        }
    }
    sums.values().try_for_each(|sum| line(&sum.index.to_string(), sum))
}

/// ` (+12.3k/s)`, or nothing at the first look.
fn per_second(rate: Option<f64>) -> String {
    let Some(rate) = rate else { return String::new() };
    let sign = if rate < 0.0 { '-' } else { '+' };
    format!(" ({sign}{}/s)", units::si(rate.abs()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use weft_stats::Combined;

    use super::*;

    fn pair(packets: u64, bytes: u64) -> Combined {
        Combined { packets, bytes }
    }

    fn segment(factor: u64) -> Values {
        vec![
            ("/sys/heartbeat".to_owned(), Value::Scalar(7 * factor)),
            ("/if/names".to_owned(), Value::Names(vec!["local0".to_owned(), "p0\x1b[m".to_owned()])),
            ("/if/drops".to_owned(), Value::Simple(vec![vec![0, 0], vec![0, 1000 * factor]])),
            (
                "/if/rx".to_owned(),
                Value::Combined(vec![
                    vec![pair(0, 0), pair(1, 60)],
                    vec![pair(0, 0), pair(2 * factor, 120 * factor)],
                ]),
            ),
            ("/err/a/no error".to_owned(), Value::SimpleColumn(vec![3, 4])),
            ("/odd".to_owned(), Value::Other(8)),
        ]
    }

    fn text(print: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        print(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_those_of_vpp_get_stats() {
        let all = text(|out| values(out, &segment(1), Style { no_zeros: false, summary: false }));
        assert_eq!(
            all,
            "7 /sys/heartbeat\n\
             [0]: local0 /if/names\n\
             [1]: p0?[m /if/names\n\
             [0 @ 0]: 0 packets /if/drops\n\
             [1 @ 0]: 0 packets /if/drops\n\
             [0 @ 1]: 0 packets /if/drops\n\
             [1 @ 1]: 1000 packets /if/drops\n\
             [0 @ 0]: 0 packets, 0 bytes /if/rx\n\
             [1 @ 0]: 1 packets, 60 bytes /if/rx\n\
             [0 @ 1]: 0 packets, 0 bytes /if/rx\n\
             [1 @ 1]: 2 packets, 120 bytes /if/rx\n\
             [0 @ 0]: 3 packets /err/a/no error\n\
             [0 @ 1]: 4 packets /err/a/no error\n"
        );
        let short = text(|out| values(out, &segment(1), Style { no_zeros: true, summary: true }));
        assert_eq!(
            short,
            "7 /sys/heartbeat\n\
             [0]: local0 /if/names\n\
             [1]: p0?[m /if/names\n\
             [1]: 1000 packets /if/drops\n\
             [1]: 3 packets, 180 bytes /if/rx\n\
             [0]: 7 packets /err/a/no error\n"
        );
    }

    #[test]
    fn a_look_tells_the_change_per_second() {
        let before = segment(1);
        let rates = Rates::new(&before, Duration::from_millis(500));
        let style = Style { no_zeros: true, summary: true };
        let later = text(|out| look(out, &segment(3), &rates, style));
        for line in [
            "21 (+28/s) /sys/heartbeat",
            "[1]: 3000 packets (+4k/s) /if/drops",
            "[1]: 7 packets (+8/s), 420 bytes (+480/s) /if/rx",
            "[0]: 7 packets (+0/s) /err/a/no error",
        ] {
            assert!(later.lines().any(|found| found == line), "{line} is missing in:\n{later}");
        }
        assert!(later.starts_with('\n'), "a line between two looks");
    }
}
