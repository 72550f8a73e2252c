// SPDX-License-Identifier: Apache-2.0
//! `show logging`.

use serde::Serialize;
use weft_cli::{Command, Reply};

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
    let class = format!("{:24} ", line.class);
    row([time, left(line.level, 10), " ".into(), class, line.message.clone()])
}

/// `2026-01-31 23:59:59.123`, in UTC. Days by the algorithm for the proleptic Gregorian calendar with years that begin
/// in March, so that the leap day is the last.
fn utc(seconds: f64) -> String {
    let milliseconds = (seconds * 1000.0) as u64;
    let (whole, milliseconds) = (milliseconds / 1000, milliseconds % 1000);
    let (days, second) = (whole / 86_400, whole % 86_400);
    // Day 0 is 1 March of year 0.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}.{milliseconds:03}",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
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
