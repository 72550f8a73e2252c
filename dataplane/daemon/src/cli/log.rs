// SPDX-License-Identifier: Apache-2.0
//! `show logging`.

use serde::Serialize;
use weft_cli::{Command, Reply};

use super::clock::Date;
use super::{left, row};
use crate::log::Line;
use crate::state::Dataplane;

#[derive(Serialize)]
struct Log {
    lines: Vec<Line>,
}

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        Command::new("show logging", |dataplane: &mut Dataplane, args| {
            args.finish()?;
            Ok(Reply::new(Log { lines: dataplane.log.lines() }, |log| log.lines.iter().map(render).collect()))
        })
        .help("The last messages"),
        Command::new("clear logging", |dataplane: &mut Dataplane, args| {
            args.finish()?;
            dataplane.log.clear();
            Ok(Reply::empty())
        })
        .help("Forget the last messages"),
    ]
}

fn render(line: &Line) -> String {
    let time = format!("{} ", utc(line.time));
    let class = format!("{:14} ", line.class);
    row([time, left(line.level, 10), " ".into(), class, line.message.clone()])
}

/// `2026-01-31 23:59:59.123`, in UTC.
fn utc(seconds: f64) -> String {
    let milliseconds = (seconds * 1000.0) as u64;
    let Date { year, month, day, hour, minute, second, .. } = Date::of(milliseconds / 1000);
    let milliseconds = milliseconds % 1000;
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{milliseconds:03}")
}

#[cfg(test)]
mod tests {
    use super::utc;

    /// Against `date -u -d @N`.
    #[test]
    fn seconds_become_dates() {
        for (seconds, text) in [
            (0.0, "1970-01-01 00:00:00.000"),
            (951_782_400.0, "2000-02-29 00:00:00.000"),
            (951_868_799.5, "2000-02-29 23:59:59.500"),
            (1_709_251_200.0, "2024-03-01 00:00:00.000"),
            (4_107_542_399.25, "2100-02-28 23:59:59.250"),
            (1_767_225_599.0, "2025-12-31 23:59:59.000"),
        ] {
            assert_eq!(utc(seconds), text);
        }
    }
}
